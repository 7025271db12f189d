package failover

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"baton/journal"
	"baton/journal/memfs"
)

// trimmable is a master with many segments, of which nothing is committed yet.
func trimmable(t *testing.T) *node {
	t.Helper()
	n := newNode(t, "a")
	n.retain = 1 // nothing is kept for a standby
	n.crash(memfs.All)
	n.lead(1)
	for range 100 {
		n.append(1, 2, 900)
	}
	n.flush()
	return n
}

// firstAfter appends and syncs until what was trimmed is gone, and returns the first record left.
func firstAfter(n *node) uint64 {
	for range 20 {
		n.append(1, 1, 10)
		n.flush()
	}
	return n.log.j().First()
}

func TestTrimWaitsForCommit(t *testing.T) {
	t.Parallel()
	n := trimmable(t)
	decided := n.log.Last()
	n.log.Trim(150)
	n.log.Commit(decided - 1)
	if first := firstAfter(n); first != 1 {
		t.Fatalf("the log begins with seq %d, though what that was decided on is not committed", first)
	}
	n.log.Commit(decided)
	if first := firstAfter(n); first < 100 || first > 150 {
		t.Errorf("the log begins with seq %d after a trim below 150", first)
	}
}

// A log that is always a little behind trims all the same.
func TestTrimsGetTheirTurn(t *testing.T) {
	t.Parallel()
	n := trimmable(t)
	for before := uint64(10); before <= 150; before += 10 {
		decided := n.log.Last()
		n.log.Trim(before)
		n.append(1, 1, 10)
		n.log.Trim(before + 5)
		n.log.Commit(decided)
	}
	if first := firstAfter(n); first < 100 {
		t.Errorf("the log begins with seq %d", first)
	}
}

// counted counts how often it is asked.
type counted struct {
	everyThird
	asked chan struct{}
}

func (c counted) Keep(r journal.Record, gone func(uint64) bool) bool {
	select {
	case c.asked <- struct{}{}:
	default:
	}
	return c.everyThird.Keep(r, gone)
}

func TestCleanWaitsForCommit(t *testing.T) {
	t.Parallel()
	n := trimmable(t)
	c := counted{everyThird{n.log.Last()}, make(chan struct{}, 1)}
	n.log.Clean(c)
	n.log.Commit(c.asOf - 1)
	if n.log.census.empty() {
		t.Fatal("the census was handed on, though what it knows of is not committed")
	}
	n.log.Commit(c.asOf)
	<-c.asked
}

func TestCheckpointWaitsForCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := trimmable(t)
		upto := n.log.Last()
		written := make(chan error, 1)
		write := func(upto uint64) {
			written <- n.log.WriteCheckpoint(upto, upto, func(yield func([]byte) error) error { return yield([]byte("part")) })
		}
		go write(upto)
		n.log.Commit(upto - 1)
		synctest.Wait()
		if len(written) > 0 {
			t.Fatal("it was written before what it knows of was committed")
		}
		n.log.Commit(upto)
		if err := <-written; err != nil {
			t.Fatal(err)
		}
		go write(upto + 1)
		synctest.Wait()
		if err := n.log.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-written; !errors.Is(err, journal.ErrClosed) {
			t.Error(err)
		}
	})
}

// What a standby lacks stays, up to Retain.
func TestRetain(t *testing.T) {
	t.Parallel()
	n := newNode(t, "a")
	n.retain = 100 << 10
	n.crash(memfs.All)
	n.lead(1)
	standby := newNode(t, "b")
	join(t, n, standby, 1)
	had := n.log.Last()
	for range 80 {
		n.append(1, 1, 900)
	}
	n.flush()
	n.log.Commit(n.log.Last())
	n.log.Trim(n.log.Last())
	if first := firstAfter(n); first > had+1 {
		t.Fatalf("the log begins with seq %d, the standby lacks seq %d", first, had+1)
	}
	for range 80 {
		n.append(1, 1, 900)
	}
	n.flush()
	n.log.Commit(n.log.Last())
	n.log.Trim(n.log.Last())
	if first := firstAfter(n); first <= had+1 {
		t.Fatalf("the log begins with seq %d, though more than Retain lies behind the standby", first)
	}
	join(t, n, standby, 1)
	checkEqual(t, n, standby, n.log.Last())
}

