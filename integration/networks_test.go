package integration

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"baton/integration/client"
)

var (
	networks      = flag.Int("network.seeds", 16, "how many networks TestNetworks tries")
	networkSeed   = flag.Uint64("network.seed", 0, "of the first of them, the next ones follow; 0: a new one each run")
	networkSettle = flag.Duration("network.settle", 15*time.Second, "how long after the last change everything must have come to its consumer")
)

// Networks of three and five brokers: producers send, consumers wander, brokers are killed, stand still and come back, ways between
// them are cut and fall silent. Nothing that was acknowledged with a receipt comes again, nothing comes twice without saying so, no
// message has travelled more often than consumers have; and when all is well again, with one consumer for each queue, soon everything
// that had a receipt has come and nothing is left anywhere.
func TestNetworks(t *testing.T) {
	t.Parallel()
	first := cmp.Or(*networkSeed, *seed%1_000_000_000*1000)
	t.Logf("-network.seed %d -network.seeds %d", first, *networks)
	var settled durations
	var mu sync.Mutex
	sideBySide(t, *networks, 4, 12, func(t *testing.T, from, to int, _ *rand.Rand) {
		for i := from; i < to; i++ {
			t.Run(fmt.Sprint(first+uint64(i)), func(t *testing.T) {
				took := tryNetwork(t, first+uint64(i))
				mu.Lock()
				defer mu.Unlock()
				settled = append(settled, took)
			})
		}
	})
	t.Logf("until everything had come: %v", settled)
}

// A trial is one network and what is known of its messages.
type trial struct {
	*fleet
	rng    *rand.Rand // of who decides what happens
	queues []string
	stop   chan struct{} // closed when producers and wanderers are to end
	visits atomic.Int64  // of consumers at brokers

	mu       sync.Mutex
	messages map[string]*told // by body
	faults   []string
	acks     int // receipted
}

// told is what clients have been told of a message.
type told struct {
	receipted bool
	delivered int
	answered  bool // an ACK was written
	acked     bool // and has its receipt
	where     []string
}

func tryNetwork(t *testing.T, seed uint64) time.Duration {
	rng := rand.New(rand.NewPCG(seed, 0))
	count := 3
	if rng.IntN(4) == 0 {
		count = 5
	}
	begin := newFleet
	if rng.IntN(4) == 0 {
		begin = newFleetOnServer
	}
	tr := &trial{fleet: begin(t, count, "BATON_NETWORK_SILENCE=1s"), rng: rng, stop: make(chan struct{}), messages: map[string]*told{}}
	for i := range 1 + rng.IntN(3) {
		tr.queues = append(tr.queues, fmt.Sprintf("/queue/q%d", i))
	}
	var clients sync.WaitGroup
	for i := range 2 {
		own := rand.New(rand.NewPCG(seed, uint64(10+i)))
		clients.Go(func() { tr.produce(own, i) })
	}
	for i := range 1 + rng.IntN(4) {
		own := rand.New(rand.NewPCG(seed, uint64(20+i)))
		clients.Go(func() { tr.wander(own) })
	}
	for range 3 + rng.IntN(4) {
		tr.mischief()
	}
	close(tr.stop)
	clients.Wait()
	took := tr.settle()
	tr.judge(seed)
	return took
}

// mischief does something to a broker, and takes it back after a while.
func (tr *trial) mischief() {
	i := tr.rng.IntN(len(tr.members))
	m := tr.members[i]
	pause := time.Duration(tr.rng.IntN(400)) * time.Millisecond
	what := tr.rng.IntN(4)
	way := m.ways[tr.rng.IntN(len(m.ways))]
	switch what {
	case 0:
		tr.kill(i)
		m.turns.Lock() // what the dead broker has sent is noted before it comes from elsewhere
		time.Sleep(pause)
		tr.restart(i)
		m.turns.Unlock()
	case 1:
		must(tr.t, "stop", m.Signal(syscall.SIGSTOP))
		time.Sleep(4 * pause) // longer than others believe in it, perhaps
		must(tr.t, "continue", m.Signal(syscall.SIGCONT))
	case 2:
		way.set(wayCut)
		time.Sleep(pause)
		way.set(wayOpen)
	case 3:
		way.set(waySilent)
		time.Sleep(4 * pause)
		way.set(wayOpen)
	}
	time.Sleep(time.Duration(tr.rng.IntN(200)) * time.Millisecond)
}

