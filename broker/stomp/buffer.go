package stomp

import (
	"bytes"
	"slices"
	"sync"
)

const (
	bufferBytes = 32 << 10
	chunkBytes  = 64 << 10

	// minReadBytes is the room below which a buffer counts as full: a read for less is not worth its system call.
	minReadBytes = 512

	// maxIdleArena is the largest arena a pooled space keeps.
	maxIdleArena = 8 << 10
)

// space is the memory of a Reader that has bytes in hand. Readers without any lend theirs to others.
type space struct {
	bytes [bufferBytes]byte
	index [2]index // of the frame last returned and of the one being read
}

var spaces = sync.Pool{New: func() any { return new(space) }}

func (s *space) free() {
	for i := range s.index {
		if cap(s.index[i].arena) > maxIdleArena {
			s.index[i].arena = nil
		}
	}
	spaces.Put(s)
}

type chunk [chunkBytes]byte

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// spill holds a body that does not fit into the buffer: as many chunks as have arrived, the last one partly filled. It
// takes the size of the body only when all of it is there.
type spill struct {
	chunks []*chunk
	n      int    // bytes held
	whole  []byte // the body in one piece, once it is complete
}

// room returns where the next bytes of the body go, at least 1 and at most max bytes; the caller adds to n how many
// came.
func (s *spill) room(max int) []byte {
	used := s.n % chunkBytes
	if used == 0 && s.n/chunkBytes == len(s.chunks) {
		s.chunks = append(s.chunks, chunks.Get().(*chunk))
	}
	room := s.chunks[len(s.chunks)-1][used:]
	return room[:min(max, len(room))]
}

func (s *spill) write(p []byte) {
	for len(p) > 0 {
		n := copy(s.room(len(p)), p)
		s.n += n
		p = p[n:]
	}
}

// join returns the body in one piece.
func (s *spill) join() []byte {
	if s.n <= chunkBytes {
		s.whole = s.chunks[0][:s.n]
		return s.whole
	}
	s.whole = make([]byte, 0, s.n)
	for _, c := range s.chunks {
		s.whole = append(s.whole, c[:min(chunkBytes, s.n-len(s.whole))]...)
	}
	s.freeChunks()
	return s.whole
}

func (s *spill) free() {
	s.freeChunks()
	*s = spill{}
}

func (s *spill) freeChunks() {
	for _, c := range s.chunks {
		chunks.Put(c)
	}
	s.chunks = nil
}

// room returns where the next bytes from the source go, after making such room, and the counter of those that are there.
func (r *Reader) room() (room []byte, filled *int) {
	if r.space == nil {
		r.borrow()
	}
	if left := r.spillMeasured(); left > 0 {
		body := &r.frame().spill
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
	body := &r.frame().spill
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
	r.frame().spill.write(r.buf[r.pos:r.end])
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
		r.frames[i].spill.free()
		r.frames[i] = Frame{}
	}
	if r.space != nil {
		r.space.free()
	}
	r.space, r.buf = nil, nil
	r.start, r.pos, r.end = 0, 0, 0
}

// index is where the header lines of a frame lie, and memory for what is derived from them.
type index struct {
	lines   []line
	arena   []byte // decoded names and values
	decoded []header
	seen    []uint32 // hash table of names: number of the line, from 1
}

// line is one header line: where its name and value lie, from the start of the frame, blanks and line end excluded.
type line struct {
	nameStart, nameEnd, valueStart, valueEnd uint32
	decoded                                  int32 // in index.decoded, from 1; 0: as it stands
}

type header struct{ name, value []byte }

func (x *index) reset() {
	x.lines = x.lines[:0]
	x.arena = x.arena[:0]
	x.decoded = x.decoded[:0]
}

// unescape decodes the header of line i, which lies in head. The arena has the room, so that what is in it stays there.
func (x *index) unescape(i int, head []byte, v Version) (undefined []byte) {
	l := &x.lines[i]
	name, value := head[l.nameStart:l.nameEnd], head[l.valueStart:l.valueEnd]
	if bytes.IndexByte(name, '\\') < 0 && bytes.IndexByte(value, '\\') < 0 {
		return nil
	}
	for _, text := range [...][]byte{name, value} {
		if undefined = undefinedEscape(text, v); undefined != nil {
			return undefined
		}
	}
	from := len(x.arena)
	x.arena, _ = AppendUnescaped(x.arena, name, v)
	middle := len(x.arena)
	x.arena, _ = AppendUnescaped(x.arena, value, v)
	x.decoded = append(x.decoded, header{x.arena[from:middle:middle], x.arena[middle:len(x.arena):len(x.arena)]})
	l.decoded = int32(len(x.decoded))
	return nil
}

// clearSeen makes the hash table empty, and large enough for all lines to stay half empty.
func (x *index) clearSeen() {
	size := 4
	for size < 2*len(x.lines) {
		size *= 2
	}
	x.seen = slices.Grow(x.seen[:0], size)[:size]
	clear(x.seen)
}
