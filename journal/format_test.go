package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	goldenSegment = "0000000001-00000000000000000001.seg"
	goldenEnd     = 4096 + 1024 // what follows is zeros, in the golden file of format 1
)

// counting is a source of predictable random bytes: 1, 2, 3 …
type counting byte

func (c *counting) Read(b []byte) (int, error) {
	for i := range b {
		*c++
		b[i] = byte(*c)
	}
	return len(b), nil
}

// golden writes a journal of one segment, like that of the golden file of format 1.
func golden(t *testing.T) *memfs.FS {
	disk, w := memfs.New(), newWatch()
	j := open(t, journal.WithRandom(w.options(disk), new(counting)))
	for _, batch := range [][]journal.Record{
		{{Seq: 1, Epoch: 1, Type: 1, Head: []byte("head "), Body: []byte("body")}},
		{{Seq: 2, Epoch: 1, Type: 127}, {Seq: 3, Epoch: 258, Type: 2, Body: []byte("8 bytes.")}},
	} {
		if err := j.Append(batch); err != nil {
			t.Fatal(err)
		}
		j.Sync()
		w.await(j.Last())
	}
	mustClose(t, j)
	return disk
}

// goldenKept are the records that are left in the sparse segment of goldenJournal.
func goldenKept(seq uint64) bool { return seq%5 == 2 }

// goldenJournal writes the journal that the golden files hold: a sparse segment that took the place of three, a sealed one
// and the active one, whose file was that of another.
func goldenJournal(t *testing.T) *memfs.FS {
	disk, w := memfs.New(), newWatch()
	opt := journal.WithRandom(w.options(disk), new(counting))
	opt.SegmentBytes = 8 << 10
	j := open(t, opt)
	for len(segmentNames(disk)) < 4 {
		put(t, j, w, 3)
	}
	mustClose(t, j)
	stale := disk.Content(segmentNames(disk)[0])
	disk.Put(filepath.Join(dir, "spare"), append(stale, make([]byte, 8<<10-len(stale))...))
	j = open(t, opt)
	for len(segmentNames(disk)) < 5 {
		put(t, j, w, 3)
	}
	put(t, j, w, 2)
	if err := j.Thin(0, 3, goldenKept); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	return disk
}

// TestFormatIsThatOfTheGoldenFiles fails when a byte of the format changes: that needs a new format version, and golden
// files of its own beside the old ones.
func TestFormatIsThatOfTheGoldenFiles(t *testing.T) {
	t.Parallel()
	disk := goldenJournal(t)
	written := append(segmentNames(disk), filepath.Join(dir, "journal.id"))
	if *update {
		for _, name := range written {
			content := bytes.TrimRight(disk.Content(name), "\x00")
			if err := os.WriteFile(filepath.Join("testdata", "format-4", filepath.Base(name)), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files := goldenFiles(t, "format-4")
	if len(files) != len(written) || len(written) != 4 {
		t.Fatalf("%d files are written, %d are golden", len(written), len(files))
	}
	for _, name := range written {
		got, want := disk.Content(name), files[name]
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("%s is %d bytes, the golden file %d; byte %d differs", name, len(got), len(want), i)
			}
		}
	}
	const index = "4a42 81 00 20000000 0a00000000000000 03000000 CRC_ 0d0c0b0a SUM_" +
		" 0200000000000000 04030201 00000000 0900000000000000 7011010000000000"
	image := journal.EncodedIndex()
	crc := crc32.Checksum(image[32:], castagnoli)
	sum := crc32.Update(0x11223344, castagnoli, image[:28])
	want := strings.NewReplacer(" ", "", "4a42", "424a", "CRC_", littleHex(crc), "SUM_", littleHex(sum)).Replace(index)
	if got := fmt.Sprintf("%x", image); got != want {
		t.Errorf("an index record is\n%s, want\n%s", got, want)
	}
}

func littleHex(n uint32) string { return fmt.Sprintf("%x", binary.LittleEndian.AppendUint32(nil, n)) }

// goldenFiles are those of a journal, by their paths. The last segment has been stored without the zeros at its end.
func goldenFiles(t testing.TB, version string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", version, "*"))
	if err != nil {
		t.Fatal(err)
	}
	files, last := map[string][]byte{}, ""
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Base(name))
		files[path] = content
		if filepath.Ext(path) == ".seg" {
			last = max(last, path)
		}
	}
	files[last] = append(files[last], make([]byte, 8<<10-len(files[last]))...)
	return files
}

