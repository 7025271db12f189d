package failover

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// What the simulation has found, and is found no more.

var lateTerms = Terms{Node: "b", Lease: time.Second, Bias: time.Second, Retry: time.Second, Bootstrap: time.Second}

func asks(actions []Action) bool {
	for i := range actions {
		if actions[i].Kind == DoCAS {
			return true
		}
	}
	return false
}

func standbyOf(epoch uint32) (s State, reading Reading) {
	me, other := Member{"b", ID{2}}, Member{"a", ID{1}}
	reading = Reading{Revision: 7, Found: true, Record: Record{Cluster: ID{1}, Epoch: epoch, Master: "a", InSync: []Member{other, me}}}
	s = NewState(1, &lateTerms, Start{Kept: Kept{Cluster: ID{1}, JournalID: ID{2}, Promised: epoch, RegRev: 7}, End: 5, LastEpoch: epoch})
	s.Step(1, Event{Kind: OnSeen, Reading: &reading}, nil)
	return s, reading
}

// The process that writes the first record dies before it hears that it was written.
func TestFirstRecordWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	me := Member{"b", ID{2}}
	reading := Reading{Revision: 1, Found: true, Record: Record{Cluster: ID{2}, Epoch: 1, Master: "b", InSync: []Member{me}}}
	s := NewState(1, &lateTerms, Start{Kept: Kept{JournalID: ID{2}}})
	later := 1 + 2*time.Second
	s.Step(later, Event{Kind: OnTick}, nil)
	s.Step(later, Event{Kind: OnUnreached}, nil)
	if !asks(s.Step(later, Event{Kind: OnSeen, Reading: &reading}, nil)) {
		t.Errorf("the one node that is in sync is %s for ever", s.Role())
	}
}

// Where a stranger has answered in the peer's place, an empty node begins no pair before it has met the peer.
func TestNoPairBeginsBesideAStranger(t *testing.T) {
	t.Parallel()
	s := NewState(1, &lateTerms, Start{Kept: Kept{JournalID: ID{2}}})
	now := time.Duration(1)
	asksAfter := func(wait time.Duration, events ...Event) (asked bool) {
		for _, e := range append(events, Event{Kind: OnSeen, Reading: &Reading{}}) {
			now++
			asked = asks(s.Step(now, e, nil)) || asked
		}
		now += wait
		return asks(s.Step(now, Event{Kind: OnTick}, nil)) || asked
	}
	peer := &Peer{Node: "c", JournalID: ID{3}}
	switch {
	case asksAfter(time.Hour, Event{Kind: OnTick}, Event{Kind: OnStranger}, Event{Kind: OnUnreached}),
		asksAfter(time.Hour, Event{Kind: OnUnreached}):
		t.Error("it begins a pair")
	case !strings.Contains(s.WhyNot(&Reading{}), "not the other node of this pair"):
		t.Errorf("it waits because %s", s.WhyNot(&Reading{}))
	case !asksAfter(0, Event{Kind: OnLinked, Link: 1, Peer: peer}):
		t.Error("it has met the peer, and begins no pair")
	}

	s, now = NewState(1, &lateTerms, Start{Kept: Kept{JournalID: ID{2}}}), 1
	peer.Node = "a" // which begins
	switch {
	case asksAfter(lateTerms.Bootstrap/2, Event{Kind: OnStranger}, Event{Kind: OnLinked, Link: 1, Peer: peer}):
		t.Error("it begins a pair at once, as the other does")
	case !asksAfter(lateTerms.Bootstrap, Event{Kind: OnUnlinked, Link: 1}, Event{Kind: OnUnreached}):
		t.Error("the other has died, and it begins no pair")
	}
}

// A HELLO comes late, from before the peer became the master that this node follows: the promise to that one holds.
func TestLateHello(t *testing.T) {
	t.Parallel()
	for _, promised := range []uint32{4, 5} {
		s, _ := standbyOf(5)
		s.Step(2, Event{Kind: OnLinked, Link: 1, Peer: &Peer{Node: "a", Cluster: ID{1}, JournalID: ID{1}, Master: true, Epoch: 5, Promised: 5}}, nil)
		s.Step(2, Event{Kind: OnPlanned, Link: 1, Seq: 5, Epoch: 5, Cluster: ID{1}}, nil)
		s.Step(3, Event{Kind: OnSignal, Link: 1, Signal: Signal{Kind: Beacon, Epoch: 5}}, nil)
		s.Step(4, Event{Kind: OnLinked, Link: 2, Peer: &Peer{Node: "a", Cluster: ID{1}, JournalID: ID{1}, Promised: promised}}, nil)
		got := asks(s.Step(4+lateTerms.Bias, Event{Kind: OnTick}, nil))
		if want := promised == 5; got != want {
			t.Errorf("after the HELLO of a peer that is no master and has promised epoch %d, it asks for the role: %t, want %t", promised, got, want)
		}
	}
}

