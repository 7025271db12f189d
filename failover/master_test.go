package failover

import (
	"slices"
	"testing"
	"time"
)

// A led is a State that a test leads through its life: what it asks of the register is done at once, unless the test says
// otherwise.
type led struct {
	t        *testing.T
	now      time.Duration
	state    State
	register Reading
	away     bool     // the register cannot be reached
	watched  bool     // a watch tells of a change before its answer comes
	did      []Action // since the last call of on or pass
	links    uint64
}

var ledTerms = Terms{
	Node: "a", DegradeAfter: time.Second, HoldTimeout: 5 * time.Second, FenceAfter: 4 * time.Second, Lease: 1500 * time.Millisecond,
	Guard: 150 * time.Millisecond, Bias: 500 * time.Millisecond, Beacon: 300 * time.Millisecond, Retry: 250 * time.Millisecond,
	Refresh: 5 * time.Second, Bootstrap: 3 * time.Second,
}

// newLed begins with a node whose journal has 10 records, and what the register says.
func newLed(t *testing.T, block bool, kept Kept, register Reading) *led {
	terms := ledTerms
	terms.Block = block
	kept.JournalID = ID{1}
	l := &led{t: t, now: time.Hour, register: register}
	l.state = NewState(l.now, &terms, Start{Kept: kept, Incarnation: ID{11}, End: 10, LastEpoch: kept.Promised})
	l.on(Event{Kind: OnTick})
	return l
}

// on gives the State an event, and those that the register and the broker answer with.
func (l *led) on(e Event) {
	l.t.Helper()
	l.did = nil
	l.step(e)
}

func (l *led) step(e Event) {
	did := l.state.Step(l.now, e, nil)
	l.did = append(l.did, did...)
	for _, a := range did {
		switch {
		case a.Kind == DoRead && l.away:
			l.step(Event{Kind: OnSeen, Failed: true})
		case a.Kind == DoRead:
			seen := l.register
			l.step(Event{Kind: OnSeen, Reading: &seen})
		case a.Kind == DoCAS && l.away:
			l.step(Event{Kind: OnAnswer, Number: a.Number, Outcome: Unknown})
		case a.Kind == DoCAS && a.Revision != l.register.Revision:
			l.step(Event{Kind: OnAnswer, Number: a.Number, Outcome: Lost})
		case a.Kind == DoCAS:
			l.register = Reading{Revision: l.register.Revision + 1, Found: true, Record: *a.Record}
			if seen := l.register; l.watched {
				l.step(Event{Kind: OnSeen, Reading: &seen})
			}
			l.step(Event{Kind: OnAnswer, Number: a.Number, Revision: l.register.Revision})
		case a.Kind == DoActivate:
			l.step(Event{Kind: OnActivated})
		}
	}
}

// pass lets time pass, and the timers ring.
func (l *led) pass(d time.Duration) {
	l.t.Helper()
	l.did = nil
	for end := l.now + d; ; {
		at, ok := l.state.Next()
		if !ok || at > end {
			l.now = end
			return
		}
		l.now = max(l.now, at)
		l.step(Event{Kind: OnTick})
	}
}

// joins connects the other node, which has everything, with this journal.
func (l *led) joins(journal ID) {
	l.t.Helper()
	l.links++
	l.on(Event{Kind: OnLinked, Link: l.links, Peer: &Peer{Node: "b", Cluster: l.state.Kept().Cluster, JournalID: journal, End: l.state.end}})
	l.step(Event{Kind: OnNear, Link: l.links})
	l.says(Signal{Kind: Flushed, Epoch: l.state.Epoch(), Seq: l.state.end})
	l.says(Signal{Kind: BeaconAck, Epoch: l.state.Epoch(), Sent: l.now, Lease: ledTerms.Lease})
}

// says is a signal of the other node, without forgetting what was done before.
func (l *led) says(s Signal) { l.step(Event{Kind: OnSignal, Link: l.links, Signal: s}) }

// writes makes a record durable here.
func (l *led) writes() uint64 {
	seq := l.state.end + 1
	l.on(Event{Kind: OnAppended, Seq: seq, Epoch: l.state.Epoch()})
	l.step(Event{Kind: OnDurable, Seq: seq})
	return seq
}

