package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"baton/journal"
	"baton/journal/memfs"
)

// checkGet gets every record from first on, which must be there where kept says so and must not where not.
func checkGet(j *journal.Journal, first uint64, kept func(seq uint64) bool) error {
	for seq := first; seq <= j.Durable(); seq++ {
		r, err := j.Get(seq)
		if !kept(seq) && !errors.Is(err, journal.ErrNotFound) {
			return fmt.Errorf("get %d, which is not there: %w", seq, err)
		}
		if !kept(seq) {
			continue
		}
		if err != nil || r.Seq != seq {
			return fmt.Errorf("get %d gives %d: %w", seq, r.Seq, err)
		}
		if err := same(r); err != nil {
			return err
		}
	}
	return nil
}

// checkGetSome gets every record: those that are kept must be there, others may be.
func checkGetSome(j *journal.Journal, kept func(seq uint64) bool) error {
	for seq := uint64(1); seq <= j.Durable(); seq++ {
		r, err := j.Get(seq)
		if errors.Is(err, journal.ErrNotFound) && !kept(seq) {
			continue
		}
		if err := errors.Join(err, same(r)); err != nil {
			return err
		}
	}
	return nil
}

// tap is an FS that counts what is read and which files are open.
type tap struct {
	journal.FS
	mu    sync.Mutex
	open  int
	most  int // open at a time
	reads []int
	bytes int
}

type tapped struct {
	journal.File
	tap *tap
}

func (p *tap) Open(name string, write bool) (journal.File, error) {
	return p.opened(p.FS.Open(name, write))
}

func (p *tap) Create(name string) (journal.File, error) {
	return p.opened(p.FS.Create(name))
}

func (p *tap) opened(f journal.File, err error) (journal.File, error) {
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open++
	p.most = max(p.most, p.open)
	return tapped{f, p}, nil
}

func (f tapped) Close() error {
	f.tap.mu.Lock()
	defer f.tap.mu.Unlock()
	f.tap.open--
	return f.File.Close()
}

func (f tapped) ReadAt(b []byte, offset int64) (int, error) {
	f.tap.mu.Lock()
	f.tap.reads = append(f.tap.reads, len(b))
	f.tap.bytes += len(b)
	f.tap.mu.Unlock()
	return f.File.ReadAt(b, offset)
}

// take returns the sizes of all reads since the last call.
func (p *tap) take() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	reads := p.reads
	p.reads, p.bytes = nil, 0
	return reads
}

// long returns a disk with a closed journal of n records of 1000 bytes in segments of that many.
func long(t testing.TB, n int, segmentBytes int64) *memfs.FS {
	t.Helper()
	disk := memfs.New()
	writeLong(t, disk, n, segmentBytes)
	return disk
}

