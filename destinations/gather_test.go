package destinations

import (
	"fmt"
	"slices"
	"testing"
)

// A gatherer has durable subscriptions to a topic, each with a session, and a
// disk that is cleaned as far as may be.
type gatherer struct {
	t       *testing.T
	m       *Machine
	entries []Entry
}

const gathererTakers = 4 // subscriptions, of which the last takes nothing

func newGatherer(t *testing.T, o Options) *gatherer {
	g := &gatherer{t: t, m: New(o)}
	g.step(Command{Op: Start})
	for n := range gathererTakers {
		g.attach(n)
	}
	return g
}

func (g *gatherer) step(c Command) {
	g.t.Helper()
	var out Effects
	if err := g.m.Step(scriptTime, &c, &out); err != nil {
		g.t.Fatal(err)
	}
	for _, e := range out.Entries {
		g.entries = append(g.entries, readBack(e))
	}
}

func (g *gatherer) attach(n int) {
	g.t.Helper()
	c := Command{Op: Subscribe, Session: uint64(n + 1), Subscription: "s", Destination: Topic("t")}
	c.Consumer = &Consumer{Ack: AckIndividual, Prefetch: 10_000, PrefetchBytes: 1 << 30, Durable: DurableID{Client: fmt.Sprint("c", n), Name: "d"}}
	g.step(c)
}

func (g *gatherer) send(n int) {
	g.t.Helper()
	for range n {
		g.step(Command{Op: Send, Session: 9, Destination: Topic("t"), Message: newMessage("m", true)})
	}
}

// ack has a subscription acknowledge its deliveries from first to last, each by
// itself.
func (g *gatherer) ack(n int, first, last uint64) {
	g.t.Helper()
	for tag := first; tag <= last; tag++ {
		g.step(Command{Op: Ack, Session: uint64(n + 1), Delivery: DeliveryID{Sub: 1, Tag: tag}})
	}
}

// clean drops what a picture says is not needed, until there is no more of it.
func (g *gatherer) clean() {
	g.t.Helper()
	live := g.m.Live()
	there := map[uint64]bool{}
	for _, e := range g.entries {
		there[e.Seq] = true
	}
	g.entries = slices.DeleteFunc(g.entries, func(e Entry) bool {
		keep, err := live.Keep(e, func(seq uint64) bool { return !there[seq] })
		if err != nil {
			g.t.Fatal(err)
		}
		if !keep {
			delete(there, e.Seq)
		}
		return !keep
	})
}

func (g *gatherer) count(kind EntryKind) (n, bytes int) {
	for _, e := range g.entries {
		if e.Kind == kind {
			n++
			bytes += len(e.Body)
		}
	}
	return n, bytes
}

// recovered checks that the log alone gives what the machine has.
func (g *gatherer) recovered() {
	g.t.Helper()
	m := replayed(g.t, g.m.opts, g.entries)
	resume(g.t, m, g.m.Last())
	if got, want := describeAll(m), describeAll(g.m); got != want {
		g.t.Fatalf("recovered is\n%s\nwant\n%s", got, want)
	}
}

// restored goes on with a machine from a checkpoint.
func (g *gatherer) restored() {
	g.t.Helper()
	c := g.m.BeginCheckpoint()
	parts, _ := c.Next(1 << 20)
	m := New(g.m.opts)
	for _, p := range parts {
		if err := m.Restore(p.AppendTo(nil)); err != nil {
			g.t.Fatal(err)
		}
	}
	resume(g.t, m, c.From())
	g.m = m
	g.step(Command{Op: Start})
	for n := range gathererTakers {
		g.attach(n)
	}
}

// Where all but one durable subscription acknowledge each message by itself, the
// settlements that stay take an octet or two for each, but for the newest.
func TestSettlementsAreGathered(t *testing.T) {
	t.Parallel()
	const messages, takers = 1000, gathererTakers - 1
	g := newGatherer(t, Options{})
	g.send(messages)
	for n := range takers {
		g.ack(n, 1, messages)
	}
	if n, _ := g.count(KindSettle); n < messages*takers {
		t.Fatalf("%d settlements are in the log before it is cleaned", n)
	}
	g.clean()
	n, bytes := g.count(KindSettle)
	if most := takers * (messages/gatherAfter + gatherAfter); n > most || bytes > 2*messages*takers+20*n {
		t.Errorf("%d settlements stay, with %d octets; want at most %d, and two octets for a message", n, bytes, most)
	}
	g.recovered()
}

// A restart with a checkpoint does not forget what was gathered.
func TestGatheringsAreInTheCheckpoint(t *testing.T) {
	t.Parallel()
	const messages, takers = 200, gathererTakers - 1
	g := newGatherer(t, Options{})
	g.send(messages)
	for n := range takers { // one gathering, and a begun one
		g.ack(n, 1, gatherAfter+40)
	}
	g.restored()
	for n := range takers { // 200 - 168 are left; with those that were gathered, not enough
		g.ack(n, 1, messages-gatherAfter-40)
	}
	g.clean()
	if n, _ := g.count(KindSettle); n != takers*(1+messages-gatherAfter) {
		t.Errorf("%d settlements stay", n)
	}
	g.send(gatherAfter)
	for n := range takers {
		g.ack(n, messages-gatherAfter-40+1, messages-40)
	}
	g.clean()
	if n, _ := g.count(KindSettle); n != takers*(2+messages-gatherAfter) {
		t.Errorf("%d settlements stay, of two gatherings", n)
	}
	g.recovered()
}

