package journal_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"baton/journal"
)

// Who has lost the lock of a shared directory writes nothing there any more.
func TestSharedStopsWithoutItsLock(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{true, false} {
		dir := t.TempDir()
		durable, stopped := make(chan uint64, 1), make(chan error, 1)
		j, err := journal.Open(journal.Options{
			Dir: dir, Shared: shared,
			OnDurable: func(seq uint64) { durable <- seq },
			OnFatal:   func(err error) { stopped <- err },
		})
		if err != nil {
			t.Fatal(err)
		}
		append1 := func(seq uint64) {
			if err := j.Append([]journal.Record{{Seq: seq, Epoch: 1, Type: 1, Body: []byte("x")}}); err != nil {
				t.Fatal(err)
			}
			j.Sync()
		}
		append1(1)
		<-durable
		// As a server of files does it that gives the lock to another machine.
		lock := filepath.Join(dir, "LOCK")
		if err := os.Rename(lock, lock+".old"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(lock, nil, 0o640); err != nil {
			t.Fatal(err)
		}
		append1(2)
		select {
		case err := <-stopped:
			if !shared || !strings.Contains(err.Error(), "the lock of the directory is lost") {
				t.Errorf("shared %v: stopped: %v", shared, err)
			}
			if j.Durable() != 1 {
				t.Errorf("seq %d is durable", j.Durable())
			}
		case seq := <-durable:
			if shared {
				t.Errorf("seq %d became durable without the lock", seq)
			}
		}
		_ = j.Close()
	}
}

// Nor does it seal and shorten the file that the next owner writes to, or remove one that it needs.
func TestSharedLeavesTheFilesOfTheNextOwner(t *testing.T) {
	t.Parallel()
	changes := map[string]func(*journal.Journal) error{
		"a batch that needs a new segment": func(j *journal.Journal) error {
			err := j.Append([]journal.Record{{Seq: 11, Epoch: 1, Type: 1, Body: make([]byte, 40<<10)}})
			j.Sync()
			return err
		},
		"a trim": func(j *journal.Journal) error { j.Trim(9); return nil },
		"a checkpoint": func(j *journal.Journal) error {
			if j.WriteCheckpoint(1, 10, func(yield func([]byte) error) error { return yield([]byte("state")) }) == nil {
				t.Error("a checkpoint was written without the lock")
			}
			err := j.Append([]journal.Record{{Seq: 11, Epoch: 1, Type: 1}})
			j.Sync()
			return err
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			durable, stopped := make(chan uint64, 16), make(chan error, 1)
			j, err := journal.Open(journal.Options{
				Dir: dir, Shared: true, SegmentBytes: 64 << 10,
				OnDurable: func(seq uint64) { durable <- seq },
				OnFatal:   func(err error) { stopped <- err },
			})
			if err != nil {
				t.Fatal(err)
			}
			for seq := uint64(1); seq <= 10; seq++ {
				if err := j.Append([]journal.Record{{Seq: seq, Epoch: 1, Type: 1, Body: make([]byte, 20<<10)}}); err != nil {
					t.Fatal(err)
				}
				j.Sync()
				for <-durable < seq {
				}
			}
			lock := filepath.Join(dir, "LOCK")
			if err := os.Rename(lock, lock+".old"); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(lock, nil, 0o640); err != nil {
				t.Fatal(err)
			}
			before := segments(t, dir)
			if err := change(j); err != nil {
				t.Fatal(err)
			}
			if err := <-stopped; !strings.Contains(err.Error(), "the lock of the directory is lost") {
				t.Errorf("stopped: %v", err)
			}
			_ = j.Close()
			if after := segments(t, dir); !maps.Equal(before, after) {
				t.Error("the segments are not what they were when the lock was lost")
			}
		})
	}
}

// segments is the content of the segment files by their name.
func segments(t *testing.T, dir string) map[string]string {
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	content := make(map[string]string)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		content[name] = string(b)
	}
	return content
}