// done says how often such an action was asked for since the last call of on or pass.
func (l *led) done(kind ActionKind) (n int) {
	for i := range l.did {
		if l.did[i].Kind == kind {
			n++
		}
	}
	return n
}

func (l *led) is(role Role) {
	l.t.Helper()
	if got := l.state.Role(); got != role {
		l.t.Fatalf("it is %v, want %v", got, role)
	}
}

// insync holds that these nodes are listed.
func (l *led) insync(nodes ...string) {
	l.t.Helper()
	var got []string
	for _, m := range l.register.Record.InSync {
		got = append(got, m.Node)
	}
	if !slices.Equal(got, nodes) {
		l.t.Fatalf("the register lists %v, want %v", got, nodes)
	}
}

// newMaster is a node that has begun a pair.
func newMaster(t *testing.T, block bool) *led {
	l := newLed(t, block, Kept{}, Reading{})
	l.is(Solo)
	return l
}

// A master that must not acknowledge alone goes on waiting for its standby, however long that is away: it commits nothing,
// leaves it in sync, and after hold_timeout has writes refused, until it is back with everything.
func TestBlock(t *testing.T) {
	t.Parallel()
	l := newMaster(t, true)
	if l.state.Lease() > l.now {
		t.Errorf("alone, it may give messages to clients until %v", l.state.Lease())
	}
	l.joins(ID{2})
	l.is(Duplex)
	if want := l.now + ledTerms.Lease - ledTerms.Guard; l.state.Lease() != want {
		t.Errorf("it may give messages to clients until %v, want %v", l.state.Lease(), want)
	}
	l.insync("a", "b")
	first := l.writes()
	l.says(Signal{Kind: Flushed, Epoch: l.state.Epoch(), Seq: first})
	if l.state.Commit() != first {
		t.Fatalf("%d is committed, want %d", l.state.Commit(), first)
	}

	l.on(Event{Kind: OnUnlinked, Link: l.links})
	second := l.writes()
	l.pass(ledTerms.DegradeAfter)
	l.is(Held)
	l.pass(ledTerms.HoldTimeout - 1)
	if l.done(DoRefuse) != 0 || !l.state.Waits() {
		t.Error("it does not wait for the standby for as long as it may")
	}
	l.pass(1)
	if l.done(DoRefuse) != 1 || l.state.Waits() {
		t.Error("writes go on waiting")
	}
	l.pass(time.Hour)
	l.is(Held)
	l.insync("a", "b")
	if l.done(DoRefuse) != 0 || l.done(DoCommit) != 0 || l.state.Commit() != first {
		t.Errorf("%d is committed, and %d was before", l.state.Commit(), first)
	}
	if l.state.Lease() > l.now {
		t.Error("it may give messages to clients that the standby may give too")
	}

	l.joins(ID{2})
	l.is(Duplex)
	if l.done(DoAccept) != 1 || !l.state.Waits() || l.state.Commit() != second {
		t.Errorf("it does not go on: %d is committed, want %d", l.state.Commit(), second)
	}
	l.pass(ledTerms.HoldTimeout) // nothing of the last time rings
	if l.done(DoRefuse) != 0 {
		t.Error("writes are refused again")
	}
}

// While nobody answers at all it closes its clients, as any master does: the other node may have taken over.
func TestBlockIsolated(t *testing.T) {
	t.Parallel()
	l := newMaster(t, true)
	l.joins(ID{2})
	l.on(Event{Kind: OnUnlinked, Link: l.links})
	l.away = true
	l.pass(ledTerms.FenceAfter)
	l.is(StoodDown)
}

// A standby that goes on receiving a record is waited for, however long that takes; one that only answers is not.
func TestRecordThatTakesLong(t *testing.T) {
	t.Parallel()
	for _, block := range []bool{false, true} {
		l := newMaster(t, block)
		l.joins(ID{2})
		before := l.writes() - 1
		passes := func(more bool) {
			for range 10 {
				l.pass(ledTerms.DegradeAfter / 2)
				l.says(Signal{Kind: BeaconAck, Epoch: l.state.Epoch(), Sent: l.now, Lease: ledTerms.Lease})
				if more {
					l.says(Signal{Kind: Flushed, Epoch: l.state.Epoch(), Seq: before})
				}
			}
		}
		passes(true)
		l.is(Duplex)
		if l.state.Commit() != before {
			t.Errorf("%d is committed, and the standby has flushed %d", l.state.Commit(), before)
		}
		passes(false)
		if l.state.peer.link != 0 {
			t.Error("it waits for a standby that receives nothing")
		}
	}
}

