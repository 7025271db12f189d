package failover

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// The world of the model with clocks: S10. Each node has one; they run at rates that differ (A3). What a lease does not rest on
// comes in any order, as late as it likes: a process that is stopped for a while takes what has happened afterwards.
//
// Worlds that are not exact are explored to the end, with a lease of a few ticks; in exact ones there are walks at random, with
// rates that differ by a tenth and a lease of 20 ticks.

const (
	noon       = 16 // what clocks show between two moves: all other times are moved with them
	driftTicks = 3  // for each of which one clock may run ahead by a tick
)

// shortTerms have a lease of three ticks. Everything else happens whenever it likes.
func shortTerms(guard time.Duration) *[2]*Terms {
	var terms [2]*Terms
	for n := range terms {
		t := *modelTerms[n]
		t.Lease, t.Guard = 3, guard
		terms[n] = &t
	}
	return &terms
}

func (w *world) tick(ahead uint8) {
	w.now[0]++
	w.now[1]++
	if w.since = min(w.since+1, driftTicks); ahead > 0 {
		w.now[ahead-1]++
		w.since = 0
	}
}

// resetClocks has them show noon again. What is over is over, however long ago.
func (w *world) resetClocks() {
	for n := range w.nodes {
		by := w.now[n] - noon
		s := &w.nodes[n].s
		if at := &s.due[timerPromise]; *at != 0 {
			*at = max(*at-by, noon)
		}
		if s.lease != forever {
			s.lease = max(s.lease-by, noon)
		}
		s.peer.lease = max(s.peer.lease-by, noon)
		for side := range w.sides { // by the clock of the master, who has sent it or gets it back
			d := &w.sides[side]
			for i := range d.count {
				if f := &d.frames[i]; f.kind == Beacon && side != n || f.kind == BeaconAck && side == n {
					f.sent = max(f.sent-by, noon-s.terms.Lease)
				}
			}
		}
		w.now[n] = noon
	}
}

func leaseTerms(guard time.Duration) *[2]*Terms {
	var terms [2]*Terms
	for n := range terms {
		terms[n] = &Terms{
			Node: nodeNames[n], DegradeAfter: 30, HoldTimeout: 30, FenceAfter: 60, Lease: 20, Guard: guard, Bias: 2, Beacon: 3,
			Retry: 3, Refresh: 50, Bootstrap: 1,
		}
	}
	return &terms
}

// untimed are the moves that a clock decides here.
var untimed = map[moveKind]bool{
	moveRing: true, moveBeacon: true, moveMissed: true, moveIsolated: true, moveRefresh: true, moveTooLate: true,
}

// dispatches says that clients of a node may be given messages.
func (w *world) dispatches(n int) bool {
	s := &w.nodes[n].s
	return w.nodes[n].up && s.role.IsMaster() && s.serving && s.lease > w.now[n]
}

// walk takes steps at random, and says when both nodes dispatch.
func (w *world) walk(random *rand.Rand, steps int) (disjoint bool, trace []string, takeovers int) {
	fast, ticks := random.IntN(2), 0
	for range steps {
		if random.IntN(3) == 0 {
			ticks++
			w.now[0]++
			w.now[1]++
			if ticks%10 == 0 {
				w.now[fast]++
			}
			trace = append(trace, "time")
		} else if v, ok := w.pick(random); ok {
			if w.make(v); w.beyond {
				return true, trace, takeovers
			}
			trace = append(trace, v.String())
		}
		for n := range w.nodes {
			if due, ok := w.nodes[n].s.Next(); w.nodes[n].up && ok && due <= w.now[n] && random.IntN(3) == 0 {
				w.step(n, Event{Kind: OnTick}, -1)
				trace = append(trace, "tick "+nodeNames[n])
			}
		}
		if w.dispatches(0) && w.dispatches(1) {
			return false, trace, takeovers
		}
		if w.dispatches(1) {
			takeovers = 1
		}
	}
	return true, trace, takeovers
}

func (w *world) pick(random *rand.Rand) (chosen move, ok bool) {
	count := 0
	w.each(func(v move) {
		if untimed[v.kind] || (v.kind == moveCrash || v.kind == moveLeave || v.kind == moveCut) && random.IntN(8) != 0 {
			return
		}
		if other := *w; func() bool { _, possible := other.make(v); return !possible || other.beyond }() {
			return
		}
		count++
		if random.IntN(count) == 0 {
			chosen, ok = v, true
		}
	})
	return chosen, ok
}

