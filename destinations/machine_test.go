package destinations

import (
	"fmt"
	"runtime"
	"testing"

	"baton/destinations/selector"
)

// A rig steps a machine as a broker does, with one Effects for ever.
type rig struct {
	tb  testing.TB
	m   *Machine
	out Effects
}

func newRig(tb testing.TB, o Options) *rig {
	r := &rig{tb: tb, m: New(o)}
	r.step(Command{Op: Start})
	return r
}

func (r *rig) step(c Command) {
	r.out.Reset()
	if err := r.m.Step(scriptTime, &c, &r.out); err != nil {
		r.tb.Fatal(err)
	}
}

func (r *rig) subscribe(session uint64, d Destination, c Consumer) {
	r.step(Command{Op: Subscribe, Session: session, Subscription: "s", Destination: d, Consumer: &c})
}

func (r *rig) send(d Destination, m *Message) {
	r.step(Command{Op: Send, Session: 1, Destination: d, Message: m})
}

func (r *rig) ack(tag uint64) {
	r.step(Command{Op: Ack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: tag}})
}

func TestStepPanicsOnUnknownCommand(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a command without an operation does not panic")
		}
	}()
	newRig(t, Options{}).step(Command{Session: 1})
}

func TestEffectsReset(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Pending: Pending{Messages: 1}})
	r.subscribe(1, Topic("t"), Consumer{Prefetch: 1})
	for range 3 {
		r.send(Topic("t"), newMessage("m", false))
	}
	if r.out.Dropped == 0 {
		t.Fatal("nothing was dropped")
	}
	r.send(Queue("q"), newMessage("m", true))
	entries, outputs := r.out.Entries, r.out.Outputs
	r.out.Reset()
	if len(r.out.Entries)+len(r.out.Outputs)+r.out.Dropped > 0 || r.out.Sync {
		t.Errorf("after Reset: %+v", r.out)
	}
	if entries[0].Body != nil || len(outputs) > 0 && outputs[0].Delivery.Message != nil {
		t.Error("Reset keeps messages from being freed")
	}
}

// What one large Step needed is not kept for ever.
func TestEffectsGiveMemoryBack(t *testing.T) {
	t.Parallel()
	var e Effects
	for _, n := range []int{10 * keepEffects, 10, 10} {
		e.Entries, e.Outputs = append(e.Entries, make([]Entry, n)...), append(e.Outputs, make([]Output, n)...)
		e.Reset()
	}
	if cap(e.Entries) > keepEffects || cap(e.Outputs) > keepEffects {
		t.Errorf("there is room for %d entries and %d outputs", cap(e.Entries), cap(e.Outputs))
	}
}

// A Step of the steady state allocates nothing. The first rounds make rings
// and chunks.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	for _, persistent := range []bool{true, false} {
		for _, mode := range []AckMode{AckAuto, AckClient, AckIndividual} {
			r := newRig(t, Options{})
			r.subscribe(1, Queue("q"), Consumer{Ack: mode})
			msg := newMessage("body", persistent)
			var tag uint64
			round := func() {
				for range 10 * chunkSlots { // AllocsPerRun would round a rare one down
					*msg = Message{Content: msg.Content, Persistent: persistent}
					r.send(Queue("q"), msg)
					tag++
					if mode == AckAuto {
						r.step(Command{Op: Sent, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: tag}})
					} else {
						r.ack(tag)
					}
				}
			}
			round()
			if n := testing.AllocsPerRun(5, round); n > 0 {
				t.Errorf("persistent=%v mode=%d: %v allocations in %d rounds of send, deliver, settle", persistent, mode, n, 10*chunkSlots)
			}
		}
	}
}

// A backlog takes a slot and a Message for each message, and little more.
func TestBacklogMemoryPerMessage(t *testing.T) {
	const messages, most = 200_000, 80
	r := newRig(t, Options{MemoryBytes: 1 << 40})
	if n := fillBytes(r, messages); n > most {
		t.Errorf("%d octets a message beyond its content, want at most %d", n, most)
	}
	runtime.KeepAlive(r)
}

// fillBytes sends to a queue that nobody consumes and returns the octets of
// memory that each message takes. They share one content.
func fillBytes(r *rig, messages int) int {
	content := []byte("\nbody")
	before := heapBytes()
	for range messages {
		r.send(Queue("deep"), &Message{Content: content, Persistent: true})
	}
	return int(heapBytes()-before) / messages
}

// A queue with a message, and a subscription, take little: there may be very many.
func BenchmarkMemory(b *testing.B) {
	const many = 10_000
	measure := func(what string, one func(r *rig, i int)) {
		b.Run(what, func(b *testing.B) {
			for b.Loop() {
				r := newRig(b, Options{})
				before := heapBytes()
				for i := range many {
					one(r, i)
				}
				b.ReportMetric(float64(heapBytes()-before)/many, "B/"+what)
				runtime.KeepAlive(r)
			}
		})
	}
	measure("queue", func(r *rig, i int) {
		r.send(Queue(fmt.Sprintf("queue.%05d", i)), &Message{Content: []byte("\nbody"), Persistent: true})
	})
	measure("queue-subscription", func(r *rig, i int) {
		r.subscribe(uint64(i+1), Queue(fmt.Sprintf("queue.%05d", i)), Consumer{Ack: AckIndividual})
	})
	measure("topic-subscription", func(r *rig, i int) { r.subscribe(uint64(i+1), Topic("t"), Consumer{}) })
}

