package client

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"
)

// A Subscription lasts over connections: each new one begins with its SUBSCRIBE, the same as the first.
type Subscription struct {
	c        *Client
	id       string
	mode     stomp.AckMode
	frame    *frame.Frame // SUBSCRIBE
	prefetch int          // most messages that wait here

	arrived   chan struct{} // there is a message, or an end
	taken     chan struct{} // there is room
	confirmed chan struct{} // closed when the broker has confirmed it once, or refused

	// Under the client's lock:
	messages []*Message // of this connection
	accepted bool       // confirmed by a RECEIPT
	err      error      // why it has ended
}

// Subscribe subscribes to a destination and returns when the broker has confirmed it. Options add headers, as
// stomp.SubscribeOpt does.
//
// With stomp.AckAuto the client acknowledges each message when Receive has returned it: what waits in the client when the
// connection is lost is not lost. On the wire that is client-individual.
//
// A subscription with browser:true begins anew on a new connection.
func (c *Client) Subscribe(ctx context.Context, destination string, mode stomp.AckMode, opts ...func(*frame.Frame) error) (*Subscription, error) {
	s, err := c.newSubscription(destination, mode, opts)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	err = c.addSubscription(s)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case <-s.confirmed:
	case <-ctx.Done():
		s.abandon()
		return nil, context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !s.accepted {
		return nil, s.err
	}
	return s, nil
}

func (c *Client) newSubscription(destination string, mode stomp.AckMode, opts []func(*frame.Frame) error) (*Subscription, error) {
	wire := mode
	if mode == stomp.AckAuto {
		wire = stomp.AckClientIndividual
	}
	f := frame.New(frame.SUBSCRIBE, frame.Destination, destination, frame.Ack, wire.String())
	if err := apply(f, opts); err != nil {
		return nil, err
	}
	id, ok := f.Header.Contains(frame.Id)
	if !ok {
		id = "s" + strconv.FormatUint(c.ids.Add(1), 10)
		f.Header.Add(frame.Id, id)
	}
	s := &Subscription{
		c: c, id: id, mode: mode, frame: f, prefetch: prefetchOf(f.Header),
		arrived: make(chan struct{}, 1), taken: make(chan struct{}, 1), confirmed: make(chan struct{}),
	}
	if s.prefetch == 0 {
		s.prefetch = c.options.Prefetch
		f.Header.Add("prefetch-count", strconv.Itoa(s.prefetch))
	}
	return s, nil
}

// prefetchOf is how many messages a SUBSCRIBE asks for at a time; 0: it does not say, or the broker will not like it.
func prefetchOf(h *frame.Header) int {
	for _, name := range []string{"prefetch-count", "activemq.prefetchSize"} {
		if text, ok := h.Contains(name); ok {
			n, _ := strconv.Atoi(text)
			return min(max(n, 1), maxPrefetch)
		}
	}
	return 0
}

// addSubscription enters s, and sends its SUBSCRIBE if there is a connection; the next one does it else.
func (c *Client) addSubscription(s *Subscription) error {
	if err := c.endedWith(); err != nil {
		return err
	}
	if c.subscription(s.id) != nil {
		return errors.New("there is a subscription with the id " + strconv.Quote(s.id))
	}
	c.subscriptions = append(c.subscriptions, s)
	if c.session != nil {
		return c.push(s.request())
	}
	return nil
}

// subscription is that with an id. The client's lock is held.
func (c *Client) subscription(id string) *Subscription {
	i := slices.IndexFunc(c.subscriptions, func(s *Subscription) bool { return s.id == id })
	if i < 0 {
		return nil
	}
	return c.subscriptions[i]
}

// request is a SUBSCRIBE for the connection of now, or the next one.
func (s *Subscription) request() *request {
	return &request{kind: kindSubscribe, frames: []*frame.Frame{s.frame.Clone()}, sub: s}
}

// ID is the id header of its SUBSCRIBE.
func (s *Subscription) ID() string { return s.id }

// Destination is that of its SUBSCRIBE.
func (s *Subscription) Destination() string { return s.frame.Header.Get(frame.Destination) }

// AckMode is that which Subscribe was given.
func (s *Subscription) AckMode() stomp.AckMode { return s.mode }

