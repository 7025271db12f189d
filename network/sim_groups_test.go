package network

import (
	"math/rand/v2"
	"testing"
	"time"

	"baton/destinations"
)

// TestSimulationOfGroups lets brokers with messages of groups forward to each other, in
// phases of other consumers, while frames are late and lost. Of the messages that are
// sent in one phase, once all know of it, those of one group come to one
// consumer, and those of one producer in their order, but for those that say that they
// were returned.
func TestSimulationOfGroups(t *testing.T) {
	t.Parallel()
	first, seeds := *simFrom, max(1, *simSeeds/3)
	if *simSeed != 0 {
		first, seeds = *simSeed, 1
	}
	for seed := first; seed < first+uint64(seeds); seed++ {
		runGroups(t, seed)
		if t.Failed() {
			t.Fatalf("go test ./network -run TestSimulationOfGroups -sim.seed=%d", seed)
		}
	}
}

// A simGroups knows what is to come in which order.
type simGroups struct {
	phase   int // odd: all know of its consumers
	numbers int
	sent    map[string]groupSend              // by body
	last    map[groupSend]int                 // the number of the message that came last, by who sent it
	home    map[groupSend]string              // of each group in a phase
	working map[groupSend]map[simConsumer]int // messages of a group that a consumer has
}

type simConsumer struct {
	member string
	id     uint64
}

// A groupSend is who sent a message, and its number. Without a producer it is a group of a
// phase, and without that phase a group.
type groupSend struct {
	phase                  int
	queue, group, producer string
	number                 int
}

func (g *simGroups) sends(n *simNode, queue, group, body string) {
	if g == nil {
		return
	}
	g.numbers++
	g.sent[body] = groupSend{g.phase, queue, group, n.member, g.numbers}
}

func (g *simGroups) delivers(n *simNode, id uint64, body string, redelivered bool) {
	if g == nil {
		return
	}
	s, key := n.sim, g.sent[body]
	group := groupSend{queue: key.queue, group: key.group}
	if g.working[group] == nil {
		g.working[group] = map[simConsumer]int{}
	}
	g.working[group][simConsumer{n.member, id}]++
	if redelivered || key.phase%2 == 0 {
		return // not all knew of the consumers when it was sent
	}
	number := key.number
	if key.number = 0; g.last[key] > number {
		s.t.Errorf("seed %d: message %d of %+v comes after message %d", s.seed, number, key, g.last[key])
	}
	g.last[key] = number
	if key.producer = ""; key.phase < g.phase-1 {
		return // its consumer may have left
	}
	if len(g.working[group]) > 1 {
		s.t.Errorf("seed %d: of %+v, consumers have messages: %v", s.seed, key, g.working[group])
	}
	if g.home[key] == "" {
		g.home[key] = n.member
	}
	if g.home[key] != n.member {
		s.t.Errorf("seed %d: %+v is consumed at %s and at %s", s.seed, key, g.home[key], n.member)
	}
}

// acks notes that a consumer has settled a message.
func (g *simGroups) acks(n *simNode, id uint64, body string) {
	if g == nil {
		return
	}
	key := g.sent[body]
	has, who := g.working[groupSend{queue: key.queue, group: key.group}], simConsumer{n.member, id}
	if has[who]--; has[who] <= 0 {
		delete(has, who)
	}
}

func (g *simGroups) leaves(n *simNode, id uint64) {
	for _, has := range g.working {
		delete(has, simConsumer{n.member, id})
	}
}

func runGroups(t *testing.T, seed uint64) {
	s := newSim(t, seed)
	s.rand = rand.New(rand.NewPCG(seed, 8))
	s.groups = &simGroups{sent: map[string]groupSend{}, last: map[groupSend]int{}, home: map[groupSend]string{}, working: map[groupSend]map[simConsumer]int{}}
	for _, n := range s.nodes {
		n.static = nil
		n.start()
	}
	s.runFor(time.Second)
	for i := range max(len(s.nodes), len(s.queues)) {
		s.produce(i%len(s.nodes), s.queues[i%len(s.queues)])
	}
	for range 3 {
		var ends []func()
		for range 1 + s.rand.IntN(4) {
			queue := s.queues[s.rand.IntN(len(s.queues))]
			if s.rand.IntN(4) == 0 {
				queue = wildcards[s.rand.IntN(len(wildcards))]
			}
			ends = append(ends, s.nodes[s.rand.IntN(len(s.nodes))].consumeUntil(queue))
		}
		s.runFor(6 * time.Second) // views settle, and what waited is consumed
		s.groups.phase++
		s.runFor(5 * time.Second)
		s.groups.phase++
		s.runFor(s.between(0, 3*time.Second))
		s.groups.phase += 2
		for _, end := range ends {
			end()
		}
		s.runFor(s.between(0, time.Second))
	}
	s.calm, s.loss = true, 0
	for _, q := range s.queues {
		s.nodes[s.rand.IntN(len(s.nodes))].consume(q, "", -1)
	}
	s.runFor(20 * time.Second)
	for body := range s.sent {
		if !s.answered[body] {
			t.Errorf("seed %d: %s was confirmed and never consumed", seed, body)
		}
	}
	if t.Failed() {
		for _, n := range s.nodes {
			for _, q := range s.queues {
				t.Logf("%+v", n.exchange.explain(q))
			}
			t.Logf("%+v", n.exchange.status(s.now))
		}
	}
	if len(s.groups.home) == 0 {
		t.Errorf("seed %d: no group was seen", seed)
	}
}

// consumeUntil is consume until what it returns is called.
func (n *simNode) consumeUntil(queue string) (end func()) {
	n.consume(queue, "", -1)
	id := n.sessions
	return func() {
		delete(n.clients, id)
		n.sim.groups.leaves(n, id)
		n.do(destinations.Command{Op: destinations.Disconnect, Session: id, Clean: true})
	}
}
