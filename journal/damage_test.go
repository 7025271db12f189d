package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"baton/journal"
	"baton/journal/memfs"
)

// copyDisk returns a disk with the files of disk, changed by change.
func copyDisk(disk *memfs.FS, change func(files map[string][]byte)) *memfs.FS {
	files := map[string][]byte{}
	for _, name := range disk.Names() {
		files[name] = disk.Content(name)
	}
	change(files)
	clone := memfs.New()
	for name, content := range files {
		clone.Put(name, content)
	}
	return clone
}

func segmentNames(disk *memfs.FS) []string {
	return slices.DeleteFunc(disk.Names(), func(name string) bool { return filepath.Ext(name) != ".seg" })
}

// harmless checks a journal of last records that may have been damaged, with promised of them promised: it is either
// found corrupt by Open or Read, or all that is promised is there and nothing is altered.
func harmless(disk *memfs.FS, promised, last uint64) error {
	report, err := journal.Verify(disk, dir, nil)
	if errors.Is(err, journal.ErrNewer) {
		return nil
	}
	if err != nil {
		return err
	}
	err = served(disk, promised, last)
	var damage *journal.CorruptError
	if !errors.As(err, &damage) {
		return err
	}
	if len(report.Damage) == 0 {
		return fmt.Errorf("sound for Verify, but: %w", err)
	}
	return nil
}

// served is the part of harmless that does without Verify. Damage that is found is an error.
func served(disk *memfs.FS, promised, last uint64) error {
	j, err := journal.Open(newWatch().options(disk))
	if err != nil {
		return err
	}
	defer func() { _ = j.Close() }()
	if j.Last() < promised || j.Last() > last {
		return fmt.Errorf("%d records, %d are promised, %d were written", j.Last(), promised, last)
	}
	return check(j, 1)
}

// TestCorruptionIsNamedAndNothingChanges damages what Open reads.
func TestCorruptionIsNamedAndNothingChanges(t *testing.T) {
	t.Parallel()
	whole := filled(t, 300)
	names := segmentNames(whole)
	last := names[len(names)-1]
	for title, place := range map[string]struct {
		name        string
		offset, max int64
	}{
		"a header":                          {names[1], 40, 0},
		"a seal":                            {names[1], int64(len(whole.Content(names[1]))) - 8, 1 << 20},
		"a record of the last segment":      {last, 4096 + 40, 4096},
		"the first byte of the last header": {last, 0, 0},
	} {
		disk := copyDisk(whole, func(files map[string][]byte) { files[place.name][place.offset] ^= 1 })
		before := map[string]string{}
		for _, n := range disk.Names() {
			before[n] = string(disk.Content(n))
		}
		_, err := journal.Open(newWatch().options(disk))
		var damage *journal.CorruptError
		if !errors.As(err, &damage) || damage.File != filepath.Base(place.name) || damage.Offset > place.max || damage.Hint == "" {
			t.Errorf("%s: open: %v", title, err)
		}
		for _, n := range disk.Names() {
			if before[n] != string(disk.Content(n)) {
				t.Errorf("%s: %s was changed", title, n)
			}
		}
		if report, err := journal.Verify(disk, dir, nil); err != nil || len(report.Damage) == 0 {
			t.Errorf("%s: verify: %+v, %v", title, report, err)
		}
	}
}

// TestDamageThatOpenDoesNotSeeIsNeverServed damages a record of a sealed segment, of which Open reads the ends only.
func TestDamageThatOpenDoesNotSeeIsNeverServed(t *testing.T) {
	t.Parallel()
	disk := filled(t, 300)
	name := segmentNames(disk)[1]
	disk = copyDisk(disk, func(files map[string][]byte) { files[name][5000] ^= 1 })
	named := func(err error) bool {
		var damage *journal.CorruptError
		return errors.As(err, &damage) && damage.File == filepath.Base(name) && damage.Offset >= 4096 && damage.Offset <= 5000
	}
	report, err := journal.Verify(disk, dir, nil)
	if err != nil || len(report.Damage) == 0 || !named(report.Damage[0]) {
		t.Errorf("verify: %+v, %v", report, err)
	}
	j := open(t, newWatch().options(disk))
	if err := check(j, 1); !named(err) {
		t.Errorf("read: %v", err)
	}
	lost := 0
	for seq := range j.Last() {
		r, err := j.Get(seq + 1)
		switch {
		case named(err):
			lost++
		case err != nil || !bytes.Equal(r.Body, payload(seq+1)):
			t.Errorf("get %d: %x, %v", seq+1, r.Body, err)
		}
	}
	if lost == 0 || lost > 100 {
		t.Errorf("%d records are lost", lost)
	}
}

func TestReadFindsDamageThatCameLater(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	put(t, j, w, 10)
	f, err := disk.Open(segmentNames(disk)[0], true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff, 0xff, 0xff}, 4096+200); err != nil {
		t.Fatal(err)
	}
	var damage *journal.CorruptError
	if err := check(j, 1); !errors.As(err, &damage) {
		t.Fatalf("read: %v", err)
	}
}

