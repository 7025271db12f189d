package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
)

// A broker is the other end of a connection of a bridge, that a test plays.
type broker struct {
	t *testing.T
	net.Conn
	frames *frame.Reader
}

func (b *broker) expect(command string) *frame.Frame {
	b.t.Helper()
	for {
		f, err := b.frames.Read()
		if err != nil {
			b.t.Fatalf("waiting for %s: %v", command, err)
		}
		if f == nil {
			continue // a heart-beat
		}
		if f.Command != command {
			b.t.Fatalf("got %s, want %s", f.Command, command)
		}
		return f
	}
}

func (b *broker) say(text string) {
	b.t.Helper()
	if _, err := b.Write([]byte(text + "\n\n\x00")); err != nil {
		b.t.Fatal(err)
	}
}

// A stage is a bridge between two brokers that a test plays. Connections come in the order in which they are made.
type stage struct {
	*Bridge
	sources, targets chan *broker
}

func newStage(t *testing.T, o Options) *stage {
	t.Helper()
	s := &stage{sources: make(chan *broker), targets: make(chan *broker)}
	o.Name, o.RetryLeast = "b", time.Millisecond
	o.Source.Address, o.Target.Address = "source.example:1", "target.example:1"
	o.Source.Destination, o.Target.Destination = "/queue/a", "/queue/b"
	o.Source.Dial, o.Target.Dial = dialer(t, s.sources), dialer(t, s.targets)
	s.Bridge = New(o)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return s
}

