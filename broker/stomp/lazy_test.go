package stomp

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// witness tells whenever its Reader is about to wait whether that holds a buffer.
type witness struct {
	io.Reader
	reader *Reader
	holds  chan bool
}

func (w *witness) ReadLazy(lend func() []byte, unlend func()) (int, error) {
	return w.Reader.(LazyReader).ReadLazy(lend, func() {
		unlend()
		w.holds <- w.reader.space != nil
	})
}

// tcpPair returns the two ends of a TCP connection.
func tcpPair(t testing.TB) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return server, client
}

// TestIdleSocketHoldsNoBuffer shows on TCP that a Reader gives its buffer back before it waits, and again after frames.
func TestIdleSocketHoldsNoBuffer(t *testing.T) {
	t.Parallel()
	server, client := tcpPair(t)
	w := &witness{Reader: Lazy(server), holds: make(chan bool, 100)}
	r := NewReader(w, V12, AfterConnect())
	w.reader = r
	frames := make(chan string)
	go func() {
		defer close(frames)
		for {
			f, err := r.Next()
			if err != nil {
				return
			}
			frames <- f.Command.String()
		}
	}()
	waits := func() {
		t.Helper()
		if <-w.holds {
			t.Error("the Reader waits with a buffer")
		}
	}
	waits()
	for range 3 {
		io.WriteString(client, "ACK\nid:1\n\n\x00NACK\nid:1\n\n\x00")
		if c := <-frames; c != "ACK" {
			t.Fatal(c)
		}
		if c := <-frames; c != "NACK" {
			t.Fatal(c)
		}
		waits()
	}
	client.Close()
	for range frames {
		t.Error("a frame from a closed connection")
	}
	if r.space != nil {
		t.Error("the Reader holds a buffer after the end")
	}
}

// connPairs make the two ends of a connection.
var connPairs = map[string]func(testing.TB) (net.Conn, net.Conn){
	"tcp":  tcpPair,
	"pipe": func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() },
}

func TestLazyOverSockets(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("x", 200000)
	for name, pair := range connPairs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := pair(t)
			go func() {
				defer client.Close()
				for range 10 {
					io.WriteString(client, "\n")
					io.WriteString(client, "ACK\nid:1\n\n\x00SEND\nx:y\n\n"+body+"\x00")
					io.WriteString(client, "SEND\ncontent-length:200000\n\n"+body+"\x00")
				}
			}()
			frames, err := readAll(Lazy(server), V12, AfterConnect())
			if err != io.EOF || len(frames) != 30 {
				t.Fatalf("%d frames, then %v", len(frames), err)
			}
			for i, f := range frames {
				if i%3 != 0 && f.body != body {
					t.Fatalf("frame %d has %d bytes", i, len(f.body))
				}
			}
		})
	}
}

// TestLazyDeadline shows that the read deadline of the connection ends the wait, and that reading goes on after it.
func TestLazyDeadline(t *testing.T) {
	t.Parallel()
	for name, pair := range connPairs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := pair(t)
			r := NewReader(Lazy(server), V12, AfterConnect())
			for _, part := range []string{"", "\n", "SEND\nx:"} {
				if part != "" {
					wrote := make(chan struct{})
					go func() { io.WriteString(client, part); close(wrote) }()
					go func() { <-wrote; server.SetReadDeadline(time.Unix(1, 0)) }()
				} else {
					server.SetReadDeadline(time.Unix(1, 0))
				}
				_, err := r.Next()
				var timeout net.Error
				if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
					t.Fatalf("after %q: %v", part, err)
				}
				server.SetReadDeadline(time.Time{})
			}
			go io.WriteString(client, "y\n\n\x00")
			f, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if x, _ := f.Header("x"); string(x) != "y" {
				t.Errorf("x is %q", x)
			}
		})
	}
}

// TestLazyErrors shows that errors of the connection keep their kind.
func TestLazyErrors(t *testing.T) {
	t.Parallel()
	server, client := tcpPair(t)
	client.(*net.TCPConn).SetLinger(0) // so that closing resets
	client.Close()
	_, err := NewReader(Lazy(server), V12, AfterConnect()).Next()
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "read" || op.Timeout() {
		t.Errorf("after a reset: %#v", err)
	}
	server.Close()
	if _, err := NewReader(Lazy(server), V12, AfterConnect()).Next(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
