package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

const quarantine = "/quarantine/1"

// extent is where a record lies.
type extent struct {
	file       string
	begin, end int
	seq        uint64
}

// extents returns those of all records of a journal.
func extents(t *testing.T, disk *memfs.FS) (all []extent) {
	t.Helper()
	var out bytes.Buffer
	if err := journal.Dump(disk, dir, &out, nil); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		var e extent
		var epoch, typ, size int
		if n, _ := fmt.Sscanf(line, "record seq=%d epoch=%d type=%d bytes=%d file=%s offset=%d", &e.seq, &epoch, &typ, &size, &e.file, &e.begin); n == 6 {
			e.file, e.end = filepath.Join(dir, e.file), e.begin+32+(size+7)&^7
			all = append(all, e)
		}
	}
	return all
}

// contents returns the Seqs of a journal that must be sound, whose records must be unaltered, and that goes on.
func contents(disk *memfs.FS) (map[uint64]bool, error) {
	report, err := journal.Verify(disk, dir, nil)
	if err != nil || len(report.Damage) > 0 {
		return nil, fmt.Errorf("verify: %v, %v", report.Damage, err)
	}
	seqs := map[uint64]bool{}
	j, err := journal.Open(newWatch().options(disk))
	if err != nil {
		return nil, err
	}
	defer func() { _ = j.Close() }()
	err = j.Read(0, func(r journal.Record) error {
		seqs[r.Seq] = true
		return same(r)
	})
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	next := record(j.Last() + 1)
	next.Epoch = max(next.Epoch, j.LastEpoch())
	if err := j.Append([]journal.Record{next}); err != nil {
		return nil, err
	}
	return seqs, j.Close()
}

// repaired repairs a damaged disk and returns what the journal has then. It tells first what it would do, and does that.
func repaired(disk *memfs.FS, quarantine string) (map[uint64]bool, journal.Repairs, error) {
	before := copyDisk(disk, func(map[string][]byte) {})
	would, err := journal.Repair(disk, dir, "", nil)
	if err != nil {
		return nil, would, err
	}
	if err := unchanged(disk, before); err != nil {
		return nil, would, fmt.Errorf("without a quarantine: %w", err)
	}
	did, err := journal.Repair(disk, dir, quarantine, nil)
	if err != nil || did.String() != would.String() {
		return nil, did, fmt.Errorf("would %q, did %q: %w", would, did, err)
	}
	if err := movedAside(disk, before, did, quarantine); err != nil {
		return nil, did, err
	}
	seqs, err := contents(disk.CrashClone(memfs.None))
	return seqs, did, err
}

func unchanged(disk, before *memfs.FS) error {
	if got, want := disk.Names(), before.Names(); !slices.Equal(got, want) {
		return fmt.Errorf("the files %v have become %v", want, got)
	}
	for _, name := range before.Names() {
		if !bytes.Equal(disk.Content(name), before.Content(name)) {
			return fmt.Errorf("%s was changed", name)
		}
	}
	return nil
}

// movedAside checks that nothing that was there has gone or changed, but for its place.
func movedAside(disk, before *memfs.FS, did journal.Repairs, quarantine string) error {
	if len(did.Damage) == 0 {
		return unchanged(disk, before)
	}
	for _, name := range before.Names() {
		now := name
		if slices.Contains(did.Aside, filepath.Base(name)) {
			now = filepath.Join(quarantine, filepath.Base(name))
		}
		if !bytes.Equal(disk.Content(now), before.Content(name)) {
			return fmt.Errorf("%s of before is not what is in %s", name, now)
		}
	}
	if got := string(disk.Content(quarantine + "/report.txt")); got != did.String() {
		return fmt.Errorf("the report is %q, want %q", got, did)
	}
	return nil
}

// wantLoss checks that seqs lack nothing of all but lost, and that what is lost is reported. Where nothing was damaged,
// the last batch may be torn.
func wantLoss(seqs map[uint64]bool, did journal.Repairs, all []extent, lost func(extent) bool) error {
	if len(did.Damage) == 0 {
		all, lost = all[:len(all)-3], func(extent) bool { return false }
	}
	for _, e := range all {
		switch told := isTold(did, e.seq); {
		case !seqs[e.seq] && !lost(e):
			return fmt.Errorf("record %d is lost, at %d of %s", e.seq, e.begin, e.file)
		case !seqs[e.seq] && !told:
			return fmt.Errorf("record %d is lost, and the report does not say so: %s", e.seq, did)
		case seqs[e.seq] && told:
			return fmt.Errorf("record %d is there, and the report says that it is lost: %s", e.seq, did)
		}
	}
	return nil
}

