package destinations

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// describe writes down what of m is stored: for each queue the messages in
// their order. Two machines with the same description recover alike.
func describe(m *Machine) string {
	var names []string
	for name := range m.queues {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		q := m.queues[name]
		q.each(func(at ref) bool {
			s := at.slot()
			if !s.stored() {
				return true
			}
			fmt.Fprintf(&b, "%s %d content=%d size=%d attempts=%d", q.destination, s.seq, at.content(), s.size, s.attempts)
			x := at.extra()
			if x.dead != nil {
				fmt.Fprintf(&b, " %s at=%s", x.dead, x.dead.Time.Format("15:04:05.000"))
			}
			switch level := at.c.priority; {
			case level == levelWaiting:
				fmt.Fprintf(&b, " comes=%d latest=%d left=%d", x.comes(), x.latest, x.left)
			case level != DefaultPriority:
				fmt.Fprintf(&b, " level=%d", level)
			}
			if x.until != 0 {
				fmt.Fprintf(&b, " until=%d", x.until)
			}
			b.WriteString(x.props.String())
			b.WriteByte('\n')
			return true
		})
	}
	return b.String()
}

// describeAll adds what a log is told of m to what describe says.
func describeAll(m *Machine) string {
	var b strings.Builder
	b.WriteString(describe(m))
	for _, q := range slices.SortedFunc(maps.Values(m.queues), func(a, b *queue) int { return strings.Compare(a.destination.Name, b.destination.Name) }) {
		if d := q.durable; d != nil {
			fmt.Fprintf(&b, "durable %q %d: topic=%s selector=%q no-local=%t retroactive=%t\n", q.destination.Name, d.seq, d.topic, d.selector, d.noLocal, d.retroactive)
		}
	}
	for _, w := range slices.SortedFunc(maps.Values(m.windows), func(a, b *window) int { return strings.Compare(a.destination.String(), b.destination.String()) }) {
		for i := range w.sightings.len() {
			if s := w.sightings.at(i); s.seq != 0 {
				fmt.Fprintf(&b, "seen by %s: %s in %d at %d\n", w.destination, s.id, s.seq, s.at)
			}
		}
	}
	for i := range m.live.stretches {
		s := &m.live.stretches[i]
		if s.count == 0 {
			continue
		}
		fmt.Fprintf(&b, "live %d: %d octets of %d:", s.number, s.bytes, s.count)
		s.each(func(offset uint16) { fmt.Fprintf(&b, " %d", offset) })
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "last=%d start=%d oldest=%d\n", m.last, m.start, m.live.oldestOr(m.last+1))
	return b.String()
}

// baseBytes is what is counted for q when nothing is in it.
func (q *queue) baseBytes() int64 {
	if q.gathering != nil && q.gathering.many {
		return queueBytes + gatheringBytes
	}
	return queueBytes
}

// readBack is e as a log gives it back: the payload in one piece.
func readBack(e Entry) Entry {
	return Entry{Seq: e.Seq, Kind: e.Kind, Body: slices.Concat(e.Head, e.Body)}
}

// A tester fails a test, or one run of a property.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// replayed is a new machine after these entries.
func replayed(t tester, o Options, entries []Entry) *Machine {
	t.Helper()
	m := New(o)
	for _, e := range entries {
		if err := m.Replay(e); err != nil {
			t.Fatalf("replay entry %d: %v", e.Seq, err)
		}
	}
	return m
}

func resume(t tester, m *Machine, last uint64) {
	t.Helper()
	if err := m.Resume(last); err != nil {
		t.Fatalf("resume: %v", err)
	}
}

func TestReplayRefusesEntriesOutOfOrder(t *testing.T) {
	t.Parallel()
	m := replayed(t, Options{}, []Entry{{Seq: 7, Kind: KindStart}})
	for _, seq := range []uint64{0, 6, 7} {
		if err := m.Replay(Entry{Seq: seq, Kind: KindStart}); err == nil {
			t.Errorf("entry %d is replayed after entry 7", seq)
		}
	}
	if err := m.Replay(Entry{Seq: 9, Kind: 99}); err == nil || !strings.Contains(err.Error(), "unknown kind 99") {
		t.Errorf("an entry of an unknown kind gives the error %v", err)
	}
	if m.Last() != 7 {
		t.Errorf("refused entries moved Last to %d", m.Last())
	}
}

// A journal shares its read buffer between entries.
func TestReplayKeepsNoMemory(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	for _, r := range sampleRecords() {
		e := readBack(r.entry())
		if err := m.Replay(e); err != nil {
			t.Fatal(err)
		}
		clear(e.Body)
	}
	checked := 0
	for _, q := range m.queues {
		q.each(func(at ref) bool {
			for _, r := range sampleRecords() {
				if r.msg != nil && r.seq == at.slot().seq {
					checked++
					if got := at.slot().msg; !slices.Equal(got.Content, r.msg.Content) {
						t.Errorf("message %d is now %q", r.seq, got.Content)
					}
				}
			}
			return true
		})
	}
	if checked < 3 {
		t.Errorf("only %d messages are in memory", checked)
	}
}

