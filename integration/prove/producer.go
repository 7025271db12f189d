package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"baton/integration/client"
)

// window is how many SENDs may wait for their receipts: enough that the broker always has a batch to sync.
const window = 4096

// stall is how long a client waits for a broker that does nothing. It ends a proof that hangs, and measures nothing.
const stall = 2 * time.Minute

// dial connects a client that ends with ctx, or when the broker stalls.
func dial(ctx context.Context, addr string) (c *client.Conn, hangUp func(), err error) {
	return dialAs(ctx, addr, "")
}

// dialAs is dial for a client that has a client-id.
func dialAs(ctx context.Context, addr, clientID string) (c *client.Conn, hangUp func(), err error) {
	c, err = client.Dial(ctx, addr, client.Options{ClientID: clientID})
	if err != nil {
		return nil, nil, err
	}
	c.SetDeadline(time.Now().Add(stall))
	stop := context.AfterFunc(ctx, func() { c.Close() })
	return c, func() { stop(); c.Close() }, nil
}

// patiently moves the deadline of a connection on, now and then, while it makes progress.
func patiently(c *client.Conn, number uint64) {
	if number%window == 0 {
		c.SetDeadline(time.Now().Add(stall))
	}
}

// producing is what a producer does with the messages numbered from, from+1 … to-1.
type producing struct {
	queue     func(number uint64) string               // where a message goes
	due       func(number uint64) time.Time            // when it may go; nil: at once
	receipted func(number uint64)                      // called for each receipt; nil: not
	header    func(number uint64) (name, value string) // one more; nil: none
}

// produce sends persistent messages to one queue.
func produce(ctx context.Context, addr, queue string, from, to uint64, receipted func(number uint64)) error {
	return producing{queue: func(uint64) string { return queue }, receipted: receipted}.run(ctx, addr, from, to)
}

// run sends persistent messages, each with a receipt; receipts must come in order. It returns after the last.
func (p producing) run(ctx context.Context, addr string, from, to uint64) error {
	c, hangUp, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer hangUp()
	slots := make(chan struct{}, window)
	ended := make(chan error, 1)
	go func() { ended <- p.readReceipts(c, from, to, slots) }()
	body := make([]byte, messageBytes)
	for number := from; number < to; number++ {
		if err := p.await(c, number, slots, ended); err != nil {
			return err
		}
		writeBody(body, number)
		if err := p.send(c, number, body); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil {
		return err
	}
	return <-ended
}

func (p producing) send(c *client.Conn, number uint64, body []byte) error {
	headers := [8]string{"destination", p.queue(number), "persistent", "true", "receipt", strconv.FormatUint(number, 10)}
	n := 6
	if p.header != nil {
		headers[6], headers[7] = p.header(number)
		n = 8
	}
	return c.Write("SEND", body, headers[:n]...)
}

// await returns when a message may be sent. It flushes before it has to wait.
func (p producing) await(c *client.Conn, number uint64, slots chan<- struct{}, ended <-chan error) error {
	if p.due != nil {
		if early := time.Until(p.due(number)); early > 0 {
			if err := c.Flush(); err != nil {
				return err
			}
			time.Sleep(early)
		}
	}
	return c.Acquire(slots, ended)
}

func (p producing) readReceipts(c *client.Conn, from, to uint64, slots <-chan struct{}) error {
	for number := from; number < to; number++ {
		f, err := c.Next()
		if err != nil {
			return fmt.Errorf("receipt of message %d: %w", number, err)
		}
		if f.Command != "RECEIPT" || f.Header("receipt-id") != strconv.FormatUint(number, 10) {
			return fmt.Errorf("the receipt of message %d was due, this came: %s", number, f)
		}
		if p.receipted != nil {
			p.receipted(number)
		}
		patiently(c, number)
		<-slots
	}
	return nil
}
