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

func send(t *testing.T, c *Client, body string) <-chan error {
	t.Helper()
	ctx := within(t)
	return async(func() error { return c.Send(ctx, "/queue/a", "text/plain", []byte(body)) })
}

// sendAll sends messages without waiting, and gives their outcomes in the order in which they come.
func sendAll(t *testing.T, c *Client, bodies ...string) <-chan error {
	t.Helper()
	done := make(chan error, len(bodies))
	for _, body := range bodies {
		if err := c.SendAsync(within(t), "/queue/a", "", []byte(body), func(err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
	}
	return done
}

func TestSend(t *testing.T) {
	t.Parallel()
	c, p := pair(t, listen(t), "", Options{})
	done := async(func() error {
		return c.Send(within(t), "/queue/a", "text/plain", []byte("hello"), stomp.SendOpt.Header("na:me", "a\nb"), stomp.SendOpt.Receipt)
	})
	f := p.want("SEND", "receipt", "1", "destination", "/queue/a", "content-type", "text/plain", "content-length", "5", "na:me", "a\nb")
	if string(f.Body) != "hello" || f.Header.Get("deduplication-id") == "" {
		t.Errorf("got %v %q", f.Header, f.Body)
	}
	p.receipt(f)
	waitNil(t, done)
}

// What has no receipt when the connection is lost is sent again, the same and in the same order, before what is new.
func TestSendsAgainInOrder(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	var bodies []string
	for i := range 50 {
		bodies = append(bodies, fmt.Sprint(i))
	}
	done := sendAll(t, c, bodies...)
	ids := map[string]string{}
	for i, body := range bodies {
		f := p.wantSend(body)
		ids[body] = f.Header.Get("deduplication-id")
		if i < 20 {
			p.receipt(f)
		}
	}
	for range 20 {
		waitNil(t, done)
	}
	p.Close()
	p = b.connected()
	for _, body := range bodies[20:] {
		f := p.wantSend(body)
		if id := f.Header.Get("deduplication-id"); id != ids[body] {
			t.Errorf("%s: deduplication-id %s, and before %s", body, id, ids[body])
		}
		p.receipt(f)
	}
	for range 30 {
		waitNil(t, done)
	}
	last := send(t, c, "new")
	p.receipt(p.wantSend("new"))
	waitNil(t, last)
	seen := map[string]bool{}
	for _, id := range ids {
		seen[id] = true
	}
	if len(seen) != len(bodies) {
		t.Errorf("%d ids of %d messages", len(seen), len(bodies))
	}
}

// A connection that ends in the middle of a frame has not answered.
func TestCutInAFrame(t *testing.T) {
	t.Parallel()
	for _, half := range []string{"RECEIPT\nreceipt-id:%s", "RECEIPT\nreceipt-id:%s\n\n", "RECEIPT\nreceipt-id:%s\ncontent-length:5\n\nabc", "HELLO\n%s\n\n\x00"} {
		b := listen(t)
		c, p := pair(t, b, "", Options{})
		done := send(t, c, "x")
		f := p.wantSend("x")
		fmt.Fprintf(p, half, f.Header.Get("receipt"))
		p.Close()
		p = b.connected()
		p.receipt(p.wantSend("x"))
		waitNil(t, done)
	}
}

// When its context ends, a message that was written is in doubt, and one that was not is not sent; neither is sent later.
func TestSendEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	ctx, cancel := context.WithCancel(within(t))
	done := async(func() error { return c.Send(ctx, "/queue/a", "", []byte("written")) })
	p.wantSend("written")
	cancel()
	if err := wait(t, done); !errors.Is(err, ErrInDoubt) || !errors.Is(err, context.Canceled) {
		t.Errorf("written: %v", err)
	}
	if err := c.Send(ctx, "/queue/a", "", []byte("not written")); !errors.Is(err, context.Canceled) || errors.Is(err, ErrInDoubt) {
		t.Errorf("not written: %v", err)
	}
	p.Close()
	p = b.connected()
	next := send(t, c, "next")
	p.receipt(p.wantSend("next"))
	waitNil(t, next)
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	c, p := pair(t, listen(t), "timeout=20", Options{})
	done := send(t, c, "x")
	p.wantSend("x")
	if err := wait(t, done); !errors.Is(err, ErrTimeout) || !errors.Is(err, ErrInDoubt) {
		t.Errorf("got %v", err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	t.Run("wait", func(t *testing.T) {
		t.Parallel()
		c, p := pair(t, listen(t), "maxCacheSize=1500", Options{})
		first := sendAll(t, c, "first", strings.Repeat("x", 100))
		ctx, cancel := context.WithCancel(within(t))
		third := async(func() error { return c.Send(ctx, "/queue/a", "", []byte(strings.Repeat("y", 1000))) })
		cancel()
		if err := wait(t, third); !errors.Is(err, context.Canceled) || errors.Is(err, ErrInDoubt) {
			t.Errorf("got %v", err)
		}
		// One that is larger than the cache is sent alone.
		large := send(t, c, strings.Repeat("z", 5000))
		p.receipt(p.wantSend("first"))
		p.receipt(p.next())
		waitNil(t, first)
		waitNil(t, first)
		p.receipt(p.wantSend(strings.Repeat("z", 5000)))
		waitNil(t, large)
	})
	t.Run("fail", func(t *testing.T) {
		t.Parallel()
		c, p := pair(t, listen(t), "maxCacheSize=1500", Options{FailWhenFull: true})
		sent := 0
		for ; ; sent++ {
			if err := c.SendAsync(within(t), "/queue/a", "", make([]byte, 100), func(error) {}); err != nil {
				if !errors.Is(err, ErrFull) {
					t.Fatal(err)
				}
				break
			}
		}
		if sent == 0 || sent > 4 {
			t.Errorf("%d messages of more than 356 octets were in a cache of 1500", sent)
		}
		for range sent {
			p.receipt(p.want("SEND"))
		}
	})
}

// A message that the broker refuses fails, and is not sent again; those beside it are.
func TestRefusedMessage(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	done := sendAll(t, c, "good", "bad", "fine")
	p.wantSend("good")
	f := p.wantSend("bad")
	p.wantSend("fine")
	p.say("ERROR", "message", "no such place", "code", "bad-header", "receipt-id", f.Header.Get("receipt"))
	var refused stomp.Error
	if err := wait(t, done); !errors.As(err, &refused) || refused.Message != "no such place" || refused.Frame.Header.Get("code") != "bad-header" {
		t.Errorf("got %v", err)
	}
	p.wantEnd()
	p = b.connected()
	p.receipt(p.wantSend("good"))
	p.receipt(p.wantSend("fine"))
	waitNil(t, done)
	waitNil(t, done)
}

// An ERROR that is about the broker ends no message.
func TestErrorOfAFailover(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"failover", "shutdown", "not-replicated"} {
		b := listen(t)
		c, p := pair(t, b, "", Options{})
		done := send(t, c, "x")
		for i := range 2*maxStrikes + 1 {
			receipt := p.wantSend("x").Header.Get("receipt")
			if i > maxStrikes {
				receipt = "" // it is not about the message
			}
			p.say("ERROR", "message", "going", "code", code, "receipt-id", receipt)
			p.wantEnd()
			p = b.connected()
		}
		p.receipt(p.wantSend("x"))
		waitNil(t, done)
	}
}

// A message that ends each connection with an ERROR that names nothing is given up.
func TestPoison(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	done := sendAll(t, c, "poison", "good")
	for range maxStrikes {
		p.wantSend("poison")
		p.say("ERROR", "message", "too large")
		p.wantEnd()
		p = b.connected()
	}
	var refused stomp.Error
	if err := wait(t, done); !errors.As(err, &refused) || refused.Message != "too large" {
		t.Errorf("got %v", err)
	}
	p.receipt(p.wantSend("good"))
	waitNil(t, done)
}

func TestOwnIDs(t *testing.T) {
	t.Parallel()
	c, p := pair(t, listen(t), "", Options{})
	go c.Send(within(t), "/queue/a", "", nil, stomp.SendOpt.Header("deduplication-id", "mine"))
	p.receipt(p.want("SEND", "deduplication-id", "mine"))
	go c.Send(within(t), "/queue/a", "", nil, stomp.SendOpt.Header("_AMQ_DUPL_ID", "mine"))
	p.receipt(p.want("SEND", "deduplication-id", ""))
	c, p = pair(t, listen(t), "", Options{NoDeduplication: true})
	go c.Send(within(t), "/queue/a", "", nil)
	p.receipt(p.want("SEND", "deduplication-id", ""))
}

func TestSendRefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	c, _ := pair(t, listen(t), "", Options{})
	if err := c.Send(within(t), "", "", nil); err == nil {
		t.Error("a SEND to nowhere")
	}
	if err := c.Send(within(t), "/queue/a", "", nil, stomp.SendOpt.Header("transaction", "t")); err == nil || !strings.Contains(err.Error(), "Begin") {
		t.Errorf("a SEND in a transaction that was not begun: %v", err)
	}
	own := errors.New("own")
	if err := c.Send(within(t), "/queue/a", "", nil, func(*frame.Frame) error { return own }); !errors.Is(err, own) {
		t.Errorf("an option that fails: %v", err)
	}
}

// Who asks for copies that there are not is told so, and what became of it; it is not sent again by itself.
func TestTooFewCopies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		copies  string
		cut     bool // it was sent before, over a connection that was cut
		inDoubt bool
	}{{"0", false, false}, {"1", false, true}, {"0", true, true}} {
		b := listen(t)
		client, p := pair(t, b, "", Options{})
		done := async(func() error {
			return client.Send(within(t), "/queue/a", "", []byte("x"), stomp.SendOpt.Header("min-copies", "2"))
		})
		f := p.wantSend("x")
		if c.cut {
			p.Close()
			p = b.connected()
			f = p.wantSend("x")
		}
		p.say("ERROR", "message", "alone", "code", "not-replicated", "copies", c.copies, "receipt-id", f.Header.Get("receipt"))
		var refused stomp.Error
		if err := wait(t, done); !errors.As(err, &refused) || refused.Message != "alone" || errors.Is(err, ErrInDoubt) != c.inDoubt {
			t.Errorf("%+v: got %v", c, err)
		}
		p = b.connected()
		next := send(t, client, "next")
		p.receipt(p.wantSend("next"))
		waitNil(t, next)
	}
}

