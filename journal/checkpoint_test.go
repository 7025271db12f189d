package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

var checkpointFile = filepath.Join(dir, "checkpoint")

// yieldAll yields parts to WriteCheckpoint.
func yieldAll(parts ...string) func(func([]byte) error) error {
	return func(yield func([]byte) error) error {
		for _, p := range parts {
			if err := yield([]byte(p)); err != nil {
				return err
			}
		}
		return nil
	}
}

// wantCheckpoint checks what Checkpoint says; no parts mean that there must be none.
func wantCheckpoint(t *testing.T, j *journal.Journal, from, upto uint64, parts ...string) {
	t.Helper()
	f, u, got, ok := j.Checkpoint()
	if !ok && len(parts) == 0 {
		return
	}
	if !ok || f != from || u != upto || !slices.EqualFunc(got, parts, func(a []byte, b string) bool { return string(a) == b }) {
		t.Errorf("the checkpoint is %d %d %.40q %t, want %d %d %.40q", f, u, got, ok, from, upto, parts)
	}
}

func mustCheckpoint(t *testing.T, j *journal.Journal, from, upto uint64, parts ...string) {
	t.Helper()
	if err := j.WriteCheckpoint(from, upto, yieldAll(parts...)); err != nil {
		t.Fatal(err)
	}
}

func TestCheckpointComesBack(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	wantCheckpoint(t, j, 0, 0)
	big := string(bytes.Repeat([]byte("0123456789abcdef"), 600<<10)) // several slices
	for i, parts := range [][]string{{"a"}, {"one", big, "three"}, {"x", "yz"}} {
		put(t, j, w, 5)
		from, upto := j.Last()-uint64(i), j.Last()
		put(t, j, w, 5)
		mustCheckpoint(t, j, from, upto, parts...)
		wantCheckpoint(t, j, 0, 0) // what Open found has been replaced
		mustClose(t, j)
		j = open(t, w.options(disk))
		wantCheckpoint(t, j, from, upto, parts...)
	}
	mustCheckpoint(t, j, j.Last(), j.Last())
	mustClose(t, j)
	j = open(t, w.options(disk))
	if from, upto, parts, ok := j.Checkpoint(); !ok || from != 30 || upto != 30 || len(parts) != 0 {
		t.Errorf("a checkpoint without parts: %d %d %q %t", from, upto, parts, ok)
	}
}

