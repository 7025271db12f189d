package journal_test

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

// trunk is a closed journal to be cut.
type trunk struct {
	disk      *memfs.FS
	end       journal.Position
	first     uint64
	least     uint64   // what can be cut lies after it
	seqs      []uint64 // of lines
	lines     []string
	positions map[uint64]journal.Position // as far as they can be told
	borders   []uint64                    // Seqs before which a segment begins
	covers    uint64                      // upto of the checkpoint
}

// cuttable tells what is known of the journal on disk.
func cuttable(t *testing.T, disk *memfs.FS) *trunk {
	t.Helper()
	j := open(t, newWatch().options(disk.CrashClone(memfs.All)))
	k := &trunk{disk: disk, end: j.End(), first: j.First(), lines: recordsOf(t, j.Read), positions: map[uint64]journal.Position{}}
	_, k.covers, _, _ = j.Checkpoint()
	for _, line := range k.lines {
		var seq uint64
		_, _ = fmt.Sscan(line, &seq)
		k.seqs = append(k.seqs, seq)
	}
	in, err := journal.Inspect(disk, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	k.least = max(in.Floor, k.first) - 1
	for _, f := range in.Files {
		k.borders = append(k.borders, f.First)
	}
	for seq := k.least; seq <= k.end.Seq; seq++ {
		if p, err := j.PositionAt(seq); err == nil {
			k.positions[seq] = p
		}
	}
	mustClose(t, j)
	return k
}

// split returns the records up to a Seq, and those after it.
func (k *trunk) split(after uint64) (prefix, tail []string) {
	n, found := slices.BinarySearch(k.seqs, after)
	if found {
		n++
	}
	return k.lines[:n], k.lines[n:]
}

// trunks are journals of several kinds.
func trunks(t *testing.T, n int) map[string]*trunk {
	t.Helper()
	all := map[string]*trunk{"whole": cuttable(t, filled(t, n))}

	disk, w := memfs.New(), newWatch() // the machine crashes while a batch is on its way
	j := open(t, w.options(disk))
	for int(j.Last()) < n {
		put(t, j, w, 3)
	}
	var torn *memfs.FS
	for torn == nil {
		crashed := make(chan *memfs.FS, 1)
		disk.OnCall(func(c memfs.Call) error {
			if c.Op == "Datasync" && strings.HasSuffix(c.Name, ".seg") && len(crashed) == 0 {
				crashed <- disk.CrashClone(func(c memfs.Change) bool { return c.Block%2 == 0 })
			}
			return nil
		})
		put(t, j, w, 20)
		clone := <-crashed
		disk.OnCall(nil)
		r, err := journal.Verify(clone, dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.TornBytes > 0 { // or it was the seal of a segment
			torn = clone
		}
	}
	all["torn"] = cuttable(t, torn)

	disk, w = memfs.New(), newWatch()
	j = open(t, keeping(w, disk))
	for int(j.Last()) < n {
		put(t, j, w, 3)
	}
	j.Trim(uint64(n / 2))
	put(t, j, w, 1)
	j.Quiesce()
	for name := ""; !recycled(disk, name) || len(segmentNames(disk)) < 3; {
		name = roll(t, j, w, disk)
		j.Quiesce()
	}
	put(t, j, w, 9)
	mustClose(t, j)
	all["trimmed and recycled"] = cuttable(t, disk)

	disk, w = memfs.New(), newWatch()
	j = open(t, w.options(disk))
	for int(j.Last()) < n {
		put(t, j, w, 3)
	}
	if err := j.Thin(1, 2, func(seq uint64) bool { return seq%10 < 4 }); err != nil {
		t.Fatal(err)
	}
	covers := j.Durable() - 10
	if err := j.WriteCheckpoint(covers, covers, yieldAll("x")); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	all["thinned, with a checkpoint"] = cuttable(t, disk)
	return all
}

// places are the Seqs after which to cut: the first and the last ones, the borders of segments and their middles.
func (k *trunk) places() []uint64 {
	seqs := map[uint64]bool{k.least: true, k.end.Seq - 1: true, k.end.Seq - 2: true, k.covers: true}
	for i, first := range k.borders {
		last := k.end.Seq
		if i+1 < len(k.borders) {
			last = k.borders[i+1] - 1
		}
		for _, seq := range []uint64{first - 1, first, first + 1, (first + last) / 2, last - 1} {
			seqs[seq] = true
		}
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(seqs)), func(seq uint64) bool {
		return seq < k.least || seq >= k.end.Seq || k.positions[seq].Seq != seq
	})
}

// found checks that the journal is as it was, or only as far as after, with the rest aside; it tells which.
func (k *trunk) found(disk *memfs.FS, after uint64) (cut bool, err error) {
	j, err := journal.Open(newWatch().options(disk))
	if err != nil {
		return false, err
	}
	defer func() { _ = j.Close() }()
	lines, err := linesOf(j)
	if err != nil {
		return false, err
	}
	_, upto, _, checkpoint := j.Checkpoint()
	prefix, _ := k.split(after)
	first := k.first
	if after == k.least && after >= first { // nothing before is needed
		first, prefix = after+1, nil
	}
	switch {
	case j.End() == k.end && slices.Equal(lines, k.lines):
		return false, nil // if the checkpoint is gone that only costs time
	case j.End() != k.positions[after] || j.First() != first:
		return false, fmt.Errorf("the journal has %d to %+v, want the end %+v or %+v", j.First(), j.End(), k.positions[after], k.end)
	case !slices.Equal(lines, prefix):
		return false, fmt.Errorf("%d records are left, want %d", len(lines), len(prefix))
	case checkpoint != (k.covers > 0 && k.covers <= after) || checkpoint && upto != k.covers:
		return false, fmt.Errorf("the checkpoint up to %d: %t", upto, checkpoint)
	}
	return true, k.aside(disk, after)
}

func linesOf(j *journal.Journal) (lines []string, err error) {
	err = j.Read(0, func(r journal.Record) error {
		lines = append(lines, fmt.Sprintf("%d %d %d %08x %x", r.Seq, r.Epoch, r.Type, r.PrevChain, r.Body))
		return nil
	})
	return lines, err
}

// aside checks that what was cut is in otherDir.
func (k *trunk) aside(disk *memfs.FS, after uint64) error {
	j, err := journal.Open(in(newWatch().options(disk), otherDir))
	if err != nil {
		return err
	}
	defer func() { _ = j.Close() }()
	lines, err := linesOf(j)
	_, tail := k.split(after)
	if err == nil && (!slices.Equal(lines, tail) || j.First() != after+1 || j.End() != k.end) {
		err = fmt.Errorf("aside are %d records, %d to %+v, want %d", len(lines), j.First(), j.End(), len(tail))
	}
	return err
}

// goesOn cuts the journal, again or for the first time, appends other records in the place of those, and looks.
func (k *trunk) goesOn(disk *memfs.FS, after uint64) error {
	tail, err := journal.Cut(disk, dir, after, otherDir)
	if err != nil {
		return err
	}
	if tail.After != k.positions[after] || tail.End != k.end && tail.End != tail.After {
		return fmt.Errorf("cut off was %+v", tail)
	}
	if cut, err := k.found(disk, after); err != nil || !cut {
		return fmt.Errorf("after the cut: %t, %w", cut, err)
	}
	w := newWatch()
	j, err := journal.Open(w.options(disk))
	if err != nil {
		return err
	}
	others := records(after+1, 40)
	for i := range others {
		others[i].Epoch = 1000
	}
	if err := j.Append(others); err != nil {
		return err
	}
	if err := j.Close(); err != nil {
		return err
	}
	report, err := journal.Verify(disk, dir, nil)
	if err != nil || len(report.Damage) > 0 || report.Last != after+40 || report.TornBytes > 0 {
		return fmt.Errorf("going on: %+v, %w", report, err)
	}
	return k.aside(disk, after)
}

func TestCutKeepsThePrefixAndPutsTheTailAside(t *testing.T) {
	t.Parallel()
	for name, k := range trunks(t, 250) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			places := k.places()
			if len(places) < 10 {
				t.Fatalf("there are only %d places to cut", len(places))
			}
			for _, after := range places {
				disk := k.disk.CrashClone(memfs.All)
				if err := k.goesOn(disk, after); err != nil {
					t.Errorf("after %d of %d: %v", after, k.end.Seq, err)
				}
				if left := slices.DeleteFunc(disk.Names(), func(name string) bool { return !strings.Contains(name, "/cut") }); len(left) > 0 {
					t.Errorf("after %d: left is %v", after, left)
				}
			}
		})
	}
}

