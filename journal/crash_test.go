package journal_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"baton/journal"
	"baton/journal/memfs"
)

var (
	firstSeed  = flag.Uint64("seed", 1, "the first seed of the scripts that TestCrashAnywhere and the campaigns play")
	wantStates = flag.Int64("states", crashStates, "crash states that TestCrashAnywhere recovers from")
)

// story is a scripted run of a journal that knows at any time what a crash may leave.
type story struct {
	*watch
	random  *rand.Rand
	source  *rand.PCG                            // of random
	resting func(operations int, disk *memfs.FS) // called, if not nil, when the journal is closed for a restart
	logger  *zap.Logger
	keep    time.Duration // of trimmed segments
	batches int64         // from how many octets on a batch takes no further Append
	opening atomic.Bool   // Open is at work
	left    atomic.Int64  // operations that tell still makes
	sparse  int           // most sparse segments at a time
	reused  int           // times that the segment in use was a recycled one

	mu      sync.Mutex
	ends    []uint64       // last Seq of each Append begun
	floor   uint64         // highest Trim
	tallied uint64         // newest AsOf of a tally
	begun   map[point]bool // checkpoints
	written point          // the last one reported as written
}

// point is what a checkpoint is about.
type point struct{ from, upto uint64 }

// tally is the census of a story: old records are not needed, but for every seventh.
type tally uint64

func (n tally) AsOf() uint64 { return uint64(n) }

func (n tally) needs(seq uint64) bool { return seq%7 == 0 || seq+60 > uint64(n) }

func (n tally) Keep(r journal.Record, _ func(uint64) bool) bool { return n.needs(r.Seq) }

func (n tally) Bytes(first, last uint64) (bytes int64) {
	for seq := first; seq <= last; seq++ {
		if n.needs(seq) {
			bytes += int64(32 + len(payload(seq)))
		}
	}
	return bytes
}

func newStory(seed uint64) *story {
	source := rand.NewPCG(seed, 0)
	s := &story{watch: newWatch(), source: source, random: rand.New(source), floor: 1, begun: map[point]bool{}, keep: time.Hour}
	if seed%2 == 1 {
		s.keep = -1
	}
	if seed%4 < 2 {
		s.batches = 1 // what is synced together is many
	}
	s.left.Store(math.MaxInt64)
	return s
}

func (s *story) options(disk *memfs.FS) journal.Options {
	opt := s.watch.options(disk)
	opt.SegmentBytes, opt.Logger = 8<<10, s.logger
	opt.CleanRate, opt.ScrubEvery = 1<<40, -1
	return journal.EndBatches(journal.KeepTrimmed(opt, s.keep), s.batches)
}

// fork returns a story that goes on as s does.
func (s *story) fork() *story {
	f := newStory(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	*f.source = *s.source
	f.ends, f.floor, f.tallied, f.begun, f.written = slices.Clone(s.ends), s.floor, s.tallied, maps.Clone(s.begun), s.written
	f.durable, f.keep, f.batches = s.reported(), s.keep, s.batches
	return f
}

func (s *story) open(disk *memfs.FS) (*journal.Journal, error) {
	s.opening.Store(true)
	defer s.opening.Store(false)
	return journal.Open(s.options(disk))
}

func (s *story) append(j *journal.Journal, n int) error {
	recs := records(j.Last()+1, n)
	s.mu.Lock()
	s.ends = append(s.ends, recs[n-1].Seq)
	s.mu.Unlock()
	err := j.Append(recs)
	if err != nil {
		s.mu.Lock()
		s.ends = s.ends[:len(s.ends)-1]
		s.mu.Unlock()
	}
	return err
}

func (s *story) trim(j *journal.Journal, before uint64) {
	s.mu.Lock()
	s.floor = max(s.floor, before)
	s.mu.Unlock()
	j.Trim(before)
}

// clean lets the journal clean by what is needed of the records that are durable.
func (s *story) clean(j *journal.Journal) {
	n := tally(j.Durable())
	s.mu.Lock()
	s.tallied = max(s.tallied, n.AsOf())
	s.mu.Unlock()
	j.Clean(n)
}

// checkpoint writes one that says what it is about. An error is no matter: the journal stops where it must.
func (s *story) checkpoint(j *journal.Journal) {
	p := point{upto: j.Durable()}
	p.from = p.upto - min(p.upto, s.random.Uint64N(20))
	s.mu.Lock()
	s.begun[p] = true
	s.mu.Unlock()
	err := j.WriteCheckpoint(p.from, p.upto, func(yield func([]byte) error) error { return yield(fmt.Append(nil, p)) })
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.written = p
	case errors.Is(err, syscall.ENOSPC): // the old one may have given way
		s.written = point{}
	}
}

