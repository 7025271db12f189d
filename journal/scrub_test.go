package journal_test

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"baton/journal"
	"baton/journal/memfs"
)

// aged returns the disk of a closed journal with plain and sparse segments, and its owner.
func aged(t *testing.T, seed uint64) (*memfs.FS, *owner) {
	t.Helper()
	disk, o := memfs.New(), newOwner(seed)
	j := open(t, o.options(disk))
	for i := range 6 {
		if err := o.chapter(j, i, false); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		if err := o.commit(j, o.put()); err != nil {
			t.Fatal(err)
		}
	}
	if st := j.Stats(); st.Sparse < 1 || st.Segments < st.Sparse+3 || st.Bytes < diskBytes(disk) {
		t.Fatalf("%+v", st)
	}
	mustClose(t, j)
	return disk, o
}

// errorLog is a logger that calls fn with each error.
func errorLog(fn func(zapcore.Entry)) *zap.Logger {
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(io.Discard), zap.ErrorLevel)
	return zap.New(core, zap.Hooks(func(e zapcore.Entry) error {
		fn(e)
		return nil
	}))
}

func TestScrubReadsEverySealedSegment(t *testing.T) {
	t.Parallel()
	disk, o := aged(t, 1)
	names := segmentNames(disk)
	left := map[string]bool{}
	for _, name := range names[:len(names)-1] {
		left[name] = true
	}
	opt := o.options(disk)
	opt.ScrubEvery = time.Nanosecond
	opt.Logger = errorLog(func(e zapcore.Entry) { t.Errorf("logged: %s", e.Message) })
	j := open(t, opt)
	disk.OnCall(func(c memfs.Call) error {
		if c.Op == "ReadAt" {
			o.set(func() { delete(left, c.Name) })
		}
		return nil
	})
	o.until(func() bool { return len(left) == 0 })
	mustClose(t, j)
	if st := j.Stats(); st.ScrubbedBytes == 0 || st.Damage != 0 {
		t.Errorf("%+v", st)
	}
}

// TestScrubFindsDamageOnce damages a byte of a sealed segment. It is told of once, and cleaning leaves the segment as it
// is, although nothing in it is needed any more.
func TestScrubFindsDamageOnce(t *testing.T) {
	t.Parallel()
	disk, o := aged(t, 2)
	names := segmentNames(disk)
	name := names[len(names)-3]
	damaged := disk.Content(name)
	damaged[len(damaged)/2] ^= 4
	disk.Put(name, damaged)

	var mu sync.Mutex
	var told []string
	reads := 0
	opt := o.options(disk)
	opt.ScrubEvery = time.Nanosecond
	opt.Logger = errorLog(func(e zapcore.Entry) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, e.Message)
	})
	rounds := make(chan struct{})
	disk.OnCall(func(c memfs.Call) error {
		mu.Lock()
		defer mu.Unlock()
		if c.Op == "ReadAt" && c.Name == name && len(told) > 0 {
			if reads++; reads == 10 {
				close(rounds)
			}
		}
		return nil
	})
	j := open(t, opt)
	<-rounds
	if st := j.Stats(); st.Damage != 1 {
		t.Errorf("%+v", st)
	}
	if err := o.commit(j, o.settle(1000)); err != nil {
		t.Fatal(err)
	}
	o.clean(j)
	var damage *journal.CorruptError
	if err := o.finds(j); !errors.As(err, &damage) || damage.File != filepath.Base(name) {
		t.Errorf("reading gives %v", err)
	}
	mustClose(t, j)
	mu.Lock()
	defer mu.Unlock()
	if len(told) != 1 || !strings.Contains(told[0], "damaged") || !slices.Equal(disk.Content(name), damaged) {
		t.Errorf("told %q", told)
	}
}

// TestCleaningFindsDamage has no scrub: what is damaged is found when it is to be cleaned, and left as it is.
func TestCleaningFindsDamage(t *testing.T) {
	t.Parallel()
	disk, o := aged(t, 3)
	names := segmentNames(disk)
	for _, name := range names[:len(names)-1] {
		clone := disk.CrashClone(memfs.All)
		damaged := clone.Content(name)
		damaged[segmentHeader+40] ^= 4
		clone.Put(name, damaged)
		j := open(t, o.options(clone))
		j.Clean(census{asOf: j.Last()})
		j.Cleaned()
		if st := j.Stats(); st.Damage != 1 || st.CleanedBytes == 0 {
			t.Errorf("%s: %+v", name, st)
		}
		if !slices.Equal(clone.Content(name), damaged) {
			t.Errorf("%s has been rewritten", name)
		}
		mustClose(t, j)
	}
}

// TestUnreadableSegmentIsLeftAlone lets reads of one segment fail for a while. It is not cleaned, its neighbours are; when a
// scrub has read it well its turn comes.
func TestUnreadableSegmentIsLeftAlone(t *testing.T) {
	t.Parallel()
	disk, o := aged(t, 4)
	names := segmentNames(disk)
	name := names[len(names)-4]
	opt := o.options(disk)
	j := open(t, opt)
	disk.OnCall(func(c memfs.Call) error {
		if c.Op == "ReadAt" && c.Name == name {
			return errDisk
		}
		return nil
	})
	before := disk.Content(name)
	j.Clean(census{asOf: j.Last()})
	j.Cleaned()
	if !slices.Equal(disk.Content(name), before) || j.Stats().CleanedBytes == 0 || j.Stats().Damage != 1 {
		t.Errorf("%+v", j.Stats())
	}
	disk.OnCall(nil)
	j.Clean(census{asOf: j.Last()})
	j.Cleaned()
	if !slices.Equal(disk.Content(name), before) {
		t.Error("cleaned before anybody knew that it can be read")
	}
	if errs := j.ScrubAll(); len(errs) > 0 {
		t.Errorf("scrub: %v", errs)
	}
	j.Clean(census{asOf: j.Last()})
	j.Cleaned()
	if slices.Equal(disk.Content(name), before) {
		t.Error("never cleaned")
	}
	if o.failures() > 0 {
		t.Error("the journal has stopped")
	}
}

const segmentHeader = 4096

// TestScrubFindsEveryDamage changes bytes of sealed segments, plain and sparse, each in its turn: Open or the scrub finds it.
func TestScrubFindsEveryDamage(t *testing.T) {
	t.Parallel()
	disk, o := aged(t, 5)
	names := segmentNames(disk)
	report, err := journal.Verify(disk, dir, nil)
	if err != nil || len(report.Damage) > 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	for _, n := range []int{0, len(names) - 3} {
		whole := disk.Content(names[n])
		for at := 0; at < len(whole); at += faultStride {
			if at >= 128 && at < segmentHeader-8 {
				at += o.r.IntN(500) // zeros
			}
			damaged := slices.Clone(whole)
			damaged[at] ^= 1 << o.r.IntN(8)
			if err := noticed(disk, names[n], damaged, o); err != nil {
				t.Fatalf("%s: byte %d of %d: %v", names[n], at, len(whole), err)
			}
		}
	}
}

func noticed(disk *memfs.FS, name string, damaged []byte, o *owner) error {
	clone := disk.CrashClone(memfs.All)
	clone.Put(name, damaged)
	j, err := journal.Open(o.options(clone))
	if err != nil {
		return nil
	}
	defer func() { _ = j.Close() }()
	errs := j.ScrubAll()
	if len(errs) == 0 {
		return errors.New("not found")
	}
	var damage *journal.CorruptError
	if !errors.As(errs[0], &damage) {
		return fmt.Errorf("found as %w", errs[0])
	}
	return nil
}