// A master that may goes on alone once the register says so, and not before; nobody is refused.
func TestDegrade(t *testing.T) {
	t.Parallel()
	l := newMaster(t, false)
	l.joins(ID{2})
	l.on(Event{Kind: OnUnlinked, Link: l.links})
	seq := l.writes()
	l.pass(ledTerms.DegradeAfter - 1)
	l.is(Duplex)
	if l.state.Commit() == seq {
		t.Fatal("it is committed here alone, and the other may take over")
	}
	l.pass(1)
	l.is(Solo)
	l.insync("a")
	if l.state.Commit() != seq || l.done(DoRefuse) != 0 {
		t.Errorf("%d is committed, want %d", l.state.Commit(), seq)
	}
}

// A standby that has been asked to be the master may say so before the register's answer has come: that is a switchover. Before
// the register is asked, it is none.
func TestSwitchoverIsHeardOfBeforeItsAnswer(t *testing.T) {
	t.Parallel()
	for _, asked := range []bool{false, true} {
		l := newMaster(t, false)
		l.joins(ID{2})
		l.is(Duplex)
		l.away = true
		l.on(Event{Kind: OnSwitchover})
		if asked {
			l.step(Event{Kind: OnDrained, Seq: l.state.end})
		}
		l.is(HandingOver)
		want := map[bool]Why{false: Superseded, true: HandedOver}[asked]
		l.says(Signal{Kind: Fence, Epoch: l.state.Epoch() + 2})
		l.is(StoodDown)
		if got := l.did[len(l.did)-1]; got.Kind != DoStandDown || got.Why != want {
			t.Errorf("it ends with %v, %v, want %v", got.Kind, got.Why, want)
		}
	}
}

// The register, or the standby that watches it, may tell of a record that was written anew before its answer has come. It is
// still what was asked for. Whatever else is of a higher epoch is not, nor what comes of an answer that says no.
func TestReseedIsHeardOfBeforeItsAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer Outcome
		hears  Event
		more   uint32 // than the epoch of the new record
		want   Why
	}{
		"the register":                  {0, Event{Kind: OnSeen}, 0, Reseeded},
		"the register, after no answer": {Unknown, Event{Kind: OnSeen}, 0, Reseeded},
		"the standby":                   {0, Event{Kind: OnSignal}, 0, Reseeded},
		"another epoch":                 {0, Event{Kind: OnSignal}, 1, Superseded},
		"another's record":              {Lost, Event{Kind: OnSignal}, 0, Superseded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newMaster(t, false)
			l.joins(ID{2})
			l.is(Duplex)
			var did []Action
			for _, e := range []Event{{Kind: OnPromote}, {Kind: OnSeen, Reading: &l.register}} {
				did = l.state.Step(l.now, e, did)
			}
			i := slices.IndexFunc(did, func(a Action) bool { return a.Kind == DoCAS })
			if i < 0 {
				t.Fatal("the register is not asked")
			}
			if c.answer != 0 {
				l.state.Step(l.now, Event{Kind: OnAnswer, Number: did[i].Number, Outcome: c.answer}, nil)
			}
			c.hears.Reading = &Reading{Revision: did[i].Revision + 1, Found: true, Record: *did[i].Record}
			c.hears.Link, c.hears.Signal = l.links, Signal{Kind: Fence, Epoch: did[i].Record.Epoch + c.more}
			did = l.state.Step(l.now, c.hears, nil)
			l.is(StoodDown)
			if got := did[len(did)-1]; got.Kind != DoStandDown || got.Why != c.want {
				t.Errorf("it ends with %v, %v, want %v", got.Kind, got.Why, c.want)
			}
		})
	}
}