// tell plays the script: appends of several sizes, some of them synced together, promises, trims, cleaning, checkpoints
// and restarts. It goes on when what it has asked for is done, so that the same seed makes the same calls.
func (s *story) tell(disk *memfs.FS, operations int) error {
	j, err := s.open(disk)
	if err != nil {
		return err
	}
	for ; operations > 0 && s.left.Add(-1) >= 0; operations-- {
		j.Quiesce()
		j.Cleaned()
		s.sparse = max(s.sparse, j.Stats().Sparse)
		if names := segmentNames(disk); recycled(disk, names[len(names)-1]) {
			s.reused++
		}
		switch dice := s.random.IntN(100); {
		case dice < 35:
			err = s.append(j, 1+s.random.IntN(5))
		case dice < 75:
			if err = s.append(j, 1+s.random.IntN(5)); err == nil {
				j.Sync()
				s.await(j.Last())
			}
		case dice < 80:
			j.Sync()
			s.await(j.Last())
		case dice < 85:
			s.trim(j, j.Last()/2)
		case dice < 92:
			s.clean(j)
		case dice < 95:
			s.checkpoint(j)
		default:
			if err := j.Close(); err != nil {
				return err
			}
			if s.resting != nil {
				s.resting(operations-1, disk)
			}
			if j, err = s.open(disk); err != nil {
				return err
			}
		}
		if err != nil || s.failures() > 0 {
			return errors.Join(err, j.Close())
		}
	}
	return j.Close()
}

// survives recovers the disk and checks that everything reported is there, that nothing was invented and no Append is
// there in part, and that the journal goes on.
func (s *story) survives(disk *memfs.FS) error {
	reported := s.reported()
	s.mu.Lock()
	floor, ends, n := s.floor, slices.Clone(s.ends), tally(s.tallied)
	s.mu.Unlock()
	j, err := journal.Open(newStory(0).options(disk))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() { _ = j.Close() }()
	switch last := j.Last(); {
	case last < reported:
		return fmt.Errorf("the last record is %d, %d was reported durable", last, reported)
	case last > 0 && !slices.Contains(ends, last):
		return fmt.Errorf("the last record is %d: Appends ended with %v", last, ends)
	case j.First() > floor:
		return fmt.Errorf("the first record is %d, trimmed was up to %d", j.First(), floor)
	}
	if err := errors.Join(n.check(j), s.checkCheckpoint(j)); err != nil {
		return err
	}
	return n.goesOn(j, disk)
}

// check reads the whole journal: what is needed must be there, and nothing that was not written.
func (n tally) check(j *journal.Journal) error {
	next := j.First()
	err := j.Read(next, func(r journal.Record) error {
		for ; next < r.Seq; next++ {
			if n.needs(next) {
				return fmt.Errorf("record %d is missing", next)
			}
		}
		next++
		return altered(r)
	})
	if err == nil && next != j.Durable()+1 {
		err = fmt.Errorf("read up to %d, durable is %d", next-1, j.Durable())
	}
	return err
}

func altered(r journal.Record) error {
	want := record(r.Seq)
	head := len(want.Head)
	if r.Epoch != want.Epoch || r.Type != want.Type || len(r.Body) < head ||
		!bytes.Equal(r.Body[:head], want.Head) || !bytes.Equal(r.Body[head:], want.Body) {
		return fmt.Errorf("record %d is altered: %d %d %x", r.Seq, r.Epoch, r.Type, r.Body)
	}
	return nil
}

// checkCheckpoint wants the last checkpoint that was reported as written, or one that was begun after it.
func (s *story) checkCheckpoint(j *journal.Journal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, upto, parts, ok := j.Checkpoint()
	p := point{from, upto}
	switch {
	case !ok && s.written == point{}:
		return nil
	case !ok || upto < s.written.upto:
		return fmt.Errorf("the checkpoint is %v, %t, reported was %v", p, ok, s.written)
	case !s.begun[p] || len(parts) != 1 || string(parts[0]) != fmt.Sprint(p):
		return fmt.Errorf("the checkpoint %v with %q was never written", p, parts)
	case j.First() > from+1:
		return fmt.Errorf("the first record is %d, the checkpoint needs all after %d", j.First(), from)
	}
	return nil
}

