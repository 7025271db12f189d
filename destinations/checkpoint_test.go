package destinations

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// capture is a whole checkpoint, encoded.
func capture(m *Machine) (parts [][]byte, c *Checkpoint) {
	c = m.BeginCheckpoint()
	for done := false; !done; {
		var some []Part
		some, done = c.Next(1000)
		for _, part := range some {
			parts = append(parts, part.AppendTo(nil))
		}
	}
	return parts, c
}

func restored(t tester, o Options, parts [][]byte) *Machine {
	t.Helper()
	m := New(o)
	for _, part := range parts {
		if err := m.Restore(part); err != nil {
			t.Fatalf("restore: %v", err)
		}
	}
	return m
}

// backlogged is a machine with some in memory, many that are not, a dead letter
// and an attempt.
func backlogged(tb testing.TB) *rig {
	r := newRig(tb, Options{MemoryBytes: 20_000})
	for i := range 10 * chunkSlots {
		r.send(Queue("q"), newMessage(fmt.Sprint("m", i), true))
		r.send(Queue("r"), newMessage("other", i%3 > 0))
	}
	r.subscribe(1, Queue("q"), Consumer{Ack: AckIndividual, Prefetch: 5 * chunkSlots})
	for tag := uint64(300); tag < 310; tag++ {
		r.ack(tag)
	}
	r.step(Command{Op: Nack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: 20}})
	r.step(Command{Op: Nack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: 21}, More: &More{Refusal: Refusal{Reject: true}}})
	r.step(Command{Op: Disconnect, Session: 1, Clean: true})
	return r
}

func TestCheckpointRoundTrip(t *testing.T) {
	t.Parallel()
	r := backlogged(t)
	parts, c := capture(r.m)
	if c.From() != r.m.Last() || c.Upto() != r.m.Last() {
		t.Errorf("the checkpoint goes from %d up to %d, want %d", c.From(), c.Upto(), r.m.Last())
	}
	m := restored(t, Options{}, parts)
	if got, want := describeAll(m), describeAll(r.m); got != want {
		t.Errorf("restored is\n%s\nwant\n%s", got, want)
	}
	resume(t, m, r.m.Last())
	again, _ := capture(m)
	if !slices.EqualFunc(again, parts, slices.Equal) {
		t.Error("the checkpoint of what was restored from a checkpoint is another")
	}
}

// A large queue is in several parts.
func TestCheckpointOfALargeQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MemoryBytes: 1200})
	content := []byte("\nbody")
	for i := range 300_000 {
		r.send(Queue([]string{"a", "b"}[i%3/2]), &Message{Content: content, Persistent: true})
		r.m.last += uint64(i * 7919 % 300) // so that a seq takes 2 octets
	}
	parts, _ := capture(r.m)
	large := 0
	for _, part := range parts {
		if len(part) > partBytes+16<<10 {
			t.Errorf("a part has %d octets", len(part))
		}
		if len(part) > partBytes {
			large++
		}
	}
	if large == 0 {
		t.Errorf("%d parts, none of them is large", len(parts))
	}
	if got, want := describeAll(restored(t, Options{}, parts)), describeAll(r.m); got != want {
		t.Error("restored is something else")
	}
}

// What has not changed since the last checkpoint is not encoded again.
func TestCheckpointReusesImages(t *testing.T) {
	t.Parallel()
	r := backlogged(t)
	made := func() (n int) {
		c := r.m.BeginCheckpoint()
		for _, q := range c.queues {
			if q != nil {
				n += c.capture(q.destination.Name)
			}
		}
		return n
	}
	if n := made(); n < 10 {
		t.Errorf("the first checkpoint makes %d images", n)
	}
	if n := made(); n > 0 {
		t.Errorf("the second makes %d images again", n)
	}
	r.subscribe(1, Queue("q"), Consumer{Ack: AckClient, Prefetch: 1})
	r.ack(1)
	if n := made(); n != 1 {
		t.Errorf("after one acknowledgement it makes %d", n)
	}
}