// A standby that was left behind becomes the master when an operator says so, and not else, with an epoch above all that it
// has heard of. The register says that it was forced, until the next change of the master.
func TestPromote(t *testing.T) {
	t.Parallel()
	master := Member{Node: "b", JournalID: ID{2}}
	record := Record{Cluster: ID{9}, Epoch: 7, Master: "b", InSync: []Member{master}, Nonce: "x", MinSeq: 99}
	l := newLed(t, false, Kept{Cluster: ID{9}, Promised: 5, RegRev: 3}, Reading{Revision: 8, Found: true, Record: record})
	l.on(Event{Kind: OnUnreached, Dead: true})
	l.pass(time.Minute)
	l.is(Idle)
	if l.done(DoCAS) != 0 {
		t.Fatal("it asks for a role that it may not have")
	}
	l.away = true
	l.on(Event{Kind: OnPromote})
	if l.done(DoCAS) != 0 {
		t.Fatal("it asks at a revision that it has not looked at")
	}
	l.away = false
	l.pass(ledTerms.Retry)
	l.is(Solo)
	l.insync("a")
	got := l.register.Record
	if got.Epoch != 8 || got.Master != "a" || !got.Forced || got.Cluster != record.Cluster || got.InSync[0].JournalID != (ID{1}) {
		t.Errorf("the register says %+v", got)
	}
	if kept := l.state.Kept(); kept.Promised != 8 || kept.RegRev != 9 {
		t.Errorf("it keeps %+v", kept)
	}
	l.joins(ID{2})
	l.is(Duplex)
	if !l.register.Record.Forced {
		t.Error("that the promotion was forced is forgotten before the next change of the master")
	}
}

// An order is for once: what is asked for and lost is not asked for again when the register has changed.
func TestPromoteOnce(t *testing.T) {
	t.Parallel()
	record := Record{Cluster: ID{9}, Epoch: 7, Master: "b", InSync: []Member{{Node: "b", JournalID: ID{2}}}, Nonce: "x"}
	l := newLed(t, false, Kept{Cluster: ID{9}, Promised: 5, RegRev: 3}, Reading{Revision: 8, Found: true, Record: record})
	l.did = l.state.Step(l.now, Event{Kind: OnPromote}, nil)
	seen := l.register
	asked := l.state.Step(l.now, Event{Kind: OnSeen, Reading: &seen}, nil)
	i := slices.IndexFunc(asked, func(a Action) bool { return a.Kind == DoCAS })
	if i < 0 {
		t.Fatalf("it does not ask: %v", asked)
	}
	l.register.Revision, l.register.Record.Epoch = 9, 8 // the old master was restarted
	l.on(Event{Kind: OnAnswer, Number: asked[i].Number, Outcome: Lost})
	l.pass(time.Minute)
	l.is(Idle)
	if l.register.Revision != 9 {
		t.Errorf("it has overruled a master that nobody had told it of: %+v", l.register.Record)
	}
}

// A master whose register was lost, or put back, goes on and says so; on an operator's word it writes the register anew, with an
// epoch above all, with those who are in sync; and begins again with that.
func TestReseed(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]func(Reading) Reading{
		"lost": func(Reading) Reading { return Reading{} },
		"older": func(r Reading) Reading {
			r.Record.Epoch, r.Revision = r.Record.Epoch-1, 1
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record := Record{Cluster: ID{9}, Epoch: 7, Master: "a", InSync: []Member{{Node: "a", JournalID: ID{1}}}, Nonce: "x"}
			l := newLed(t, false, Kept{Cluster: ID{9}, Promised: 7, RegRev: 3}, Reading{Revision: 8, Found: true, Record: record})
			l.pass(ledTerms.Lease)
			l.on(Event{Kind: OnUnreached, Dead: true})
			l.is(Solo)
			l.joins(ID{2})
			l.is(Duplex)
			epoch := l.state.Epoch()
			l.register = old(l.register)
			lost := l.register
			l.on(Event{Kind: OnSeen, Reading: &lost})
			if l.done(DoRaise) != 1 || !l.state.Suspect() {
				t.Error("nobody is told that the register has forgotten")
			}
			l.is(Duplex)
			l.says(Signal{Kind: Flushed, Epoch: epoch, Seq: l.state.end})
			seq := l.writes()
			l.says(Signal{Kind: Flushed, Epoch: epoch, Seq: seq})
			if l.state.Commit() != seq || l.done(DoCAS) != 0 {
				t.Errorf("the pair does not go on: %d is committed, want %d", l.state.Commit(), seq)
			}
			l.on(Event{Kind: OnPromote})
			l.is(StoodDown)
			got := l.register.Record
			if got.Epoch <= epoch+1 || got.Master != "a" || got.Cluster != record.Cluster || got.Forced {
				t.Errorf("the register says %+v", got)
			}
			l.insync("a", "b")
			why := l.did[slices.IndexFunc(l.did, func(a Action) bool { return a.Kind == DoStandDown })].Why
			if why != Reseeded {
				t.Errorf("it stands down for %v", why)
			}
			again := newLed(t, false, Kept{Cluster: record.Cluster, Promised: epoch, RegRev: 3}, l.register)
			again.pass(ledTerms.Lease)
			again.on(Event{Kind: OnUnreached, Dead: true})
			if !again.state.Role().IsMaster() || again.state.Epoch() != got.Epoch+1 || again.state.Suspect() {
				t.Errorf("the node does not come back: it is %v of epoch %d", again.state.Role(), again.state.Epoch())
			}
		})
	}
}

