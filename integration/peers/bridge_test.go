package peers

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"baton/integration/client"
	"baton/integration/process"
	"baton/network/bridge"
)

const (
	bridged = 2000 // messages each way
	last    = "last"
)

var bridgedPeers = map[string]func(ctx context.Context, dir string) (*Peer, error){
	"activemq": func(ctx context.Context, dir string) (*Peer, error) { return StartActiveMQ(ctx, dir) },
	"rabbitmq": StartRabbitMQ,
}

// Two bridges, one each way, to a real broker: that is killed and started again while they move messages, and then Baton is.
// Nothing is lost. What comes twice is counted and marked, and nothing does where the receiver knows it.
func TestBridgesSurviveKills(t *testing.T) {
	t.Parallel()
	for name, start := range bridgedPeers {
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
			both.open()
			if err := peer.Restart(ctx); err != nil {
				t.Fatal(err)
			}
			both.move(ctx, t, bridged/40)
			baton.Kill()
			both.open()
			baton = again()

			gotIn, gotOut := newArrivals(t, baton.Addr, "/queue/in"), newArrivals(t, peer.Addr, "/queue/out")
			defer func() {
				t.Logf("in %+v", both[0].Status())
				t.Logf("out %+v", both[1].Status())
			}()
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
		})
	}
}

// What docs/migrating.md tells, done with its own configuration.
func TestMigratingGuide(t *testing.T) {
	t.Parallel()
	for name, start := range bridgedPeers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), startup)
			defer cancel()
			peer, err := start(ctx, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Stop()
			g := newGuide(ctx, t, name, peer.Addr)
			defer func() { g.baton.Kill() }()

			// Step 2: the application is at Baton, its neighbours are not.
			neighbour := dial(t, peer.Addr)
			defer neighbour.Close()
			pass(t, neighbour, g.dial(), "/queue/orders")
			pass(t, g.dial(), neighbour, "/queue/invoices")
			// Step 3: a producer has moved.
			pass(t, g.dial(), g.dial(), "/queue/orders")
			// Step 4: nobody has taken this invoice when its consumers move.
			send(t, neighbour, "/queue/invoices", "left")
			g.turn(ctx)
			if got := receive(t, g.dial(), "/queue/invoices"); got != "left" {
				t.Errorf("got the invoice %q", got)
			}
		})
	}
}

// A guide is docs/migrating.md, and the Baton that runs as it says.
type guide struct {
	t     *testing.T
	name  string
	fill  *strings.Replacer // puts in what is an example there
	o     process.Options
	baton *process.Broker
}