// A broker that must have two copies of everything, and has not, is asked again, with the same id.
func TestSentAgainUntilThereAreCopies(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	done := send(t, c, "x")
	f := p.wantSend("x")
	for _, copies := range []string{"1", "0", "1"} {
		p.say("ERROR", "message", "alone", "code", "not-replicated", "copies", copies, "receipt-id", f.Header.Get("receipt"))
		p = b.connected()
		again := p.wantSend("x")
		if id := f.Header.Get("deduplication-id"); again.Header.Get("deduplication-id") != id {
			t.Errorf("it is sent with %v, and was with %s", again.Header, id)
		}
		f = again
	}
	p.receipt(f)
	waitNil(t, done)
}

// What was refused on the last connection was answered: it is not in doubt when there will be none any more, or nobody waits.
func TestRefusedIsNotInDoubt(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "maxReconnectAttempts=0", Options{})
	done := send(t, c, "x")
	f := p.wantSend("x")
	p.say("ERROR", "message", "alone", "code", "not-replicated", "copies", "0", "receipt-id", f.Header.Get("receipt"))
	if err := wait(t, done); err == nil || errors.Is(err, ErrInDoubt) || strings.Count(err.Error(), "alone") != 1 {
		t.Errorf("got %v", err)
	}

	b = listen(t)
	c, p = pair(t, b, "", Options{})
	ctx, cancel := context.WithCancel(within(t))
	done = async(func() error { return c.Send(ctx, "/queue/a", "", []byte("x")) })
	f = p.wantSend("x")
	p.say("ERROR", "message", "alone", "code", "not-replicated", "copies", "0", "receipt-id", f.Header.Get("receipt"))
	b.accept() // which is not answered
	cancel()
	if err := wait(t, done); !errors.Is(err, context.Canceled) || errors.Is(err, ErrInDoubt) || !strings.Contains(err.Error(), "alone") {
		t.Errorf("got %v", err)
	}
}

