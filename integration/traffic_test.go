package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3"

	"baton/failover/client"
	"baton/integration/process"
)

// traffic is clients of a pair that work until they are told to end, whoever is master, each flow with a queue of its own:
//
//	ids       failover/client, whose messages have deduplication ids
//	plain     the same without ids
//	python    the recipe of docs/failover.md, running on and on
//	ruby      the same
//
// What is delivered is noted: each message must be in its queue once, in order, and come again only if it says so.
type traffic struct {
	t     *testing.T
	url   string
	flows []*flow
}

type flow struct {
	name  string
	seen  *seen
	pulse *pulse // of a Go producer; nil: it is a script
	safe  int    // how many a script had receipts for; read when it has ended
	end   func()
}

// startTraffic starts the flows with these names.
func startTraffic(t *testing.T, p *pair, names ...string) *traffic {
	t.Helper()
	tr := &traffic{t: t, url: p.url()}
	for _, name := range names {
		f := &flow{name: name, seen: newSeen(1)}
		switch name {
		case "ids", "plain":
			tr.program(f)
		default:
			tr.script(f, [2]string{p.nodes[0].Addr, p.nodes[1].Addr})
		}
		tr.flows = append(tr.flows, f)
	}
	return tr
}

func (f *flow) queue() string { return "/queue/" + f.name }

// program starts a producer and a consumer over failover/client.
func (tr *traffic) program(f *flow) {
	t := tr.t
	f.pulse = newPulse()
	ctx, cancel := context.WithCancel(t.Context())
	consumer := dialFailover(t, tr.url, client.Options{})
	s, err := consumer.Subscribe(ctx, f.queue(), stomp.AckClientIndividual)
	must(t, "subscribe", err)
	producer := dialFailover(t, tr.url, client.Options{
		NoDeduplication: f.name == "plain", OnConnect: func(client.Connected) { f.pulse.connected() },
	})
	var consuming sync.WaitGroup
	consuming.Go(func() {
		if err := f.consume(ctx, consumer, s); !errors.Is(err, client.ErrClosed) && ctx.Err() == nil {
			t.Errorf("%s: %v", f.name, err)
		}
	})
	enough := make(chan struct{})
	sent := make(chan int, 1)
	go func() { sent <- f.produce(ctx, t, producer, enough) }()
	f.end = func() {
		close(enough)
		n := <-sent
		must(t, f.name+": close", producer.Close(within(t)))
		f.seen.await(t, within(t), n)
		must(t, f.name+": close", consumer.Close(within(t)))
		cancel()
		consuming.Wait()
		f.seen.check(t, n)
	}
}

// sendEvery is the time between two messages of a producer: all pairs together send as many as one alone.
func sendEvery() time.Duration { return time.Duration(max(*pairs, 1)) * time.Millisecond }

// produce sends until it has been enough, and returns how many messages that were.
func (f *flow) produce(ctx context.Context, t *testing.T, c *client.Client, enough <-chan struct{}) (sent int) {
	pacing := time.NewTicker(sendEvery())
	defer pacing.Stop()
	for ; ; sent++ {
		select {
		case <-pacing.C:
		case <-enough:
			return sent
		}
		done := func(err error) {
			if err != nil && ctx.Err() == nil {
				t.Errorf("%s: no receipt: %v", f.name, err)
			}
			f.pulse.beat()
		}
		if err := c.SendAsync(ctx, f.queue(), "", fmt.Appendf(nil, "0 %d", sent), done); err != nil {
			if ctx.Err() == nil {
				t.Errorf("%s: send: %v", f.name, err)
			}
			return sent
		}
	}
}

// consume takes messages until ctx ends.
func (f *flow) consume(ctx context.Context, c *client.Client, s *client.Subscription) error {
	for n := 0; ; n++ {
		m, err := s.Receive(ctx)
		if err != nil {
			return err
		}
		f.seen.note(m)
		if n%50 != 0 {
			err = c.Ack(ctx, m)
		} else if err = c.AckConfirmed(ctx, m); err == nil {
			f.seen.safely(m)
		}
		if err != nil && !errors.Is(err, client.ErrLostAck) {
			return err
		}
	}
}

// safely notes that an acknowledgement was confirmed.
func (s *seen) safely(m *client.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.safe[string(m.Body)] = true
}

// endless makes recipes of 200 messages go on for ever, tell how many have their receipts and the ids of what they get, each
// line at once for two threads write them, and wait less for what is lost.
var endless = map[string]*strings.Replacer{
	"python": strings.NewReplacer(
		`["order %d" % n for n in range(200)]`, `(print("safe %d\n" % n, end="", flush=True) or "order %d" % n for n in range(10**9))`,
		`len(seen) == 200`, `False`,
		`print("got", frame.body, flush=True)`,
		`print("got %s %s %s\n" % (frame.body, frame.headers["message-id"], frame.headers.get("redelivered", "false")), end="", flush=True)`),
	"ruby": strings.NewReplacer(
		`(0...200).map { |n|`, `(0...10**9).lazy.map { |n| puts "safe #{n}";`,
		`seen.size == 200`, `false`,
		`Timeout.timeout(3)`, `Timeout.timeout(1)`,
		`puts "got #{frame.body}"`, `puts "got #{frame.body} #{frame.headers["message-id"]} #{frame.headers["redelivered"] || "false"}"`),
}

