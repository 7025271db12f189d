package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"baton/integration/client"
	"baton/integration/process"
	"baton/network/bridge"
)

// A connection of a bridge ends, or falls silent, after each possible number of octets that it has read or written, from the
// first of CONNECT to the last acknowledgement. The bridge connects anew, and its messages arrive once, in order.
func TestBridgeSurvivesTheEndOfEveryStep(t *testing.T) {
	t.Parallel()
	b, err := process.Start(within(t), options(t, "BATON_STOMP_HEARTBEAT_SEND=200ms"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Kill) // when all below have ended
	for _, side := range []string{"source", "target"} {
		for _, way := range []string{"read", "write"} {
			for _, end := range []string{"cut", "silent"} {
				t.Run(side+" "+way+" "+end, func(t *testing.T) {
					t.Parallel()
					everyOctet(t, b.Addr, side, way, end == "silent")
				})
			}
		}
	}
}

// everyOctet ends a connection after 0, 1, 2 … octets, until one came to its end before.
func everyOctet(t *testing.T, addr, side, way string, silent bool) {
	ctx := within(t)
	var next atomic.Int64
	var enough atomic.Bool
	var all sync.WaitGroup
	for range 64 { // they wait, mostly
		all.Go(func() {
			for !enough.Load() && !t.Failed() {
				n := int(next.Add(1)) - 1
				if !moveOne(ctx, t, addr, side, way, n, silent) {
					enough.Store(true)
				}
			}
		})
	}
	all.Wait()
	if n := next.Load(); n < 100 {
		t.Errorf("only %d octets were tried", n)
	}
}

// moveOne has a bridge move two messages over a connection that ends after n octets, and says whether that came to be.
func moveOne(ctx context.Context, t *testing.T, addr, side, way string, n int, silent bool) bool {
	name := fmt.Sprintf("%s-%s-%t-%d", side, way, silent, n)
	from, to := "/queue/from-"+name, "/queue/to-"+name
	c, err := client.Dial(ctx, addr, client.Options{})
	if err != nil {
		t.Error(err)
		return false
	}
	defer c.Close()
	if err := errors.Join(c.Call("SUBSCRIBE", nil, "id", "1", "destination", to), c.Call("SEND", []byte(name), "destination", from)); err != nil {
		t.Error(err)
		return false
	}
	weak := &weakness{addr: addr, way: way, octets: n, silent: silent}
	o := bridge.Options{
		Name: "b", RetryLeast: time.Millisecond, Timeout: time.Second, ReceiptTimeout: time.Second, HeartBeat: 200 * time.Millisecond,
		Source: bridge.Side{Address: addr, Destination: from}, Target: bridge.Side{Address: addr, Destination: to},
	}
	if side == "source" {
		o.Source.Dial = weak.dial
	} else {
		o.Target.Dial = weak.dial
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		bridge.Run(running, o)
	}()
	// The second message comes next: the first did not come again.
	err = errors.Join(arrives(c, name), c.Call("SEND", []byte("second"), "destination", from), arrives(c, "second"))
	stop()
	<-ended
	if err == nil {
		err = errors.Join(c.Call("SEND", []byte("end"), "destination", to), arrives(c, "end"))
	}
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return false
	}
	return weak.ended.Load()
}

func arrives(c *client.Conn, body string) error {
	f, err := c.Next()
	if err == nil && string(f.Body) != body {
		err = fmt.Errorf("got %q, want %q", f.Body, body)
	}
	return err
}

// A weakness makes connections of which the first ends after so many octets.
type weakness struct {
	addr   string
	way    string // read or write
	octets int
	silent bool
	dialed bool
	ended  atomic.Bool
}

func (w *weakness) dial(ctx context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", w.addr)
	if err != nil || w.dialed {
		return conn, err
	}
	w.dialed = true
	return &weakConn{conn, w, w.octets}, nil
}

type weakConn struct {
	net.Conn
	*weakness
	left int
}

func (c *weakConn) Read(p []byte) (int, error) {
	if c.way != "read" {
		return c.Conn.Read(p)
	}
	for c.left == 0 {
		if err := c.end(); err != nil {
			return 0, err
		}
		if _, err := c.Conn.Read(p); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func (c *weakConn) Write(p []byte) (int, error) {
	if c.way != "write" {
		return c.Conn.Write(p)
	}
	n, err := c.Conn.Write(p[:min(len(p), c.left)])
	c.left -= n
	if err == nil && n < len(p) {
		n, err = len(p), c.end()
	}
	return n, err
}

func (c *weakConn) end() error {
	c.ended.Store(true)
	if c.silent {
		return nil
	}
	_ = c.Conn.Close()
	return net.ErrClosed
}

// What the list bridges says is done while the broker serves, and what is in hand when it is told to stop is settled before.
func TestBridgesOfTheConfiguration(t *testing.T) {
	t.Parallel()
	ctx := within(t)
	there, err := process.Start(ctx, options(t))
	if err != nil {
		t.Fatal(err)
	}
	defer there.Kill()
	here, err := process.Start(ctx, options(t, "BATON_BRIDGES=["+
		"{name: in, address: '"+there.Addr+"', direction: in, source: /queue/a, destination: /queue/b, selector: 'n < 100', headers: [{from: n, to: number}]},"+
		"{name: out, address: '"+there.Addr+"', direction: out, source: /queue/b, destination: /queue/c},"+
		"{name: nowhere, address: '127.0.0.1:1', direction: in, source: /queue/a, destination: /queue/b}]"))
	if err != nil {
		t.Fatal(err)
	}
	defer here.Kill()
	c, err := client.Dial(ctx, there.Addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Call("SUBSCRIBE", nil, "id", "1", "destination", "/queue/c"); err != nil {
		t.Fatal(err)
	}
	for i := range 200 { // there and back again
		if err := c.Call("SEND", nil, "destination", "/queue/a", "n", strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		f, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Header("number") != strconv.Itoa(i) || f.Has("n") {
			t.Fatalf("message %d is\n%s", i, f)
		}
	}
	if err := here.Terminate(ctx); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(here.Log(), "nowhere") {
		t.Errorf("the log does not say that a bridge finds nobody:\n%s", here.Log())
	}
	// What was moved is gone from its source; what the selector did not want is there.
	if err := c.Call("SUBSCRIBE", nil, "id", "2", "destination", "/queue/a"); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		f, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Header("n") != strconv.Itoa(100+i) || f.Has("redelivered") {
			t.Fatalf("left there is\n%s", f)
		}
	}
}
