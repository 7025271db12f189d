package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const (
	spareName      = "spare"       // the next segment's file, kept over restarts
	spareTemporary = "spare.tmp"   // one in the making, by the housekeeper
	newName        = "segment.tmp" // one made on the spot, by the writer
	zeroBytes      = 1 << 20       // written at a time
	sliceBytes     = 128 << 10     // of a spare, written and synced at a time
	sliceLate      = 4 << 20       // of one that lacks more than so much
	slicePause     = time.Millisecond
	slicePauses    = 2 // at most, before each slice
	spareWhenUsed  = 8 // a spare is made when one part in so many of the active segment is used
)

var zeros [zeroBytes]byte

// spare is the next segment's file, made ahead of need: rolling over does not wait for zeros, and it is the reserve with
// which the log goes on when the disk is full; guarded by Journal.mu.
type spare struct {
	wanted   bool
	triedFor uint64 // id of the segment during which one was wanted last: one attempt each, but for want of room
	heldFor  uint64 // id of the segment during which the file of a trimmed one could not be recycled: somebody had it
	making   bool
	awaited  bool // the writer waits for the one that is being made
	taken    bool // the writer has one that still has the name of the spare
	file     File // nil: none is ready
	size     int64
	recycled bool
}

// blank is a file that is to become a segment: allocated, synced, and of zeros unless it was one before.
type blank struct {
	name     string
	file     File
	recycled bool
}

// want asks for a spare when some of active is used.
func (s *spare) want(active *segment) {
	if s.file == nil && s.triedFor != active.id && active.end > active.size/spareWhenUsed {
		s.wanted, s.triedFor = true, active.id
	}
}

// again asks for a spare that found no room; false when there is one or it is under way.
func (s *spare) again() bool {
	s.wanted = s.wanted || s.file == nil && !s.making
	return s.wanted
}

// keepHouse is the housekeeper goroutine: it makes spares and removes trimmed segments.
func (j *Journal) keepHouse() {
	late := time.NewTimer(j.opt.keepTrimmed)
	defer late.Stop()
	for !j.stopped() {
		select {
		case <-j.chores:
		case <-late.C:
		}
		j.makeSpare()
		if wait, waiting := j.removeDoomed(false); waiting {
			late.Reset(wait)
		}
	}
}

func (j *Journal) stopped() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.closing || j.err != nil
}

// makeSpare makes a spare if one is wanted, or if there is none and the file of a trimmed segment can become one. Without
// one the writer makes its own when the time comes, and only an error then is fatal.
func (j *Journal) makeSpare() {
	wanted, making := j.beginSpare()
	if !making {
		j.tellChange()
		return
	}
	size := j.spareSize()
	file, recycled, err := j.createSpare(size, wanted)
	if j.foundRoom(err) || err != nil && !noSpace(err) && !errors.Is(err, errStopped) && !errors.Is(err, errHeld) {
		j.log.Warn("cannot make the next segment's file ahead of need", zap.Error(err))
	}
	j.mu.Lock()
	j.spare.making, j.spare.file, j.spare.size, j.spare.recycled = false, file, size, recycled
	j.changed.Broadcast()
	j.mu.Unlock()
}

// beginSpare tells whether a spare is to be made, and whether one of zeros will do.
func (j *Journal) beginSpare() (wanted, making bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.spare.taken {
		return false, false // until a segment has begun, and what is to do is looked at again
	}
	wanted, j.spare.wanted = j.spare.wanted, false
	j.spare.making = j.spare.file == nil && !j.closing && j.err == nil && (wanted || j.nextRecyclable() >= 0)
	return wanted, j.spare.making
}

func (j *Journal) spareSize() int64 { return segmentSize(j.opt.SegmentBytes, 0) }

func (j *Journal) tellChange() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.changed.Broadcast()
}

// createSpare makes a spare and gives it its name, which nobody needs to be durable. One of zeros is made only if it is
// wanted, and given up when the file of a trimmed segment can take its place.
func (j *Journal) createSpare(size int64, wanted bool) (file File, recycled bool, err error) {
	for err = errHeld; errors.Is(err, errHeld) || errors.Is(err, errBetter); {
		if s := j.takeRecyclable(); s != nil {
			file, err = j.recycle(s, size)
			recycled = true
		} else if wanted {
			file, err = j.createZeroed(spareTemporary, size, j.nextSlice)
			recycled = false
		} else {
			return nil, false, err
		}
	}
	if err != nil {
		return nil, false, err
	}
	if err := j.opt.FS.Rename(j.path(spareTemporary), j.path(spareName)); err != nil {
		return nil, false, firstError(err, file.Close())
	}
	return renamed(file, spareName), recycled, nil
}

