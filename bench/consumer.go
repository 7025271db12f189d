package bench

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"baton/broker/stomp"
)

// A consumer takes messages, checks and acknowledges them, until the run is over.
type consumer struct {
	*run
	number int
	c      *conn // changed by work, under mu
	ledger *ledger
	rec    *recorder
	had    atomic.Int64
	ready  bool // the broker has confirmed the subscriptions

	mu      sync.Mutex
	leaving bool // leave was called
}

// newConsumer subscribes.
func (r *run) newConsumer(ctx context.Context, number int) (*consumer, error) {
	co := &consumer{
		run: r, number: number, rec: r.receives[number%len(r.receives)], ledger: r.newLedger(),
	}
	if err := co.connect(ctx); err != nil {
		return nil, fmt.Errorf("consumer %d: %w", number, err)
	}
	return co, nil
}

// connect subscribes on a new connection; to another broker, if there are several and there was a connection before.
func (c *consumer) connect(ctx context.Context) (err error) {
	headers, _ := c.durable(0)
	var to *conn
	switch {
	case c.server.Consume != "":
		to, err = c.server.dialTo(ctx, c.server.Consume, connectPatience, headers)
	case c.c == nil:
		to, err = c.server.dial(ctx, headers...)
	default:
		to, err = c.server.redial(ctx, c.c.addr, headers...)
	}
	if err != nil {
		return err
	}
	mine := c.destinations()
	for i, destination := range mine {
		headers := c.subscription(destination)
		if i == len(mine)-1 {
			headers = append(headers, "receipt", subscribed)
		}
		to.add("SUBSCRIBE", headers...)
	}
	err = to.flush()
	c.use(to)
	return err
}

// use has the consumer go on with another connection, and leave it at once if it was to leave the last one.
func (c *consumer) use(to *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c = to
	if c.leaving {
		c.goodbye()
	}
}

// destinations are those that c subscribes to: all topics, and all queues of which it selects, but of others a share, where
// there are more than consumers.
func (c *consumer) destinations() (mine []int) {
	if c.w.Topic || c.w.Selectors {
		for i := range c.w.Destinations {
			mine = append(mine, i)
		}
		return mine
	}
	for i := c.number % c.w.Destinations; i < c.w.Destinations; i += c.w.Consumers {
		mine = append(mine, i)
	}
	return mine
}

// subscribed is the receipt of the last SUBSCRIBE.
const subscribed = "subscribed"

// subscription is the headers of a SUBSCRIBE to a destination.
func (c *consumer) subscription(destination int) []string {
	headers := []string{
		"destination", c.destination(destination), "ack", c.w.Ack, c.server.Dialect.Prefetch, strconv.Itoa(c.w.Prefetch),
	}
	if c.w.Selectors {
		headers = append(headers, "selector", fmt.Sprintf("share = '%d'", c.number))
	}
	return append(headers, c.subscriptionID(destination)...)
}

// subscriptionID is the headers by which SUBSCRIBE and UNSUBSCRIBE name the subscription to a destination.
func (c *consumer) subscriptionID(destination int) []string {
	_, headers := c.durable(destination)
	if !slices.Contains(headers, "id") { // a dialect may name the durable subscription by it
		headers = append(headers, "id", strconv.Itoa(destination))
	}
	return headers
}

// durable is the headers with which the subscription to a destination is durable; none where it is not to be.
func (c *consumer) durable(destination int) (connect, subscribe []string) {
	if !c.w.Durable {
		return nil, nil
	}
	return c.server.Dialect.Durable(fmt.Sprintf("%s-%d", c.name, c.number), strconv.Itoa(destination))
}

// session takes messages until it has left, or its connection is lost.
func (c *consumer) session() error {
	batch := make([]took, 0, 256)
	for {
		f, err := c.c.next()
		if err != nil {
			return fmt.Errorf("consumer %d: %w", c.number, err)
		}
		if f.Command == stomp.CmdReceipt {
			if id, _ := f.Header("receipt-id"); string(id) == goodbye {
				c.note(batch)
				return c.c.Close()
			}
			c.confirm()
		} else if at, counts := c.take(f); counts {
			batch = append(batch, took{c.now(), at})
		}
		if c.c.in.Buffered() && len(batch) < cap(batch) && !c.c.full() {
			continue
		}
		if err := c.c.flush(); err != nil {
			return fmt.Errorf("consumer %d: %w", c.number, err)
		}
		c.note(batch)
		batch = batch[:0]
	}
}

// confirm notes that the broker has confirmed the subscriptions.
func (c *consumer) confirm() {
	if c.ready {
		return
	}
	if c.ready = true; c.unready.Add(-1) == 0 {
		close(c.subscribed)
	}
}

// note counts messages that have come, and whose acknowledgements have been written.
func (c *consumer) note(batch []took) {
	c.rec.noteAll(batch)
	c.had.Add(int64(len(batch)))
	if received := c.received.Add(int64(len(batch))); received >= c.expected.Load() {
		signal(c.wake)
	}
}

// take checks and acknowledges a message, and says when it was due, and whether it counts: it does not when it has come again
// and says so, in a run that survives lost connections.
func (c *consumer) take(f *stomp.Frame) (due time.Duration, counts bool) {
	counts = true
	s, ok := readStamp(f.Body)
	switch {
	case !ok || len(f.Body) != c.w.Size:
		c.ledger.checks.Corrupt++
		s.at = c.now()
	default:
		again, _ := f.Header("redelivered") // RabbitMQ says false, too
		counts = c.ledger.take(s, string(again) == "true")
		if c.w.Selectors && c.w.share(s) != c.number {
			c.ledger.checks.Unselected++
		}
	}
	if c.w.Ack != "auto" {
		id, _ := f.Header("ack")
		c.c.ack(id)
	}
	return s.at, counts
}

// leave asks for the receipt with which work ends; so it does when that does not come. A durable subscription is deleted. It
// does so beside work, in one piece.
func (c *consumer) leave() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	err := c.goodbye()
	if c.server.survives() { // it is said again on the next connection
		return nil
	}
	return err
}

func (c *consumer) goodbye() error {
	_ = c.c.SetReadDeadline(time.Now().Add(c.patience))
	var out conn
	if c.w.Durable {
		for _, i := range c.destinations() {
			if c.server.Dialect.UnsubscribeTwice {
				out.add("UNSUBSCRIBE", "id", strconv.Itoa(i))
			}
			out.add("UNSUBSCRIBE", c.subscriptionID(i)...)
		}
	}
	out.add("DISCONNECT", "receipt", goodbye)
	_, err := c.c.Write(out.out)
	return err
}
