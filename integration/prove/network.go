package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"baton/integration/client"
	"baton/integration/process"
)

// network measures what it costs that a message is forwarded: two brokers that are one network beside a broker alone, in turns, all on
// this machine.
type network struct {
	rounds   int
	duration time.Duration // of each run
	messages int           // of a topic, one after the other, for the latency
	queues   int           // with a consumer each, at both brokers, that do nothing
	idle     time.Duration // for which they do
}

func (n *network) flags(f *flag.FlagSet) {
	f.IntVar(&n.rounds, "rounds", 5, "how often each is measured, in turns")
	f.DurationVar(&n.duration, "duration", 5*time.Second, "of each measurement of throughput")
	f.IntVar(&n.messages, "messages", 2000, "of a topic, for the latency")
	f.IntVar(&n.queues, "queues", 10_000, "with a consumer each, for what demand costs where nothing happens; 0: not measured")
	f.DurationVar(&n.idle, "idle", 10*time.Second, "for how long nothing happens")
}

func (n *network) run(ctx context.Context, s *stage) error {
	alone, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer alone.Kill()
	a, b, err := s.startNetwork(ctx)
	if err != nil {
		return err
	}
	defer a.Kill()
	defer b.Kill()
	// At first: after a load the journals are cleaned for a while.
	if err := n.rest(ctx, s, a, b); err != nil {
		return err
	}
	if err := n.throughput(ctx, s, alone, a, b); err != nil {
		return err
	}
	return n.latency(ctx, s, a, b)
}

// startNetwork starts two brokers, a and b, and waits until messages pass.
func (s *stage) startNetwork(ctx context.Context) (a, b *process.Broker, err error) {
	ctx, cancel := context.WithTimeout(ctx, stall)
	defer cancel()
	at, err := freeAddress()
	if err != nil {
		return nil, nil, err
	}
	start := func(name string, env ...string) (*process.Broker, error) {
		return process.Start(ctx, process.Options{Binary: s.binary, Data: filepath.Join(s.dir, name), Env: append(env,
			"BATON_LOG_LEVEL=warn", "BATON_NETWORK_NAME="+name, "BATON_NETWORK_SECRET=of this run alone", "BATON_STOMP_MAX_CONNECTIONS_PER_IP=1000")})
	}
	if a, err = start("a", "BATON_NETWORK_LISTEN="+at); err != nil {
		return nil, nil, err
	}
	b, err = start("b", "BATON_NETWORK_LISTEN=127.0.0.1:0", "BATON_NETWORK_ROUTES=["+at+"]")
	if err == nil {
		err = passes(ctx, a, b)
	}
	if err != nil {
		a.Kill()
		if b != nil {
			b.Kill()
		}
		return nil, nil, err
	}
	return a, b, nil
}

// freeAddress is one of the loopback that nobody listens at.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// passes waits until a message of a is at b.
func passes(ctx context.Context, a, b *process.Broker) error {
	if err := produce(ctx, a.Addr, "/queue/first", 0, 1, nil); err != nil {
		return err
	}
	c, hangUp, err := attend(ctx, b.Addr, "/queue/first")
	if err != nil {
		return err
	}
	defer hangUp()
	// Whole: what is left of it would be the oldest message, and keep the journal of b from being trimmed during all that follows.
	f, err := c.Receive()
	if err != nil {
		return err
	}
	return c.Call("ACK", nil, "id", f.Header("ack"))
}

// throughput compares messages that a broker passes on to its consumers with those that another one gets.
func (n *network) throughput(ctx context.Context, s *stage, alone, a, b *process.Broker) error {
	var shares []float64
	for range n.rounds {
		one, err := s.bench(ctx, alone.Addr, "persistent", "--duration", n.duration.String())
		if err != nil {
			return err
		}
		two, err := s.bench(ctx, a.Addr, "persistent", "--duration", n.duration.String(), "--consume-from", b.Addr)
		if err != nil {
			return err
		}
		s.printf("persistent   alone %10.0f   forwarded %10.0f   %.2f", one.Rate, two.Rate, two.Rate/one.Rate)
		shares = append(shares, two.Rate/one.Rate)
	}
	if len(shares) > 0 {
		share := median(shares)
		s.judge(verdict{"persistent messages a second, forwarded, to a broker alone", fmt.Sprintf("%.2f (%.2f to %.2f)", share, slices.Min(shares), slices.Max(shares)), "at least 0.40", share >= 0.4, true})
	}
	return nil
}