func TestCutOfNothingChangesNothing(t *testing.T) {
	t.Parallel()
	disk := filled(t, 100)
	before := copyDisk(disk, func(map[string][]byte) {})
	tail, err := journal.Cut(disk, dir, 100, otherDir)
	if err != nil || tail.After != tail.End || tail.End.Seq != 100 {
		t.Fatalf("%+v, %v", tail, err)
	}
	if !slices.Equal(disk.Names(), before.Names()) {
		t.Errorf("there is %v, was %v", disk.Names(), before.Names())
	}
	for _, name := range disk.Names() {
		if string(disk.Content(name)) != string(before.Content(name)) {
			t.Errorf("%s has changed", name)
		}
	}
}

// TestCutTakesWhatIsAsideAlready: an earlier attempt may have got no further than that. Another journal there is refused.
func TestCutTakesWhatIsAsideAlready(t *testing.T) {
	t.Parallel()
	k := cuttable(t, filled(t, 100))
	tail := func(disk *memfs.FS, after, last uint64) {
		j := open(t, newWatch().options(disk))
		defer mustClose(t, j)
		im, err := journal.NewImport(disk, otherDir, k.positions[after], 0)
		if err != nil {
			t.Fatal(err)
		}
		err = j.Read(after+1, func(r journal.Record) error {
			if r.Seq > last {
				return nil
			}
			return im.Add(r)
		})
		if err := errors.Join(err, im.Finish(k.positions[last])); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		after, last uint64
		same        bool
	}{{50, 100, true}, {49, 100, false}, {51, 100, false}, {50, 99, false}} {
		disk := k.disk.CrashClone(memfs.All)
		tail(disk, c.after, c.last)
		err := k.goesOn(disk, 50)
		if c.same != (err == nil) || !c.same && !strings.Contains(err.Error(), "not empty") {
			t.Errorf("aside is what comes after %d up to %d: %v", c.after, c.last, err)
		}
		if cut, err := k.found(disk, 50); !c.same && (cut || err != nil) {
			t.Errorf("aside is what comes after %d up to %d: %t, %v", c.after, c.last, cut, err)
		}
	}
}