// What is not in memory is packed again by the next checkpoint, when a consumer
// had it and left.
func TestCheckpointPacks(t *testing.T) {
	t.Parallel()
	r := backlogged(t)
	open := func() (n int) {
		for _, c := range r.m.queues["q"].levels[0].chunks {
			if c.live > 0 && c.resident == 0 && !c.packed() {
				n++
			}
		}
		return n
	}
	if open() == 0 {
		t.Fatal("a consumer had hundreds, and all are packed")
	}
	capture(r.m)
	if n := open(); n > 0 {
		t.Errorf("%d chunks that only wait are not packed", n)
	}
}

func TestRestoreKeepsNoMemory(t *testing.T) {
	t.Parallel()
	r := backlogged(t)
	parts, _ := capture(r.m)
	m := restored(t, Options{}, parts)
	for _, part := range parts {
		clear(part)
	}
	if got, want := describeAll(m), describeAll(r.m); got != want {
		t.Error("what was restored changed with the octets that it was restored from")
	}
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	r := backlogged(t)
	parts, _ := capture(r.m)
	end := len(parts) - 1
	start := Entry{Seq: 1 << 40, Kind: KindStart}
	refuses := func(name, want string, m *Machine, part []byte) {
		t.Helper()
		if err := m.Restore(part); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives the error %v, want one with %q", name, err, want)
		}
	}
	refuses("an empty part", "is empty", New(Options{}), nil)
	refuses("an unknown kind", "unknown kind 9", New(Options{}), []byte{9})
	refuses("a part after the last", "after the last", restored(t, Options{}, parts), parts[0])
	refuses("a queue twice", "malformed", restored(t, Options{}, parts[:1]), parts[0])
	refuses("a stretch twice", "stretch 0 ", restored(t, Options{}, parts[:end]), parts[end-1])
	refuses("a machine in use", "after entry", r.m, parts[0])

	m := restored(t, Options{}, parts[:end])
	if err := m.Replay(start); err == nil || !strings.Contains(err.Error(), "before the last part") {
		t.Errorf("a replay with a part missing gives the error %v", err)
	}
	if err := m.Resume(m.Last()); err == nil {
		t.Error("going on with a part missing gives no error")
	}
}

