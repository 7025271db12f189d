package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"baton/journal"
	"baton/journal/memfs"
)

// roomOfOne is the largest payload that fits as the only record into a segment of 16 KiB.
const roomOfOne = 16<<10 - 4096 - 48 - 3*72 - 32

// appendOne appends a record of so many octets and waits until it is durable.
func appendOne(t *testing.T, j *journal.Journal, w *watch, size int) {
	t.Helper()
	seq := j.Last() + 1
	if err := j.Append([]journal.Record{{Seq: seq, Epoch: 1, Type: 1, Body: make([]byte, size)}}); err != nil {
		t.Fatal(err)
	}
	j.Sync()
	w.await(seq)
}

// atTheFirstSeal calls fn when the seal of the first segment has been written and is about to be synced.
func atTheFirstSeal(disk *memfs.FS, fn func() error) {
	named, done := false, false
	disk.OnCall(func(c memfs.Call) error {
		named = named || c.Op == "SyncDir" // the next segment has its name
		if done || !named || c.Op != "Datasync" || !strings.HasPrefix(filepath.Base(c.Name), "0000000001-") {
			return nil
		}
		done = true
		return fn()
	})
}

// goesOnThenLosesPower has a process start on disk, append to what is there, and lose the power; nothing of it may be
// lost.
func goesOnThenLosesPower(t *testing.T, disk *memfs.FS) {
	t.Helper()
	w := newWatch()
	j := open(t, w.options(disk))
	appendOne(t, j, w, 100)
	last := j.Last()
	for seed := range uint64(8) {
		keep := memfs.Random(seed)
		if seed == 0 {
			keep = memfs.None
		}
		j, err := journal.Open(newWatch().options(disk.CrashClone(keep)))
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			continue
		}
		if j.Last() != last {
			t.Errorf("seed %d: %d records, %d were durable", seed, j.Last(), last)
		}
		mustClose(t, j)
	}
	mustClose(t, j)
}

// A process is killed between the write and the sync of a seal; the next one finds it in the system's memory and goes on;
// then the power fails. A seal that fills its file leaves nothing to be cut.
func TestSealOfAKilledProcessIsMadeDurable(t *testing.T) {
	t.Parallel()
	for title, fills := range map[string]bool{"fills its file": true, "leaves room": false} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			disk, w := memfs.New(), newWatch()
			j := open(t, w.options(disk))
			size := roomOfOne - 64
			if fills {
				size = roomOfOne
			}
			appendOne(t, j, w, size)
			if fills {
				j.Sync() // a promise fills the last place before the index
				w.await(1)
				j.Promised()
			}
			var killed *memfs.FS
			atTheFirstSeal(disk, func() error { killed = disk.KillClone(); return nil })
			appendOne(t, j, w, 1000)
			mustClose(t, j)
			if killed == nil {
				t.Fatal("no seal was synced")
			}
			content := killed.Content(segmentNames(killed)[0])
			if end := len(bytes.TrimRight(content, "\x00")); fills != (end > len(content)-8) {
				t.Fatalf("the seal ends at %d of %d bytes", end, len(content))
			}
			goesOnThenLosesPower(t, killed)
		})
	}
}

// The sync of a seal fails, which stops the journal. The system takes the seal for written, and the next process must not
// rely on that.
func TestSealIsWrittenAgainAfterAFailedSync(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	appendOne(t, j, w, 11000)
	failed := false
	atTheFirstSeal(disk, func() error { failed = true; return errors.New("EIO") })
	if err := j.Append([]journal.Record{{Seq: 2, Epoch: 1, Type: 1, Body: make([]byte, 2000)}}); err != nil {
		t.Fatal(err)
	}
	j.Sync()
	_ = j.Close()
	if !failed || w.failures() != 1 {
		t.Fatalf("the journal has failed %d times", w.failures())
	}
	disk.OnCall(nil)
	goesOnThenLosesPower(t, disk.KillClone())
}

// However full a segment is: after a clean end all of it is promised, and damage is not taken for a torn tail.
func TestCleanEndOfAFullSegmentIsPromised(t *testing.T) {
	t.Parallel()
	for _, batches := range []int{1, 2} { // that are written at once
		for size := 12 << 10; ; size -= 8 {
			disk, w := memfs.New(), newWatch()
			opt := journal.EndBatches(w.options(disk), 1)
			opt.LazySync = time.Hour
			j := open(t, opt)
			if batches == 2 {
				if err := j.Append(records(1, 1)); err != nil {
					t.Fatal(err)
				}
			}
			appendOne(t, j, w, size)
			mustClose(t, j)
			if names := segmentNames(disk); len(names) == 1 { // the largest that fits
				damaged := copyDisk(disk, func(files map[string][]byte) { files[names[0]][6000] ^= 1 })
				wantCorrupt(t, damaged, fmt.Sprintf("one bit flipped, batches: %d", batches))
				break
			}
		}
	}
}

// A checkpoint knows how far the log was durable once: a log that ends before that has lost its end, and says so.
func TestEndThatTheCheckpointMissesIsFound(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	opt := w.options(disk)
	opt.SegmentBytes = 64 << 10
	j := open(t, opt)
	put(t, j, w, 30)
	earlier := disk.CrashClone(memfs.All)
	put(t, j, w, 30)
	mustCheckpoint(t, j, 60, 60, "x")
	mustClose(t, j)
	name := segmentNames(disk)[0]
	for title, content := range map[string][]byte{
		"an old copy": earlier.Content(name),
		"zeroed":      append(disk.Content(name)[:8<<10:8<<10], make([]byte, 56<<10)...),
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			lost := copyDisk(disk, func(files map[string][]byte) { files[name] = content })
			wantCorrupt(t, lost, title)
			report, err := journal.Verify(lost, dir, nil)
			if err != nil || len(report.Damage) != 1 || report.Damage[0].File != filepath.Base(name) || !strings.Contains(report.Damage[0].Reason, "seq 60 was durable") {
				t.Errorf("%v, %v", report.Damage, err)
			}
			repairs, err := journal.Repair(lost, dir, "/quarantine", nil)
			if err != nil || len(repairs.Places) != 1 || !repairs.Places[0].End || repairs.Places[0].Last != 60 {
				t.Fatalf("%+v, %v", repairs, err)
			}
			j, err := journal.Open(journal.Options{Dir: dir, FS: lost, SegmentBytes: 64 << 10})
			if err != nil {
				t.Fatal(err)
			}
			if j.Last() <= 60 {
				t.Errorf("after the repair Seqs from %d on are given again", j.Last()+1)
			}
			mustClose(t, j)
		})
	}
	without := copyDisk(disk, func(files map[string][]byte) {
		files[name] = earlier.Content(name)
		delete(files, filepath.Join(dir, "checkpoint"))
	})
	if report, err := journal.Verify(without, dir, nil); err != nil || len(report.Damage) > 0 {
		t.Errorf("without the checkpoint nobody can know: %v, %v", report.Damage, err)
	}
}
