package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var testSecret = []byte("a secret of the pair")

// greet joins two nodes over TCP.
func greet(t *testing.T, dialler, acceptor LinkOptions) (dialled, accepted *Link, dialErr, acceptErr error) {
	t.Helper()
	listener := listenLoopback(t)
	var done sync.WaitGroup
	done.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			acceptErr = err
			return
		}
		accepted, acceptErr = Accept(t.Context(), conn, acceptor, func(peer Hello) Hello {
			return Hello{Node: acceptor.Node, Epoch: 7, Role: "answer to " + peer.Role}
		})
	})
	dialled, dialErr = Dial(t.Context(), listener.Addr().String(), dialler, func(Hello) Hello {
		return Hello{Node: dialler.Node, Role: "dialler"}
	})
	done.Wait()
	return dialled, accepted, dialErr, acceptErr
}

func TestGreeting(t *testing.T) {
	t.Parallel()
	a := LinkOptions{Node: "a", Pair: "p", Secret: testSecret}
	b := LinkOptions{Node: "b", Pair: "p", Secret: testSecret}
	dialled, accepted, err1, err2 := greet(t, b, a)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	defer dialled.Close()
	defer accepted.Close()
	if h := dialled.Peer(); h.Node != "a" || h.Epoch != 7 || h.Role != "answer to dialler" {
		t.Errorf("the dialler met %+v", h)
	}
	if h := accepted.Peer(); h.Node != "b" || h.Role != "dialler" {
		t.Errorf("who accepted met %+v", h)
	}
}

func TestStrangers(t *testing.T) {
	t.Parallel()
	a := LinkOptions{Node: "a", Pair: "p", Secret: testSecret}
	for name, c := range map[string]struct {
		dialler LinkOptions
		want    error
		text    string
	}{
		"another secret": {LinkOptions{Node: "b", Pair: "p", Secret: []byte("another")}, ErrSecret, "the same failover.secret"},
		"no secret":      {LinkOptions{Node: "b", Pair: "p"}, ErrSecret, "the same failover.secret"},
		"the same name":  {LinkOptions{Node: "a", Pair: "p", Secret: testSecret}, ErrStranger, `both nodes are called "a"`},
		"another pair":   {LinkOptions{Node: "b", Pair: "q", Secret: testSecret}, ErrStranger, `"q"`},
	} {
		_, _, dialErr, acceptErr := greet(t, c.dialler, a)
		for side, err := range map[string]error{"dialler": dialErr, "acceptor": acceptErr} {
			if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.text) {
				t.Errorf("%s: the %s got %v", name, side, err)
			}
		}
	}
}

// Without a secret nobody from elsewhere is spoken to.
func TestNoSecretIsForLoopback(t *testing.T) {
	t.Parallel()
	here, there := net.Pipe()
	defer there.Close()
	_, err := Accept(t.Context(), elsewhere{here}, LinkOptions{Node: "a"}, nil)
	if !errors.Is(err, ErrStranger) || !strings.Contains(err.Error(), "203.0.113.9") {
		t.Error(err)
	}
}

type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 1} }

// Who has no secret learns no proof to give from the one that he was given.
func TestMirroredProof(t *testing.T) {
	t.Parallel()
	listener := listenLoopback(t)
	var mirror sync.WaitGroup
	defer mirror.Wait()
	mirror.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = readFrame(conn, 0, greetingBytes)
		_ = writeFrame(conn, kindGreeting, 0, 0, (&greeting{version: wireVersion, node: "a", pair: "p"}).encode())
		proof, _ := readFrame(conn, 0, greetingBytes)
		_ = writeFrame(conn, kindProof, 0, 0, proof.payload)
		_, _ = io.Copy(io.Discard, conn)
	})
	_, err := Dial(t.Context(), listener.Addr().String(), LinkOptions{Node: "b", Pair: "p", Secret: testSecret},
		func(Hello) Hello { return Hello{Node: "b"} })
	if !errors.Is(err, ErrSecret) {
		t.Error(err)
	}
}

