package journal_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"baton/journal/memfs"
)

var errDisk = errors.New("disk on fire")

// fault is what goes wrong with a call.
type fault struct {
	name  string
	err   error
	calls int           // how many calls in a row
	hang  time.Duration // before the call is made
}

var faults = []fault{
	{name: "error once", err: errDisk, calls: 1},
	{name: "error from then on", err: errDisk, calls: 1 << 30},
	{name: "short", err: memfs.ErrShort, calls: 1},
	{name: "interrupted", err: syscall.EINTR, calls: 1},
	{name: "interrupted for ever", err: syscall.EINTR, calls: 1 << 30},
	{name: "no space once", err: syscall.ENOSPC, calls: 1},
	{name: "no space for a while", err: syscall.ENOSPC, calls: 20},
	{name: "hang", hang: time.Minute, calls: 1},
}

// TestFaultAnywhere lets each call of a script of 300 operations fail in its turn, in each way. Whether the journal goes on
// or stops is decided by the call; what was reported durable is there after a crash.
func TestFaultAnywhere(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				index, scenes := 0, plot(t)
				for ; failAt(t, scenes, index, f); index += faultStride {
					if t.Failed() {
						return
					}
				}
				if index < 600 {
					t.Errorf("the script makes %d calls only", index)
				}
			})
		})
	}
}

// An injury is a fault at one call of a script, and what came of it.
type injury struct {
	fault
	story *story
	index int // of the call

	mu      sync.Mutex
	calls   int
	hurt    memfs.Call // the first call with the fault
	opening bool       // it was made by Open
	loading bool       // Open is at work on the checkpoint
	opened  int        // how often it has opened that
	skipped bool       // it was made by Open for the checkpoint
	touched map[int]memfs.Call
	ending  []string // calls of others than the writer that followed when the journal had stopped
	broken  []string // rules that the journal broke afterwards
}

// scene is where a script can be taken up: its beginning or a restart.
type scene struct {
	story      *story
	disk       *memfs.FS
	calls      int // before
	operations int // still to come
}

// plot plays the script without a fault and returns its scenes.
func plot(t *testing.T) (scenes []scene) {
	const operations = 300
	s, disk, calls := newStory(1), memfs.New(), atomic.Int64{}
	s.resting = func(left int, disk *memfs.FS) {
		scenes = append(scenes, scene{s.fork(), disk.CrashClone(memfs.All), int(calls.Load()), left})
	}
	s.resting(operations, disk)
	disk.OnCall(func(memfs.Call) error { calls.Add(1); return nil })
	if err := s.tell(disk, operations); err != nil {
		t.Fatal(err)
	}
	return scenes
}

// failAt plays the script, from the last scene before it, with a fault at the call with that index; false when there is no
// such call.
func failAt(t *testing.T, scenes []scene, index int, f fault) (reached bool) {
	at := scenes[0]
	for _, next := range scenes {
		if next.calls <= index {
			at = next
		}
	}
	s, disk := at.story.fork(), at.disk.CrashClone(memfs.All)
	core, log := observer.New(zapcore.WarnLevel)
	s.logger = zap.New(core)
	in := &injury{fault: f, story: s, index: index, calls: at.calls, touched: map[int]memfs.Call{}}
	disk.OnCall(in.call)
	err := s.tell(disk, at.operations)
	disk.OnCall(nil)
	if in.calls <= index {
		return false
	}
	for _, b := range in.broken {
		t.Errorf("%s at %d %+v: %s", f.name, index, in.hurt, b)
	}
	stopped := err != nil
	if stopped && !errors.Is(err, f.err) || s.failures() > 1 || s.failures() == 1 && !stopped {
		t.Errorf("%s at %d %+v: OnFatal was called %d times, the script ends with %v", f.name, index, in.hurt, s.failures(), err)
	}
	if want := in.stops(); want != stopped && !in.either() {
		t.Errorf("%s at %d %+v, in Open: %t: the script ends with %v, want an end: %t", f.name, index, in.hurt, in.opening, err, want)
	}
	lines := log.FilterMessageSnippet("the disk ")
	if f.hang > 0 && in.hurt.Writes() && lines.Len() != 2 {
		t.Errorf("%s at %d %+v: %d lines in the log, want one while it lasts and one when it ends", f.name, index, in.hurt, lines.Len())
	}
	for _, line := range lines.All() {
		file := line.ContextMap()["file"] // of a rename, the new name
		if f.hang > 0 && in.hurt.Op != "Rename" && file != in.hurt.Name {
			t.Errorf("%s at %d %+v: the log says %v", f.name, index, in.hurt, file)
		}
	}
	if in.skipped {
		s.written = point{} // set aside, which only costs time
	}
	for i, crash := range crashes[:4] {
		if err := s.survives(disk.CrashClone(crash.keep(uint64(index + i)))); err != nil {
			t.Errorf("%s at %d %+v, then a crash, %s: %v", f.name, index, in.hurt, crash.name, err)
		}
	}
	return true
}

