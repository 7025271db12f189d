package journal

import (
	"errors"
	"fmt"
	"io/fs"

	"go.uber.org/zap"
)

const (
	spareName    = "spare.tmp"   // made ahead by the housekeeper
	newName      = "segment.tmp" // made on the spot by the writer
	zeroBytes    = 1 << 20       // written at a time
	zeroSyncEach = 4 << 20       // so that no large flush delays the syncs of batches
)

var zeros [zeroBytes]byte

// spare is the next segment's file, made ahead of need so that rolling over does not wait for zeros; guarded by Journal.mu.
type spare struct {
	wanted   bool
	triedFor uint64 // id of the segment during which one was wanted last: one attempt each
	making   bool
	file     File // nil: none is ready
	size     int64
}

// want asks for a spare when active is half full.
func (s *spare) want(active *segment) {
	if s.file == nil && s.triedFor != active.id && active.end > active.size/2 {
		s.wanted, s.triedFor = true, active.id
	}
}

// keepHouse is the housekeeper goroutine: it makes spares and removes trimmed segments.
func (j *Journal) keepHouse() {
	for range j.chores {
		j.removeDoomed()
		j.makeSpare()
		if j.stopped() {
			return
		}
	}
}

func (j *Journal) stopped() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.closing || j.err != nil
}

// removeDoomed unlinks trimmed segments. One that stays because of an error is found and removed by the next Open.
func (j *Journal) removeDoomed() {
	j.mu.Lock()
	doomed := j.doomed
	j.mu.Unlock()
	for _, s := range doomed {
		j.files.retire(s) // before its name goes: nobody must open it any more
		j.cache.drop(s)
		if err := j.opt.FS.Remove(j.path(s.name())); err != nil {
			j.log.Warn("cannot remove a trimmed segment", zap.String("segment", s.name()), zap.Error(err))
		}
	}
	j.mu.Lock()
	j.doomed = j.doomed[len(doomed):]
	j.changed.Broadcast()
	j.mu.Unlock()
}

// makeSpare makes a spare if one is wanted. Without one the writer makes its own when the time comes, and only an error
// then is fatal.
func (j *Journal) makeSpare() {
	j.mu.Lock()
	wanted := j.spare.wanted && !j.closing && j.err == nil
	j.spare.wanted = false
	j.spare.making = wanted
	j.mu.Unlock()
	if !wanted {
		return
	}
	size := segmentSize(j.opt.SegmentBytes, 0)
	file, err := j.createZeroed(spareName, size, j.stopped)
	if err != nil {
		j.log.Warn("cannot allocate the next segment ahead of need", zap.Error(err))
	}
	j.mu.Lock()
	j.spare.making, j.spare.file, j.spare.size = false, file, size
	j.changed.Broadcast()
	j.mu.Unlock()
}

// takeSpare returns a zeroed file of size bytes and its path.
func (j *Journal) takeSpare(size int64) (string, File, error) {
	j.mu.Lock()
	for j.spare.making {
		j.changed.Wait()
	}
	file := j.spare.file
	if file != nil && j.spare.size == size {
		j.spare.file = nil
		j.mu.Unlock()
		return j.path(spareName), file, nil
	}
	j.mu.Unlock()
	file, err := j.createZeroed(newName, size, func() bool { return false })
	return j.path(newName), file, err
}

func (j *Journal) dropSpare() {
	j.mu.Lock()
	file := j.spare.file
	j.spare.file = nil
	j.mu.Unlock()
	if file != nil {
		_ = file.Close()
		_ = j.opt.FS.Remove(j.path(spareName)) // or the next Open does
	}
}

var errStopped = errors.New("the journal is stopping")

// createZeroed makes a file of size zeros, allocated and synced, so that writing to it later changes no metadata.
func (j *Journal) createZeroed(name string, size int64, stopped func() bool) (File, error) {
	if err := j.opt.FS.Remove(j.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := j.opt.FS.Create(j.path(name))
	if err != nil {
		return nil, err
	}
	if err := zeroFile(file, size, stopped); err != nil {
		_ = file.Close()
		_ = j.opt.FS.Remove(j.path(name)) // or the next Open does
		return nil, fmt.Errorf("allocate %d bytes: %w", size, err)
	}
	return file, nil
}

func zeroFile(file File, size int64, stopped func() bool) error {
	if err := file.Allocate(size); err != nil {
		return err
	}
	for offset := int64(0); offset < size; offset += zeroBytes {
		if stopped() {
			return errStopped
		}
		if err := writeAt(file, zeros[:min(zeroBytes, size-offset)], offset); err != nil {
			return err
		}
		if (offset+zeroBytes)%zeroSyncEach != 0 {
			continue
		}
		if err := file.Datasync(); err != nil {
			return err
		}
	}
	return file.Sync()
}