// A journal does not make way for a snapshot while a CAS may come late that makes it that of a master; and once it makes way,
// it is nobody's.
func TestYieldAndTheRole(t *testing.T) {
	t.Parallel()
	master := Peer{Node: "a", Cluster: ID{1}, JournalID: ID{1}, Master: true, Epoch: 5, Promised: 5}
	s, reading := standbyOf(5)
	later := 1 + 3*time.Second
	s.Step(later, Event{Kind: OnTick}, nil)
	if !asks(s.Step(later, Event{Kind: OnUnreached}, nil)) {
		t.Fatalf("it does not ask for the role: it is %s", s.Role())
	}
	s.Step(later, Event{Kind: OnLinked, Link: 1, Peer: &master}, nil)
	if s.Yield(1) {
		t.Error("the journal makes way while the register is asked")
	}
	s.Step(later, Event{Kind: OnAnswer, Number: 1, Outcome: Unknown}, nil)
	if s.Yield(1) {
		t.Error("the journal makes way while it is not known what the register did")
	}
	reading.Revision, reading.Record.Nonce = 8, "a's"
	s.Step(later, Event{Kind: OnSeen, Reading: &reading}, nil)
	if s.Yield(2) || !s.Yield(1) {
		t.Error("the journal makes way for an old connection, or not for the current one")
	}
	s.Step(2*later, Event{Kind: OnTick}, nil)
	if asks(s.Step(2*later, Event{Kind: OnUnreached}, nil)) {
		t.Error("it asks for the role with a journal that makes way")
	}
}

// A master commits nothing of what it got as a standby before that is durable.
func TestPlannedIsNotDurable(t *testing.T) {
	t.Parallel()
	s, _ := standbyOf(5)
	master := Peer{Node: "a", Cluster: ID{1}, JournalID: ID{1}, Master: true, Epoch: 5, Promised: 5}
	s.Step(2, Event{Kind: OnLinked, Link: 1, Peer: &master}, nil)
	s.Step(2, Event{Kind: OnPlanned, Link: 1, Seq: 9, Epoch: 5, Cluster: ID{1}}, nil) // of which an earlier connection has brought four
	later := 1 + 3*time.Second
	s.Step(later, Event{Kind: OnTick}, nil)
	if !asks(s.Step(later, Event{Kind: OnUnreached}, nil)) {
		t.Fatalf("it does not ask for the role: it is %s", s.Role())
	}
	s.Step(later, Event{Kind: OnAnswer, Number: 1, Revision: 8}, nil)
	if s.Commit() != 5 {
		t.Errorf("a new master commits up to seq %d, and has 5 durable", s.Commit())
	}
	if s.Step(later, Event{Kind: OnDurable, Seq: 9}, nil); s.Commit() != 9 {
		t.Errorf("a new master commits up to seq %d, and has 9 durable", s.Commit())
	}
}

// masterWith is a master of epoch 5, which lists b with its journal 2, that is connected over link 1.
func masterWith(terms *Terms) (s State, lists []Member) {
	lists = []Member{{"a", ID{1}}, {"b", ID{2}}}
	reading := Reading{Revision: 7, Found: true, Record: Record{Cluster: ID{1}, Epoch: 4, Master: "a", InSync: lists}}
	s = NewState(1, terms, Start{Kept: Kept{Cluster: ID{1}, JournalID: ID{1}, Promised: 4, RegRev: 7}, End: 5, LastEpoch: 4})
	s.Step(1, Event{Kind: OnUnreached}, nil)
	s.Step(1, Event{Kind: OnSeen, Reading: &reading}, nil)
	s.Step(1, Event{Kind: OnAnswer, Number: 1, Revision: 8}, nil)
	s.Step(1, Event{Kind: OnActivated}, nil)
	s.Step(1, Event{Kind: OnLinked, Link: 1, Peer: &Peer{Node: "b", Cluster: ID{1}, JournalID: ID{2}, Promised: 4}}, nil)
	return s, lists
}

func find(actions []Action, kind ActionKind) *Action {
	if i := slices.IndexFunc(actions, func(a Action) bool { return a.Kind == kind }); i >= 0 {
		return &actions[i]
	}
	return nil
}

