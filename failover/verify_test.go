package failover

import (
	"errors"
	"path"
	"runtime"
	"slices"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

// flipOldest flips a bit in the middle of the oldest segment of a journal.
func flipOldest(t *testing.T, disk *memfs.FS, dir string) {
	t.Helper()
	for _, name := range disk.Names() { // in order
		if path.Dir(name) == dir && isSegment(name) {
			b := slices.Clone(disk.Content(name))
			b[len(b)/2] ^= 1
			disk.Put(name, b)
			return
		}
	}
	t.Fatalf("there is no segment among %v", disk.Names())
}

// A log is read to its end, and damage in it is found; what is cut off meanwhile is none.
func TestVerify(t *testing.T) {
	t.Parallel()
	n := newNode(t, "a")
	n.lead(1)
	for range 80 {
		n.append(1, 1, 1500)
	}
	n.flush()
	if err := n.log.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	at, err := n.log.j().PositionAt(20)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.log.cut(at, false, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := n.log.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.append(1, 40, 1500)
	n.flush()
	n.crash(memfs.All)
	flipOldest(t, n.disk, "data/journal")
	var damage *journal.CorruptError
	if err := n.log.Verify(t.Context()); !errors.As(err, &damage) {
		t.Errorf("got %v of a log with a bit flipped", err)
	}
}

// A standby whose log is damaged ends and says where, however often it is started; its master goes on alone, and never takes it
// for in sync.
func TestDamagedStandbyStaysOut(t *testing.T) {
	t.Parallel()
	p := newTwosome(t, func(o *NodeOptions) { o.Journal.SegmentBytes = 16 << 10 })
	master := p.awaitMaster()
	term := p.awaitDuplex(master)
	p.awaitRole(1-master, Standby)
	for range 40 {
		end := term.log.End()
		if err := term.log.Append([]journal.Record{{Seq: end.Seq + 1, Epoch: end.Epoch, Type: 1, Body: make([]byte, 1000)}}); err != nil {
			t.Fatal(err)
		}
		term.log.Sync()
	}
	for term.log.Committed() < term.log.Last() {
		runtime.Gosched()
	}
	if err := p.stop[1-master](); err != nil {
		t.Fatal(err)
	}
	p.awaitRole(master, Solo)
	flipOldest(t, p.disks[1-master], "data/journal")
	before := len(p.register.records())
	for range 3 {
		o := p.options[1-master]
		o.Listener, o.Door = listenLoopback(t), NewDoor(listenLoopback(t), DoorOptions{})
		var damage *journal.CorruptError
		if err := NewNode(o).Run(t.Context()); !errors.As(err, &damage) {
			t.Fatalf("the node ended with %v", err)
		}
	}
	p.awaitRole(master, Solo)
	for _, r := range p.register.records()[before:] {
		if len(r.InSync) > 1 {
			t.Errorf("the register was told that it is in sync: %+v", r)
		}
	}
}

// A node that cannot write down that it is the master does not ask to be: the register would name it, and nobody else could serve.
func TestFullDiskAsksForNoRole(t *testing.T) {
	t.Parallel()
	p := newTwosome(t)
	master := p.awaitMaster()
	p.awaitDuplex(master)
	p.awaitRole(1-master, Standby)
	standby, err := p.nodes[1-master].current()
	if err != nil {
		t.Fatal(err)
	}
	p.disks[1-master].OnCall(func(call memfs.Call) error {
		if path.Base(call.Name) == pairNewName {
			return errBrokenDisk
		}
		return nil
	})
	close(p.hold[master])
	if err := p.stop[master](); err != nil { // which lets the standby take over at once
		t.Fatal(err)
	}
	<-standby.over
	if err := p.stop[1-master](); !errors.Is(err, errBrokenDisk) {
		t.Errorf("the node ended with %v", err)
	}
	for _, r := range p.register.records() {
		if name := p.options[1-master].Terms.Node; r.By == name && r.Master == name {
			t.Errorf("it has asked to be the master: %+v", r)
		}
	}
}