// When nobody holds a message any more, what settled it stays until it is gone
// from the log, and so does what says so again.
func TestGatheredSettlementsStayWhileTheMessageDoes(t *testing.T) {
	t.Parallel()
	g := newGatherer(t, Options{gatherAfter: 2})
	g.send(4)
	for n := range gathererTakers {
		g.ack(n, 1, 4)
	}
	live := g.m.Live()
	stays := func(uint64) bool { return false }
	said := map[uint64]int{} // how often the settlement of a message stays
	for _, e := range g.entries {
		if keep, err := live.Keep(e, stays); err != nil || !keep || e.Kind != KindSettle {
			continue
		}
		r, _ := e.decode()
		for _, seq := range r.seqs {
			said[seq]++
		}
	}
	if len(said) != 4 {
		t.Errorf("settlements of %d messages stay, want those of 4", len(said))
	}
	g.clean()
	if n, _ := g.count(KindSettle); n != 0 {
		t.Errorf("%d settlements of nothing stay", n)
	}
}

// The log of a version that said nothing again may be long.
func TestGatheringsOfAReplayAreBounded(t *testing.T) {
	t.Parallel()
	g := newGatherer(t, Options{})
	const messages = gatherMost + 2*gatherAfter
	g.send(messages)
	g.ack(0, 1, messages)
	old := slices.DeleteFunc(g.entries, func(e Entry) bool {
		r, err := e.decode()
		return err != nil || r.again != 0
	})
	m := replayed(t, g.m.opts, old)
	if n := len(m.find(DurableID{"c0", "d"}.key()).gathering.seqs); n != 2*gatherAfter {
		t.Errorf("%d settlements are remembered after a replay of %d", n, messages)
	}
	g.entries, g.m = old, m
	g.step(Command{Op: Start})
	g.clean()
	if n, _ := g.count(KindSettle); n != gatherMost+1 {
		t.Errorf("%d settlements stay, of which one says %d again", n, 2*gatherAfter)
	}
	g.recovered()
}

// What is gathered is counted, and given back with the queue.
func TestGatheringsAreCounted(t *testing.T) {
	t.Parallel()
	g := newGatherer(t, Options{gatherAfter: gatheringFew + 1})
	g.send(gatheringFew + 1)
	before := g.m.Bytes()
	g.ack(0, 1, gatheringFew)
	if got := g.m.Bytes(); got != before {
		t.Errorf("a few settlements are counted as %d octets", got-before)
	}
	g.ack(0, gatheringFew+1, gatheringFew+1)
	if got := g.m.Bytes(); got != before+gatheringBytes {
		t.Errorf("more are counted as %d octets, want %d", got-before, gatheringBytes)
	}
	if len(g.m.Live().spans) != 1 {
		t.Error("no settlement is said again")
	}
	g.step(Command{Op: Unsubscribe, Session: 1, Subscription: "s", Delete: true})
	if got := g.m.Bytes(); got != before-queueBytes {
		t.Errorf("after the subscription %d octets are left of it", got-before+queueBytes)
	}
	if len(g.m.Live().spans) > 0 {
		t.Error("there is a span of a queue that is gone")
	}
}

// A standby, which says nothing again, keeps no queue that is deleted.
func TestStandbyForgetsWhatGathered(t *testing.T) {
	t.Parallel()
	g := newGatherer(t, Options{})
	g.send(2 * gatherAfter)
	g.ack(0, 1, gatherAfter-1)
	g.ack(1, 1, gatherAfter-1)
	var out Effects
	id := DurableID{Client: "c0", Name: "d"}
	for _, c := range []Command{
		{Op: Ack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: gatherAfter}},
		{Op: Unsubscribe, Session: 1, Subscription: "s", Delete: true, Consumer: &Consumer{Durable: id}},
	} {
		out.Reset()
		if err := g.m.Step(scriptTime, &c, &out); err != nil {
			t.Fatal(err)
		}
		for _, e := range out.Entries {
			g.entries = append(g.entries, readBack(e))
		}
	}
	standby := replayed(t, g.m.opts, g.entries)
	if n := len(standby.gathered); n > 0 {
		t.Fatalf("%d queues are to say again what they settled, of which none is there", n)
	}
	g.recovered()
}

// A dead letter of a subscription that is gone comes back late in a replay: until
// then it seems that nobody held the message when another settled it.
func TestSettlementOfWhatComesBackIsKept(t *testing.T) {
	t.Parallel()
	g := newGatherer(t, Options{gatherAfter: 2, MaxDeliveries: 1})
	g.send(3)
	g.ack(1, 1, 2) // that is said again
	for _, n := range []int{2, 3, 1} {
		g.ack(n, 3, 3)
	}
	g.step(Command{Op: Nack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: 3}})
	g.step(Command{Op: Unsubscribe, Session: 1, Subscription: "s", Delete: true, Consumer: &Consumer{Durable: DurableID{Client: "c0", Name: "d"}}})
	g.clean()
	g.recovered()

	m := replayed(t, g.m.opts, g.entries)
	resume(t, m, g.m.Last())
	g.m = m
	g.step(Command{Op: Start})
	g.attach(1)
	g.send(2)
	g.ack(1, 1, 2)
	g.clean()
	g.recovered()
}