// A part that says what cannot be is refused, whatever the parts before it say.
func TestRestoreRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	image := func(seqs ...uint64) []byte {
		c := &chunk{}
		for _, seq := range seqs {
			c.slots = append(c.slots, slot{seq: seq, size: 100, marks: markStored})
		}
		return c.makeImage()
	}
	queues := func(sections ...section) Part { return Part{kind: partQueues, sections: sections} }
	live := func(s ...stretch) Part { return Part{kind: partLive, stretches: s} }
	gathered := Part{kind: partGatherings, gatherings: []gatheringSection{{"q", gathering{seqs: []uint64{3}, span: span{from: 2}}}}}
	end := Part{kind: partEnd, from: 10, upto: 20, start: 1}
	bitmap := make([]uint16, bitmapWords)
	bitmap[0], bitmap[63] = 0xffff, 0x0007
	tests := map[string][]Part{
		"a message newer than its section": {queues(section{"q", 4, 15, [][]byte{image(14, 16)}})},
		"messages out of order":            {queues(section{"q", 4, 15, [][]byte{image(3, 4), image(4)}})},
		"a message with the seq 0":         {queues(section{"q", 4, 15, [][]byte{{1, 0, 0, 0, 100, 0, 0, 0, 0, 0}}})},
		"an empty image":                   {queues(section{"q", 4, 15, [][]byte{{}}})},
		"a priority above the highest":     {queues(section{"q", levelWaiting + 1, 15, nil})},
		"one that waits for no time":       {queues(section{"q", levelWaiting, 15, [][]byte{image(14)}})},
		"sections of two moments":          {queues(section{"q", 4, 15, nil}, section{"q", 4, 16, nil})},
		"a section of no moment":           {queues(section{"q", 4, maxSeq + 1, nil})},
		"a section from before":            {queues(section{"q", 4, 9, nil}), end},
		"a section from after":             {queues(section{"q", 4, 21, nil}), end},
		"a bitmap of another number":       {live(stretch{number: 1, count: 20, set: bitmap})},
		"more than a stretch":              {live(stretch{number: 1, count: stretchSeqs + 1, set: bitmap})},
		"nothing in a stretch":             {live(stretch{number: 1, count: 0})},
		"too many octets":                  {live(stretch{number: 1, count: 1, bytes: 1<<32 + 1, set: []uint16{3}})},
		"offsets out of order":             {live(stretch{number: 1, count: 2, set: []uint16{3, 3}})},
		"an offset beyond the stretch":     {live(stretch{number: 1, count: 2, set: []uint16{3, 1024}})},
		"stretches out of order":           {live(stretch{number: 1, count: 1, set: []uint16{3}}, stretch{number: 1, count: 1, set: []uint16{4}})},
		"a stretch from after":             {live(stretch{number: 1, count: 1, set: []uint16{3}}), end},
		"a gathering twice":                {queues(section{"q", 4, 15, [][]byte{image(14)}}), gathered, gathered},
		"a beginning behind the end":       {{kind: partEnd, from: 21, upto: 20}},
		"a start behind the end":           {{kind: partEnd, from: 10, upto: 20, start: 21}},
		"an end beyond all":                {{kind: partEnd, from: 10, upto: maxSeq + 1}},
	}
	for name, parts := range tests {
		m := New(Options{})
		var err error
		for i, part := range parts {
			if err = m.Restore(part.AppendTo(nil)); err != nil && i < len(parts)-1 {
				t.Fatalf("%s: part %d gives the error %v already", name, i, err)
			}
		}
		if err == nil {
			t.Errorf("%s gives no error", name)
		}
	}
	valid := []Part{
		queues(section{"q", 4, 15, [][]byte{image(3, 4), image(5, 15)}}, section{"q", 4, 15, [][]byte{}}, section{"r", 4, 10, nil}),
		live(stretch{number: 0, count: 1, set: []uint16{3}}), end,
	}
	var parts [][]byte
	for _, part := range valid {
		parts = append(parts, part.AppendTo(nil))
	}
	restored(t, Options{}, parts)
	for i, part := range parts {
		m := restored(t, Options{}, parts[:i])
		if err := m.Restore(part[:len(part)-1]); err == nil {
			t.Errorf("part %d gives no error when it is cut", i)
		}
	}
	m := restored(t, Options{}, parts[:2])
	if err := m.Restore(append(parts[2], 0)); err == nil {
		t.Error("an octet behind the end gives no error")
	}
}

// Early versions did not write of which priority a section is.
func TestRestoreOfAnEarlyVersion(t *testing.T) {
	t.Parallel()
	c := &chunk{}
	c.push(slot{seq: 3, size: 100, marks: markStored})
	c.push(slot{seq: 7, size: 100, marks: markStored})
	c.setExtra(1, extra{content: 3, dead: &DeadLetter{Reason: ReasonRejected, Destination: Queue("p")}})
	early := []byte{byte(partPlainQueues)}
	early = appendString(early, "q")
	early = append(early, 9, 1) // as of 9, one image
	early = appendString(early, string(c.makeImage()))
	now := Part{kind: partQueues, sections: []section{{"q", DefaultPriority, 9, [][]byte{c.makeImage()}}}}
	end := Part{kind: partEnd, from: 9, upto: 9}.AppendTo(nil)
	got := describeAll(restored(t, Options{}, [][]byte{early, end}))
	if want := describeAll(restored(t, Options{}, [][]byte{now.AppendTo(nil), end})); got != want || !strings.Contains(got, "q 7 content=3") {
		t.Errorf("restored is\n%swant\n%s", got, want)
	}
}

