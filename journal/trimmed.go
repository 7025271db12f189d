package journal

import (
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"
)

// errHeld tells that somebody still reads the file of a trimmed segment.
var errHeld = errors.New("somebody has the file of the segment open")

// recyclable tells whether the file of s can become a spare of size bytes: it has most of its blocks. So have those of all
// sealed segments of the usual size, but cleaned ones.
func (s *segment) recyclable(size int64) bool { return !s.sparse && s.end <= size && s.end >= size/2 }

// keeps tells whether the file of the trimmed segment s may still become a spare: trims come together, and the log needs the
// files one after the other. When room is scarce none waits. The caller holds mu.
func (j *Journal) keeps(s *segment) bool {
	ample := !j.space.low && !j.space.short && (j.space.free < 0 || j.space.free-j.opt.LowWater >= ampleBytes)
	return ample && s.recyclable(j.spareSize()) && time.Since(s.trimmed) < j.opt.keepTrimmed
}

// nextRecyclable is the place in doomed of the segment that is to be recycled next; -1: there is none, or the last one was held
// and none is tried until the next segment begins. The caller holds mu.
func (j *Journal) nextRecyclable() int {
	if j.spare.heldFor == j.segments[len(j.segments)-1].id {
		return -1
	}
	return slices.IndexFunc(j.doomed, func(s *segment) bool { return s.recyclable(j.spareSize()) })
}

// takeRecyclable takes a trimmed segment out of doomed whose file can become a spare; nil when there is none.
func (j *Journal) takeRecyclable() *segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := j.nextRecyclable()
	if n < 0 || j.closing || j.err != nil {
		return nil
	}
	s := j.doomed[n]
	j.doomed = slices.Concat(j.doomed[:n], j.doomed[n+1:])
	return s
}

// recycle makes a file of size bytes, allocated and synced, of that of the trimmed segment s; its content stays. Only when
// the name of s has gone for good is anything changed: a start must not find s with another content. The error is errHeld,
// and the file is removed, when somebody reads it, in this process or another.
func (j *Journal) recycle(s *segment, size int64) (File, error) {
	j.forget(s)
	name := j.path(spareTemporary)
	if err := j.opt.FS.Rename(j.path(s.name()), name); err != nil {
		return nil, err
	}
	if err := j.opt.FS.SyncDir(j.opt.Dir); err != nil {
		return nil, j.doubtDirectory(err)
	}
	file, err := j.opt.FS.Open(name, true)
	if err != nil {
		_ = j.opt.FS.Remove(name) // or whoever makes the next spare does
		return nil, err
	}
	err = fillUp(file, s.end, size)
	if err == nil {
		return file, nil
	}
	_ = j.opt.FS.Remove(name)
	_ = file.Close()
	if errors.Is(err, errHeld) {
		j.noteHeld()
	}
	return nil, err
}

// noteHeld pauses recycling. Where nobody ever gets a write lease, or a reader holds all there was, spares of zeros would
// otherwise be given up again and again for files that cannot be used.
func (j *Journal) noteHeld() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.spare.heldFor = j.segments[len(j.segments)-1].id
}

// fillUp makes file, which ends at end, one of size bytes, unless somebody else has it open.
func fillUp(file File, end, size int64) error {
	if !file.Alone() {
		return errHeld
	}
	if err := file.Allocate(size); err != nil {
		return err
	}
	if err := writeZeros(file, end, size); err != nil {
		return err
	}
	return file.Sync()
}

// forget closes the file of s, and its last reader does if there is one. Its name is still there: nobody must open it.
func (j *Journal) forget(s *segment) {
	j.files.retire(s)
	j.cache.drop(s)
}

// removeDoomed unlinks trimmed segments that no spare will be made of, or all. One that stays because of an error is found
// and removed by the next Open. It tells whether some still wait, and how long the next of them does.
func (j *Journal) removeDoomed(all bool) (wait time.Duration, waiting bool) {
	j.mu.Lock()
	var due []*segment
	for _, s := range j.doomed {
		if all || !j.keeps(s) {
			due = append(due, s)
		}
	}
	j.mu.Unlock()
	for _, s := range due {
		j.forget(s)
		if err := j.opt.FS.Remove(j.path(s.name())); err != nil {
			j.log.Warn("cannot remove a trimmed segment", zap.String("segment", s.name()), zap.Error(err))
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.doomed = slices.DeleteFunc(slices.Clone(j.doomed), func(s *segment) bool { return slices.Contains(due, s) })
	j.changed.Broadcast()
	if len(j.doomed) == 0 {
		return 0, false
	}
	return j.opt.keepTrimmed - time.Since(j.doomed[0].trimmed), true
}