// What stands first is not taken for the cause when an ERROR names another one each time.
func TestNotBlamed(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	slow := send(t, c, "slow")
	first := p.wantSend("slow")
	for range maxStrikes + 1 {
		bad := send(t, c, "bad")
		f := p.wantSend("bad")
		p.say("ERROR", "message", "no", "code", "bad-header", "receipt-id", f.Header.Get("receipt"))
		if err := wait(t, bad); err == nil {
			t.Error("a message was refused, and its Send says nil")
		}
		p = b.connected()
		first = p.wantSend("slow")
	}
	p.receipt(first)
	waitNil(t, slow)
}

// However many messages are answered, or given up, while an early one is not: what has ended takes no memory.
func TestKeepsOnlyWhatIsUnanswered(t *testing.T) {
	t.Parallel()
	const many = 20 * keepAnswered
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	first := send(t, c, "first")
	p.wantSend("first")
	length := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.outbox.order)
	}
	for range many {
		done := send(t, c, "x")
		p.receipt(p.wantSend("x"))
		waitNil(t, done)
	}
	if n := length(); n > 2*keepAnswered {
		t.Errorf("%d requests are kept, of which 1 has no answer", n)
	}
	b.listener.Close()
	p.Close()
	gone, cancel := context.WithCancel(within(t))
	cancel()
	for range many {
		if err := c.Send(gone, "/queue/a", "", []byte("x")); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if n := length(); n > 2*keepAnswered {
		t.Errorf("without a connection %d requests are kept, of which 1 has no answer", n)
	}
	cut(c)
	if err := wait(t, first); !errors.Is(err, ErrInDoubt) {
		t.Errorf("got %v", err)
	}
}

// Who waits for room in the cache ends with the client.
func TestWaitingForRoomEnds(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "maxReconnectAttempts=0&maxCacheSize=1", Options{})
	first := send(t, c, "first")
	p.wantSend("first")
	second := send(t, c, "second")
	b.listener.Close()
	p.Close()
	if err := wait(t, first); !errors.Is(err, ErrInDoubt) {
		t.Errorf("got %v", err)
	}
	if err := wait(t, second); err == nil || errors.Is(err, ErrInDoubt) {
		t.Errorf("got %v", err)
	}
}