// What a master before has sent may come to the journal until the epoch begins: it is of none of its records, and no standby is told
// where it begins before that is known.
func TestEpochBeginsAfterAllThatCame(t *testing.T) {
	t.Parallel()
	n := newNode(t, "a")
	n.lead(1)
	n.flush()
	had := n.log.End()
	s := NewSender(n.log, 2, Hello{Cluster: ID{1}, Lineage: n.log.Pair().Lineage, End: had}, SenderOptions{OnSignal: func(Signal) {}})
	defer s.Close()
	woken := make(chan struct{}, 1)
	s.bind(seeds{}, func() { signal(woken) })
	if b, err := s.Next(); b != nil || err != nil {
		t.Fatalf("a standby is told %q of an epoch that has not begun, %v", b, err)
	}
	n.append(1, 1, 100)
	n.flush()
	for len(woken) > 0 {
		<-woken
	}
	if err := n.log.Begin(2); err != nil {
		t.Fatal(err)
	}
	if len(woken) == 0 {
		t.Error("who waits for the epoch to begin is not woken")
	}
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	want := Lineage{{1, 1}, {2, n.log.Last() + 1}}
	if plan := s.Plan(); !slices.Equal(plan.Lineage, want) || plan.From != had || plan.Cut {
		t.Errorf("the plan is %+v, want the lineage %v and to go on after seq %d", plan, want, had.Seq)
	}
	if got := n.log.Pair().Lineage; !slices.Equal(got, want) {
		t.Errorf("the lineage is %v, want %v", got, want)
	}
}

// While a snapshot is sent all that comes is retained, also when the connection before ends late, in which one was sent too.
func TestSnapshotIsGrantedToTheNewestSender(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]bool{"the snapshot before is not whole": false, "it is": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, "a")
			n.retain = 10 << 10
			n.crash(memfs.All)
			n.lead(1)
			grow := func() (first uint64) {
				for range 80 {
					n.append(1, 1, 900)
				}
				n.flush()
				n.log.Commit(n.log.Last())
				n.log.Trim(n.log.Last())
				return firstAfter(n)
			}
			grow()
			older, newer := sendsSnapshot(t, n.log), sendsSnapshot(t, n.log)
			if lag := n.log.Lag(); !lag.Copying || lag.Records != n.log.Last()+1-n.log.j().First() || lag.Bytes == 0 {
				t.Errorf("while a copy is sent the standby lacks %+v of a log of %d records", lag, n.log.Last())
			}
			for sent && older.snapshot != nil {
				if _, err := older.Next(); err != nil {
					t.Fatal(err)
				}
			}
			older.Close()
			from := n.log.Last() + 1
			if first := grow(); first > from {
				t.Errorf("the log begins with seq %d, the snapshot ends before %d", first, from)
			}
			newer.Close()
			if n.log.Lag().Copying {
				t.Error("the standby gets a copy that nobody sends")
			}
			if first := grow(); first <= from {
				t.Errorf("the log begins with seq %d, when no snapshot is sent any more", first)
			}
		})
	}
}

// A standby that goes on where its journal ends gets no copy, though the connection before, over which one was sent, has not ended.
func TestLagOfAStandbyThatNeedsNoCopyAnyMore(t *testing.T) {
	t.Parallel()
	n := trimmable(t)
	n.log.Trim(n.log.Last())
	n.log.Commit(n.log.Last())
	firstAfter(n)
	older := sendsSnapshot(t, n.log)
	defer older.Close()
	pair := n.log.Pair()
	newer := NewSender(n.log, 1, Hello{Cluster: pair.Cluster, Lineage: pair.Lineage, End: n.log.End()}, SenderOptions{OnSignal: func(Signal) {}})
	defer newer.Close()
	if plan := newer.Plan(); plan == nil || plan.Snapshot || plan.Refused != "" {
		t.Fatalf("the plan is %+v", plan)
	}
	if lag := n.log.Lag(); lag != (Lag{}) {
		t.Errorf("a standby that has everything lacks %+v", lag)
	}
}

// sendsSnapshot is a Sender that has begun to send a snapshot.
func sendsSnapshot(t *testing.T, log *Log) *Sender {
	t.Helper()
	s := NewSender(log, 1, Hello{}, SenderOptions{OnSignal: func(Signal) {}})
	if _, err := s.Next(); err != nil || s.snapshot == nil {
		t.Fatalf("no snapshot begins: %+v, %v", s.Plan(), err)
	}
	return s
}