// script starts a recipe.
func (tr *traffic) script(f *flow, addrs [2]string) {
	t := tr.t
	blocks := fencedBlocks(t, "../docs/failover.md", "Clients")
	code := strings.ReplaceAll(addressed(t, take(t, &blocks, f.name, "stomp"), addrs), "/queue/orders", f.queue())
	interpreter := map[string]string{"python": "/usr/bin/python3", "ruby": "ruby"}[f.name]
	cmd := exec.Command(interpreter, fileOf(t, t.TempDir(), "recipe", endless[f.name].Replace(code)))
	var complaints strings.Builder
	cmd.Stderr = &complaints
	stdout, err := cmd.StdoutPipe()
	must(t, "pipe", err)
	must(t, "start", process.StartChild(cmd))
	read := make(chan struct{})
	go func() {
		defer close(read)
		f.read(t, stdout)
	}()
	stop := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s:\n%s", f.name, complaints.String())
		}
	})
	f.end = func() {
		stop()
		tr.drain(f)
		if f.seen.distinct() > f.safe {
			f.safe++ // the last one was sent, and the script ended before its receipt
		}
		f.seen.check(t, f.safe)
	}
}

// read notes the lines "got order NUMBER ID REDELIVERED" and "safe COUNT" of a script, to its end.
func (f *flow) read(t *testing.T, stdout io.Reader) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) == 2 && words[0] == "safe" {
			f.safe, _ = strconv.Atoi(words[1])
			continue
		}
		if len(words) != 5 || words[0] != "got" || words[1] != "order" {
			if len(words) == 5 || lines.Err() == nil && !strings.HasPrefix(lines.Text(), "got") {
				t.Errorf("%s printed %q", f.name, lines.Text())
			}
			continue // a line that was cut off by the end
		}
		f.seen.delivered("0 "+words[2], words[3], words[4] == "true")
	}
}

// drain notes what a script has left in its queue.
func (tr *traffic) drain(f *flow) {
	t := tr.t
	ctx := within(t)
	c := dialFailover(t, tr.url, client.Options{})
	const end = "the end"
	must(t, "send", c.Send(ctx, f.queue(), "", []byte(end)))
	s, err := c.Subscribe(ctx, f.queue(), stomp.AckClientIndividual)
	must(t, "subscribe", err)
	for {
		m, err := s.Receive(ctx)
		must(t, "receive", err)
		must(t, "acknowledge", c.AckConfirmed(ctx, m))
		if string(m.Body) == end {
			break
		}
		f.seen.delivered("0 "+strings.TrimPrefix(string(m.Body), "order "), m.Header.Get("message-id"), m.Redelivered())
	}
	must(t, "close", c.Close(ctx))
}

// progress waits until each flow has gone on, by some messages more or less.
func (tr *traffic) progress() {
	tr.t.Helper()
	for _, f := range tr.flows {
		n := 1 + rand.IntN(20)
		if f.pulse != nil {
			n *= 10
		}
		f.seen.await(tr.t, within(tr.t), f.seen.distinct()+n)
	}
}

// stop ends all flows, wants each to be in order, and says what there was.
func (tr *traffic) stop() {
	tr.t.Helper()
	for _, f := range tr.flows {
		f.end()
		tr.t.Logf("%s: %d messages, %d deliveries, %d of them again and flagged", f.name, f.seen.distinct(), f.seen.deliveries, f.seen.again)
	}
	for _, f := range tr.flows {
		wantEmpty(tr.t, dialFailover(tr.t, tr.url, client.Options{}), f.queue())
	}
}

// An interruption is what a producer notices of a master's end.
type interruption struct {
	after time.Duration // from the cause to the first receipt on another connection
	pause time.Duration // between two receipts
}

// interrupt has something done to the master, and returns what came of it, in the order of the flows that are programs.
func (tr *traffic) interrupt(do func()) (all []interruption) {
	tr.t.Helper()
	for _, f := range tr.flows {
		if f.pulse != nil {
			f.pulse.arm()
		}
	}
	begun := time.Now()
	do()
	for _, f := range tr.flows {
		if f.pulse != nil {
			at, pause := f.pulse.revived(tr.t, f.name)
			all = append(all, interruption{at.Sub(begun), pause})
		}
	}
	return all
}

// A pulse is the receipts of a producer.
type pulse struct {
	mu          sync.Mutex
	connections int
	armed       int           // the connection that is to be lost
	again       chan struct{} // closed at the first receipt on a later one
	revival     time.Time     // when that was
	last        time.Time     // when the last one came
	longest     time.Duration // between two, since arm
}

func newPulse() *pulse {
	return &pulse{again: make(chan struct{}), revival: time.Now(), last: time.Now()}
}

func (p *pulse) connected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connections++
}

func (p *pulse) arm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed, p.again, p.revival, p.longest = p.connections, make(chan struct{}), time.Time{}, 0
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.longest = max(p.longest, now.Sub(p.last))
	p.last = now
	if p.revival.IsZero() && p.connections > p.armed {
		p.revival = now
		close(p.again)
	}
}

func (p *pulse) revived(t *testing.T, name string) (at time.Time, pause time.Duration) {
	t.Helper()
	p.mu.Lock()
	again := p.again
	p.mu.Unlock()
	select {
	case <-again:
	case <-within(t).Done():
		t.Fatalf("%s: no receipt comes any more", name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.revival, p.longest
}

// durations are measured, and told.
type durations []time.Duration

func (d durations) String() string {
	sorted := append(durations(nil), d...)
	slices.Sort(sorted)
	rank := func(percent int) time.Duration { return sorted[(len(sorted)*percent+99)/100-1].Round(time.Millisecond) }
	return "of " + strconv.Itoa(len(d)) + ": median " + rank(50).String() + ", p99 " + rank(99).String() + ", most " + rank(100).String()
}
