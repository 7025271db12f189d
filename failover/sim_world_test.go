package failover

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A sim is a pair of nodes with its register, network, disks and clients under a clock of its own. The nodes are the real
// code: State, Log, journal, Sender, Receiver and frames; a simTerm is the shell of a member. One seed decides everything.
//
// Everything is done by one goroutine, save what the code under test does in others: the journal, and whatever may wait for
// a disk. Those come to rest before the next thing happens (synctest.Wait), at a call that the simulated disk has not
// answered yet; so nothing depends on how goroutines are scheduled. The clock of the bubble stands still: nothing happens by
// itself.
type sim struct {
	seed   uint64
	rng    *rand.Rand
	mutant *simMutant
	now    time.Duration
	queue  simQueue
	events uint64 // put into queue so far

	nodes    [2]*simNode
	register *simRegistry
	reach    [3][3]bool // from, to: the nodes, and the register
	conns    []*simConn
	clients  simClients
	checker  simChecker
	reckless bool // an operator accepts losses now and then
	calm     bool // no fault happens any more

	broken string // what was violated
	hash   uint64 // of everything that was noted
	trace  *strings.Builder
}

// theRegister is its place in sim.reach.
const theRegister = 2

type simEvent struct {
	at    time.Duration
	order uint64
	node  *simNode // that must not stand still; nil: none
	do    func()
}

type simQueue []simEvent

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(x any)   { *q = append(*q, x.(simEvent)) }
func (q *simQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = simEvent{}
	*q = (*q)[:last]
	return e
}

// after has something happen later.
func (s *sim) after(d time.Duration, do func()) { s.schedule(d, nil, do) }

func (s *sim) schedule(d time.Duration, n *simNode, do func()) {
	s.events++
	heap.Push(&s.queue, simEvent{s.now + d, s.events, n, do})
}

// note adds a line to the trace.
func (s *sim) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d %s", s.hash, s.now, line)
	s.hash = h.Sum64()
	if s.trace != nil {
		fmt.Fprintf(s.trace, "%10.6f %s\n", s.now.Seconds(), line)
	}
}

// violate notes what must not be; the first one counts.
func (s *sim) violate(name, format string, args ...any) {
	if s.broken == "" {
		s.broken = name + ": " + fmt.Sprintf(format, args...)
		s.note("VIOLATED %s", s.broken)
	}
}

func (s *sim) chance(percent int) bool { return s.rng.IntN(100) < percent }

// between is a duration from a to b.
func (s *sim) between(a, b time.Duration) time.Duration {
	return a + time.Duration(s.rng.Int64N(int64(b-a)+1))
}

// run goes on until a time, a violation, or done.
func (s *sim) run(until time.Duration, done func() bool) {
	for s.broken == "" && len(s.queue) > 0 && s.queue[0].at <= until && !done() {
		e := heap.Pop(&s.queue).(simEvent)
		s.now = e.at
		if e.node != nil && e.node.paused {
			e.node.deferred = append(e.node.deferred, e.do)
			continue
		}
		e.do()
		s.settle()
		s.checkAlways()
	}
}

// settle lets everything come to rest, and sees to what has come of it.
func (s *sim) settle() {
	for {
		synctest.Wait()
		s.nodes[0].catchUp()
		s.nodes[1].catchUp()
		a, b := s.nodes[0].reap(), s.nodes[1].reap()
		if !a && !b {
			return
		}
	}
}

// How long the faults last, and how long a pair may take to be whole again afterwards.
const (
	simFaults = 15 * time.Second
	simPeace  = 60 * time.Second
)

// A simResult is what came of one seed.
type simResult struct {
	broken string
	hash   uint64
	trace  string
	stats  simStats
}

// simStats say what the runs have come to.
type simStats struct {
	runs, events, masters, receipts, cuts, snapshots, kills, faults uint64
	time                                                            time.Duration
}

func (a *simStats) add(b simStats) {
	a.runs += b.runs
	a.events += b.events
	a.masters += b.masters
	a.receipts += b.receipts
	a.cuts += b.cuts
	a.snapshots += b.snapshots
	a.kills += b.kills
	a.faults += b.faults
	a.time += b.time
}

func (a simStats) String() string {
	return fmt.Sprintf("%d runs, %.0f hours, %d events, %d faults, %d processes killed, %d masters, %d receipts, %d tails cut, %d snapshots",
		a.runs, a.time.Hours(), a.events, a.faults, a.kills, a.masters, a.receipts, a.cuts, a.snapshots)
}

// simulate plays one seed.
func simulate(t *testing.T, seed uint64, x *simMutant, traced bool) (r simResult) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		s := newSim(seed, x)
		if traced {
			s.trace = new(strings.Builder)
		}
		s.play()
		s.end()
		r = simResult{broken: s.broken, hash: s.hash, stats: s.checker.stats}
		r.stats.runs, r.stats.events, r.stats.time = 1, s.events, s.now
		if traced {
			r.trace = s.trace.String()
		}
	})
	return r
}

func newSim(seed uint64, x *simMutant) *sim {
	if x == nil {
		x = new(simMutant)
	}
	s := &sim{seed: seed, rng: rand.New(rand.NewPCG(seed, 6)), mutant: x}
	for i := range s.reach {
		s.reach[i] = [3]bool{true, true, true}
	}
	s.reckless = s.chance(15)
	s.checker.init(s)
	s.register = newSimRegistry(s)
	for i := range s.nodes {
		s.nodes[i] = newSimNode(s, i)
	}
	return s
}

func (s *sim) play() {
	for _, n := range s.nodes {
		s.schedule(s.between(0, time.Second), n, n.start)
	}
	s.clients.begin(s)
	if s.chance(5) {
		s.impersonate(s.nodes[s.rng.IntN(2)])
	}
	s.faultLater()
	s.run(simFaults, func() bool { return false })
	if s.broken != "" {
		return
	}
	s.appease()
	deadline := s.now + simPeace
	s.run(deadline, s.whole)
	if s.broken == "" && !s.whole() {
		s.violate("L1/L2", "%v after the last fault: %s", s.now-simFaults, s.describe())
	}
	if s.broken == "" {
		s.finalCheck()
	}
}

// whole says that the pair is as it should be, and that clients get on.
func (s *sim) whole() bool {
	for _, n := range s.nodes {
		newest := n.serves() && n.term.state.Epoch() == s.register.head().Record.Epoch // not one that does not know yet that it is none
		if newest && n.term.state.Role() == Duplex && s.clients.receiptedSince > 2 {
			return true
		}
	}
	return false
}

func (s *sim) describe() string {
	text := ""
	for _, n := range s.nodes {
		text += n.describe() + "; "
	}
	return text + fmt.Sprintf("the register has %+v", s.register.head())
}

// end has nothing left.
func (s *sim) end() {
	for _, n := range s.nodes {
		n.paused = false
		if n.up {
			n.die(simKilled)
		}
	}
	s.settle()
}