// The master has what its standby has: that one keeps nothing for it.
func TestStandbyTrims(t *testing.T) {
	t.Parallel()
	master, standby, c := following(t)
	for range 200 {
		master.append(3, 1, 900)
		if err := c.settle(); err != nil {
			t.Fatal(err)
		}
	}
	standby.log.Commit(standby.log.Last())
	standby.log.Trim(150)
	for range 20 {
		master.append(3, 1, 10)
		if err := c.settle(); err != nil {
			t.Fatal(err)
		}
	}
	if first := standby.log.j().First(); first < 100 || first > 150 {
		t.Errorf("the standby's log begins with seq %d after a trim below 150", first)
	}
}

// A required standby that does not take what is appended has Append wait, until it is required no more.
func TestAppendWaitsForRequiredStandby(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		master, standby := newNode(t, "a"), newNode(t, "b")
		master.lead(1)
		master.log.Require(true)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 300 {
				master.append(1, 1, 1000)
				master.log.Sync()
			}
		}()
		c := connect(master, standby, 1)
		for c.flushed < 150 {
			time.Sleep(10 * time.Millisecond) // of the bubble's time: the journal's housekeeper rests while it makes a file
			synctest.Wait()
			if last := master.log.Last(); last > c.flushed+65 || last < c.flushed+60 {
				t.Fatalf("seq %d was appended, the standby has flushed %d and the buffer takes 64 KiB", last, c.flushed)
			}
			if _, err := c.step(); err != nil {
				t.Fatal(err)
			}
		}
		c.close()
		synctest.Wait()
		if last := master.log.Last(); last == 301 {
			t.Fatal("all was appended, though the standby is required")
		}
		master.log.Require(false)
		<-done
		join(t, master, standby, 1)
		checkEqual(t, master, standby, 1)
	})
}

