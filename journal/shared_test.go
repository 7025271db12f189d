package journal_test

import (
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
