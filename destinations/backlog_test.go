package destinations

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A naiveBacklog is a backlog that nothing is cut off from.
type naiveBacklog struct{ messages []*naiveMessage }

type naiveMessage struct {
	seq, n   uint64
	priority uint8
	stored   bool
	returned bool
	state    slotState
	at       ref
	size     uint32
}

// in returns those in a state, in the order in which they are taken.
func (n *naiveBacklog) in(state slotState) (messages []*naiveMessage) {
	for _, m := range n.ordered() {
		if m.state == state {
			messages = append(messages, m)
		}
	}
	return messages
}

func (n *naiveBacklog) ordered() []*naiveMessage {
	messages := slices.Clone(n.messages)
	slices.SortStableFunc(messages, func(a, b *naiveMessage) int { return int(b.priority) - int(a.priority) })
	return messages
}

// TestBacklogAgainstNaive makes random changes, in phases that fill and that
// drain, so that chunks come and go at both ends and in the middle.
func TestBacklogAgainstNaive(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 1))
		b, n := &backlog{}, &naiveBacklog{}
		priorities := int(1 + 3*(seed%2))
		var seq, number uint64
		for step := range 6000 {
			fill := step / 1000 % 2
			switch op := r.IntN(12); {
			case op < 2+3*fill:
				stored := r.IntN(4) > 0
				if stored {
					seq++
				}
				m := &naiveMessage{seq: seq, stored: stored, size: uint32(r.IntN(100)), priority: uint8(r.IntN(priorities))}
				s := slot{seq: seq, size: m.size, msg: &Message{}}
				if stored {
					s.marks = markStored
				} else {
					number++
					m.n, s.msg.n = number, number
				}
				m.at = b.push(s, m.priority)
				n.messages = append(n.messages, m)
			case op < 6:
				if ready := n.in(slotReady); len(ready) > 0 {
					m := ready[0]
					if got := b.take(); got != m.at {
						t.Fatalf("seed %d step %d: took seq %d, want %d", seed, step, got.slot().seq, m.seq)
					}
					m.state = slotFlying
				}
			case op < 7:
				if flying := n.in(slotFlying); len(flying) > 0 {
					m := flying[r.IntN(len(flying))]
					b.giveBack(m.at)
					m.state, m.returned = slotReady, true
				}
			case op < 10:
				if flying := n.in(slotFlying); len(flying) > 0 {
					m := flying[r.IntN(len(flying))]
					b.remove(m.at)
					m.state = slotGone
				}
				if waiting := slices.Concat(n.in(slotReady), n.in(slotHeld)); op == 9 && len(waiting) > 0 {
					m := waiting[r.IntN(len(waiting))]
					b.remove(m.at)
					m.state = slotGone
				}
			case op < 11:
				if ready := n.in(slotReady); len(ready) > 0 {
					m := ready[r.IntN(len(ready))]
					b.hold(m.at)
					m.state = slotHeld
				}
			default:
				if held := n.in(slotHeld); len(held) > 0 {
					m := held[r.IntN(len(held))]
					b.letGo(m.at)
					m.state = slotReady
				}
			}
			n.messages = slices.DeleteFunc(n.messages, func(m *naiveMessage) bool { return m.state == slotGone })
			if step%11 == 0 {
				compareBacklog(t, b, n, MessageID{seq, number})
			}
		}
	}
}

