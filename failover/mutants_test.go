package failover

import (
	"strings"
	"testing"
)

// A mutant is a bug on purpose: what a State is told, or makes of it, is changed on the way. The zero mutant is none.
type mutant struct {
	before  func(w *world, s *State, e *Event)
	after   func(w *world, s *State, e *Event, out []Action) []Action
	common  func(w *world, n int) (seq uint8) // instead of commonPoint
	anyPlan bool                              // it takes a PLAN for another end than that of its journal

	room []Action
}

func (x *mutant) step(w *world, n int, e Event, out []Action) []Action {
	s := &w.nodes[n].s
	if x.before != nil {
		x.before(w, s, &e)
	}
	out = s.Step(w.clock(n), e, out)
	if x.after != nil {
		out = x.after(w, s, &e, out)
	}
	return out
}

func (s *State) asksAlone(out []Action) bool {
	for i := range out {
		if out[i].Kind == DoCAS && s.role.IsMaster() && len(out[i].Record.InSync) == 1 {
			return true
		}
	}
	return false
}

func without(out []Action, kind ActionKind) []Action {
	kept := out[:0]
	for _, a := range out {
		if a.Kind != kind {
			kept = append(kept, a)
		}
	}
	return kept
}

// The mutants, the bounds within which each is looked for, and what it violates.
var mutants = map[string]struct {
	root     string // in roots
	violates string
	mutant   mutant
}{
	"acknowledges alone before the CAS is confirmed (R2)": {"at work", "S2", mutant{
		after: func(_ *world, s *State, _ *Event, out []Action) []Action {
			if s.asksAlone(out) {
				s.listed, s.doubted = ID{}, ID{}
			}
			return out
		}}},
	"takes an unknown shrink for done (R5)": {"at work", "S2", mutant{
		before: func(_ *world, s *State, e *Event) {
			if e.Kind == OnAnswer && e.Outcome == Unknown && s.role.IsMaster() && len(s.ask.record.InSync) == 1 {
				e.Outcome, e.Revision = Done, s.ask.expect+1
			}
		}}},
	"forgets that an expand is in doubt (R5)": {"alone", "S2", mutant{
		after: func(_ *world, s *State, e *Event, out []Action) []Action {
			if e.Kind == OnAnswer && e.Outcome == Unknown {
				s.doubted, s.ask.doubtful = ID{}, false
			}
			return out
		}}},
	"takes the old value, read back, for the end of a doubt (R5)": {"alone", "S2", mutant{
		after: func(_ *world, s *State, e *Event, out []Action) []Action {
			if e.Kind == OnSeen && !s.ask.open && e.Reading.Record.Nonce != s.ask.record.Nonce {
				s.doubted, s.ask.doubtful = ID{}, false
			}
			return out
		}}},
	"expands before the peer has caught up (R3)": {"alone", "S2", mutant{
		after: func(_ *world, s *State, e *Event, out []Action) []Action {
			if e.Kind == OnNear {
				s.peer.join = 0
			}
			return out
		}}},
	"expands before writes wait for the peer (R3)": {"alone", "S2", mutant{
		after: func(_ *world, s *State, _ *Event, out []Action) []Action {
			s.doubted = ID{}
			if s.listed == (ID{}) && s.ask.open {
				s.peer.near = false
			}
			return out
		}}},
	"commits beyond what the peer has flushed (R1)": {"at work", "S2", mutant{
		before: func(_ *world, s *State, e *Event) {
			if e.Kind == OnSignal && e.Signal.Kind == Flushed {
				e.Signal.Seq = s.end
			}
		}}},
	"counts what the peer had flushed in an older epoch (R1)": {"at work", "S2", mutant{
		after: func(_ *world, s *State, e *Event, out []Action) []Action {
			if e.Kind == OnLinked && s.role.IsMaster() {
				s.peer.flushed = e.Peer.End
			}
			return out
		}}},
	"promotes a node that is out of sync (R4)": {"at work", "S11", mutant{
		before: func(_ *world, s *State, _ *Event) {
			s.seen.Record.InSync = []Member{s.me()}
		}}},
	"takes over with another journal than the one that is listed (R4)": {"at work", "S11", mutant{
		before: func(_ *world, s *State, _ *Event) {
			if _, ok := s.seen.Record.Member(s.terms.Node); ok {
				s.kept.Cluster = s.seen.Record.Cluster
				s.seen.Record.InSync = []Member{s.me()}
			}
		}}},
	"activates on a read (R6)": {"at work", "S1", mutant{
		after: func(_ *world, s *State, e *Event, out []Action) []Action {
			if e.Kind == OnSeen && s.role == Candidate && s.seen.Record.Master == s.terms.Node {
				t := turn{State: s, now: 1, out: out}
				t.activate()
				return t.out
			}
			return out
		}}},
	"does not keep its epoch before it activates (R4)": {"at work", "S7", mutant{
		after: func(_ *world, s *State, e *Event, out []Action) []Action {
			if e.Kind == OnAnswer {
				return without(out, DoPersist)
			}
			return out
		}}},
	"follows a master of a lower epoch (R7)": {"deposed", "S7", mutant{
		before: func(_ *world, s *State, e *Event) {
			if e.Kind == OnLinked {
				other := *e.Peer
				other.Promised, s.kept.Promised = 0, s.epoch
				e.Peer = &other
			}
		}}},
	"cuts to the shorter journal, whatever its epochs are": {"deposed", "S2", mutant{
		common: func(w *world, n int) uint8 {
			return min(w.nodes[n].end, uint8(w.sides[n].hello.End))
		}}},
	"takes a PLAN that answers an old HELLO (R4b)": {"at work", "S7", mutant{anyPlan: true}},
	"exits, and leaves its place to whoever is connected": {"at work", "S2", mutant{
		after: func(_ *world, s *State, e *Event, out []Action) []Action {
			t := turn{State: s, now: 1, out: out}
			if e.Kind != OnLeaving || s.role != Duplex || s.peer.link == 0 || !t.readable() {
				return out
			}
			t.draining = drainAsk
			t.stand()
			r := t.recordFor(s.epoch+1, t.linkedMember())
			r.Master = s.peer.says.Node
			t.claim(askHandover, r)
			return t.out
		}}},
	"begins a pair beside a stranger": {"empty", "S11", mutant{
		after: func(_ *world, s *State, e *Event, out []Action) []Action {
			if e.Kind == OnStranger {
				s.due[timerBootstrap] = never
			}
			return out
		}}},
}