// TestGoldenJournalsAreReadAndGoOn takes over journals of each format, reads them, appends to them until the next segment
// begins, and reads them again.
func TestGoldenJournalsAreReadAndGoOn(t *testing.T) {
	t.Parallel()
	for version, first := range map[string]uint64{"format-1": 1, "format-2": 52, "format-3": 52, "format-4": 52} {
		disk := memfs.New()
		for name, content := range goldenFiles(t, version) {
			disk.Put(name, content)
		}
		report, err := journal.Verify(disk, dir, nil)
		if err != nil || len(report.Damage) > 0 || report.Segments != 3 || report.Last < 47 {
			t.Fatalf("%s: %+v, %v", version, report, err)
		}
		w := newWatch()
		opt := w.options(disk)
		opt.SegmentBytes = 8 << 10
		for range 3 {
			j := open(t, opt)
			if last := j.Last(); last < report.Last || j.ID() != report.ID {
				t.Fatalf("%s: the last record is %d, it was %d", version, last, report.Last)
			}
			if err := check(j, first); err != nil {
				t.Fatalf("%s: %v", version, err)
			}
			if err := checkGet(j, first, func(seq uint64) bool { return seq >= first || goldenKept(seq) }); err != nil {
				t.Fatalf("%s: %v", version, err)
			}
			put(t, j, w, 13)
			mustClose(t, j)
		}
		if report, err = journal.Verify(disk, dir, nil); err != nil || len(report.Damage) > 0 || report.Segments < 4 {
			t.Fatalf("%s, after going on: %+v, %v", version, report, err)
		}
	}
}

func TestGoldenFileIsRead(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join("testdata", "format-1.seg"))
	if err != nil {
		t.Fatal(err)
	}
	disk := memfs.New()
	disk.Put(filepath.Join(dir, goldenSegment), append(content, make([]byte, 16<<10-goldenEnd)...))
	var dump strings.Builder
	describe := func(r journal.Record) string { return fmt.Sprintf("%q", r.Body) }
	if err := journal.Dump(disk, dir, &dump, describe); err != nil {
		t.Fatal(err)
	}
	const want = `record seq=1 epoch=1 type=1 bytes=9 file=0000000001-00000000000000000001.seg offset=4096 "head body"
mark seq=1..1 epoch=1 promise=0 floor=0 sealed=false file=0000000001-00000000000000000001.seg offset=4144
record seq=2 epoch=1 type=127 bytes=0 file=0000000001-00000000000000000001.seg offset=4216 ""
record seq=3 epoch=258 type=2 bytes=8 file=0000000001-00000000000000000001.seg offset=4248 "8 bytes."
mark seq=2..3 epoch=258 promise=1 floor=0 sealed=false file=0000000001-00000000000000000001.seg offset=4288
mark seq=4..3 epoch=258 promise=3 floor=0 sealed=false file=0000000001-00000000000000000001.seg offset=4360
end file=0000000001-00000000000000000001.seg offset=4432: the log ends here
`
	if dump.String() != want {
		t.Errorf("dump:\n%s\nwant:\n%s", dump.String(), want)
	}
	report, err := journal.Verify(disk, dir, nil)
	if err != nil || fmt.Sprint(report.Epochs, report.First, report.Last, report.Records) != "[1 258] 1 3 3" {
		t.Errorf("verify: %+v, %v", report, err)
	}
}

