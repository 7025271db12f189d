package main

import (
	"context"
	"fmt"

	"baton/integration/client"
)

// drain takes the messages numbered from, from+1 … to-1 from a queue, which must come in this order and whole, acknowledges
// each by itself, and calls taken, unless it is nil, for each. It returns when the acknowledgements are safe and the queue has nothing more.
func drain(ctx context.Context, addr, queue string, from, to uint64, taken func(number uint64)) error {
	c, hangUp, err := attend(ctx, addr, queue)
	if err != nil {
		return err
	}
	defer hangUp()
	for number := from; number < to; number++ {
		if err := takeNext(c, number); err != nil {
			return err
		}
		if taken != nil {
			taken(number)
		}
		patiently(c, number)
	}
	return expectEmpty(c, queue)
}

// attend connects and subscribes to one queue.
func attend(ctx context.Context, addr, queue string) (c *client.Conn, hangUp func(), err error) {
	c, hangUp, err = dial(ctx, addr)
	if err != nil {
		return nil, nil, err
	}
	if err := subscribe(c, queue, "0"); err != nil {
		hangUp()
		return nil, nil, err
	}
	return c, hangUp, nil
}

func subscribe(c *client.Conn, queue, id string) error {
	return c.Write("SUBSCRIBE", nil, "destination", queue, "id", id, "ack", "client-individual", "prefetch-count", "1000")
}

// expectEmpty sends a message of its own to a queue that c is subscribed to: nothing may come before it.
func expectEmpty(c *client.Conn, queue string) error {
	if err := c.Call("SEND", nil, "destination", queue, "x-end", "true"); err != nil {
		return err
	}
	f, err := c.Next()
	if err != nil {
		return fmt.Errorf("end of %s: %w", queue, err)
	}
	if !f.Has("x-end") {
		return fmt.Errorf("%s should be empty, and holds %s", queue, f)
	}
	return c.Call("ACK", nil, "id", f.Header("ack"))
}

// empty takes whatever a queue holds.
func empty(ctx context.Context, addr, queue string) error {
	c, hangUp, err := attend(ctx, addr, queue)
	if err != nil {
		return err
	}
	defer hangUp()
	if err := c.Write("SEND", nil, "destination", queue, "x-end", "true"); err != nil {
		return err
	}
	for {
		f, err := c.Receive()
		if err != nil {
			return fmt.Errorf("empty %s: %w", queue, err)
		}
		if f.Has("x-end") {
			return c.Call("ACK", nil, "id", f.Header("ack"))
		}
		if err := c.Write("ACK", nil, "id", f.Header("ack")); err != nil {
			return err
		}
	}
}

// takeNext receives the message with that number, checks it and acknowledges it.
func takeNext(c *client.Conn, number uint64) error {
	f, err := c.Receive()
	if err != nil {
		return fmt.Errorf("message %d: %w", number, err)
	}
	if err := checkBody(f.Body, number); err != nil {
		return err
	}
	return c.Write("ACK", nil, "id", f.Header("ack"))
}
