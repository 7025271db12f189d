package journal_test

import (
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

func TestTrimRemovesWholeSegmentsOnly(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	for range 100 {
		put(t, j, w, 4)
	}
	j.Quiesce()
	many := len(segmentNames(disk))
	j.Trim(200)
	put(t, j, w, 1)
	j.Quiesce()
	first := j.First()
	if left := len(segmentNames(disk)); left >= many || left < many/3 || first > 200 || first < 100 {
		t.Fatalf("of %d segments %d are left, the first record is %d", many, left, first)
	}
	if err := check(j, first); err != nil {
		t.Error(err)
	}
	if err := j.Read(first-1, func(journal.Record) error { return nil }); !errors.Is(err, journal.ErrTrimmed) {
		t.Errorf("read a trimmed record: %v", err)
	}
	mustClose(t, j)
	j = open(t, w.options(disk))
	if j.First() != first || j.Last() != 401 {
		t.Errorf("after a restart: %d to %d", j.First(), j.Last())
	}
	j.Trim(1 << 60) // at most everything
	put(t, j, w, 1)
	j.Quiesce()
	if n := len(segmentNames(disk)); n != 1 {
		t.Errorf("%d segments are left", n)
	}
	mustClose(t, j)
	j = open(t, w.options(disk))
	if err := check(j, j.First()); err != nil || j.Last() != 402 {
		t.Errorf("after trimming all: %v, last %d", err, j.Last())
	}
}

func TestTrimIsNotedBeforeAnythingIsRemoved(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	for range 100 {
		put(t, j, w, 4)
	}
	var syncs atomic.Int64
	var removed atomic.Bool
	disk.OnCall(func(c memfs.Call) error {
		switch {
		case c.Op == "Datasync" && syncs.Load() == 0: // of a batch that does not know of the trim yet
			j.Trim(300)
			syncs.Add(1)
		case c.Op == "Datasync":
			j.Quiesce() // whatever would be removed too early goes now
			syncs.Add(1)
		case c.Op == "Remove" && filepath.Ext(c.Name) == ".seg" && !removed.Swap(true):
			if syncs.Load() < 2 {
				t.Error("removed before the trim was noted")
			}
		}
		return nil
	})
	put(t, j, w, 1)
	j.Quiesce()
	mustClose(t, j)
	if !removed.Load() {
		t.Error("nothing was removed")
	}
	disk.OnCall(nil)
	if err := reopens(disk); err != nil {
		t.Error(err)
	}
}

// reopens opens the journal and reads all of it.
func reopens(disk *memfs.FS) error {
	j, err := journal.Open(newWatch().options(disk))
	if err != nil {
		return err
	}
	return errors.Join(check(j, j.First()), j.Close())
}

// TestTrimmedSegmentMayReappear leaves any of the trimmed segments behind, as a crash may.
func TestTrimmedSegmentMayReappear(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	for range 100 {
		put(t, j, w, 4)
	}
	before := copyDisk(disk, func(map[string][]byte) {})
	j.Trim(300)
	mustClose(t, j)
	left := len(segmentNames(disk))
	for _, name := range segmentNames(before) {
		if disk.Content(name) != nil {
			continue
		}
		again := copyDisk(disk, func(files map[string][]byte) { files[name] = before.Content(name) })
		if err := reopens(again); err != nil {
			t.Errorf("%s is back: %v", name, err)
		}
		if n := len(segmentNames(again)); n != left {
			t.Errorf("%s is back: %d segments instead of %d", name, n, left)
		}
	}
	first := segmentNames(disk)[0]
	lost := copyDisk(disk, func(files map[string][]byte) { delete(files, first) })
	var damage *journal.CorruptError
	if err := reopens(lost); !errors.As(err, &damage) {
		t.Errorf("%s was not trimmed and is missing: %v", first, err)
	}
}
