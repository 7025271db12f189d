package journal_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

const otherDir = "/other"

// in returns opt for another directory.
func in(opt journal.Options, dir string) journal.Options {
	opt.Dir = dir
	return opt
}

// take makes a journal in otherDir of what the snapshot holds.
func take(s *journal.Snapshot, fsys journal.FS) error {
	im, err := journal.NewImport(fsys, otherDir, s.Begin(), 16<<10)
	if err != nil {
		return err
	}
	err = s.Read(0, im.Add)
	if err == nil {
		err = im.Finish(s.End())
	}
	if err != nil {
		return errors.Join(err, im.Abandon())
	}
	return nil
}

// recordsOf is all that can be read of a journal, a line a record.
func recordsOf(t *testing.T, read func(from uint64, fn func(journal.Record) error) error) (lines []string) {
	t.Helper()
	err := read(0, func(r journal.Record) error {
		lines = append(lines, fmt.Sprintf("%d %d %d %08x %x", r.Seq, r.Epoch, r.Type, r.PrevChain, r.Body))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// wantTwin checks that the import equals its source and that both go on alike.
func wantTwin(t *testing.T, disk *memfs.FS, o *owner, source *journal.Journal) {
	t.Helper()
	twin := open(t, in(newOwner(0).options(disk), otherDir))
	if twin.ID() == source.ID() {
		t.Error("the import has the identity of its source")
	}
	if got, want := recordsOf(t, twin.Read), recordsOf(t, source.Read); !slices.Equal(got, want) {
		t.Fatalf("%d records, the source has %d", len(got), len(want))
	}
	if twin.First() != source.First() || twin.End() != source.End() || twin.Durable() != source.Durable() {
		t.Fatalf("the import has %d to %+v, the source %d to %+v", twin.First(), twin.End(), source.First(), source.End())
	}
	for range 40 {
		recs := []journal.Record{o.put(), o.settle(2)}
		if err := o.append(source, recs...); err != nil {
			t.Fatal(err)
		}
		if err := twin.Append(recs); err != nil {
			t.Fatal(err)
		}
		if twin.End() != source.End() {
			t.Fatalf("after the same records the ends are %+v and %+v", twin.End(), source.End())
		}
	}
	mustClose(t, twin)
	twin = open(t, in(newOwner(0).options(disk), otherDir))
	if twin.End() != source.End() {
		t.Errorf("after a restart the ends are %+v and %+v", twin.End(), source.End())
	}
	for _, line := range recordsOf(t, twin.Read) {
		var seq uint64
		if _, err := fmt.Sscan(line, &seq); err != nil {
			t.Fatal(err)
		}
		if r, err := twin.Get(seq); err != nil || !strings.HasPrefix(line, fmt.Sprintf("%d %d %d %08x", r.Seq, r.Epoch, r.Type, r.PrevChain)) {
			t.Fatalf("get %d: %+v, %v", seq, r, err)
		}
	}
	mustClose(t, twin)
	report, err := journal.Verify(disk, otherDir, nil)
	if err != nil || len(report.Damage) > 0 {
		t.Errorf("verify: %+v, %v", report, err)
	}
}

// TestImportIsATwin imports journals with gaps of all kinds: none, in between, at the beginning, at the end, and of everything.
func TestImportIsATwin(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*testing.T, *owner, *journal.Journal){
		"empty":   func(*testing.T, *owner, *journal.Journal) {},
		"whole":   lead(300, func(*owner, *journal.Journal) {}),
		"cleaned": lead(600, func(o *owner, j *journal.Journal) { o.clean(j) }),
		"trimmed": lead(600, func(o *owner, j *journal.Journal) { j.Trim(o.census().oldest()) }),
		"nothing is needed": lead(600, func(o *owner, j *journal.Journal) {
			for len(o.live) > 0 {
				_ = o.append(j, o.settle(50))
			}
			o.clean(j)
			j.Trim(1 << 60)
		}),
		"thinned": lead(200, func(o *owner, j *journal.Journal) {
			for n := j.Stats().Segments; j.Stats().Segments < n+2; {
				_ = o.commit(j, o.put(), o.settle(1))
			}
			_ = j.Thin(0, j.Stats().Segments-1, func(seq uint64) bool { return seq%3 == 0 })
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk, o := memfs.New(), newOwner(3)
			j := open(t, o.options(disk))
			prepare(t, o, j)
			j.Quiesce()
			s, err := j.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got, want := recordsOf(t, s.Read), recordsOf(t, j.Read); !slices.Equal(got, want) {
				t.Fatalf("the snapshot has %d records, the journal %d", len(got), len(want))
			}
			if err := take(s, disk); err != nil {
				t.Fatal(err)
			}
			wantTwin(t, disk, o, j)
		})
	}
}

// lead returns a life of n rounds that ends with last.
func lead(n int, last func(*owner, *journal.Journal)) func(*testing.T, *owner, *journal.Journal) {
	return func(t *testing.T, o *owner, j *journal.Journal) {
		for range n {
			if err := o.commit(j, o.put(), o.settle(1)); err != nil {
				t.Fatal(err)
			}
		}
		last(o, j)
		if err := o.commit(j, o.put()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestImportKeepsItsBeginningAndItsEnd imports nothing but a few records of a large range.
func TestImportKeepsItsBeginningAndItsEnd(t *testing.T) {
	t.Parallel()
	begin, end := journal.Position{Seq: 100, Epoch: 2, Chain: 7}, journal.Position{Seq: 900, Epoch: 4, Chain: 9}
	for _, seqs := range [][]uint64{nil, {150}, {101, 150}, {150, 899}} {
		disk := memfs.New()
		im, err := journal.NewImport(disk, dir, begin, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, seq := range seqs {
			r := journal.Record{Seq: seq, Epoch: 3, Type: 1, Head: []byte("a"), Body: []byte("b"), PrevChain: 7}
			if err := im.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		if err := im.Finish(end); err != nil {
			t.Fatal(err)
		}
		j := open(t, newWatch().options(disk))
		if j.End() != end || j.First() != 101 || j.LastEpoch() != 4 {
			t.Errorf("%v: the journal has %d to %+v", seqs, j.First(), j.End())
		}
		wantPosition(t, j, begin)
		wantPosition(t, j, end)
		var got []uint64
		err = j.Read(0, func(r journal.Record) error {
			got = append(got, r.Seq)
			if string(r.Body) != "ab" {
				t.Errorf("seq %d: %q", r.Seq, r.Body)
			}
			return nil
		})
		if err != nil || !slices.Equal(got, seqs) {
			t.Errorf("read %v, %v, want %v", got, err, seqs)
		}
		if got := j.Unbroken(); got != 900 {
			t.Errorf("%v: nothing is missing after %d", seqs, got)
		}
		mustClose(t, j)
	}
}

func TestImportRefusesWhatDoesNotJoin(t *testing.T) {
	t.Parallel()
	first := journal.Record{Seq: 11, Epoch: 2, Type: 1, PrevChain: 5}
	for name, c := range map[string]struct {
		r    journal.Record
		want string
	}{
		"again":          {journal.Record{Seq: 11, Epoch: 2, Type: 1}, "comes after seq 11"},
		"an older epoch": {journal.Record{Seq: 12, Epoch: 1, Type: 1}, "epoch 1 after epoch 2"},
		"another chain":  {journal.Record{Seq: 12, Epoch: 2, Type: 1, PrevChain: 5}, "chain before it is 00000005"},
		"a mark":         {journal.Record{Seq: 13, Epoch: 2, Type: 128}, "type 128"},
		"no type":        {journal.Record{Seq: 13, Epoch: 2}, "type 0"},
		"too much":       {journal.Record{Seq: 13, Epoch: 2, Type: 1, Body: make([]byte, journal.MaxBatchBytes)}, "too big"},
	} {
		im, err := journal.NewImport(memfs.New(), dir, journal.Position{Seq: 10, Epoch: 1, Chain: 5}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := im.Add(first); err != nil {
			t.Fatal(err)
		}
		if err := im.Add(c.r); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), fmt.Sprintf("seq %d", c.r.Seq)) {
			t.Errorf("%s: %v", name, err)
		}
		if err := im.Finish(journal.Position{Seq: 11, Epoch: 2, Chain: 6}); err == nil {
			t.Errorf("%s: the end may have another chain than the last record", name)
		}
		if err := im.Abandon(); err != nil {
			t.Error(err)
		}
	}
}

func TestImportWantsAnEmptyDirectory(t *testing.T) {
	t.Parallel()
	disk := filled(t, 20)
	if _, err := journal.NewImport(disk, dir, journal.Position{}, 0); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("into a journal: %v", err)
	}
	if err := reopens(disk); err != nil {
		t.Error(err)
	}
	im, err := journal.NewImport(disk, otherDir, journal.Position{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := journal.NewImport(disk, otherDir, journal.Position{}, 0); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("two at a time: %v", err)
	}
	if err := im.Abandon(); err != nil {
		t.Fatal(err)
	}
	if left := slices.DeleteFunc(disk.Names(), func(name string) bool { return !strings.HasPrefix(name, otherDir) }); len(left) > 0 {
		t.Errorf("after Abandon there is %v", left)
	}
}

// importing runs an import of a journal with gaps, with onCall called before each call.
func importing(t *testing.T, seed uint64, onCall func(disk *memfs.FS, c memfs.Call) error) (disk *memfs.FS, o *owner, source *journal.Journal, err error) {
	t.Helper()
	o, disk = newOwner(seed), memfs.New()
	source = open(t, o.options(disk))
	lead(80, func(o *owner, j *journal.Journal) { o.clean(j) })(t, o, source)
	source.Quiesce()
	s, err := source.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	disk.OnCall(func(c memfs.Call) error {
		if !strings.HasPrefix(c.Name, otherDir) {
			return nil
		}
		return onCall(disk, c)
	})
	err = take(s, disk)
	disk.OnCall(nil)
	return disk, o, source, err
}

// TestCrashedImportIsNoJournal crashes an import before each call that changes the disk: what is found is empty, refused, or
// complete, and another import replaces what is not.
func TestCrashedImportIsNoJournal(t *testing.T) {
	t.Parallel()
	var end journal.Position
	var whole []string
	kinds, fate := map[string]int{}, uint64(0)
	visit := func(disk *memfs.FS, c memfs.Call) error {
		if !c.Writes() {
			return nil
		}
		for _, crash := range crashes {
			fate++
			kinds[importFound(t, disk.CrashClone(crash.keep(fate)), end, whole)]++
		}
		kinds[importFound(t, disk.KillClone(), end, whole)]++
		return nil
	}
	_, _, source, err := importing(t, 5, func(*memfs.FS, memfs.Call) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	end, whole = source.End(), recordsOf(t, source.Read)
	disk, _, _, err := importing(t, 5, visit)
	if err != nil {
		t.Fatal(err)
	}
	kinds[importFound(t, disk.CrashClone(memfs.None), end, whole)]++
	if kinds["empty"] == 0 || kinds["unfinished"] == 0 || kinds["complete"] == 0 {
		t.Errorf("crashes leave %v", kinds)
	}
}

// importFound tells what a crash of an import left, and makes another one there.
func importFound(t *testing.T, disk *memfs.FS, end journal.Position, whole []string) string {
	t.Helper()
	names := slices.DeleteFunc(disk.Names(), func(name string) bool { return !strings.HasPrefix(name, otherDir) })
	j, err := journal.Open(in(newOwner(0).options(disk.CrashClone(memfs.All)), otherDir))
	switch {
	case errors.Is(err, journal.ErrUnfinished):
		for _, look := range []func() error{
			func() error { _, err := journal.Verify(disk, otherDir, nil); return err },
			func() error { _, err := journal.Inspect(disk, otherDir); return err },
			func() error { _, err := journal.Repair(disk, otherDir, "/aside", nil); return err },
		} {
			if err := look(); !errors.Is(err, journal.ErrUnfinished) {
				t.Errorf("looking at an import that was not finished: %v", err)
			}
		}
	case err != nil:
		t.Errorf("open: %v, there is %v", err, names)
		return "damaged"
	case j.End() == end:
		if got := recordsOf(t, j.Read); !slices.Equal(got, whole) {
			t.Errorf("the import has %d records, its source %d", len(got), len(whole))
		}
		mustClose(t, j)
		return "complete"
	case len(names) > 0:
		t.Errorf("a part of an import passes for a journal: %v", names)
	default:
		mustClose(t, j)
	}
	im, err := journal.NewImport(disk, otherDir, journal.Position{}, 0)
	if err != nil {
		t.Errorf("another import: %v", err)
		return "occupied"
	}
	if err := im.Finish(journal.Position{}); err != nil {
		t.Error(err)
	}
	mustClose(t, open(t, in(newOwner(0).options(disk), otherDir)))
	if len(names) == 0 {
		return "empty"
	}
	return "unfinished"
}

// TestFaultyImportIsNoJournal lets each call of an import fail.
func TestFaultyImportIsNoJournal(t *testing.T) {
	t.Parallel()
	_, _, source, err := importing(t, 5, func(*memfs.FS, memfs.Call) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	end, whole := source.End(), recordsOf(t, source.Read)
	for index, more := 0, true; more; index++ {
		calls, abandons := 0, false
		disk, o, source, err := importing(t, 5, func(disk *memfs.FS, c memfs.Call) error {
			calls++
			for i, crash := range crashes {
				if abandons && c.Writes() {
					importFound(t, disk.CrashClone(crash.keep(uint64(index<<16|calls<<8|i))), end, whole)
				}
			}
			if calls-1 == index {
				abandons = c.Op == "SyncDir" // then also look at crashes while what there is is removed
				return errDisk
			}
			return nil
		})
		if more = calls > index; !more {
			if err != nil {
				t.Fatal(err)
			}
			wantTwin(t, disk, o, source)
			break
		}
		if !errors.Is(err, errDisk) {
			t.Fatalf("call %d: %v", index, err)
		}
		if kind := importFound(t, disk, source.End(), nil); kind != "empty" && kind != "unfinished" {
			t.Errorf("call %d: what is left is %s", index, kind)
		}
		mustClose(t, source)
	}
}
