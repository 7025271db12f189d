package stomp

import (
	"io"
	"net"
)

// LazyReader is a byte stream that can wait without holding memory.
type LazyReader interface {
	// ReadLazy is io.Reader's Read, except that it asks for its buffer by lend only when there may be something to
	// read, and gives it back by unlend when it then has to wait. When it returns bytes they lie at the start of the
	// buffer lent last.
	ReadLazy(lend func() []byte, unlend func()) (int, error)
}

// patientBytes is what a connection whose readiness cannot be awaited holds while it waits.
const patientBytes = 512

// Lazy returns conn as a reader that is a [LazyReader] too. A connection of the operating system waits without memory;
// any other one, such as net.Pipe or TLS, with 512 bytes. Deadlines of conn hold. It is for one goroutine, and closing
// stays with conn.
func Lazy(conn net.Conn) io.Reader {
	if r := lazySocket(conn); r != nil {
		return r
	}
	return &patientReader{Reader: conn}
}

// patientReader waits with a small buffer of its own and then asks for a larger one.
type patientReader struct {
	io.Reader
	first [patientBytes]byte
}

func (p *patientReader) ReadLazy(lend func() []byte, _ func()) (int, error) {
	n, err := p.Read(p.first[:])
	if n > 0 {
		copy(lend(), p.first[:n])
	}
	return n, err
}