// An earlier process of the standby may have asked for the role, with the journal that a snapshot is to replace: before it is
// sent, the register has gone on by a change that began after that process was dead.
func TestSnapshotWaitsForTheRegister(t *testing.T) {
	t.Parallel()
	for _, block := range []bool{false, true} {
		terms := lateTerms
		terms.Node, terms.Block, terms.Refresh = "a", block, time.Second
		terms.DegradeAfter, terms.Beacon, terms.Retry = time.Minute, time.Minute, time.Millisecond
		s, lists := masterWith(&terms)
		if s.Role() != Duplex {
			t.Fatalf("the master is %s", s.Role())
		}
		later := 1 + terms.Refresh
		if find(s.Step(later, Event{Kind: OnTick}, nil), DoCAS) == nil {
			t.Fatal("the master refreshes nothing")
		}
		out := s.Step(later, Event{Kind: OnSnapshot, Link: 1}, nil)
		if find(out, DoSnapshot) != nil {
			t.Error("a snapshot is sent while the register knows nothing of it")
		}
		out = s.Step(later, Event{Kind: OnAnswer, Number: 2, Revision: 9}, nil)
		if find(out, DoSnapshot) != nil {
			t.Error("a snapshot is sent because of a change that began before it was known to be needed")
		}
		if !block {
			lists = lists[:1]
		}
		if ask := find(out, DoCAS); ask == nil || !slices.Equal(ask.Record.InSync, lists) {
			t.Fatalf("block %t: the register is asked for %+v, want %v", block, ask, lists)
		}
		out = s.Step(later, Event{Kind: OnAnswer, Number: 3, Outcome: Unknown}, nil)
		if find(out, DoSnapshot) != nil {
			t.Error("a snapshot is sent though nobody knows what the register did")
		}
		later += terms.Retry
		if find(s.Step(later, Event{Kind: OnTick}, nil), DoRead) == nil {
			t.Fatal("the register is not looked at again")
		}
		seen, _, _ := s.Seen()
		if find(s.Step(later, Event{Kind: OnSeen, Reading: &seen}, nil), DoCAS) == nil {
			t.Fatal("the register is not asked again")
		}
		out = s.Step(later, Event{Kind: OnAnswer, Number: 4, Revision: 10}, nil)
		if snapshot := find(out, DoSnapshot); snapshot == nil || snapshot.Link != 1 {
			t.Errorf("block %t: no snapshot is sent: %+v", block, out)
		}
	}
}

// What waits for a standby that is near, and may not be promoted, is committed when that is gone: nothing else may come to move it.
func TestNothingWaitsForAStandbyThatIsGone(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]func(*State){
		"its connection ends":            func(s *State) { s.Step(9, Event{Kind: OnUnlinked, Link: 1}, nil) },
		"it comes by another connection": func(s *State) { s.Step(9, Event{Kind: OnLinked, Link: 2, Peer: &Peer{Node: "a"}}, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := soloMaster(t)
			s.Step(5, Event{Kind: OnLinked, Link: 1, Peer: &Peer{Node: "a"}}, nil)
			s.Step(6, Event{Kind: OnNear, Link: 1}, nil)
			s.Step(7, Event{Kind: OnAppended, Seq: 6, Epoch: s.Epoch()}, nil)
			s.Step(8, Event{Kind: OnDurable, Seq: 6}, nil)
			if s.Commit() != 5 {
				t.Fatalf("committed up to seq %d, without the standby that is near", s.Commit())
			}
			if gone(&s); s.Commit() != 6 {
				t.Errorf("committed up to seq %d, and 6 waits for nobody", s.Commit())
			}
		})
	}
}

// soloMaster is one that has activated by a CAS of its own, alone in sync, with 5 records.
func soloMaster(t *testing.T) State {
	me := Member{"b", ID{2}}
	s := NewState(1, &lateTerms, Start{Kept: Kept{JournalID: ID{2}}, End: 5, LastEpoch: 1})
	reading := Reading{Revision: 1, Found: true, Record: Record{Cluster: ID{2}, Epoch: 1, Master: "b", InSync: []Member{me}}}
	later := 1 + 2*time.Second
	s.Step(later, Event{Kind: OnTick}, nil)
	s.Step(later, Event{Kind: OnUnreached}, nil)
	if !asks(s.Step(later, Event{Kind: OnSeen, Reading: &reading}, nil)) {
		t.Fatalf("it does not ask for the role: it is %s", s.Role())
	}
	s.Step(later, Event{Kind: OnAnswer, Number: 1, Revision: 2}, nil)
	if s.Step(later, Event{Kind: OnActivated}, nil); s.Role() != Solo || s.Commit() != 5 {
		t.Fatalf("it is %s and has committed up to seq %d", s.Role(), s.Commit())
	}
	return s
}

// A journal that has been cut is as short as that, whatever became of the connection that wanted it.
func TestCutCountsWithoutItsConnection(t *testing.T) {
	t.Parallel()
	s, _ := standbyOf(5)
	master := Peer{Node: "a", Cluster: ID{1}, JournalID: ID{1}, Master: true, Epoch: 5, Promised: 5}
	s.Step(2, Event{Kind: OnLinked, Link: 1, Peer: &master}, nil)
	if !s.Shorten(1, 3) {
		t.Fatal("a journal is not cut as its master wants it")
	}
	s.Step(2, Event{Kind: OnUnlinked, Link: 1}, nil) // and the cut goes on
	if s.Shorten(1, 2) {
		t.Error("a journal is cut as an old connection wants it")
	}
	later := 1 + 3*time.Second
	s.Step(later, Event{Kind: OnTick}, nil)
	s.Step(later, Event{Kind: OnUnreached}, nil)
	s.Step(later, Event{Kind: OnAnswer, Number: 1, Revision: 8}, nil)
	if s.Commit() != 3 {
		t.Errorf("a new master commits up to seq %d of a journal that ends with 3", s.Commit())
	}
}

