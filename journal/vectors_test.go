package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"weak"

	"baton/journal"
	"baton/journal/memfs"
)

// sized makes a record for each size, with a Body so large and a Head of some bytes.
func sized(first uint64, sizes ...int) []journal.Record {
	recs := make([]journal.Record, len(sizes))
	for i, n := range sizes {
		seq := first + uint64(i)
		recs[i] = journal.Record{Seq: seq, Type: 1, Head: full(byte(seq), i%11), Body: full(byte(seq+100), n)}
	}
	return recs
}

func full(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }

// wantRecords reads j, which must have these and no others.
func wantRecords(t *testing.T, j *journal.Journal, want []journal.Record) {
	t.Helper()
	n := 0
	err := j.Read(0, func(r journal.Record) error {
		if w := want[n]; r.Seq != w.Seq || !bytes.Equal(r.Body, slices.Concat(w.Head, w.Body)) {
			return fmt.Errorf("record %d is altered", r.Seq)
		}
		n++
		return nil
	})
	if err != nil || n != len(want) {
		t.Errorf("read %d records of %d: %v", n, len(want), err)
	}
}

// stingy is a file system that writes a few bytes of vectors at a time and says so without an error, as a system may.
type stingy struct {
	journal.FS
	most int
}

type stingyFile struct {
	journal.File
	most int
}

func (s stingy) Create(name string) (journal.File, error) {
	f, err := s.FS.Create(name)
	return stingyFile{f, s.most}, err
}

func (f stingyFile) WriteVectors(vectors [][]byte, offset int64) (int, error) {
	all := slices.Concat(vectors...)
	return f.WriteAt(all[:min(f.most, len(all))], offset)
}

// TestVectorsThatStopShortAreCompleted stops in the middle of vectors and at their ends.
func TestVectorsThatStopShortAreCompleted(t *testing.T) {
	t.Parallel()
	for _, most := range []int{61, 1024, 4096, 4135, 10000} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			t.Parallel()
			w := newWatch()
			opt := w.options(stingy{memfs.New(), most})
			opt.SegmentBytes = 256 << 10
			j := open(t, opt)
			recs := sized(1, 4096, 4096, 10, 4097, 0, 4095, 9000)
			if err := j.Append(slices.Clone(recs)); err != nil {
				t.Fatal(err)
			}
			j.Sync()
			w.await(j.Last())
			wantRecords(t, j, recs)
		})
	}
}

// TestManyVectorsInABatch has more of them than a system takes in one call.
func TestManyVectorsInABatch(t *testing.T) {
	t.Parallel()
	w := newWatch()
	opt := w.options(journal.OS{})
	opt.Dir = t.TempDir()
	j := open(t, opt)
	recs := sized(1, slices.Repeat([]int{4096, 4099, 17, 5000}, 700)...)
	if err := j.Append(slices.Clone(recs)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	j = open(t, opt)
	wantRecords(t, j, recs)
}

func TestVectorsThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := journal.OS{}.Open(name, false)
	if err != nil {
		t.Fatal(err)
	}
	n, err := f.WriteVectors([][]byte{full(1, 10), full(2, 10)}, 0)
	if n != 0 || !errors.Is(err, syscall.EBADF) || !strings.Contains(err.Error(), name) {
		t.Errorf("wrote %d bytes to a file that is open for reading: %v", n, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestLargeBodiesAreNotCopied holds that they are lent, and let go when they are durable.
func TestLargeBodiesAreNotCopied(t *testing.T) {
	t.Parallel()
	w := newWatch()
	opt := w.options(memfs.New())
	opt.SegmentBytes = 1 << 20
	j := open(t, opt)
	body := appendLent(t, j)
	w.await(1)
	if n := j.BufferCap(); n > 4<<10 {
		t.Errorf("%d bytes of buffer for a body that was lent", n)
	}
	runtime.GC()
	if body.Value() != nil {
		t.Error("the journal holds on to a body that is durable")
	}
	runtime.KeepAlive(j)
}

//go:noinline
func appendLent(t *testing.T, j *journal.Journal) weak.Pointer[byte] {
	body := make([]byte, 100<<10)
	if err := j.Append([]journal.Record{{Seq: 1, Type: 1, Body: body}}); err != nil {
		t.Fatal(err)
	}
	j.Sync()
	return weak.Make(&body[0])
}