// TestCutMakesTheNameOfWhatIsAsideDurable: where it lies has to be known before the records are cut off, also when an earlier
// attempt has made the directory, or all of it.
func TestCutMakesTheNameOfWhatIsAsideDurable(t *testing.T) {
	t.Parallel()
	k := cuttable(t, filled(t, 100))
	for _, begun := range []bool{false, true} {
		disk := k.disk.CrashClone(memfs.All)
		if begun {
			failed := errors.New("no more")
			disk.OnCall(func(call memfs.Call) error {
				if call.Op == "Rename" && strings.HasSuffix(call.Name, "cut.tmp") {
					return failed
				}
				return nil
			})
			if err := k.goesOn(disk, 50); !errors.Is(err, failed) {
				t.Fatal(err)
			}
		}
		synced := false
		disk.OnCall(func(call memfs.Call) error {
			switch {
			case call.Op == "SyncDir" && call.Name == filepath.Dir(otherDir):
				synced = true
			case call.Op == "Rename" && strings.HasSuffix(call.Name, "cut.tmp") && !synced:
				t.Errorf("begun before: %t: it is cut, and the name of what is aside is not durable", begun)
			}
			return nil
		})
		if err := k.goesOn(disk, 50); err != nil {
			t.Error(err)
		}
	}
}

func TestCutRefuses(t *testing.T) {
	t.Parallel()
	all := trunks(t, 250)
	whole, thinned, trimmed := all["whole"], all["thinned, with a checkpoint"], all["trimmed and recycled"]
	gap := slices.IndexFunc(make([]struct{}, thinned.end.Seq), func() func(struct{}) bool {
		seq := uint64(0)
		return func(struct{}) bool { seq++; return thinned.positions[seq].Seq == 0 }
	}()) + 1
	inUse := filled(t, 10)
	open(t, newWatch().options(inUse))
	damaged := whole.disk.CrashClone(memfs.All)
	first := segmentNames(damaged)[0]
	damaged = copyDisk(damaged, func(files map[string][]byte) { files[first][5000] ^= 1 })
	occupied := whole.disk.CrashClone(memfs.All)
	occupied.Put(otherDir+"/precious", []byte("x"))
	for name, c := range map[string]struct {
		disk  *memfs.FS
		after uint64
		is    error
		text  string
	}{
		"beyond the end":     {whole.disk, whole.end.Seq + 1, journal.ErrNotFound, "the log ends with seq 250"},
		"what is trimmed":    {trimmed.disk, trimmed.first - 2, journal.ErrTrimmed, fmt.Sprintf("trimmed up to seq %d", trimmed.least)},
		"below the floor":    {trimmed.disk, trimmed.least - 1, journal.ErrTrimmed, fmt.Sprintf("trimmed up to seq %d", trimmed.least)},
		"what is cleaned":    {thinned.disk, uint64(gap), journal.ErrNotFound, "cleaned away"},
		"in use":             {inUse, 5, journal.ErrLocked, dir},
		"no journal":         {memfs.New(), 5, nil, "there is no journal"},
		"another's place":    {occupied, 5, nil, "not empty, there is precious"},
		"where it is broken": {damaged, 3, nil, "corrupt"},
	} {
		before := c.disk.Names()
		_, err := journal.Cut(c.disk, dir, c.after, otherDir)
		if err == nil || !strings.Contains(err.Error(), c.text) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", name, err)
		}
		after := slices.DeleteFunc(c.disk.Names(), func(name string) bool {
			return strings.HasPrefix(name, otherDir) || strings.HasSuffix(name, "LOCK")
		})
		before = slices.DeleteFunc(before, func(name string) bool {
			return strings.HasPrefix(name, otherDir) || strings.HasSuffix(name, "LOCK")
		})
		if !slices.Equal(after, before) {
			t.Errorf("%s: there is %v, was %v", name, after, before)
		}
	}
}