// A CAS that is done is newer than whatever has beaten one before, also where the register was written anew.
func TestDoneEndsADefeat(t *testing.T) {
	t.Parallel()
	s, _ := standbyOf(5)
	later := 1 + 2*time.Second
	s.Step(later, Event{Kind: OnTick}, nil)
	if !asks(s.Step(later, Event{Kind: OnUnreached}, nil)) {
		t.Fatalf("it does not ask for the role: it is %s", s.Role())
	}
	s.Step(later, Event{Kind: OnAnswer, Number: 1, Outcome: Lost}, nil) // the register is empty
	s.Step(later, Event{Kind: OnPromote}, nil)
	if !asks(s.Step(later, Event{Kind: OnSeen, Reading: &Reading{}}, nil)) {
		t.Fatal("it does not take the role when it is told to")
	}
	s.Step(later, Event{Kind: OnAnswer, Number: 2, Revision: 1}, nil)
	if s.Step(later, Event{Kind: OnActivated}, nil); s.Role() != Solo {
		t.Fatalf("it is %s", s.Role())
	}
	if !asks(s.Step(later+lateTerms.Refresh, Event{Kind: OnTick}, nil)) {
		t.Error("it asks the register for nothing any more")
	}
}

// A node that was promoted in a new register, and never got the answer, sees there that it was done, and asks for the role again.
func TestPromotionWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]bool{"the register is seen empty first": true, "when the operator says so": false} {
		s, _ := standbyOf(5)
		later := 1 + 3*time.Second
		s.Step(later, Event{Kind: OnTick}, nil)
		if !asks(s.Step(later, Event{Kind: OnUnreached}, nil)) {
			t.Fatalf("%s: it does not ask for the role: it is %s", name, s.Role())
		}
		s.Step(later, Event{Kind: OnAnswer, Number: 1, Outcome: Lost}, nil)
		if first {
			s.Step(later, Event{Kind: OnSeen, Reading: &Reading{}}, nil)
		}
		s.Step(later, Event{Kind: OnPromote}, nil)
		out := s.Step(later, Event{Kind: OnSeen, Reading: &Reading{}}, nil)
		at := slices.IndexFunc(out, func(a Action) bool { return a.Kind == DoCAS })
		if at < 0 {
			t.Fatalf("%s: it does not take the role when it is told to", name)
		}
		done := Reading{Revision: 1, Found: true, Record: *out[at].Record}
		s.Step(later, Event{Kind: OnAnswer, Number: 2, Outcome: Unknown}, nil)
		s.Step(later, Event{Kind: OnPromoteOver}, nil)
		out = s.Step(later, Event{Kind: OnSeen, Reading: &done}, nil)
		if out = s.Step(later+lateTerms.Retry, Event{Kind: OnTick}, out); !asks(out) {
			t.Errorf("%s: it sees its own promotion, and is %s for ever", name, s.Role())
		}
	}
}

// A promotion reaches a master that is none any more: it does not take from the new one, as if nothing were lost by that, what was
// acknowledged there.
func TestPromotionOfAMasterThatIsNone(t *testing.T) {
	t.Parallel()
	terms := lateTerms
	terms.Node = "a"
	m, _ := masterWith(&terms)
	seen, _, _ := m.Seen()
	seen.Revision, seen.Record.Epoch, seen.Record.Master, seen.Record.Nonce = seen.Revision+1, seen.Record.Epoch+1, "b", "b-1"
	out := m.Step(2, Event{Kind: OnPromote}, nil)
	if out = m.Step(2, Event{Kind: OnSeen, Reading: &seen}, out); asks(out) || m.Role() != StoodDown {
		t.Errorf("it asks for the role: %t, and is %s", asks(out), m.Role())
	}
}

// Revisions of a register that was written anew are lower than before, which is no reason to doubt it.
func TestLowRevisionsOfANewRegister(t *testing.T) {
	t.Parallel()
	s, reading := standbyOf(5)
	anew := reading
	anew.Revision, anew.Record.Epoch, anew.Record.Nonce = 1, 6, "new"
	see := func(revision uint64) {
		t.Helper()
		anew.Revision = revision
		s.Step(2, Event{Kind: OnSeen, Reading: &anew}, nil)
		if s.Suspect() {
			t.Errorf("revision %d of epoch 6 is not believed: kept is %+v", revision, s.Kept())
		}
	}
	see(1)
	master := Peer{Node: "a", Cluster: ID{1}, JournalID: ID{1}, Master: true, Epoch: 6, Promised: 6, RegRev: 1}
	s.Step(2, Event{Kind: OnLinked, Link: 1, Peer: &master}, nil)
	s.Step(2, Event{Kind: OnPlanned, Link: 1, Seq: 5, Epoch: 6, Cluster: ID{1}}, nil)
	see(2)
	if kept := s.Kept(); kept.RegRev != 1 {
		t.Errorf("kept is %+v, want the revision that begins epoch 6", kept)
	}
	old := reading
	if s.Step(2, Event{Kind: OnSeen, Reading: &old}, nil); !s.Suspect() {
		t.Error("the register of before is believed")
	}
	// On the other side: what the peer has kept is of its own epoch.
	terms := lateTerms
	terms.Node = "a"
	m, _ := masterWith(&terms)
	m.Step(2, Event{Kind: OnLinked, Link: 2, Peer: &Peer{Node: "b", Cluster: ID{1}, JournalID: ID{2}, Promised: 4, RegRev: 99}}, nil)
	seen, _, _ := m.Seen()
	seen.Revision = 9
	if m.Step(2, Event{Kind: OnSeen, Reading: &seen}, nil); m.Suspect() {
		t.Error("a master does not believe the register because of a revision of an older epoch")
	}
}