// Between the beginning and the end of a checkpoint queues come and go, and come
// again: what moves between one that was captured and one that was not is in
// exactly one of them.
func TestCheckpointWhileQueuesComeAndGo(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"a", "b"} { // captured before and after DLQ.a and DLQ.b, by their age
		r := newRig(t, Options{})
		log := func(c Command) (entries []Entry) {
			r.step(c)
			for _, e := range r.out.Entries {
				entries = append(entries, readBack(e))
			}
			return entries
		}
		other := map[string]string{"a": "b", "b": "a"}[from]
		r.send(Queue(from), newMessage("one", true))
		r.send(Queue("DLQ."+from), newMessage("zero", true))
		r.send(Queue(other), newMessage("two", true))
		var tail []Entry
		var parts [][]byte
		c := r.m.BeginCheckpoint()
		for step, done := 0, false; !done; step++ {
			some, last := c.Next(1)
			for _, part := range some {
				parts = append(parts, part.AppendTo(nil))
			}
			if done = last; step != 1 {
				continue
			}
			r.subscribe(1, Queue(from), Consumer{Ack: AckIndividual, RejectNacks: true})
			tail = append(tail, log(Command{Op: Nack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: 1}})...)
			tail = append(tail, log(Command{Op: Disconnect, Session: 1, Clean: true})...)
			tail = append(tail, log(Command{Op: Send, Session: 1, Destination: Queue(from), Message: newMessage("three", true)})...)
		}
		m := restored(t, Options{}, parts)
		for _, e := range tail {
			if err := m.Replay(e); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := describeAll(m), describeAll(r.m); got != want {
			t.Errorf("restored is\n%swant\n%s", got, want)
		}
	}
}

// FuzzRestore gives Restore any part. It must not panic, nor may anything that
// follows, nor may it take more memory than the part explains.
func FuzzRestore(f *testing.F) {
	parts, _ := capture(backlogged(f).m)
	for _, part := range parts {
		if len(part) < 8<<10 {
			f.Add(part)
		}
	}
	r := newRig(f, Options{MaxDeliveries: 1})
	r.send(Queue("q"), newMessage("one", true))
	r.send(Queue("q"), newMessage("two", true))
	r.subscribe(1, Queue("q"), Consumer{Ack: AckIndividual, RejectNacks: true})
	r.step(Command{Op: Nack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: 2}})
	r.step(Command{Op: Disconnect, Session: 1})
	parts, _ = capture(r.m)
	for _, part := range parts {
		f.Add(part)
	}
	f.Fuzz(func(t *testing.T, part []byte) {
		m := New(Options{})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := m.Restore(part)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 64<<10+256*uint64(len(part)) {
			t.Errorf("%d octets take %d of memory", len(part), took)
		}
		if err != nil {
			return
		}
		end := Part{kind: partEnd, upto: maxSeq}
		if !m.recovery.complete && m.Restore(end.AppendTo(nil)) != nil {
			return
		}
		resume(t, m, maxSeq)
		consumeAll(t, m)
	})
}

// consumeAll takes everything out of every queue.
func consumeAll(t *testing.T, m *Machine) {
	describeAll(m)
	capture(m)
	out := &Effects{}
	step := func(c Command) {
		out.Reset()
		if err := m.Step(scriptTime, &c, out); err != nil {
			t.Fatal(err)
		}
	}
	step(Command{Op: Start})
	for _, q := range slices.Clone(m.roster.places) {
		step(Command{Op: Subscribe, Session: 1, Subscription: "s", Destination: q.destination, Consumer: &Consumer{
			Ack: AckClient, Prefetch: 1 << 20, PrefetchBytes: 1 << 60,
		}})
		sub := m.sessions[1].lastSub
		for q.live > 0 {
			s := m.sessions[1].named("s")
			step(Command{Op: Ack, Session: 1, Delivery: DeliveryID{Sub: sub, Tag: s.flights.last()}})
		}
		step(Command{Op: Unsubscribe, Session: 1, Subscription: "s"})
	}
	if s := m.Stats(); s.Messages > 0 || s.Queues > 0 {
		t.Errorf("left are %+v", s)
	}
}