func dialer(t *testing.T, to chan<- *broker) func(ctx context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		_ = theirs.SetDeadline(time.Now().Add(30 * time.Second))
		select {
		case to <- &broker{t, theirs, frame.NewReader(theirs)}:
			t.Cleanup(func() { _ = theirs.Close() })
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// connected plays both handshakes, up to the receipt of SUBSCRIBE.
func (s *stage) connected() (source, target *broker) {
	source = <-s.sources
	source.expect(frame.CONNECT)
	source.say("CONNECTED\nversion:1.2")
	target = <-s.targets
	target.expect(frame.CONNECT)
	target.say("CONNECTED\nversion:1.2")
	source.expect(frame.SUBSCRIBE)
	source.say("RECEIPT\nreceipt-id:subscribed")
	return source, target
}

func message(id string) string {
	return "MESSAGE\nsubscription:bridge\ndestination:/queue/a\nmessage-id:" + id + "\nack:ack-" + id
}

// Receipts may come in any order: nothing is acknowledged before its own has come, nor before those of all before.
func TestAcknowledgesInOrderAndAfterTheReceipt(t *testing.T) {
	t.Parallel()
	s := newStage(t, Options{})
	source, target := s.connected()
	var receipts []string
	for _, id := range []string{"1", "2", "3"} {
		source.say(message(id))
		receipts = append(receipts, target.expect(frame.SEND).Header.Get(frame.Receipt))
	}
	for _, i := range []int{2, 1} {
		target.say("RECEIPT\nreceipt-id:" + receipts[i])
	}
	acked := make(chan string, 3)
	go func() {
		for range 3 {
			f, err := source.frames.Read()
			if err != nil {
				break
			}
			acked <- f.Header.Get(frame.Id)
		}
		close(acked)
	}()
	// A fourth message goes all the way, and nothing was acknowledged.
	source.say(message("4"))
	target.expect(frame.SEND)
	select {
	case id := <-acked:
		t.Fatalf("%s was acknowledged, and the first has no receipt", id)
	default:
	}
	target.say("RECEIPT\nreceipt-id:" + receipts[0])
	for _, want := range []string{"ack-1", "ack-2", "ack-3"} {
		if got := <-acked; got != want {
			t.Errorf("acknowledged %s, want %s", got, want)
		}
	}
}

// After a break, what the target had answered is acknowledged and not sent; what it may have is sent again, and marked.
func TestSendsAgainOnlyWhatHasNoReceipt(t *testing.T) {
	t.Parallel()
	s := newStage(t, Options{})
	source, target := s.connected()
	source.say(message("1"))
	first := target.expect(frame.SEND)
	target.say("RECEIPT\nreceipt-id:" + first.Header.Get(frame.Receipt))
	source.expect(frame.ACK) // it is lost
	source.say(message("2"))
	second := target.expect(frame.SEND)
	_ = source.Close()

	source, target = s.connected()
	source.say(message("1"))
	if f := source.expect(frame.ACK); f.Header.Get(frame.Id) != "ack-1" {
		t.Errorf("acknowledged %s", f.Header.Get(frame.Id))
	}
	source.say(message("2"))
	again := target.expect(frame.SEND)
	if id := again.Header.Get(headerDedup); id != "b/2" || id != second.Header.Get(headerDedup) || again.Header.Get(headerAgain) != "true" {
		t.Errorf("sent again with the headers %v", again.Header)
	}
	target.say("RECEIPT\nreceipt-id:" + again.Header.Get(frame.Receipt))
	source.expect(frame.ACK)
	if got := s.Status(); got.Moved != 2 || got.Repeated != 1 || got.State != Moving || got.LastError == "" {
		t.Errorf("status %+v", got)
	}
}

// Whatever a broker leaves undone, or does wrong, the bridge tells and begins anew.
func TestEveryStateEnds(t *testing.T) {
	t.Parallel()
	const short = 50 * time.Millisecond
	connected := "CONNECTED\nversion:1.2"
	for _, tc := range []struct {
		name   string
		play   func(source, target *broker)
		source string // answer to CONNECT; empty: none
		target string
		want   string
	}{
		{name: "no CONNECTED of the source", want: "source: no CONNECTED came"},
		{name: "no CONNECTED of the target", source: connected, want: "target: no CONNECTED came"},
		{name: "refused", source: connected, target: "ERROR\nmessage:who are you", want: `target: it answered ERROR: "who are you"`},
		{name: "an old broker", source: "CONNECTED\nversion:1.1", want: `source: it speaks STOMP "1.1"`},
		{name: "no STOMP", source: "HTTP/1.1 400 Bad Request", want: "is no frame of STOMP"},
		{name: "a long line", source: "CONNECTED\nx:" + strings.Repeat("x", maxLineBytes), want: "a line is longer"},
		{name: "no receipt of SUBSCRIBE", source: connected, target: connected, play: func(source, _ *broker) {
			source.expect(frame.SUBSCRIBE)
		}, want: "source: no RECEIPT came for SUBSCRIBE"},
		{name: "no receipt of SEND", source: connected, target: connected, play: func(source, target *broker) {
			source.expect(frame.SUBSCRIBE)
			source.say("RECEIPT\nreceipt-id:subscribed")
			source.say(message("1"))
			target.expect(frame.SEND)
		}, want: "target: no RECEIPT came for a SEND"},
		{name: "a receipt for nothing", source: connected, target: connected, play: func(source, target *broker) {
			source.expect(frame.SUBSCRIBE)
			target.say("RECEIPT\nreceipt-id:99")
		}, want: "a receipt came for"},
		{name: "SEND refused", source: connected, target: connected, play: func(source, target *broker) {
			source.expect(frame.SUBSCRIBE)
			source.say(message("1"))
			target.expect(frame.SEND)
			target.say("ERROR\nmessage:too large")
		}, want: `target: it answered ERROR: "too large"`},
		{name: "too large for us", source: connected, target: connected, play: func(source, _ *broker) {
			source.expect(frame.SUBSCRIBE)
			_, _ = source.Write([]byte(message("1") + "\ncontent-length:1001\n\n"))
		}, want: "want at most 1000"},
		{name: "silence", source: connected + "\nheart-beat:20,0", target: connected, play: func(source, _ *broker) {
			source.expect(frame.SUBSCRIBE)
			source.say("RECEIPT\nreceipt-id:subscribed")
		}, want: "source: the broker was silent for 60ms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, Options{Timeout: short, ReceiptTimeout: short, HeartBeat: 30 * time.Millisecond, MaxBodyBytes: 1000})
			source := <-s.sources
			source.expect(frame.CONNECT)
			if tc.source != "" {
				_, _ = source.Write([]byte(tc.source + "\n\n\x00"))
			}
			if tc.source == connected || strings.HasPrefix(tc.source, connected+"\n") {
				target := <-s.targets
				target.expect(frame.CONNECT)
				if tc.target != "" {
					target.say(tc.target)
				}
				if tc.play != nil {
					tc.play(source, target)
				}
			}
			again := <-s.sources // it connects anew
			again.expect(frame.CONNECT)
			if got := s.Status(); !strings.Contains(got.LastError, tc.want) {
				t.Errorf("%s: %s, want %s", got.State, got.LastError, tc.want)
			}
		})
	}
}

// A bridge that is told to stop settles what it has in hand, takes nothing more, and says goodbye.
func TestStopSettlesWhatIsInHand(t *testing.T) {
	t.Parallel()
	sources, targets := make(chan *broker), make(chan *broker)
	o := Options{Name: "b"}
	o.Source.Destination, o.Source.Dial, o.Target.Dial = "/queue/a", dialer(t, sources), dialer(t, targets)
	s := &stage{New(o), sources, targets}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	source, target := s.connected()
	source.say(message("1"))
	receipt := target.expect(frame.SEND).Header.Get(frame.Receipt)
	stop()
	_ = source.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if f, err := source.frames.Read(); err == nil {
		t.Fatalf("%s came, and a message is in hand", f.Command)
	}
	_ = source.SetReadDeadline(time.Now().Add(30 * time.Second))
	target.say("RECEIPT\nreceipt-id:" + receipt)
	source.expect(frame.ACK)
	source.say("RECEIPT\nreceipt-id:" + source.expect(frame.DISCONNECT).Header.Get(frame.Receipt))
	<-ended
	if got := s.Status(); got.State != Stopped || got.Moved != 1 || got.LastError != "" {
		t.Errorf("status %+v", got)
	}
}

// A passcode does not show, neither in errors nor in what they wrap.
func TestConnectFrame(t *testing.T) {
	t.Parallel()
	s := Side{Address: "a.example:1", Host: "/", Login: "me", Passcode: `a:b\c`}
	want := "CONNECT\naccept-version:1.2\nhost:/\nheart-beat:500,500\nlogin:me\npasscode:a:b\\c\n\n\x00"
	if got := string(s.connectFrame(500 * time.Millisecond)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s.Dial = func(context.Context) (net.Conn, error) { return nil, errors.New("nobody") }
	_, err := New(Options{}).open(t.Context(), "source", s)
	if err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, err), "a:b") {
		t.Errorf("the error is %v", err)
	}
}