func newGuide(ctx context.Context, t *testing.T, name, addr string) *guide {
	t.Helper()
	dir := t.TempDir()
	binary, err := process.Build(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	passcode := filepath.Join(dir, "passcode")
	write(t, passcode, "guest\n")
	g := &guide{t: t, name: name, o: process.Options{Binary: binary, Data: filepath.Join(dir, "data"), Flags: []string{"--config", filepath.Join(dir, "baton.yml")}}}
	g.fill = strings.NewReplacer(name+".example:61613", addr, "login: bridge", "login: guest", "/etc/baton/bridge.passcode", passcode)
	g.start(ctx, g.block(name))
	return g
}

// block is the part of the guide's configuration that begins with this comment.
func (g *guide) block(comment string) string {
	g.t.Helper()
	_, after, found := strings.Cut(read(g.t, "../../docs/migrating.md"), "   ```yaml\n   # "+comment+"\n")
	text, _, ends := strings.Cut(after, "   ```\n")
	if !found || !ends {
		g.t.Fatalf("docs/migrating.md has no configuration that begins with the comment %s", comment)
	}
	return g.fill.Replace(strings.ReplaceAll("\n"+text, "\n   ", "\n"))
}

func (g *guide) start(ctx context.Context, yaml string) {
	g.t.Helper()
	write(g.t, g.o.Flags[1], yaml)
	b, err := process.Start(ctx, g.o)
	if err != nil {
		g.t.Fatal(err)
	}
	g.baton = b
}

// turn is step 4.
func (g *guide) turn(ctx context.Context) {
	g.t.Helper()
	first, rest, found := strings.Cut(g.block(g.name), "  - name: invoices-out\n")
	connection, _, ends := strings.Cut(rest, "    direction: out\n")
	if !found || !ends {
		g.t.Fatal("docs/migrating.md has no bridge invoices-out")
	}
	if err := g.baton.Terminate(ctx); err != nil {
		g.t.Fatal(err)
	}
	g.start(ctx, first+strings.TrimPrefix(g.block("invoices"), "\n")+connection)
}

func (g *guide) dial() *client.Conn {
	g.t.Helper()
	c := dial(g.t, g.baton.Addr)
	g.t.Cleanup(func() { c.Close() })
	return c
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func send(t *testing.T, c *client.Conn, queue, body string) {
	t.Helper()
	if err := c.Call("SEND", []byte(body), "destination", queue, "persistent", "true"); err != nil {
		t.Fatal(err)
	}
}

// receive takes one message.
func receive(t *testing.T, c *client.Conn, queue string) (body string) {
	t.Helper()
	if err := c.Call("SUBSCRIBE", nil, "id", "r", "destination", queue); err != nil {
		t.Fatal(err)
	}
	f, err := c.Next()
	if err != nil {
		t.Fatalf("%s: %v", queue, err)
	}
	body = string(f.Body)
	if err := c.Call("UNSUBSCRIBE", nil, "id", "r"); err != nil {
		t.Fatal(err)
	}
	return body
}

// pass sends a message at one broker and takes it at another.
func pass(t *testing.T, from, to *client.Conn, queue string) {
	t.Helper()
	body := "body " + strconv.FormatInt(runs.Add(1), 10)
	send(t, from, queue, body)
	if got := receive(t, to, queue); got != body {
		t.Errorf("%s: got %q, want %q", queue, got, body)
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
type running []held

// A held bridge hears its source only while that is wanted.
type held struct {
	*bridge.Bridge
	source *valve
}

func run(t *testing.T, options ...bridge.Options) (r running, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var all sync.WaitGroup
	stop = func() {
		cancel()
		r.open()
		all.Wait()
	}
	t.Cleanup(stop)
	for _, o := range options {
		source := &valve{address: o.Source.Address}
		o.Window, o.RetryMost, o.Source.Dial = 64, time.Second, source.dial
		b := bridge.New(o)
		all.Go(func() { b.Run(ctx) })
		r = append(r, held{b, source})
	}
	return r, stop
}

// move waits until each has moved so many more, which must not have been all. Who has waits for the others, and for open.
func (r running) move(ctx context.Context, t *testing.T, more uint64) {
	t.Helper()
	goals := map[held]uint64{}
	for _, b := range r {
		goals[b] = b.Status().Moved + more
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(goals) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%+v: %v", goals, ctx.Err())
		}
		for b, goal := range goals {
			if b.Status().Moved >= goal {
				b.source.shut()
				delete(goals, b)
			}
		}
	}
	for _, b := range r {
		if s := b.Status(); s.Moved >= bridged {
			t.Fatalf("%s has moved all before anything was killed: more messages are needed", s.Name)
		}
	}
}

func (r running) open() {
	for _, b := range r {
		b.source.open()
	}
}

// A valve dials, and holds back what is said there while it is shut.
type valve struct {
	address string
	mu      sync.Mutex
	opened  chan struct{} // nil: it is open
}

func (v *valve) shut() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.opened == nil {
		v.opened = make(chan struct{})
	}
}

func (v *valve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.opened != nil {
		close(v.opened)
	}
	v.opened = nil
}

func (v *valve) await() {
	v.mu.Lock()
	opened := v.opened
	v.mu.Unlock()
	if opened != nil {
		<-opened
	}
}

func (v *valve) dial(ctx context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", v.address)
	return valved{conn, v}, err
}

type valved struct {
	net.Conn
	*valve
}

func (c valved) Read(p []byte) (int, error) {
	c.await()
	return c.Conn.Read(p[:min(len(p), 4<<10)])
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
	c.SetDeadline(time.Now().Add(5 * time.Minute)) // RabbitMQ syncs for a few messages at a time, and disks stall
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
		a.t.Fatalf("%s, after %d messages: %v; %s", a.queue, len(a.times), err, a.missing())
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

// missing names the numbers that have not come.
func (a *arrivals) missing() string {
	var numbers []int
	for n := range bridged {
		if a.times[strconv.Itoa(n)] == 0 {
			numbers = append(numbers, n)
		}
	}
	return fmt.Sprintf("%d are missing, %.200s", len(numbers), fmt.Sprint(numbers))
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
