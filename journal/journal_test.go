package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"baton/journal"
	"baton/journal/memfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dir = "/journal"

// payload is the content of record seq in every test: it follows from seq alone.
func payload(seq uint64) []byte {
	made := &payloads[seq%uint64(len(payloads))]
	if p := made.Load(); p != nil && p.seq == seq {
		return p.content
	}
	h := fnv.New64a()
	fmt.Fprint(h, seq)
	r := rand.New(rand.NewPCG(seq, h.Sum64()))
	b := make([]byte, r.IntN(300))
	if seq%50 == 49 {
		b = make([]byte, 6000) // more than a block, and its Body is not copied
	}
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	made.Store(&madePayload{seq, b})
	return b
}

// madePayload is what payload made last of those that share its place.
type madePayload struct {
	seq     uint64
	content []byte
}

var payloads [1 << 15]atomic.Pointer[madePayload]

func record(seq uint64) journal.Record {
	p := payload(seq)
	return journal.Record{Seq: seq, Epoch: uint32(1 + seq/100), Type: uint8(1 + seq%127), Head: p[:len(p)/4], Body: p[len(p)/4:]}
}

// records makes n records from Seq first on.
func records(first uint64, n int) []journal.Record {
	recs := make([]journal.Record, n)
	for i := range recs {
		recs[i] = record(first + uint64(i))
	}
	return recs
}

// watch keeps what a journal reports.
type watch struct {
	mu      sync.Mutex
	cond    *sync.Cond
	durable uint64
	fatal   []error
}

func newWatch() *watch {
	w := &watch{}
	w.cond = sync.NewCond(&w.mu)
	return w
}

// options are those of a journal in which the files of trimmed segments do not wait to be recycled.
func (w *watch) options(fsys journal.FS) journal.Options {
	return journal.KeepTrimmed(journal.Options{
		Dir: dir, FS: fsys, SegmentBytes: 16 << 10, LazySync: time.Hour,
		OnDurable: func(seq uint64) { w.set(func() { w.durable = seq }) },
		OnFatal:   func(err error) { w.set(func() { w.fatal = append(w.fatal, err) }) },
	}, -1)
}

func (w *watch) set(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
	w.cond.Broadcast()
}

// await waits until seq is durable or the journal has failed; it returns the last durable Seq.
func (w *watch) await(seq uint64) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.durable < seq && len(w.fatal) == 0 {
		w.cond.Wait()
	}
	return w.durable
}

func (w *watch) reported() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.durable
}

func (w *watch) failures() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.fatal)
}

// awaitFailure waits until the journal has failed.
func (w *watch) awaitFailure() { w.until(func() bool { return len(w.fatal) > 0 }) }

// until waits for what a call of set makes true.
func (w *watch) until(ready func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !ready() {
		w.cond.Wait()
	}
}

