package failover

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A doorstep is a Door at work, and where to knock.
type doorstep struct {
	t    *testing.T
	door *Door
	addr string
	end  func() // and wait until it has ended
}

func newDoorstep(t *testing.T, o DoorOptions) *doorstep {
	t.Helper()
	return newDoorstepAt(t, "127.0.0.1:0", o)
}

func newDoorstepAt(t *testing.T, address string, o DoorOptions) *doorstep {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &doorstep{t: t, door: NewDoor(listener, o), addr: listener.Addr().String()}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.door.Run(ctx) }()
	s.end = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		ended <- nil
	}
	t.Cleanup(s.end)
	return s
}

func listenLoopback(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func (s *doorstep) knock() *bufio.ReadWriter {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriterSize(conn, 0))
}

// awaitInside waits until so many connections wait or are relayed.
func (s *doorstep) awaitInside(n int) {
	s.t.Helper()
	for late := time.Now().Add(20 * time.Second); len(s.door.places) != n; time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			s.t.Fatalf("%d connections are inside, want %d", len(s.door.places), n)
		}
	}
}

// serveWord answers each line of each connection with the word and the line, until the listener closes.
func serveWord(t *testing.T, listener net.Listener, word string) {
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			go func() {
				lines := bufio.NewScanner(conn)
				for lines.Scan() {
					_, _ = io.WriteString(conn, word+" "+lines.Text()+"\n")
				}
				_ = conn.Close()
			}()
		}
	}()
}

func ask(t *testing.T, c *bufio.ReadWriter, line string) string {
	t.Helper()
	if _, err := c.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	answer, err := c.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(answer, "\n")
}

func wantAnswer(t *testing.T, c *bufio.ReadWriter, line, want string) {
	t.Helper()
	if got := ask(t, c, line); got != want {
		t.Errorf("answered %q, want %q", got, want)
	}
}

// wantClosed reads until the connection ends, which it must, and returns what came.
func wantClosed(t *testing.T, c *bufio.ReadWriter) string {
	t.Helper()
	rest, err := io.ReadAll(c)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Fatal("the connection was not closed")
	}
	return string(rest)
}

func TestDoorLeadsWhereTheMasterIs(t *testing.T) {
	t.Parallel()
	first, second := listenLoopback(t), listenLoopback(t)
	serveWord(t, first, "first")
	serveWord(t, second, "second")
	s := newDoorstep(t, DoorOptions{Relay: true})

	early := s.knock() // nobody is master yet: it waits
	s.door.Relay(first.Addr().String())
	wantAnswer(t, early, "a", "first a")
	s.door.Relay(first.Addr().String()) // nothing new: nobody is thrown out
	wantAnswer(t, early, "b", "first b")

	s.door.Relay(second.Addr().String())
	wantClosed(t, early)
	moved := s.knock()
	wantAnswer(t, moved, "c", "second c")

	inward := s.door.Serve()
	serveWord(t, inward, "here")
	wantClosed(t, moved)
	served := s.knock()
	wantAnswer(t, served, "d", "here d")

	if err := inward.Close(); err != nil {
		t.Fatal(err)
	}
	waiting := s.knock()
	s.door.Relay(second.Addr().String())
	wantAnswer(t, waiting, "e", "second e")
	wantAnswer(t, served, "f", "here f") // whose it is now; the door let go of it
}

