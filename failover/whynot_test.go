package failover

import (
	"strings"
	"testing"
	"time"
)

// Node b, with the journal 2, has lost its master a, or never found one.
func TestWhyNot(t *testing.T) {
	t.Parallel()
	a, b, lost := Member{"a", ID{1}}, Member{"b", ID{2}}, Member{"b", ID{9}}
	member := Kept{Cluster: ID{1}, JournalID: ID{2}, Promised: 3, RegRev: 7}
	record := func(members ...Member) Reading {
		return Reading{Revision: 7, Found: true, Record: Record{Cluster: ID{1}, Epoch: 3, Master: "a", InSync: members}}
	}
	rolledBack := record(a, b)
	rolledBack.Record.MinSeq = 6
	foreign := record(a, Member{"c", ID{5}})
	foreign.Record.Cluster = ID{8}
	older := record(a, b)
	older.Revision = 6
	journal2 := &Peer{Node: "a", Cluster: ID{1}, JournalID: ID{7}, Promised: 3}
	for _, c := range []struct {
		name    string
		kept    Kept
		reading Reading
		peer    *Peer // nil: it is not reached
		want    string
	}{
		{"not listed", member, record(a), nil, "does not list it in sync. Node a has everything: see that it runs, and that the two reach each other. If that is lost for good: baton failover promote"},
		{"the other's disk is lost", member, record(a), journal2, "Node a alone had everything, and has another journal now: put its data directory back"},
		{"its own disk is lost", Kept{JournalID: ID{2}}, record(lost), nil, "knows node b by another journal, 09000000000000000000000000000000: this one is new"},
		{"nobody else has it", Kept{JournalID: ID{2}}, record(lost), nil, "No other node has everything: put the data directory back that was here"},
		{"rolled back", member, rolledBack, nil, "ends with seq 5 and had seq 6: an old copy of the data directory was put back. Node a has everything"},
		{"has data, and the register another pair's", Kept{JournalID: ID{2}}, foreign, nil, "this node has messages and is in no pair yet, and the register has a pair whose master is a"},
		{"another pair's", member, foreign, nil, otherRecord},
		{"nothing there", member, Reading{}, nil, noRecord},
		{"an old copy", member, older, nil, olderRecord},
		{"older than the other's", Kept{JournalID: ID{2}}, older, &Peer{Node: "a", Cluster: ID{1}, JournalID: ID{1}, Promised: 4}, olderThanPeers},
		{"new", Kept{JournalID: ID{2}}, Reading{}, &Peer{Node: "a", JournalID: ID{1}, End: 4}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := NewState(1, &lateTerms, Start{Kept: c.kept, End: 5, LastEpoch: c.kept.Promised})
			if c.want == "" { // it has data of its own, and begins
				s.Step(1, Event{Kind: OnSeen, Reading: &c.reading}, nil)
				if got := s.WhyNot(&c.reading); s.Role() != Candidate || !strings.Contains(got, "waits for the answer") {
					t.Errorf("%s waits: %s", s.Role(), got)
				}
				return
			}
			later := 1 + 10*time.Second
			s.Step(later, Event{Kind: OnTick}, nil)
			if c.peer != nil {
				s.Step(later, Event{Kind: OnLinked, Link: 1, Peer: c.peer}, nil)
			} else {
				s.Step(later, Event{Kind: OnUnreached}, nil)
			}
			s.Step(later, Event{Kind: OnSeen, Reading: &c.reading}, nil)
			if got := s.WhyNot(&c.reading); !strings.Contains(got, c.want) {
				t.Errorf("%s waits: %s\nwant: %s", s.Role(), got, c.want)
			}
		})
	}
}

// A master that must not acknowledge alone says what it stands still for, and one that may does not.
func TestWhyNotServe(t *testing.T) {
	t.Parallel()
	for _, block := range []bool{false, true} {
		m := newMaster(t, block)
		says := func(want string) {
			t.Helper()
			if !block {
				want = ""
			}
			if got := m.state.WhyNot(&m.register); (got == "") != (want == "") || !strings.Contains(got, want) {
				t.Errorf("block %t: it waits: %q, want %q", block, got, want)
			}
		}
		says("until the standby is back")
		m.on(Event{Kind: OnLinked, Link: 1, Peer: &Peer{Node: "b", Cluster: m.state.Kept().Cluster, JournalID: ID{2}}})
		says("until the standby has everything")
		m.links = 1
		m.says(Signal{Kind: BeaconAck, Epoch: m.state.Epoch(), Sent: m.now, Lease: ledTerms.Lease, Chain: uint32(SpaceNone)})
		says("until there is room on the disk of the standby")
		m.joins(ID{2})
		if got := m.state.WhyNot(&m.register); got != "" {
			t.Errorf("block %t: with its standby it waits: %q", block, got)
		}
	}
}