// Who says nothing, or something else, is not waited for, and what it claims is not believed.
func TestUngreeted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                     "timeout",
		"GET / HTTP/1.1\r\nHost: here\r\n\r\n": "is unknown",
		"\xff\xff\xff\x7f\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00": "claims 2147483647 octets",
		"\x00\x10\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00": "at most 512 are due",
		string(sealed(kindBeacon, 0, 1, 0, make([]byte, 32))):              "where a GREETING was due",
	} {
		here, there := net.Pipe()
		go func() {
			_, _ = there.Write([]byte(text))
			_, _ = io.Copy(io.Discard, there)
		}()
		_, err := Accept(t.Context(), here, LinkOptions{Node: "a", Greet: 200 * time.Millisecond}, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		_ = there.Close()
	}
}

// Who connects proves itself soon, whatever time there is for all that follows.
func TestProofIsDueSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		begun := time.Now()
		_, err := Accept(t.Context(), here, LinkOptions{Node: "a", Greet: time.Hour}, nil)
		if took := time.Since(begun); !errors.Is(err, os.ErrDeadlineExceeded) || took != proofTime {
			t.Errorf("got %v after %v", err, took)
		}
	})
}

// runLinks runs a master and a standby over TCP. The returned function ends the side that it is told to end and returns how
// both ended.
func runLinks(t *testing.T, master, standby *node, epoch uint32, onFlushed func(uint64)) (dialled, accepted *Link, end func(first bool) (master, standby *Broken)) {
	t.Helper()
	dialled, accepted, err1, err2 := greet(t, LinkOptions{Node: "b", Pair: "p", Secret: testSecret},
		LinkOptions{Node: "a", Pair: "p", Secret: testSecret})
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	standby.flush()
	sender := NewSender(master.log, epoch, standby.log.Hello(Hello{}), SenderOptions{OnSignal: func(s Signal) {
		if s.Kind == Flushed {
			onFlushed(s.Seq)
		}
	}})
	receiver := NewReceiver(standby.log, ReceiverOptions{OnSignal: func(Signal) {}, OnCommit: func(uint64) {}})
	ctxs := [2]context.Context{}
	cancels := [2]context.CancelFunc{}
	results := [2]*Broken{}
	var running sync.WaitGroup
	for i, side := range []struct {
		link   *Link
		stream Stream
	}{{accepted, sender}, {dialled, receiver}} {
		ctxs[i], cancels[i] = context.WithCancel(t.Context())
		running.Go(func() { results[i] = side.link.Run(ctxs[i], side.stream) })
	}
	return dialled, accepted, func(first bool) (*Broken, *Broken) {
		if first {
			cancels[0]()
		} else {
			cancels[1]()
		}
		running.Wait()
		cancels[0]()
		cancels[1]()
		return results[0], results[1]
	}
}

func TestStreamOverTCP(t *testing.T) {
	t.Parallel()
	master, standby := newNode(t, "a"), newNode(t, "b")
	master.lead(1)
	flushed := make(chan uint64, 1000)
	_, _, end := runLinks(t, master, standby, 1, func(seq uint64) { flushed <- seq })
	for range 200 {
		master.append(1, 2, 3000)
		master.append(1, 1, 300<<10) // more than the reader's buffer, together
		master.log.Sync()
	}
	for last := master.log.Last(); <-flushed < last; {
	}
	byMaster, byStandby := end(true)
	if byMaster.Ending != Ended || byStandby.Ending != Closed {
		t.Errorf("the master's side ended with %v, the standby's with %v", byMaster, byStandby)
	}
	checkEqual(t, master, standby, 1)
}

// What was to be said before the end of the context is said.
func TestLastWords(t *testing.T) {
	t.Parallel()
	a, b := LinkOptions{Node: "a", Pair: "p"}, LinkOptions{Node: "b", Pair: "p"}
	dialled, accepted, err1, err2 := greet(t, b, a)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	heard := make(chan Signal, 10)
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { accepted.Run(t.Context(), listening(func(s Signal) { heard <- s })) })
	ctx, cancel := context.WithCancel(t.Context())
	dialled.Send(Signal{Kind: Beacon, Sent: 1})
	dialled.Send(Signal{Kind: Beacon, Sent: 2}) // takes the place of the other
	dialled.Send(Signal{Kind: Release, Epoch: 9})
	cancel()
	if got := dialled.Run(ctx, listening(nil)); got.Ending != Ended {
		t.Error(got)
	}
	for _, want := range []Signal{{Kind: Beacon, Sent: 2}, {Kind: Release, Epoch: 9}} {
		if got := <-heard; got != want {
			t.Errorf("heard %+v, want %+v", got, want)
		}
	}
}

