package client

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience ends what hangs. No test measures time against it.
const patience = 30 * time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A scripted broker does what a test tells it, however odd.
type scripted struct {
	t        *testing.T
	listener net.Listener
	arrived  chan net.Conn
}

func listen(t *testing.T) *scripted {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &scripted{t, listener, make(chan net.Conn, 100)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			b.arrived <- conn
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-ended
		for len(b.arrived) > 0 {
			(<-b.arrived).Close()
		}
	})
	return b
}

func (b *scripted) addr() string { return b.listener.Addr().String() }

// accept is the next connection.
func (b *scripted) accept() *peer {
	b.t.Helper()
	select {
	case conn := <-b.arrived:
		conn.SetDeadline(time.Now().Add(patience))
		b.t.Cleanup(func() { conn.Close() })
		return &peer{b.t, conn, frame.NewReader(conn), frame.NewWriter(conn)}
	case <-time.After(patience):
		b.t.Fatal("nobody has connected")
		return nil
	}
}

// connected is the next connection, answered with CONNECTED.
func (b *scripted) connected(headers ...string) *peer {
	b.t.Helper()
	p := b.accept()
	p.want("CONNECT")
	p.sayConnected(headers...)
	return p
}

// A peer is the broker's end of a connection.
type peer struct {
	t *testing.T
	net.Conn
	in  *frame.Reader
	out *frame.Writer
}

// next reads a frame.
func (p *peer) next() *frame.Frame {
	p.t.Helper()
	for {
		f, err := p.in.Read()
		if err != nil {
			p.t.Fatalf("the client's next frame: %v", err)
		}
		if f != nil {
			return f
		}
	}
}

// want reads a frame, which must be such a one with these headers.
func (p *peer) want(command string, headers ...string) *frame.Frame {
	p.t.Helper()
	f := p.next()
	if f.Command != command {
		p.t.Fatalf("got %s %v %q, want %s", f.Command, f.Header, f.Body, command)
	}
	for i := 0; i < len(headers); i += 2 {
		if got := f.Header.Get(headers[i]); got != headers[i+1] {
			p.t.Errorf("%s: %s is %q, want %q", command, headers[i], got, headers[i+1])
		}
	}
	return f
}

// wantSend reads a SEND with that body.
func (p *peer) wantSend(body string) *frame.Frame {
	p.t.Helper()
	f := p.want("SEND")
	if string(f.Body) != body {
		p.t.Fatalf("got SEND %q, want %q", f.Body, body)
	}
	return f
}

// wantEnd wants the client to have closed the connection, whatever it still says.
func (p *peer) wantEnd() {
	p.t.Helper()
	for {
		if _, err := p.in.Read(); err != nil {
			if strings.Contains(err.Error(), "timeout") {
				p.t.Fatal("the client goes on waiting")
			}
			return
		}
	}
}

// sayConnected answers CONNECT, in headers without escapes.
func (p *peer) sayConnected(headers ...string) {
	p.t.Helper()
	text := "CONNECTED\nversion:1.2\n"
	for i := 0; i < len(headers); i += 2 {
		text += headers[i] + ":" + headers[i+1] + "\n"
	}
	if _, err := p.Write([]byte(text + "\n\x00")); err != nil {
		p.t.Fatalf("CONNECTED: %v", err)
	}
}

func (p *peer) say(command string, headers ...string) { p.sayBody(command, "", headers...) }

func (p *peer) sayBody(command, body string, headers ...string) {
	p.t.Helper()
	f := frame.New(command, headers...)
	f.Body = []byte(body)
	if err := p.out.Write(f); err != nil {
		p.t.Fatalf("%s: %v", command, err)
	}
}

// receipt answers a frame.
func (p *peer) receipt(f *frame.Frame) {
	p.t.Helper()
	p.say("RECEIPT", "receipt-id", f.Header.Get("receipt"))
}

// message delivers one to the subscription.
func (p *peer) message(subscription *frame.Frame, id, body string) {
	p.t.Helper()
	p.sayBody("MESSAGE", body, "subscription", subscription.Header.Get("id"), "message-id", id, "ack", id, "destination", "/queue/a")
}

// A dialled client is on its way.
type dialled struct {
	c   *Client
	err error
}

func dialing(t *testing.T, url string, o Options) <-chan dialled {
	t.Helper()
	done := make(chan dialled, 1)
	ctx := within(t)
	go func() {
		c, err := Dial(ctx, url, o)
		done <- dialled{c, err}
	}()
	return done
}

// get is the client, which is closed with the test.
func get(t *testing.T, dialing <-chan dialled) *Client {
	t.Helper()
	d := <-dialing
	if d.err != nil {
		t.Fatal(d.err)
	}
	t.Cleanup(func() { cut(d.c) })
	return d.c
}

// cut closes a client without waiting for anything.
func cut(c *Client) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c.Close(ctx)
}

// pair is a client and the broker's end of its first connection.
func pair(t *testing.T, b *scripted, options string, o Options) (*Client, *peer) {
	t.Helper()
	d := dialing(t, "failover:("+b.addr()+")?initialReconnectDelay=1&maxReconnectDelay=1&"+options, o)
	p := b.connected()
	return get(t, d), p
}

// async calls fn beside the test.
func async(fn func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	return done
}

func wait(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatal("a call hangs")
		return nil
	}
}

func waitNil(t *testing.T, done <-chan error) {
	t.Helper()
	if err := wait(t, done); err != nil {
		t.Fatal(err)
	}
}