// A node that is new, and the register another pair's, or that of the pair it is to join.
func TestWhyNotOfANewNode(t *testing.T) {
	t.Parallel()
	s := NewState(1, &lateTerms, Start{Kept: Kept{JournalID: ID{2}}})
	theirs := Reading{Revision: 7, Found: true, Record: Record{Cluster: ID{8}, Epoch: 3, Master: "a", InSync: []Member{{"a", ID{1}}}}}
	s.Step(2, Event{Kind: OnSeen, Reading: &theirs}, nil)
	const want = "whose master is a: start that, and this node gets a copy. If it is another pair, failover.name"
	if got := s.WhyNot(&theirs); !strings.Contains(got, want) {
		t.Errorf("%s waits: %s", s.Role(), got)
	}
}

// What passes: the register that does not answer, the peer that was not asked, the promise.
func TestWhyNotYet(t *testing.T) {
	t.Parallel()
	s, reading := standbyOf(5)
	if got := s.WhyNot(&reading); !strings.Contains(got, "asks the other node") {
		t.Errorf("first: %s", got)
	}
	s.Step(2, Event{Kind: OnUnreached}, nil)
	if got := s.WhyNot(&reading); !strings.Contains(got, "has promised") {
		t.Errorf("then: %s", got)
	}
	s.Step(1+lateTerms.Lease+lateTerms.Bias, Event{Kind: OnTick}, nil)
	if got := s.WhyNot(&reading); s.Role() != Candidate || !strings.Contains(got, "has asked the register") {
		t.Errorf("%s at the end: %s", s.Role(), got)
	}
	blind := NewState(1, &lateTerms, Start{})
	blind.Step(1, Event{Kind: OnSeen, Reading: &Reading{}, Failed: true}, nil)
	if got := blind.WhyNot(&Reading{}); !strings.Contains(got, "does not answer") {
		t.Errorf("without a register: %s", got)
	}
	fresh, now := standbyOf(5)
	fresh.Step(2, Event{Kind: OnLinked, Link: 1, Peer: &Peer{Node: "a", Cluster: ID{1}, JournalID: ID{1}, Master: true, Epoch: 5, Promised: 5}}, nil)
	if got := fresh.WhyNot(&now); got != "" {
		t.Errorf("a standby waits: %s", got)
	}
}

// A reason is for the log when it has lasted, and once; another one again.
func TestLasting(t *testing.T) {
	t.Parallel()
	l := lasting{patience: whyNotPatience}
	begin := time.Now()
	got := ""
	for second, text := range strings.Split("..aaabaaaaaaaaaaaa.aaaaaaaabbbbbbbb........aaaaaaa", "") {
		if text == "." {
			text = ""
		}
		if l.lasts(begin.Add(time.Duration(second)*time.Second), text) {
			got += text + string(rune('0'+second/10)) + string(rune('0'+second%10)) + " "
		}
	}
	if want := "a11 b32 a48 "; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
}

// What a master has refused a node for is not said any more when that has lost its meaning: the node is to get a copy, the master is
// gone, or has let the node in again.
func TestRefusalIsForgotten(t *testing.T) {
	t.Parallel()
	const refusal = "the master refuses this node"
	t.Run("resync", func(t *testing.T) {
		t.Parallel()
		n := newLone(t, muteRegister{}, nil)
		n.term(t).refusedBy(refusal)
		if err := n.Resync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waits := n.Status().Waits; waits == refusal {
			t.Errorf("waits: %q", waits)
		}
	})
	t.Run("nobody is there", func(t *testing.T) {
		t.Parallel()
		n := newLone(t, muteRegister{}, nil)
		n.term(t).refusedBy(refusal)
		awaitNoRefusal(t, n.Node, refusal)
	})
	t.Run("another connection", func(t *testing.T) {
		t.Parallel()
		p := newTwosome(t, func(o *NodeOptions) { o.Register, o.Terms.Bootstrap = muteRegister{}, time.Hour })
		for late := time.Now().Add(30 * time.Second); !p.nodes[0].Status().Peer.Linked; time.Sleep(time.Millisecond) { // nothing tells of it
			if time.Now().After(late) {
				t.Fatal("the nodes do not meet")
			}
		}
		term, err := p.nodes[0].current()
		if err != nil {
			t.Fatal(err)
		}
		term.refusedBy(refusal)
		term.linkMu.Lock()
		term.link.Close()
		term.linkMu.Unlock()
		awaitNoRefusal(t, p.nodes[0], refusal)
	})
}

func awaitNoRefusal(t *testing.T, n *Node, refusal string) {
	t.Helper()
	for late := time.Now().Add(20 * time.Second); n.Status().Waits == refusal; time.Sleep(time.Millisecond) { // nothing tells of it
		if time.Now().After(late) {
			t.Fatalf("it still waits because %q", refusal)
		}
	}
}