// A signal does not wait until all of a long frame has passed, however slow that is.
func TestSignalsPassALongFrame(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe() // nothing is buffered
	l := &Link{conn: ours, wake: make(chan struct{}, 1), opt: LinkOptions{Silence: time.Minute}}
	frame := sealed(kindAppend, 0, 0, 0, make([]byte, 3*partBytes))
	ctx, cancel := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	defer writer.Wait()
	defer theirs.Close()
	defer cancel()
	writer.Go(func() { _ = l.write(ctx, &frames{left: [][]byte{frame}}) })
	l.awake()
	heard := &hoarder{}
	in := intake{stream: heard}
	read := func(octets int) {
		t.Helper()
		for octets > 0 {
			room := in.room()
			n, err := theirs.Read(room[:min(len(room), octets)])
			if err != nil {
				t.Fatal(err)
			}
			if err := in.took(n); err != nil {
				t.Fatal(err)
			}
			octets -= n
		}
	}
	read(partBytes - 1)
	l.Send(Signal{Kind: Beacon})
	read(1 + 1 + signalFrameBytes)
	if heard.signals != 1 || len(heard.held) != 0 {
		t.Fatalf("%d signals and %d frames have passed, want the signal before the frame", heard.signals, len(heard.held))
	}
	read(len(frame) - partBytes + 2)
	if heard.check(t, len(heard.held)); heard.signals != 1 || heard.checked != 1 {
		t.Errorf("%d signals and %d frames have passed", heard.signals, heard.checked)
	}
}

// The parts of a long frame that is held to a rate are spread over its time, and signals do not wait long for one however slow the
// rate is.
func TestPartsAreSpread(t *testing.T) {
	t.Parallel()
	for rest, want := range map[time.Duration]time.Duration{0: 0, 90 * time.Millisecond: 30 * time.Millisecond, time.Hour: maxPartRest} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			l := &Link{conn: ours, wake: make(chan struct{}, 1), opt: LinkOptions{Silence: 24 * time.Hour}}
			ctx, cancel := context.WithCancel(t.Context())
			var writer sync.WaitGroup
			defer writer.Wait()
			defer theirs.Close()
			defer cancel()
			writer.Go(func() {
				_ = l.write(ctx, &frames{left: [][]byte{make([]byte, 3*partBytes), make([]byte, 3*partBytes)}, pause: rest})
			})
			l.awake()
			read := func(n int) []byte {
				b := make([]byte, n)
				if _, err := io.ReadFull(theirs, b); err != nil {
					t.Fatal(err)
				}
				return b
			}
			began := time.Now()
			read(partBytes)
			if got := time.Since(began); got != 0 {
				t.Errorf("rest %v: the first part comes after %v", rest, got)
			}
			for part := range 2 {
				l.Send(Signal{Kind: Beacon}) // while the part waits for its turn
				before := time.Now()
				signals := int(read(1)[0])
				if got := time.Since(before); got != want {
					t.Errorf("rest %v: part %d comes after %v, want %v", rest, part+1, got, want)
				}
				if rest > 0 && signals != 1 {
					t.Errorf("rest %v: with part %d come %d signals, one had waited", rest, part+1, signals)
				}
				read(signals*signalFrameBytes + partBytes)
			}
			read(1)
			if got := time.Since(began); rest > 0 && got != rest {
				t.Errorf("rest %v: the next frame comes after %v", rest, got)
			}
			read(3*partBytes + 1) // a count of signals goes before each part but the first
		})
	}
}

// frames is a Stream that has some to send.
type frames struct {
	listeningStream
	left  [][]byte
	pause time.Duration // after each
}

func (s *frames) rest(time.Time) time.Duration { return s.pause }

func (s *frames) Next() (frame []byte, err error) {
	if len(s.left) > 0 {
		frame, s.left = s.left[0], s.left[1:]
	}
	return frame, nil
}

// listening is a Stream that only hears signals.
type listeningStream struct {
	seeds seeds
	hear  func(Signal)
}

func listening(hear func(Signal)) *listeningStream { return &listeningStream{hear: hear} }

func (s *listeningStream) Next() ([]byte, error)        { return nil, nil }
func (s *listeningStream) Close()                       {}
func (s *listeningStream) bind(x seeds, _ func())       { s.seeds = x }
func (s *listeningStream) mark() uint64                 { return 0 }
func (s *listeningStream) coming()                      {}
func (s *listeningStream) rest(time.Time) time.Duration { return 0 }
func (s *listeningStream) settled(mark uint64) bool     { return true }

