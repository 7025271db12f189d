package failover

import "testing"

// L1 to L3: from the states of an exploration, with no fault any more and everything that is possible happening in turn.

// A schedule is fair: what can happen does, and timers ring when nothing else can.
type schedule struct {
	w        *world
	alone    int // the only node that runs; -1: both do
	register bool
	packer   packer
}

// settle goes on until done, and says whether that came to be.
func (s *schedule) settle(done func() bool) bool {
	for range 60 {
		for range 200 {
			if done() {
				return true
			}
			if !s.pass() {
				break
			}
		}
		s.ring()
	}
	return done()
}

// pass makes each possible move once, and says whether anything came of it.
func (s *schedule) pass() (progress bool) {
	before := s.digest()
	var moves []move
	s.w.each(func(v move) {
		if s.allows(v) {
			moves = append(moves, v)
		}
	})
	for _, v := range moves {
		still := false
		s.w.each(func(other move) { still = still || other == v })
		if still {
			s.w.make(v)
		}
		if s.w.beyond {
			panic("BUG: the model has no room for a healed world")
		}
	}
	return s.digest() != before
}

func (s *schedule) allows(v move) bool {
	if s.alone >= 0 && int(v.node) != s.alone && v.kind < moveApply {
		return false
	}
	switch v.kind {
	case moveStart, moveConnect, moveHello, moveRead, movePlanned, moveUnlinked, moveSend, moveDurable, moveActivated, moveNear, moveBeacon, moveDrained:
		return true
	case moveUnreached:
		return s.w.sides[v.node].phase == sideNone
	case moveAppend:
		return !s.w.nodes[v.node].s.serving
	case moveSee:
		return s.register && v.arg == s.w.rev
	case moveApply, moveAnswer:
		return s.register
	}
	return false
}

// ring has the timers ring that are due when nothing happens.
func (s *schedule) ring() {
	for n := range s.w.nodes {
		m := &s.w.nodes[n]
		if !m.up || s.alone >= 0 && n != s.alone {
			continue
		}
		kind := moveRing
		switch {
		case m.s.draining != drainNot:
			kind = moveTooLate
		case m.s.role.IsMaster() && m.s.Required() && !m.s.inPace():
			kind = moveMissed
		case m.s.role.IsMaster():
			continue
		case m.s.peer.link != 0 && s.w.nodes[1-n].s.role.IsMaster():
			continue // it has beacons
		}
		s.w.make(move{kind: kind, node: uint8(n), arg: timerPromise})
		if m.s.due[timerBootstrap] != forever {
			s.w.make(move{kind: moveRing, node: uint8(n), arg: timerBootstrap})
		}
	}
}

// inPace says that the peer is heard and flushes all.
func (s *State) inPace() bool { return s.peer.link != 0 && s.peer.promised && s.peer.flushed >= s.end }

func (s *schedule) digest() uint64 {
	s.w.pack(&s.packer)
	return s.packer.fingerprint()
}

func (w *world) serves(n int) bool {
	s := &w.nodes[n].s
	return w.nodes[n].up && s.serving && (s.role == Solo || s.role == Duplex)
}

func TestLiveness(t *testing.T) {
	t.Parallel()
	l := &limits{messages: 1, epochs: 3, revisions: 5, writes: 2, crashes: 2, switchovers: 1, cuts: 1, stale: 1, window: 1, exact: true}
	healed := &limits{epochs: 7, revisions: maxRev, writes: 3, stale: 1, window: 1, exact: true}
	rules := &mutant{}
	x := explore(l, rules, min(*modelStates, 1_000_000))
	checked := 0
	x.each = func(w *world) {
		if checked++; checked%3 != 0 {
			return
		}
		w.limits = healed
		heal(t, *w)
		a, b := &w.nodes[0].s, &w.nodes[1].s
		if !w.cut && a.role == Duplex && a.inPace() && b.role == Standby && b.epoch == a.epoch && w.sides[1].planned {
			outage(t, *w)
		}
		for n := range w.nodes {
			if w.nodes[n].s.role == Solo {
				outageAlone(t, *w, n)
			}
		}
	}
	x.run(settledPair(t, l, rules))
}

// L2 from two empty nodes, which strangers may have answered: once they have met they come to be a pair.
func TestLivenessBesideStrangers(t *testing.T) {
	t.Parallel()
	l := &limits{epochs: 2, revisions: 2, writes: 2, crashes: 1, strangers: true, stale: 1, window: 1, exact: true}
	rules := &mutant{}
	x := explore(l, rules, min(*modelStates, 1_000_000))
	x.each = func(w *world) {
		w.limits = &limits{epochs: 7, revisions: maxRev, writes: 3, stale: 1, window: 1, strangers: true, exact: true}
		heal(t, *w)
	}
	x.run(emptyPair(l))
}

// heal is L2, and L1 for each node that the register lists with its journal.
func heal(t *testing.T, w world) {
	t.Helper()
	for i := int(w.count) - 1; i >= 0; i-- { // what is on its way comes first, or the model has no room
		if w.writes[i].applied == writeQueued {
			w.apply(i)
		}
	}
	for n := range w.nodes {
		one := w
		s := &schedule{w: &one, alone: n, register: true}
		if one.nodes[1-n].up {
			one.crash(1-n, int(one.nodes[1-n].s.durable))
		}
		if m := &one.nodes[n]; m.s.leaving { // it exits, and begins again
			one.crash(n, int(m.s.durable))
		}
		if one.regs[one.rev].insync[n] != one.nodes[n].gen+1 {
			continue
		}
		if !s.settle(func() bool { return one.serves(n) && one.nodes[n].s.commit == one.nodes[n].s.end }) {
			t.Fatalf("L1: %s does not come to serve, from\n%v\nit came to\n%v", nodeNames[n], &w, &one)
		}
	}
	both := w
	s := &schedule{w: &both, alone: -1, register: true}
	if !s.settle(func() bool {
		return (both.serves(0) && both.nodes[0].s.role == Duplex || both.serves(1) && both.nodes[1].s.role == Duplex) && both.count == 0 &&
			max(both.nodes[0].s.commit, both.nodes[1].s.commit) == both.nodes[0].s.end && both.nodes[0].s.end == both.nodes[1].s.end
	}) {
		t.Fatalf("L2: no pair, from\n%v\nit came to\n%v", &w, &both)
	}
}

// outage is L3: a pair that is connected goes on while the register is away.
func outage(t *testing.T, w world) {
	t.Helper()
	end := w.nodes[0].s.end
	if w.limits = (&limits{messages: 9, epochs: 7, revisions: maxRev, writes: 3, window: 1, exact: true}); w.nodes[0].s.draining != drainNot || !w.nodes[0].s.serving {
		return
	}
	w.make(move{kind: moveAppend})
	s := &schedule{w: &w, alone: -1}
	if !s.settle(func() bool { return w.nodes[0].s.commit > end }) || w.nodes[0].s.role != Duplex {
		t.Fatalf("L3: a does not go on\n%v", &w)
	}
}

// outageAlone is L3 for a master that is alone in sync: it needs neither the register nor the peer.
func outageAlone(t *testing.T, w world, n int) {
	t.Helper()
	if w.nodes[1-n].up {
		w.crash(1-n, int(w.nodes[1-n].s.durable))
	}
	s := &schedule{w: &w, alone: n}
	if m := &w.nodes[n].s; !s.settle(func() bool { return m.commit == m.end }) {
		t.Fatalf("L3: %s alone does not go on\n%v", nodeNames[n], &w)
	}
}