// call is what the disk does at each call.
func (in *injury) call(c memfs.Call) error {
	in.mu.Lock()
	number := in.calls
	in.calls++
	in.watch(c)
	in.load(c)
	hit := number >= in.index && number < in.index+in.fault.calls
	if number == in.index {
		in.hurt, in.opening, in.skipped = c, in.story.opening.Load(), in.loading
		in.story.left.Store(20) // enough to see how it goes on
	}
	if hit && c.File > 0 && (isSync(c) || errors.Is(in.err, errDisk) && c.Writes()) && in.err != nil && in.err != memfs.ErrShort {
		in.touched[c.File] = c
	}
	in.mu.Unlock()
	if !hit {
		return nil
	}
	time.Sleep(in.hang)
	return in.err
}

// load follows how Open deals with the checkpoint: it looks how far the log must reach, and in the end loads it.
func (in *injury) load(c memfs.Call) {
	if !in.story.opening.Load() || c.Op == "MkdirAll" {
		in.opened, in.loading = 0, false
		return
	}
	named := strings.HasPrefix(filepath.Base(c.Name), "checkpoint")
	if named && c.Op == "Open" {
		in.opened++
	}
	in.loading = named || in.opened > 1
}

// watch notes what must never happen: a write or sync to a file of which one failed, or any when the journal has stopped. Only
// the housekeeper and the cleaner, for whom nobody waits then, may make a call that they have just decided on: none twice.
func (in *injury) watch(c memfs.Call) {
	if failed, ok := in.touched[c.File]; ok && c.Writes() {
		in.broken = append(in.broken, c.Op+" follows the failed "+failed.Op+" on the same file")
	}
	if in.story.failures() == 0 || !c.Writes() || c.Op == "Remove" {
		return
	}
	call := c.Op + " " + filepath.Base(c.Name)
	writer := !slices.Contains([]string{"spare", "spare.tmp", "clean.tmp"}, filepath.Base(c.Name)) && c.Op != "SyncDir"
	if !writer && !slices.Contains(in.ending, call) {
		in.ending = append(in.ending, call)
	} else {
		in.broken = append(in.broken, c.Op+" after the journal has stopped")
	}
}

func isSync(c memfs.Call) bool { return strings.HasSuffix(c.Op, "ync") || c.Op == "SyncDir" }

// stops tells whether the fault is to end the script.
func (in *injury) stops() bool {
	c, name := in.hurt, filepath.Base(in.hurt.Name)
	switch {
	case in.hang > 0 || errors.Is(in.err, memfs.ErrShort):
		return false
	case errors.Is(in.err, syscall.EINTR) && in.fault.calls == 1 && !isSync(c):
		return false
	case in.skipped, !in.opening && (slices.Contains([]string{"spare.tmp", "clean.tmp", "checkpoint.tmp"}, name) || !c.Writes()):
		return false // gone on without
	case c.Op == "Rename" && strings.HasSuffix(name, ".seg"):
		return false // a trimmed segment that is not recycled, then
	case c.Op == "Remove" && name != "segment.tmp" && !in.opening, c.Op == "Free":
		return false
	}
	return true
}

// either is true where the call does not tell whether the fault is to end the script.
func (in *injury) either() bool {
	name := filepath.Base(in.hurt.Name)
	// A file made on the spot may be waiting for room or get its header; a fault that lasts hits other calls too.
	return in.fault.calls > 1 || errors.Is(in.err, syscall.ENOSPC) && name == "segment.tmp"
}
