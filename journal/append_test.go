package journal_test

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"baton/journal"
	"baton/journal/memfs"
)

// gate lets a test hold the journal's syncs and count them.
type gate struct {
	syncs atomic.Int64
	mu    sync.Mutex
}

func (g *gate) watch(disk *memfs.FS) {
	disk.OnCall(func(c memfs.Call) error {
		if c.Op == "Datasync" {
			g.syncs.Add(1)
			g.mu.Lock()
			defer g.mu.Unlock()
		}
		return nil
	})
}

func TestAppendsPendingTogetherShareOneSync(t *testing.T) {
	t.Parallel()
	disk, w, g := memfs.New(), newWatch(), &gate{}
	opt := w.options(disk)
	opt.SegmentBytes = 1 << 20
	j := open(t, opt)
	g.mu.Lock()
	g.watch(disk)
	for range 100 { // one or two batches: what the writer took at once, and what formed during its sync
		if err := j.Append(records(j.Last()+1, 1)); err != nil {
			t.Fatal(err)
		}
		j.Sync()
	}
	if j.Durable() != 0 {
		t.Error("durable before the sync")
	}
	g.mu.Unlock()
	w.await(100)
	if n := g.syncs.Load(); n > 2 {
		t.Errorf("%d syncs for 100 Appends", n)
	}
	if err := check(j, 1); err != nil {
		t.Error(err)
	}
}

// What is written at once may be long. Who follows the log gets it in batches that are not, and none parts an Append.
func TestBatchesOfOneWriteAreShort(t *testing.T) {
	t.Parallel()
	disk, w, g := memfs.New(), newWatch(), &gate{}
	opt := w.options(disk)
	opt.SegmentBytes = 4 << 20
	j := open(t, opt)
	g.mu.Lock()
	g.watch(disk)
	const each, size, n = 3, 10 << 10, 40 // of an Append, of a record, Appends
	for range n {
		var recs []journal.Record
		for range each {
			recs = append(recs, journal.Record{Seq: j.Last() + uint64(len(recs)) + 1, Type: 1, Body: make([]byte, size)})
		}
		if err := j.Append(recs); err != nil {
			t.Fatal(err)
		}
	}
	j.Sync()
	g.mu.Unlock()
	w.await(n * each)
	if n := g.syncs.Load(); n > 2 {
		t.Errorf("%d syncs", n)
	}
	if left := j.Unsynced(); left != 0 {
		t.Errorf("%d octets count as not durable", left)
	}
	mustClose(t, j)
	j = open(t, opt)
	defer mustClose(t, j)
	octets, early, last := 0, 0, uint64(0)
	err := j.Read(1, func(r journal.Record) error {
		octets, last = octets+len(r.Body), r.Seq
		switch {
		case r.Ends && r.Seq%each != 0:
			t.Errorf("a batch ends with seq %d, within an Append", r.Seq)
		case r.Ends:
			if octets < 64<<10 {
				early++
			}
			octets = 0
		case octets >= 64<<10+each*size:
			t.Errorf("at seq %d a batch has %d octets and goes on", r.Seq, octets)
		}
		return nil
	})
	if err != nil || last != n*each {
		t.Errorf("read up to seq %d: %v", last, err)
	}
	if early > 2 { // where the writer took what there was
		t.Errorf("%d batches are shorter than they may be", early)
	}
}