// leased is a pair at work, by the clock.
func leased(t *testing.T, guard time.Duration, rules *mutant) (w world) {
	t.Helper()
	l := &limits{messages: 1, epochs: 7, revisions: maxRev, writes: 2, crashes: 3, cuts: 3, switchovers: 1, stale: 2, window: 1,
		exact: true, timed: leaseTerms(guard)}
	w = settledPair(t, l, &mutant{})
	w.rules = rules
	for n := range w.nodes {
		s := &w.nodes[n].s
		s.terms, w.now[n], s.lease = l.timed[n], 1, 1
		clear(s.due[:])
	}
	w.nodes[0].s.peer.promised = false
	w.nodes[0].s.due[timerBeacon], w.nodes[0].s.due[timerSilence] = 1, 31
	w.nodes[1].s.due[timerPromise], w.nodes[1].s.due[timerProbe] = 23, 12
	return w
}

// clocked is a pair at work whose standby has just answered a beacon, and the master has not heard it.
func clocked(t *testing.T, l *limits) (w world) {
	t.Helper()
	w = settledPair(t, &limits{messages: l.messages, epochs: l.epochs, writes: l.writes, window: 1}, &mutant{})
	w.limits = l
	w.now = [2]time.Duration{noon, noon}
	a, b := &w.nodes[0].s, &w.nodes[1].s
	a.terms, b.terms = l.timed[0], l.timed[1]
	a.lease, a.peer.promised = noon, true
	b.due[timerPromise] = noon + b.terms.Lease + b.terms.Bias
	w.relax()
	return w
}

// leaseStates is how many worlds there are with these clocks.
const leaseStates = 4_109_510

// S10, and what is found when a rule of R8 is left out. With enough -model.states it comes to the end.
func TestLeasesByTheClock(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		guard  time.Duration
		broken bool
		mutant mutant
	}{
		"as it is": {guard: 1},
		"a master is as long as a standby's promise (no guard)": {broken: true},
		"a restart forgets what the process before has promised": {guard: 1, broken: true, mutant: mutant{
			before: func(_ *world, s *State, e *Event) {
				if s.role == Idle && s.epoch == 0 {
					s.due[timerPromise] = 0
				}
			}}},
		"a master counts from when the answer came": {guard: 1, broken: true, mutant: mutant{
			before: func(w *world, s *State, e *Event) {
				if e.Kind == OnSignal && e.Signal.Kind == BeaconAck {
					e.Signal.Sent = w.now[s.terms.number()]
				}
			}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &limits{epochs: 2, writes: 2, crashes: unlimited, window: 1, timed: shortTerms(c.guard)}
			root := clocked(t, l)
			x := explore(l, &c.mutant, max(*modelStates, 600_000))
			x.run(root)
			t.Logf("%d states, to the end: %v; %s", x.states.Load(), x.ended, x.found)
			if !c.broken && *modelStates > leaseStates && (!x.ended || x.states.Load() != leaseStates) {
				t.Errorf("README.md says that there are %d states: the model has changed", leaseStates)
			}
			switch {
			case !c.broken && x.found != "":
				t.Errorf("%s\n%s", x.found, retell(root, x.trace(root)))
			case c.broken && !strings.HasPrefix(x.found, "S10"):
				t.Errorf("%q was found, want S10", x.found)
			}
		})
	}
}

func TestLeasesAreDisjoint(t *testing.T) {
	t.Parallel()
	takeovers := 0
	for seed := range uint64(300) {
		w := leased(t, 4, &mutant{})
		disjoint, trace, took := w.walk(rand.New(rand.NewPCG(seed, 1)), 250)
		takeovers += took
		if !disjoint || w.broken != "" {
			t.Fatalf("seed %d: S10, or %s, after %q\n%v", seed, w.broken, trace, &w)
		}
	}
	if takeovers < 15 {
		t.Errorf("b took over in %d of 300 walks: they show nothing", takeovers)
	}
}

// after lets time pass, by both clocks, and tells a node of it.
func (w *world) after(ticks time.Duration, n int) {
	w.now[0] += ticks
	w.now[1] += ticks
	w.step(n, Event{Kind: OnTick}, -1)
}

// takeOver has b ask for the role, if it wants to, and become master.
func (w *world) takeOver() {
	for _, v := range []move{
		{kind: moveUnreached, node: 1}, {kind: moveSee, node: 1, arg: 2}, {kind: moveApply, node: 1}, {kind: moveAnswer, node: 1},
		{kind: moveAppend, node: 1}, {kind: moveDurable, node: 1}, {kind: moveActivated, node: 1},
	} {
		if v.kind == moveApply && w.count == 0 {
			return
		}
		w.make(v)
	}
}