// A standby that is not required falls behind the buffer, and catches up from the journal.
func TestSlowStandby(t *testing.T) {
	t.Parallel()
	master, standby := newNode(t, "a"), newNode(t, "b")
	master.lead(1)
	c := connect(master, standby, 1)
	for range 300 { // many times the buffer, and between two frames
		master.append(1, 2, 1500)
		if master.log.Last()%20 == 1 {
			if _, err := c.step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if lag := master.log.Lag(); lag.Records == 0 || lag.Bytes < int64(lag.Records)*1500 || lag.Bytes > int64(lag.Records)*1700+2*master.log.growth.every {
		t.Errorf("the lag is %+v", lag)
	}
	if err := c.settle(); err != nil {
		t.Fatal(err)
	}
	c.close()
	checkEqual(t, master, standby, 1)
	if lag := master.log.Lag(); lag != (Lag{}) {
		t.Errorf("the lag of an equal standby is %+v", lag)
	}
}

// What one Append of the master added is never parted on the standby, however it comes there.
func TestBatchesStayWhole(t *testing.T) {
	t.Parallel()
	master := newNode(t, "a")
	master.lead(1)
	for range 40 {
		master.append(1, 7, 9000) // a part of a frame each
		master.flush()
	}
	standby := newNode(t, "b")
	c := connect(master, standby, 1)
	defer c.close()
	for standby.log.Last() < master.log.Last() {
		if _, err := c.step(); err != nil {
			t.Fatal(err)
		}
		if last := standby.log.Last(); last > 0 && (last-1)%7 != 0 {
			t.Fatalf("the standby's log ends with seq %d, within a batch", last)
		}
	}
}

func TestLogOfAForeignNode(t *testing.T) {
	t.Parallel()
	n := newNode(t, "a")
	n.lead(1)
	_ = n.log.Close()
	_, err := OpenLog(LogOptions{Data: "data", Node: "b", Journal: journal.Options{FS: n.disk}})
	if err == nil || !strings.Contains(err.Error(), `written by the node "a"`) {
		t.Error(err)
	}
}

// A journal that is not the one that the pair file speaks of is nobody's: it asks for a snapshot.
func TestReplacedJournal(t *testing.T) {
	t.Parallel()
	n := newNode(t, "a")
	n.lead(1)
	_ = n.log.Close()
	for _, name := range n.disk.Names() {
		if strings.HasPrefix(name, "data/journal/") {
			if err := n.disk.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	n.open()
	if h := n.log.Hello(Hello{}); n.log.Ours() || !h.Resync {
		t.Errorf("ours %t, hello %+v", n.log.Ours(), h)
	}
	master := newNode(t, "c")
	master.lead(2)
	join(t, master, n, 2)
	if !n.log.Ours() || n.log.Hello(Hello{}).Resync {
		t.Error("it has followed, and yet asks for a snapshot")
	}
}

func TestPromisesDoNotFall(t *testing.T) {
	t.Parallel()
	n := newNode(t, "a")
	n.lead(5)
	defer func() {
		if recover() == nil {
			t.Error("a promise fell")
		}
	}()
	_ = n.log.Remember(func(p *Pair) { p.Promised = 4 })
}

func TestDeferred(t *testing.T) {
	t.Parallel()
	var d deferred[string]
	d.put(5, "a")
	d.put(7, "b")
	d.put(9, "c") // in the place of b
	for _, c := range []struct {
		committed uint64
		want      string
	}{{4, ""}, {5, "a"}, {8, ""}, {9, "c"}, {100, ""}} {
		if got, ok := d.take(c.committed); got != c.want || ok != (c.want != "") {
			t.Errorf("with seq %d committed got %q, want %q", c.committed, got, c.want)
		}
	}
	if d.put(5, "d"); d.empty() {
		t.Error("it is lost")
	}
	if d.put(6, "e"); true {
		if got, _ := d.take(6); got != "e" || !d.empty() {
			t.Errorf("got %q, want the newest", got)
		}
	}
}

// What a standby says that cannot be ends the connection, or is not believed.
func TestWhatStandbysMustNotSay(t *testing.T) {
	t.Parallel()
	master, _, c := following(t)
	master.append(3, 1, 10)
	had := master.log.Lag()
	flushed := Signal{Kind: Flushed, Epoch: 2, Seq: 2}
	heard := 0
	c.sender.opt.OnSignal = func(Signal) { heard++ }
	if err := c.sender.Accept(flushed.appendTo(nil, 2)); err != nil || heard != 1 {
		t.Error(heard, err)
	}
	if lag := master.log.Lag(); lag != had || lag.Records != 1 {
		t.Errorf("after FLUSHED of another epoch the lag is %+v", lag)
	}
	flushed.Epoch = 3
	if err := c.sender.Accept(flushed.appendTo(nil, 2)); !errors.Is(err, ErrDiverged) {
		t.Error("another chain:", err)
	}
	flushed.Seq = 3
	if err := c.sender.Accept(flushed.appendTo(nil, 2)); err == nil || !strings.Contains(err.Error(), "the log ends with 2") {
		t.Error(err)
	}
	if err := c.sender.Accept(sealed(kindAppend, 0, 3, 2, nil)); err == nil || !strings.Contains(err.Error(), "a standby sent APPEND") {
		t.Error(err)
	}
}

// Records that are cleaned away while a standby catches up end the connection; the next brings a snapshot.
func TestCleanedWhileCatchingUp(t *testing.T) {
	t.Parallel()
	master, standby := trimmable(t), newNode(t, "b")
	c := connect(master, standby, 1)
	if c.sender.Plan().Snapshot {
		t.Fatal(c.sender.Plan())
	}
	master.log.Commit(master.log.Last())
	master.log.Clean(everyThird{master.log.Last()})
	for master.log.j().Unbroken() == 0 {
		runtime.Gosched()
	}
	var err error
	for err == nil {
		_, err = c.step()
	}
	if !errors.Is(err, ErrGap) {
		t.Error(err)
	}
	c.close()
	join(t, master, standby, 1)
	checkEqual(t, master, standby, 1)
}

// A buffer holds on to what is not flushed, and never has a gap.
func TestBuffer(t *testing.T) {
	t.Parallel()
	b := newBuffer(1 << 20)
	at := func(seq uint64) journal.Position { return journal.Position{Seq: seq, Epoch: 1, Chain: uint32(seq)} }
	add := func(from, to uint64) {
		b.add(make([]journal.Record, to-from), int(to-from)*recordFixedBytes, at(from), at(to))
	}
	add(0, 3) // nobody wants it
	b.begin(at(3), func(b *buffer) { b.streams++ })
	add(3, 5)
	add(5, 8)
	if ok := b.flushed(4, 4); !ok || len(b.chunks) != 1 {
		t.Fatalf("%d chunks are left when a part of one is flushed: %t", len(b.chunks), ok)
	}
	b.sync(8)
	c, sync, _ := b.take(at(3), 0)
	if c == nil || c.end != at(8) || c.count != 5 || !sync {
		t.Fatalf("took %+v, to sync: %t", c, sync)
	}
	add(8, 9)
	if again, _, _ := b.take(at(3), 0); again != nil {
		t.Error("what is being sent was given out again")
	}
	if next, _, _ := b.take(at(8), 9); next == nil || next.count != 1 {
		t.Errorf("took %+v after what is being sent", next)
	}
	if _, _, upto := b.take(at(6), 0); upto != 8 {
		t.Errorf("the journal is to be read up to seq %d, the next chunk begins after 8", upto)
	}
	if b.flushed(8, 7) {
		t.Error("another chain was believed")
	}
	b.release(c)
	add(12, 13) // others were added elsewhere
	if _, _, upto := b.take(at(9), 0); upto != 12 || len(b.chunks) != 1 {
		t.Errorf("%d chunks, the journal is to be read up to seq %d", len(b.chunks), upto)
	}
	body := make([]byte, 10<<10)
	for seq := uint64(13); seq < 300; seq++ {
		b.add([]journal.Record{{Body: body}}, len(body)+recordFixedBytes, at(seq), at(seq+1))
	}
	if b.bytes > 1<<20+chunkBytes || b.bytes < 1<<19 || b.chunks[len(b.chunks)-1].end != at(300) {
		t.Errorf("it holds %d octets, its limit is %d", b.bytes, b.limit)
	}
}

func TestGrowth(t *testing.T) {
	t.Parallel()
	var g growth
	g.init(0)
	g.reset(100)
	for seq := uint64(101); seq <= 100+4*growthMarks; seq++ {
		g.add(seq, 20<<10) // a mark each
	}
	end := uint64(100 + 4*growthMarks)
	for _, back := range []uint64{0, 1, 1000, growthMarks} {
		if bytes, before := g.since(end - back); bytes != int64(back)*20<<10 || before != 0 {
			t.Errorf("%d records back are %d octets, and %d unknown records", back, bytes, before)
		}
	}
	bytes, before := g.since(50)
	known := int64(end-g.first) * 20 << 10
	if want := g.first - 50; before != want || bytes != known || g.first <= 100 || len(g.marks) > 2*growthMarks {
		t.Errorf("since seq 50 %d octets and %d unknown records, want %d; %d marks", bytes, before, want, len(g.marks))
	}
}

// Nothing waits for a journal that has failed: a standby whose disk breaks while it is to cut ends, and does not hang.
func TestCutOfAFailedJournal(t *testing.T) {
	t.Parallel()
	disk, failed := memfs.New(), make(chan error, 1)
	l, err := OpenLog(LogOptions{Data: "data", Node: "a", Journal: journal.Options{FS: disk, OnFatal: func(err error) { failed <- err }}})
	if err != nil {
		t.Fatal(err)
	}
	add := func(seq uint64) {
		if err := l.Append([]journal.Record{{Seq: seq, Epoch: 1, Type: 1, Body: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
		l.Sync()
	}
	add(1)
	add(2)
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	at, err := l.j().PositionAt(1)
	if err != nil {
		t.Fatal(err)
	}
	disk.OnCall(func(c memfs.Call) error {
		if c.Op == "Datasync" {
			return errBrokenDisk
		}
		return nil
	})
	add(3)
	if err := l.cut(at, false, func() error { return nil }); !errors.Is(err, errBrokenDisk) {
		t.Errorf("cut: %v", err)
	}
	if err := <-failed; !errors.Is(err, errBrokenDisk) {
		t.Errorf("the node is told %v", err)
	}
	_ = l.Close()
}

// Of two connections the older may begin its stream late, and end it first: the newer is woken all the same.
func TestStreamsOverlap(t *testing.T) {
	t.Parallel()
	var log Log
	woken := 0
	endNewer := log.attach(func() { woken++ })
	endOlder := log.attach(func() {})
	log.awake()
	endOlder()
	log.awake()
	if woken != 2 {
		t.Errorf("it was woken %d times of 2", woken)
	}
	endNewer()
	log.awake()
	if woken != 2 {
		t.Error("it was woken after its end")
	}
}