func isTold(did journal.Repairs, seq uint64) bool {
	return slices.ContainsFunc(did.Places, func(p journal.RepairedPlace) bool {
		return p.End && seq > p.Last || slices.ContainsFunc(p.Lost, func(r journal.SeqRange) bool { return r.First <= seq && seq <= r.Last })
	})
}

// thinnedInUse is a disk with plain, sparse and merged segments, of which the last one is in use and has torn nothing.
func thinnedInUse(t *testing.T) *memfs.FS {
	t.Helper()
	disk, _ := thinned(t, 1)
	w := newWatch()
	j := open(t, w.options(disk))
	for range 9 {
		put(t, j, w, 3)
	}
	j.Quiesce()
	return disk.CrashClone(memfs.All)
}

func TestRepairSavesAllThatIsLegible(t *testing.T) {
	t.Parallel()
	whole := thinnedInUse(t)
	all := extents(t, whole)
	found := 0
	for _, name := range segmentNames(whole) {
		content := whole.Content(name)
		for at := 0; at < len(content); at += 101 * faultStride {
			disk := copyDisk(whole, func(files map[string][]byte) { files[name][at] ^= 0x10 })
			seqs, did, err := repaired(disk, quarantine)
			if err == nil {
				err = wantLoss(seqs, did, all, func(e extent) bool { return e.file == name && e.begin <= at && at < e.end })
			}
			if err != nil {
				t.Fatalf("byte %d of %s: %v", at, name, err)
			}
			if len(did.Damage) > 0 {
				found++
			}
		}
	}
	if found < 100/faultStride {
		t.Errorf("only %d of the changed bytes are damage", found)
	}
}

// TestRepairOfStrangeFiles damages whole files. lost says in which of them what was there is gone for good.
func TestRepairOfStrangeFiles(t *testing.T) {
	t.Parallel()
	whole := thinnedInUse(t)
	names, other := segmentNames(whole), filled(t, 400)
	type damage struct {
		change func(files map[string][]byte)
		lost   []string
		hit    func(extent) bool // of the records in lost; nil: all
	}
	cases := map[string]damage{
		"nothing": {change: func(map[string][]byte) {}},
		"two swapped": {change: func(files map[string][]byte) {
			files[names[0]], files[names[1]] = files[names[1]], files[names[0]]
		}},
		"one with a strange name": {change: func(files map[string][]byte) {
			files[dir+"/copy.seg"] = files[names[0]]
			delete(files, names[0])
		}, lost: nil},
		"a stranger among them": {change: func(files map[string][]byte) { files[dir+"/x.seg"] = []byte("no segment") }},
		"two of another journal": {change: func(files map[string][]byte) {
			delete(files, names[1])
			for _, name := range segmentNames(other)[1:3] {
				files[name] = other.Content(name)
			}
		}, lost: []string{names[1]}},
		"all headers gone": {change: func(files map[string][]byte) {
			for _, name := range names {
				clear(files[name][:4096])
			}
		}},
		"all seals gone": {change: func(files map[string][]byte) {
			for _, name := range names[:len(names)-1] {
				clear(files[name][len(files[name])-72:])
			}
		}},
		"all but headers gone": {change: func(files map[string][]byte) {
			for _, name := range names[:len(names)-1] { // of the last one nobody could tell
				clear(files[name][4096:])
			}
		}, lost: names[:len(names)-1]},
		"identity damaged": {change: func(files map[string][]byte) { files[dir+"/journal.id"][20] ^= 1 }},
		"a checkpoint, and damage": {change: func(files map[string][]byte) {
			files[dir+"/checkpoint"] = []byte("anything")
			files[names[0]][40] ^= 1
		}},
		"an old copy in use": {change: func(files map[string][]byte) {
			seg := files[names[1]]
			clear(seg[len(seg)/2:])
			files[names[1]] = append(seg, make([]byte, 16<<10-len(seg))...)
		}, lost: []string{names[1]}},
	}
	for i, name := range names {
		cases["without "+name] = damage{change: func(files map[string][]byte) { delete(files, name) }, lost: []string{name}}
		for _, other := range names[i+1:] {
			cases["without "+name+" and "+other] = damage{change: func(files map[string][]byte) {
				delete(files, name)
				delete(files, other)
			}, lost: []string{name, other}}
		}
		cases["cut short "+name] = damage{change: func(files map[string][]byte) { files[name] = files[name][:2000] }, lost: []string{name}}
		cases["empty "+name] = damage{change: func(files map[string][]byte) { files[name] = nil }, lost: []string{name}}
		cases["no header "+name] = damage{change: func(files map[string][]byte) { clear(files[name][:4096]) }}
		if len(whole.Content(name)) < 8192 {
			continue // there is nothing in it
		}
		cases["sectors swapped in "+name] = damage{change: func(files map[string][]byte) {
			b := files[name]
			first := bytes.Clone(b[4096:4608])
			copy(b[4096:], b[4608:5120])
			copy(b[4608:], first)
		}, lost: []string{name}, hit: func(e extent) bool {
			return e.begin < 5120 && (e.begin/512 != (e.end-1)/512 || whole.Content(e.file)[12] == 1) // of a sparse one, all
		}}
	}
	all := extents(t, whole)
	for title, c := range cases {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			disk := copyDisk(whole, c.change)
			seqs, did, err := repaired(disk, quarantine)
			if err == nil {
				err = wantLoss(seqs, did, all, func(e extent) bool {
					return slices.Contains(c.lost, e.file) && (c.hit == nil || c.hit(e))
				})
			}
			if err != nil {
				t.Error(err)
			}
			if sound := len(did.Damage) == 0; sound != (title == "nothing") {
				t.Errorf("found %v", did.Damage)
			}
		})
	}
}

