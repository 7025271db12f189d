package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"baton/integration/client"
)

// workload is what clients do with one queue.
type workload struct {
	name       string
	against    against
	queue      string
	persistent bool
	producers  int
	consumers  int    // 0: only the receipts are measured, and the queue is emptied afterwards
	window     int    // SENDs of a producer that wait for their receipts
	ack        string // mode of the consumers
}

// patience is how long the rest of a workload may take when its producers have stopped.
const patience = time.Minute

// progress is shared by the clients of one run.
type progress struct {
	workload
	addr     string
	begin    time.Time
	stop     time.Time // when producers stop
	tally    *tally
	received atomic.Int64
	expected atomic.Int64  // messages sent; -1 while producers work
	complete chan struct{} // closed when all that was sent has been received

	completed sync.Once
}

// dial connects a client that ends with ctx.
func (p *progress) dial(ctx context.Context) (*client.Conn, error) {
	c, err := client.Dial(ctx, p.addr, client.Options{})
	if err == nil {
		context.AfterFunc(ctx, func() { c.Close() })
	}
	return c, err
}

// goodbye is the receipt of DISCONNECT, the last frame of a connection.
const goodbye = "goodbye"

// leave asks for that receipt.
func leave(c *client.Conn) error {
	if err := c.Write("DISCONNECT", nil, "receipt", goodbye); err != nil {
		return err
	}
	return c.Flush()
}

// run measures the workload and fails when a message was lost or doubled.
func (w workload) run(ctx context.Context, addr string, duration time.Duration) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, duration+patience)
	defer cancel()
	p := &progress{workload: w, addr: addr, tally: newTally(w.producers), complete: make(chan struct{})}
	p.expected.Store(-1)
	consumers, err := p.dialConsumers(ctx)
	if err != nil {
		return result{}, err
	}
	p.begin = time.Now()
	p.stop = p.begin.Add(duration)
	var receiving errgroup.Group
	for _, c := range consumers {
		receiving.Go(c.receive)
	}
	receipts, err := p.produce(ctx)
	if err != nil {
		return result{}, err
	}
	if w.consumers == 0 {
		return receipts, p.empty(ctx)
	}
	messages, err := p.finish(ctx, consumers, receiving.Wait)
	return messages, errors.Join(err, p.empty(ctx))
}

// produce runs all producers and says how many messages they sent.
func (p *progress) produce(ctx context.Context) (result, error) {
	producers := make([]*producer, p.producers)
	group, ctx := errgroup.WithContext(ctx)
	for i := range producers {
		producers[i] = &producer{progress: p, number: uint32(i), latency: newLatency()}
		group.Go(func() error { return producers[i].work(ctx) })
	}
	if err := group.Wait(); err != nil {
		return result{}, err
	}
	r := result{elapsed: time.Since(p.begin), latency: newLatency()}
	for _, producer := range producers {
		r.count += producer.sent
		r.latency.Merge(producer.latency)
		p.tally.sent[producer.number] = producer.sent
	}
	return r, nil
}

// finish waits until everything has arrived, and lets every consumer go when its acknowledgements are safe.
func (p *progress) finish(ctx context.Context, consumers []*consumer, wait func() error) (result, error) {
	p.expected.Store(int64(p.tally.total()))
	p.checkComplete()
	select {
	case <-p.complete:
	case <-ctx.Done():
		err := fmt.Errorf("%d of %d messages had arrived %v after the last SEND", p.received.Load(), p.expected.Load(), patience)
		return result{}, errors.Join(err, ctx.Err())
	}
	r := result{count: int(p.received.Load()), latency: newLatency()}
	for _, c := range consumers {
		if err := c.leave(); err != nil {
			return result{}, err
		}
	}
	if err := wait(); err != nil {
		return result{}, err
	}
	for _, c := range consumers {
		r.elapsed = max(r.elapsed, c.last.Sub(p.begin))
		r.latency.Merge(c.latency)
		p.tally.add(c.seen)
	}
	return r, nil
}

// checkComplete closes complete when the last message has come. Both the consumers and finish call it, because either may
// be the later one.
func (p *progress) checkComplete() {
	if expected := p.expected.Load(); expected >= 0 && p.received.Load() >= expected {
		p.completed.Do(func() { close(p.complete) })
	}
}

// empty takes what is still in the queue, which is everything where there were no consumers and else nothing, and compares.
func (p *progress) empty(ctx context.Context) error {
	c, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Write("SEND", nil, "destination", p.queue, "x-end", "true"); err != nil {
		return err
	}
	if err := c.Write("SUBSCRIBE", nil, "destination", p.queue, "id", "1", "ack", "auto"); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	for {
		f, err := c.Next()
		if err != nil {
			return err
		}
		if f.Has("x-end") {
			return p.tally.check()
		}
		p.tally.add([]stamp{readStamp(f.Body)})
	}
}