// An attempt entry says how many there were: a log may give back those before.
func TestReplayOfAttemptsWithGaps(t *testing.T) {
	t.Parallel()
	put := record{seq: 1, kind: KindEnqueue, queue: "q", msg: newMessage("one", true)}
	fifth := record{seq: 9, kind: KindAttempt, queue: "q", seqs: []uint64{1}, attempts: 5}
	m := replayed(t, Options{}, []Entry{put.entry(), fifth.entry()})
	if got, want := describe(m), "/queue/q 1 content=1 size=68 attempts=5\n"; got != want {
		t.Errorf("after the replay:\n%swant\n%s", got, want)
	}
}

// Entries about messages whose own entries were given back change nothing.
func TestReplayOfEntriesAboutNothing(t *testing.T) {
	t.Parallel()
	dead := &DeadLetter{Reason: ReasonRejected}
	records := []record{
		{kind: KindSettle, queue: "gone", seqs: []uint64{1, 2}},
		{kind: KindMove, queue: "gone", seqs: []uint64{1}, target: "DLQ.gone", dead: dead, content: 1},
		{kind: KindAttempt, queue: "gone", seqs: []uint64{1}, attempts: 1},
		{kind: KindEnqueue, queue: "q", msg: newMessage("one", true)},
		{kind: KindSettle, queue: "q", seqs: []uint64{1, 2}},
		{kind: KindMove, queue: "q", seqs: []uint64{1}, target: "DLQ.q", dead: dead, content: 1},
		{kind: KindAttempt, queue: "q", seqs: []uint64{1}, attempts: 1},
	}
	var entries []Entry
	for i := range records {
		records[i].seq = uint64(10 + i)
		entries = append(entries, records[i].entry())
	}
	m := replayed(t, Options{}, entries)
	if got, want := describe(m), "/queue/q 13 content=13 size=68 attempts=0\n"; got != want {
		t.Errorf("after the replay:\n%swant\n%s", got, want)
	}
	if s := m.Stats(); s.Queues != 1 {
		t.Errorf("%d queues are left, want 1", s.Queues)
	}
}

// The entries at the end of a log may all have been given back: the next one
// still gets a Seq of its own, and what was stored before stays redelivered.
func TestResumeAfterEntriesThatAreGone(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	if err := m.Resume(41); err != nil {
		t.Fatal(err)
	}
	var out Effects
	if err := m.Step(time.Unix(0, 0), &Command{Op: Start}, &out); err != nil {
		t.Fatal(err)
	}
	if len(out.Entries) != 1 || out.Entries[0].Seq != 42 {
		t.Errorf("the first entry after 41 is %v", out.Entries)
	}
	if err := m.Resume(7); err != nil {
		t.Fatal(err)
	}
	if m.Last() != 42 {
		t.Errorf("resuming before the last entry makes it %d", m.Last())
	}
}

// A message that was moved twice still needs the entry that holds its content,
// until it is settled.
func TestContentOfAMessageMovedTwice(t *testing.T) {
	t.Parallel()
	const stretch = 1 << stretchBits
	var entries []Entry
	step := func(m *Machine, commands ...Command) {
		t.Helper()
		for _, c := range commands {
			var out Effects
			if err := m.Step(time.Unix(0, 0), &c, &out); err != nil {
				t.Fatal(err)
			}
			entries = append(entries, out.Entries...)
		}
	}
	goOn := func(m *Machine) { // the log goes on in another stretch
		t.Helper()
		for to := m.Last() + 2*stretch; m.Last() < to; {
			step(m, Command{Op: Start})
		}
	}
	take := func(m *Machine, queue string, c Command) {
		t.Helper()
		c.Session, c.Delivery = 1, DeliveryID{Sub: 1, Tag: 1}
		step(m, Command{Op: Subscribe, Session: 1, Subscription: "s", Destination: Queue(queue), Consumer: &Consumer{Ack: AckClient}},
			c, Command{Op: Disconnect, Session: 1, Clean: true})
	}
	m := New(Options{})
	goOn(m)
	step(m, Command{Op: Send, Destination: Queue("q"), Message: newMessage("x", true)})
	content := m.Last()
	goOn(m)
	take(m, "q", Command{Op: Nack, More: &More{Refusal: Refusal{Reject: true}}})
	m = replayed(t, Options{DeadLetterPrefix: "DEAD."}, entries)
	goOn(m)
	take(m, "DLQ.q", Command{Op: Nack, More: &More{Refusal: Refusal{Reject: true}}})
	if oldest := m.Oldest(); oldest > content || oldest <= content-stretch {
		t.Errorf("entries from %d on are needed, but the content is in %d", oldest, content)
	}
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return e.Seq < m.Oldest() })
	m = replayed(t, Options{}, entries)
	if got := describe(m); !strings.Contains(got, "DEAD.DLQ.q") {
		t.Errorf("recovered is only %q", got)
	}
	take(m, "DEAD.DLQ.q", Command{Op: Ack})
	if m.Oldest() != m.Last()+1 {
		t.Errorf("all is settled, but entries from %d on are needed", m.Oldest())
	}
}
