package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"baton/integration/client"
)

const (
	queue    = "/queue/demo"
	pace     = 2 * time.Millisecond // between two messages of the producer
	act      = 1000                 // messages of each visit of the consumer
	window   = "100"                // messages that the consumer may have and not have acknowledged
	lateness = 15 * time.Second     // what has not come then, after the producer has ended, is lost
	goodbye  = "bye"
)

// load is a producer and a consumer that wanders, and what they count.
type load struct {
	producer *client.Conn
	enough   chan struct{} // closed when the producer is to end
	sending  sync.WaitGroup
	consumer *client.Conn // nil: there is none
	taking   sync.WaitGroup
	once     sync.Once

	mu     sync.Mutex
	tally  tally
	acked  map[string]bool // by body, of what has come: its ACK has its receipt
	failed error           // of the producer
}

// A tally is what a load has counted.
type tally struct {
	sent, receipted, received, twice, again int
	visit                                   int // came since the consumer is where it is
	returned                                int // came to a and have been at c
}

func (t tally) lost() int { return max(0, t.receipted-t.received) }

func (t tally) String() string {
	return fmt.Sprintf("sent %d, receipted %d, received %d: lost %d, twice %d (given out again and flagged: %d)",
		t.sent, t.receipted, t.received, t.lost(), t.twice, t.again)
}

func startLoad(ctx context.Context, addr string) (l *load, err error) {
	l = &load{enough: make(chan struct{}), acked: map[string]bool{}}
	if l.producer, err = dial(ctx, addr); err != nil {
		return nil, err
	}
	l.sending.Go(l.produce)
	l.sending.Go(l.receipts)
	return l, nil
}

// dial connects until ctx ends.
func dial(ctx context.Context, addr string) (*client.Conn, error) {
	c, err := client.Dial(ctx, addr, client.Options{})
	if err != nil {
		return nil, err
	}
	if until, ok := ctx.Deadline(); ok {
		c.SetDeadline(until)
	}
	return c, nil
}

func (l *load) produce() {
	pacing := time.NewTicker(pace)
	defer pacing.Stop()
	for n := 0; ; n++ {
		select {
		case <-pacing.C:
		case <-l.enough:
			l.fails(l.producer.Write("DISCONNECT", nil, "receipt", goodbye))
			l.fails(l.producer.Flush())
			return
		}
		err := errors.Join(l.producer.Write("SEND", fmt.Appendf(nil, "message %d", n), "destination", queue, "receipt", "sent"), l.producer.Flush())
		l.mu.Lock()
		l.tally.sent++
		l.mu.Unlock()
		if err != nil {
			l.fails(err)
			return
		}
	}
}

func (l *load) receipts() {
	for {
		f, err := l.producer.Next()
		if err != nil {
			l.fails(err)
			return
		}
		if f.Header("receipt-id") == goodbye {
			return
		}
		l.mu.Lock()
		l.tally.receipted++
		l.mu.Unlock()
	}
}

func (l *load) fails(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil && err != nil {
		l.failed = fmt.Errorf("the producer: %w", err)
	}
}

// visit has the consumer go to another broker, where it takes so long for each message. It takes no leave where it cannot.
func (l *load) visit(ctx context.Context, addr string, slow time.Duration) error {
	l.leave()
	c, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	l.consumer = c
	l.mu.Lock()
	l.tally.visit = 0
	l.mu.Unlock()
	if err := c.Write("SUBSCRIBE", nil, "id", "1", "destination", queue, "ack", "client-individual", "prefetch-count", window); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	l.taking.Go(func() { l.consume(c, slow) })
	return nil
}

func (l *load) leave() {
	if l.consumer == nil {
		return
	}
	if errors.Join(l.consumer.Write("DISCONNECT", nil, "receipt", goodbye), l.consumer.Flush()) != nil {
		l.consumer.Close()
	}
	l.taking.Wait()
	l.consumer.Close()
	l.consumer = nil
}

// consume takes messages until the connection ends.
func (l *load) consume(c *client.Conn, slow time.Duration) {
	for {
		f, err := c.Receive()
		if err != nil {
			return
		}
		switch receipt := f.Header("receipt-id"); {
		case f.Command == "MESSAGE":
			l.delivered(f)
			time.Sleep(slow)
			_ = c.Write("ACK", nil, "id", f.Header("ack"), "receipt", string(f.Body)) // one that is lost brings the message again
		case receipt == goodbye:
			return
		default:
			l.mu.Lock()
			l.acked[receipt] = true
			l.mu.Unlock()
		}
	}
}

// delivered counts a message. Twice is one that was acknowledged with a receipt, or that comes again and does not say so.
func (l *load) delivered(f *client.Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tally.visit++
	if f.Header("x-broker-path") == "a,c" {
		l.tally.returned++
	}
	switch acked, was := l.acked[string(f.Body)]; {
	case !was:
		l.acked[string(f.Body)] = false
		l.tally.received++
	case acked || f.Header("redelivered") != "true":
		l.tally.twice++
	default:
		l.tally.again++
	}
}

// await waits until so many messages of this visit have come.
func (l *load) await(ctx context.Context, n int) error {
	for l.count().visit < n {
		if err := l.pause(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pause waits a little.
func (l *load) pause(ctx context.Context) error {
	l.mu.Lock()
	failed := l.failed
	l.mu.Unlock()
	select {
	case <-ctx.Done():
		return fmt.Errorf("nothing comes any more: %w", ctx.Err())
	case <-time.After(pace):
		return failed
	}
}

func (l *load) count() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tally
}

// end lets the producer end, and the consumer when it has everything.
func (l *load) end(ctx context.Context) (tally, error) {
	l.once.Do(func() { close(l.enough) })
	l.sending.Wait()
	for deadline := time.Now().Add(lateness); l.count().lost() > 0 && time.Now().Before(deadline); {
		if err := l.pause(ctx); err != nil {
			return l.count(), err
		}
	}
	l.leave()
	return l.count(), nil
}

// stop ends everything at once.
func (l *load) stop() {
	l.once.Do(func() { close(l.enough) })
	l.producer.Close()
	l.sending.Wait()
	if l.consumer != nil {
		l.consumer.Close()
		l.taking.Wait()
	}
}
