package journal_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"baton/journal"
	"baton/journal/memfs"
)

// spaceWatch is a watch that keeps what OnSpace says, too.
type spaceWatch struct {
	*watch
	told []bool
}

func (w *spaceWatch) options(disk *memfs.FS) journal.Options {
	opt := w.watch.options(disk)
	opt.OnSpace = func(low bool, _ int64) { w.set(func() { w.told = append(w.told, low) }) }
	return opt
}

func (w *spaceWatch) wantTold(t *testing.T, want ...bool) {
	t.Helper()
	synctest.Wait()
	if !slices.Equal(w.told, want) {
		t.Fatalf("OnSpace said %v, want %v", w.told, want)
	}
}

// fullDisk returns a journal on a disk that has become full when a spare was ready.
func fullDisk(t *testing.T) (*memfs.FS, *journal.Journal, *spaceWatch) {
	disk, w := memfs.New(), &spaceWatch{watch: newWatch()}
	j := open(t, w.options(disk))
	put(t, j, w.watch, 40)
	j.Quiesce()
	if !slices.Contains(disk.Names(), dir+"/spare") {
		t.Fatalf("there is no spare: %v", disk.Names())
	}
	disk.SetSize(disk.Used())
	return disk, j, w
}

// fill appends until the next record does not become durable.
func fill(t *testing.T, j *journal.Journal) {
	t.Helper()
	for synctest.Wait(); j.Durable() == j.Last(); synctest.Wait() {
		if err := j.Append(records(j.Last()+1, 1)); err != nil {
			t.Fatal(err)
		}
		j.Sync()
	}
}

func TestFullDiskUsesTheSpareThenWaitsForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk, j, w := fullDisk(t)
		segments := j.Stats().Segments
		fill(t, j)
		if got := j.Stats().Segments; got != segments+1 {
			t.Errorf("%d segments, want the spare in use: %d", got, segments+1)
		}
		w.wantTold(t, true)
		time.Sleep(time.Minute)
		since := j.Stats().StalledSince
		if d := time.Since(since); j.Durable() == j.Last() || w.failures() > 0 || d < 59*time.Second || d > 61*time.Second {
			t.Errorf("after a minute: durable %d of %d, failures %d, stalled since %v", j.Durable(), j.Last(), w.failures(), since)
		}
		disk.SetSize(disk.Used() + 64<<10)
		time.Sleep(time.Second)
		w.wantTold(t, true, false)
		if j.Durable() < j.Last() || !j.Stats().StalledSince.IsZero() {
			t.Errorf("with room: durable %d of %d, stalled since %v", j.Durable(), j.Last(), j.Stats().StalledSince)
		}
		put(t, j, w.watch, 40)
		j.Quiesce()
		if !slices.Contains(disk.Names(), dir+"/spare") {
			t.Errorf("no spare was made again: %v", disk.Names())
		}
		if err := errors.Join(check(j, 1), j.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestTrimMakesRoomForTheSpare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk, j, w := fullDisk(t)
		for j.Stats().Segments < 6 { // room for a few more
			disk.SetSize(disk.Used() + 16<<10)
			put(t, j, w.watch, 5)
			j.Quiesce()
		}
		disk.SetSize(disk.Used())
		for slices.Contains(disk.Names(), dir+"/spare") {
			put(t, j, w.watch, 5)
		}
		put(t, j, w.watch, 20)
		w.wantTold(t, true)
		j.Trim(j.Last())
		time.Sleep(2 * time.Second)
		w.wantTold(t, true, false)
		if !slices.Contains(disk.Names(), dir+"/spare") {
			t.Errorf("no spare was made again: %v", disk.Names())
		}
	})
}

