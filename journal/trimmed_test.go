package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"baton/journal"
	"baton/journal/memfs"
)

const markBytes = 72

// recycled tells whether the header of a segment says that its file was that of another one.
func recycled(disk *memfs.FS, name string) bool {
	content := disk.Content(name)
	return len(content) > 16 && binary.LittleEndian.Uint32(content[12:])&2 != 0
}

// keeping are options of a journal in which the files of trimmed segments wait to be recycled.
func keeping(w *watch, disk *memfs.FS) journal.Options {
	return journal.KeepTrimmed(w.options(disk), time.Hour)
}

// roll appends until another segment is in use, whose name it returns.
func roll(t *testing.T, j *journal.Journal, w *watch, disk *memfs.FS) string {
	t.Helper()
	names := segmentNames(disk)
	for before := names[len(names)-1]; names[len(names)-1] == before; names = segmentNames(disk) {
		put(t, j, w, 3)
	}
	j.Quiesce()
	return names[len(names)-1]
}

// trimAll makes all segments but the one in use go.
func trimAll(t *testing.T, j *journal.Journal, w *watch) {
	t.Helper()
	j.Trim(j.Last() + 1)
	put(t, j, w, 1)
	j.Quiesce()
}

// recycling returns a journal whose segment in use was recycled, with several batches in it, and its name.
func recycling(t *testing.T) (*memfs.FS, *journal.Journal, *watch, string) {
	t.Helper()
	disk, w := memfs.New(), newWatch()
	j := open(t, keeping(w, disk))
	roll(t, j, w, disk)
	name := roll(t, j, w, disk)
	for !recycled(disk, name) {
		trimAll(t, j, w)
		name = roll(t, j, w, disk)
	}
	for range 3 {
		put(t, j, w, 3)
	}
	return disk, j, w, name
}

func TestTrimmedFilesBecomeTheNextSegments(t *testing.T) {
	t.Parallel()
	disk, j, w, _ := recycling(t)
	allocated := 0
	disk.OnCall(func(c memfs.Call) error {
		if c.Op == "Create" && strings.HasPrefix(filepath.Base(c.Name), "s") {
			allocated++
		}
		return nil
	})
	for range 10 {
		first := j.First()
		if name := roll(t, j, w, disk); !recycled(disk, name) {
			t.Errorf("%s was made of zeros", name)
		}
		trimAll(t, j, w)
		if j.First() == first {
			t.Fatal("nothing was trimmed")
		}
	}
	if allocated > 0 {
		t.Errorf("%d files were made", allocated)
	}
	disk.OnCall(nil)
	mustClose(t, j)
	if names := disk.Names(); !slices.Contains(names, dir+"/spare") || len(segmentNames(disk)) != 1 {
		t.Errorf("after Close: %v", names)
	}
	if err := reopens(disk); err != nil {
		t.Error(err)
	}
}

// TestSpareIsNotMadeUnderTheNameOfTheLastOne: the file that becomes a segment is still called spare when the housekeeper comes.
func TestSpareIsNotMadeUnderTheNameOfTheLastOne(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	j := open(t, keeping(w, disk))
	for range 4 {
		roll(t, j, w, disk)
	}
	trimAll(t, j, w)
	begun := 0
	disk.OnCall(func(c memfs.Call) error {
		if c.Op == "Rename" && filepath.Base(c.Name) == "spare" {
			begun++
			j.MakeSpare()
		}
		return nil
	})
	roll(t, j, w, disk)
	roll(t, j, w, disk)
	disk.OnCall(nil)
	if begun != 2 {
		t.Errorf("%d segments were begun with a spare", begun)
	}
	mustClose(t, j)
	if err := reopens(disk); err != nil {
		t.Error(err)
	}
}

// TestOtherFilesAreNotRecycled: not those that are larger than usual or much smaller, nor cleaned ones.
func TestOtherFilesAreNotRecycled(t *testing.T) {
	t.Parallel()
	for title, makeOdd := range map[string]func(t *testing.T, j *journal.Journal, w *watch, disk *memfs.FS) int{
		"much smaller, and larger": func(t *testing.T, j *journal.Journal, w *watch, _ *memfs.FS) int {
			put(t, j, w, 1)
			put(t, j, w, 200) // no room for these
			return 2
		},
		"cleaned": func(t *testing.T, j *journal.Journal, w *watch, disk *memfs.FS) int {
			roll(t, j, w, disk)
			if err := j.Thin(0, 1, func(uint64) bool { return true }); err != nil {
				t.Fatal(err)
			}
			return 1
		},
	} {
		disk, w := memfs.New(), newWatch()
		j := open(t, keeping(w, disk))
		odds := makeOdd(t, j, w, disk)
		for n := range odds + 2 { // the first one that is as usual goes after them, to be in use two later
			trimAll(t, j, w)
			want := n > odds
			if name := roll(t, j, w, disk); recycled(disk, name) != want {
				t.Errorf("%s: of %d files number %d, %s, is recycled: %t", title, odds, n, name, !want)
			}
		}
		mustClose(t, j)
	}
}

