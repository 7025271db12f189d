package peers

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"baton/integration/client"
	"baton/integration/process"
	"baton/network/bridge"
)

const (
	bridged = 4000 // messages each way
	last    = "last"
)

// Two bridges, one each way, to a real broker: that is killed and started again while they move messages, and then Baton is.
// Nothing is lost. What comes twice is counted and marked, and nothing does where the receiver knows it.
func TestBridgesSurviveKills(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(ctx context.Context, dir string) (*Peer, error){
		"activemq": func(ctx context.Context, dir string) (*Peer, error) { return StartActiveMQ(ctx, dir) },
		"rabbitmq": StartRabbitMQ,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), startup)
			defer cancel()
			peer, err := start(ctx, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Stop()
			baton, again := startBridged(ctx, t)
			defer func() { baton.Kill() }()
			fill(t, peer.Addr, "/queue/in")
			fill(t, baton.Addr, "/queue/out")

			in := bridge.Options{
				Name:   "in",
				Source: bridge.Side{Address: peer.Addr, Host: "/", Destination: "/queue/in"},
				Target: bridge.Side{Address: baton.Addr, Destination: "/queue/in"},
			}
			if name == "rabbitmq" {
				in.IDHeader = "amqp-message-id"
			}
			out := bridge.Options{
				Name:   "out",
				Source: bridge.Side{Address: baton.Addr, Destination: "/queue/out"},
				Target: bridge.Side{Address: peer.Addr, Host: "/", Destination: "/queue/out"},
			}
			both, stop := run(t, in, out)
			both.move(ctx, t, bridged/40)
			peer.Stop()
			if err := peer.Restart(ctx); err != nil {
				t.Fatal(err)
			}
			both.move(ctx, t, bridged/40)
			baton.Kill()
			baton = again()

			gotIn, gotOut := newArrivals(t, baton.Addr, "/queue/in"), newArrivals(t, peer.Addr, "/queue/out")
			gotIn.all()
			gotOut.all()
			stop()
			gotIn.rest()
			gotOut.rest()
			gotIn.complete(both[0].Status().Repeated)
			gotOut.complete(both[1].Status().Repeated)
			for id, times := range gotIn.times {
				if n, _ := strconv.Atoi(id); times > 1 && (name == "activemq" || n%2 == 1) {
					t.Errorf("%s came %d times, though it has an id that Baton knows", id, times)
				}
			}
			t.Logf("in %+v", both[0].Status())
			t.Logf("out %+v", both[1].Status())
		})
	}
}

// startBridged runs Baton, and returns what starts it again when it was killed, at the same address and on its data.
func startBridged(ctx context.Context, t *testing.T) (*process.Broker, func() *process.Broker) {
	t.Helper()
	dir := t.TempDir()
	binary, err := process.Build(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	o := process.Options{Binary: binary, Data: filepath.Join(dir, "data")}
	start := func() *process.Broker {
		b, err := process.Start(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		o.Listen = b.Addr
		return b
	}
	return start(), start
}

// fill sends the numbers below bridged, of which the odd ones have an id of their own.
func fill(t *testing.T, addr, queue string) {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	written := make(chan error, 1)
	go func() {
		for i := range bridged {
			id := strconv.Itoa(i)
			headers := []string{"destination", queue, "persistent", "true", "n", id, "receipt", id}
			if i%2 == 1 {
				headers = append(headers, "amqp-message-id", "id-"+id)
			}
			if err := c.Write("SEND", []byte("body "+id+"\x00\n"), headers...); err != nil {
				written <- err
				return
			}
		}
		written <- c.Flush()
	}()
	for range bridged {
		if _, err := c.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
}

// dial connects as all three brokers like it.
func dial(t *testing.T, addr string) *client.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := client.Raw(conn)
	c.SetDeadline(time.Now().Add(startup))
	c.Write("CONNECT", nil, "accept-version", "1.2", "host", "/")
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if f, err := c.Next(); err != nil || f.Command != "CONNECTED" {
		t.Fatal(f, err)
	}
	return c
}

// running are bridges that run until they are stopped, at the end of the test at the latest.
type running []*bridge.Bridge

func run(t *testing.T, options ...bridge.Options) (r running, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var all sync.WaitGroup
	stop = func() {
		cancel()
		all.Wait()
	}
	t.Cleanup(stop)
	for _, o := range options {
		o.Window, o.RetryMost = 64, time.Second
		b := bridge.New(o)
		all.Go(func() { b.Run(ctx) })
		r = append(r, b)
	}
	return r, stop
}

// move waits until each has moved so many more, which must not have been all.
func (r running) move(ctx context.Context, t *testing.T, more uint64) {
	t.Helper()
	var goals []uint64
	for _, b := range r {
		goals = append(goals, b.Status().Moved+more)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i, b := range r {
		for b.Status().Moved < goals[i] {
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("%+v: %v", b.Status(), ctx.Err())
			}
		}
	}
	for _, b := range r {
		if s := b.Status(); s.Moved >= bridged {
			t.Fatalf("%s has moved all before anything was killed: more messages are needed", s.Name)
		}
	}
}

// arrivals are what is taken from a queue, by number.
type arrivals struct {
	t        *testing.T
	c        *client.Conn
	queue    string
	times    map[string]int
	unmarked []string // numbers that came again, not marked so
}

func newArrivals(t *testing.T, addr, queue string) *arrivals {
	t.Helper()
	c := dial(t, addr)
	t.Cleanup(func() { c.Close() })
	if err := c.Call("SUBSCRIBE", nil, "id", "1", "destination", queue); err != nil {
		t.Fatal(err)
	}
	return &arrivals{t: t, c: c, queue: queue, times: map[string]int{}}
}

// all takes messages until each number has come.
func (a *arrivals) all() {
	a.t.Helper()
	for len(a.times) < bridged {
		a.next()
	}
}

// rest takes what has come beside that, until a message of our own comes.
func (a *arrivals) rest() {
	a.t.Helper()
	if err := a.c.Call("SEND", nil, "destination", a.queue, "n", last); err != nil {
		a.t.Fatal(err)
	}
	for a.next() != last {
	}
}

func (a *arrivals) next() (n string) {
	a.t.Helper()
	f, err := a.c.Next()
	if err != nil {
		a.t.Fatalf("%s, after %d messages: %v", a.queue, len(a.times), err)
	}
	if n = f.Header("n"); n == last {
		return n
	}
	if string(f.Body) != "body "+n+"\x00\n" {
		a.t.Errorf("%s: %s arrived as %q", a.queue, n, f.Body)
	}
	if a.times[n]++; a.times[n] > 1 && f.Header("x-bridge-redelivered") != "true" {
		a.unmarked = append(a.unmarked, n)
	}
	return n
}

// complete says what came again without being counted or marked.
func (a *arrivals) complete(repeated uint64) {
	a.t.Helper()
	copies := 0
	for _, times := range a.times {
		copies += times - 1
	}
	if uint64(copies) > repeated {
		a.t.Errorf("%s: %d came twice, and only %d were counted", a.queue, copies, repeated)
	}
	if len(a.unmarked) > 0 {
		a.t.Errorf("%s: these came again and were not marked: %v", a.queue, a.unmarked)
	}
	a.t.Logf("%s: %d came twice, %d were counted as maybe", a.queue, copies, repeated)
}