// TestCheckpointGivesWayOnAFullDisk: an old checkpoint keeps what is not needed any more, and a new one finds no room.
func TestCheckpointGivesWayOnAFullDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk, j, w := fullDisk(t)
		write := func() error {
			return j.WriteCheckpoint(j.Durable(), j.Durable(), func(yield func([]byte) error) error { return yield([]byte("part")) })
		}
		disk.SetSize(disk.Used() + 4<<10)
		if err := write(); err != nil {
			t.Fatal(err)
		}
		disk.SetSize(disk.Used())
		for slices.Contains(disk.Names(), dir+"/spare") {
			put(t, j, w.watch, 5)
		}
		if err := write(); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("a checkpoint on a full disk: %v", err)
		}
		if disk.Content(dir+"/checkpoint") == nil {
			t.Fatal("the old checkpoint has gone, although nothing would be gained")
		}
		segments := j.Stats().Segments
		j.Trim(j.Last() + 1)
		j.Quiesce()
		if err := write(); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if got := j.Stats().Segments; got >= segments {
			t.Errorf("%d segments are left of %d", got, segments)
		}
		if err := write(); err != nil {
			t.Errorf("when there is room again: %v", err)
		}
		mustClose(t, j)
		if err := reopens(disk); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseEndsTheWaitForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk, j, w := fullDisk(t)
		fill(t, j)
		durable := j.Durable()
		if err := j.Close(); !errors.Is(err, syscall.ENOSPC) || w.failures() != 1 {
			t.Errorf("close: %v, failures: %d", err, w.failures())
		}
		j = open(t, newWatch().options(disk)) // on the full disk
		if j.Last() != durable {
			t.Errorf("the last record is %d, %d was durable", j.Last(), durable)
		}
		if err := check(j, 1); err != nil {
			t.Error(err)
		}
	})
}

// A record too large for a usual segment gets the room of the spare, which it cannot use as it is.
func TestLargeSegmentTakesTheRoomOfTheSpare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk, j, w := fullDisk(t)
		disk.SetSize(disk.Used() + 12<<10)
		if err := j.Append([]journal.Record{{Seq: j.Last() + 1, Epoch: 9, Type: 1, Body: make([]byte, 20<<10)}}); err != nil {
			t.Fatal(err)
		}
		j.Sync()
		w.await(j.Last())
		if j.Durable() != j.Last() {
			t.Errorf("durable %d of %d", j.Durable(), j.Last())
		}
	})
}

// The reserve is not given up for a batch that it does not help: what comes behind it has it when there is room again.
func TestSpareIsNotGivenUpInVain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk, j, w := fullDisk(t)
		disk.SetSize(disk.Used() + 100<<10)
		if err := j.Append([]journal.Record{{Seq: j.Last() + 1, Epoch: 9, Type: 1, Body: make([]byte, 200<<10)}}); err != nil {
			t.Fatal(err)
		}
		j.Sync()
		synctest.Wait()
		if err := j.Append([]journal.Record{{Seq: j.Last() + 1, Epoch: 9, Type: 1, Body: []byte("acknowledged")}}); err != nil {
			t.Fatal(err)
		}
		j.Sync()
		time.Sleep(time.Minute)
		if j.Durable() > j.Last()-2 || disk.Content(dir+"/spare") == nil {
			t.Errorf("durable %d of %d, and there are %v", j.Durable(), j.Last(), disk.Names())
		}
		disk.SetSize(disk.Used() + 300<<10)
		w.await(j.Last())
	})
}

