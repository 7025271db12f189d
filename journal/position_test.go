package journal_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

// positions returns where the journal is after each Seq from 0 on, as reading it tells.
func positions(t *testing.T, j *journal.Journal) []journal.Position {
	t.Helper()
	all := []journal.Position{{}}
	err := j.Read(1, func(r journal.Record) error {
		all[len(all)-1].Chain = r.PrevChain
		all = append(all, journal.Position{Seq: r.Seq, Epoch: r.Epoch})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all[len(all)-1].Chain = j.End().Chain
	return all
}

func wantPosition(t *testing.T, j *journal.Journal, want journal.Position) {
	t.Helper()
	if got, err := j.PositionAt(want.Seq); err != nil || got != want {
		t.Errorf("the position at %d is %+v, %v, want %+v", want.Seq, got, err, want)
	}
}

func wantUnknown(t *testing.T, j *journal.Journal, seq uint64) {
	t.Helper()
	if got, err := j.PositionAt(seq); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("the position at %d is %+v, %v", seq, got, err)
	}
}

func TestPositionIsKnownWhereverARecordTellsIt(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	if end := j.End(); end != (journal.Position{}) {
		t.Fatalf("a new journal ends at %+v", end)
	}
	for range 80 {
		put(t, j, w, 5)
	}
	all := positions(t, j)
	if end := j.End(); end != all[400] || end.Epoch != 5 || end.Chain == 0 {
		t.Fatalf("the end is %+v, reading gives %+v", end, all[400])
	}
	for _, p := range all {
		wantPosition(t, j, p)
		if r, err := j.Get(max(p.Seq, 1)); err != nil || r.PrevChain != all[max(p.Seq, 1)-1].Chain {
			t.Fatalf("get %d: chain before %x, %v, want %x", p.Seq, r.PrevChain, err, all[max(p.Seq, 1)-1].Chain)
		}
	}
	if err := j.Append(records(401, 2)); err != nil {
		t.Fatal(err)
	}
	wantUnknown(t, j, 401) // not durable
	wantPosition(t, j, j.End())
	wantUnknown(t, j, 403)
	wantPosition(t, j, all[400])

	if err := j.Thin(1, 2, func(seq uint64) bool { return seq%10 == 5 }); err != nil {
		t.Fatal(err)
	}
	files := ranges(t, disk)
	first, last := files[1].First, files[1].Last
	for seq := first; seq < last; seq++ {
		switch {
		case seq%10 == 5 || seq%10 == 4 && all[seq+1].Epoch == all[first-1].Epoch:
			wantPosition(t, j, all[seq])
		default:
			wantUnknown(t, j, seq)
		}
	}
	wantPosition(t, j, all[first-1])
	wantPosition(t, j, all[last])

	j.Trim(last + 1)
	put(t, j, w, 1)
	j.Quiesce()
	wantPosition(t, j, journal.Position{})
	wantUnknown(t, j, first)
	wantUnknown(t, j, last-1)
	wantPosition(t, j, all[last]) // the next segment tells
	mustClose(t, j)
	if _, err := j.PositionAt(last); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// ranges returns the segments on disk.
func ranges(t *testing.T, disk *memfs.FS) []journal.SegmentFile {
	t.Helper()
	in, err := journal.Inspect(disk, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	return in.Files
}

// TestReadTellsWhereABatchEnds: who cuts what he reads into pieces must not part what one Append added.
func TestReadTellsWhereABatchEnds(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	var want []uint64
	for i := range 300 {
		put(t, j, w, 1+i%4) // each is synced alone
		want = append(want, j.Last())
	}
	read := func() (ends []uint64) {
		err := j.Read(1, func(r journal.Record) error {
			if r.Ends {
				ends = append(ends, r.Seq)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return ends
	}
	if got := read(); !slices.Equal(got, want) {
		t.Fatalf("batches end with %v, want %v", got, want)
	}
	if err := j.Thin(0, 1, func(uint64) bool { return true }); err != nil {
		t.Fatal(err)
	}
	last := ranges(t, disk)[0].Last
	want = slices.DeleteFunc(want, func(seq uint64) bool { return seq < last })
	if got := read(); !slices.Equal(got, want) {
		t.Fatalf("with a cleaned segment up to %d batches end with %v, want %v", last, got, want)
	}
}

func TestRetainedRecordsAreNeitherTrimmedNorCleaned(t *testing.T) {
	t.Parallel()
	disk, o := memfs.New(), newOwner(1)
	j := open(t, o.options(disk))
	fill := func(n int) {
		t.Helper()
		for range n {
			if err := o.commit(j, o.put(), o.settle(1)); err != nil {
				t.Fatal(err)
			}
		}
		j.Quiesce()
	}
	fill(300)
	const after = 200
	j.Retain(after)
	intact := func() {
		t.Helper()
		next := uint64(after + 1)
		err := j.Read(next, func(r journal.Record) error {
			if r.Seq != next {
				t.Fatalf("record %d is not there", next)
			}
			next++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	o.clean(j)
	if j.Stats().Sparse == 0 {
		t.Error("what is not retained was not cleaned")
	}
	intact()
	j.Trim(500)
	fill(2)
	intact()
	if first := j.First(); first == 1 || first > after+1 {
		t.Errorf("the first record is %d, retained is what comes after %d", first, after)
	}

	j.Retain(450) // the trim from before goes on by itself
	fill(1)
	if first := j.First(); first <= after || first > 451 {
		t.Errorf("the first record is %d, retained is what comes after 450", first)
	}
	j.Retain(after) // too late for some of it
	j.Trim(600)
	fill(1)
	if first := j.First(); first <= after || first > 451 {
		t.Errorf("the first record is %d after what is retained fell", first)
	}
	j.Retain(math.MaxUint64)
	fill(1)
	if first := j.First(); first <= 500 {
		t.Errorf("the first record is %d, nothing is retained", first)
	}
	before := j.Stats().CleanedBytes
	fill(100)
	o.clean(j)
	if j.Stats().CleanedBytes == before {
		t.Error("nothing was cleaned any more")
	}
	if err := o.finds(j); err != nil {
		t.Error(err)
	}
}

// TestRetainStopsAPassUnderWay: the records that a pass is about to drop are needed after all, before or while it gives the
// new segment its name.
func TestRetainStopsAPassUnderWay(t *testing.T) {
	t.Parallel()
	for _, moment := range []string{"Sync", "Rename"} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			disk, o := memfs.New(), newOwner(1)
			j := open(t, o.options(disk))
			for range 300 {
				if err := o.commit(j, o.put(), o.settle(1)); err != nil {
					t.Fatal(err)
				}
			}
			retained := make(chan uint64, 1) // how many records there are when Retain has returned
			begun := false
			disk.OnCall(func(c memfs.Call) error {
				if begun || c.Op != moment || c.Name != dir+"/clean.tmp" {
					return nil
				}
				begun = true
				retain := func() {
					j.Retain(0)
					retained <- count(j)
				}
				if moment == "Sync" {
					retain()
				} else {
					go retain()
				}
				return nil
			})
			o.clean(j)
			before := <-retained
			j.Quiesce()
			o.clean(j)
			if now := count(j); now != before || moment == "Sync" && now != 600 {
				t.Errorf("%d records, there were %d when they were retained", now, before)
			}
		})
	}
}

// count is how many records there are to be read.
func count(j *journal.Journal) (n uint64) {
	if err := j.Read(0, func(journal.Record) error { n++; return nil }); err != nil {
		return 0
	}
	return n
}