func (tr *trial) ended() bool {
	select {
	case <-tr.stop:
		return true
	default:
		return false
	}
}

// during connects to a member and does something there, unless it is being restarted.
func (tr *trial) during(i int, do func(c *client.Conn)) {
	m := tr.members[i]
	if !m.turns.TryRLock() {
		time.Sleep(5 * time.Millisecond)
		return
	}
	defer m.turns.RUnlock()
	c, err := client.Dial(within(tr.t), m.options.Listen, client.Options{})
	if err != nil {
		time.Sleep(5 * time.Millisecond)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	do(c)
}

// produce sends to all queues, each message with a body of its own and a receipt.
func (tr *trial) produce(rng *rand.Rand, producer int) {
	n := 0
	at := rng.IntN(len(tr.members))
	for !tr.ended() {
		tr.during(at, func(c *client.Conn) {
			for !tr.ended() {
				body := fmt.Sprintf("%d-%d", producer, n)
				n++
				tr.note(body, func(m *told) {})
				kind := []string{"x", "y"}[rng.IntN(2)]
				if c.Call("SEND", []byte(body), "destination", tr.queues[rng.IntN(len(tr.queues))], "kind", kind, "persistent", "true") != nil {
					return
				}
				tr.note(body, func(m *told) { m.receipted = true })
				time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
			}
		})
	}
}

func (tr *trial) note(body string, do func(*told)) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	m := tr.messages[body]
	if m == nil {
		m = &told{}
		tr.messages[body] = m
	}
	do(m)
}

// wander consumes here and there, a while each time, and goes away without a word.
func (tr *trial) wander(rng *rand.Rand) {
	for !tr.ended() {
		queue, selector := tr.queues[rng.IntN(len(tr.queues))], ""
		if rng.IntN(3) == 0 {
			selector = "kind = 'x'"
		}
		if rng.IntN(4) == 0 {
			queue = "/queue/>"
		}
		prefetch := 1 << rng.IntN(9)
		until := time.Now().Add(time.Duration(50+rng.IntN(350)) * time.Millisecond)
		at := rng.IntN(len(tr.members))
		tr.during(at, func(c *client.Conn) {
			tr.consume(c, at, rng, queue, selector, prefetch, until)
		})
	}
}

// consume notes what comes, and acknowledges most of it, until some time; rng nil: all of it.
func (tr *trial) consume(c *client.Conn, at int, rng *rand.Rand, queue, selector string, prefetch int, until time.Time) {
	tr.visits.Add(1)
	c.SetDeadline(until)
	headers := []string{"id", "s", "destination", queue, "ack", "client-individual", "prefetch-count", fmt.Sprint(prefetch)}
	if selector != "" {
		headers = append(headers, "selector", selector)
	}
	if c.Write("SUBSCRIBE", nil, headers...) != nil {
		return
	}
	for {
		f, err := c.Receive()
		if err != nil {
			return
		}
		if f.Command == "RECEIPT" {
			tr.note(f.Header("receipt-id"), func(m *told) { m.acked = true; tr.acks++ })
			continue
		}
		tr.delivered(f, at)
		if rng != nil && rng.IntN(10) == 0 {
			continue // it goes back when we leave
		}
		tr.note(string(f.Body), func(m *told) { m.answered = true })
		if c.Write("ACK", nil, "id", f.Header("ack"), "receipt", string(f.Body)) != nil {
			return
		}
	}
}

