package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"
)

// subscribe gives a subscription and its SUBSCRIBE.
func subscribe(t *testing.T, c *Client, p *peer, mode stomp.AckMode, opts ...func(*frame.Frame) error) (*Subscription, *frame.Frame) {
	t.Helper()
	var s *Subscription
	done := async(func() (err error) {
		s, err = c.Subscribe(within(t), "/queue/a", mode, opts...)
		return err
	})
	f := p.want("SUBSCRIBE")
	p.receipt(f)
	waitNil(t, done)
	return s, f
}

func receive(t *testing.T, s *Subscription, body string) *Message {
	t.Helper()
	m, err := s.Receive(within(t))
	if err != nil {
		t.Fatalf("want %q: %v", body, err)
	}
	if string(m.Body) != body {
		t.Fatalf("got %q, want %q", m.Body, body)
	}
	return m
}

// A lostAck is what OnLostAck was told.
type lostAck struct {
	body string
	err  error
}

func lostAcks() (chan lostAck, Options) {
	lost := make(chan lostAck, 100)
	return lost, Options{OnLostAck: func(m *Message, err error) { lost <- lostAck{string(m.Body), err} }}
}

// A subscription is the same on each connection.
func TestSubscribesAgain(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{Prefetch: 7})
	s, f := subscribe(t, c, p, stomp.AckClient, stomp.SubscribeOpt.Header("selector", "a > 1"))
	_, g := subscribe(t, c, p, stomp.AckClientIndividual, stomp.SubscribeOpt.Id("mine"), stomp.SubscribeOpt.Header("activemq.prefetchSize", "9"))
	if f.Header.Get("prefetch-count") != "7" || g.Header.Get("prefetch-count") != "" || f.Header.Get("id") == g.Header.Get("id") {
		t.Errorf("got %v, %v", f.Header, g.Header)
	}
	p.message(f, "1", "old")
	if m := receive(t, s, "old"); m.Generation != 1 || m.Subscription != s || m.Destination != "/queue/a" {
		t.Errorf("got %+v", m)
	}
	p.Close()
	p = b.connected()
	for _, first := range []*frame.Frame{f, g} {
		again := p.want("SUBSCRIBE")
		first.Header.Set("receipt", again.Header.Get("receipt"))
		if fmt.Sprint(again.Header) != fmt.Sprint(first.Header) {
			t.Errorf("got  %v\nwant %v", again.Header, first.Header)
		}
		p.receipt(again)
	}
	p.message(f, "2", "new")
	if m := receive(t, s, "new"); m.Generation != 2 {
		t.Errorf("of connection %d", m.Generation)
	}
}

// What was not received yet when the connection is lost comes again from the broker, and not twice.
func TestDropsOldMessages(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	s, f := subscribe(t, c, p, stomp.AckClientIndividual)
	p.message(f, "1", "old")
	done := send(t, c, "x") // its receipt comes behind the message
	p.receipt(p.wantSend("x"))
	waitNil(t, done)
	p.Close()
	p = b.connected()
	p.receipt(p.want("SUBSCRIBE"))
	p.message(f, "2", "new")
	receive(t, s, "new")
}

// An acknowledgement of a message of an earlier connection is not sent, and said to be lost.
func TestAckIsTooLate(t *testing.T) {
	t.Parallel()
	lost, o := lostAcks()
	b := listen(t)
	c, p := pair(t, b, "", o)
	s, f := subscribe(t, c, p, stomp.AckClientIndividual)
	p.message(f, "1", "old")
	old := receive(t, s, "old")
	p.Close()
	p = b.connected()
	p.receipt(p.want("SUBSCRIBE"))
	p.message(f, "2", "new")
	m := receive(t, s, "new")
	for _, settle := range []func(context.Context, *Message, ...func(*frame.Frame) error) error{c.Ack, c.Nack, c.AckConfirmed} {
		if err := settle(within(t), old); !errors.Is(err, ErrLostAck) {
			t.Errorf("got %v", err)
		}
		if got := <-lost; got.body != "old" || !errors.Is(got.err, ErrLostAck) {
			t.Errorf("told %v", got)
		}
	}
	done := async(func() error { return c.AckConfirmed(within(t), m) })
	p.receipt(p.want("ACK", "id", "2")) // and none of the old message
	waitNil(t, done)
	if len(lost) > 0 {
		t.Errorf("told %v", <-lost)
	}
	if !c.ackRoom.TryAcquire(maxAcks) {
		t.Error("places of acknowledgements are not free again")
	}
}