func TestDoorPassesOnTheEnd(t *testing.T) {
	t.Parallel()
	master := listenLoopback(t)
	s := newDoorstep(t, DoorOptions{Relay: true})
	s.door.Relay(master.Addr().String())
	client, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := master.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The client has said all, and still gets the answer: as a client that waits for the RECEIPT of its DISCONNECT.
	if _, err := io.WriteString(client, "bye"); err != nil {
		t.Fatal(err)
	}
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(conn); err != nil || string(said) != "bye" {
		t.Fatalf("the master read %q, %v", said, err)
	}
	if _, err := io.WriteString(conn, "farewell"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if answer, err := io.ReadAll(client); err != nil || string(answer) != "farewell" {
		t.Fatalf("the client read %q, %v", answer, err)
	}
}

func TestDoorTriesTheMasterAgain(t *testing.T) {
	t.Parallel()
	master := listenLoopback(t)
	address := master.Addr().String()
	_ = master.Close()
	s := newDoorstep(t, DoorOptions{Relay: true})
	s.door.Relay(address)
	client := s.knock()
	again, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	serveWord(t, again, "back")
	wantAnswer(t, client, "a", "back a")
}

// A counting listener counts the connections that it has accepted.
type counting struct {
	net.Listener
	accepted atomic.Int32
}

func (l *counting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return conn, err
}

// A master that is silent may be dead: who comes waits for it or for another one, and who is there already stays.
func TestDoorOfASilentMaster(t *testing.T) {
	t.Parallel()
	master, other := listenLoopback(t), listenLoopback(t)
	met := &counting{Listener: master}
	serveWord(t, met, "master")
	serveWord(t, other, "other")
	s := newDoorstep(t, DoorOptions{Relay: true})
	s.door.Relay(master.Addr().String())
	early := s.knock()
	wantAnswer(t, early, "a", "master a")
	s.door.Silent(true)
	s.door.Silent(true)
	late := s.knock()
	s.awaitInside(2)
	for range 200 { // what is to be done for the one who comes could be done meanwhile
		wantAnswer(t, early, "b", "master b")
	}
	if n := met.accepted.Load(); n != 1 {
		t.Errorf("%d connections were led to a silent master", n-1)
	}
	s.door.Silent(false)
	wantAnswer(t, late, "c", "master c")

	s.door.Silent(true)
	s.door.Relay(master.Addr().String()) // it was met again
	wantAnswer(t, s.knock(), "d", "master d")
	s.door.Silent(true)
	moved := s.knock()
	s.awaitInside(4)
	s.door.Relay(other.Addr().String())
	wantAnswer(t, moved, "e", "other e")
}

func TestDoorRefuses(t *testing.T) {
	t.Parallel()
	brokers := func() []string { return []string{"tcp://a.example:61613", "tcp://b.example:61613"} }
	const names = "brokers:tcp://a.example:61613,tcp://b.example:61613\n"
	t.Run("a standby that does not relay", func(t *testing.T) {
		t.Parallel()
		s := newDoorstep(t, DoorOptions{Brokers: brokers})
		s.door.Relay("127.0.0.1:1")
		c := s.knock()
		_, _ = c.WriteString("CONNECT\naccept-version:1.2\nhost:x\n\n\x00")
		_ = c.Flush()
		got := wantClosed(t, c)
		if !strings.HasPrefix(got, "ERROR\nmessage:this broker is the standby\ncode:failover\n"+names) || !strings.HasSuffix(got, "\x00") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("no master in time", func(t *testing.T) {
		t.Parallel()
		s := newDoorstep(t, DoorOptions{Brokers: brokers, Relay: true, Patience: time.Millisecond})
		got := wantClosed(t, s.knock())
		if !strings.HasPrefix(got, "ERROR\nmessage:no master was found in time\ncode:failover\n"+names) {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a master where this door is", func(t *testing.T) {
		t.Parallel()
		for _, at := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
			s := newDoorstepAt(t, at, DoorOptions{Relay: true})
			_, port, _ := net.SplitHostPort(s.addr)
			s.door.Relay("127.0.0.1:" + port)
			if got := wantClosed(t, s.knock()); !strings.HasPrefix(got, "ERROR\nmessage:the way to the master leads back here\ncode:failover\n") {
				t.Errorf("%s: got %q", at, got)
			}
		}
	})
	t.Run("too many of one host", func(t *testing.T) {
		t.Parallel()
		s := newDoorstep(t, DoorOptions{MaxConnectionsPerIP: 1})
		s.knock()
		if got := wantClosed(t, s.knock()); !strings.HasPrefix(got, "ERROR\nmessage:too many connections from this address\n") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("too many", func(t *testing.T) {
		t.Parallel()
		s := newDoorstep(t, DoorOptions{MaxConnections: 1})
		s.knock() // those who come are let in one after the other
		if got := wantClosed(t, s.knock()); got != "" {
			t.Errorf("got %q", got)
		}
	})
}

func TestDoorEndsWithItsContext(t *testing.T) {
	t.Parallel()
	master := listenLoopback(t)
	serveWord(t, master, "x")
	s := newDoorstep(t, DoorOptions{Relay: true})
	waiting := s.knock()
	s.door.Relay(master.Addr().String())
	wantAnswer(t, waiting, "a", "x a")
	s.end()
	wantClosed(t, waiting)
	if conn, err := net.Dial("tcp", s.addr); err == nil {
		_ = conn.Close()
		t.Error("the door still opens")
	}
}