func writeLong(t testing.TB, disk journal.FS, n int, segmentBytes int64) {
	t.Helper()
	j, err := journal.Open(journal.Options{Dir: dir, FS: disk, SegmentBytes: segmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	for seq := 0; seq < n; {
		var recs []journal.Record
		for ; int64(len(recs)) < min(100, segmentBytes/2000) && seq < n; seq++ {
			recs = append(recs, journal.Record{Seq: uint64(seq + 1), Type: 1, Body: longBody(uint64(seq + 1))})
		}
		if err := j.Append(recs); err != nil {
			t.Fatal(err)
		}
		j.Sync()
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func longBody(seq uint64) []byte { return bytes.Repeat([]byte{byte(seq), byte(seq >> 8)}, 500) }

func getLong(t *testing.T, j *journal.Journal, seq uint64) journal.Record {
	t.Helper()
	r, err := j.Get(seq)
	if err != nil || r.Seq != seq || !bytes.Equal(r.Body, longBody(seq)) {
		t.Fatalf("get %d: %d, %v", seq, r.Seq, err)
	}
	return r
}

// TestOpenReadsTheEndsOfSealedSegments counts the bytes. The last segment is read whole.
func TestOpenReadsTheEndsOfSealedSegments(t *testing.T) {
	t.Parallel()
	disk := long(t, 2000, 256<<10)
	segments := len(segmentNames(disk))
	p := &tap{FS: disk}
	j := open(t, journal.Options{Dir: dir, FS: p, SegmentBytes: 256 << 10})
	if limit := (segments+1)*(4096+72) + 256<<10 + 1<<10; p.bytes > limit || segments < 8 {
		t.Errorf("%d bytes were read of %d segments, want at most %d", p.bytes, segments, limit)
	}
	if p.open != 1 {
		t.Errorf("%d files are open", p.open)
	}
	p.take()
	getLong(t, j, 1000)
	if n := len(p.take()); n != 2 {
		t.Errorf("%d reads for one record, want the index and a block", n)
	}
}

// TestZerosAfterASealAreGivenBack leaves them as a crash may: that Open scans the segment, the next one need not.
func TestZerosAfterASealAreGivenBack(t *testing.T) {
	t.Parallel()
	disk := long(t, 2000, 256<<10)
	name := segmentNames(disk)[2]
	size := len(disk.Content(name))
	disk = copyDisk(disk, func(files map[string][]byte) { files[name] = append(files[name], make([]byte, 8<<10)...) })
	if report, err := journal.Verify(disk, dir, nil); err != nil || len(report.Damage) > 0 {
		t.Fatalf("verify: %+v, %v", report, err)
	}
	p := &tap{FS: disk}
	read := [2]int{}
	for i := range read {
		p.take()
		j := open(t, journal.Options{Dir: dir, FS: p, SegmentBytes: 256 << 10})
		read[i] = p.bytes
		if err := j.Read(1, func(journal.Record) error { return nil }); err != nil {
			t.Error(err)
		}
		mustClose(t, j)
	}
	if n := len(disk.Content(name)); n != size || read[0]-read[1] < size/2 {
		t.Errorf("%d bytes are left, want %d; %d were read, then %d", n, size, read[0], read[1])
	}
}

func TestGetReadsAheadWhereItGoesInOrder(t *testing.T) {
	t.Parallel()
	p := &tap{FS: long(t, 4000, 2<<20)}
	j := open(t, journal.Options{Dir: dir, FS: p, SegmentBytes: 2 << 20})
	p.take()
	for seq := uint64(1); seq <= 4000; seq++ {
		getLong(t, j, seq)
	}
	reads := p.take()
	total, largest := 0, 0
	for _, n := range reads {
		total, largest = total+n, max(largest, n)
	}
	if largest > 512<<10 || largest < 400<<10 || len(reads) > 25 || total > 5<<20 {
		t.Errorf("%d reads of %d bytes together, the largest of %d", len(reads), total, largest)
	}
	if blocks, _ := j.CacheUse(); blocks < 50 {
		t.Errorf("only %d blocks are kept", blocks)
	}
	for seq := uint64(1); seq <= 4000; seq += 7 {
		getLong(t, j, seq)
	}
	if again := p.take(); len(again) > 0 {
		t.Errorf("%d reads of what was read before", len(again))
	}
	mustClose(t, j)

	j = open(t, journal.Options{Dir: dir, FS: p, SegmentBytes: 2 << 20})
	p.take()
	for seq := uint64(3900); seq > 100; seq -= 130 { // away from the block before, and backwards
		getLong(t, j, seq)
	}
	for _, n := range p.take() {
		if n > 70<<10 {
			t.Errorf("%d bytes were read at once for a record here and there", n)
		}
	}
}

func TestGetKeepsNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{1, 100 << 10, 300 << 10} {
		j := open(t, journal.Options{Dir: dir, FS: long(t, 2000, 512<<10), SegmentBytes: 512 << 10, CacheBytes: limit})
		first := getLong(t, j, 1)
		for seq := uint64(1); seq <= 2000; seq++ {
			getLong(t, j, seq)
			if blocks, n := j.CacheUse(); n > limit || limit > 200<<10 && seq > 300 && blocks < 2 {
				t.Fatalf("%d blocks of %d bytes are kept, at most %d may be", blocks, n, limit)
			}
		}
		if !bytes.Equal(first.Body, longBody(1)) || cap(first.Body) != len(first.Body) {
			t.Error("a record that was given out has changed, or has room to")
		}
	}
}

// TestGetSharesOneRead lets many ask for the records of one block while it is being read.
func TestGetSharesOneRead(t *testing.T) {
	t.Parallel()
	disk := long(t, 100, 512<<10)
	synctest.Test(t, func(t *testing.T) {
		j := open(t, journal.Options{Dir: dir, FS: disk, SegmentBytes: 512 << 10})
		hold := make(chan struct{})
		var reads atomic.Int64
		disk.OnCall(func(c memfs.Call) error {
			if c.Op == "ReadAt" {
				reads.Add(1)
				<-hold
			}
			return nil
		})
		for seq := range uint64(50) {
			go func() {
				if _, err := j.Get(seq + 1); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		if n := reads.Load(); n != 1 {
			t.Errorf("%d reads at a time", n)
		}
		close(hold)
		synctest.Wait()
		if n := reads.Load(); n != 1 {
			t.Errorf("%d reads in all", n)
		}
		mustClose(t, j)
	})
	disk.OnCall(nil)
}

// TestGetFollowsTheActiveSegment gets each record as soon as it is durable, from a block that grows.
func TestGetFollowsTheActiveSegment(t *testing.T) {
	t.Parallel()
	w := newWatch()
	opt := w.options(memfs.New())
	opt.SegmentBytes = 200 << 10
	j := open(t, opt)
	for seq := uint64(1); seq < 2000; seq++ {
		if _, err := j.Get(seq); !errors.Is(err, journal.ErrNotFound) {
			t.Fatalf("get %d before it is there: %v", seq, err)
		}
		put(t, j, w, 1)
		if err := checkGet(j, max(seq, 3)-2, func(uint64) bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
	if err := checkGet(j, 1, func(uint64) bool { return true }); err != nil {
		t.Error(err)
	}
	if _, err := j.Get(0); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("get 0: %v", err)
	}
}

func TestGetOfTrimmedAndAfterClose(t *testing.T) {
	t.Parallel()
	w := newWatch()
	j := open(t, w.options(filled(t, 400)))
	if err := checkGet(j, 1, func(uint64) bool { return true }); err != nil {
		t.Fatal(err)
	}
	before, _ := j.CacheUse()
	j.Trim(300)
	put(t, j, w, 1)
	j.Quiesce()
	if blocks, _ := j.CacheUse(); j.First() < 100 || blocks > before/2 {
		t.Fatalf("the first is %d, %d of %d blocks are kept", j.First(), blocks, before)
	}
	if err := checkGet(j, 1, func(seq uint64) bool { return seq >= j.First() }); err != nil {
		t.Error(err)
	}
	mustClose(t, j)
	if _, err := j.Get(401); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("get after close: %v", err)
	}
}

// TestGetTriesAgainAfterAnError gets a record once while the disk fails, and when it works again.
func TestGetTriesAgainAfterAnError(t *testing.T) {
	t.Parallel()
	disk := filled(t, 300)
	j := open(t, newWatch().options(disk))
	for _, op := range []string{"Open", "ReadAt"} {
		disk.OnCall(func(c memfs.Call) error {
			if c.Op == op {
				return errDisk
			}
			return nil
		})
		if _, err := j.Get(1); !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "get seq 1") {
			t.Errorf("%s fails: %v", op, err)
		}
		if op == "ReadAt" { // of a block: the last segment is open, its index in memory
			if _, err := j.Get(300); !errors.Is(err, errDisk) {
				t.Errorf("%s fails: %v", op, err)
			}
		}
		disk.OnCall(nil)
	}
	if err := checkGet(j, 1, func(uint64) bool { return true }); err != nil {
		t.Error(err)
	}
}

// TestFewFilesAreOpen writes a journal of many segments and reads from it.
func TestFewFilesAreOpen(t *testing.T) {
	t.Parallel()
	disk := memfs.New()
	p := &tap{FS: disk}
	writeLong(t, p, 2000, 16<<10)
	j := open(t, journal.Options{Dir: dir, FS: p, SegmentBytes: 16 << 10, CacheBytes: 1})
	if n := len(segmentNames(disk)); n < 150 {
		t.Fatalf("%d segments", n)
	}
	for range 2 {
		for seq := uint64(1); seq <= 2000; seq++ {
			getLong(t, j, seq)
		}
		if err := j.Read(1, func(journal.Record) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if p.most > 64+4 || p.open < 32 {
		t.Errorf("%d files were open at a time, %d are", p.most, p.open)
	}
	mustClose(t, j)
	if p.open != 0 {
		t.Errorf("%d files are open after Close", p.open)
	}
}

// TestEveryBlockIsVerified damages a record in the middle of each segment while the journal is open: no other is lost.
func TestEveryBlockIsVerified(t *testing.T) {
	t.Parallel()
	disk := long(t, 1000, 300<<10)
	j := open(t, journal.Options{Dir: dir, FS: disk, SegmentBytes: 300 << 10})
	for _, name := range segmentNames(disk) {
		f, err := disk.Open(name, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{0xaa, 0x55}, 100<<10); err != nil {
			t.Fatal(err)
		}
	}
	lost := map[string]int{}
	for seq := uint64(1); seq <= 1000; seq++ {
		r, err := j.Get(seq)
		var damage *journal.CorruptError
		switch {
		case errors.As(err, &damage):
			lost[damage.File]++
		case err != nil || !bytes.Equal(r.Body, longBody(seq)):
			t.Errorf("get %d: %v", seq, err)
		}
	}
	for _, name := range segmentNames(disk) {
		if n := lost[filepath.Base(name)]; n != 1 {
			t.Errorf("%d records of %s are lost", n, name)
		}
	}
}

// TestSwappedRecordsAreNoBlock swaps two records, each of which is sound.
func TestSwappedRecordsAreNoBlock(t *testing.T) {
	t.Parallel()
	disk := long(t, 1000, 300<<10)
	name := segmentNames(disk)[1]
	image := disk.Content(name)
	first := plainRecords(image)[0].Seq
	a, b := image[4096:4096+1032], image[4096+1032:4096+2*1032]
	if a[0] != b[0] || a[2] != b[2] {
		t.Fatal("no two records lie there")
	}
	swapped := append(bytes.Clone(b), a...)
	copy(image[4096:], swapped)
	disk.Put(name, image)
	j := open(t, journal.Options{Dir: dir, FS: disk, SegmentBytes: 300 << 10})
	var damage *journal.CorruptError
	for seq := first; seq < first+50; seq++ {
		if _, err := j.Get(seq); !errors.As(err, &damage) || damage.Offset != 4096 {
			t.Errorf("get %d: %v", seq, err)
		}
	}
	getLong(t, j, first+100)
	if err := j.Read(1, func(journal.Record) error { return nil }); !errors.As(err, &damage) {
		t.Errorf("read: %v", err)
	}
}

// TestAnIndexThatPointsElsewhereIsFound makes an entry name the record after the one that it points to.
func TestAnIndexThatPointsElsewhereIsFound(t *testing.T) {
	t.Parallel()
	disk := long(t, 1000, 300<<10)
	name := segmentNames(disk)[1]
	image := disk.Content(name)
	index := int(binary.LittleEndian.Uint64(image[len(image)-72+48:]))
	entry := image[index+48:]
	seq := binary.LittleEndian.Uint64(entry)
	binary.LittleEndian.PutUint64(entry, seq+1)
	resealRecord(image, index)
	disk.Put(name, image)
	if report, err := journal.Verify(disk, dir, nil); err != nil || len(report.Damage) == 0 {
		t.Errorf("verify: %+v, %v", report, err)
	}
	j := open(t, journal.Options{Dir: dir, FS: disk, SegmentBytes: 300 << 10})
	var damage *journal.CorruptError
	for _, seq := range []uint64{seq, seq + 1} {
		if _, err := j.Get(seq); !errors.As(err, &damage) {
			t.Errorf("get %d: %v", seq, err)
		}
	}
	if err := j.Read(seq+1, func(journal.Record) error { return nil }); !errors.As(err, &damage) {
		t.Errorf("read from %d: %v", seq+1, err)
	}
}

// TestIndexGrowsOverRestarts fills segments that have several entries in their index in many short lives.
func TestIndexGrowsOverRestarts(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	opt := w.options(disk)
	opt.SegmentBytes = 320 << 10
	for len(segmentNames(disk)) < 3 {
		j := open(t, opt)
		for range 3 {
			put(t, j, w, 40)
		}
		mustClose(t, j)
	}
	if report, err := journal.Verify(disk, dir, nil); err != nil || len(report.Damage) > 0 {
		t.Errorf("verify: %+v, %v", report, err)
	}
	if err := checkGet(open(t, opt), 1, func(uint64) bool { return true }); err != nil {
		t.Error(err)
	}
}

// TestSegmentsHaveRoomForTheirIndex writes batches that each take a segment of their own, of every size.
func TestSegmentsHaveRoomForTheirIndex(t *testing.T) {
	t.Parallel()
	disk, w := memfs.New(), newWatch()
	opt := w.options(disk)
	opt.SegmentBytes = 4096
	j := open(t, opt)
	for size := 8000; size < 8000+4096; size += 8 {
		seq := j.Last() + 1
		if err := j.Append([]journal.Record{{Seq: seq, Type: 1, Body: make([]byte, size)}}); err != nil {
			t.Fatal(err)
		}
		j.Sync()
		w.await(seq)
	}
	mustClose(t, j)
	if report, err := journal.Verify(disk, dir, nil); err != nil || len(report.Damage) > 0 || report.Segments < 512 {
		t.Errorf("verify: %+v, %v", report, err)
	}
}
