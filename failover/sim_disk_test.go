package failover

import (
	"cmp"
	"errors"
	"path"
	"slices"
	"strings"
	"sync"

	"baton/journal/memfs"
)

// A simDisk is the disk of one process. Calls that take time on a disk wait until the simulation grants them, so that a
// crash may come before; so does the journal's housekeeping, which then runs while nothing else does. What is written in
// between is done at once, and a crash can be set to come before any of it.
type simDisk struct {
	fs *memfs.FS

	mu      sync.Mutex
	waiting []*simCall // not taken yet
	asleep  []*simCall // all
	gone    bool       // the process is dead: nothing is done any more
	// A crash that comes before the call that so many others precede; image is the disk after it.
	countdown int
	crash     func(*memfs.FS) *memfs.FS
	image     *memfs.FS
	failing   bool // the next sync that is granted fails
}

// A simCall waits to be granted.
type simCall struct {
	what    string
	granted chan error
}

var (
	errProcessGone = errors.New("the process is dead")
	errNoSpare     = errors.New("no file ahead of need")
	errDiskFault   = errors.New("the disk has failed")
)

func newSimDisk(fs *memfs.FS) *simDisk {
	d := &simDisk{fs: fs}
	fs.OnCall(d.call)
	return d
}

// call is the OnCall of the file system.
func (d *simDisk) call(c memfs.Call) error {
	base := path.Base(c.Name)
	if d.count(c, base) {
		return errProcessGone
	}
	switch {
	case c.Op == "Alone":
		return errNoSpare
	case waits(c.Op, base):
		if err := d.wait(c.Op + " " + c.Name); err != nil || base != "spare.tmp" || c.Op != "Create" {
			return err
		}
		return errNoSpare // the writer makes its own
	}
	return nil
}

// waits says that a call takes time, or is one of the housekeeper's.
func waits(op, base string) bool {
	switch op {
	case "Sync", "Datasync":
		return !strings.HasPrefix(base, pairName) && base != "clean.tmp" && !strings.HasPrefix(base, "checkpoint")
	case "Rename", "Remove":
		return base == "spare.tmp" || isSegment(base)
	case "Create":
		return base == "spare.tmp"
	}
	return false
}

func isSegment(base string) bool { return strings.HasSuffix(base, ".seg") }

// count lets the crash come that was set. gone is true from then on.
func (d *simDisk) count(c memfs.Call, base string) (gone bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.countdown > 0 && c.Writes() && !d.gone {
		if d.countdown--; d.countdown == 0 {
			d.image = d.crash(d.fs)
			d.gone = true
			d.releaseAll()
		}
	}
	return d.gone
}

// wait blocks until the simulation grants what is to be done.
func (d *simDisk) wait(what string) error {
	d.mu.Lock()
	if d.gone {
		d.mu.Unlock()
		return errProcessGone
	}
	c := &simCall{what, make(chan error, 1)}
	d.waiting, d.asleep = append(d.waiting, c), append(d.asleep, c)
	d.mu.Unlock()
	return <-c.granted
}

// replacing says that the journal's cleaner may be at work on what it has replaced: Retain then waits for it, and it for a
// call that is not granted while Retain waits.
func (d *simDisk) replacing() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.asleep, func(c *simCall) bool { return strings.HasPrefix(c.what, "Remove ") && isSegment(c.what) })
}

// removeNow removes a file, whatever else is counted or waits.
func (d *simDisk) removeNow(name string) {
	d.fs.OnCall(nil)
	_ = d.fs.Remove(name)
	d.fs.OnCall(d.call)
}

// take returns the calls that have come to wait, in an order that does not depend on goroutines.
func (d *simDisk) take() []*simCall {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls := d.waiting
	d.waiting = nil
	slices.SortStableFunc(calls, func(a, b *simCall) int { return cmp.Compare(a.what, b.what) })
	return calls
}

// setCrash has the process die before the call that n-1 others precede.
func (d *simDisk) setCrash(n int, crash func(*memfs.FS) *memfs.FS) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.countdown, d.crash = n, crash
}

// crashed returns the disk after a crash that was set; nil when it has not come.
func (d *simDisk) crashed() *memfs.FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.image
}

func (d *simDisk) dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gone
}

// die lets nothing be done any more.
func (d *simDisk) die() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = true
	d.releaseAll()
}

func (d *simDisk) releaseAll() {
	for _, c := range d.asleep {
		c.granted <- errProcessGone
	}
	d.waiting, d.asleep = nil, nil
}

// grant lets a call be done.
func (d *simDisk) grant(c *simCall) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.Index(d.asleep, c)
	if i < 0 {
		return
	}
	d.asleep = slices.Delete(d.asleep, i, i+1)
	var err error
	if d.failing && strings.HasPrefix(c.what, "Datasync") {
		d.failing, err = false, errDiskFault
	}
	c.granted <- err
}