func compareBacklog(t *testing.T, b *backlog, n *naiveBacklog, last MessageID) {
	t.Helper()
	var size int64
	for _, m := range n.in(slotReady) {
		size += int64(m.size)
	}
	if b.live != len(n.messages) || b.ready != len(n.in(slotReady)) || b.bytes != size {
		t.Fatalf("live=%d ready=%d bytes=%d, want %d %d %d", b.live, b.ready, b.bytes, len(n.messages), len(n.in(slotReady)), size)
	}
	i, ordered := 0, n.ordered()
	compareQueued(t, b, ordered)
	b.each(func(at ref) bool {
		s, m := at.slot(), ordered[i]
		i++
		if s != m.at.slot() || s.seq != m.seq || s.state != m.state || s.returned() != m.returned {
			t.Fatalf("slot %d is %+v, want %+v", i, s, m)
		}
		return true
	})
	if i != len(n.messages) {
		t.Fatalf("each came to %d messages, want %d", i, len(n.messages))
	}
	want := map[MessageID]ref{}
	for _, m := range n.messages {
		want[MessageID{m.seq, m.n}] = m.at
	}
	find := func(seq, n uint64) {
		at, ok := b.find(seq, n)
		if w, wantOK := want[MessageID{seq, n}]; ok != wantOK || ok && at != w {
			t.Fatalf("find(%d, %d) is %v %v, want %v %v", seq, n, at, ok, w, wantOK)
		}
	}
	for seq := range last.Seq + 2 {
		find(seq, 0)
		find(seq, last.N/2)
		find(seq, last.N)
	}
	for id := range want {
		find(id.Seq, id.N)
	}
}

// compareQueued compares what waits, and what of that matters least.
func compareQueued(t *testing.T, b *backlog, ordered []*naiveMessage) {
	t.Helper()
	var want tally
	var least *naiveMessage
	for _, m := range ordered {
		if m.state != slotReady && m.state != slotHeld {
			continue
		}
		want.add(m.size)
		if least == nil || m.priority < least.priority {
			least = m
		}
	}
	if got := b.queued(); got != want {
		t.Fatalf("%+v wait, want %+v", got, want)
	}
	if least != nil && b.least() != least.at {
		t.Fatalf("the least is seq %d, want %d", b.least().slot().seq, least.seq)
	}
}

func TestBacklogEachStops(t *testing.T) {
	t.Parallel()
	b := &backlog{}
	for seq := range uint64(3 * chunkSlots) {
		b.push(slot{seq: seq, msg: &Message{}}, DefaultPriority)
	}
	n := 0
	b.each(func(ref) bool { n++; return n < 5 })
	if n != 5 {
		t.Errorf("each went on to %d after it was told to stop at 5", n)
	}
}

// Only the chunks in which something lives keep their slots: one old message
// does not pin all that came after it.
func TestBacklogGivesMemoryBack(t *testing.T) {
	t.Parallel()
	const chunks = 100
	for _, newestFirst := range []bool{false, true} {
		b := &backlog{}
		var refs []ref
		for seq := range uint64(chunks * chunkSlots) {
			refs = append(refs, b.push(slot{seq: seq, msg: &Message{}, marks: markStored}, DefaultPriority))
		}
		first, last := refs[0], refs[len(refs)-1]
		for _, at := range refs[1 : len(refs)-1] {
			b.remove(at)
		}
		kept := 0
		for _, c := range b.levels[0].chunks {
			kept += cap(c.slots)
		}
		if kept > 3*chunkSlots {
			t.Errorf("%d slots are kept for 2 messages", kept)
		}
		if _, ok := b.find(chunks*chunkSlots/2, 0); ok {
			t.Error("a settled message is found")
		}
		if newestFirst {
			first, last = last, first
		}
		b.remove(first)
		b.remove(last)
		if len(b.levels[0].chunks) > 1 {
			t.Errorf("%d chunks are kept for no message", len(b.levels[0].chunks))
		}
		b.push(slot{seq: chunks * chunkSlots, msg: &Message{}}, DefaultPriority)
		if at := b.take(); at.slot().seq != chunks*chunkSlots {
			t.Errorf("took seq %d after all before it were settled", at.slot().seq)
		}
	}
}

func TestBacklogPanicsOnMisuse(t *testing.T) {
	t.Parallel()
	mustPanic := func(name string, fn func(b *backlog, at ref)) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s does not panic", name)
			}
		}()
		b := &backlog{}
		at := b.push(slot{msg: &Message{}}, DefaultPriority)
		fn(b, at)
	}
	mustPanic("giving back what is ready", func(b *backlog, at ref) { b.giveBack(at) })
	mustPanic("letting go what is ready", func(b *backlog, at ref) { b.letGo(at) })
	mustPanic("settling twice", func(b *backlog, at ref) { b.remove(at); b.remove(at) })
	mustPanic("giving back what is settled", func(b *backlog, at ref) { b.remove(at); b.giveBack(at) })
}
