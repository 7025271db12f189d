package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
)

// deduplicationID is the header by which a broker knows a message again, with its other names.
const deduplicationID = "deduplication-id"

var deduplicationIDs = []string{deduplicationID, "_AMQ_DUPL_ID", "x-deduplication-id"}

func hasID(f *frame.Frame) bool {
	return slices.ContainsFunc(deduplicationIDs, func(name string) bool { return f.Header.Get(name) != "" })
}

// Send sends a message and waits for its receipt; over lost connections too, for as long as ctx lasts. Options add headers, as
// stomp.SendOpt does. The body must not be changed before it returns.
//
// An error that is ErrInDoubt says that the message may have been taken. Any other says that it was not.
func (c *Client) Send(ctx context.Context, destination, contentType string, body []byte, opts ...func(*frame.Frame) error) error {
	answer := make(chan error, 1)
	r, err := c.sendAsync(ctx, destination, contentType, body, func(err error) { answer <- err }, opts)
	if err != nil {
		return err
	}
	return c.await(ctx, r, answer)
}

// SendAsync is Send that does not wait for the receipt: done is called with the outcome when it is known, once, unless SendAsync
// itself has returned an error. It waits as long as the cache is full. done must return soon and must not wait for the client,
// which stands still meanwhile. The body must not be changed before done is called.
//
// What one goroutine sends arrives in this order, over lost connections too.
func (c *Client) SendAsync(ctx context.Context, destination, contentType string, body []byte, done func(error), opts ...func(*frame.Frame) error) error {
	_, err := c.sendAsync(ctx, destination, contentType, body, done, opts)
	return err
}

func (c *Client) sendAsync(ctx context.Context, destination, contentType string, body []byte, done func(error), opts []func(*frame.Frame) error) (*request, error) {
	f, err := c.sendFrame(destination, contentType, body, opts)
	if err != nil {
		return nil, err
	}
	r := &request{kind: kindSend, frames: []*frame.Frame{f}, bytes: frameBytes(f), done: done}
	return r, c.submit(ctx, r)
}

// sendFrame is a SEND with an id.
func (c *Client) sendFrame(destination, contentType string, body []byte, opts []func(*frame.Frame) error) (*frame.Frame, error) {
	if destination == "" {
		return nil, errors.New("send: no destination")
	}
	f := frame.New(frame.SEND, frame.Destination, destination, frame.ContentLength, strconv.Itoa(len(body)))
	f.Body = body
	if contentType != "" {
		f.Header.Set(frame.ContentType, contentType)
	}
	if err := apply(f, opts); err != nil {
		return nil, err
	}
	if !hasID(f) && !c.options.NoDeduplication {
		f.Header.Add(deduplicationID, c.name+"-"+strconv.FormatUint(c.sends.Add(1), 10))
	}
	return f, nil
}

// apply carries out options. A receipt that they ask for is ours to ask for.
func apply(f *frame.Frame, opts []func(*frame.Frame) error) error {
	for _, opt := range opts {
		if err := opt(f); err != nil {
			return err
		}
	}
	if _, ok := f.Header.Contains(frame.Transaction); ok {
		return fmt.Errorf("%s: a transaction is begun with Begin", f.Command)
	}
	f.Header.Del(frame.Receipt)
	return nil
}

// submit waits for room and queues a request.
func (c *Client) submit(ctx context.Context, r *request) error {
	r.bytes = min(r.bytes, c.url.MaxCacheBytes) // one that is larger has all of it to itself
	if err := c.acquire(ctx, c.room, r.bytes, c.options.FailWhenFull); err != nil {
		return err
	}
	c.mu.Lock()
	err := c.push(r)
	if err == nil && c.url.Timeout > 0 {
		r.timer = time.AfterFunc(c.url.Timeout, func() { c.withdraw(r, ErrTimeout) })
	}
	c.mu.Unlock()
	if err != nil {
		c.room.Release(r.bytes)
	}
	return err
}

// await waits for the answer to a request. When ctx ends first, it is not sent any more.
func (c *Client) await(ctx context.Context, r *request, answer <-chan error) error {
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		c.withdraw(r, context.Cause(ctx))
		return <-answer
	}
}

// withdraw ends a request that has not ended. Once it was written, nobody knows what will become of it.
func (c *Client) withdraw(r *request, why error) {
	c.mu.Lock()
	ends := c.outbox.end(r, r.unanswered(why))
	c.tellIdle()
	c.mu.Unlock()
	c.tell(ends)
}

// inDoubt adds that the outcome is not known.
func inDoubt(why error) error { return fmt.Errorf("%w: %w", ErrInDoubt, why) }
