package stomp

import "sync"

const chunkBytes = 64 << 10

type chunk [chunkBytes]byte

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// spill holds a body that does not fit into the buffer: as many chunks as have arrived, the last one partly filled. It
// takes the size of the body only when all of it is there.
type spill struct {
	chunks []*chunk
	n      int // bytes held
}

// room returns where the next bytes of the body go: at least one byte, and not more than most. The caller adds to n how
// many came.
func (s *spill) room(most int) []byte {
	used := s.n % chunkBytes
	if used == 0 && s.n/chunkBytes == len(s.chunks) {
		s.chunks = append(s.chunks, chunks.Get().(*chunk))
	}
	room := s.chunks[len(s.chunks)-1][used:]
	return room[:min(most, len(room))]
}

func (s *spill) write(p []byte) {
	for len(p) > 0 {
		n := copy(s.room(len(p)), p)
		s.n += n
		p = p[n:]
	}
}

// join returns the complete body in one piece; it is valid until free and the next write.
func (s *spill) join() []byte {
	if s.n <= chunkBytes {
		return s.chunks[0][:s.n]
	}
	body := make([]byte, 0, s.n)
	for _, c := range s.chunks {
		body = append(body, c[:min(chunkBytes, s.n-len(body))]...)
	}
	s.free()
	return body
}

// free gives the chunks back and forgets the body.
func (s *spill) free() {
	for _, c := range s.chunks {
		chunks.Put(c)
	}
	clear(s.chunks)
	s.chunks, s.n = s.chunks[:0], 0
}