// An acknowledgement without an answer when the connection is lost is said to be lost, and is not sent again.
func TestAckIsLost(t *testing.T) {
	t.Parallel()
	lost, o := lostAcks()
	b := listen(t)
	c, p := pair(t, b, "", o)
	s, f := subscribe(t, c, p, stomp.AckClientIndividual)
	for i := range 3 {
		p.message(f, fmt.Sprint(i), fmt.Sprint(i))
	}
	safe := receive(t, s, "0")
	done := async(func() error { return c.AckConfirmed(within(t), safe) })
	p.receipt(p.want("ACK", "id", "0"))
	waitNil(t, done)
	done = async(func() error { return errors.Join(c.Ack(within(t), receive(t, s, "1"))) })
	p.want("ACK", "id", "1")
	waitNil(t, done)
	m := receive(t, s, "2")
	done = async(func() error { return c.AckConfirmed(within(t), m) })
	p.want("ACK", "id", "2")
	p.Close()
	if err := wait(t, done); !errors.Is(err, ErrLostAck) {
		t.Errorf("got %v", err)
	}
	if a, b := <-lost, <-lost; a.body != "1" || b.body != "2" || len(lost) > 0 {
		t.Errorf("told %v, %v", a, b)
	}
	p = b.connected()
	p.want("SUBSCRIBE")
	next := send(t, c, "x")
	p.receipt(p.wantSend("x")) // and no ACK before it
	waitNil(t, next)
}

// Acknowledgements that are written together share a receipt.
func TestAcksShareAReceipt(t *testing.T) {
	t.Parallel()
	lost, o := lostAcks()
	b := listen(t)
	c, p := pair(t, b, "", o)
	s, f := subscribe(t, c, p, stomp.AckClientIndividual)
	const n = 50
	var messages []*Message
	for i := range n {
		p.message(f, fmt.Sprint(i), fmt.Sprint(i))
		messages = append(messages, receive(t, s, fmt.Sprint(i)))
	}
	hold(t, c, func() {
		for _, m := range messages {
			if err := c.push(ackOf(t, c, m)); err != nil {
				t.Fatal(err)
			}
		}
	})
	for i := range n - 1 {
		p.want("ACK", "id", fmt.Sprint(i), "receipt", "")
	}
	p.receipt(p.want("ACK", "id", fmt.Sprint(n-1)))
	done := send(t, c, "x")
	p.receipt(p.wantSend("x"))
	waitNil(t, done)
	p.Close()
	b.connected()
	if len(lost) > 0 {
		t.Errorf("lost: %v", <-lost)
	}
	if !c.ackRoom.TryAcquire(maxAcks) {
		t.Error("places of acknowledgements are not free again")
	}
}

// hold has fn run while nothing can be written.
func hold(t *testing.T, c *Client, fn func()) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	fn()
}

func ackOf(t *testing.T, c *Client, m *Message) *request {
	t.Helper()
	f, err := settlement(frame.ACK, m, nil)
	if err != nil || !c.ackRoom.TryAcquire(1) {
		t.Fatal(err)
	}
	return &request{kind: kindAck, frames: []*frame.Frame{f}, generation: m.Generation, done: func(err error) {
		c.ackRoom.Release(1)
		if err != nil {
			c.tellLostAck(m, err)
		}
	}}
}