// adoptSpare takes over the spare that an earlier process left, unless segments have another size by now. What it holds
// nobody knows. Where a directory has its name Open fails, while somebody is there to move it: without its reserve the
// journal would go on only until the disk is full.
func (j *Journal) adoptSpare() error {
	name, size := j.path(spareName), j.spareSize()
	file, err := j.opt.FS.Open(name, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if errors.Is(err, syscall.EISDIR) {
		return fmt.Errorf("%w: the next segment's file must have this name, move the directory away", err)
	}
	if err != nil {
		return err
	}
	has, err := file.Size()
	if err == nil && has == size {
		j.spare.file, j.spare.size, j.spare.recycled = file, size, true
		return nil
	}
	if err = firstError(err, file.Close()); err != nil {
		return err
	}
	return j.opt.FS.Remove(name)
}

// awaitFile returns a file for h. For want of room it waits until there is some: nothing was written that could be in
// doubt, and what is not written is not acknowledged.
func (j *Journal) awaitFile(h segmentHeader) (b blank, err error) {
	b, err = j.takeFile(h.size)
	if !noSpace(err) {
		j.foundRoom(err)
		return b, err
	}
	j.log.Error("the disk is full; what is to be written waits for room", zap.String("segment", h.name()), zap.Error(err))
	place := j.calls.begin("find room", j.path(h.name()))
	defer j.calls.end(place)
	j.setWaiting(true)
	defer j.setWaiting(false)
	for noSpace(err) && (j.dropSpare(h.size) || j.awaitSpace()) {
		b, err = j.takeFile(h.size)
		j.foundRoom(err)
	}
	if err == nil {
		j.log.Info("the disk has room for the next segment", zap.String("segment", h.name()))
	}
	return b, err
}

func (j *Journal) setWaiting(waiting bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.space.wait = waiting
	signal(j.scarce)
}

// takeFile returns a file of size bytes, the spare or a new one.
func (j *Journal) takeFile(size int64) (blank, error) {
	j.mu.Lock()
	j.spare.awaited = j.spare.making
	for j.spare.making {
		j.changed.Wait()
	}
	j.spare.awaited = false
	file := j.spare.file
	if file != nil && j.spare.size == size {
		j.spare.file, j.spare.taken = nil, true
		b := blank{spareName, file, j.spare.recycled}
		j.mu.Unlock()
		return b, nil
	}
	j.mu.Unlock()
	file, err := j.createZeroed(newName, size, nil)
	return blank{name: newName, file: file}, err
}

// dropSpare gives the spare's room back, for a file of size bytes; false when there is none or it would not be enough.
func (j *Journal) dropSpare(size int64) bool {
	free, err := j.opt.FS.Free(j.opt.Dir)
	j.mu.Lock()
	file := j.spare.file
	if err == nil && free+j.spare.size < size {
		file = nil
	} else {
		j.spare.file, j.spare.taken = nil, file != nil // until its name is gone: the next one must not get it before
	}
	j.mu.Unlock()
	if file == nil {
		return false
	}
	err = firstError(file.Close(), j.opt.FS.Remove(j.path(spareName)))
	j.mu.Lock()
	j.spare.taken = false
	j.mu.Unlock()
	return err == nil
}

// leaveSpare closes the spare and leaves it for the next Open.
func (j *Journal) leaveSpare() {
	j.mu.Lock()
	file := j.spare.file
	j.spare.file = nil
	j.mu.Unlock()
	if file != nil {
		_ = file.Close() // synced when it was made
	}
}

var (
	errStopped = errors.New("the journal is stopping")
	errBetter  = errors.New("the file of a trimmed segment can be used")
)

// createZeroed makes a file of size zeros, allocated and synced, so that writing to it later changes no metadata. With
// slice it is made and synced in slices: slice returns the bytes of the next one where so many are done, or why to give up.
func (j *Journal) createZeroed(name string, size int64, slice func(done int64) (int64, error)) (File, error) {
	if err := j.opt.FS.Remove(j.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := j.opt.FS.Create(j.path(name))
	if err != nil {
		return nil, err
	}
	if err := zeroFile(file, size, slice); err != nil {
		_ = file.Close()
		_ = j.opt.FS.Remove(j.path(name)) // or the next Open does
		return nil, fmt.Errorf("allocate %d bytes: %w", size, err)
	}
	return file, nil
}

func zeroFile(file File, size int64, slice func(done int64) (int64, error)) (err error) {
	if err := file.Allocate(size); err != nil {
		return err
	}
	for done := int64(0); done < size; {
		n := size
		if slice != nil {
			n, err = slice(done)
		}
		if err != nil {
			return err
		}
		end := min(done+n, size)
		if err := writeZeros(file, done, end); err != nil {
			return err
		}
		done = end
		if done == size {
			break
		}
		if err := file.Datasync(); err != nil {
			return err
		}
	}
	return file.Sync()
}

func writeZeros(file File, begin, end int64) error {
	for ; begin < end; begin += zeroBytes {
		if err := writeAt(file, zeros[:min(zeroBytes, end-begin)], begin); err != nil {
			return err
		}
	}
	return nil
}

// nextSlice makes a pause and returns the bytes of the next slice of a spare, done bytes of which are made; errStopped when
// the journal is stopping, errBetter when the file of a trimmed segment can be used instead. The spare grows with the active
// segment, a little faster: in small slices evenly spread, since a batch whose sync meets a large flush waits for all of it,
// here and in other processes with the same disk. Only where it is far behind are they large.
func (j *Journal) nextSlice(done int64) (int64, error) {
	for range slicePauses {
		if j.giveUp() != nil || j.spareLacks(done) > 0 {
			break
		}
		time.Sleep(slicePause)
	}
	if j.spareLacks(done) > sliceLate {
		return sliceLate, j.giveUp()
	}
	return sliceBytes, j.giveUp()
}

// giveUp is why a spare of zeros is not made to its end.
func (j *Journal) giveUp() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closing || j.err != nil:
		return errStopped
	case j.nextRecyclable() >= 0:
		return errBetter
	}
	return nil
}

// spareLacks is what a spare of which done bytes are made lacks to be whole when seven eighths of the active segment are used.
func (j *Journal) spareLacks(done int64) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.spare.awaited {
		return sliceLate + 1
	}
	active := j.segments[len(j.segments)-1]
	used := active.limit.Load() - active.size/spareWhenUsed
	return used*4/3 - done
}
