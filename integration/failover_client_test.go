package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
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

// A relay race is brokers that have one data directory in turn, at two addresses: what a pair is to its clients.
type relayRace struct {
	o     process.Options
	addrs [2]string
	turn  int
	b     *process.Broker
}

func startRace(t *testing.T) *relayRace {
	t.Helper()
	r := &relayRace{o: options(t, "BATON_QUEUES_MAX_DELIVERIES=65535")}
	elsewhere := r.o
	elsewhere.Data = t.TempDir()
	b := start(t, elsewhere)
	r.addrs[1] = b.Addr
	b.Kill()
	r.b = start(t, r.o)
	r.addrs[0] = r.b.Addr
	return r
}

// failOver kills the broker and starts one at the other address.
func (r *relayRace) failOver(t *testing.T) {
	t.Helper()
	r.b.Kill()
	r.turn = 1 - r.turn
	r.o.Listen = r.addrs[r.turn]
	r.b = start(t, r.o)
}

func (r *relayRace) url() string {
	return fmt.Sprintf("failover:(tcp://%s,tcp://%s)?maxReconnectDelay=100", r.addrs[0], r.addrs[1])
}

func dialFailover(t *testing.T, url string, o client.Options) *client.Client {
	t.Helper()
	c, err := client.Dial(within(t), url, o)
	must(t, "dial", err)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		c.Close(ctx)
	})
	return c
}

// failingOver is brokers that take over from one another.
type failingOver interface {
	url() string
	failOver(t *testing.T)
}

func (p *pair) url() string {
	return fmt.Sprintf("failover:(tcp://%s,tcp://%s)?maxReconnectDelay=100", p.nodes[0].Addr, p.nodes[1].Addr)
}

// failOver kills the master and starts it again, when its standby can take over.
func (p *pair) failOver(t *testing.T) {
	t.Helper()
	master := p.awaitSync()
	p.nodes[master].Kill()
	p.start(master)
}

const failovers = 5

// Producers and a consumer over brokers that are killed: each message is in the queue once, in the order of its producer, and
// comes again only if it says so; what was acknowledged for sure does not come again.
func TestFailoverClient(t *testing.T) {
	t.Parallel()
	t.Run("one after the other", func(t *testing.T) {
		t.Parallel()
		testFailoverClient(t, startRace(t))
	})
	t.Run("pair", func(t *testing.T) {
		t.Parallel()
		testFailoverClient(t, newPair(t))
	})
}