// A node that does not know yet whether its log is whole does not make itself the only one in sync (R4): what it cannot read would
// be nowhere.
func TestUnreadLogIsNotAlone(t *testing.T) {
	t.Parallel()
	me, other := Member{"b", ID{2}}, Member{"a", ID{1}}
	reading := Reading{Revision: 7, Found: true, Record: Record{Cluster: ID{1}, Epoch: 5, Master: "a", InSync: []Member{other, me}}}
	start := Start{Kept: Kept{Cluster: ID{1}, JournalID: ID{2}, Promised: 5, RegRev: 7}, End: 5, LastEpoch: 5, Unread: true}
	later := 1 + 3*time.Second
	begin := func(master string) (State, []Action) {
		s, r := NewState(1, &lateTerms, start), reading
		r.Record.Master = master
		out := s.Step(1, Event{Kind: OnSeen, Reading: &r}, nil)
		out = s.Step(later, Event{Kind: OnTick}, out)
		return s, s.Step(later, Event{Kind: OnUnreached}, out)
	}
	s, out := begin("a")
	if asks(out) {
		t.Error("it takes over with a log that it has not read")
	}
	if !asks(s.Step(later, Event{Kind: OnRead}, nil)) {
		t.Error("it does not take over with a log that it has read")
	}
	s, out = begin("b")
	if ask := find(out, DoCAS); ask == nil || len(ask.Record.InSync) != 2 {
		t.Fatalf("it does not go on as the master, with the other one in sync: %+v", ask)
	}
	s.Step(later, Event{Kind: OnAnswer, Number: 1, Revision: 8}, nil)
	out = s.Step(later+lateTerms.DegradeAfter, Event{Kind: OnTick}, nil)
	if !s.held || asks(out) {
		t.Errorf("it is %s, and takes the other one out with a log that it has not read", s.Role())
	}
	if ask := find(s.Step(later, Event{Kind: OnRead}, nil), DoCAS); ask == nil || len(ask.Record.InSync) != 1 {
		t.Errorf("it waits for the other one with a log that it has read: %+v", ask)
	}
}

// A standby that has not read its log yet says so, and is in sync no sooner; where it is already, it goes on to count.
func TestUnreadStandby(t *testing.T) {
	t.Parallel()
	s := NewState(1, &lateTerms, Start{Kept: Kept{Cluster: ID{1}, JournalID: ID{2}, Promised: 5}, End: 5, LastEpoch: 5, Unread: true})
	master := Peer{Node: "a", Cluster: ID{1}, JournalID: ID{1}, Master: true, Epoch: 5, Promised: 5}
	s.Step(1, Event{Kind: OnLinked, Link: 1, Peer: &master}, nil)
	s.Step(1, Event{Kind: OnPlanned, Link: 1, Seq: 5, Epoch: 5, Cluster: ID{1}}, nil)
	beacon := Event{Kind: OnSignal, Link: 1, Signal: Signal{Kind: Beacon, Epoch: 5}}
	if ack := find(s.Step(1, beacon, nil), DoSend); ack == nil || ack.Signal.Seq != 1 {
		t.Errorf("it answers %+v", ack)
	}
	s.Step(1, Event{Kind: OnRead}, nil)
	if ack := find(s.Step(1, beacon, nil), DoSend); ack == nil || ack.Signal.Seq != 1 {
		t.Errorf("before it has read the register it answers %+v", ack)
	}
	_, reading := standbyOf(5)
	s.Step(1, Event{Kind: OnSeen, Reading: &reading}, nil)
	if ack := find(s.Step(1, beacon, nil), DoSend); ack == nil || ack.Signal.Seq != 0 {
		t.Errorf("after it has read both it answers %+v", ack)
	}
	if leave := find(s.Step(1, Event{Kind: OnFault}, nil), DoSend); leave == nil || leave.Signal.Kind != Release {
		t.Errorf("a standby that finds damage lets its master wait: %+v", leave)
	}

	terms := lateTerms
	terms.Node, terms.DegradeAfter, terms.Beacon = "a", time.Minute, time.Minute
	for _, journal := range []ID{{2}, {3}} { // that is listed, and that is not
		m, _ := masterWith(&terms)
		m.Step(2, Event{Kind: OnLinked, Link: 2, Peer: &Peer{Node: "b", Cluster: ID{1}, JournalID: journal, Promised: 4}}, nil)
		signal := func(signal Signal) []Action {
			signal.Epoch = 5
			return m.Step(2, Event{Kind: OnSignal, Link: 2, Signal: signal}, nil)
		}
		signal(Signal{Kind: BeaconAck, Lease: time.Second, Seq: 1})
		m.Step(2, Event{Kind: OnAppended, Seq: 6, Epoch: 5}, nil)
		m.Step(2, Event{Kind: OnDurable, Seq: 6}, nil)
		m.Step(2, Event{Kind: OnNear, Link: 2}, nil)
		out := signal(Signal{Kind: Flushed, Seq: 6})
		if listed := journal == (ID{2}); asks(out) || (m.Commit() == 6) != listed {
			t.Errorf("journal %s, unread: the register is asked %t, committed is %d", journal, asks(out), m.Commit())
		}
		out = signal(Signal{Kind: BeaconAck, Lease: time.Second})
		if asks(out) != (journal == (ID{3})) {
			t.Errorf("journal %s, read: the register is asked: %t", journal, asks(out))
		}
	}
}