func TestMissingAndStrangeSegmentsAreFound(t *testing.T) {
	t.Parallel()
	disk := filled(t, 400)
	other := filled(t, 400)
	other.Put(dir+"/checkpoint", []byte("of a journal"))
	names := segmentNames(disk)
	if len(names) < 4 {
		t.Fatalf("only %d segments", len(names))
	}
	changes := map[string]func(files map[string][]byte){
		"all deleted": func(files map[string][]byte) {
			for _, n := range names {
				delete(files, n)
			}
		},
		"all but the checkpoint deleted": func(files map[string][]byte) {
			clear(files)
			files[dir+"/checkpoint"] = other.Content(dir + "/checkpoint")
		},
		"two swapped": func(files map[string][]byte) {
			files[names[1]], files[names[2]] = files[names[2]], files[names[1]]
		},
		"one renamed to the next number": func(files map[string][]byte) {
			files[dir+"/0000000099-00000000000000009999.seg"] = files[names[len(names)-1]]
			delete(files, names[len(names)-1])
		},
		"one with a strange name": func(files map[string][]byte) { files[dir+"/copy-of-1.seg"] = files[names[0]] },
		"one of another journal": func(files map[string][]byte) {
			name := segmentNames(other)[1]
			delete(files, names[1])
			files[name] = other.Content(name)
		},
	}
	changes["two of one number"] = func(files map[string][]byte) {
		other := bytes.Clone(files[names[1]])
		binary.LittleEndian.PutUint64(other[40:], 60)
		binary.LittleEndian.PutUint32(other[4092:], crc32.Checksum(other[:4092], castagnoli))
		files[dir+"/0000000002-00000000000000000060.seg"] = other
	}
	changes["a plain one that claims the next number"] = func(files map[string][]byte) {
		claims := files[names[1]]
		claims[80]++
		binary.LittleEndian.PutUint32(claims[4092:], crc32.Checksum(claims[:4092], castagnoli))
		delete(files, names[2])
	}
	changes["a seal wiped"] = func(files map[string][]byte) {
		sealed := files[names[1]]
		clear(sealed[len(sealed)-72:])
		files[names[1]] = append(sealed, make([]byte, 16<<10-len(sealed))...)
	}
	for i, name := range names {
		changes[fmt.Sprintf("number %d deleted", i+1)] = func(files map[string][]byte) { delete(files, name) }
	}
	for title, change := range changes {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			_, err := journal.Open(newWatch().options(copyDisk(disk, change)))
			var damage *journal.CorruptError
			if !errors.As(err, &damage) {
				t.Errorf("open: %v", err)
			}
		})
	}
	if err := harmless(disk, 400, 400); err != nil {
		t.Errorf("without a change: %v", err)
	}
}

// TestIndexAndSealLieTogether takes the index before a seal away, or puts other things around it.
func TestIndexAndSealLieTogether(t *testing.T) {
	t.Parallel()
	whole := goldenJournal(t)
	name := segmentNames(whole)[1]
	content := whole.Content(name)
	at := len(content) - 72
	offset := int(binary.LittleEndian.Uint64(content[at+48:]))
	records, index, seal := content[:offset], content[offset:at], content[at:]
	mark := bytes.Clone(seal)
	mark[3] = 0
	var marks []int // where they end
	for i := 4096; i < offset; i += 32 + int(binary.LittleEndian.Uint32(content[i+4:])+7)&^7 {
		if content[i+2] == 128 {
			marks = append(marks, i+72)
		}
	}
	shorter := marks[len(marks)-2]
	early := bytes.Clone(seal)
	binary.LittleEndian.PutUint64(early[48:], uint64(shorter))
	for title, parts := range map[string][][]byte{
		"as it was":               {records, index, seal},
		"no index":                {records, seal},
		"no seal":                 {records, index},
		"two indexes":             {records, index, index, seal},
		"an index in the middle":  {records, index, mark, seal},
		"a mark instead of seal":  {records, index, mark},
		"no records":              {records[:4096], index, seal},
		"the last mark is absent": {records[:len(records)-72], index, seal},
		"no last batch":           {records[:shorter], index, early},
	} {
		image := bytes.Join(parts, nil)
		resealRecords(image)
		disk := copyDisk(whole, func(files map[string][]byte) { files[name] = image })
		report, err := journal.Verify(disk, dir, nil)
		if sound := len(report.Damage) == 0; err != nil || sound != (title == "as it was") {
			t.Errorf("%s: verify: %+v, %v", title, report, err)
		}
		if err := servesAll(disk, 49); err != nil {
			t.Errorf("%s: %v", title, err)
		}
	}
}