// With auto, what Receive has returned is acknowledged, and nothing else.
func TestAutoAck(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	s, f := subscribe(t, c, p, stomp.AckAuto)
	if mode := f.Header.Get("ack"); mode != "client-individual" || s.AckMode() != stomp.AckAuto {
		t.Errorf("ack:%s", mode)
	}
	p.message(f, "1", "one")
	p.message(f, "2", "two")
	m := receive(t, s, "one")
	p.receipt(p.want("ACK", "id", "1"))
	if err := c.Ack(within(t), m); err != nil {
		t.Error(err)
	}
	if err := c.Nack(within(t), m); !errors.Is(err, stomp.ErrCannotNackAutoSub) {
		t.Error(err)
	}
	p.Close()
	p = b.connected()
	p.receipt(p.want("SUBSCRIBE"))
	p.message(f, "3", "two")
	receive(t, s, "two")
	p.want("ACK", "id", "3")
	p.sayBody("MESSAGE", "a copy", "subscription", s.ID(), "message-id", "0", "browser", "end")
	receive(t, s, "a copy")
	if !c.ackRoom.TryAcquire(maxAcks - 1) { // one has no answer
		t.Error("places of acknowledgements are not free again")
	}
}

// A broker that sends more than it was asked for waits, and nothing is lost.
func TestTooManyMessages(t *testing.T) {
	t.Parallel()
	c, p := pair(t, listen(t), "", Options{Prefetch: 2})
	s, f := subscribe(t, c, p, stomp.AckClientIndividual)
	sent := async(func() error {
		for i := range 1000 {
			if err := p.out.Write(frame.New("MESSAGE", "subscription", f.Header.Get("id"), "ack", fmt.Sprint(i))); err != nil {
				return err
			}
		}
		return nil
	})
	for i := range 1000 {
		if m := receive(t, s, ""); m.Header.Get("ack") != fmt.Sprint(i) {
			t.Fatalf("got %v, want %d", m.Header, i)
		}
		c.mu.Lock()
		if n := len(s.messages); n > 2 {
			t.Errorf("%d messages wait", n)
		}
		c.mu.Unlock()
	}
	waitNil(t, sent)
}

func TestSubscribeIsRefused(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	done := async(func() error {
		_, err := c.Subscribe(within(t), "/queue/a", stomp.AckAuto)
		return err
	})
	f := p.want("SUBSCRIBE")
	p.say("ERROR", "message", "not for you", "receipt-id", f.Header.Get("receipt"))
	var refused stomp.Error
	if err := wait(t, done); !errors.As(err, &refused) || refused.Message != "not for you" {
		t.Errorf("got %v", err)
	}
	p = b.connected()
	next := send(t, c, "x")
	p.receipt(p.wantSend("x")) // and no SUBSCRIBE
	waitNil(t, next)
}

// When a later connection refuses it, it ends; unless the broker only has not noticed yet that the earlier one is gone.
func TestSubscribeIsRefusedLater(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	s, _ := subscribe(t, c, p, stomp.AckAuto)
	p.Close()
	for range 2 {
		p = b.connected()
		f := p.want("SUBSCRIBE")
		p.say("ERROR", "message", "somebody has it", "code", "durable-subscription-in-use", "receipt-id", f.Header.Get("receipt"))
	}
	p = b.connected()
	f := p.want("SUBSCRIBE")
	p.say("ERROR", "message", "gone", "receipt-id", f.Header.Get("receipt"))
	var refused stomp.Error
	if _, err := s.Receive(within(t)); !errors.As(err, &refused) || refused.Message != "gone" {
		t.Errorf("got %v", err)
	}
	if err := s.Unsubscribe(within(t)); !errors.As(err, &refused) {
		t.Errorf("unsubscribe: %v", err)
	}
}

