package memfs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

var errFault = errors.New("fault")

func create(t *testing.T, disk *memfs.FS, name string, content []byte) journal.File {
	t.Helper()
	f, err := disk.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	write(t, f, content, 0)
	return f
}

func write(t *testing.T, f journal.File, b []byte, offset int64) {
	t.Helper()
	if n, err := f.WriteAt(b, offset); n != len(b) || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantContent(t *testing.T, disk *memfs.FS, name string, want []byte) {
	t.Helper()
	if got := disk.Content(name); !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes, %.20q…, want %d, %.20q…", name, len(got), got, len(want), want)
	}
}

func fill(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }

// synced returns a disk with a durable file of n bytes.
func synced(t *testing.T, n int) (*memfs.FS, journal.File) {
	t.Helper()
	disk := memfs.New()
	f := create(t, disk, "d/f", fill('a', n))
	must(t, f.Sync())
	must(t, disk.SyncDir("d"))
	return disk, f
}

func TestWhatIsSyncedSurvives(t *testing.T) {
	t.Parallel()
	disk, f := synced(t, 10000)
	write(t, f, fill('b', 2000), 3000)
	wantContent(t, disk.CrashClone(memfs.None), "d/f", fill('a', 10000))
	after := slices.Concat(fill('a', 3000), fill('b', 2000), fill('a', 5000))
	wantContent(t, disk.CrashClone(memfs.All), "d/f", after)
	must(t, f.Datasync())
	wantContent(t, disk.CrashClone(memfs.None), "d/f", after)
	must(t, f.Truncate(100))
	wantContent(t, disk.CrashClone(memfs.None), "d/f", after)
	must(t, f.Sync())
	wantContent(t, disk.CrashClone(memfs.None), "d/f", fill('a', 100))
}

func TestNamesSurviveWhenTheDirectoryIsSynced(t *testing.T) {
	t.Parallel()
	disk, f := synced(t, 10)
	must(t, f.Close())
	must(t, disk.Rename("d/f", "d/g"))
	must(t, create(t, disk, "d/h", fill('h', 5)).Sync())
	if got := disk.CrashClone(memfs.None).Names(); !slices.Equal(got, []string{"d/f"}) {
		t.Errorf("before the sync: %v", got)
	}
	if got := disk.CrashClone(memfs.All).Names(); !slices.Equal(got, []string{"d/g", "d/h"}) {
		t.Errorf("with everything: %v", got)
	}
	must(t, disk.SyncDir("d"))
	clone := disk.CrashClone(memfs.None)
	wantContent(t, clone, "d/g", fill('a', 10))
	wantContent(t, clone, "d/h", fill('h', 5))
	must(t, disk.Remove("d/g"))
	wantContent(t, disk.CrashClone(memfs.None), "d/g", fill('a', 10))
}

// pieces returns, for each run of size bytes of b, whether it is all c (1), all zero (0) or mixed (-1).
func pieces(b []byte, c byte, size int) []int {
	var all []int
	for piece := range slices.Chunk(b, size) {
		switch {
		case bytes.Equal(piece, fill(c, size)):
			all = append(all, 1)
		case bytes.Equal(piece, make([]byte, size)):
			all = append(all, 0)
		default:
			all = append(all, -1)
		}
	}
	return all
}

func TestCrashTearsBlocksOrPages(t *testing.T) {
	t.Parallel()
	disk := memfs.New()
	f := create(t, disk, "d/f", make([]byte, 64<<10))
	must(t, f.Sync())
	must(t, disk.SyncDir("d"))
	write(t, f, fill('x', 64<<10), 0)
	for name, c := range map[string]struct {
		keep func(uint64) memfs.Keep
		size int
	}{"blocks": {memfs.Random, 512}, "pages": {memfs.RandomPages, 4096}} {
		torn := map[string]bool{}
		for seed := range uint64(20) {
			got := disk.CrashClone(c.keep(seed)).Content("d/f")
			if !bytes.Equal(got, disk.CrashClone(c.keep(seed)).Content("d/f")) {
				t.Errorf("%s: seed %d gives two states", name, seed)
			}
			found := pieces(got, 'x', c.size)
			if slices.Contains(found, -1) || !slices.Contains(found, 0) || !slices.Contains(found, 1) {
				t.Errorf("%s: seed %d gives %v", name, seed, found)
			}
			torn[string(got)] = true
		}
		if len(torn) < 20 {
			t.Errorf("%s: %d states of 20 seeds", name, len(torn))
		}
	}
}

func TestSizesOnlyKeepsNoContent(t *testing.T) {
	t.Parallel()
	disk := memfs.New()
	create(t, disk, "d/f", fill('x', 5000))
	wantContent(t, disk.CrashClone(memfs.SizesOnly), "d/f", make([]byte, 5000))
}

func TestCloneAndOriginalDoNotTouchEachOther(t *testing.T) {
	t.Parallel()
	disk, f := synced(t, 5000)
	clone := disk.CrashClone(memfs.None)
	g, err := clone.Open("d/f", true)
	must(t, err)
	write(t, g, fill('c', 10), 0)
	must(t, g.Sync())
	must(t, g.Truncate(4000))
	write(t, g, fill('c', 10), 4000)
	must(t, g.Sync())
	wantContent(t, disk, "d/f", fill('a', 5000))
	wantContent(t, disk.CrashClone(memfs.None), "d/f", fill('a', 5000))
	again := disk.CrashClone(memfs.None)
	write(t, f, fill('d', 5000), 0)
	must(t, f.Sync())
	wantContent(t, again, "d/f", fill('a', 5000))
	wantContent(t, clone, "d/f", slices.Concat(fill('c', 10), fill('a', 3990), fill('c', 10)))
}