func TestNewerFormatsAreRefused(t *testing.T) {
	t.Parallel()
	for name, offset := range map[string]int{"min reader": 10, "flags": 13} {
		disk := golden(t)
		image := disk.Content(filepath.Join(dir, goldenSegment))
		image[offset]++
		sum := crc32.Checksum(image[:4092], crc32.MakeTable(crc32.Castagnoli))
		binary.LittleEndian.PutUint32(image[4092:], sum)
		disk.Put(filepath.Join(dir, goldenSegment), image)
		if _, err := journal.Open(newWatch().options(disk)); !errors.Is(err, journal.ErrNewer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	disk := golden(t) // a flag that its format has not
	name := filepath.Join(dir, goldenSegment)
	old := disk.Content(name)
	old[8], old[10], old[12] = 3, 3, 2
	binary.LittleEndian.PutUint32(old[4092:], crc32.Checksum(old[:4092], crc32.MakeTable(crc32.Castagnoli)))
	disk.Put(name, old)
	if _, err := journal.Open(newWatch().options(disk)); !errors.Is(err, journal.ErrNewer) {
		t.Errorf("recycled in format 3: %v", err)
	}
	disk = golden(t) // a newer writer that old readers understand
	image := disk.Content(filepath.Join(dir, goldenSegment))
	image[8]++
	binary.LittleEndian.PutUint32(image[4092:], crc32.Checksum(image[:4092], crc32.MakeTable(crc32.Castagnoli)))
	disk.Put(filepath.Join(dir, goldenSegment), image)
	if err := harmless(disk, 3, 3); err == nil || strings.Contains(err.Error(), "newer") {
		t.Errorf("a newer version for old readers: %v", err) // the payloads are not those of record
	}
}

func TestRecordsThatDoNotContinueEachOtherAreFound(t *testing.T) {
	t.Parallel()
	for name, offset := range map[string]int{"type, and so the chain": 4216 + 2, "seq": 4216 + 8, "epoch": 4216 + 16} {
		disk := golden(t)
		image := disk.Content(filepath.Join(dir, goldenSegment))
		image[offset]--
		resealRecord(image, 4216)
		disk.Put(filepath.Join(dir, goldenSegment), image)
		if report, err := journal.Verify(disk, dir, nil); err != nil || len(report.Damage) != 1 {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
	}
}

// TestMarkWithoutTheSaltIsNoProof puts a mark with fitting checksums and a high promise into a torn tail.
func TestMarkWithoutTheSaltIsNoProof(t *testing.T) {
	t.Parallel()
	for _, forged := range []bool{false, true} {
		disk := golden(t)
		image := disk.Content(filepath.Join(dir, goldenSegment))
		image[4432] = 1 // the torn tail
		last := image[4440:4512]
		copy(last, image[4360:4432]) // the last mark
		binary.LittleEndian.PutUint64(last[48:], 4440)
		if forged {
			last[64]++
		}
		resealRecord(image, 4440)
		disk.Put(filepath.Join(dir, goldenSegment), image)
		report, err := journal.Verify(disk, dir, nil)
		if err != nil || (len(report.Damage) == 0) != forged || report.TornBytes == 0 {
			t.Errorf("forged: %t: %+v, %v", forged, report, err)
		}
	}
}

func TestProgressReachesTheEnd(t *testing.T) {
	t.Parallel()
	disk := filled(t, 300)
	var done, total int64
	opt := newWatch().options(disk)
	opt.Progress = func(d, n int64) {
		if d < done || d > n {
			t.Errorf("%d of %d after %d", d, n, done)
		}
		done, total = d, n
	}
	open(t, opt)
	if total < 32<<10 || done < total/2 {
		t.Errorf("the last report was %d of %d", done, total)
	}
}

// TestClaimedLengthsAreNotAllocated reads a record that claims 100 MiB, with checksums that fit.
func TestClaimedLengthsAreNotAllocated(t *testing.T) {
	disk := golden(t)
	name := filepath.Join(dir, goldenSegment)
	image := disk.Content(name)
	binary.LittleEndian.PutUint32(image[4100:], 100<<20)
	resealRecords(image)
	disk.Put(name, image)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	report, err := journal.Verify(disk, dir, nil)
	runtime.ReadMemStats(&after)
	if err != nil || len(report.Damage) == 0 || !strings.Contains(report.Damage[0].Reason, "reaches past") {
		t.Errorf("verify: %+v, %v", report, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}