// Room is what is free above the low-water mark, and counts what is not written yet.
func TestRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk, w := memfs.New(), &spaceWatch{watch: newWatch()}
		opt := w.options(disk)
		opt.LowWater = 1 << 20
		j := open(t, opt)
		synctest.Wait() // until the disk was looked at for the first time
		disk.SetSize(disk.Used() + 3<<20)
		time.Sleep(time.Second)
		synctest.Wait()
		between := func(what string, least, most int64) {
			t.Helper()
			if got := j.Room(); got < least || got > most {
				t.Errorf("%s: room for %d bytes, want %d to %d", what, got, least, most)
			}
		}
		between("two thirds are above the mark", 2<<20-16<<10, 2<<20)
		const size = 500 << 10
		if err := j.Append([]journal.Record{{Seq: 1, Epoch: 9, Type: 1, Body: make([]byte, size)}}); err != nil {
			t.Fatal(err)
		}
		between("some is not written yet", 1<<20-16<<10, 2<<20-size)
		j.Sync()
		w.await(1)
		between("it is", 1<<20, 2<<20-size)
		disk.SetSize(disk.Used() + 1<<19)
		between("the mark is passed", -1<<20, 0)
		disk.OnCall(func(c memfs.Call) error {
			if c.Op == "Free" {
				return errDisk
			}
			return nil
		})
		time.Sleep(time.Second)
		synctest.Wait()
		between("nobody knows", math.MaxInt64, math.MaxInt64)
	})
}

func TestNoSpaceInAnAllocatedSegmentIsFatal(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"WriteVectors", "Datasync"} {
		disk, w := memfs.New(), newWatch()
		j := open(t, w.options(disk))
		put(t, j, w, 1)
		disk.OnCall(func(c memfs.Call) error {
			if c.Op == op && filepath.Ext(c.Name) == ".seg" {
				return syscall.ENOSPC
			}
			return nil
		})
		if err := j.Append(records(2, 1)); err != nil {
			t.Fatal(err)
		}
		j.Sync()
		w.await(2)
		if err := j.Close(); !errors.Is(err, syscall.ENOSPC) || w.failures() != 1 {
			t.Errorf("%s: %v, failures: %d", op, err, w.failures())
		}
	}
}

func TestOnSpaceTellsEachChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk, w := memfs.New(), &spaceWatch{watch: newWatch()}
		opt := w.options(disk)
		opt.LowWater = 100 << 10
		core, log := observer.New(zapcore.WarnLevel)
		opt.Logger = zap.New(core)
		disk.SetSize(100 << 10)
		open(t, opt) // the first segment is on it
		w.wantTold(t, true)
		for _, step := range []struct {
			free int64
			want []bool
		}{
			{109 << 10, []bool{true}}, // not yet a tenth more
			{111 << 10, []bool{true, false}},
			{101 << 10, []bool{true, false}},
			{99 << 10, []bool{true, false, true}},
		} {
			disk.SetSize(disk.Used() + step.free)
			time.Sleep(time.Second)
			w.wantTold(t, step.want...)
		}
		disk.OnCall(func(c memfs.Call) error { // what is not known changes nothing
			if c.Op == "Free" {
				return errDisk
			}
			return nil
		})
		time.Sleep(time.Minute)
		w.wantTold(t, true, false, true)
		if log.Len() != 1 || log.FilterMessage("cannot tell how much room the disk has").Len() != 1 {
			t.Errorf("the log tells what OnSpace does: %v", log.All())
		}
		disk.OnCall(nil)
		disk.SetSize(0)
		time.Sleep(time.Second)
		w.wantTold(t, true, false, true, false)
	})
}

// tornDisk returns a full disk with a torn tail, whose record can be read or not, and maybe a spare.
func tornDisk(t *testing.T, legible, spare bool) *memfs.FS {
	live, w := memfs.New(), newWatch()
	j := open(t, w.options(live))
	put(t, j, w, 40)
	j.Quiesce()
	put(t, j, w, 2)
	disk := copyDisk(live.CrashClone(memfs.All), func(files map[string][]byte) {
		names := segmentNames(live)
		b := files[names[len(names)-1]]
		end := len(bytes.TrimRight(b, "\x00"))
		clear(b[end-60 : end-16]) // of the last mark
		for i := range uint64(2) {
			if at := bytes.LastIndex(b, payload(j.Last()-i)); !legible {
				clear(b[at-32 : at-20])
			}
		}
		if !spare {
			delete(files, dir+"/spare")
		} else if int64(len(files[dir+"/spare"])) == 0 {
			t.Fatal("there is no spare")
		}
	})
	disk.SetSize(disk.Used())
	return disk
}