// So it is where the other node, which is in sync, is not connected, or never was since this process has begun; and where the
// register does not answer the first time.
func TestReseedWithoutTheStandby(t *testing.T) {
	t.Parallel()
	for name, connected := range map[string]bool{"it was connected": true, "it never was": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record := Record{Cluster: ID{9}, Epoch: 7, Master: "a", InSync: []Member{{"a", ID{1}}, {"b", ID{2}}}, Nonce: "x"}
			l := newLed(t, true, Kept{Cluster: ID{9}, Promised: 7, RegRev: 3}, Reading{Revision: 8, Found: true, Record: record})
			l.pass(ledTerms.Lease)
			l.on(Event{Kind: OnUnreached, Dead: true})
			if connected {
				l.joins(ID{2})
				l.on(Event{Kind: OnUnlinked, Link: l.links})
			}
			l.pass(ledTerms.DegradeAfter)
			l.is(Held)
			l.register, l.away = Reading{}, true
			l.on(Event{Kind: OnPromote})
			l.on(Event{Kind: OnSeen, Reading: &Reading{}})
			if l.done(DoCAS) != 1 {
				t.Fatalf("the register is not asked: %+v", l.did)
			}
			l.away = false
			l.on(Event{Kind: OnPromote})
			l.is(StoodDown)
			l.insync("a", "b")
			if !l.register.Record.Forced {
				t.Error("nobody is told that what the other node may have acknowledged since is lost")
			}
		})
	}
}

// keepsAlone goes through what was done, and says what the node remembers of being alone. It must do so before it acknowledges alone.
func (l *led) keepsAlone(before bool) (alone bool) {
	l.t.Helper()
	alone = before
	for _, a := range l.did {
		switch {
		case a.Kind == DoPersist:
			alone = a.Kept.Alone
		case a.Kind == DoCommit && !l.state.shared() && !alone:
			l.t.Errorf("seq %d is acknowledged alone, and that is not remembered", a.Seq)
		}
	}
	return alone
}

// A master remembers that it is alone before it acknowledges anything so, until another node has everything, or it follows one.
func TestAloneIsRemembered(t *testing.T) {
	t.Parallel()
	for _, watched := range []bool{false, true} {
		l := newMaster(t, false)
		l.watched = watched
		if !l.state.Kept().Alone {
			t.Error("the first master is alone, and does not remember it")
		}
		l.joins(ID{2})
		l.is(Duplex)
		if l.keepsAlone(true) {
			t.Error("with a standby in sync it remembers that it is alone")
		}
		l.writes()
		l.on(Event{Kind: OnUnlinked, Link: l.links})
		before := l.keepsAlone(false)
		l.pass(ledTerms.DegradeAfter)
		l.is(Solo)
		if !l.keepsAlone(before) || l.done(DoCommit) == 0 {
			t.Errorf("alone, with a watch: %t, it does %+v", watched, l.did)
		}
	}

	s, _ := standbyOf(5)
	s.kept.Alone = true
	s.Step(2, Event{Kind: OnLinked, Link: 1, Peer: &Peer{Node: "a", Cluster: ID{1}, JournalID: ID{1}, Master: true, Epoch: 5, Promised: 5}}, nil)
	for _, a := range s.Step(2, Event{Kind: OnPlanned, Link: 1, Seq: 5, Epoch: 5, Cluster: ID{1}}, nil) {
		if a.Kind == DoPersist && a.Kept.Alone {
			t.Error("a node that follows a master remembers that it is alone")
		}
	}
}