func (n tally) goesOn(j *journal.Journal, disk *memfs.FS) error {
	if err := j.Append(records(j.Last()+1, 9)); err != nil {
		return err
	}
	last := j.Last()
	if err := j.Close(); err != nil {
		return err
	}
	again, err := journal.Open(newStory(0).options(disk))
	if err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	defer func() { _ = again.Close() }()
	if again.Last() != last {
		return fmt.Errorf("after going on the last record is %d, want %d", again.Last(), last)
	}
	return n.check(again)
}

// TestCrashAnywhere crashes scripts before every call that changes the disk. Each time the machine may lose nothing, all or
// a part of what was not synced, in blocks or in pages, or the content of what has its size; a second crash hits the
// recovery.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	var states atomic.Int64
	var seeds, full atomic.Uint64 // scripts, and those with sparse and recycled segments and checkpoints
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for states.Load() < *wantStates && !t.Failed() {
				if tellCrashing(t, *firstSeed+seeds.Add(1)-1, &states) {
					full.Add(1)
				}
			}
		})
	}
	workers.Wait()
	if n := seeds.Load(); n > 3 && full.Load() < n/2 {
		t.Errorf("%d of %d scripts have sparse and recycled segments and checkpoints", full.Load(), n)
	}
	t.Logf("%d crash states of the scripts with seeds %d to %d", states.Load(), *firstSeed, *firstSeed+seeds.Load()-1)
}

// crashes are the ways in which the machine loses what was not synced.
var crashes = []struct {
	name string
	keep func(seed uint64) memfs.Keep
}{
	{"all", func(uint64) memfs.Keep { return memfs.All }},
	{"none", func(uint64) memfs.Keep { return memfs.None }},
	{"sizes only", func(uint64) memfs.Keep { return memfs.SizesOnly }},
	{"random blocks", memfs.Random},
	{"random pages", memfs.RandomPages},
	{"other blocks", memfs.Random},
}

// tellCrashing crashes the script with that seed; it tells whether there were sparse and recycled segments and checkpoints.
func tellCrashing(t *testing.T, seed uint64, states *atomic.Int64) (full bool) {
	s, disk := newStory(seed), memfs.New()
	var mu sync.Mutex // the writer and the housekeeper both come here
	number := uint64(0)
	disk.OnCall(func(c memfs.Call) error {
		mu.Lock()
		defer mu.Unlock()
		if !c.Writes() || t.Failed() {
			return nil
		}
		number++
		for i, crash := range crashes {
			fate := seed<<32 | number<<8 | uint64(i)
			clone := disk.CrashClone(crash.keep(fate))
			states.Add(1)
			if crash.name == "random pages" {
				found := clone.CrashClone(memfs.All)
				if number%2 == 0 { // only the process died, before the machine does
					found = disk.KillClone()
				}
				states.Add(s.crashRecovery(t, found, fate))
			}
			if err := s.survives(clone); err != nil {
				t.Errorf("-seed=%d: crash before call %d %+v, %s: %v", seed, number, c, crash.name, err)
			}
		}
		return nil
	})
	if err := s.tell(disk, 150); err != nil {
		t.Errorf("-seed=%d: the script failed: %v", seed, err)
	}
	return s.sparse > 0 && s.reused > 0 && s.written != (point{})
}

// crashRecovery crashes the recovery of a crashed disk before every call that changes it.
func (s *story) crashRecovery(t *testing.T, disk *memfs.FS, fate uint64) (states int64) {
	var clones []*memfs.FS
	disk.OnCall(func(c memfs.Call) error {
		if c.Writes() {
			fate++
			clones = append(clones, disk.CrashClone(memfs.Random(fate)))
		}
		return nil
	})
	j, err := journal.Open(newStory(0).options(disk))
	if err != nil {
		t.Errorf("recovery, fate %#x: %v", fate, err)
		return 0
	}
	disk.OnCall(nil)
	_ = j.Close()
	for i, clone := range clones {
		if err := s.survives(clone); err != nil {
			t.Errorf("crash before call %d of the recovery, fate %#x: %v", i, fate, err)
		}
	}
	return int64(len(clones))
}
