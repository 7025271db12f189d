package failover

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"baton/journal"
	"baton/journal/memfs"
)

// A node is one of the two of a simulated pair: its disk and its log.
type node struct {
	t      *testing.T
	name   string
	disk   *memfs.FS
	log    *Log
	retain int64
	lazy   time.Duration // 0: the journal's default
}

func newNode(t *testing.T, name string) *node {
	n := &node{t: t, name: name, disk: memfs.New(), retain: 1 << 30}
	n.open()
	t.Cleanup(func() { _ = n.log.Close() })
	return n
}

func (n *node) open() {
	n.t.Helper()
	log, err := OpenLog(LogOptions{
		Data: "data", Node: n.name, Retain: n.retain,
		Journal: journal.Options{FS: n.disk, LazySync: n.lazy, SegmentBytes: 32 << 10, BufferBytes: 64 << 10, ScrubEvery: -1, Amplification: 1.1},
	})
	if err != nil {
		n.t.Fatalf("node %s: %v", n.name, err)
	}
	n.log = log
}

// crash ends the process of the node, and perhaps the machine under it, and starts it again.
func (n *node) crash(keep memfs.Keep) {
	n.t.Helper()
	after := n.disk.CrashClone(keep)
	_ = n.log.Close()
	n.disk = after
	n.open()
}

// lead makes the node the master of an epoch.
func (n *node) lead(epoch uint32) {
	n.t.Helper()
	err := n.log.Remember(func(p *Pair) {
		if !p.Member() {
			p.Cluster = ID{1}
		}
		p.Journal, p.Promised = ID(n.log.ID()), epoch
	})
	if err == nil {
		err = n.log.Begin(epoch)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	n.append(epoch, 1, 0)
}

// append adds a batch of records of size octets.
func (n *node) append(epoch uint32, count, size int) {
	n.t.Helper()
	last := n.log.Last()
	recs := make([]journal.Record, count)
	for i := range recs {
		seq := last + 1 + uint64(i)
		head := fmt.Appendf(nil, "%s %d %d/%d ", n.name, seq, i, count)
		recs[i] = journal.Record{Seq: seq, Epoch: epoch, Type: 1, Head: head, Body: bytes.Repeat([]byte{byte(seq)}, size)}
	}
	if err := n.log.Append(recs); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) flush() {
	n.t.Helper()
	n.log.Sync()
	if err := n.log.Flush(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

// records are all that can be read.
func (n *node) records() (recs []journal.Record) {
	n.t.Helper()
	err := n.log.Read(0, func(r journal.Record) error {
		r.Body = slices.Clone(r.Body)
		recs = append(recs, r)
		return nil
	})
	if err != nil {
		n.t.Fatalf("node %s: %v", n.name, err)
	}
	return recs
}

// A connection joins a master and a standby, frame by frame, in one goroutine.
type connection struct {
	master, standby *node
	sender          *Sender
	receiver        *Receiver
	flushed         uint64 // what the master was told
}

// connect begins when all that either has is durable.
func connect(master, standby *node, epoch uint32) *connection {
	master.flush()
	return reconnect(master, standby, epoch)
}

// reconnect begins while the master's disk may still be at work.
func reconnect(master, standby *node, epoch uint32) *connection {
	standby.flush()
	c := &connection{master: master, standby: standby}
	c.sender = NewSender(master.log, epoch, standby.log.Hello(Hello{}), SenderOptions{OnSignal: func(s Signal) {
		if s.Kind == Flushed {
			c.flushed = s.Seq
			master.log.Commit(min(s.Seq, master.log.Durable()))
		}
	}})
	c.receiver = NewReceiver(standby.log, ReceiverOptions{OnSignal: func(Signal) {}, OnCommit: func(uint64) {}})
	c.sender.bind(seeds{1, 2}, func() {})
	c.receiver.bind(seeds{2, 1}, func() {})
	return c
}

// step passes one frame each way. moved is false when neither had one.
func (c *connection) step() (moved bool, err error) {
	frame, err := c.sender.Next()
	if err == nil && frame != nil {
		moved = true
		err = c.receiver.Accept(slices.Clone(frame))
	}
	if err != nil {
		return moved, err
	}
	if frame, err = c.receiver.Next(); err == nil && frame != nil {
		moved = true
		err = c.sender.Accept(slices.Clone(frame))
	}
	return moved, err
}

func (c *connection) close() {
	c.sender.Close()
	c.receiver.Close()
}

// settle goes on until the standby has told that it has all.
func (c *connection) settle() error {
	for {
		moved, err := c.step()
		if err != nil {
			return err
		}
		if moved {
			continue
		}
		end := c.master.log.End()
		if c.flushed == end.Seq && c.standby.log.End() == end {
			return nil
		}
		c.master.flush()
		c.standby.flush()
	}
}

// join connects and settles; a connection that ends because of what it found out is made again.
func join(t *testing.T, master, standby *node, epoch uint32) {
	t.Helper()
	var err error
	for range 5 {
		c := connect(master, standby, epoch)
		err = c.settle()
		c.close()
		if err == nil {
			return
		}
	}
	t.Fatalf("node %s does not come to follow %s: %v", standby.name, master.name, err)
}

// checkEqual checks that both logs end alike, that what both have is the same, and that both have everything from a Seq on
// but for what was cleaned.
func checkEqual(t *testing.T, a, b *node, from uint64) {
	t.Helper()
	a.flush()
	b.flush()
	if a.log.End() != b.log.End() {
		t.Fatalf("node %s ends at %+v, node %s at %+v", a.name, a.log.End(), b.name, b.log.End())
	}
	have := map[uint64]journal.Record{}
	for _, r := range a.records() {
		have[r.Seq] = r
	}
	both := 0
	for _, r := range b.records() {
		if h, ok := have[r.Seq]; ok {
			both++
			if h.Epoch != r.Epoch || h.PrevChain != r.PrevChain || !bytes.Equal(h.Body, r.Body) {
				t.Fatalf("seq %d: node %s has %+v, node %s %+v", r.Seq, a.name, h, b.name, r)
			}
		}
	}
	from = max(from, a.log.j().Unbroken()+1, b.log.j().Unbroken()+1)
	if least := int(a.log.Last() + 1 - from); both < least {
		t.Fatalf("%d records are on both nodes, of %d from seq %d on", both, least, from)
	}
}

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }
