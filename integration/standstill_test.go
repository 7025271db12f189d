package integration

import (
	"cmp"
	"context"
	"flag"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"
)

var (
	stops       = flag.Int("stops", 12, "how often TestStandstill stops a process of a pair")
	longestStop = flag.Duration("longest-stop", 4*time.Second, "and for how long at most")
	away        = flag.Duration("away", 10*time.Second, "how long TestArbiterAway lets the arbiter be gone")
	blackouts   = flag.Int("blackouts", 3, "how often TestEverythingKilled kills a pair and its arbiter")
)

// processes of a pair: both nodes, and the arbiter.
func (p *pair) processes() [3]*pairProcess { return [3]*pairProcess{p.nodes[0], p.nodes[1], p.arbiter} }

func signalTo(t *testing.T, p *pairProcess, s syscall.Signal) {
	t.Helper()
	if err := p.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// A halt is a time in which a process does nothing.
type halt struct {
	process  int
	from, to time.Duration
}

// planHalts are so many halts that follow one another or overlap, of 0.1 s to the longest, the short ones as often as the long
// ones.
func planHalts(rng *rand.Rand, count int, longest time.Duration) (halts []halt) {
	const shortest = 100 * time.Millisecond
	from := time.Duration(0)
	for range count {
		span := shortest
		for span < longest && rng.IntN(4) > 0 {
			span = min(span*2, longest)
		}
		halts = append(halts, halt{rng.IntN(3), from, from + span})
		from += time.Duration(rng.Int64N(int64(span + 2*time.Second)))
	}
	return halts
}

// Master, standby and arbiter stand still for a while, by themselves or together, under load: what a machine does that swaps,
// sleeps or is moved. They know nothing of it when they go on.
func TestStandstill(t *testing.T) {
	t.Parallel()
	t.Logf("%d stops, -seed %d", *stops, *seed)
	sideBySide(t, *stops, 1, 4, func(t *testing.T, from, to int, rng *rand.Rand) {
		p := newBusyPair(newPair(t, expiryPolicy), rng)
		stand(t, p.pair, planHalts(rng, to-from, *longestStop))
		p.awaitSync()
		p.rest()
		p.judge()
	})
}

// stand carries out a plan.
func stand(t *testing.T, p *pair, halts []halt) {
	t.Helper()
	type turn struct {
		at      time.Duration
		process int
		step    int // 1: one halt more, -1: one less
	}
	var turns []turn
	for _, h := range halts {
		turns = append(turns, turn{h.from, h.process, 1}, turn{h.to, h.process, -1})
	}
	slices.SortFunc(turns, func(a, b turn) int { return cmp.Compare(a.at, b.at) })
	began := time.Now()
	var halted [3]int
	for _, turn := range turns {
		time.Sleep(time.Until(began.Add(turn.at)))
		before := halted[turn.process]
		halted[turn.process] += turn.step
		switch after := halted[turn.process]; {
		case before == 0:
			signalTo(t, p.processes()[turn.process], syscall.SIGSTOP)
		case after == 0:
			signalTo(t, p.processes()[turn.process], syscall.SIGCONT)
		}
	}
}

// The arbiter is gone for a while, under load: nothing pauses, nobody changes roles. When it is back the standby can take over.
func TestArbiterAway(t *testing.T) {
	t.Parallel()
	t.Logf("-seed %d", *seed)
	rng := rand.New(rand.NewPCG(*seed, 5))
	p := newBusyPair(newPair(t, expiryPolicy), rng)
	master := p.awaitSync()
	before, _ := p.status(master)
	p.arbiter.Kill()
	killed := time.Now()
	time.Sleep(*away)
	longest := p.probe.pause(killed, time.Now())
	for node := range p.nodes {
		if s, ok := p.status(node); *away > 8*time.Second && ok && !slices.Contains(s.Alarms, "REGISTER_AWAY") {
			t.Errorf("nobody is told that the arbiter of node %d is away: %v", node, s.Alarms)
		}
	}
	if after, ok := p.status(master); !ok || after.Epoch != before.Epoch || after.Role != before.Role {
		p.showLogs()
		t.Errorf("without an arbiter %+v has become %+v", before, after)
	}
	t.Logf("the longest pause between two receipts within %v was %v", *away, longest.Round(time.Millisecond))
	if most := 5 * time.Second; longest > most { // as where nothing is wrong, on a machine that has too much to do
		p.showLogs()
		t.Errorf("nothing was receipted for %v", longest)
	}
	p.arbiter.start(t)
	p.awaitReachable(1 - master)
	killed = time.Now()
	p.kill(master)
	took, err := p.probe.since(within(t), killed)
	if err != nil {
		p.showLogs()
		t.Fatalf("%v", err)
	}
	t.Logf("killed afterwards: first receipt after %v", took.Round(time.Millisecond))
	p.start(master)
	p.awaitSync()
	p.rest()
	p.judge()
}

// awaitReachable waits until a node reaches the arbiter.
func (p *pair) awaitReachable(node int) {
	p.t.Helper()
	for ctx := within(p.t); ; {
		if s, ok := p.status(node); ok && s.Register.State == "reachable" {
			return
		}
		if ctx.Err() != nil {
			p.showLogs()
			p.t.Fatalf("node %d does not reach the arbiter", node)
		}
		time.Sleep(askEvery)
	}
}

// Both nodes and the arbiter are killed within a second, and come back in any order: who was in sync may begin.
func TestEverythingKilled(t *testing.T) {
	t.Parallel()
	t.Logf("%d blackouts, -seed %d", *blackouts, *seed)
	var all pauses
	sideBySide(t, *blackouts, 1, 6, func(t *testing.T, from, to int, rng *rand.Rand) {
		p := newBusyPair(newPair(t, expiryPolicy, refusing), rng)
		for range to - from {
			p.blackOut(rng, &all)
		}
		p.awaitSync()
		p.rest()
		p.judge()
	})
	all.report(t, "until the first receipt")
}

// blackOut kills all three, and has them come back.
func (p *busyPair) blackOut(rng *rand.Rand, all *pauses) {
	p.t.Helper()
	p.awaitSync()
	p.work(200 + rng.IntN(500))
	p.load.part(func() { inAnyOrder(rng, func(i int) { p.processes()[i].Kill() }) })
	inAnyOrder(rng, func(i int) { p.processes()[i].start(p.t) })
	back := time.Now()
	ctx, cancel := context.WithDeadline(p.t.Context(), back.Add(time.Minute))
	defer cancel()
	took, err := p.probe.since(ctx, back)
	if err != nil {
		p.showLogs()
		p.t.Fatalf("%v", err)
	}
	all.add("all are back", took)
}

// inAnyOrder does something to all three processes of a pair, at random times within a second.
func inAnyOrder(rng *rand.Rand, do func(process int)) {
	for _, i := range rng.Perm(3) {
		time.Sleep(time.Duration(rng.Int64N(int64(400 * time.Millisecond))))
		do(i)
	}
}
