package failover

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"baton/journal"
	"baton/journal/memfs"
)

// alarms are those that actions begin, and end with a minus.
func alarms(actions []Action) (names []string) {
	for i := range actions {
		switch a := &actions[i]; a.Kind {
		case DoRaise:
			names = append(names, a.Alarm.String())
		case DoClear:
			names = append(names, "-"+a.Alarm.String())
		}
	}
	return names
}

// A standby without room is not made the master, neither on an operator's word nor because the master exits; one whose disk is only low
// is. The master says so, and when it is over.
func TestStandbyWithoutRoomIsNotMadeMaster(t *testing.T) {
	t.Parallel()
	for _, kind := range []EventKind{OnSwitchover, OnLeaving} {
		m := newMaster(t, false)
		m.joins(ID{2})
		m.is(Duplex)
		has := func(space Space) {
			m.did = nil
			m.says(Signal{Kind: BeaconAck, Epoch: m.state.Epoch(), Sent: m.now, Lease: ledTerms.Lease, Chain: uint32(space)})
		}
		wants := func(alarm ...string) {
			t.Helper()
			if got := alarms(m.did); !slices.Equal(got, alarm) {
				t.Errorf("alarms %v, want %v", got, alarm)
			}
		}
		has(SpaceLow)
		wants("PEER_DISK_FULL")
		has(SpaceNone)
		wants()
		m.on(Event{Kind: kind})
		m.is(Duplex)
		has(SpaceEnough)
		wants("-PEER_DISK_FULL")
		m.on(Event{Kind: kind})
		m.is(HandingOver)
		has(SpaceNone) // meanwhile
		m.is(Duplex)
		if m.done(DoResume) == 0 {
			t.Error("its broker rests for ever")
		}
		has(SpaceLow)
		m.on(Event{Kind: kind})
		m.step(Event{Kind: OnDrained, Seq: m.state.end})
		m.is(StoodDown)
		if m.register.Record.Master != "b" {
			t.Errorf("the register says %+v", m.register.Record)
		}
	}
}

// A standby without room does not ask for the role while another node is in sync that may come back, and asks when it has room. Who
// alone is in sync asks in any case.
func TestWithoutRoomItAsksForNoRole(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{false, true} {
		s, reading := standbyOf(5)
		if alone {
			reading.Revision, reading.Record.InSync = 8, reading.Record.InSync[1:]
			s.Step(1, Event{Kind: OnSeen, Reading: &reading}, nil)
		}
		if got := alarms(s.Step(1, Event{Kind: OnSpace, Space: SpaceNone}, nil)); !slices.Equal(got, []string{"DISK_FULL"}) {
			t.Errorf("alarms %v", got)
		}
		later := 1 + 3*time.Second
		s.Step(later, Event{Kind: OnTick}, nil)
		s.Step(later, Event{Kind: OnUnreached, Dead: true}, nil)
		if got := s.Role() == Candidate; got != alone {
			t.Errorf("alone in sync: %t, it asks: %t", alone, got)
		}
		if waits := s.WhyNot(&reading); !strings.Contains(waits, "its disk is full") {
			t.Errorf("it waits: %s", waits)
		}
		if alone {
			continue
		}
		out := s.Step(later, Event{Kind: OnSpace, Space: SpaceLow}, nil)
		if !asks(out) || alarms(out) != nil {
			t.Errorf("with room for the beginning it does %+v", out)
		}
		if got := alarms(s.Step(later, Event{Kind: OnSpace}, nil)); !slices.Equal(got, []string{"-DISK_FULL"}) {
			t.Errorf("alarms %v", got)
		}
	}
}

// A beacon is answered with how much room there is.
func TestBeaconAckTellsOfTheDisk(t *testing.T) {
	t.Parallel()
	s, _ := standbyOf(5)
	master := Peer{Node: "a", Cluster: ID{1}, JournalID: ID{1}, Master: true, Epoch: 5, Promised: 5}
	s.Step(2, Event{Kind: OnLinked, Link: 1, Peer: &master}, nil)
	for _, space := range []Space{SpaceNone, SpaceLow, SpaceEnough} {
		s.Step(2, Event{Kind: OnSpace, Space: space}, nil)
		ack := find(s.Step(2, Event{Kind: OnSignal, Link: 1, Signal: Signal{Kind: Beacon, Epoch: 5}}, nil), DoSend)
		if ack == nil || ack.Signal.Kind != BeaconAck || ack.Signal.Seq != 0 || Space(ack.Signal.Chain) != space {
			t.Errorf("with space %d the answer is %+v", space, ack)
		}
	}
}

