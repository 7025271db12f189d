package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"baton/journal"
)

// BenchmarkAppend compares the journal with the least that any log must do: a loop of write and fdatasync on a file that
// is allocated and full of zeros. Each waiter appends a batch of records, waits until they are durable, and repeats.
//
//	bytes    of a record's payload
//	batch    bytes of payload that one Append has
//	waiters  goroutines that do so; what they append during one sync goes with the next
//
// An op is a record: ns/op and allocs/op are of one record, MB/s of payload. KiB/sync is how much payload one sync
// made durable on average. The bare loop writes as many bytes with each of its syncs, and as many in all; it takes turns
// with the journal many times a second, so that what else goes on in the machine meets both. of-bare is the journal's
// bytes a second over those of the loop: 1 is a journal that costs nothing. Headers, marks, checksums and hand-overs are
// on the journal's side; both write to a file that was allocated and filled with zeros before. The goal is 0.85 from 64 KiB
// a sync up, on a machine that has nothing else to do.
func BenchmarkAppend(b *testing.B) {
	benchAppends(b, newWaiters)
}

// BenchmarkAppendRolling is BenchmarkAppend with segments of the usual size, which are trimmed soon: what is written ahead
// of need, rolling over and what becomes of trimmed segments are on the journal's side too, and the loop has nothing of the
// kind. Where trimmed files are not recycled, a log that keeps the disk busy writes everything twice, first as zeros.
func BenchmarkAppendRolling(b *testing.B) {
	benchAppends(b, newRollingWaiters)
}

func benchAppends(b *testing.B, open func(b *testing.B, bytes, batch, n int) *waiters) {
	for _, c := range []struct{ bytes, batch, waiters int }{
		{100, 100, 1}, {100, 100, 64},
		{1 << 10, 1 << 10, 1}, {1 << 10, 1 << 10, 64},
		{1 << 10, 64 << 10, 1}, {1 << 10, 64 << 10, 2}, {1 << 10, 64 << 10, 8},
		{1 << 10, 256 << 10, 1}, {1 << 10, 256 << 10, 4},
		{1 << 10, 1 << 20, 1}, {1 << 10, 1 << 20, 4},
		{16 << 10, 64 << 10, 1}, {16 << 10, 64 << 10, 8},
		{16 << 10, 1 << 20, 1}, {16 << 10, 1 << 20, 4},
	} {
		b.Run(fmt.Sprintf("bytes=%d/batch=%d/waiters=%d", c.bytes, c.batch, c.waiters), func(b *testing.B) {
			benchAppend(b, open(b, c.bytes, c.batch/c.bytes, c.waiters))
		})
	}
}

// benchTurn is how many batches each waiter appends at least before it is the bare loop's turn.
const benchTurn = 32

func benchAppend(b *testing.B, w *waiters) {
	bytes, round := len(w.batches[0][0].Body), len(w.batches[0])*len(w.batches)
	bare := newBareLoop(b)
	b.ReportAllocs()
	b.ResetTimer()
	var n, syncs int
	var took, bareTook time.Duration
	for n < b.N {
		least := min(benchTurn, 1+(b.N-n-1)/round)
		w.makeRoom(2 * least * round * bytes)
		b.StartTimer()
		rounds, turnSyncs, turnTook := w.turn(least)
		b.StopTimer()
		n, syncs, took = n+rounds*round, syncs+turnSyncs, took+turnTook
		bareTook += bare.write(rounds*round*bytes, turnSyncs)
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(n), "ns/op") // of all that were appended, which may be more than asked for
	b.ReportMetric(float64(n)*float64(bytes)/1e6/took.Seconds(), "MB/s")
	b.ReportMetric(bareTook.Seconds()/took.Seconds(), "of-bare")
	b.ReportMetric(float64(n)*float64(bytes)/1024/float64(syncs), "KiB/sync")
}

// waiters append to a journal and wait until it is durable.
type waiters struct {
	b       *testing.B
	dir     string
	journal *journal.Journal
	batches [][]journal.Record // one each
	segment int64              // bytes; 0: the usual, which are rolled over
	room    int                // bytes that are left in the segment that is not rolled over

	appending sync.Mutex // Seqs are in the order of the calls

	mu      sync.Mutex
	changed *sync.Cond
	durable uint64
	syncs   int
}

// newWaiters appends to a segment that is never full.
func newWaiters(b *testing.B, bytes, batch, n int) *waiters {
	w := newRollingWaiters(b, bytes, batch, n)
	w.segment = 256 << 20
	return w
}