func TestTornTailOnAFullDisk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		legible, spare bool
		opens, copies  bool
	}{
		{"the spare gives its room", true, true, true, true},
		{"nothing legible is lost", false, false, true, false},
		{"legible records are not destroyed", true, false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			disk := tornDisk(t, c.legible, c.spare)
			before := copyDisk(disk, func(map[string][]byte) {})
			core, log := observer.New(zapcore.WarnLevel)
			opt := newWatch().options(disk)
			opt.Logger = zap.New(core)
			j, err := journal.Open(opt)
			if (err == nil) != c.opens || err != nil && !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("open: %v", err)
			}
			copied := slices.ContainsFunc(disk.Names(), func(n string) bool { return filepath.Ext(n) == ".torn" })
			if copied != c.copies {
				t.Errorf("a copy was kept: %t", copied)
			}
			if err != nil {
				for _, name := range segmentNames(before) {
					if string(before.Content(name)) != string(disk.Content(name)) {
						t.Errorf("%s has changed", name)
					}
				}
				if !strings.Contains(err.Error(), "2 records of it can be read") {
					t.Errorf("open: %v", err)
				}
				return
			}
			if n := log.FilterMessageSnippet("no room to keep a copy").Len(); (n == 1) == c.copies {
				t.Errorf("%d warnings", n)
			}
			if err := errors.Join(check(j, 1), j.Close()); err != nil || j.Last() != 40 {
				t.Errorf("%d records: %v", j.Last(), err)
			}
		})
	}
}

func TestSpareOfAnotherSizeIsNotUsed(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	opt := w.options(disk)
	j := open(t, opt)
	put(t, j, w, 40)
	j.Quiesce()
	mustClose(t, j)
	opt.SegmentBytes *= 2
	j = open(t, opt)
	if disk.Content(dir+"/spare") != nil {
		t.Error("the spare of another size is left")
	}
	for range 10 {
		put(t, j, w, 40)
	}
	mustClose(t, j)
	if report, err := journal.Verify(disk, dir, nil); err != nil || len(report.Damage) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// A spare is made in small slices while there is time, and at once when the writer waits for it.
func TestSpareIsMadeAtThePaceOfTheLog(t *testing.T) {
	t.Parallel()
	for _, hurry := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			disk := memfs.New()
			syncs := 0
			disk.OnCall(func(c memfs.Call) error {
				if c.Name == dir+"/spare.tmp" && c.Op == "Datasync" {
					syncs++
				}
				return nil
			})
			j, err := journal.Open(journal.Options{Dir: dir, FS: disk, SegmentBytes: 4 << 20})
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			store := func(size int) {
				if err := j.Append([]journal.Record{{Seq: j.Last() + 1, Type: 1, Body: make([]byte, size)}}); err != nil {
					t.Fatal(err)
				}
				j.Sync()
			}
			store(1 << 20)
			synctest.Wait()
			if disk.Content(dir+"/spare.tmp") == nil || disk.Content(dir+"/spare") != nil {
				t.Fatalf("no spare is in the making: %v", disk.Names())
			}
			begun := time.Now()
			if hurry {
				store(4<<20 - 64<<10)
				for j.Durable() < 2 {
					time.Sleep(100 * time.Microsecond)
				}
				if took := time.Since(begun); took > 2*time.Millisecond {
					t.Errorf("the writer waited %v for the spare", took)
				}
				return
			}
			for disk.Content(dir+"/spare") == nil {
				time.Sleep(time.Millisecond)
			}
			if took := time.Since(begun); took < 10*time.Millisecond || took > 100*time.Millisecond || syncs < 16 {
				t.Errorf("the spare took %v and %d syncs", took, syncs)
			}
		})
	}
}