// TestRepairDoesNotFinishATornBatch has damage and, after the last promise, a batch that lacks a record: nobody was told that
// it is there, so none of it may be.
func TestRepairDoesNotFinishATornBatch(t *testing.T) {
	t.Parallel()
	whole := thinnedInUse(t)
	all := extents(t, whole)
	torn, first := all[len(all)-2], slices.IndexFunc(all, func(e extent) bool { return e.file == all[len(all)-1].file })
	disk := copyDisk(whole, func(files map[string][]byte) {
		files[torn.file][torn.begin] ^= 1
		files[torn.file][all[first].begin] ^= 1
	})
	seqs, did, err := repaired(disk, quarantine)
	if err != nil || seqs[torn.seq-1] || seqs[torn.seq+1] || !seqs[torn.seq-2] {
		t.Errorf("%v, %v; the torn batch was %d to %d", did, err, torn.seq-1, torn.seq+1)
	}
}

// TestRepairKeepsWhatAMergeLeftBehind damages a merged segment while one that it covers is still there: the next Open would
// remove it.
func TestRepairKeepsWhatAMergeLeftBehind(t *testing.T) {
	t.Parallel()
	disk := filled(t, 300)
	names := segmentNames(disk)
	old := disk.Content(names[2])
	j := open(t, newWatch().options(disk))
	if err := j.Thin(1, 2, func(uint64) bool { return true }); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	disk = copyDisk(disk, func(files map[string][]byte) {
		files[names[1]][5000] ^= 1
		files[names[2]] = old
	})
	if _, did, err := repaired(disk, quarantine); err != nil || !slices.Contains(did.Aside, filepath.Base(names[2])) {
		t.Errorf("%v, %v", did, err)
	}
}

// TestSeqsThatWereSeenAreNotGivenAgain loses the end of the log.
func TestSeqsThatWereSeenAreNotGivenAgain(t *testing.T) {
	t.Parallel()
	disk := copyDisk(thinnedInUse(t), func(files map[string][]byte) {
		for name := range files {
			if filepath.Ext(name) == ".seg" && name > dir+"/0000000003" {
				delete(files, name)
			}
		}
	})
	if _, err := journal.Repair(disk, dir, quarantine, nil); err != nil {
		t.Fatal(err)
	}
	j := open(t, newWatch().options(disk))
	if j.Last() < 1<<20 {
		t.Errorf("the log goes on after seq %d", j.Last())
	}
}