func TestLazySyncWaitsNoLongerAndIdleDoesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := memfs.New()
		j, err := journal.Open(journal.Options{Dir: dir, FS: disk, SegmentBytes: 64 << 10, LazySync: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Append(records(1, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(49 * time.Millisecond)
		synctest.Wait()
		if j.Durable() != 0 {
			t.Error("synced although nobody asked")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if j.Durable() != 1 {
			t.Error("not synced in time")
		}
		calls := 0
		disk.OnCall(func(memfs.Call) error { calls++; return nil })
		time.Sleep(time.Hour)
		if calls > 0 {
			t.Errorf("%d calls while idle", calls)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAppendWaitsWhileTheBufferIsFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := memfs.New()
		j, err := journal.Open(journal.Options{
			Dir: dir, FS: disk, SegmentBytes: 1 << 20, BufferBytes: 64 << 10, LazySync: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		hold := make(chan struct{})
		disk.OnCall(func(c memfs.Call) error {
			if c.Op == "Datasync" {
				<-hold
			}
			return nil
		})
		body := make([]byte, 40<<10)
		for seq := range uint64(2) {
			go func() {
				if err := j.Append([]journal.Record{{Seq: seq + 1, Type: 1, Body: body}}); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		if j.Last() != 1 {
			t.Errorf("last is %d while the buffer is full", j.Last())
		}
		close(hold)
		synctest.Wait()
		if j.Last() != 2 || j.Durable() != 1 {
			t.Errorf("last is %d, durable %d after the sync", j.Last(), j.Durable())
		}
		if err := j.Close(); err != nil || j.Durable() != 2 {
			t.Errorf("close: %v, durable %d", err, j.Durable())
		}
	})
}

func TestBrokenRulesOfAppendPanic(t *testing.T) {
	t.Parallel()
	w := newWatch()
	j := open(t, w.options(memfs.New()))
	put(t, j, w, 150)
	for name, r := range map[string]journal.Record{
		"seq again":       {Seq: 150, Epoch: 2, Type: 1},
		"seq left out":    {Seq: 152, Epoch: 2, Type: 1},
		"epoch goes back": {Seq: 151, Epoch: 1, Type: 1},
		"type 0":          {Seq: 151, Epoch: 2},
		"type 128":        {Seq: 151, Epoch: 2, Type: 128},
	} {
		func() {
			defer func() {
				if s, _ := recover().(string); !strings.HasPrefix(s, "BUG: ") {
					t.Errorf("%s: %q", name, s)
				}
			}()
			_ = j.Append([]journal.Record{r})
		}()
	}
	put(t, j, w, 1)
}

func TestLargeBatches(t *testing.T) {
	t.Parallel()
	w := newWatch()
	opt := w.options(journal.OS{})
	opt.Dir, opt.BufferBytes = t.TempDir(), 64<<10
	j := open(t, opt)
	big := bytes.Repeat([]byte("0123456789abcdef"), 5<<20) // 80 MiB
	put(t, j, w, 5)
	if err := j.Append([]journal.Record{{Seq: 6, Epoch: 1, Type: 9, Head: []byte("head"), Body: big}}); err != nil {
		t.Fatal(err)
	}
	put(t, j, w, 5)
	err := j.Append([]journal.Record{{Seq: 12, Epoch: 1, Type: 9, Body: big}, {Seq: 13, Epoch: 1, Type: 9, Body: big}})
	if !errors.Is(err, journal.ErrTooBig) {
		t.Errorf("too big: %v", err)
	}
	mustClose(t, j)
	j = open(t, opt)
	sizes := []int{}
	err = j.Read(5, func(r journal.Record) error {
		sizes = append(sizes, len(r.Body))
		if r.Seq == 6 && !(bytes.HasPrefix(r.Body, []byte("head0123")) && bytes.Equal(r.Body[4:], big)) {
			t.Error("the large record is altered")
		}
		return nil
	})
	if err != nil || len(sizes) != 7 || sizes[1] != len(big)+4 {
		t.Errorf("read %v, %v", sizes, err)
	}
}

func TestAfterClose(t *testing.T) {
	t.Parallel()
	w := newWatch()
	j := open(t, w.options(memfs.New()))
	put(t, j, w, 3)
	mustClose(t, j)
	mustClose(t, j)
	if err := j.Append(records(4, 1)); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if err := j.Read(1, func(journal.Record) error { return nil }); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	j.Sync()
	j.Trim(2)
}

// failSyncs makes every sync of a segment fail from now on.
func failSyncs(disk *memfs.FS) {
	disk.OnCall(func(c memfs.Call) error {
		if c.Op == "Datasync" {
			return errDisk
		}
		return nil
	})
}

func TestFailureStopsTheJournalForEver(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	put(t, j, w, 3)
	failSyncs(disk)
	if err := j.Append(records(4, 1)); err != nil {
		t.Fatal(err)
	}
	j.Sync()
	w.await(4)
	disk.OnCall(nil)
	for range 2 {
		if err := j.Append(records(5, 1)); !errors.Is(err, errDisk) {
			t.Errorf("append: %v", err)
		}
		j.Sync()
	}
	if j.Durable() != 3 || w.failures() != 1 {
		t.Errorf("durable is %d, OnFatal was called %d times", j.Durable(), w.failures())
	}
	if err := check(j, 1); err != nil { // what is durable can still be read
		t.Error(err)
	}
	if err := j.Close(); !errors.Is(err, errDisk) {
		t.Errorf("close: %v", err)
	}
}

// TestRestartAfterAFailedSyncWritesAgain restarts on a system that shows what it failed to sync and takes it for written.
func TestRestartAfterAFailedSyncWritesAgain(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	put(t, j, w, 3)
	failSyncs(disk)
	if err := j.Append(records(4, 2)); err != nil {
		t.Fatal(err)
	}
	j.Sync()
	w.await(5)
	_ = j.Close()
	disk.OnCall(nil)
	j = open(t, newWatch().options(disk))
	durable := j.Durable()
	after := open(t, newWatch().options(disk.CrashClone(memfs.None)))
	if after.Last() < durable || durable < 3 {
		t.Errorf("%d records were durable, %d are left", durable, after.Last())
	}
	if err := check(after, 1); err != nil {
		t.Error(err)
	}
}

func TestBuffersShrinkAfterABurst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, err := journal.Open(journal.Options{Dir: dir, FS: memfs.New(), SegmentBytes: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := j.Append([]journal.Record{{Seq: j.Last() + 1, Type: 1, Head: make([]byte, 4<<20)}}); err != nil {
				t.Fatal(err)
			}
			j.Sync()
			synctest.Wait()
		}
		if n := j.BufferCap(); n < 4<<20 {
			t.Errorf("only %d bytes of buffer are left for what follows at once", n)
		}
		time.Sleep(5 * time.Second)
		if n := j.BufferCap(); n > 2<<20 {
			t.Errorf("%d bytes of buffer are left", n)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAppendReadSyncTrimTogether(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	const total = 3000
	var all sync.WaitGroup
	all.Go(func() {
		for j.Last() < total {
			if err := j.Append(records(j.Last()+1, 5)); err != nil {
				t.Error(err)
				return
			}
			j.Sync()
		}
	})
	for range 2 {
		all.Go(func() {
			for j.Durable() < total {
				if err := checkGrowing(j); err != nil && !errors.Is(err, journal.ErrTrimmed) {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Go(func() {
		for j.Durable() < total {
			w.await(j.Durable() + 1)
			j.Trim(j.Durable() / 2)
		}
	})
	all.Wait()
	if err := check(j, j.First()); err != nil {
		t.Error(err)
	}
}

// checkGrowing is check for a journal that grows meanwhile.
func checkGrowing(j *journal.Journal) error {
	next, upto := j.First(), j.Durable()
	err := j.Read(next, func(r journal.Record) error {
		if r.Seq != next || !bytes.Equal(r.Body, payload(next)) {
			return errors.New("altered")
		}
		next++
		return nil
	})
	if err == nil && next <= upto {
		err = errors.New("too short")
	}
	return err
}

func TestAppendDoesNotAllocate(t *testing.T) {
	w := newWatch()
	opt := w.options(memfs.New())
	opt.SegmentBytes, opt.BufferBytes = 16<<20, 4<<20
	j := open(t, opt)
	recs := []journal.Record{{Type: 1, Body: make([]byte, 100)}, {Type: 1, Body: make([]byte, 4096)}}
	appendTwo := func() {
		last := j.Last()
		recs[0].Seq, recs[1].Seq = last+1, last+2
		if err := j.Append(recs); err != nil {
			t.Fatal(err)
		}
	}
	for range 800 { // grow the buffer
		appendTwo()
	}
	j.Sync()
	w.await(j.Last())
	appendTwo() // to the other buffer
	for range 700 {
		appendTwo()
	}
	j.Sync()
	w.await(j.Last())
	j.Quiesce()
	if n := testing.AllocsPerRun(500, appendTwo); n > 0 {
		t.Errorf("%v allocations for each Append", n)
	}
}