// A master without room for the beginning of its epoch makes way for another node that is in sync and has room. Where there is none it
// says what it waits for.
func TestActivationWithoutRoomMakesWay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		shared bool
		space  Space // of the other node
		leaves bool
	}{{true, SpaceEnough, true}, {true, SpaceLow, true}, {true, SpaceNone, false}, {false, SpaceEnough, false}} {
		s, reading := standbyOf(5)
		reading.Revision, reading.Record.Master = 8, "b"
		if !c.shared {
			reading.Record.InSync = reading.Record.InSync[1:]
		}
		terms := lateTerms
		terms.DegradeAfter, terms.Beacon, terms.Refresh = time.Minute, time.Minute, time.Minute
		s.terms = &terms
		later := 1 + 3*time.Second
		s.Step(1, Event{Kind: OnSeen, Reading: &reading}, nil)
		s.Step(later, Event{Kind: OnTick}, nil)
		ask := find(s.Step(later, Event{Kind: OnUnreached}, nil), DoCAS)
		if ask == nil {
			t.Fatalf("it is %s", s.Role())
		}
		s.Step(later, Event{Kind: OnAnswer, Number: ask.Number, Revision: 9}, nil)
		s.Step(later, Event{Kind: OnSpace, Space: SpaceNone}, nil)
		if s.Role() != Activating {
			t.Fatalf("without a peer it is %s", s.Role())
		}
		if waits := s.WhyNot(&reading); !strings.Contains(waits, "its disk is full") {
			t.Errorf("it waits: %s", waits)
		}
		s.Step(later, Event{Kind: OnLinked, Link: 1, Peer: &Peer{Node: "a", Cluster: ID{1}, JournalID: ID{1}, Promised: 5, End: 5}}, nil)
		out := s.Step(later, Event{Kind: OnSignal, Link: 1, Signal: Signal{Kind: BeaconAck, Epoch: 6, Lease: time.Second, Chain: uint32(c.space)}}, nil)
		if got := s.Role() == StoodDown; got != c.leaves {
			t.Errorf("%+v: it is %s", c, s.Role())
		}
		if release := find(out, DoSend); c.leaves && (release == nil || release.Signal.Kind != Release) {
			t.Errorf("the other node is to wait: %+v", out)
		}
	}
}

// awaitNoAlarm waits for the end of an alarm.
func awaitNoAlarm(t *testing.T, n *Node, alarm string) {
	t.Helper()
	for late := time.Now().Add(30 * time.Second); slices.Contains(n.Status().Alarms, alarm); {
		if time.Now().After(late) {
			t.Fatalf("there is still the alarm %s", alarm)
		}
		time.Sleep(time.Millisecond) // nothing tells of it
	}
}

// The disk of a standby is full: both nodes say so, and when it is over; a switchover is refused with that reason. A master that exits
// does not hand over; it is the master by the register until the standby has room, and serves at once.
func TestFullDiskOfAStandby(t *testing.T) {
	t.Parallel()
	p := newTwosome(t)
	master := p.awaitMaster()
	p.awaitDuplex(master)
	p.awaitRole(1-master, Standby)
	disk, standby := p.disks[1-master], p.nodes[1-master]
	disk.SetSize(disk.Used())
	awaitAlarm(t, standby, AlarmDiskFull.String())
	awaitAlarm(t, p.nodes[master], AlarmPeerDiskFull.String())
	if err := p.nodes[master].Switchover(t.Context()); err == nil || !strings.Contains(err.Error(), "the disk of the standby is full") {
		t.Errorf("a switchover to it: %v", err)
	}
	disk.SetSize(disk.Used() + 8<<20)
	awaitNoAlarm(t, standby, AlarmDiskFull.String())
	awaitNoAlarm(t, p.nodes[master], AlarmPeerDiskFull.String())
	disk.SetSize(disk.Used())
	awaitAlarm(t, p.nodes[master], AlarmPeerDiskFull.String())
	close(p.hold[master])
	if err := p.stop[master](); err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(30 * time.Second); !strings.Contains(standby.Status().Waits, "its disk is full"); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("the standby: %+v", standby.Status())
		}
	}
	if now, _ := p.register.look(); now.Record.Master != p.options[master].Terms.Node {
		t.Errorf("the register says %+v", now.Record)
	}
	disk.SetSize(disk.Used() + 8<<20)
	if got := p.awaitMaster(); got != 1-master {
		t.Errorf("node %d serves", got)
	}
}