func TestRepairThatIsRefused(t *testing.T) {
	t.Parallel()
	whole, other := filled(t, 300), filled(t, 300)
	names := segmentNames(whole)
	for title, c := range map[string]struct {
		change func(files map[string][]byte)
		want   error
	}{
		"a newer format": {func(files map[string][]byte) {
			files[names[1]][10] = 9
			resealHeader(files[names[1]])
		}, journal.ErrNewer},
		"no segment": {func(files map[string][]byte) {
			for _, name := range names {
				delete(files, name)
			}
		}, journal.ErrBeyondRepair},
		"the identity of another": {func(files map[string][]byte) {
			files[dir+"/journal.id"] = other.Content(dir + "/journal.id")
		}, journal.ErrBeyondRepair},
		"two journals and no identity": {func(files map[string][]byte) {
			name := segmentNames(other)[2]
			files[name] = other.Content(name)
			files[dir+"/journal.id"][20] ^= 1
		}, journal.ErrBeyondRepair},
		"neither identity nor headers": {func(files map[string][]byte) {
			delete(files, dir+"/journal.id")
			for _, name := range names {
				clear(files[name][:4096])
			}
		}, journal.ErrBeyondRepair},
	} {
		disk := copyDisk(whole, c.change)
		before := copyDisk(disk, func(map[string][]byte) {})
		if _, err := journal.Repair(disk, dir, quarantine, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", title, err)
		}
		if err := unchanged(disk, before); err != nil {
			t.Errorf("%s: %v", title, err)
		}
	}
	j := open(t, newWatch().options(whole))
	if _, err := journal.Repair(whole, dir, "", nil); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("while it is open: %v", err)
	}
	mustClose(t, j)
	damaged := copyDisk(whole, func(files map[string][]byte) {
		delete(files, names[1])
		files[quarantine+"/x"] = nil
	})
	if _, err := journal.Repair(damaged, dir, quarantine, nil); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("into a quarantine that is not empty: %v", err)
	}
}

func resealHeader(b []byte) {
	binary.LittleEndian.PutUint32(b[4092:], crc32.Checksum(b[:4092], castagnoli))
}

// TestRepairGoesOnAfterACrash crashes, or lets fail, every call that changes the disk of a repair, and repairs again.
func TestRepairGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	whole := thinnedInUse(t)
	names := segmentNames(whole)
	all := extents(t, whole)
	damaged := func() *memfs.FS {
		return copyDisk(whole, func(files map[string][]byte) {
			files[dir+"/checkpoint"] = []byte("anything")
			files[dir+"/journal.id"][20] ^= 1
			files[names[1]][4096] ^= 1
			clear(files[names[2]][:4096])
			files[names[2]][4096] ^= 1
			files[names[5]][4500] ^= 1
			files[names[len(names)-1]][4096] ^= 1
		})
	}
	hit := map[string]int{names[1]: 4096, names[2]: 4096, names[5]: 4500, names[len(names)-1]: 4096}
	again := func(disk *memfs.FS) error {
		first, err := journal.Repair(disk, dir, quarantine+"/again", nil)
		if err != nil {
			return err
		}
		seqs, err := contents(disk)
		if err != nil {
			return fmt.Errorf("%v: %w", first, err)
		}
		for _, e := range all {
			if at := hit[e.file]; !seqs[e.seq] && !(e.begin <= at && at < e.end) {
				return fmt.Errorf("record %d is lost, at %d of %s", e.seq, e.begin, e.file)
			}
		}
		return nil
	}
	calls := 0
	disk := damaged()
	disk.OnCall(func(c memfs.Call) error {
		if !c.Writes() {
			return nil
		}
		calls++
		for i, crash := range crashes {
			if err := again(disk.CrashClone(crash.keep(uint64(calls)<<8 | uint64(i)))); err != nil {
				t.Errorf("crash before call %d %+v, %s: %v", calls, c, crash.name, err)
			}
		}
		return nil
	})
	if _, err := journal.Repair(disk, dir, quarantine, nil); err != nil {
		t.Fatal(err)
	}
	for n := range calls {
		disk, left := damaged(), n
		disk.OnCall(func(c memfs.Call) error {
			if c.Writes() {
				left--
			}
			if left == -1 {
				return errDisk
			}
			return nil
		})
		_, err := journal.Repair(disk, dir, quarantine, nil)
		disk.OnCall(nil)
		if !errors.Is(err, errDisk) {
			t.Errorf("call %d fails: %v", n, err)
		}
		if err := again(disk); err != nil {
			t.Errorf("call %d fails: %v", n, err)
		}
	}
	t.Logf("%d calls", calls)
}