// TestCrashInACut crashes cuts before every call that changes the disk, and what finishes them once more: the prefix is
// always intact, and what follows it is all there, or gone and aside.
func TestCrashInACut(t *testing.T) {
	t.Parallel()
	for name, k := range trunks(t, 150) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			states, cuts := 0, 0
			places := k.places()
			every := cutPlaces
			if *wantStates > crashStates {
				every = 1
			}
			for i := min(every/2, len(places)-1); i < len(places); i += every {
				s, c := k.crashing(t, places[i], func(disk *memfs.FS) error {
					_, err := journal.Cut(disk, dir, places[i], otherDir)
					return err
				}, k.disk.CrashClone(memfs.All), true)
				states, cuts = states+s, cuts+c
			}
			if cuts < states/10 || states-cuts < states/10 {
				t.Errorf("in %d of %d states the log is cut", cuts, states)
			}
			t.Logf("%d states, in %d the log is cut", states, cuts)
		})
	}
}

// crashing does what is done before each call, and looks at what a crash there leaves; with again, also when that is found
// by somebody who crashes too.
func (k *trunk) crashing(t *testing.T, after uint64, do func(*memfs.FS) error, disk *memfs.FS, again bool) (states, cuts int) {
	number := uint64(0)
	var found, killed []*memfs.FS
	disk.OnCall(func(c memfs.Call) error {
		if !c.Writes() || t.Failed() {
			return nil
		}
		number++
		for i, crash := range crashes {
			clone := disk.CrashClone(crash.keep(after<<32 | number<<8 | uint64(i)))
			switch {
			case !again || *wantStates <= crashStates && number%cutCalls > 0:
			case crash.name == "all":
				killed = append(killed, disk.KillClone())
			case crash.name == "random blocks":
				found = append(found, clone.CrashClone(memfs.All))
			}
			cut, err := k.found(clone, after)
			if states++; cut {
				cuts++
			}
			if err == nil {
				err = k.goesOn(clone, after)
			}
			if err != nil {
				t.Errorf("after %d of %d, crash before call %d %+v, %s: %v", after, k.end.Seq, number, c, crash.name, err)
			}
		}
		return nil
	})
	if err := do(disk); err != nil {
		t.Errorf("after %d: %v", after, err)
	}
	disk.OnCall(nil)
	for _, clone := range found {
		s, c := k.crashing(t, after, func(disk *memfs.FS) error {
			j, err := journal.Open(newWatch().options(disk))
			if err != nil {
				return err
			}
			return j.Close()
		}, clone, false)
		states, cuts = states+s, cuts+c
	}
	for _, clone := range killed {
		s, c := k.crashing(t, after, do, clone, false)
		states, cuts = states+s, cuts+c
	}
	return states, cuts
}

// TestFaultInACut lets each call of a cut fail. It says so, changes nothing or is finished later.
func TestFaultInACut(t *testing.T) {
	t.Parallel()
	for name, k := range trunks(t, 150) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			places := k.places()
			after := places[len(places)/2]
			for index, more := 0, true; more; index += cutFaults {
				disk, calls := k.disk.CrashClone(memfs.All), 0
				var hurt memfs.Call
				disk.OnCall(func(c memfs.Call) error {
					calls++
					if calls-1 == index {
						hurt = c
						return errDisk
					}
					return nil
				})
				_, err := journal.Cut(disk, dir, after, otherDir)
				disk.OnCall(nil)
				more = calls > index
				if more && !errors.Is(err, errDisk) && (err != nil || hurt.Writes()) { // not every read matters
					t.Errorf("call %d %+v: %v", index, hurt, err)
				}
				names := disk.Names()
				if slices.Contains(names, dir+"/cut.kept") && !slices.Contains(names, dir+"/cut") && hurt.Op != "Rename" {
					t.Errorf("call %d %+v: left is %v", index, hurt, names)
				}
				for i, crash := range crashes[:4] {
					clone := disk.CrashClone(crash.keep(uint64(index + i)))
					if _, err := k.found(clone, after); err != nil {
						t.Errorf("call %d %+v, then a crash, %s: %v", index, hurt, crash.name, err)
					} else if err := k.goesOn(clone, after); err != nil {
						t.Errorf("call %d %+v, then a crash, %s, and again: %v", index, hurt, crash.name, err)
					}
				}
				if err := k.goesOn(disk, after); err != nil {
					t.Errorf("call %d %+v, and again: %v", index, hurt, err)
				}
			}
		})
	}
}
