package client

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
	"golang.org/x/sync/semaphore"
)

// A Client keeps a connection to one of several brokers. Its methods may be called by several goroutines.
type Client struct {
	url     *URL
	options Options
	name    string // that no other client has; ids begin with it
	dialer  *dialer
	room    *semaphore.Weighted // octets of the cache
	ackRoom *semaphore.Weighted // acknowledgements without an answer

	sends, transactions, ids atomic.Uint64

	alive context.Context // ends with the client
	stop  context.CancelCauseFunc
	ended chan struct{} // run has returned

	mu            sync.Mutex
	session       *session // nil: there is no connection
	generations   uint64
	outbox        outbox
	subscriptions []*Subscription
	idle          chan struct{} // Close waits for the outbox to be empty; nil: nobody does
	closing       bool
	err           error // why it has ended
}

// Dial connects to the broker of the URL that answers first; see URL. ctx bounds only that: the client lives until Close, or until it
// has tried maxReconnectAttempts in vain. The error says what each address answered.
func Dial(ctx context.Context, url string, o Options) (*Client, error) {
	u, err := ParseURL(url)
	if err != nil {
		return nil, err
	}
	if o, err = o.complete(u); err != nil {
		return nil, err
	}
	c := &Client{
		url: u, options: o, name: rand.Text(), dialer: &dialer{url: u, options: o},
		room: semaphore.NewWeighted(u.MaxCacheBytes), ackRoom: semaphore.NewWeighted(maxAcks), ended: make(chan struct{}),
	}
	l, err := c.dialer.connect(ctx, u.startupLimit())
	if err != nil {
		return nil, err
	}
	c.alive, c.stop = context.WithCancelCause(context.Background())
	go c.run(c.begin(l))
	return c, nil
}

// startupLimit is how many attempts the first connection has; -1: no bound.
func (u *URL) startupLimit() int {
	limit := u.MaxAttempts
	if u.StartupMaxAttempts >= 0 {
		limit = u.StartupMaxAttempts
	}
	if limit == 0 {
		return 1
	}
	return limit
}

// run works on one connection after the other.
func (c *Client) run(s *session) {
	defer close(c.ended)
	for {
		err := s.serve(c.alive)
		if c.over() {
			err = ErrClosed
		}
		c.lose(s, err)
		if err == ErrClosed || c.url.MaxAttempts == 0 {
			c.finish(err)
			return
		}
		l, err := c.dialer.connect(c.alive, c.url.MaxAttempts)
		if err != nil {
			c.finish(causeOf(c.alive, err))
			return
		}
		s = c.begin(l)
	}
}

// over says whether there is nothing to connect again for.
func (c *Client) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.alive.Err() != nil || c.closing && c.outbox.unanswered == 0
}

