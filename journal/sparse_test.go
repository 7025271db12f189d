package journal_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

// thinned is a disk with a closed journal of which some segments are sparse and some merged. kept tells which records it
// still holds.
func thinned(t *testing.T, seed uint64) (disk *memfs.FS, kept func(seq uint64) bool) {
	t.Helper()
	disk, r := filled(t, 400), rand.New(rand.NewPCG(seed, 0))
	j := open(t, newWatch().options(disk))
	gone := map[uint64]bool{}
	for range 3 {
		sealed := len(segmentNames(disk)) - 1
		first := r.IntN(sealed)
		one, percent := rand.New(rand.NewPCG(seed, uint64(first))), []int{0, 10, 60, 95}[r.IntN(4)]
		err := j.Thin(first, 1+r.IntN(min(3, sealed-first)), func(seq uint64) bool {
			gone[seq] = one.IntN(100) >= percent
			return !gone[seq]
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, j)
	return disk, func(seq uint64) bool { return !gone[seq] }
}

// holds checks that j gives the kept records up to last, and no others, in every way of reading.
func holds(j *journal.Journal, last uint64, kept func(seq uint64) bool) error {
	var want []uint64
	for seq := uint64(1); seq <= last; seq++ {
		if kept(seq) {
			want = append(want, seq)
		}
	}
	for _, from := range []uint64{1, 2, last / 3, last / 2, last - 1, last} {
		var got []uint64
		err := j.Read(from, func(r journal.Record) error {
			got = append(got, r.Seq)
			return same(r)
		})
		if err != nil {
			return err
		}
		if n, _ := slices.BinarySearch(want, from); !slices.Equal(got, want[n:]) {
			return fmt.Errorf("read from %d gives %v, want %v", from, got, want[n:])
		}
	}
	return checkGet(j, 1, kept)
}

func TestSparseSegmentsGiveWhatTheyHold(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		disk, kept := thinned(t, seed)
		report, err := journal.Verify(disk, dir, nil)
		if err != nil || len(report.Damage) > 0 || report.Last != 400 || report.Sparse == 0 || report.Records == 400 {
			t.Fatalf("seed %d: verify: %+v, %v", seed, report, err)
		}
		j := open(t, newWatch().options(disk))
		if err := holds(j, 400, kept); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if found := j.Recovery(); found.Segments != report.Segments || found.Sparse != report.Sparse || found.Last != 400 {
			t.Errorf("seed %d: open found %+v, verify %+v", seed, found, report)
		}
		mustClose(t, j)
	}
}

// TestJournalGoesOnWhileSegmentsAreReplaced reads and gets all the time. No reader may see one file by the name of another.
func TestJournalGoesOnWhileSegmentsAreReplaced(t *testing.T) {
	t.Parallel()
	disk, w := filled(t, 400), newWatch()
	opt := w.options(disk)
	opt.CacheBytes = 20 << 10
	j := open(t, opt)
	even := func(seq uint64) bool { return seq%2 == 0 }
	failed, stop := make(chan error, 2), make(chan struct{})
	repeat := func(look func() error) {
		for {
			select {
			case <-stop:
				failed <- nil
				return
			default:
				if err := look(); err != nil {
					failed <- err
					return
				}
			}
		}
	}
	go repeat(func() error {
		evens := uint64(0)
		err := j.Read(1, func(r journal.Record) error {
			if even(r.Seq) {
				evens++
			}
			return same(r)
		})
		if err == nil && evens < 200 {
			err = fmt.Errorf("only %d of the records that are kept", evens)
		}
		return err
	})
	go repeat(func() error { return checkGetSome(j, even) })
	for n := range len(segmentNames(disk)) - 1 {
		if err := j.Thin(n, 1, even); err != nil {
			t.Error(err)
		}
		put(t, j, w, 3)
	}
	for len(segmentNames(disk)) > 3 {
		if err := j.Thin(0, 2, func(seq uint64) bool { return even(seq) || seq > 400 }); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := errors.Join(<-failed, <-failed); err != nil {
		t.Error(err)
	}
}

// TestReadEndsWhereItWasToEnd cleans the segment that was active when Read began.
func TestReadEndsWhereItWasToEnd(t *testing.T) {
	t.Parallel()
	disk, w := filled(t, 203), newWatch()
	j := open(t, w.options(disk))
	active := len(segmentNames(disk)) - 1
	last := uint64(0)
	err := j.Read(1, func(r journal.Record) error {
		for r.Seq == 1 && len(segmentNames(disk)) == active+1 {
			put(t, j, w, 4)
		}
		if last = r.Seq; r.Seq > 1 {
			return nil
		}
		return j.Thin(active, 1, func(seq uint64) bool { return seq%2 == 0 })
	})
	if err != nil || last != 202 {
		t.Errorf("the last record read is %d: %v", last, err)
	}
}

// TestMergedSegmentsMayReappear leaves any of the segments behind that were merged into another, as a crash may.
func TestMergedSegmentsMayReappear(t *testing.T) {
	t.Parallel()
	before := filled(t, 400)
	disk := copyDisk(before, func(map[string][]byte) {})
	j := open(t, newWatch().options(disk))
	thin := map[uint64]bool{}
	if err := checkGet(j, 1, func(uint64) bool { return true }); err != nil {
		t.Fatal(err)
	}
	blocks, _ := j.CacheUse()
	if err := j.Thin(1, 4, func(seq uint64) bool { thin[seq] = true; return seq%7 == 0 }); err != nil {
		t.Fatal(err)
	}
	if left, _ := j.CacheUse(); left != blocks-4 {
		t.Errorf("%d of %d blocks are kept after 4 segments have gone", left, blocks)
	}
	mustClose(t, j)
	left, back := segmentNames(disk), segmentNames(before)[2:5]
	for some := range 1 << len(back) {
		again := copyDisk(disk, func(files map[string][]byte) {
			files[filepath.Join(dir, "clean.tmp")] = []byte("half of a segment")
			for i, name := range back {
				if some>>i&1 == 1 {
					files[name] = before.Content(name)
				}
			}
		})
		if report, err := journal.Verify(again, dir, nil); err != nil || len(report.Damage) > 0 || report.Segments != len(left) {
			t.Errorf("verify: %+v, %v", report, err)
		}
		j := open(t, newWatch().options(again))
		if names := segmentNames(again); !slices.Equal(names, left) || again.Content(dir+"/clean.tmp") != nil {
			t.Errorf("%b are back: %v are left of %v", some, again.Names(), left)
		}
		if err := holds(j, 400, func(seq uint64) bool { return !thin[seq] || seq%7 == 0 }); err != nil {
			t.Errorf("%b are back: %v", some, err)
		}
		mustClose(t, j)
	}
}

// TestEveryFlippedBitOfASparseSegmentIsFound knows no torn tail: a sparse segment was whole before it got its name.
func TestEveryFlippedBitOfASparseSegmentIsFound(t *testing.T) {
	t.Parallel()
	disk := goldenJournal(t)
	name := segmentNames(disk)[0]
	content := disk.Content(name)
	for bit := 0; bit < 8*len(content); bit += stride {
		content[bit/8] ^= 1 << (bit % 8)
		disk.Put(name, content)
		content[bit/8] ^= 1 << (bit % 8)
		report, err := journal.Verify(disk, dir, nil)
		if !errors.Is(err, journal.ErrNewer) && (err != nil || len(report.Damage) == 0) {
			t.Fatalf("bit %d of byte %d: %+v, %v", bit%8, bit/8, report, err)
		}
	}
	for size := 0; size < len(content); size += stride {
		disk.Put(name, content[:size])
		report, err := journal.Verify(disk, dir, nil)
		if err != nil || len(report.Damage) == 0 {
			t.Fatalf("cut to %d of %d bytes: %+v, %v", size, len(content), report, err)
		}
		var damage *journal.CorruptError
		if _, err := journal.Open(newWatch().options(disk)); !errors.As(err, &damage) {
			t.Fatalf("cut to %d of %d bytes: open: %v", size, len(content), err)
		}
	}
}

// TestOnlyTheIndexKnows removes a record from a sparse segment, or makes it another one, with checksums that fit.
func TestOnlyTheIndexKnows(t *testing.T) {
	t.Parallel()
	for title, change := range map[string]func(content []byte) []byte{
		"nothing is changed": func(content []byte) []byte { return content },
		"a record is another one": func(content []byte) []byte {
			content[4098]++
			resealRecord(content, 4096)
			return content
		},
		"the number of records is another": func(content []byte) []byte {
			index := len(content) - 72 - 48
			content[index+32]++
			resealRecord(content, index)
			return content
		},
		"a record is gone": func(content []byte) []byte {
			first := 32 + int(binary.LittleEndian.Uint32(content[4100:])+7)&^7
			shorter := append(slices.Clone(content[:4096]), content[4096+first:]...)
			binary.LittleEndian.PutUint64(shorter[48:], uint64(len(shorter)))
			seal := len(shorter) - 72
			binary.LittleEndian.PutUint64(shorter[seal+48:], binary.LittleEndian.Uint64(shorter[seal+48:])-uint64(first))
			for at := 4096; at < len(shorter); at += 32 + (int(binary.LittleEndian.Uint32(shorter[at+4:]))+7)&^7 {
				resealRecord(shorter, at)
			}
			binary.LittleEndian.PutUint32(shorter[4092:], crc32.Checksum(shorter[:4092], castagnoli))
			return shorter
		},
	} {
		disk := goldenJournal(t)
		name := segmentNames(disk)[0]
		disk.Put(name, change(disk.Content(name)))
		report, err := journal.Verify(disk, dir, nil)
		named := len(report.Damage) > 0 && strings.Contains(report.Damage[0].Reason, "index")
		if err != nil || named != (title != "nothing is changed") {
			t.Errorf("%s: %+v, %v", title, report, err)
		}
	}
}

// TestSwappedSectorsOfASparseSegmentHideNothing swaps sectors that both begin with a record: Seqs that are missing between two
// records were cleaned away, or so it seems.
func TestSwappedSectorsOfASparseSegmentHideNothing(t *testing.T) {
	t.Parallel()
	whole := goldenJournal(t)
	name := segmentNames(whole)[0]
	content := whole.Content(name)
	var starts []int
	for at := 4096; content[at+2] < 128; at += 32 + (int(binary.LittleEndian.Uint32(content[at+4:]))+7)&^7 {
		starts = append(starts, at)
	}
	for i := range len(starts) - 2 {
		a, b, c := starts[i], starts[i+1], starts[i+2]
		disk := copyDisk(whole, func(files map[string][]byte) {
			files[name] = slices.Concat(content[:a], content[b:c], content[a:b], content[c:])
		})
		j := open(t, newWatch().options(disk))
		var read []uint64
		err := j.Read(0, func(r journal.Record) error { read = append(read, r.Seq); return nil })
		var damage *journal.CorruptError
		if !errors.As(err, &damage) || len(read) != i || damage.Offset != int64(a) {
			t.Errorf("the records at %d and %d: read %v, %v", a, b, read, err)
		}
		seq := binary.LittleEndian.Uint64(content[a+8:])
		if _, err := j.Get(seq); !errors.As(err, &damage) {
			t.Errorf("the records at %d and %d: get %d: %v", a, b, seq, err)
		}
		mustClose(t, j)
	}
}

func TestMissingNeighboursOfSparseSegmentsAreFound(t *testing.T) {
	t.Parallel()
	disk := goldenJournal(t)
	for _, name := range segmentNames(disk) {
		lost := copyDisk(disk, func(files map[string][]byte) { delete(files, name) })
		var damage *journal.CorruptError
		if _, err := journal.Open(newWatch().options(lost)); !errors.As(err, &damage) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

func TestSparseSegmentsHaveTheSizeTheySay(t *testing.T) {
	t.Parallel()
	whole := goldenJournal(t)
	name := segmentNames(whole)[0]
	for title, change := range map[string]func(content []byte) []byte{
		"longer":             func(content []byte) []byte { return append(content, make([]byte, 8)...) },
		"a seal longer":      func(content []byte) []byte { return append(content, content[len(content)-72:]...) },
		"says that it is":    func(content []byte) []byte { content[48] += 8; return content },
		"says that it isn't": func(content []byte) []byte { content[48] -= 8; return content },
	} {
		disk := copyDisk(whole, func(files map[string][]byte) {
			content := change(files[name])
			binary.LittleEndian.PutUint32(content[4092:], crc32.Checksum(content[:4092], castagnoli))
			files[name] = content
		})
		if report, err := journal.Verify(disk, dir, nil); err != nil || len(report.Damage) == 0 {
			t.Errorf("%s: verify: %+v, %v", title, report, err)
		}
		var damage *journal.CorruptError
		if _, err := journal.Open(newWatch().options(disk)); !errors.As(err, &damage) {
			t.Errorf("%s: open: %v", title, err)
		}
	}
}