func heapBytes() int64 {
	runtime.GC() // twice: what pools keep goes with the second
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// One message through a queue: send, deliver, acknowledge.
func BenchmarkQueue(b *testing.B) {
	for _, persistent := range []bool{true, false} {
		b.Run(fmt.Sprintf("persistent=%v", persistent), func(b *testing.B) {
			r := newRig(b, Options{})
			r.subscribe(1, Queue("q"), Consumer{Ack: AckIndividual})
			content := make([]byte, 1024)
			b.ReportAllocs()
			var tag uint64
			for b.Loop() {
				r.send(Queue("q"), &Message{Content: content, Persistent: persistent})
				tag++
				r.ack(tag)
			}
		})
	}
}

// One message to the subscribers of a topic, each of which takes it.
func BenchmarkTopic(b *testing.B) {
	for _, subscribers := range []uint64{1, 100, 1000} {
		b.Run(fmt.Sprintf("subscribers=%d", subscribers), func(b *testing.B) {
			r := newRig(b, Options{})
			for session := range subscribers {
				r.subscribe(session, Topic("t"), Consumer{})
			}
			content := make([]byte, 1024)
			b.ReportAllocs()
			var tag uint64
			for b.Loop() {
				r.send(Topic("t"), &Message{Content: content})
				tag++
				for session := range subscribers {
					r.step(Command{Op: Sent, Session: session, Delivery: DeliveryID{Sub: 1, Tag: tag}})
				}
			}
			perMessage(b, int(subscribers), "ns/copy")
		})
	}
}

// perMessage reports what one of so many messages of each round took.
func perMessage(b *testing.B, messages int, unit string) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*messages), unit)
}

// One message to ten durable subscriptions of a topic, each of which
// acknowledges it.
func BenchmarkDurables(b *testing.B) {
	const durables = 10
	r := newRig(b, Options{})
	for session := range uint64(durables) {
		r.subscribe(session, Topic("t"), Consumer{Ack: AckIndividual, Durable: DurableID{Client: fmt.Sprint(session), Name: "d"}})
	}
	content := make([]byte, 1024)
	b.ReportAllocs()
	var tag uint64
	for b.Loop() {
		r.send(Topic("t"), &Message{Content: content, Persistent: true})
		tag++
		for session := range uint64(durables) {
			r.step(Command{Op: Ack, Session: session, Delivery: DeliveryID{Sub: 1, Tag: tag}})
		}
	}
	perMessage(b, durables, "ns/copy")
}

// One message through a queue with ten consumers, each with a selector: the last
// one's is true of it.
func BenchmarkSelectors(b *testing.B) {
	const consumers = 10
	r := newRig(b, Options{Fields: func(*Message) selector.Fields { return numbered{} }})
	for session := range uint64(consumers) {
		r.subscribe(session, Queue("q"), Consumer{Ack: AckIndividual, Selector: selected(b, fmt.Sprintf("n = %d", session))})
	}
	content := []byte("\nbody")
	b.ReportAllocs()
	var tag uint64
	for b.Loop() {
		r.send(Queue("q"), &Message{Content: content})
		tag++
		r.step(Command{Op: Ack, Session: consumers - 1, Delivery: DeliveryID{Sub: 1, Tag: tag}})
	}
}

// numbered are the fields of a message with n = 9, which take no time to read.
type numbered struct{}

var nine = []byte("9")

func (numbered) Field(string) ([]byte, bool) { return nine, true }

// A transaction of a hundred persistent messages, and their acknowledgements.
func BenchmarkCommit(b *testing.B) {
	const sends = 100
	r := newRig(b, Options{})
	r.subscribe(1, Queue("q"), Consumer{Ack: AckIndividual})
	content := make([]byte, 1024)
	b.ReportAllocs()
	var tag uint64
	for b.Loop() {
		more := More{Tx: "1", Sends: make([]Outgoing, sends)}
		for i := range more.Sends {
			more.Sends[i] = Outgoing{Destination: Queue("q"), Message: &Message{Content: content, Persistent: true}}
		}
		r.step(Command{Op: Commit, Session: 1, More: &more})
		for range sends {
			tag++
			r.ack(tag)
		}
	}
	perMessage(b, sends, "ns/message")
}

// A million messages into a queue that nobody consumes, and out again.
func BenchmarkDeepBacklog(b *testing.B) {
	const messages = 1_000_000
	for b.Loop() {
		r := newRig(b, Options{MemoryBytes: 1 << 40})
		b.ReportMetric(float64(fillBytes(r, messages)), "B/message")
		r.subscribe(1, Queue("deep"), Consumer{Ack: AckClient, Prefetch: 1000})
		for tag := uint64(1000); tag <= messages; tag += 1000 {
			r.ack(tag)
		}
		if n := r.m.Stats().Messages; n != 0 {
			b.Fatalf("%d messages are left", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/messages, "ns/message")
}

// A thousand messages, acknowledged in one.
func BenchmarkCumulativeAck(b *testing.B) {
	const messages = 1000
	r := newRig(b, Options{})
	r.subscribe(1, Queue("q"), Consumer{Ack: AckClient, Prefetch: messages})
	content := make([]byte, 1024)
	b.ReportAllocs()
	var tag uint64
	for b.Loop() {
		for range messages {
			r.send(Queue("q"), &Message{Content: content, Persistent: true})
		}
		tag += messages
		r.ack(tag)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/messages, "ns/message")
}

// saying returns what c says more, to be changed.
func (c *Command) saying() *More {
	if c.More == nil {
		c.More = &More{}
	}
	return c.More
}
