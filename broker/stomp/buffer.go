package stomp

import "sync"

const (
	bufferBytes = 32 << 10

	// minReadBytes is the room below which a buffer counts as full: a read for less is not worth its system call.
	minReadBytes = 512

	// maxIdleArena is the largest arena a pooled space keeps.
	maxIdleArena = 8 << 10
)

// space is the memory of a Reader that has bytes in hand. Readers without any lend theirs to others.
type space struct {
	bytes [bufferBytes]byte
	parts [2]parts // of the frame last returned and of the one being read
}

var spaces = sync.Pool{New: func() any { return new(space) }}

func (s *space) free() {
	for i := range s.parts {
		if cap(s.parts[i].arena) > maxIdleArena {
			s.parts[i].arena = nil
		}
	}
	spaces.Put(s)
}

// room returns where the next bytes from the source go, after making such room, and the counter of those that are there.
func (r *Reader) room() (room []byte, filled *int) {
	if r.space == nil {
		r.borrow()
	}
	if left := r.spillMeasured(); left > 0 {
		body := &r.frame().parts.body
		return body.room(left), &body.n
	}
	enough := minReadBytes
	if r.stage == inBody && r.bodyBytes >= 0 {
		enough = 1 // what is missing is known, and there is room for it
	}
	if len(r.buf)-r.end < enough {
		r.compact()
	}
	if len(r.buf)-r.end < enough && !r.spillUnmeasured() {
		r.grow()
	}
	return r.buf[r.end:], &r.end
}

// spillMeasured moves what is buffered of a body with content-length out of the buffer, if the frame does not fit into
// that. It returns how many bytes of such a body are still to come.
func (r *Reader) spillMeasured() int {
	if r.stage != inBody || r.bodyBytes < 0 || r.pos-r.start+r.bodyBytes+1 <= len(r.buf) {
		return 0
	}
	body := &r.frame().parts.body
	if left := r.bodyBytes - body.n; left == 0 {
		return 0
	}
	body.write(r.buf[r.pos:r.end])
	r.end = r.pos
	return r.bodyBytes - body.n
}

// spillUnmeasured moves what is buffered of a body without content-length out of the buffer; false if that makes no
// room.
func (r *Reader) spillUnmeasured() bool {
	if r.stage != inBody || r.bodyBytes >= 0 || len(r.buf)-r.pos < minReadBytes {
		return false
	}
	r.frame().parts.body.write(r.buf[r.pos:r.end])
	r.end, r.scanned = r.pos, 0
	return true
}

// compact moves the frame being read to the start of the buffer, and back to the pooled buffer if it fits there again.
func (r *Reader) compact() {
	to := r.buf
	if r.end-r.start <= bufferBytes/2 {
		to = r.space.bytes[:]
	}
	r.moveTo(to)
}

// grow doubles the buffer. It is called for a long head only, so [Limits] bounds it.
func (r *Reader) grow() {
	r.moveTo(make([]byte, 2*len(r.buf)))
}

func (r *Reader) moveTo(buf []byte) {
	copy(buf, r.buf[r.start:r.end])
	r.buf = buf
	r.pos -= r.start
	r.end -= r.start
	r.start = 0
}

// borrow takes a buffer from the pool and returns it, empty.
func (r *Reader) borrow() []byte {
	r.space = spaces.Get().(*space)
	r.buf = r.space.bytes[:]
	r.start, r.pos, r.end = 0, 0, 0
	return r.buf
}

// giveBack returns the buffer. Nothing may be in it, and no frame may be in use.
func (r *Reader) giveBack() {
	for i := range r.frames {
		r.frames[i].free()
	}
	if r.space != nil {
		r.space.free()
	}
	r.space, r.buf = nil, nil
	r.start, r.pos, r.end = 0, 0, 0
}