// delivered notes a message, and whether it may come.
func (tr *trial) delivered(f *client.Frame, at int) {
	visits := int(tr.visits.Load())
	tr.note(string(f.Body), func(m *told) {
		here := fmt.Sprintf("%s at %s, redelivered %s, by way of %s", time.Now().Format("05.000"), tr.members[at].name, f.Header("redelivered"), f.Header("x-broker-path"))
		fault := func(what string) {
			tr.faults = append(tr.faults, fmt.Sprintf("%s %s: %s; before that: %q", f.Body, what, here, m.where))
		}
		if m.acked {
			fault("was acknowledged, with a receipt, and comes again")
		}
		if m.delivered > 0 && f.Header("redelivered") != "true" {
			fault("comes again and does not say so")
		}
		if path := f.Header("x-broker-path"); path != "" {
			hops := strings.Split(path, ",")
			// Who comes draws it, and who goes leaves it to somebody who was there before.
			if len(hops) > 2*visits || len(slices.Compact(slices.Clone(hops))) != len(hops) {
				fault(fmt.Sprintf("goes round, with %d visits of consumers", visits))
			}
		}
		m.delivered++
		m.where = append(m.where, here)
	})
}

// settle gives each queue one consumer somewhere, and waits until all has come. It says how long that took.
func (tr *trial) settle() time.Duration {
	tr.t.Helper()
	var consumers sync.WaitGroup
	defer consumers.Wait()
	began := time.Now()
	for _, queue := range tr.queues {
		at := tr.rng.IntN(len(tr.members))
		c, err := client.Dial(within(tr.t), tr.members[at].options.Listen, client.Options{})
		must(tr.t, "connect", err)
		defer c.Close()
		consumers.Go(func() { tr.consume(c, at, nil, queue, "", 100, time.Now().Add(patience)) })
	}
	for {
		open := tr.open()
		if open == "" {
			return time.Since(began)
		}
		if took := time.Since(began); took > *networkSettle {
			tr.t.Errorf("after %v: %s", took, open)
			for _, m := range tr.members {
				s, err := m.status()
				tr.t.Logf("%+v, %v", s, err)
			}
			return took
		}
		time.Sleep(askEvery)
	}
}

// open is what has not come to its end; empty: everything has.
func (tr *trial) open() string {
	tr.mu.Lock()
	missing := 0
	for _, m := range tr.messages {
		if m.receipted && !m.answered || m.delivered > 0 && !m.answered {
			missing++
		}
	}
	tr.mu.Unlock()
	if missing > 0 {
		return fmt.Sprintf("%d messages have not come", missing)
	}
	for _, m := range tr.members {
		if s, err := m.status(); err != nil || s.Held+s.Sent > 0 {
			return fmt.Sprintf("%s holds %d batches and has sent %d, %v", m.name, s.Held, s.Sent, err)
		}
	}
	for _, queue := range tr.queues {
		for i, left := range tr.left(tr.t, queue) {
			if len(left) > 0 {
				return fmt.Sprintf("%s has %d messages in %s: %.200q", tr.members[i].name, len(left), queue, left)
			}
		}
	}
	return ""
}

func (tr *trial) judge(seed uint64) {
	tr.t.Helper()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	lost := 0
	for body, m := range tr.messages {
		if m.receipted && !m.answered {
			if lost++; lost <= 10 {
				tr.t.Errorf("%s has not come in time, it was delivered %q", body, m.where)
			}
		}
	}
	for _, fault := range tr.faults[:min(10, len(tr.faults))] {
		tr.t.Error(fault)
	}
	if tr.t.Failed() {
		tr.t.Logf("%d lost, %d faults; go test ./integration -run '^TestNetworks$' -network.seeds=1 -network.seed=%d", lost, len(tr.faults), seed)
	}
	if tr.acks == 0 || tr.visits.Load() <= int64(len(tr.queues)) {
		tr.t.Error("the load was too light to show anything")
	}
}