func TestAFailedSyncForgetsWhatItShouldHaveWritten(t *testing.T) {
	t.Parallel()
	disk, f := synced(t, 1000)
	write(t, f, fill('b', 1000), 0)
	disk.OnCall(func(memfs.Call) error { return errFault })
	if err := f.Datasync(); !errors.Is(err, errFault) {
		t.Error(err)
	}
	disk.OnCall(nil)
	must(t, f.Datasync())
	wantContent(t, disk, "d/f", fill('b', 1000))
	wantContent(t, disk.CrashClone(memfs.All), "d/f", fill('a', 1000))
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault error
		wrote int
		want  error
	}{{errFault, 500, errFault}, {memfs.ErrShort, 500, nil}, {syscall.EINTR, 500, syscall.EINTR}, {nil, 1000, nil}} {
		disk, f := synced(t, 1000)
		disk.OnCall(func(memfs.Call) error { return c.fault })
		if n, err := f.WriteAt(fill('b', 1000), 0); n != c.wrote || !errors.Is(err, c.want) {
			t.Errorf("%v: wrote %d, %v", c.fault, n, err)
		}
		wantContent(t, disk, "d/f", slices.Concat(fill('b', c.wrote), fill('a', 1000-c.wrote)))
		if _, err := f.Size(); !errors.Is(err, c.want) {
			t.Errorf("%v: size: %v", c.fault, err)
		}
		if err := disk.Rename("d/f", "d/g"); !errors.Is(err, c.want) || (disk.Content("d/g") == nil) != (c.want != nil) {
			t.Errorf("%v: rename: %v", c.fault, err)
		}
	}
}

func TestCallsCarryTheNameThatTheFileHasNow(t *testing.T) {
	t.Parallel()
	disk, f := synced(t, 1)
	must(t, disk.Rename("d/f", "d/g"))
	var seen memfs.Call
	disk.OnCall(func(c memfs.Call) error { seen = c; return nil })
	must(t, f.Sync())
	if seen.Op != "Sync" || seen.Name != "d/g" || seen.File == 0 || !seen.Writes() {
		t.Errorf("%+v", seen)
	}
}

func TestUseOfClosedAndReadOnlyFiles(t *testing.T) {
	t.Parallel()
	disk, f := synced(t, 10)
	g, err := disk.Open("d/f", false)
	must(t, err)
	if _, err := g.WriteAt([]byte("x"), 0); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	must(t, f.Close())
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
	wantContent(t, disk, "d/f", fill('a', 10))
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := memfs.New()
	disk.SetSize(40 << 10)
	f := create(t, disk, "d/f", fill('a', 10000)) // 12 KiB
	g := create(t, disk, "d/g", nil)
	wantFree := func(want int64) {
		t.Helper()
		if free, err := disk.Free("d"); err != nil || free != want {
			t.Fatalf("free: %d, %v, want %d", free, err, want)
		}
	}
	wantFree(28 << 10)
	if err := g.Allocate(29 << 10); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	wantFree(28 << 10)
	must(t, g.Allocate(20<<10))
	wantFree(8 << 10)
	write(t, g, fill('g', 20<<10), 0) // has its room
	if n, err := f.WriteAt(fill('b', 30<<10), 0); n != 20<<10 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("wrote %d, %v", n, err)
	}
	wantFree(0)
	if n, err := f.WriteAt(fill('b', 10), 20<<10); n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("wrote %d, %v", n, err)
	}
	write(t, f, fill('c', 20<<10), 0) // over what is there
	must(t, f.Truncate(1))
	wantFree(16 << 10)
	must(t, disk.Remove("d/g"))
	wantFree(16 << 10) // it is open
	must(t, g.Close())
	must(t, g.Close())
	wantFree(36 << 10)
	must(t, create(t, disk, "d/h", fill('h', 10)).Close())
	must(t, disk.Rename("d/h", "d/f")) // over an open file
	must(t, f.Close())
	wantFree(36 << 10)
	if clone := disk.CrashClone(memfs.All); clone.Used() != 4<<10 {
		t.Errorf("%d bytes of the clone are used", clone.Used())
	}
}

func TestFileOfEveryoneIsLocked(t *testing.T) {
	t.Parallel()
	disk := memfs.New()
	lock, err := disk.Lock("d/LOCK")
	must(t, err)
	if _, err := disk.Lock("d/LOCK"); !errors.Is(err, journal.ErrLocked) {
		t.Error(err)
	}
	must(t, disk.CrashClone(memfs.All).CheckLock("d/LOCK"))
	must(t, lock.Close())
	must(t, disk.CheckLock("d/LOCK"))
}

// TestKilledProcessLeavesWhatWasNotSynced: the next process finds all of it, and a crash may still lose it.
func TestKilledProcessLeavesWhatWasNotSynced(t *testing.T) {
	disk, f := synced(t, 600)
	write(t, f, fill('b', 1024), 0)
	create(t, disk, "d/new", fill('c', 10))
	killed := disk.KillClone()
	wantContent(t, killed, "d/f", fill('b', 1024))
	wantContent(t, killed, "d/new", fill('c', 10))
	if killed.Used() != disk.Used() {
		t.Errorf("%d bytes are used, want %d", killed.Used(), disk.Used())
	}
	write(t, f, fill('x', 1024), 0)
	must(t, f.Sync())
	wantContent(t, killed, "d/f", fill('b', 1024))
	lost := killed.CrashClone(memfs.None)
	wantContent(t, lost, "d/f", fill('a', 600))
	if names := lost.Names(); len(names) != 1 {
		t.Errorf("there are %v", names)
	}
	g, err := killed.Open("d/f", true)
	must(t, err)
	must(t, g.Sync())
	wantContent(t, killed.CrashClone(memfs.None), "d/f", fill('b', 1024))
}