// deep is a machine with a backlog of which nothing is in memory: of a queue
// that had the log for itself, or shared it with others and with settlements.
func deep(tb testing.TB, messages int, shared bool) *rig {
	r := newRig(tb, Options{MemoryBytes: 1 << 10})
	content := make([]byte, 1500)
	content[0] = '\n'
	for i := range messages {
		size := 1024
		if shared {
			size += i * 7919 % 100
			r.m.last += uint64(i * 104_729 % 8)
		}
		r.send(Queue("deep"), &Message{Content: content[:size], Persistent: true})
	}
	return r
}

// Messages that wait with their content only in the log take 1 to 4 octets.
func TestPackedMemoryPerMessage(t *testing.T) {
	const messages = 500_000
	for shared, most := range map[bool]float64{false: 1.6, true: 4.5} {
		before := heapBytes()
		r := deep(t, messages, shared)
		if n := float64(heapBytes()-before) / messages; n > most {
			t.Errorf("shared=%v: %.2f octets a message, want at most %.1f", shared, n, most)
		}
		runtime.KeepAlive(r)
	}
}

// BenchmarkBacklogMemory reports what a message takes whose content is only in
// the log, packed and not.
func BenchmarkBacklogMemory(b *testing.B) {
	const messages = 1_000_000
	for _, shared := range []bool{false, true} {
		b.Run(fmt.Sprintf("shared=%v", shared), func(b *testing.B) {
			for b.Loop() {
				before := heapBytes()
				r := deep(b, messages, shared)
				packed := heapBytes() - before
				for _, c := range r.m.queues["deep"].levels[0].chunks {
					c.unpack()
					c.image = nil
				}
				b.ReportMetric(float64(packed)/messages, "packed-B/message")
				b.ReportMetric(float64(heapBytes()-before)/messages, "open-B/message")
				runtime.KeepAlive(r)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/messages, "ns/message")
		})
	}
}

// BenchmarkCheckpoint takes a checkpoint of 10 million messages of which one
// chunk has changed: in the engine's goroutine, and encoding it in another.
func BenchmarkCheckpoint(b *testing.B) {
	const messages = 10_000_000
	r := deep(b, messages, true)
	capture(r.m)
	b.Run("capture", func(b *testing.B) {
		for b.Loop() {
			r.m.BeginCheckpoint().Next(1 << 30)
		}
		b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms")
	})
	b.Run("live", func(b *testing.B) {
		for b.Loop() {
			r.m.Live()
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "us")
	})
	b.Run("encode", func(b *testing.B) {
		parts, _ := r.m.BeginCheckpoint().Next(1 << 30)
		var dst []byte
		for b.Loop() {
			dst = dst[:0]
			for _, part := range parts {
				dst = part.AppendTo(dst)
			}
		}
		b.ReportMetric(float64(len(dst))/messages, "B/message")
	})
}

// BenchmarkRestore brings 10 million messages back.
func BenchmarkRestore(b *testing.B) {
	const messages = 10_000_000
	for _, shared := range []bool{false, true} {
		parts, _ := capture(deep(b, messages, shared).m)
		b.Run(fmt.Sprintf("shared=%v", shared), func(b *testing.B) {
			for b.Loop() {
				m := restored(b, Options{}, parts)
				if m.Stats().Messages != messages {
					b.Fatal("some are missing")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N)/(messages/1e6), "ms/million")
		})
	}
}
