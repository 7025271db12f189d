package failover

import (
	"net"
	"slices"
	"testing"
	"time"
)

// released says whether RELEASE was sent since the last call of on or pass.
func (l *led) released() bool {
	return slices.ContainsFunc(l.did, func(a Action) bool { return a.Kind == DoSend && a.Signal.Kind == Release })
}

// A master that exits while the register does not answer drains, and says RELEASE: the standby has everything, and asks as soon as it can.
// If it has asked before it knew, it does so as soon as there is no answer. An operator's switchover does not begin.
func TestExitWithoutARegister(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		m := newMaster(t, false)
		m.joins(ID{2})
		m.is(Duplex)
		m.away = true
		if known {
			m.on(Event{Kind: OnSeen, Failed: true})
			m.on(Event{Kind: OnSwitchover})
			m.is(Duplex)
		}
		seq := m.writes()
		m.on(Event{Kind: OnLeaving})
		m.is(HandingOver)
		m.on(Event{Kind: OnDrained, Seq: seq})
		if m.is(HandingOver); m.released() {
			t.Fatal("the standby is to take over, and does not have everything")
		}
		m.did = nil
		m.says(Signal{Kind: Flushed, Epoch: m.state.Epoch(), Seq: seq})
		m.is(StoodDown)
		if !m.released() || m.state.Commit() != seq || m.state.Lease() > m.now {
			t.Errorf("the register is known to be away: %t; released: %t, committed %d of %d, lease until %v at %v",
				known, m.released(), m.state.Commit(), seq, m.state.Lease(), m.now)
		}
		if asked := m.done(DoCAS) > 0; asked == known {
			t.Errorf("the register is known to be away: %t, and was asked: %t", known, asked)
		}
	}
}

// A standby that has just lost its connection is worth a wait until it is given up.
func TestHeir(t *testing.T) {
	t.Parallel()
	m := newMaster(t, false)
	if m.state.HasHeir() {
		t.Error("a master alone has an heir")
	}
	m.joins(ID{2})
	if !m.state.HasHeir() {
		t.Error("one with a standby in sync has none")
	}
	m.on(Event{Kind: OnUnlinked, Link: m.links})
	if !m.state.HasHeir() {
		t.Error("one whose standby may be back in a moment has none")
	}
	m.joins(ID{2})
	m.on(Event{Kind: OnUnlinked, Link: m.links})
	if m.pass(ledTerms.DegradeAfter); m.state.HasHeir() {
		t.Errorf("it waits longer than for others, as %s", m.state.Role())
	}
}

// A gate holds connections back.
type gate struct {
	net.Listener
	closed chan chan struct{} // has what those wait for
}

func newGate(l net.Listener) *gate {
	g := &gate{Listener: l, closed: make(chan chan struct{}, 1)}
	open := make(chan struct{})
	close(open)
	g.closed <- open
	return g
}

func (g *gate) shut() (open func()) {
	<-g.closed
	opened := make(chan struct{})
	g.closed <- opened
	return func() { close(opened) }
}

func (g *gate) Accept() (net.Conn, error) {
	conn, err := g.Listener.Accept()
	opened := <-g.closed
	g.closed <- opened
	if err == nil {
		<-opened
	}
	return conn, err
}

// A master that is told to end a moment after its standby has lost its connection hands over when that is back.
func TestNodeHandsOverToWhoConnectsAgain(t *testing.T) {
	t.Parallel()
	p := newTwosome(t, func(o *NodeOptions) {
		o.Terms.DegradeAfter, o.Terms.HoldTimeout, o.Terms.FenceAfter = time.Minute, time.Minute, 2*time.Minute
		o.Listener = newGate(o.Listener)
	})
	master := p.awaitMaster()
	term := p.awaitDuplex(master)
	open := p.options[master].Listener.(*gate).shut()
	term.linkMu.Lock()
	l := term.link
	term.linkMu.Unlock()
	l.Close()
	<-l.ended
	stopped := make(chan error, 1)
	go func() { stopped <- p.stop[master]() }()
	<-p.doorClosed(master)
	open()
	if got := p.awaitMaster(); got != 1-master {
		t.Fatalf("node %d serves", got)
	}
	if r := p.register.records(); !slices.ContainsFunc(r, func(r Record) bool {
		return r.By == p.options[master].Terms.Node && r.Master == p.options[1-master].Terms.Node
	}) {
		t.Errorf("nobody handed over: %+v", r)
	}
	close(p.hold[master])
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// Where nothing is acknowledged alone, a node that has handed over follows the other one as long as its own clients take to go, though its
// process is to end: else nothing would be acknowledged meanwhile. It is not the master again.
func TestNodeFollowsUntilItsClientsHaveGone(t *testing.T) {
	t.Parallel()
	p := newTwosome(t, func(o *NodeOptions) { o.Terms.Block, o.HandOver = true, 500*time.Millisecond })
	master := p.awaitMaster()
	p.awaitDuplex(master)
	stopped := make(chan error, 1)
	go func() { stopped <- p.stop[master]() }()
	if got := p.awaitMaster(); got != 1-master {
		t.Fatalf("node %d serves", got)
	}
	p.awaitRole(master, Standby)
	p.awaitRole(1-master, Duplex)
	close(p.hold[1-master])
	if err := p.stop[1-master](); err != nil { // which would hand over to another one
		t.Fatal(err)
	}
	close(p.hold[master])
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	records := p.register.records()
	if last := records[len(records)-1]; last.Master != p.options[1-master].Terms.Node || len(last.InSync) != 2 {
		t.Errorf("with a node whose process is to end the register says %+v", last)
	}
}

// A standby whose master was killed is told to end when it has asked for the role, and both are started again. The register names it, or
// does so only later; whoever is in sync serves as soon as the two have met, and at the latest when what an earlier process may have
// promised is over.
func TestExitDuringATakeover(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		applied bool // what it asked for is done
		met     bool // the other node is there again, too
		after   time.Duration
	}{
		{"named, and the other node is there", true, true, 0},
		{"named, and alone", true, false, lateTerms.Lease},
		{"not named, and the other node is there", false, true, lateTerms.Bias},
		{"not named, and alone", false, false, lateTerms.Lease + lateTerms.Bias},
	} {
		s, reading := standbyOf(5)
		later := 1 + 3*time.Second
		s.Step(later, Event{Kind: OnTick}, nil)
		ask := find(s.Step(later, Event{Kind: OnUnreached, Dead: true}, nil), DoCAS)
		if ask == nil {
			t.Fatalf("%s: it has not asked, as %s", c.name, s.Role())
		}
		s.Step(later, Event{Kind: OnLeave}, nil)
		if c.applied {
			reading = Reading{Revision: 8, Found: true, Record: *ask.Record}
		}
		next := NewState(later, &lateTerms, Start{Kept: s.Kept(), Incarnation: ID{12}, End: 5, LastEpoch: 5})
		out := next.Step(later, Event{Kind: OnSeen, Reading: &reading}, nil)
		if c.met {
			out = next.Step(later, Event{Kind: OnLinked, Link: 1, Peer: &Peer{Node: "a", Cluster: ID{1}, JournalID: ID{1}, Promised: 5, End: 5}}, out)
		} else {
			out = next.Step(later, Event{Kind: OnUnreached}, out)
		}
		if c.after > 0 && asks(out) {
			t.Errorf("%s: it asks too early", c.name)
		}
		now := later + c.after
		out = next.Step(now, Event{Kind: OnTick}, out)
		if !asks(out) {
			t.Errorf("%s: after %v it is %s: %s", c.name, c.after, next.Role(), next.WhyNot(&reading))
		}
	}
}