// latency compares how long a message of a topic is under way, to a subscriber of the same broker and of another one.
func (n *network) latency(ctx context.Context, s *stage, a, b *process.Broker) error {
	var added []float64
	for range n.rounds {
		here, err := n.underWay(ctx, a, a)
		if err != nil {
			return err
		}
		there, err := n.underWay(ctx, a, b)
		if err != nil {
			return err
		}
		s.printf("topic        here %8v   at another broker %8v   (medians)", here, there)
		added = append(added, float64((there - here).Microseconds()))
	}
	if len(added) > 0 {
		most := median(added)
		s.judge(verdict{"added to the median latency of a topic by forwarding, µs", fmt.Sprintf("%.0f (%.0f to %.0f)", most, slices.Min(added), slices.Max(added)), "under 1000", most < 1000, true})
	}
	return nil
}

// underWay is the median time that a message of a topic takes from the SEND at one broker to the MESSAGE at another. Each is sent when the
// last has come.
func (n *network) underWay(ctx context.Context, from, to *process.Broker) (time.Duration, error) {
	sub, hangUp, err := dial(ctx, to.Addr)
	if err != nil {
		return 0, err
	}
	defer hangUp()
	if err := sub.Call("SUBSCRIBE", nil, "destination", "/topic/latency", "id", "0", "ack", "auto"); err != nil {
		return 0, err
	}
	pub, hangUp, err := dial(ctx, from.Addr)
	if err != nil {
		return 0, err
	}
	defer hangUp()
	came := make(chan arrival, 1)
	go receiveTopic(sub, came)
	took := make([]time.Duration, 0, n.messages)
	body := make([]byte, 1024)
	for number := -1; len(took) < n.messages; {
		sent := time.Now()
		if err := publish(pub, body, number); err != nil {
			return 0, err
		}
		patience := stall
		if number < 0 {
			patience = 100 * time.Millisecond // the other broker may not know of the subscriber yet
		}
		select {
		case got := <-came:
			switch {
			case got.err != nil:
				return 0, got.err
			case got.number != number:
				continue // of before it began
			case number >= 0:
				took = append(took, got.at.Sub(sent))
			}
			number++
		case <-time.After(patience):
			if number >= 0 {
				return 0, errors.New("a message of a topic has not come")
			}
		}
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

func publish(c *client.Conn, body []byte, number int) error {
	if err := c.Write("SEND", body, "destination", "/topic/latency", "number", strconv.Itoa(number)); err != nil {
		return err
	}
	return c.Flush()
}

// An arrival is a message of a topic that has come.
type arrival struct {
	number int
	at     time.Time
	err    error
}

// receiveTopic tells of all that comes, until the connection ends.
func receiveTopic(c *client.Conn, came chan<- arrival) {
	for {
		f, err := c.Receive()
		now := time.Now()
		if err != nil {
			select {
			case came <- arrival{err: err}:
			default: // it is over
			}
			return
		}
		number, err := strconv.Atoi(f.Header("number"))
		came <- arrival{number, now, err}
	}
}

// rest measures what two brokers compute that know of many destinations and have nothing to do.
func (n *network) rest(ctx context.Context, s *stage, a, b *process.Broker) error {
	if n.queues == 0 {
		return nil
	}
	for i, broker := range []*process.Broker{a, b} {
		const each = 1000 // subscriptions of a connection
		for first := 0; first < n.queues; first += each {
			c, hangUp, err := dial(ctx, broker.Addr)
			if err != nil {
				return err
			}
			defer hangUp()
			for q := first; q < min(first+each, n.queues); q++ {
				if err := subscribe(c, fmt.Sprintf("/queue/idle.%d.%d", i, q), strconv.Itoa(q)); err != nil {
					return err
				}
			}
			if err := c.Call("SEND", nil, "destination", "/queue/settled"); err != nil {
				return err
			}
		}
	}
	time.Sleep(time.Second) // all of it has been told
	var before [2]time.Duration
	for i, broker := range []*process.Broker{a, b} {
		var err error
		if before[i], err = process.CPUTime(broker.Pid()); err != nil {
			return err
		}
	}
	begun := time.Now()
	time.Sleep(n.idle)
	most := 0.0
	for i, broker := range []*process.Broker{a, b} {
		after, err := process.CPUTime(broker.Pid())
		if err != nil {
			return err
		}
		most = max(most, 100*(after-before[i]).Seconds()/time.Since(begun).Seconds())
	}
	s.judge(verdict{fmt.Sprintf("of a core, for the demand of %d queues at each of two brokers", n.queues), fmt.Sprintf("%.2f %%", most), "under 1 %", most < 1, true})
	return nil
}