// A node that alone is in sync and finds no room for the beginning of its epoch waits for it, and says so; then it serves.
func TestFullDiskOfWhoIsAlone(t *testing.T) {
	t.Parallel()
	start := 1
	p := newTwosome(t, func(o *NodeOptions) {
		quiet := o.NewBroker
		o.NewBroker = func(t *Term) Broker {
			b := quiet(t).(*quietBroker)
			b.start = start
			return b
		}
	})
	master := p.awaitMaster()
	term := p.awaitDuplex(master)
	for _, i := range []int{0, 1} {
		close(p.hold[i])
	}
	if err := p.stop[1-master](); err != nil {
		t.Fatal(err)
	}
	p.awaitRole(master, Solo)
	end := term.log.End()
	if err := term.log.Append([]journal.Record{{Seq: end.Seq + 1, Epoch: end.Epoch, Type: 1, Body: make([]byte, 900<<10)}}); err != nil {
		t.Fatal(err)
	}
	term.log.Sync()
	if err := errors.Join(term.log.Flush(t.Context()), p.stop[master]()); err != nil {
		t.Fatal(err)
	}
	disk := p.disks[master]
	for _, name := range disk.Names() {
		if strings.HasSuffix(name, "/spare") {
			if err := disk.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	disk.SetSize(disk.Used() + 128<<10)
	start = 200 << 10 // for which there is no room behind that
	p.options[master].Listener = relisten(t, p.options[master].Listener)
	p.start(master)
	awaitAlarm(t, p.nodes[master], AlarmDiskFull.String())
	p.awaitRole(master, Activating)
	if waits := p.nodes[master].Status().Waits; !strings.Contains(waits, "its disk is full") {
		t.Errorf("it waits: %q", waits)
	}
	disk.SetSize(disk.Used() + 8<<20)
	if got := p.awaitMaster(); got != master {
		t.Errorf("node %d serves", got)
	}
	awaitNoAlarm(t, p.nodes[master], AlarmDiskFull.String())
}

// A standby without room for a copy of its master's journal says so, does not begin one after the other, and goes on by itself when there
// is room.
func TestCopyWithoutRoom(t *testing.T) {
	t.Parallel()
	p := newTwosome(t)
	master := p.awaitMaster()
	p.awaitDuplex(master)
	standby := 1 - master
	p.awaitRole(standby, Standby)
	begun := make(chan time.Time, 64)
	p.disks[standby].OnCall(func(c memfs.Call) error {
		if c.Op != "Create" || !strings.HasPrefix(c.Name, "data/journal.sync/") {
			return nil
		}
		begun <- time.Now()
		return syscall.ENOSPC
	})
	if err := p.nodes[standby].Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := <-begun
	for late := time.Now().Add(30 * time.Second); p.nodes[standby].Status().Waits != noRoomForCopy; time.Sleep(time.Millisecond) { // nothing tells of it
		if time.Now().After(late) {
			t.Fatalf("it says %+v", p.nodes[standby].Status())
		}
	}
	if again := (<-begun).Sub(first); again < roomSoon {
		t.Errorf("the next copy was begun after %v", again)
	}
	p.disks[standby].OnCall(nil)
	p.awaitRole(standby, Standby)
	if waits := p.nodes[standby].Status().Waits; waits != "" {
		t.Errorf("with room it waits: %q", waits)
	}
}

// Who is in sync with the journal that it has takes over though the copy that is to replace it finds no room, and however long it waits
// for the next one.
func TestTakeoverWithoutRoomForACopy(t *testing.T) {
	t.Parallel()
	p := newTwosome(t, func(o *NodeOptions) { o.Terms.Block = true })
	master := p.awaitMaster()
	for late := time.Now().Add(30 * time.Second); !p.inSync(1 - master); time.Sleep(time.Millisecond) { // a change of the register tells nobody here
		if time.Now().After(late) {
			t.Fatalf("node %d: %+v", 1-master, p.nodes[1-master].Status())
		}
	}
	standby := 1 - master
	p.awaitRole(standby, Standby)
	p.disks[standby].OnCall(func(c memfs.Call) error {
		if c.Op == "Create" && strings.HasPrefix(c.Name, "data/journal.sync/") {
			return syscall.ENOSPC
		}
		return nil
	})
	if err := p.nodes[standby].Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(30 * time.Second); p.nodes[standby].Status().Waits != noRoomForCopy; time.Sleep(time.Millisecond) { // nothing tells of it
		if time.Now().After(late) {
			t.Fatalf("it says %+v", p.nodes[standby].Status())
		}
	}
	term, err := p.nodes[standby].current()
	if err != nil {
		t.Fatal(err)
	}
	term.linkMu.Lock()
	term.redial.due = time.Now().Add(time.Hour)
	term.linkMu.Unlock()
	close(p.hold[master])
	if err := p.stop[master](); err != nil {
		t.Fatal(err)
	}
	if got := p.awaitMaster(); got != standby {
		t.Errorf("node %d serves", got)
	}
}

// inSync says that the register lists a node.
func (p *twosome) inSync(i int) bool {
	now, _ := p.register.look()
	_, listed := now.Record.Member(p.options[i].Terms.Node)
	return listed
}

// A node that finds no room for the beginning of its epoch, when the register has named it, waits for that.
func TestNoRoomForTheEpoch(t *testing.T) {
	t.Parallel()
	disk := memfs.New()
	l := newLone(t, muteRegister{}, func(o *NodeOptions) { o.Journal.FS = disk })
	term := l.term(t)
	var refused atomic.Int32
	disk.OnCall(func(c memfs.Call) error {
		if c.Op == "Create" && strings.HasPrefix(c.Name, "data/pair") && refused.Add(1) <= 2 {
			return syscall.ENOSPC
		}
		return nil
	})
	if err := term.beginEpoch(1); err != nil {
		t.Fatal(err)
	}
	if got := term.log.Pair().Lineage.Last().Epoch; got != 1 || refused.Load() < 3 {
		t.Errorf("the lineage ends with epoch %d after %d attempts", got, refused.Load())
	}
}

// It ends all the same when it is told to.
func TestNoRoomForTheEpochEnds(t *testing.T) {
	t.Parallel()
	disk := memfs.New()
	l := newLone(t, muteRegister{}, func(o *NodeOptions) { o.Journal.FS = disk })
	term := l.term(t)
	refused := make(chan struct{}, 1)
	disk.OnCall(func(c memfs.Call) error {
		if c.Op == "Create" && strings.HasPrefix(c.Name, "data/pair") {
			signal(refused)
			return syscall.ENOSPC
		}
		return nil
	})
	ended := make(chan error, 1)
	go func() { ended <- term.beginEpoch(1) }()
	<-refused
	term.goodbye()
	select {
	case err := <-ended:
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it does not end")
	}
}

// The epoch of a new master begins after what was on its way into its journal when it became that.
func TestEpochBeginsAfterWhatIsInHand(t *testing.T) {
	t.Parallel()
	p := newTwosome(t, func(o *NodeOptions) { o.Journal.BufferBytes = 64 << 10 })
	master := p.awaitMaster()
	term, standby := p.awaitDuplex(master), 1-master
	room := make(chan struct{})
	makeRoom := sync.OnceFunc(func() { close(room) })
	p.disks[standby].OnCall(func(c memfs.Call) error {
		if c.Op == "Datasync" && strings.HasPrefix(c.Name, "data/journal/") {
			<-room
		}
		return nil
	})
	before := term.log.Last()
	var appended sync.WaitGroup
	defer appended.Wait()
	defer makeRoom()
	p.appendUntilStuck(&appended, term, standby, 5)
	promoted := make(chan error, 1)
	go func() { promoted <- p.nodes[standby].Promote(t.Context(), true) }()
	p.awaitRole(standby, Activating)
	makeRoom()
	if err := <-promoted; err != nil {
		t.Fatal(err)
	}
	if got := p.awaitMaster(); got != standby {
		t.Fatalf("node %d serves", got)
	}
	leads, err := p.nodes[standby].current()
	if err != nil {
		t.Fatal(err)
	}
	began := leads.log.Pair().Lineage.Last()
	last, err := leads.log.j().PositionAt(began.First - 1)
	if first, also := leads.log.j().PositionAt(began.First); errors.Join(err, also) != nil || first.Epoch != began.Epoch || last.Epoch >= began.Epoch {
		t.Errorf("epoch %d begins with seq %d, which is of epoch %d; the one before is of %d (%v)",
			began.Epoch, began.First, first.Epoch, last.Epoch, errors.Join(err, also))
	}
	if began.First <= before+2 {
		t.Errorf("nothing was in hand: the epoch begins with seq %d, %d were there before", began.First, before)
	}
}
