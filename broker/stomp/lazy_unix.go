//go:build unix

package stomp

import (
	"io"
	"net"
	"os"
	"syscall"
)

// socket reads a connection of the operating system: it tries, and waits without memory if there is nothing.
type socket struct {
	net.Conn
	raw syscall.RawConn
	try func(fd uintptr) bool // s.tryRead, made once so that a read allocates nothing

	// Of the ReadLazy under way.
	lend   func() []byte
	unlend func()
	n      int
	err    error
}

// lazySocket returns conn as a lazy reader, or nil if it is no connection of the operating system.
func lazySocket(conn net.Conn) io.Reader {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	s := &socket{Conn: conn, raw: raw}
	s.try = s.tryRead
	return s
}

// ReadLazy waits for bytes, the end of the stream, or the deadline.
func (s *socket) ReadLazy(lend func() []byte, unlend func()) (int, error) {
	s.lend, s.unlend, s.n, s.err = lend, unlend, 0, nil
	err := s.raw.Read(s.try)
	if err == nil {
		err = s.err
	}
	return s.n, err
}

// tryRead is called when the socket may be readable; false makes the caller wait until it is.
func (s *socket) tryRead(fd uintptr) bool {
	buf := s.lend()
	n, err := readAgain(int(fd), buf)
	switch {
	case err == syscall.EAGAIN:
		s.unlend()
		return false
	case err != nil:
		s.err = &net.OpError{Op: "read", Net: s.LocalAddr().Network(), Source: s.LocalAddr(), Addr: s.RemoteAddr(),
			Err: os.NewSyscallError("read", err)}
	case n == 0:
		s.err = io.EOF
	default:
		s.n = n
	}
	return true
}

// readAgain reads once, and again when a signal came between.
func readAgain(fd int, buf []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, buf)
		if err != syscall.EINTR {
			return n, err
		}
	}
}