// Somebody has put an old copy of a disk in its place while the journal on it was in sync (A4): where the register or the master
// can know, it is told, and that node neither takes over nor counts before it has everything again.
func TestRolledBackJournal(t *testing.T) {
	t.Parallel()
	rolledBack := func(actions []Action) bool {
		return slices.ContainsFunc(actions, func(a Action) bool { return a.Kind == DoRaise && a.Alarm == AlarmRolledBack })
	}
	for _, end := range []uint64{4, 5} {
		_, reading := standbyOf(5)
		reading.Record.MinSeq = 5
		s := NewState(1, &lateTerms, Start{Kept: Kept{Cluster: ID{1}, JournalID: ID{2}, Promised: 5, RegRev: 7}, End: end, LastEpoch: 5})
		out := s.Step(1, Event{Kind: OnSeen, Reading: &reading}, nil)
		later := 1 + 3*time.Second
		out = s.Step(later, Event{Kind: OnTick}, out)
		out = s.Step(later, Event{Kind: OnUnreached}, out)
		if lacks := end < 5; rolledBack(out) != lacks || asks(out) == lacks {
			t.Errorf("a journal that ends with seq %d, and is to have 5: told %t, asks for the role %t", end, rolledBack(out), asks(out))
		}

		terms := lateTerms
		terms.Node, terms.DegradeAfter, terms.Beacon = "a", time.Minute, time.Minute
		m, lists := masterWith(&terms)
		signal := func(signal Signal) {
			signal.Epoch = 5
			m.Step(2, Event{Kind: OnSignal, Link: 1, Signal: signal}, nil)
		}
		signal(Signal{Kind: BeaconAck, Lease: time.Second})
		signal(Signal{Kind: Flushed, Seq: 5})
		if m.Commit() != 5 {
			t.Fatalf("committed is %d", m.Commit())
		}
		hello := Event{Kind: OnLinked, Link: 2, Peer: &Peer{Node: "b", Cluster: ID{1}, JournalID: ID{2}, Promised: 5, End: end, Incarnation: ID{9}}}
		out = m.Step(3, hello, nil)
		ask := find(out, DoCAS)
		if lacks := end < 5; rolledBack(out) != lacks || (ask != nil) != lacks || ask != nil && !slices.Equal(ask.Record.InSync, lists[:1]) {
			t.Errorf("a standby that ends with seq %d, of which 5 counted: told %t, asked is %+v", end, rolledBack(out), ask)
		}
		hello.Link = 3
		if out = m.Step(3, hello, nil); rolledBack(out) || find(out, DoReplicate) == nil {
			t.Error("it does not get what it lacks")
		}
	}
}

// A node that an operator has promoted with a loss ends before what the register had counted on. It is the only one by then, and
// must come back after a restart.
func TestPromotedWithALossComesBack(t *testing.T) {
	t.Parallel()
	s, reading := standbyOf(5)
	reading.Record.MinSeq = 99
	s.Step(1, Event{Kind: OnPromote}, nil)
	ask := find(s.Step(1, Event{Kind: OnSeen, Reading: &reading}, nil), DoCAS)
	if ask == nil {
		t.Fatal("it is not promoted")
	}
	anew := Reading{Revision: 8, Found: true, Record: *ask.Record}
	s = NewState(1, &lateTerms, Start{Kept: Kept{Cluster: ID{1}, JournalID: ID{2}, Promised: 6, RegRev: 8}, End: 5, LastEpoch: 6})
	out := s.Step(1, Event{Kind: OnUnreached}, nil)
	if out = s.Step(2, Event{Kind: OnSeen, Reading: &anew}, out); !asks(out) {
		t.Errorf("it waits for ever for a journal that ends with seq %d", anew.Record.MinSeq)
	}
}

