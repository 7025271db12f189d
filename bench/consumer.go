package main

import (
	"context"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"baton/integration/client"
)

// consumer receives and acknowledges until it is told to leave.
type consumer struct {
	*progress
	c       *client.Conn
	seen    []stamp
	last    time.Time
	latency *hdrhistogram.Histogram // from SEND to MESSAGE
}

// dialConsumers subscribes all consumers before the first message is sent.
func (p *progress) dialConsumers(ctx context.Context) ([]*consumer, error) {
	var consumers []*consumer
	for range p.consumers {
		c, err := p.dial(ctx)
		if err != nil {
			return nil, err
		}
		err = c.Call("SUBSCRIBE", nil, "destination", p.queue, "id", "1", "ack", p.ack, "prefetch-count", "1000")
		if err != nil {
			return nil, err
		}
		consumers = append(consumers, &consumer{progress: p, c: c, latency: newLatency()})
	}
	return consumers, nil
}

// receive ends with the receipt of DISCONNECT.
func (c *consumer) receive() error {
	for {
		f, err := c.c.Receive()
		if err != nil {
			return fmt.Errorf("consumer: %w", err)
		}
		if f.Command == "RECEIPT" {
			return nil
		}
		if err := c.take(f); err != nil {
			return err
		}
	}
}

func (c *consumer) take(f *client.Frame) error {
	s := readStamp(f.Body)
	c.last = time.Now()
	c.latency.RecordValue((c.last.Sub(c.begin) - s.at).Nanoseconds())
	c.seen = append(c.seen, s)
	if c.ack != "auto" {
		if err := c.c.Write("ACK", nil, "id", f.Header("ack")); err != nil {
			return err
		}
	}
	c.received.Add(1)
	c.checkComplete()
	return nil
}

// leave may be called while receive waits.
func (c *consumer) leave() error { return leave(c.c) }