func open(t *testing.T, opt journal.Options) *journal.Journal {
	t.Helper()
	j, err := journal.Open(opt)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// put appends n records and waits until they are durable.
func put(t *testing.T, j *journal.Journal, w *watch, n int) {
	t.Helper()
	if err := j.Append(records(j.Last()+1, n)); err != nil {
		t.Fatalf("append: %v", err)
	}
	j.Sync()
	if got := w.await(j.Last()); got < j.Last() {
		t.Fatalf("durable is %d, want %d", got, j.Last())
	}
}

// check reads the journal from first on and compares every record; it returns an error where one is altered, missing or
// too many.
func check(j *journal.Journal, first uint64) error {
	next := first
	err := j.Read(first, func(r journal.Record) error {
		if r.Seq != next {
			return fmt.Errorf("read %d, want %d", r.Seq, next)
		}
		next++
		return same(r)
	})
	if err == nil && next != j.Durable()+1 {
		err = fmt.Errorf("read up to %d, durable is %d", next-1, j.Durable())
	}
	return err
}

// same returns an error when r is not as it was appended.
func same(r journal.Record) error {
	want := record(r.Seq)
	if r.Epoch != want.Epoch || r.Type != want.Type || !bytes.Equal(r.Body, payload(r.Seq)) || r.Head != nil {
		return fmt.Errorf("record %d is altered: %d %d %x", r.Seq, r.Epoch, r.Type, r.Body)
	}
	return nil
}

func mustClose(t *testing.T, j *journal.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// filled returns a disk with a closed journal of n records, in batches of 1 to 5.
func filled(t *testing.T, n int) *memfs.FS {
	t.Helper()
	disk, w := memfs.New(), newWatch()
	j := open(t, w.options(disk))
	for i := 1; int(j.Last()) < n; i++ {
		put(t, j, w, min(1+i%5, n-int(j.Last())))
	}
	mustClose(t, j)
	return disk
}

func TestReopenGivesEveryRecord(t *testing.T) {
	t.Parallel()
	for _, fsys := range []journal.FS{memfs.New(), journal.OS{}} {
		t.Run(fmt.Sprintf("%T", fsys), func(t *testing.T) {
			t.Parallel()
			w := newWatch()
			opt := w.options(fsys)
			opt.Dir = t.TempDir() + "/a/b"
			last, id := uint64(0), [16]byte{}
			for round, n := range []int{0, 1, 0, 7, 300, 0, 1} {
				j := open(t, opt)
				if j.Last() != last || j.Durable() != last || j.First() != 1 {
					t.Fatalf("round %d: first %d, last %d, durable %d, want 1, %d, %d", round, j.First(), j.Last(), j.Durable(), last, last)
				}
				if round > 0 && (j.ID() != id || j.LastEpoch() != record(last).Epoch && last > 0) {
					t.Fatalf("round %d: id %x, epoch %d", round, j.ID(), j.LastEpoch())
				}
				if err := check(j, 1); err != nil {
					t.Fatal(err)
				}
				id = j.ID()
				for range n {
					put(t, j, w, 1)
				}
				last = j.Last()
				if err := check(j, 1); err != nil {
					t.Fatal(err)
				}
				mustClose(t, j)
			}
			report, err := journal.Verify(fsys, opt.Dir, nil)
			if err != nil || len(report.Damage) > 0 || report.Records != last || report.TornBytes != 0 || report.Segments < 3 {
				t.Fatalf("verify: %+v, %v", report, err)
			}
		})
	}
}

func TestLockedDirectoryNamesTheHolder(t *testing.T) {
	t.Parallel()
	for _, fsys := range []journal.FS{memfs.New(), journal.OS{}} {
		opt := newWatch().options(fsys)
		opt.Dir = t.TempDir()
		j := open(t, opt)
		_, err := journal.Open(opt)
		if !errors.Is(err, journal.ErrLocked) || !bytes.Contains([]byte(err.Error()), []byte(opt.Dir)) {
			t.Fatalf("second open: %v", err)
		}
		if report, err := journal.Verify(fsys, opt.Dir, nil); err != nil || !errors.Is(report.Locked, journal.ErrLocked) {
			t.Fatalf("verify: %+v, %v", report, err)
		}
		mustClose(t, j)
		if report, err := journal.Verify(fsys, opt.Dir, nil); err != nil || report.Locked != nil {
			t.Fatalf("verify after close: %+v, %v", report, err)
		}
	}
}

// TestLockSurvivesTheRemovalOfItsFile: to somebody LOCK looks stale.
func TestLockSurvivesTheRemovalOfItsFile(t *testing.T) {
	t.Parallel()
	opt := newWatch().options(journal.OS{})
	opt.Dir = t.TempDir()
	first := open(t, opt)
	if err := os.Remove(filepath.Join(opt.Dir, "LOCK")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first attempt makes the file again
		if report, err := journal.Verify(opt.FS, opt.Dir, nil); err != nil || !errors.Is(report.Locked, journal.ErrLocked) {
			t.Errorf("verify: %+v, %v", report, err)
		}
		if j, err := journal.Open(opt); !errors.Is(err, journal.ErrLocked) || !strings.Contains(err.Error(), opt.Dir) {
			t.Fatalf("second open: %v, %v", j, err)
		}
	}
	mustClose(t, first)
	mustClose(t, open(t, opt))
}