// servesAll checks that each record from first on is given as it was, or that damage is found by Open, Read or Get.
func servesAll(disk *memfs.FS, first uint64) error {
	var damage *journal.CorruptError
	j, err := journal.Open(newWatch().options(disk))
	if errors.As(err, &damage) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = j.Close() }()
	if err := check(j, first); err != nil && !errors.As(err, &damage) {
		return fmt.Errorf("read: %w", err)
	}
	for seq := first; seq <= j.Last(); seq++ {
		r, err := j.Get(seq)
		if err == nil {
			err = same(r)
		}
		if err != nil && !errors.As(err, &damage) {
			return fmt.Errorf("get: %w", err)
		}
	}
	return nil
}

// How a crash leaves a batch that was on the way.
const (
	whole   = iota
	holed   // records are lost, the mark is there
	missing // nothing of it is there
	fates
)

// TestPromiseDecides enumerates what a crash may leave when four batches are on the way at a time: the fate of each and
// what each mark promises. Damage below a promise that survived is corruption, other damage is a torn tail.
func TestPromiseDecides(t *testing.T) {
	t.Parallel()
	for promises := range 2 * 3 * 4 { // the mark of batch i promises 0 to i batches
		promised := []int{0, promises % 2, promises / 2 % 3, promises / 6}
		for fate := range fates * fates * fates * fates {
			all := []int{fate % fates, fate / 3 % fates, fate / 9 % fates, fate / 27}
			if err := promiseDecides(promised, all); err != nil {
				t.Errorf("promises %v, fates %v: %v", promised, all, err)
			}
		}
	}
}

func promiseDecides(promised, fate []int) error {
	var all [][]journal.Record
	for i := range fate {
		all = append(all, records(uint64(1+3*i), 3))
	}
	name, image, ends := journal.SegmentImage(16<<10, all, promised)
	sound, reach := len(fate), 0
	for i, f := range fate {
		switch f {
		case holed:
			image[ends[i]+40] ^= 0x10
		case missing:
			clear(image[ends[i]:ends[i+1]])
		}
		if f != whole {
			sound = min(sound, i)
		}
		if f != missing {
			reach = max(reach, promised[i])
		}
	}
	disk := memfs.New()
	disk.Put(filepath.Join(dir, name), image)
	j, err := journal.Open(newWatch().options(disk))
	if reach > sound {
		var damage *journal.CorruptError
		if !errors.As(err, &damage) {
			return fmt.Errorf("a promise reaches %d batches, %d are sound: %v", reach, sound, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = j.Close() }()
	if j.Last() != uint64(3*sound) {
		return fmt.Errorf("the last record is %d, %d batches are sound", j.Last(), sound)
	}
	torn := slices.ContainsFunc(disk.Names(), func(n string) bool { return filepath.Ext(n) == ".torn" })
	want := slices.ContainsFunc(fate[sound:], func(f int) bool { return f != missing })
	if torn != want || (j.Recovery().TornBytes > 0) != want {
		return fmt.Errorf("torn copy: %t, torn bytes: %d, want %t", torn, j.Recovery().TornBytes, want)
	}
	if err := errors.Join(check(j, 1), j.Close()); err != nil {
		return err
	}
	if report, err := journal.Verify(disk, dir, nil); err != nil || report.TornBytes > 0 {
		return fmt.Errorf("after recovery %d bytes are torn: %v", report.TornBytes, err)
	}
	return nil
}

// Damage to the last batch passes for a torn write until a mark promises it; Sync asks for one when all is durable.
func TestSyncOfWhatIsDurablePromisesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := memfs.New()
		j := open(t, journal.Options{Dir: dir, FS: disk, SegmentBytes: 64 << 10, LazySync: time.Hour})
		if err := j.Append(records(1, 3)); err != nil {
			t.Fatal(err)
		}
		j.Sync()
		synctest.Wait()
		if err := openDamaged(disk); err != nil {
			t.Errorf("what no mark promises is not a torn write: %v", err)
		}
		j.Sync()
		synctest.Wait()
		var damage *journal.CorruptError
		if err := openDamaged(disk); !errors.As(err, &damage) {
			t.Errorf("what a mark promises passes for a torn write: %v", err)
		}
		calls := 0
		disk.OnCall(func(memfs.Call) error { calls++; return nil })
		j.Sync()
		synctest.Wait()
		if calls > 0 {
			t.Errorf("%d calls to promise what is promised", calls)
		}
		disk.OnCall(nil)
		mustClose(t, j)
	})
}

// openDamaged opens the journal that a crash now would leave, with a bit of its last record flipped.
func openDamaged(disk *memfs.FS) error {
	after := copyDisk(disk.CrashClone(memfs.All), func(files map[string][]byte) {
		for name, content := range files {
			if i := bytes.LastIndex(content, payload(3)); filepath.Ext(name) == ".seg" && i >= 0 {
				content[i] ^= 1
			}
		}
	})
	j, err := journal.Open(journal.Options{Dir: dir, FS: after, SegmentBytes: 64 << 10})
	if err != nil {
		return err
	}
	return j.Close()
}