// Receive waits for the next message. Over a lost connection it goes on waiting; messages that it has not returned by then
// come again from the broker. The error says that ctx has ended, or why the subscription or the client has.
func (s *Subscription) Receive(ctx context.Context) (*Message, error) {
	if s.mode == stomp.AckAuto {
		if err := s.c.acquire(ctx, s.c.ackRoom, 1, false); err != nil {
			return nil, err
		}
	}
	for {
		m, err := s.take()
		if m != nil {
			return m, nil
		}
		if err == nil {
			select {
			case <-s.arrived:
				continue
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}
		if s.mode == stomp.AckAuto {
			s.c.ackRoom.Release(1)
		}
		return nil, err
	}
}

// take is the first message that waits, acknowledged if the mode is auto; or why there will be none.
func (s *Subscription) take() (*Message, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	err := s.err
	if err == nil {
		err = s.c.endedWith()
	}
	if err != nil {
		signal(s.arrived) // for others who wait
		return nil, err
	}
	if len(s.messages) == 0 {
		return nil, nil
	}
	m := s.messages[0]
	s.messages[0] = nil
	s.messages = s.messages[1:]
	signal(s.taken)
	if len(s.messages) > 0 {
		signal(s.arrived)
	}
	if s.mode == stomp.AckAuto {
		s.acknowledge(m)
	}
	return m, nil
}

// acknowledge acknowledges a message that an application takes, which may not be told of its loss: it has not acknowledged it.
func (s *Subscription) acknowledge(m *Message) {
	f, err := settlement(frame.ACK, m, nil)
	if err == nil {
		err = s.c.push(&request{
			kind: kindAck, frames: []*frame.Frame{f}, generation: m.Generation,
			done: func(error) { s.c.ackRoom.Release(1) },
		})
	}
	if err != nil { // a copy for a browser
		s.c.ackRoom.Release(1)
	}
}

// deliver adds a message that has come. It waits while the subscription has more than it asked for.
func (s *Subscription) deliver(ctx context.Context, m *Message) error {
	for {
		s.c.mu.Lock()
		ended := s.err != nil
		room := len(s.messages) < s.prefetch
		if room && !ended {
			s.messages = append(s.messages, m)
			signal(s.arrived)
		}
		s.c.mu.Unlock()
		if room || ended {
			return nil
		}
		select {
		case <-s.taken:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Unsubscribe ends the subscription and waits until the broker has confirmed it. What waits in the client goes back to the
// broker. Options add headers, as stomp.SubscribeOpt does: those that delete a durable subscription are sent again after a
// lost connection.
func (s *Subscription) Unsubscribe(ctx context.Context, opts ...func(*frame.Frame) error) error {
	f := frame.New(frame.UNSUBSCRIBE, frame.Id, s.id)
	if err := apply(f, opts); err != nil {
		return err
	}
	answer := make(chan error, 1)
	r := &request{kind: kindUnsubscribe, frames: []*frame.Frame{f}, done: func(err error) { answer <- err }}
	if f.Header.Len() > 1 {
		r.kind = kindForget
	}
	s.c.mu.Lock()
	err := s.c.removeSubscription(s, ErrUnsubscribed)
	if err == nil && (s.c.session != nil || r.kind == kindForget) {
		err = s.c.push(r)
	} else {
		answer <- nil
	}
	s.c.mu.Unlock()
	if err != nil {
		return err
	}
	return s.c.await(ctx, r, answer)
}

// removeSubscription ends s; the error is why it had ended before. The client's lock is held.
func (c *Client) removeSubscription(s *Subscription, why error) error {
	if s.err != nil {
		return s.err
	}
	c.subscriptions = slices.DeleteFunc(c.subscriptions, func(other *Subscription) bool { return other == s })
	s.end(why)
	return nil
}

// end ends s. The client's lock is held.
func (s *Subscription) end(why error) {
	s.err, s.messages = why, nil
	signal(s.arrived)
	signal(s.taken)
	s.confirm()
}

// confirm has Subscribe return. The client's lock is held.
func (s *Subscription) confirm() {
	select {
	case <-s.confirmed:
	default:
		close(s.confirmed)
	}
}

// abandon ends a subscription that nobody waits for any more.
func (s *Subscription) abandon() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.removeSubscription(s, ErrUnsubscribed) == nil && s.c.session != nil {
		_ = s.c.push(&request{kind: kindUnsubscribe, frames: []*frame.Frame{frame.New(frame.UNSUBSCRIBE, frame.Id, s.id)}})
	}
}

// signal wakes who waits for ch, or will.
func signal(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
