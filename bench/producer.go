package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"baton/integration/client"
)

// producer sends until the time is over, with at most window SENDs unconfirmed.
type producer struct {
	*progress
	number  uint32
	sent    int
	latency *hdrhistogram.Histogram // from SEND to RECEIPT
}

func (p *producer) work(ctx context.Context) error {
	c, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	slots := make(chan struct{}, p.window)
	times := make([]time.Time, p.window) // when the SENDs in the window left; receipts come in order
	ended := make(chan error, 1)
	go func() { ended <- p.readReceipts(c, slots, times) }()
	body := make([]byte, messageBytes)
	for time.Now().Before(p.stop) {
		if err := c.Acquire(slots, ended); err != nil {
			return fmt.Errorf("producer %d: %w", p.number, err)
		}
		if err := p.send(c, body, times); err != nil {
			return err
		}
	}
	if err := leave(c); err != nil {
		return err
	}
	return <-ended
}

func (p *producer) send(c *client.Conn, body []byte, times []time.Time) error {
	now := time.Now()
	times[p.sent%p.window] = now
	stamp{p.number, uint32(p.sent), now.Sub(p.begin)}.write(body)
	err := c.Write("SEND", body, "destination", p.queue, "persistent", strconv.FormatBool(p.persistent), "receipt", strconv.Itoa(p.sent))
	p.sent++
	if p.window == 1 && err == nil {
		return c.Flush()
	}
	return err
}

func (p *producer) readReceipts(c *client.Conn, slots <-chan struct{}, times []time.Time) error {
	for next := 0; ; next++ {
		f, err := c.Next()
		if err != nil {
			return err
		}
		receipt := f.Header("receipt-id")
		if receipt == goodbye {
			return nil
		}
		if receipt != strconv.Itoa(next) {
			return fmt.Errorf("producer %d: receipt %q came when %d was due", p.number, receipt, next)
		}
		p.latency.RecordValue(time.Since(times[next%p.window]).Nanoseconds())
		<-slots
	}
}