// Subscribe goes on over a lost connection, and ends with its context.
func TestSubscribeWaits(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	ctx, cancel := context.WithCancel(within(t))
	done := async(func() error {
		_, err := c.Subscribe(ctx, "/queue/a", stomp.AckAuto)
		return err
	})
	p.want("SUBSCRIBE")
	p.Close()
	p = b.connected()
	f := p.want("SUBSCRIBE")
	cancel()
	if err := wait(t, done); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	p.receipt(f)
	p.receipt(p.want("UNSUBSCRIBE", "id", f.Header.Get("id")))
}

func TestUnsubscribe(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	s, f := subscribe(t, c, p, stomp.AckAuto)
	p.message(f, "1", "waits")
	waiting := async(func() error {
		for {
			if _, err := s.Receive(within(t)); err != nil {
				return err
			}
		}
	})
	p.want("ACK")
	done := async(func() error { return s.Unsubscribe(within(t)) })
	unsubscribe := p.want("UNSUBSCRIBE", "id", f.Header.Get("id"))
	p.message(f, "2", "too late")
	p.receipt(unsubscribe)
	waitNil(t, done)
	if err := wait(t, waiting); !errors.Is(err, ErrUnsubscribed) {
		t.Errorf("got %v", err)
	}
	if err := s.Unsubscribe(within(t)); !errors.Is(err, ErrUnsubscribed) {
		t.Errorf("again: %v", err)
	}

	// A lost connection answers as well, but not where a durable subscription is to be deleted.
	s, _ = subscribe(t, c, p, stomp.AckAuto)
	done = async(func() error { return s.Unsubscribe(within(t)) })
	p.want("UNSUBSCRIBE")
	p.Close()
	waitNil(t, done)
	p = b.connected()
	s, _ = subscribe(t, c, p, stomp.AckAuto, stomp.SubscribeOpt.Header("activemq.subscriptionName", "n"))
	done = async(func() error {
		return s.Unsubscribe(within(t), stomp.SubscribeOpt.Header("activemq.subscriptionName", "n"))
	})
	p.want("UNSUBSCRIBE", "activemq.subscriptionName", "n")
	p.Close()
	p = b.connected()
	p.receipt(p.want("UNSUBSCRIBE", "activemq.subscriptionName", "n"))
	waitNil(t, done)
}

func TestReceiveEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c, p := pair(t, listen(t), "", Options{})
	s, _ := subscribe(t, c, p, stomp.AckAuto)
	ctx, cancel := context.WithCancel(within(t))
	done := async(func() error {
		_, err := s.Receive(ctx)
		return err
	})
	cancel()
	if err := wait(t, done); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if !c.ackRoom.TryAcquire(maxAcks) {
		t.Error("its place for an acknowledgement is not free again")
	}
}

func TestTwoSubscriptionsOfOneID(t *testing.T) {
	t.Parallel()
	c, p := pair(t, listen(t), "", Options{})
	subscribe(t, c, p, stomp.AckAuto, stomp.SubscribeOpt.Id("mine"))
	if _, err := c.Subscribe(within(t), "/queue/b", stomp.AckAuto, stomp.SubscribeOpt.Id("mine")); err == nil || !strings.Contains(err.Error(), `"mine"`) {
		t.Errorf("got %v", err)
	}
}

// A subscription that ends takes nothing more, and holds up nobody, though more has come than it had room for.
func TestUnsubscribeWithMessagesWaiting(t *testing.T) {
	t.Parallel()
	c, p := pair(t, listen(t), "", Options{Prefetch: 1})
	s, f := subscribe(t, c, p, stomp.AckClientIndividual)
	for id := range 3 {
		p.message(f, fmt.Sprint(id), "x")
	}
	for full := false; !full; { // nothing tells
		c.mu.Lock()
		full = len(s.messages) == 1
		c.mu.Unlock()
	}
	done := async(func() error { return s.Unsubscribe(within(t)) })
	p.receipt(p.want("UNSUBSCRIBE"))
	waitNil(t, done)
}
