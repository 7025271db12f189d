package journal_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

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
	logger  *zap.Logger
	opening atomic.Bool  // Open is at work
	left    atomic.Int64 // operations that tell still makes

	mu    sync.Mutex
	ends  []uint64 // last Seq of each Append begun
	floor uint64   // highest Trim
}

func newStory(seed uint64) *story {
	s := &story{watch: newWatch(), random: rand.New(rand.NewPCG(seed, 0)), floor: 1}
	s.left.Store(math.MaxInt64)
	return s
}

func (s *story) options(disk *memfs.FS) journal.Options {
	opt := s.watch.options(disk)
	opt.SegmentBytes, opt.Logger = 8<<10, s.logger
	return opt
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

// tell plays the script: appends of several sizes, some of them synced together, promises, trims and restarts. It goes on
// when what it has asked for is done, so that the same seed makes the same calls.
func (s *story) tell(disk *memfs.FS, operations int) error {
	j, err := s.open(disk)
	if err != nil {
		return err
	}
	for ; operations > 0 && s.left.Add(-1) >= 0; operations-- {
		j.Quiesce()
		switch dice := s.random.IntN(100); {
		case dice < 40:
			err = s.append(j, 1+s.random.IntN(5))
		case dice < 80:
			if err = s.append(j, 1+s.random.IntN(5)); err == nil {
				j.Sync()
				s.await(j.Last())
			}
		case dice < 85:
			j.Sync()
			s.await(j.Last())
		case dice < 95:
			s.trim(j, j.Last()-j.Last()/4)
		default:
			if err := j.Close(); err != nil {
				return err
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
	floor, ends := s.floor, slices.Clone(s.ends)
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
	if err := check(j, j.First()); err != nil {
		return err
	}
	return s.goesOn(j, disk)
}

func (s *story) goesOn(j *journal.Journal, disk *memfs.FS) error {
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
	return check(again, again.First())
}

// TestCrashAnywhere crashes scripts before every call that changes the disk. Each time the machine may lose nothing, all or
// a part of what was not synced, in blocks or in pages, or the content of what has its size; a second crash hits the
// recovery.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	var states atomic.Int64
	var seeds atomic.Uint64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for states.Load() < *wantStates && !t.Failed() {
				tellCrashing(t, *firstSeed+seeds.Add(1)-1, &states)
			}
		})
	}
	workers.Wait()
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

func tellCrashing(t *testing.T, seed uint64, states *atomic.Int64) {
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
				states.Add(s.crashRecovery(t, clone.CrashClone(memfs.All), fate))
			}
			if err := s.survives(clone); err != nil {
				t.Errorf("-seed=%d: crash before call %d %+v, %s: %v", seed, number, c, crash.name, err)
			}
		}
		return nil
	})
	if err := s.tell(disk, 100); err != nil {
		t.Errorf("-seed=%d: the script failed: %v", seed, err)
	}
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