// TestSpareOfZerosIsGivenUpForATrimmedFile: half of the zeros saved are worth more than those written.
func TestSpareOfZerosIsGivenUpForATrimmedFile(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	opt := keeping(w, disk)
	opt.SegmentBytes = 1 << 20
	j := open(t, opt)
	roll(t, j, w, disk)
	roll(t, j, w, disk) // it takes the spare
	begun, trimmed := make(chan bool, 1), make(chan bool)
	disk.OnCall(func(c memfs.Call) error {
		if c.Op == "Datasync" && filepath.Base(c.Name) == "spare.tmp" { // a slice of several
			select {
			case begun <- true:
				<-trimmed
			default:
			}
		}
		return nil
	})
	for !j.KeepsHouse() {
		put(t, j, w, 1)
	}
	<-begun
	j.Trim(j.Last() + 1)
	put(t, j, w, 1)
	close(trimmed)
	j.Quiesce()
	if name := roll(t, j, w, disk); !recycled(disk, name) {
		t.Errorf("%s was made of zeros", name)
	}
}

// TestSpareOfZerosIsFinishedWhereNothingIsRecycled: where the system gives no lease, a spare of zeros that gives way to each
// trimmed file would never be ready.
func TestSpareOfZerosIsFinishedWhereNothingIsRecycled(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	opt := keeping(w, disk)
	opt.SegmentBytes = 1 << 20
	j := open(t, opt)
	var files []string
	for range 4 {
		files = append(files, roll(t, j, w, disk))
	}
	j.Quiesce()
	var made, held atomic.Int64
	trim := make(chan uint64, 1)
	disk.OnCall(func(c memfs.Call) error {
		switch {
		case c.Op == "Alone":
			held.Add(1)
			return errDisk
		case c.Op == "Create" && filepath.Base(c.Name) == "spare.tmp":
			made.Add(1)
		case c.Op == "Datasync" && filepath.Base(c.Name) == "spare.tmp": // a slice of several
			select {
			case before := <-trim:
				j.Trim(before)
				j.Sync()
				for j.First() < before { // until it has been noted
					runtime.Gosched()
				}
			default:
			}
		}
		return nil
	})
	first := func(name string) (seq uint64) {
		_, _ = fmt.Sscanf(filepath.Base(name), "%d-%d", new(uint64), &seq)
		return seq
	}
	roll(t, j, w, disk) // takes the spare
	made.Store(0)
	trim <- first(files[2])
	j.Trim(first(files[1]))
	put(t, j, w, 1)
	for len(trim) > 0 {
		put(t, j, w, 1)
	}
	j.Quiesce()
	if made.Load() != 1 || held.Load() != 1 {
		t.Errorf("%d spares were begun, %d files could not be recycled, want 1 and 1", made.Load(), held.Load())
	}
	disk.OnCall(nil)
	mustClose(t, j)
}

// TestTrimmedFilesWaitForAWhile: those that no segment needs in time go, and at once when room is scarce.
func TestTrimmedFilesWaitForAWhile(t *testing.T) {
	t.Parallel()
	for _, scarce := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			disk, w := memfs.New(), &spaceWatch{watch: newWatch()}
			opt := journal.KeepTrimmed(w.options(disk), 5*time.Second)
			disk.SetSize(2 << 30)
			if opt.LowWater = 1 << 30; scarce {
				opt.LowWater = 7 << 28 // 256 MiB less than there is
			}
			j := open(t, opt)
			for range 5 {
				roll(t, j, w.watch, disk)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			trimAll(t, j, w.watch)
			if n := len(segmentNames(disk)); scarce && n != 1 || !scarce && n != 6 {
				t.Errorf("scarce: %t: %d files just after a trim", scarce, n)
			}
			time.Sleep(3 * time.Second)
			roll(t, j, w.watch, disk)
			trimAll(t, j, w.watch) // its file waits longer than those from before
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if n := len(segmentNames(disk)); scarce && n != 1 || !scarce && n != 2 {
				t.Errorf("scarce: %t: %d files 5 s after a trim and 2 s after another", scarce, n)
			}
			time.Sleep(3 * time.Second)
			synctest.Wait()
			if n := len(segmentNames(disk)); n != 1 {
				t.Errorf("scarce: %t: %d files 5 s after the last trim", scarce, n)
			}
			mustClose(t, j)
		})
	}
}

