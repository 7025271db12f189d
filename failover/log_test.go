package failover

import (
	"errors"
	"strings"
	"testing"

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
	n := trimmable(t)
	upto := n.log.Last()
	written := make(chan error, 1)
	go func() {
		written <- n.log.WriteCheckpoint(upto, upto, func(yield func([]byte) error) error {
			if n.log.Committed() < upto {
				return errors.New("it is being written before what it knows of is committed")
			}
			return yield([]byte("part"))
		})
	}()
	n.log.Commit(upto - 1)
	n.log.Commit(upto)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	go func() {
		written <- n.log.WriteCheckpoint(upto, upto+1, func(func([]byte) error) error { return nil })
	}()
	if err := n.log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-written; !errors.Is(err, journal.ErrClosed) {
		t.Error(err)
	}
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

// A required standby that does not take what is appended has Append wait, until it is required no more.
func TestAppendWaitsForRequiredStandby(t *testing.T) {
	t.Parallel()
	master, standby := newNode(t, "a"), newNode(t, "b")
	master.lead(1)
	master.log.Require(true)
	appended := make(chan uint64, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 300 {
			master.append(1, 1, 1000)
			appended <- master.log.Last()
		}
	}()
	c, err := connect(master, standby, 1)
	if err != nil {
		t.Fatal(err)
	}
	for c.flushed < 150 {
		if _, err := c.step(); err != nil {
			t.Fatal(err)
		}
		master.log.Sync()
		if last, most := <-appended, standby.log.Last()+65; last > most {
			t.Fatalf("seq %d was appended, the standby has %d and the buffer takes 64 KiB", last, standby.log.Last())
		}
	}
	c.close()
	master.log.Require(false)
	<-done
	join(t, master, standby, 1)
	checkEqual(t, master, standby, 1)
}

// A standby that is not required falls behind the buffer, and catches up from the journal.
func TestSlowStandby(t *testing.T) {
	t.Parallel()
	master, standby := newNode(t, "a"), newNode(t, "b")
	master.lead(1)
	c, err := connect(master, standby, 1)
	if err != nil {
		t.Fatal(err)
	}
	for range 300 { // many times the buffer, and between two frames
		master.append(1, 2, 1500)
		if master.log.Last()%20 == 1 {
			if _, err := c.step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if lag := master.log.Lag(); lag.Records == 0 || lag.Bytes < int64(lag.Records)*1500 || lag.Bytes > int64(lag.Records)*1700+32<<10 {
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
	c, err := connect(master, standby, 1)
	if err != nil {
		t.Fatal(err)
	}
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
