package journal_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"baton/journal"
	"baton/journal/memfs"
)

// story is a scripted run of a journal that knows at any time what a crash may leave.
type story struct {
	*watch
	mu    sync.Mutex
	ends  []uint64 // last Seq of each Append begun
	floor uint64   // highest Trim
}

func newStory() *story { return &story{watch: newWatch(), floor: 1} }

func (s *story) options(disk *memfs.FS) journal.Options {
	opt := s.watch.options(disk)
	opt.SegmentBytes = 8 << 10
	return opt
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

// tell plays the script: appends of several sizes, one sync for several of them, trims, and a restart.
func (s *story) tell(disk *memfs.FS) error {
	for round := range 3 {
		j, err := journal.Open(s.options(disk))
		if err != nil {
			return err
		}
		for i := range 12 {
			for _, n := range []int{1 + i%3, 1 + (i+round)%5} {
				if err := s.append(j, n); err != nil {
					return errors.Join(err, j.Close())
				}
			}
			j.Sync()
			if last := j.Last(); s.await(last) < last {
				return j.Close()
			}
			j.Quiesce()
			if i%4 == 3 && round > 0 {
				s.trim(j, j.Last()*2/3)
			}
		}
		if err := j.Close(); err != nil {
			return err
		}
	}
	return nil
}

// survives recovers the disk and checks that everything reported is there, that nothing was invented and no Append is
// there in part, and that the journal goes on.
func (s *story) survives(disk *memfs.FS) error {
	reported := s.reported()
	s.mu.Lock()
	floor, ends := s.floor, slices.Clone(s.ends)
	s.mu.Unlock()
	j, err := journal.Open(newStory().options(disk))
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
	again, err := journal.Open(newStory().options(disk))
	if err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	defer func() { _ = again.Close() }()
	if again.Last() != last {
		return fmt.Errorf("after going on the last record is %d, want %d", again.Last(), last)
	}
	return check(again, again.First())
}

// TestCrashAnywhere crashes the script before every call that changes the disk. Each time the machine may lose nothing,
// all or a random part of what was not synced; a second crash hits the recovery.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	var states atomic.Int64
	for run := range 2 {
		t.Run(fmt.Sprint(run), func(t *testing.T) {
			t.Parallel()
			tellCrashing(t, uint64(run), &states)
		})
	}
	t.Cleanup(func() { t.Logf("%d crash states", states.Load()) })
}

func tellCrashing(t *testing.T, run uint64, states *atomic.Int64) {
	s, disk := newStory(), memfs.New()
	var mu sync.Mutex // the writer and the housekeeper both come here
	number := uint64(0)
	disk.OnCall(func(c memfs.Call) error {
		mu.Lock()
		defer mu.Unlock()
		if !c.Writes() || t.Failed() {
			return nil
		}
		number++
		for i := range uint64(5) {
			seed := run<<32 | number<<8 | i
			keep := []memfs.Keep{memfs.All, memfs.None, memfs.Random(seed)}[min(i, 2)]
			clone := disk.CrashClone(keep)
			states.Add(1)
			if i == 2 {
				states.Add(s.crashRecovery(t, clone.CrashClone(memfs.All), seed))
			}
			if err := s.survives(clone); err != nil {
				t.Errorf("crash before call %d %+v, seed %#x: %v", number, c, seed, err)
			}
		}
		return nil
	})
	if err := s.tell(disk); err != nil {
		t.Errorf("the script failed: %v", err)
	}
}

// crashRecovery crashes the recovery of a crashed disk before every call that changes it.
func (s *story) crashRecovery(t *testing.T, disk *memfs.FS, seed uint64) (states int64) {
	var clones []*memfs.FS
	disk.OnCall(func(c memfs.Call) error {
		if c.Writes() {
			seed++
			clones = append(clones, disk.CrashClone(memfs.Random(seed)))
		}
		return nil
	})
	j, err := journal.Open(newStory().options(disk))
	if err != nil {
		t.Errorf("recovery, seed %#x: %v", seed, err)
		return 0
	}
	disk.OnCall(nil)
	_ = j.Close()
	for i, clone := range clones {
		if err := s.survives(clone); err != nil {
			t.Errorf("crash before call %d of the recovery, seed %#x: %v", i, seed, err)
		}
	}
	return int64(len(clones))
}

// TestErrorAnywhere lets one call of the script fail, each in its turn, once or from then on.
func TestErrorAnywhere(t *testing.T) {
	t.Parallel()
	for _, sticky := range []bool{false, true} {
		t.Run(fmt.Sprintf("sticky=%t", sticky), func(t *testing.T) {
			t.Parallel()
			index := 0
			for ; failAt(t, index, sticky); index++ {
				if t.Failed() {
					return
				}
			}
			if index < 200 {
				t.Errorf("the script makes %d calls only", index)
			}
		})
	}
}

var errDisk = errors.New("disk on fire")

// failAt plays the script with a failure at the call with that index; false when there is no such call.
func failAt(t *testing.T, index int, sticky bool) (reached bool) {
	s, disk := newStory(), memfs.New()
	var mu sync.Mutex
	calls, touched := 0, map[int]memfs.Call{}
	var first memfs.Call
	disk.OnCall(func(c memfs.Call) error {
		mu.Lock()
		defer mu.Unlock()
		if failed, ok := touched[c.File]; ok && c.File > 0 && c.Writes() {
			t.Errorf("call %d %+v follows the failed %+v on the same file", calls, c, failed)
		}
		if s.failures() > 0 && c.Writes() && c.Op != "Remove" {
			t.Errorf("call %d %+v after the journal failed at %d %+v", calls, c, index, first)
		}
		calls++
		if calls == index+1 {
			first = c
		}
		if calls == index+1 || sticky && calls > index {
			if c.Writes() && c.File > 0 {
				touched[c.File] = c
			}
			return errDisk
		}
		return nil
	})
	err := s.tell(disk)
	disk.OnCall(nil)
	if err != nil && !errors.Is(err, errDisk) {
		t.Errorf("failure at %d %+v gives %v", index, first, err)
	}
	if n := s.failures(); n > 1 || n == 1 && err == nil {
		t.Errorf("failure at %d %+v: OnFatal was called %d times, Close says %v", index, first, n, err)
	}
	for seed := range uint64(4) {
		keep := []memfs.Keep{memfs.All, memfs.None, memfs.Random(seed)}[min(seed, 2)]
		if err := s.survives(disk.CrashClone(keep)); err != nil {
			t.Errorf("failure at %d %+v, then crash %d: %v", index, first, seed, err)
		}
	}
	return calls > index
}