// TestTrimmedFileGivesWayOnlyForGood: nothing in the file is changed before its old name is durably gone.
func TestTrimmedFileGivesWayOnlyForGood(t *testing.T) {
	t.Parallel()
	disk, j, w, _ := recycling(t)
	roll(t, j, w, disk)
	renamed, synced, written := "", false, false
	disk.OnCall(func(c memfs.Call) error {
		switch name := filepath.Base(c.Name); {
		case c.Op == "Rename" && strings.HasSuffix(name, ".seg"):
			renamed, synced = c.Name, false
		case c.Op == "SyncDir":
			synced = true
		case renamed != "" && name == "spare.tmp" && c.Writes() && c.Op != "Rename":
			written = true
			if !synced {
				t.Errorf("%s while %s may still be its name", c.Op, renamed)
			}
		}
		return nil
	})
	trimAll(t, j, w)
	roll(t, j, w, disk)
	trimAll(t, j, w)
	disk.OnCall(nil)
	if !written {
		t.Error("nothing was recycled")
	}
	mustClose(t, j)
}

// TestFileThatSomebodyReadsIsNotRecycled trims segments that a Read, or another process, has begun to read.
func TestFileThatSomebodyReadsIsNotRecycled(t *testing.T) {
	t.Parallel()
	disk, j, w, _ := recycling(t)
	roll(t, j, w, disk)
	from := j.First()
	picture, err := journal.Inspect(disk, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer picture.Close()
	next := from
	err = j.Read(from, func(r journal.Record) error {
		if r.Seq == from { // all others of the segment are still to be read
			for range 2 {
				trimAll(t, j, w)
				roll(t, j, w, disk)
				roll(t, j, w, disk)
			}
		}
		next++
		return altered(r)
	})
	if err != nil && !errors.Is(err, journal.ErrTrimmed) || next == from+1 {
		t.Errorf("read up to %d: %v", next-1, err)
	}
	next = picture.First
	for i := range picture.Files {
		err := picture.Read(i, func(r journal.Record) error {
			next++
			return altered(r)
		})
		if err != nil {
			t.Errorf("inspected %s: %v", picture.Files[i].Name, err)
		}
	}
	if next != picture.Last+1 {
		t.Errorf("inspected up to %d of %d", next-1, picture.Last)
	}
}

// TestVerifyOfARecycledSegment: what the file held before is neither torn nor damage.
func TestVerifyOfARecycledSegment(t *testing.T) {
	t.Parallel()
	disk, j, _, name := recycling(t)
	var dump strings.Builder
	for range 2 { // beside the one who writes, and after it
		report, err := journal.Verify(disk, dir, nil)
		if err != nil || len(report.Damage) > 0 || report.TornBytes != 0 || report.Last != j.Durable() {
			t.Errorf("%+v, %v", report, err)
		}
		dump.Reset()
		if err := journal.Dump(disk, dir, &dump, nil); err != nil || !strings.Contains(dump.String(), "the log ends here") {
			t.Errorf("dump: %v\n%s", err, dump.String())
		}
		disk = disk.CrashClone(memfs.All)
	}
	logs, seen := observed()
	opt := newWatch().options(disk)
	opt.Logger = logs
	before, end := disk.Content(name), used(t, disk)
	if bytes.Count(before[end:], []byte{0}) == len(before)-end {
		t.Fatal("the file held nothing before")
	}
	mustClose(t, open(t, opt))
	if torn := tornCopies(disk); len(torn) > 0 || seen.FilterMessageSnippet("torn").Len() > 0 {
		t.Errorf("%v, %v", torn, seen.All())
	}
	if now := disk.Content(name); !bytes.Equal(now[end+markBytes:], before[end+markBytes:]) {
		t.Error("what the file held before has been changed")
	}
}

// TestCleanedSegmentIsNotRecycled: what takes the place of a recycled segment is a new file.
func TestCleanedSegmentIsNotRecycled(t *testing.T) {
	t.Parallel()
	disk, j, w, name := recycling(t)
	roll(t, j, w, disk)
	if err := j.Thin(j.Stats().Segments-2, 1, func(uint64) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if recycled(disk, name) {
		t.Errorf("%s says that it is recycled", name)
	}
}

func observed() (*zap.Logger, *observer.ObservedLogs) {
	core, seen := observer.New(zap.InfoLevel)
	return zap.New(core), seen
}

func tornCopies(disk *memfs.FS) []string {
	return slices.DeleteFunc(disk.Names(), func(name string) bool { return filepath.Ext(name) != ".torn" })
}

// TestTornTailOfARecycledSegment tears the last batch in all ways of its blocks: it is cut, with a copy if one of its records
// or its mark can be told from what the file held before, and nothing of it is left behind the end.
func TestTornTailOfARecycledSegment(t *testing.T) {
	t.Parallel()
	disk, j, w, name := recycling(t)
	for used(t, disk)%512 < 300 { // so that the batch begins a little before a block ends
		put(t, j, w, 1)
	}
	before, end, last := disk.Content(name), used(t, disk), j.Last()
	put(t, j, w, 12)
	after, whole := disk.Content(name), used(t, disk)
	blocks := (whole-1)/512 - end/512 + 1
	if blocks < 3 || blocks > 6 {
		t.Fatalf("the batch has %d blocks", blocks)
	}
	for fate := range 1<<blocks - 1 { // but all of them
		torn := bytes.Clone(before)
		for i := range blocks {
			if fate>>i&1 != 0 {
				at := (end/512 + i) * 512
				copy(torn[at:at+512], after[at:])
			}
		}
		crashed := copyDisk(disk, func(files map[string][]byte) { files[name] = torn })
		again := open(t, newWatch().options(crashed))
		if again.Last() != last {
			t.Fatalf("fate %b: the last record is %d, not %d", fate, again.Last(), last)
		}
		copies := tornCopies(crashed)
		if len(copies) != min(fate, 1) {
			t.Errorf("fate %b: copies %v", fate, copies)
		}
		if full := 1<<(blocks-1) - 1; fate == full && len(crashed.Content(copies[0])) < (whole-1)/512*512-end {
			t.Errorf("all but the last block: a copy of %d bytes of a batch of %d", len(crashed.Content(copies[0])), whole-end)
		}
		for _, c := range copies {
			if n := len(crashed.Content(c)); n > whole-end || !bytes.Equal(crashed.Content(c), torn[end:end+n]) {
				t.Errorf("fate %b: a copy of %d bytes of a batch of %d", fate, n, whole-end)
			}
		}
		mustClose(t, again) // it writes no mark: nothing was added, all is promised
		report, err := journal.Verify(crashed, dir, nil)
		if err != nil || len(report.Damage) > 0 || report.TornBytes != 0 {
			t.Errorf("fate %b: after the repair %+v, %v", fate, report, err)
		}
		if now := crashed.Content(name); !bytes.Equal(now[whole+512:], before[whole+512:]) {
			t.Errorf("fate %b: what the file held before was changed beyond the batch", fate)
		}
	}
}

// used is where the log ends in the last segment.
func used(t *testing.T, disk *memfs.FS) int {
	t.Helper()
	var dump strings.Builder
	if err := journal.Dump(disk.CrashClone(memfs.All), dir, &dump, nil); err != nil {
		t.Fatal(err)
	}
	_, end, _ := strings.Cut(dump.String()[strings.LastIndex(dump.String(), "end file="):], "offset=")
	end, _, _ = strings.Cut(end, ":")
	n := 0
	for _, c := range end {
		n = 10*n + int(c-'0')
	}
	return n
}

// TestFullDiskRecyclesForTheReserve: where zeros find no room, a trimmed file becomes the spare.
func TestFullDiskRecyclesForTheReserve(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk, j, w := fullDisk(t)
		for slices.Contains(disk.Names(), dir+"/spare") {
			put(t, j, w.watch, 5)
		}
		put(t, j, w.watch, 20) // a spare is wanted, and finds no room
		w.wantTold(t, true)
		disk.OnCall(func(c memfs.Call) error {
			if c.Op == "Create" {
				return syscall.ENOSPC
			}
			return nil
		})
		trimAll(t, j, w.watch)
		if !slices.Contains(disk.Names(), dir+"/spare") {
			t.Errorf("no spare: %v", disk.Names())
		}
		w.wantTold(t, true, false)
		mustClose(t, j)
	})
}

// TestSpareOfAnEarlierProcessMayHoldAnything: nobody knows what is in it.
func TestSpareOfAnEarlierProcessMayHoldAnything(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	put(t, j, w, 3)
	mustClose(t, j)
	disk.Put(dir+"/spare", bytes.Repeat([]byte("BJ of another segment"), 1000)[:16<<10])
	j = open(t, w.options(disk))
	name := roll(t, j, w, disk)
	if !recycled(disk, name) {
		t.Fatal("the spare was not used, or passes for zeros")
	}
	if err := tally(0).goesOn(j, disk); err != nil {
		t.Error(err)
	}
	if torn := tornCopies(disk); len(torn) > 0 {
		t.Errorf("copies %v", torn)
	}
}