// The register was put back to what it said before the other node took over: that node knows, and tells (R4b). What it knows is
// not forgotten with the connection.
func TestPeerKnowsBetterThanTheRegister(t *testing.T) {
	t.Parallel()
	for _, closed := range []bool{false, true} {
		s, old := standbyOf(5)
		later := 1 + 3*time.Second
		out := s.Step(later, Event{Kind: OnTick}, nil)
		hello := Peer{Node: "a", Cluster: ID{1}, JournalID: ID{1}, Promised: 9, RegRev: 3, End: 1000}
		out = s.Step(later, Event{Kind: OnLinked, Link: 1, Peer: &hello}, out)
		if closed {
			out = s.Step(later, Event{Kind: OnUnlinked, Link: 1}, out)
			out = s.Step(later, Event{Kind: OnUnreached, Dead: true}, out)
		}
		later += lateTerms.Bias
		out = s.Step(later, Event{Kind: OnTick}, out)
		if asks(out) || find(out, DoRead) == nil || s.Suspect() {
			t.Errorf("closed %t: it asks for the role, or does not look again, or is sure: %+v", closed, out)
		}
		if asks(s.Step(later, Event{Kind: OnSeen, Reading: &old}, nil)) || !s.Suspect() {
			t.Errorf("closed %t: it believes a register that the other node knows to be old", closed)
		}
	}
}

// A node never writes to the register of another pair, whatever an operator says, and keeps the name of its own.
func TestRegisterOfAnotherPair(t *testing.T) {
	t.Parallel()
	s, reading := standbyOf(5)
	reading.Record.Cluster, reading.Record.Epoch = ID{7}, 9
	s.Step(2, Event{Kind: OnPromote}, nil)
	if asks(s.Step(2, Event{Kind: OnSeen, Reading: &reading}, nil)) || !s.Suspect() || s.Overruling() {
		t.Error("it overrules another pair")
	}
	// One that never was a member may be promoted where its peer is of that pair.
	for _, known := range []bool{false, true} {
		s := NewState(1, &lateTerms, Start{Kept: Kept{JournalID: ID{2}}})
		if known {
			s.Step(1, Event{Kind: OnLinked, Link: 1, Peer: &Peer{Node: "a", Cluster: ID{7}, JournalID: ID{1}, Promised: 1}}, nil)
		}
		s.Step(2, Event{Kind: OnPromote}, nil)
		if asks(s.Step(2, Event{Kind: OnSeen, Reading: &reading}, nil)) != known {
			t.Errorf("whether it overrules a pair that its peer is of, %t, is not so", known)
		}
	}
}

// A register that is written anew lists the standby from when it is asked to: whether that is done, and when, the master may not
// hear.
func TestReseedReckonsWithTheStandby(t *testing.T) {
	t.Parallel()
	terms := lateTerms
	terms.Node, terms.DegradeAfter, terms.Beacon = "a", time.Minute, time.Minute
	m, _ := masterWith(&terms)
	m.listed = ID{} // alone, while the standby has come to be in step and the register is lost
	signal := func(signal Signal) {
		signal.Epoch = 5
		m.Step(2, Event{Kind: OnSignal, Link: 1, Signal: signal}, nil)
	}
	m.Step(2, Event{Kind: OnSeen, Reading: &Reading{}}, nil)
	m.Step(2, Event{Kind: OnNear, Link: 1}, nil)
	signal(Signal{Kind: BeaconAck, Lease: time.Second})
	signal(Signal{Kind: Flushed, Seq: 5})
	m.Step(2, Event{Kind: OnPromote}, nil)
	ask := find(m.Step(2, Event{Kind: OnSeen, Reading: &Reading{}}, nil), DoCAS)
	if ask == nil || len(ask.Record.InSync) != 2 {
		t.Fatalf("it asks for %+v", ask)
	}
	m.Step(2, Event{Kind: OnAnswer, Number: ask.Number, Outcome: Unknown}, nil)
	m.Step(2, Event{Kind: OnUnlinked, Link: 1}, nil)
	m.Step(2, Event{Kind: OnAppended, Seq: 6, Epoch: 5}, nil)
	m.Step(2, Event{Kind: OnDurable, Seq: 6}, nil)
	if m.Commit() >= 6 {
		t.Errorf("seq %d is acknowledged alone, and the standby may take over", m.Commit())
	}
}