func newRollingWaiters(b *testing.B, bytes, batch, n int) *waiters {
	w := &waiters{b: b}
	w.changed = sync.NewCond(&w.mu)
	for range n {
		recs := benchBatch(bytes, batch)
		for i := range recs {
			recs[i].Body = noise(bytes)
		}
		w.batches = append(w.batches, recs)
	}
	w.open()
	b.Cleanup(w.close)
	return w
}

func (w *waiters) open() {
	dir := w.b.TempDir()
	if w.segment > 0 { // nothing is made ahead of need where there is a spare already
		spare, err := journal.OS{}.Create(filepath.Join(dir, "spare"))
		if err == nil {
			err = errors.Join(spare.Truncate(w.segment), spare.Close())
		}
		if err != nil {
			w.b.Fatal(err)
		}
	}
	j, err := journal.Open(journal.Options{Dir: dir, OnDurable: w.onDurable, SegmentBytes: w.segment})
	if err != nil {
		w.b.Fatal(err)
	}
	w.dir, w.journal, w.durable = dir, j, 0
	w.room = int(w.segment) * 3 / 4 // the rest is more than headers, marks and the index take
}

func (w *waiters) close() {
	_ = w.journal.Close()
	_ = os.RemoveAll(w.dir)
}

// makeRoom sees that so many bytes fit into the segment, if it is not to be rolled over: it takes another journal.
func (w *waiters) makeRoom(bytes int) {
	if w.segment > 0 && w.room < bytes {
		w.close()
		w.open()
	}
	w.room -= bytes
}

func (w *waiters) onDurable(seq uint64) {
	w.mu.Lock()
	w.durable = seq
	w.syncs++
	w.mu.Unlock()
	w.changed.Broadcast()
}

// turn lets each waiter append so many batches, and more as long as the journal does something in the background, which
// must not slow the bare loop down instead.
func (w *waiters) turn(least int) (rounds, syncs int, took time.Duration) {
	begun := time.Now()
	w.journal.Trim(w.journal.Durable())
	for rounds == 0 || w.journal.KeepsHouse() {
		syncs += w.append(least)
		rounds += least
	}
	return rounds, syncs, time.Since(begun)
}

// append lets each waiter append so many batches, and returns how many syncs that took.
func (w *waiters) append(rounds int) (syncs int) {
	before := w.syncs
	var all sync.WaitGroup
	for _, recs := range w.batches {
		all.Go(func() {
			for range rounds {
				w.await(w.appendNext(recs))
			}
		})
	}
	all.Wait()
	return w.syncs - before
}

func (w *waiters) appendNext(recs []journal.Record) (last uint64) {
	w.appending.Lock()
	defer w.appending.Unlock()
	appendNext(w.b, w.journal, recs)
	w.journal.Sync()
	return recs[len(recs)-1].Seq
}

func (w *waiters) await(seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.durable < seq {
		w.changed.Wait()
	}
}

// bareLoop writes and syncs, and does nothing else.
type bareLoop struct {
	b    *testing.B
	file journal.File
	at   int64
	buf  []byte
}

const bareBytes = 64 << 20

func newBareLoop(b *testing.B) *bareLoop {
	file, err := journal.OS{}.Create(filepath.Join(b.TempDir(), "bare"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = file.Close() })
	if err := file.Allocate(bareBytes); err != nil {
		b.Fatal(err)
	}
	if _, err := file.WriteAt(make([]byte, bareBytes), 0); err != nil {
		b.Fatal(err)
	}
	if err := file.Sync(); err != nil {
		b.Fatal(err)
	}
	return &bareLoop{b: b, file: file, buf: noise(bareBytes / 4)}
}

// noise returns n octets that are not zeros, so that a write reads as much memory as one of real data.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// write writes size bytes with so many syncs.
func (l *bareLoop) write(size, syncs int) time.Duration {
	begun := time.Now()
	for i := range syncs {
		n := int64(size*(i+1)/syncs - size*i/syncs)
		if l.at+n > bareBytes {
			l.at = 0
		}
		if _, err := l.file.WriteAt(l.buf[:n], l.at); err != nil {
			l.b.Fatal(err)
		}
		if err := l.file.Datasync(); err != nil {
			l.b.Fatal(err)
		}
		l.at += n
	}
	return time.Since(begun)
}