func TestCheckpointAsksForSense(t *testing.T) {
	t.Parallel()
	w := newWatch()
	j := open(t, w.options(memfs.New()))
	put(t, j, w, 10)
	mistake := errors.New("no more parts")
	for _, c := range []struct {
		from, upto uint64
		parts      func(func([]byte) error) error
		want       string
	}{
		{5, 11, yieldAll("x"), "write checkpoint from seq 5 to 11: the log is durable up to seq 10"},
		{6, 5, yieldAll("x"), "write checkpoint from seq 6 to 5: the log is durable up to seq 10"},
		{5, 6, func(func([]byte) error) error { return mistake }, "write checkpoint from seq 5 to 6: no more parts"},
	} {
		if err := j.WriteCheckpoint(c.from, c.upto, c.parts); err == nil || err.Error() != c.want {
			t.Errorf("from %d to %d: %v, want %s", c.from, c.upto, err, c.want)
		}
	}
	mustClose(t, j)
	if err := j.WriteCheckpoint(5, 6, yieldAll("x")); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// withCheckpoint returns the disk of a closed journal of 30 records with a checkpoint.
func withCheckpoint(t *testing.T) *memfs.FS {
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	put(t, j, w, 30)
	mustCheckpoint(t, j, 10, 20, "a part", "another one")
	mustClose(t, j)
	return disk
}

// unusable checks that the checkpoint on disk is set aside with its content, that the records are there all the same, and
// that it does not come back.
func unusable(disk *memfs.FS) error {
	bad := disk.Content(checkpointFile)
	for range 2 {
		j, err := journal.Open(newWatch().options(disk))
		if err != nil {
			return err
		}
		if from, upto, parts, ok := j.Checkpoint(); ok {
			return fmt.Errorf("it was used: %d %d %q", from, upto, parts)
		}
		if err := errors.Join(check(j, 1), j.Close()); err != nil {
			return err
		}
	}
	if disk.Content(checkpointFile) != nil || !bytes.Equal(disk.Content(checkpointFile+".bad"), bad) {
		return errors.New("it was not set aside")
	}
	return nil
}

func TestDamagedCheckpointIsNeverUsed(t *testing.T) {
	t.Parallel()
	disk := withCheckpoint(t)
	whole := disk.Content(checkpointFile)
	try := func(what string, damaged []byte) {
		clone := disk.CrashClone(memfs.All)
		clone.Put(checkpointFile, damaged)
		if err := unusable(clone); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for bit := range len(whole) * 8 {
		damaged := slices.Clone(whole)
		damaged[bit/8] ^= 1 << (bit % 8)
		try(fmt.Sprintf("bit %d of byte %d", bit%8, bit/8), damaged)
	}
	for n := range whole {
		try(fmt.Sprintf("cut at %d", n), whole[:n])
	}
	try("longer", append(slices.Clone(whole), 0))
}

// TestOldAndForeignCheckpointsAreNotUsed puts checkpoints beside logs that they do not speak of.
func TestOldAndForeignCheckpointsAreNotUsed(t *testing.T) {
	t.Parallel()
	w := newWatch()
	grow := func(disk *memfs.FS, epoch uint32) *memfs.FS {
		j := open(t, w.options(disk))
		for range 10 {
			r := record(j.Last() + 1)
			r.Epoch += epoch
			if err := j.Append([]journal.Record{r}); err != nil {
				t.Fatal(err)
			}
		}
		mustClose(t, j)
		return disk
	}
	short := memfs.New()
	j := open(t, w.options(short))
	put(t, j, w, 30)
	mustClose(t, j)
	long := grow(short.CrashClone(memfs.All), 0)
	j = open(t, w.options(long))
	mustCheckpoint(t, j, 35, 36, "later")
	mustClose(t, j)
	later := long.Content(checkpointFile)
	foreign := withCheckpoint(t).Content(checkpointFile)

	for what, c := range map[string]struct {
		disk    *memfs.FS
		content []byte
	}{
		"of another journal":   {short.CrashClone(memfs.All), foreign},
		"of another history":   {grow(short.CrashClone(memfs.All), 7), later},
		"an older program's":   {short.CrashClone(memfs.All), []byte("something else")},
		"one that vanished":    {short.CrashClone(memfs.All), []byte{}},
		"a later format's one": {long.CrashClone(memfs.All), slices.Concat(later[:8], []byte{2, 0, 2, 0}, later[12:])},
	} {
		c.disk.Put(checkpointFile, c.content)
		opt := w.options(c.disk)
		j := open(t, opt)
		wantCheckpoint(t, j, 0, 0)
		mustClose(t, j)
		if !bytes.Equal(c.disk.Content(checkpointFile+".bad"), c.content) {
			t.Errorf("%s: it was not set aside", what)
		}
	}
	j = open(t, w.options(grow(long, 0)))
	wantCheckpoint(t, j, 35, 36, "later")
}

func TestNothingAfterTheCheckpointIsTrimmed(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	for range 50 {
		put(t, j, w, 4)
	}
	mustCheckpoint(t, j, 80, 100, "x")
	settle := func() uint64 {
		put(t, j, w, 1)
		j.Quiesce()
		return j.First()
	}
	j.Trim(150)
	first := settle()
	if first > 81 || first < 41 {
		t.Fatalf("trimmed to %d with a checkpoint from 80", first)
	}
	mustClose(t, j)
	j = open(t, w.options(disk))
	wantCheckpoint(t, j, 80, 100, "x")
	j.Trim(150)
	if again := settle(); again != first {
		t.Fatalf("after a restart: trimmed to %d", again)
	}
	mustCheckpoint(t, j, 120, 130, "y") // what Trim asked for goes on by itself
	if next := settle(); next <= first || next > 121 {
		t.Errorf("trimmed to %d with a checkpoint from 120", next)
	}
	mustCheckpoint(t, j, 180, 190, "z")
	if next := settle(); next <= 121 || next > 150 {
		t.Errorf("trimmed to %d, asked for 150", next)
	}
	if err := j.WriteCheckpoint(148, 150, yieldAll("x")); !errors.Is(err, journal.ErrTrimmed) {
		t.Errorf("a checkpoint from 148 after a trim to 150: %v", err)
	}
	if next := settle(); next > 150 {
		t.Errorf("trimmed to %d, asked for 150", next)
	}
}

// replaceCheckpoint puts a second checkpoint in the place of the first while records are appended and trimmed.
func replaceCheckpoint(j *journal.Journal, w *watch) error {
	for i := range 4 {
		if err := j.Append(records(j.Last()+1, 20)); err != nil {
			return err
		}
		j.Sync()
		if w.await(j.Last()) < j.Last() {
			return errDisk
		}
		j.Trim(j.Last())
		if i == 2 {
			if err := j.WriteCheckpoint(70, 80, yieldAll("the new one", "in two parts")); err != nil {
				return err
			}
		}
		j.Quiesce()
	}
	return nil
}

// oneOfTwo recovers disk and checks that the first or the second checkpoint is there with the records that it needs.
func oneOfTwo(disk *memfs.FS) error {
	j, err := journal.Open(newWatch().options(disk))
	if err != nil {
		return err
	}
	from, upto, parts, ok := j.Checkpoint()
	old := from == 10 && upto == 20 && len(parts) == 2 && string(parts[1]) == "another one"
	recent := from == 70 && upto == 80 && len(parts) == 2 && string(parts[1]) == "in two parts"
	switch {
	case !ok || !old && !recent:
		err = fmt.Errorf("the checkpoint is %d %d %q %t", from, upto, parts, ok)
	case j.First() > from+1:
		err = fmt.Errorf("the log begins with %d, the checkpoint needs %d", j.First(), from+1)
	}
	return errors.Join(err, check(j, j.First()), j.Close())
}

func TestCrashWhileReplacingTheCheckpoint(t *testing.T) {
	t.Parallel()
	disk, w := withCheckpoint(t), newWatch()
	j := open(t, w.options(disk))
	var mu sync.Mutex // the writer and the housekeeper both come here
	var crashes []*memfs.FS
	disk.OnCall(func(c memfs.Call) error {
		mu.Lock()
		defer mu.Unlock()
		if c.Writes() {
			for i := range 5 {
				crashes = append(crashes, disk.CrashClone([]memfs.Keep{memfs.All, memfs.None, memfs.Random(uint64(len(crashes)))}[min(i, 2)]))
			}
		}
		return nil
	})
	if err := replaceCheckpoint(j, w); err != nil {
		t.Fatal(err)
	}
	disk.OnCall(nil)
	for i, clone := range append(crashes, disk) {
		if i == len(crashes) {
			mustClose(t, j)
		}
		if err := oneOfTwo(clone); err != nil {
			t.Errorf("crash %d: %v", i, err)
		}
	}
}

// TestErrorWhileReplacingTheCheckpoint lets one call in the course of it fail. Only a directory that cannot be synced
// stops the journal because of it.
func TestErrorWhileReplacingTheCheckpoint(t *testing.T) {
	t.Parallel()
	for i, done := 0, false; !done; i++ {
		disk, w := withCheckpoint(t), newWatch()
		j := open(t, w.options(disk))
		put(t, j, w, 60)
		j.Quiesce()
		calls := 0
		var failed memfs.Call
		disk.OnCall(func(c memfs.Call) error {
			if !c.Writes() {
				return nil
			}
			if calls++; calls == i+1 {
				failed = c
				return errDisk
			}
			return nil
		})
		err := j.WriteCheckpoint(70, 80, yieldAll("the new one", "in two parts"))
		if failed.Op != "SyncDir" {
			disk.OnCall(nil)
		}
		done = failed.Op == ""
		if done != (err == nil) || !done && !errors.Is(err, errDisk) {
			t.Errorf("failure at %d %+v gives %v", i, failed, err)
		}
		if failed.Op == "SyncDir" {
			w.awaitFailure()
		} else {
			put(t, j, w, 1)
			j.Trim(60)
			put(t, j, w, 1)
			j.Quiesce()
		}
		if err := j.Close(); (failed.Op == "SyncDir") != errors.Is(err, errDisk) || w.failures() > 1 {
			t.Errorf("failure at %d %+v: Close says %v, OnFatal was called %d times", i, failed, err, w.failures())
		}
		disk.OnCall(nil)
		for seed := range uint64(5) {
			keep := []memfs.Keep{memfs.All, memfs.None, memfs.Random(seed)}[min(seed, 2)]
			if err := oneOfTwo(disk.CrashClone(keep)); err != nil {
				t.Errorf("failure at %d %+v, then crash %d: %v", i, failed, seed, err)
			}
		}
	}
}