// TestLowWaterIsSeenWithEachSegment fills a disk in far less than the second after which it is looked at in any case.
func TestLowWaterIsSeenWithEachSegment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk, w := memfs.New(), &spaceWatch{watch: newWatch()}
		opt := w.options(disk)
		opt.LowWater = 160 << 10
		j := open(t, opt)
		disk.SetSize(disk.Used() + 320<<10)
		began := time.Now()
		for ; len(w.told) == 0; synctest.Wait() {
			put(t, j, w.watch, 1)
			j.Quiesce()
			if time.Since(began) >= time.Second {
				t.Fatal("nothing was said")
			}
		}
		if free, err := disk.Free(dir); err != nil || free < opt.LowWater-2*opt.SegmentBytes {
			t.Errorf("%d octets are free, %v, when it is said that there are less than %d", free, err, opt.LowWater)
		}
		w.wantTold(t, true)
		mustClose(t, j)
	})
}

func TestDirectoryInThePlaceOfTheSpare(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	spare := filepath.Join(path, "spare")
	if err := os.Mkdir(spare, 0o750); err != nil {
		t.Fatal(err)
	}
	opt := journal.Options{Dir: path, SegmentBytes: 16 << 10}
	if j, err := journal.Open(opt); err == nil {
		mustClose(t, j)
		t.Fatal("the journal opens")
	} else if text := err.Error(); !strings.Contains(text, spare+": ") || !strings.Contains(text, "move the directory away") {
		t.Errorf("open: %v", err)
	}
	if err := os.Remove(spare); err != nil {
		t.Fatalf("what was in the directory is lost: %v", err)
	}
	mustClose(t, open(t, opt))
}

// fullness returns a journal with segments of 1 MiB, and what OnFull says.
func fullness(t *testing.T, disk *memfs.FS) (*journal.Journal, *watch, *[]bool) {
	w, told := newWatch(), new([]bool)
	opt := w.options(disk)
	opt.SegmentBytes = 1 << 20
	opt.OnFull = func(full bool) { w.set(func() { *told = append(*told, full) }) }
	return open(t, opt), w, told
}

// A journal whose last file is nearly used up, and for which there is no other one, says so before anything waits, and while it does.
func TestOnFullTellsBeforeAnythingWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := memfs.New()
		j, w, told := fullness(t, disk)
		disk.SetSize(disk.Used() + 128<<10)
		said := func(want ...bool) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			if !slices.Equal(*told, want) {
				t.Fatalf("with %d segments, seq %d durable of %d: OnFull said %v, want %v", j.Stats().Segments, j.Durable(), j.Last(), *told, want)
			}
		}
		said() // the first segment is empty
		for len(*told) == 0 {
			put(t, j, w, 10)
			time.Sleep(time.Second)
			synctest.Wait()
		}
		said(true)
		fill(t, j)
		said(true)
		disk.SetSize(disk.Used() + 2<<20)
		said(true, false)
		if j.Durable() < j.Last() {
			t.Errorf("with room, %d of %d is durable", j.Durable(), j.Last())
		}
		disk.SetSize(disk.Used() + 10<<10) // no room for anything beside the journal, which has its spare
		said(true, false, true)
	})
}

// Who has no more of a quota, of which the file system does not tell, is full when he waits.
func TestOnFullTellsOfAQuota(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := memfs.New()
		j, _, told := fullness(t, disk)
		disk.OnCall(func(c memfs.Call) error {
			if c.Op == "Allocate" {
				return syscall.EDQUOT
			}
			return nil
		})
		fill(t, j)
		if want := []bool{true}; !slices.Equal(*told, want) {
			t.Errorf("OnFull said %v, want %v", *told, want)
		}
		disk.OnCall(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if want := []bool{true, false}; !slices.Equal(*told, want) || j.Durable() < j.Last() {
			t.Errorf("OnFull said %v, want %v; %d of %d is durable", *told, want, j.Durable(), j.Last())
		}
	})
}