func (s *listeningStream) Accept(b []byte) error {
	f, err := parseFrame(b, s.seeds.in)
	if err != nil {
		return err
	}
	signal, err := parseSignal(f)
	if err == nil {
		s.hear(signal)
	}
	return err
}

func TestHowLinksEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		peer func(conn net.Conn, s seeds)
		want Ending
	}{
		"it closes":  {func(conn net.Conn, _ seeds) { _ = conn.Close() }, Closed},
		"it resets":  {func(conn net.Conn, _ seeds) { _ = conn.(*net.TCPConn).SetLinger(0); _ = conn.Close() }, Closed},
		"it is dumb": {func(net.Conn, seeds) {}, Silent},
		"it babbles": {func(conn net.Conn, _ seeds) { _, _ = conn.Write(make([]byte, 100)) }, Invalid},
		"another's":  {func(conn net.Conn, s seeds) { _, _ = conn.Write((&Signal{Kind: Beacon}).appendTo(nil, s.out+1)) }, Invalid},
		"no signal":  {func(conn net.Conn, s seeds) { _ = writeFrame(conn, kindPlan, 1, s.out, []byte("{}")) }, Invalid},
	} {
		dialled, accepted, err1, err2 := greet(t, LinkOptions{Node: "b", Silence: 200 * time.Millisecond}, LinkOptions{Node: "a"})
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		c.peer(accepted.conn, accepted.seeds)
		if got := dialled.Run(t.Context(), listening(func(Signal) {})); got.Ending != c.want {
			t.Errorf("%s: ended %d, %v", name, got.Ending, got)
		}
		accepted.Close()
	}
}

// R13: that nobody listens is told apart from all else.
func TestDialRefused(t *testing.T) {
	t.Parallel()
	listener := listenLoopback(t)
	address := listener.Addr().String()
	_ = listener.Close()
	if _, err := Dial(t.Context(), address, LinkOptions{Node: "a"}, nil); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
}

// A name may have several addresses. Nobody listens there only where all of them refuse (R13).
func TestDialRefusedByEveryAddress(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.11.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	silent := errors.New("no answer")
	for _, c := range []struct {
		addresses []string
		err       error
		fails     syscall.Errno // how a connection to one of the other family does
		refused   bool
	}{
		{addresses: []string{"127.11.0.1"}, refused: true},
		{addresses: []string{"127.11.0.1", "127.11.0.3"}, refused: true},
		{addresses: []string{"127.11.0.1", "127.11.0.2"}},
		{err: silent},
		// A loopback address that this host does not have is nobody's.
		{addresses: []string{"::1", "127.11.0.1"}, fails: syscall.EADDRNOTAVAIL, refused: true},
		{addresses: []string{"127.11.0.1", "::1"}, fails: syscall.ENETUNREACH, refused: true},
		{addresses: []string{"127.11.0.1", "::1"}, fails: syscall.EAFNOSUPPORT, refused: true},
		{addresses: []string{"::1", "127.11.0.2"}, fails: syscall.EADDRNOTAVAIL},
		{addresses: []string{"::1"}, fails: syscall.EADDRNOTAVAIL},
		{addresses: []string{"127.11.0.1", "::1"}, fails: syscall.ETIMEDOUT},
		// Another one may be there, where this host cannot look.
		{addresses: []string{"127.11.0.1", "2001:db8::1"}, fails: syscall.ENETUNREACH},
	} {
		dialler := net.Dialer{}
		o := LinkOptions{
			Node:   "a",
			lookup: func(context.Context, string) ([]string, error) { return c.addresses, c.err },
			dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if to, err := net.ResolveTCPAddr(network, address); err == nil && to.IP.To4() == nil {
					return nil, &net.OpError{Op: "dial", Net: network, Addr: to, Err: os.NewSyscallError("connect", c.fails)}
				}
				return dialler.DialContext(ctx, network, address)
			},
		}
		first := "127.11.0.1" // a Dialer tells of the first
		if len(c.addresses) > 0 {
			first = c.addresses[0]
		}
		_, err := Dial(t.Context(), net.JoinHostPort(first, port), o, nil)
		if err == nil || errors.Is(err, syscall.ECONNREFUSED) != c.refused {
			t.Errorf("of %v: %v", c.addresses, err)
		}
	}
}
