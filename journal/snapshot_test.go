package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

// findsIn checks that what a snapshot holds is what was live at its end: nothing that is needed is missing, and nothing comes
// back because what settled it is.
func (o *owner) findsIn(s *journal.Snapshot) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	live, at := map[uint64]uint64{}, s.Begin()
	err := s.Read(0, func(r journal.Record) error {
		is := o.history[r.Seq-1]
		switch {
		case r.Seq <= at.Seq || r.Seq > s.End().Seq:
			return fmt.Errorf("seq %d after %d, the end is %d", r.Seq, at.Seq, s.End().Seq)
		case r.Type != is.Type || r.Epoch != is.Epoch || !bytes.Equal(r.Body, is.Body):
			return fmt.Errorf("record %d is altered", r.Seq)
		}
		apply(live, r)
		at.Seq = r.Seq
		return nil
	})
	if err != nil {
		return err
	}
	if want := o.asOf(s.End().Seq); !maps.Equal(live, want) {
		return fmt.Errorf("the snapshot up to %d has %d live, want %d: %s", s.End().Seq, len(live), len(want), difference(live, want))
	}
	return nil
}

// TestSnapshotIsOneMoment takes snapshots in the middle of everything that goes on, at any call of the disk, and reads them
// much later, when the files have been trimmed, cleaned and recycled.
func TestSnapshotIsOneMoment(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			disk, o := memfs.New(), newOwner(seed)
			o.steady = true
			j := open(t, o.options(disk))
			var mu sync.Mutex
			var taken []*journal.Snapshot
			calls, gaps := 0, 0
			watch := func(c memfs.Call) error {
				mu.Lock()
				defer mu.Unlock()
				if calls++; !c.Writes() || calls%29 != 0 && c.Op != "Rename" || len(taken) > 20 {
					return nil
				}
				mu.Unlock() // the snapshot makes calls too
				s, err := j.Snapshot()
				mu.Lock()
				if err != nil {
					t.Error(err)
					return nil
				}
				taken = append(taken, s)
				return nil
			}
			for range 12 {
				disk.OnCall(watch)
				for range 25 {
					if err := o.act(t, &j, disk, false); err != nil {
						t.Fatal(err)
					}
				}
				disk.OnCall(nil)
				j.Quiesce()
				mu.Lock()
				for _, s := range taken {
					if err := o.findsIn(s); err != nil {
						t.Errorf("%d to %d: %v", s.Begin().Seq+1, s.End().Seq, err)
					}
					if s.Begin().Seq > 0 {
						gaps++
					}
					s.Close()
				}
				taken = nil
				mu.Unlock()
			}
			if gaps < 20 {
				t.Errorf("%d snapshots of a trimmed journal", gaps)
			}
		})
	}
}

func TestSnapshotIsReadInPieces(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	for range 80 {
		put(t, j, w, 5)
	}
	if err := j.Thin(1, 2, func(seq uint64) bool { return seq%10 == 5 }); err != nil {
		t.Fatal(err)
	}
	s, err := j.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want, end := recordsOf(t, j.Read), j.End()
	if bytes := s.Bytes(); bytes < diskBytes(disk)/2 || bytes > diskBytes(disk) {
		t.Errorf("the snapshot has %d bytes, the disk %d", bytes, diskBytes(disk))
	}
	put(t, j, w, 50) // after it
	j.Trim(400)
	put(t, j, w, 1)
	j.Quiesce()
	mustClose(t, j)
	if s.End() != end {
		t.Errorf("the end is %+v, want %+v", s.End(), end)
	}
	var got []string
	errEnough := errors.New("enough")
	for from := uint64(1); from <= s.End().Seq; {
		n := 0
		err := s.Read(from, func(r journal.Record) error {
			if n++; n > 7 {
				return errEnough
			}
			got = append(got, fmt.Sprintf("%d %d %d %08x %x", r.Seq, r.Epoch, r.Type, r.PrevChain, r.Body))
			from = r.Seq + 1
			return nil
		})
		if err != nil && err != errEnough {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	if _, err := j.Snapshot(); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("of a closed journal: %v", err)
	}
}

// TestSnapshotGivesItsFilesBack: when nobody holds them any more the room of the trimmed files is free, and others are reused.
func TestSnapshotGivesItsFilesBack(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	for range 100 {
		put(t, j, w, 4)
	}
	s, err := j.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	full := disk.Used()
	j.Trim(400)
	put(t, j, w, 1)
	j.Quiesce()
	if used := disk.Used(); used < full-32<<10 {
		t.Errorf("%d bytes are used, the snapshot holds %d", used, full)
	}
	s.Close()
	if used := disk.Used(); used > full/2 {
		t.Errorf("%d of %d bytes are still used", used, full)
	}
}

// TestSnapshotLooksAgain trims what the snapshot is about to open. It then is of a later moment, and nothing stays open of
// what it had.
func TestSnapshotLooksAgain(t *testing.T) {
	t.Parallel()
	disk, w := filled(t, 300), newWatch()
	j := open(t, w.options(disk))
	var opens atomic.Int64
	disk.OnCall(func(c memfs.Call) error {
		if c.Op == "Open" && strings.HasSuffix(c.Name, ".seg") && opens.Add(1) == 2 { // it has the first
			j.Trim(200)
			put(t, j, w, 1)
			j.Quiesce()
		}
		return nil
	})
	s, err := j.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	disk.OnCall(nil)
	if s.Begin().Seq+1 != j.First() || j.First() == 1 || s.End() != j.End() {
		t.Errorf("the snapshot has %d to %+v, the journal %d to %+v", s.Begin().Seq+1, s.End(), j.First(), j.End())
	}
	if got, want := recordsOf(t, s.Read), recordsOf(t, j.Read); !slices.Equal(got, want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	s.Close()
	if used, named := disk.Used(), disk.CrashClone(memfs.All).Used(); used != named {
		t.Errorf("%d bytes are used, the files that have a name have %d", used, named)
	}
}