// The bounds within which they are looked for.
var mutantBounds = limits{messages: 1, epochs: 3, revisions: 6, writes: 2, crashes: 1, diskLosses: 1, switchovers: 1, stale: 1, window: 1}

// Where an exploration begins, as what has happened since the pair came to be.
var roots = map[string][]move{
	"at work": nil,
	"empty":   nil, // two nodes that have never run
	// a has taken b out, which has come back.
	"alone": {
		{kind: moveMissed}, {kind: moveApply}, {kind: moveAnswer}, {kind: moveConnect, node: 1},
	},
	// b has taken over, and a does not know it; both have a record at Seq 2.
	"deposed": {
		{kind: moveAppend}, {kind: moveDurable}, {kind: moveUnlinked, node: 1}, {kind: moveSee, node: 1, arg: 1}, {kind: moveApply, node: 1},
		{kind: moveAnswer, node: 1}, {kind: moveAppend, node: 1}, {kind: moveDurable, node: 1},
	},
}

// Each bug is found, and the shortest way to it is told.
func TestMutantsAreFound(t *testing.T) {
	t.Parallel()
	for name := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := mutants[name]
			l, rules := mutantBounds, m.mutant
			root := emptyPair(&l)
			if m.root == "empty" {
				l = bounds["strangers"]
			} else {
				root = settledPair(t, &l, &mutant{})
				play(t, &root, roots[m.root])
			}
			x := explore(&l, &rules, 300_000)
			x.run(root)
			if x.found == "" || !strings.HasPrefix(x.found, m.violates) {
				t.Fatalf("found %q in %d states, want a violation of %s", x.found, x.states.Load(), m.violates)
			}
			t.Logf("%s; %d moves, %d states", x.found, len(roots[m.root])+len(x.trace(root)), x.states.Load())
		})
	}
}

// What the model has found in Step itself, in the moves that led to it.
func TestFindings(t *testing.T) {
	t.Parallel()
	for name, moves := range map[string][]move{
		// An answer that comes after its node has followed the master of a higher epoch makes it master of nothing.
		"a CAS is answered late": {
			{kind: moveCrash}, {kind: moveStart}, {kind: moveUnreached}, {kind: moveSee, arg: 2}, {kind: moveApply}, {kind: moveUnlinked, node: 1},
			{kind: moveUnreached, node: 1}, {kind: moveSee, node: 1, arg: 3}, {kind: moveRing, node: 1, arg: timerPromise}, {kind: moveApply, node: 1, arg: 1}, {kind: moveAnswer, node: 1, arg: 1},
			{kind: moveConnect}, {kind: moveHello, node: 1}, {kind: moveHello}, {kind: moveRead}, {kind: movePlanned}, {kind: moveAnswer},
		},
		// The same, when it has only read of it.
		"a CAS is answered after something newer was seen": {
			{kind: moveCrash}, {kind: moveStart}, {kind: moveUnreached}, {kind: moveSee, arg: 2}, {kind: moveApply}, {kind: moveUnlinked, node: 1},
			{kind: moveUnreached, node: 1}, {kind: moveSee, node: 1, arg: 3}, {kind: moveRing, node: 1, arg: timerPromise}, {kind: moveApply, node: 1, arg: 1}, {kind: moveAnswer, node: 1, arg: 1},
			{kind: moveSee, arg: 4}, {kind: moveAnswer},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := mutantBounds
			l.exact = true
			w := settledPair(t, &l, &mutant{})
			play(t, &w, moves)
			if a := &w.nodes[0].s; a.role.IsMaster() {
				t.Errorf("a is %v of epoch %d\n%v", a.role, a.epoch, &w)
			}
		})
	}
}