func testFailoverClient(t *testing.T, race failingOver) {
	const producers, each = 3, 2000
	seen := newSeen(producers)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	lost := 0
	var lostMu sync.Mutex
	consumer := dialFailover(t, race.url(), client.Options{OnLostAck: func(*client.Message, error) {
		lostMu.Lock()
		defer lostMu.Unlock()
		lost++
	}})
	s, err := consumer.Subscribe(ctx, "/queue/a", stomp.AckClientIndividual)
	must(t, "subscribe", err)
	consumed := make(chan error, 1)
	go func() { consumed <- seen.consume(ctx, consumer, s, producers*each) }()

	var sending sync.WaitGroup
	for i := range producers {
		c := dialFailover(t, race.url(), client.Options{})
		sending.Go(func() {
			answers := make(chan error, each)
			for n := range each {
				if err := c.SendAsync(ctx, "/queue/a", "", fmt.Appendf(nil, "%d %d", i, n), func(err error) { answers <- err }); err != nil {
					t.Error(err)
					return
				}
			}
			for range each {
				if err := <-answers; err != nil {
					t.Error(err)
				}
			}
			if err := c.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range failovers {
		seen.await(t, ctx, (i+1)*producers*each/(failovers+2))
		race.failOver(t)
	}
	sending.Wait()
	if err := <-consumed; err != nil {
		t.Fatal(err)
	}
	must(t, "close", consumer.Close(ctx))
	seen.check(t, producers*each)
	t.Logf("%d deliveries, %d of them again; %d acknowledgements lost", seen.deliveries, seen.again, lost)
	rest := dialFailover(t, race.url(), client.Options{})
	wantEmpty(t, rest, "/queue/a")
}

// seen is what a consumer has had.
type seen struct {
	mu         sync.Mutex
	ids        map[string]string // by body, its message-id
	next       []int             // by producer
	safe       map[string]bool   // bodies whose acknowledgement was confirmed
	deliveries int
	again      int
	moved      chan struct{}
	wrong      []string
}

func newSeen(producers int) *seen {
	return &seen{ids: map[string]string{}, next: make([]int, producers), safe: map[string]bool{}, moved: make(chan struct{}, 1)}
}

func (s *seen) consume(ctx context.Context, c *client.Client, sub *client.Subscription, want int) error {
	for n := 0; s.distinct() < want; n++ {
		m, err := sub.Receive(ctx)
		if err != nil {
			return err
		}
		s.note(m)
		if n%50 == 0 {
			if err = c.AckConfirmed(ctx, m); err == nil {
				s.mu.Lock()
				s.safe[string(m.Body)] = true
				s.mu.Unlock()
			}
		} else {
			err = c.Ack(ctx, m)
		}
		if err != nil && !errors.Is(err, client.ErrLostAck) {
			return err
		}
	}
	return nil
}

func (s *seen) distinct() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ids)
}

func (s *seen) note(m *client.Message) {
	s.delivered(string(m.Body), m.Header.Get("message-id"), m.Redelivered())
}

// delivered notes a body "PRODUCER NUMBER".
func (s *seen) delivered(body, id string, redelivered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliveries++
	before, was := s.ids[body]
	switch {
	case was && before != id:
		s.complain("%s is in the queue twice: %s and %s", body, before, id)
	case was && !redelivered:
		s.complain("%s came again, and does not say so", body)
	case s.safe[body]:
		s.complain("%s came again after its acknowledgement was confirmed", body)
	}
	if was {
		s.again++
		return
	}
	s.ids[body] = id
	producer, number := 0, 0
	fmt.Sscan(body, &producer, &number)
	if number != s.next[producer] {
		s.complain("%s came where %d was due", body, s.next[producer])
	}
	s.next[producer] = number + 1
	select {
	case s.moved <- struct{}{}:
	default:
	}
}

func (s *seen) complain(format string, args ...any) {
	if len(s.wrong) < 20 {
		s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
	}
}

// await waits until so many messages have come.
func (s *seen) await(t *testing.T, ctx context.Context, n int) {
	t.Helper()
	for s.distinct() < n {
		select {
		case <-s.moved:
		case <-ctx.Done():
			t.Fatalf("%d messages of %d have come", s.distinct(), n)
		}
	}
}

func (s *seen) check(t *testing.T, want int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, wrong := range s.wrong {
		t.Error(wrong)
	}
	if len(s.ids) != want {
		t.Errorf("%d messages of %d came", len(s.ids), want)
	}
}

// wantEmpty wants nothing in a queue but a message of its own.
func wantEmpty(t *testing.T, c *client.Client, queue string) {
	t.Helper()
	must(t, "send", c.Send(within(t), queue, "", []byte("the end")))
	s, err := c.Subscribe(within(t), queue, stomp.AckAuto)
	must(t, "subscribe", err)
	for {
		m, err := s.Receive(within(t))
		must(t, "receive", err)
		if string(m.Body) == "the end" {
			return
		}
		if !m.Redelivered() { // an acknowledgement may be lost
			t.Errorf("%q is left", m.Body)
		}
	}
}

// Transactions over brokers that are killed: one of messages is carried out once; one that takes a message and sends another
// is, or the message comes again, so that each has one answer.
func TestFailoverClientTransactions(t *testing.T) {
	t.Parallel()
	t.Run("one after the other", func(t *testing.T) {
		t.Parallel()
		testFailoverClientTransactions(t, startRace(t))
	})
	t.Run("pair", func(t *testing.T) {
		t.Parallel()
		testFailoverClientTransactions(t, newPair(t))
	})
}

func testFailoverClientTransactions(t *testing.T, race failingOver) {
	const transactions, size = 300, 4
	ctx := within(t)
	answers := newSeen(1)
	collector := dialFailover(t, race.url(), client.Options{})
	out, err := collector.Subscribe(ctx, "/queue/out", stomp.AckClientIndividual)
	must(t, "subscribe", err)
	collected := make(chan error, 1)
	go func() { collected <- answers.consume(ctx, collector, out, transactions*size) }()

	worker := dialFailover(t, race.url(), client.Options{})
	working, stop := context.WithCancel(ctx)
	worked := make(chan error, 1)
	go func() { worked <- work(working, worker) }()

	sent := make(chan error, 1)
	producer := dialFailover(t, race.url(), client.Options{})
	go func() { sent <- sendTransactions(ctx, producer, transactions, size) }()
	for i := range failovers {
		answers.await(t, ctx, (i+1)*transactions*size/(failovers+2))
		race.failOver(t)
	}
	must(t, "send", <-sent)
	must(t, "collect", <-collected)
	stop()
	must(t, "work", <-worked)
	must(t, "close", worker.Close(ctx))
	must(t, "close", collector.Close(ctx))
	answers.check(t, transactions*size)
	c := dialFailover(t, race.url(), client.Options{})
	wantEmpty(t, c, "/queue/in")
	wantEmpty(t, c, "/queue/out")
}

// sendTransactions sends 0 0, 0 1, 0 2… in transactions.
func sendTransactions(ctx context.Context, c *client.Client, transactions, size int) error {
	for n := range transactions {
		tx := c.Begin()
		for i := range size {
			if err := tx.Send("/queue/in", "", fmt.Appendf(nil, "0 %d", n*size+i)); err != nil {
				return err
			}
		}
		if err := tx.Commit(ctx); err != nil {
			return fmt.Errorf("transaction %d: %w", n, err)
		}
	}
	return nil
}

// work answers each message, in a transaction with its acknowledgement, until ctx ends. What was rolled back comes again, and
// of what is in doubt, what was not done.
func work(ctx context.Context, c *client.Client) error {
	in, err := c.Subscribe(ctx, "/queue/in", stomp.AckClientIndividual)
	for err == nil || errors.Is(err, client.ErrRolledBack) || errors.Is(err, client.ErrInDoubt) || errors.Is(err, client.ErrLostAck) {
		err = workOnce(ctx, c, in)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func workOnce(ctx context.Context, c *client.Client, in *client.Subscription) error {
	m, err := in.Receive(ctx)
	if err != nil {
		return err
	}
	tx := c.Begin()
	if err := tx.Ack(m); err != nil {
		return err
	}
	if err := tx.Send("/queue/out", "", m.Body); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// A consumer that sends while it consumes, with more in the queue than fits anywhere, waits for nothing for ever.
func TestFailoverClientForwards(t *testing.T) {
	t.Parallel()
	const messages = 3000
	b := start(t, options(t))
	c := dialFailover(t, b.Addr, client.Options{})
	body := bytes.Repeat([]byte("x"), 4096)
	for range messages {
		must(t, "send", c.SendAsync(within(t), "/queue/a", "", body, func(err error) { must(t, "send", err) }, stomp.SendOpt.Header("persistent", "false")))
	}
	s, err := c.Subscribe(within(t), "/queue/a", stomp.AckAuto)
	must(t, "subscribe", err)
	for range messages {
		m, err := s.Receive(within(t))
		must(t, "receive", err)
		must(t, "forward", c.Send(within(t), "/queue/b", "", m.Body, stomp.SendOpt.Header("persistent", "false")))
	}
	must(t, "close", c.Close(within(t)))
}

// A host that is silent, as one that is cut off, is left for the other, by its heart-beats.
func TestFailoverClientLeavesASilentBroker(t *testing.T) {
	t.Parallel()
	silent, good := start(t, options(t)), start(t, options(t))
	left := make(chan error, 1)
	url := fmt.Sprintf("failover:(%s,%s)?randomize=false", silent.Addr, good.Addr)
	c := dialFailover(t, url, client.Options{OnDisconnect: func(err error) { left <- err }})
	must(t, "send", c.Send(within(t), "/queue/a", "", []byte("1")))
	must(t, "halt", silent.Halt(within(t)))
	must(t, "send", c.Send(within(t), "/queue/a", "", []byte("2")))
	if err := <-left; !strings.Contains(err.Error(), "silent for 2s") {
		t.Errorf("the connection was left: %v", err)
	}
	s, err := c.Subscribe(within(t), "/queue/a", stomp.AckAuto)
	must(t, "subscribe", err)
	if m, err := s.Receive(within(t)); err != nil || string(m.Body) != "2" {
		t.Errorf("the other broker has %v, %v", m, err)
	}
}

// baton bench goes on over brokers that are killed, and finds nothing lost, and nothing doubled that does not say so.
func TestBenchOverAFailover(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{
		"queue":        {"--producers", "2", "--consumers", "2"},
		"transactions": {"--producers", "2", "--consumers", "2", "--tx", "7", "--window", "10"},
		"durable":      {"--producers", "2", "--subscribers", "2", "--durable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			race := startRace(t)
			bench := exec.CommandContext(within(t), binary, append([]string{
				"bench", "--server", race.url(), "--rate", "3000", "--duration", "3s", "--json", "-"}, flags...)...)
			var result, complaints bytes.Buffer
			bench.Stdout, bench.Stderr = &result, &complaints
			must(t, "start", bench.Start())
			for range 2 {
				awaitGrowth(t, race.o.Data)
				race.failOver(t)
			}
			if err := bench.Wait(); err != nil {
				t.Fatalf("%v: %s\n%s", err, complaints.String(), result.String())
			}
			var got struct {
				Sent     int64
				Failover struct {
					Lost, Resent int64
					Gap          float64 `json:"gap_seconds"`
				}
			}
			must(t, "read the result", json.Unmarshal(result.Bytes(), &got))
			if f := got.Failover; got.Sent != 9000 || f.Lost < 8 || f.Gap <= 0 {
				t.Errorf("got %+v", got)
			}
			t.Logf("%+v", got)
		})
	}
}

// awaitGrowth waits until a journal has gone on to another file.
func awaitGrowth(t *testing.T, data string) {
	t.Helper()
	newest := func() string {
		files, err := filepath.Glob(filepath.Join(data, "journal", "*.seg"))
		must(t, "list", err)
		return slices.Max(append(files, ""))
	}
	ctx := within(t)
	for before := newest(); newest() == before; {
		select {
		case <-ctx.Done():
			t.Fatal("the journal does not grow")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// baton send and receive go on over brokers that are killed, and carry each line over once.
func TestSendAndReceiveOverAFailover(t *testing.T) {
	t.Parallel()
	const lines = 3000
	race := startRace(t)
	var in bytes.Buffer
	for i := range lines {
		in.WriteString(strconv.Itoa(i) + "\n")
	}
	want := in.String()
	send := exec.CommandContext(within(t), binary, "send", "--server", race.url(), "/queue/a")
	send.Stdin = &in
	receive := exec.CommandContext(within(t), binary, "receive", "--server", race.url(), "/queue/a", "--count", strconv.Itoa(lines))
	watched := &lineCount{lines: make(chan struct{}, 2*lines)}
	receive.Stdout = watched
	ended := make(chan error, 2)
	for _, cmd := range []*exec.Cmd{send, receive} {
		go func() {
			var complaint strings.Builder
			cmd.Stderr = &complaint
			if err := cmd.Run(); err != nil {
				ended <- fmt.Errorf("baton %s: %w: %s", cmd.Args[1], err, complaint.String())
				return
			}
			ended <- nil
		}()
	}
	for range failovers {
		for range lines / (failovers + 1) {
			select {
			case <-watched.lines:
			case err := <-ended:
				t.Fatalf("it has ended: %v", err)
			}
		}
		race.failOver(t)
	}
	must(t, "end", errors.Join(<-ended, <-ended))
	if got := watched.text.String(); got != want {
		t.Errorf("%d lines were received, not in order or not all: %.100q", strings.Count(got, "\n"), got)
	}
}

// A lineCount tells of each line that is written to it.
type lineCount struct {
	text  bytes.Buffer
	lines chan struct{}
}

func (l *lineCount) Write(p []byte) (int, error) {
	for range bytes.Count(p, []byte("\n")) {
		l.lines <- struct{}{}
	}
	return l.text.Write(p)
}