// begin makes a session of a connection.
func (c *Client) begin(l *link) *session {
	c.dialer.learn(l.connected)
	c.dialer.lost = l.address // if it is
	c.mu.Lock()
	c.generations++
	s := &session{link: l, c: c, generation: c.generations, begun: time.Now(), wake: make(chan struct{}, 1)}
	c.mu.Unlock()
	if c.options.OnConnect != nil {
		c.options.OnConnect(Connected{l.address, s.generation, l.connected})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	first := make([]*request, 0, len(c.subscriptions))
	for _, sub := range c.subscriptions {
		first = append(first, sub.request())
	}
	c.outbox.begin(first)
	c.session = s
	return s
}

// maxStrikes is how many connections may end with an ERROR while the same request is the next to be answered, until it is taken
// for the cause.
const maxStrikes = 3

// maxPenalty bounds the delay after connections that were of no use: it is that after so many attempts in vain.
const maxPenalty = 6

// lose ends what cannot outlive a connection.
func (c *Client) lose(s *session, why error) {
	if s.useful() {
		c.dialer.vain = 0
	} else {
		c.dialer.vain = min(c.dialer.vain+1, maxPenalty)
	}
	c.mu.Lock()
	c.session = nil
	ends := c.strike(s)
	ends = append(ends, c.outbox.lose()...)
	for _, sub := range c.subscriptions {
		sub.messages = nil
		signal(sub.taken)
	}
	c.tellIdle()
	c.mu.Unlock()
	if c.options.OnDisconnect != nil {
		c.options.OnDisconnect(why)
	}
	c.tell(ends)
}

// strike ends the request that makes one connection after the other end with an ERROR that names nothing.
func (c *Client) strike(s *session) []ended {
	if s.refused == nil || s.blamed || passing(s.refused) {
		return nil
	}
	r := c.outbox.first(s.generation)
	if r == nil {
		return nil
	}
	if r.strikes++; r.strikes < maxStrikes {
		return nil
	}
	return c.outbox.end(r, refusal(s.refused))
}

// finish ends all that waits, for there will be no connection any more.
func (c *Client) finish(why error) {
	c.mu.Lock()
	c.err = why
	ends := c.outbox.clear(why)
	for _, s := range c.subscriptions {
		s.end(why)
	}
	c.tellIdle()
	c.mu.Unlock()
	c.stop(why)
	c.tell(ends)
}

// push queues a request. The lock is held.
func (c *Client) push(r *request) error {
	if err := c.endedWith(); err != nil {
		return err
	}
	if r.generation != 0 && (c.session == nil || c.session.generation != r.generation) {
		_, err := r.fate()
		return err
	}
	c.outbox.add(r)
	if c.session != nil {
		signal(c.session.wake)
	}
	return nil
}

// receipt takes a RECEIPT.
func (c *Client) receipt(id string, generation uint64) {
	c.mu.Lock()
	ends := c.outbox.receipt(id, generation)
	for _, e := range ends {
		if e.sub != nil {
			e.sub.accepted = true
			e.sub.confirm()
		}
	}
	c.tellIdle()
	c.mu.Unlock()
	c.tell(ends)
}

// refuse takes an ERROR, and says whether it named a request. That is not made again, unless the ERROR speaks of the broker:
// and what asks for more copies than there are has to say itself what then.
func (c *Client) refuse(f *frame.Frame, generation uint64) (blamed bool) {
	c.mu.Lock()
	r, _ := c.outbox.find(f.Header.Get(frame.ReceiptId), generation)
	var ends []ended
	switch {
	case r == nil:
	case !passing(f) && !r.hasToWait(f), f.Header.Get("code") == "not-replicated" && r.wantsCopies():
		ends = c.outbox.end(r, r.refusal(f))
		if r.sub != nil {
			_ = c.removeSubscription(r.sub, refusal(f))
		}
	case !stored(f):
		r.refused = refusal(f)
	}
	c.tellIdle()
	c.mu.Unlock()
	c.tell(ends)
	return r != nil
}

// hasToWait says whether a subscription of an earlier connection is refused because the broker has not noticed its end yet.
func (r *request) hasToWait(f *frame.Frame) bool {
	return r.sub != nil && r.sub.accepted && f.Header.Get("code") == "durable-subscription-in-use"
}

// tell tells outcomes. The lock is not held.
func (c *Client) tell(ends []ended) {
	for _, e := range ends {
		if e.timer != nil {
			e.timer.Stop()
		}
		if e.bytes > 0 {
			c.room.Release(e.bytes)
		}
		if e.done != nil {
			e.done(e.err)
		}
	}
}

// acquire takes a share of a semaphore, or says why there will be none.
func (c *Client) acquire(ctx context.Context, from *semaphore.Weighted, n int64, now bool) error {
	if from.TryAcquire(n) {
		return nil
	}
	if now {
		return ErrFull
	}
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.alive, func() { cancel(context.Cause(c.alive)) })()
	if err := from.Acquire(waiting, n); err != nil {
		return context.Cause(waiting)
	}
	return nil
}

// generation is that of the connection; 0: there is none.
func (c *Client) generation() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return 0
	}
	return c.session.generation
}

// endedWith is why nothing is begun any more. The lock is held.
func (c *Client) endedWith() error {
	if c.err == nil && c.closing {
		return ErrClosed
	}
	return c.err
}

// tellIdle lets Close go on when nothing waits for an answer. The lock is held.
func (c *Client) tellIdle() {
	if c.idle != nil && (c.outbox.unanswered == 0 || c.err != nil) {
		close(c.idle)
		c.idle = nil
	}
}

// Close lets nothing new begin, waits until all that was sent has its answer, over lost connections too, and disconnects. When ctx
// ends first, it cuts the connection: what has no answer then ends with ErrClosed, and so does what Receive waits for. It
// returns nil if all was answered.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return c.outcome(awaitClosed(ctx, c.ended))
	}
	c.closing = true
	c.idle = make(chan struct{})
	idle := c.idle
	c.tellIdle()
	for _, s := range c.subscriptions {
		signal(s.arrived)
	}
	c.mu.Unlock()
	err := awaitClosed(ctx, idle)
	if err == nil {
		err = c.disconnect(ctx)
	}
	c.stop(ErrClosed)
	select {
	case <-c.ended:
	case <-time.After(callbackGrace):
		return errors.New("the client has not ended: one of its callbacks has not returned")
	}
	return c.outcome(err)
}

// callbackGrace is how long Close waits for a callback to return, which may be the one that has called it.
const callbackGrace = time.Second

// outcome is what Close returns, when all has ended or err says why not.
func (c *Client) outcome(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil || errors.Is(c.err, ErrClosed) {
		return err
	}
	return c.err
}

// disconnect says DISCONNECT and waits for the answer, or the end of the connection: nothing is lost then any more.
func (c *Client) disconnect(ctx context.Context) error {
	done := make(chan struct{})
	c.mu.Lock()
	if c.session == nil || c.err != nil {
		c.mu.Unlock()
		return nil
	}
	c.outbox.add(&request{kind: kindDisconnect, frames: []*frame.Frame{frame.New(frame.DISCONNECT)}, done: func(error) { close(done) }})
	signal(c.session.wake)
	c.mu.Unlock()
	return awaitClosed(ctx, done)
}

// awaitClosed waits until a channel is closed, or ctx ends.
func awaitClosed(ctx context.Context, ch <-chan struct{}) error {
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