// What R8 asks for is needed: without it both dispatch.
func TestLeasesThatAreNot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		story  func(w *world)
		mutant mutant
	}{
		"a restart forgets what the process before has promised": {
			func(w *world) {
				w.after(0, 0) // a beacon
				w.make(move{kind: moveRead, node: 1})
				w.make(move{kind: moveRead}) // its answer
				w.make(move{kind: moveCrash, node: 1})
				w.make(move{kind: moveStart, node: 1})
				w.after(2, 1)
				w.takeOver()
			},
			mutant{before: func(_ *world, s *State, e *Event) {
				if s.role == Idle {
					s.due[timerPromise] = 0
				}
				if e.Kind == OnSeen { // nor lets who is named in a new epoch go first
					s.seen.Record.Epoch = e.Reading.Record.Epoch
				}
			}},
		},
		"a takeover of an earlier process voids what this one has promised": {
			func(w *world) {
				w.after(23, 1)
				for _, v := range []move{
					{kind: moveUnreached, node: 1}, {kind: moveSee, node: 1, arg: 2}, // b asks, and dies
					{kind: moveCrash, node: 1}, {kind: moveStart, node: 1}, {kind: moveUnlinked}, {kind: moveConnect, node: 1},
					{kind: moveHello}, {kind: moveHello, node: 1}, {kind: moveRead, node: 1}, {kind: movePlanned, node: 1},
					{kind: moveRead, node: 1}, {kind: moveRead}, {kind: moveRead}, // it promises
					{kind: moveApply, node: 1}, {kind: moveSee, node: 1, arg: 3}, // and what it had asked is done
				} {
					w.make(v)
				}
				w.takeOver()
			},
			mutant{before: func(_ *world, _ *State, e *Event) {
				if e.Kind == OnSeen {
					e.Reading.Record.By = "somebody"
				}
			}},
		},
		"a master counts from when the answer came": {
			func(w *world) {
				w.after(0, 0)
				w.make(move{kind: moveRead, node: 1})
				w.after(15, 1)
				w.make(move{kind: moveRead})
				w.after(7, 1) // the promise is over
				w.takeOver()
			},
			mutant{before: func(w *world, s *State, e *Event) {
				if e.Kind == OnSignal && e.Signal.Kind == BeaconAck {
					e.Signal.Sent = w.now[s.terms.number()]
				}
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			right := leased(t, 4, &mutant{})
			c.story(&right)
			if right.dispatches(0) && right.dispatches(1) {
				t.Errorf("both dispatch:\n%v", &right)
			}
			wrong := leased(t, 4, &c.mutant)
			c.story(&wrong)
			if !wrong.dispatches(0) || !wrong.dispatches(1) {
				t.Errorf("the bug does not show:\n%v", &wrong)
			}
		})
	}
}

// A takeover whose process has died comes to the register when the next process has promised not to take over: the promise holds.
func TestPromiseOutlastsALateTakeover(t *testing.T) {
	t.Parallel()
	w := leased(t, 4, &mutant{})
	do := func(moves ...move) {
		for _, v := range moves {
			if v.kind != moveRead || w.sides[v.node].count > 0 {
				w.make(v)
			}
		}
	}
	w.after(0, 0)
	do(move{kind: moveRead, node: 1}, move{kind: moveRead}, move{kind: moveCut}, move{kind: moveUnlinked, node: 1}, move{kind: moveUnreached, node: 1})
	w.after(24, 1)
	do(move{kind: moveSee, node: 1, arg: w.rev}, move{kind: moveCrash, node: 1})
	if w.count != 1 {
		t.Fatalf("b has not asked for the role\n%v", &w)
	}
	do(move{kind: moveStart, node: 1}, move{kind: moveUnlinked})
	w.after(0, 1)
	do(move{kind: moveConnect, node: 1}, move{kind: moveHello}, move{kind: moveHello, node: 1})
	for range 4 {
		do(move{kind: moveRead, node: 1})
	}
	w.after(3, 0)
	for range 4 {
		do(move{kind: moveRead, node: 1}, move{kind: moveRead})
	}
	do(move{kind: moveCut}, move{kind: moveApply, node: 1}, move{kind: moveSee, node: 1, arg: w.rev + 1}, move{kind: moveUnlinked, node: 1},
		move{kind: moveUnreached, node: 1}, move{kind: moveSee, node: 1, arg: w.rev + 1})
	if !w.dispatches(0) {
		t.Fatalf("a does not dispatch: the story shows nothing\n%v", &w)
	}
	if w.count != 0 || w.nodes[1].s.role.IsMaster() {
		t.Errorf("b asks for the role that it has promised not to take\n%v", &w)
	}
}