// A CAS of this node was in doubt, or has lost, when the register was lost: nothing of that is left when there is a higher epoch in
// the new one, however low its revisions are.
func TestDoubtsEndWithTheRegister(t *testing.T) {
	t.Parallel()
	for _, outcome := range []Outcome{Lost, Unknown} {
		s, anew := standbyOf(5)
		later := 1 + 3*time.Second
		s.Step(later, Event{Kind: OnTick}, nil)
		if !asks(s.Step(later, Event{Kind: OnUnreached}, nil)) {
			t.Fatalf("it does not ask for the role: it is %s", s.Role())
		}
		s.Step(later, Event{Kind: OnAnswer, Number: 1, Outcome: outcome}, nil)
		s.Step(later, Event{Kind: OnSeen, Reading: &Reading{}}, nil)
		master := Peer{Node: "a", Cluster: ID{1}, JournalID: ID{1}, Master: true, Epoch: 1005, Promised: 1005, RegRev: 1}
		s.Step(later, Event{Kind: OnLinked, Link: 1, Peer: &master}, nil)
		s.Step(later, Event{Kind: OnPlanned, Link: 1, Seq: 5, Epoch: 1005, Cluster: ID{1}}, nil)
		anew.Revision, anew.Record.Epoch, anew.Record.Nonce = 2, 1005, "new"
		s.Step(later, Event{Kind: OnSeen, Reading: &anew}, nil)
		out := s.Step(later, Event{Kind: OnSignal, Link: 1, Signal: Signal{Kind: Beacon, Epoch: 1005}}, nil)
		if !slices.ContainsFunc(out, func(a Action) bool { return a.Kind == DoSend && a.Signal.Kind == BeaconAck }) {
			t.Errorf("its master gets no promise, for ever, after the outcome %d", outcome)
		}
		s.Step(later, Event{Kind: OnUnlinked, Link: 1}, nil)
		if !asks(s.Step(later, Event{Kind: OnUnreached, Dead: true}, nil)) {
			t.Errorf("it does not take over when that master is dead, after the outcome %d", outcome)
		}
	}
}

// A node that has seen the register empty goes by what is in the new one, also where its revisions and epochs are those of the
// old.
func TestNothingIsLeftOfALostRegister(t *testing.T) {
	t.Parallel()
	s, old := standbyOf(5)
	s.Step(2, Event{Kind: OnSeen, Reading: &Reading{}}, nil)
	anew := old
	anew.Record.Nonce, anew.Record.InSync = "new", old.Record.InSync[:1]
	later := 1 + 3*time.Second
	out := s.Step(later, Event{Kind: OnTick}, nil)
	out = s.Step(later, Event{Kind: OnUnreached}, out)
	out = s.Step(later, Event{Kind: OnSeen, Reading: &anew}, out)
	if asks(out) || s.Suspect() {
		t.Error("it goes by the register that was lost")
	}
}

// A standby that answers beacons and follows not, as one that is refused, does not keep its master waiting.
func TestBeaconsAloneAreNotEnough(t *testing.T) {
	t.Parallel()
	terms := lateTerms
	terms.Node, terms.DegradeAfter, terms.Beacon = "a", time.Second, time.Minute
	for _, follows := range []bool{false, true} {
		m, _ := masterWith(&terms)
		if follows {
			m.Step(1, Event{Kind: OnSignal, Link: 1, Signal: Signal{Kind: Flushed, Epoch: 5, Seq: 5}}, nil)
		}
		now := time.Duration(1)
		for range 4 {
			now += terms.DegradeAfter / 2
			m.Step(now, Event{Kind: OnSignal, Link: 1, Signal: Signal{Kind: BeaconAck, Epoch: 5, Lease: time.Second}}, nil)
			m.Step(now, Event{Kind: OnTick}, nil)
		}
		if m.held == follows {
			t.Errorf("with a standby that answers, and follows: %t, the master is %s", follows, m.Role())
		}
	}
}

// What a standby has and has not synced yet is not committed by its taking over.
func TestTakeoverCommitsWhatIsDurable(t *testing.T) {
	t.Parallel()
	s, _ := standbyOf(5)
	master := Peer{Node: "a", Cluster: ID{1}, JournalID: ID{1}, Master: true, Epoch: 5, Promised: 5}
	s.Step(2, Event{Kind: OnLinked, Link: 1, Peer: &master}, nil)
	s.Step(2, Event{Kind: OnPlanned, Link: 1, Seq: 5, Epoch: 5, Cluster: ID{1}}, nil)
	s.Step(2, Event{Kind: OnAppended, Link: 1, Seq: 8, Epoch: 5}, nil)
	s.Step(2, Event{Kind: OnUnlinked, Link: 1}, nil)
	later := 1 + 3*time.Second
	s.Step(later, Event{Kind: OnTick}, nil)
	s.Step(later, Event{Kind: OnUnreached}, nil)
	actions := s.Step(later, Event{Kind: OnAnswer, Number: 1, Revision: 8}, nil)
	kinds := func(kind ActionKind) int {
		return slices.IndexFunc(actions, func(a Action) bool { return a.Kind == kind })
	}
	if persist := kinds(DoPersist); persist < 0 || actions[persist].Kept.Promised != 6 || kinds(DoActivate) < persist {
		t.Fatalf("it does not take over, or does so before it remembers its epoch: %+v", actions)
	}
	if s.Commit() > 5 {
		t.Errorf("it commits up to seq %d, and has 5 durable", s.Commit())
	}
}
