package journal

import (
	"math"
	"time"

	"go.uber.org/zap"
)

// spaceEvery is how often the room of the file system is looked at, and a file that found none is tried again.
const spaceEvery = time.Second

// space is what the journal knows of the room of its file system; guarded by Journal.mu.
type space struct {
	free  int64 // bytes when last looked at; -1: not known
	low   bool  // as OnSpace was told
	short bool  // the last file that was to be made found no room
	wait  bool  // the writer waits for room
	full  bool  // as OnFull was told
}

const (
	// nearlyFull bytes are left in the last segment that there is room for, at the most an eighth of one, when the journal is full:
	// enough for somebody to end what he is at.
	nearlyFull = 256 << 10
	// scantBytes of room are none: not even a small file beside the journal can be written safely.
	scantBytes = 64 << 10
)

// becomes tells whether low is true from now on: below the mark, or while a file finds no room. It ends well above the mark.
func (s *space) becomes(mark int64) bool {
	switch {
	case s.short:
		return true
	case s.free < 0: // not known
		return s.low
	case s.low:
		return s.free < mark+mark/10
	}
	return s.free < mark
}

// watchSpace is the goroutine that looks at the room of the file system: each second, with each new file for a segment, since
// a fast disk may fill within the second, and when one found no room.
func (j *Journal) watchSpace() {
	tick := time.NewTicker(spaceEvery)
	defer tick.Stop()
	for {
		j.lookAtSpace()
		select {
		case <-tick.C:
		case <-j.scarce:
		case <-j.quit:
			return
		}
	}
}

func (j *Journal) lookAtSpace() {
	j.mu.Lock()
	idle := j.opt.OnSpace == nil && j.opt.OnFull == nil && !j.space.short && !j.space.low
	j.mu.Unlock()
	if idle {
		return
	}
	free, err := j.opt.FS.Free(j.opt.Dir)
	if err != nil {
		free = -1
	}
	j.mu.Lock()
	unknown := err != nil && j.space.free >= 0
	j.space.free = free
	low := j.space.becomes(j.opt.LowWater)
	changed := low != j.space.low
	j.space.low = low
	full := j.isFull()
	filled := full != j.space.full
	j.space.full = full
	room := free < 0 || free >= j.spareSize()
	retry := j.space.short && !j.space.wait && room && j.spare.again()
	j.mu.Unlock()
	if unknown {
		j.log.Warn("cannot tell how much room the disk has", zap.Error(err))
	}
	if retry || changed && low { // trimmed segments give their room back at once
		signal(j.chores)
	}
	if changed && j.opt.OnSpace != nil {
		j.opt.OnSpace(low, free)
	}
	if filled && j.opt.OnFull != nil {
		j.opt.OnFull(full)
	}
}

// isFull tells whether what is appended waits for room, or soon will: there is no file for the next segment, and little left of this
// one. The caller holds mu.
func (j *Journal) isFull() bool {
	s := &j.space
	if s.wait || s.free >= 0 && s.free < scantBytes {
		return true
	}
	next := j.spare.file != nil || j.spare.making || j.spare.taken || !s.short && (s.free < 0 || s.free >= j.spareSize())
	return !next && j.tail.segment.size-j.tail.offset < min(nearlyFull, j.spareSize()/8)
}

// ampleBytes of room are so much that it does not matter how much exactly.
const ampleBytes = 512 << 20

// Room is how many bytes can be appended before less than LowWater bytes of the file system are free, when all that was
// appended earlier is written. It may be negative, and is math.MaxInt64 when nobody knows. When it is much it is as of a second
// ago at most; when little is left it asks the file system.
func (j *Journal) Room() int64 {
	j.mu.Lock()
	free, coming := j.space.free, int64(j.unsynced)
	j.mu.Unlock()
	// One segment in two may be nearly empty, for a batch lies in one; and a large batch has one of its own.
	taken := j.opt.LowWater + 2*coming + 2*segmentHeaderBytes
	if free >= 0 && free-taken < ampleBytes {
		if now, err := j.opt.FS.Free(j.opt.Dir); err == nil {
			free = now
		}
	}
	if free < 0 {
		return math.MaxInt64
	}
	return free - taken
}

// foundRoom notes whether a file for a segment could be made; it tells whether that is the first one without room.
func (j *Journal) foundRoom(err error) (first bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	first = noSpace(err) && !j.space.short
	if first || err == nil {
		j.space.short = first
		signal(j.scarce)
	}
	return first
}

// awaitSpace waits before a file for a segment is tried again that found no room; false when the journal is closing.
func (j *Journal) awaitSpace() bool {
	select {
	case <-time.After(spaceEvery):
		return true
	case <-j.quit:
		return false
	}
}
