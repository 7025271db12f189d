package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"
)

func TestConnections(t *testing.T) {
	t.Parallel()
	type told struct {
		Connected
		err error
	}
	said := make(chan told, 100)
	b := listen(t)
	c, p := pair(t, b, "", Options{
		OnConnect:    func(now Connected) { said <- told{now, nil} },
		OnDisconnect: func(err error) { said <- told{Connected{}, err} },
	})
	want := func(generation uint64) {
		t.Helper()
		if got := <-said; got.Address != b.addr() || got.Generation != generation || got.Header.Get("version") != "1.2" {
			t.Errorf("told %+v", got)
		}
	}
	wantEnd := func(text string) {
		t.Helper()
		if got := <-said; got.err == nil || !strings.Contains(got.err.Error(), text) {
			t.Errorf("told %+v, want %s", got, text)
		}
	}
	want(1)
	p.Close()
	wantEnd("the broker has closed the connection")
	p = b.connected()
	want(2)
	p.say("ERROR", "message", "enough")
	wantEnd("enough")
	p = b.connected()
	want(3)
	p.say("SEND")
	wantEnd(`"SEND", which is no frame`)
	b.connected()
	want(4)
	cut(c)
	wantEnd("the client is closed")
}

// A broker that promised heart-beats and is silent is left; one that beats is not, and hears ours.
func TestHeartBeats(t *testing.T) {
	t.Parallel()
	b := listen(t)
	lost := make(chan error, 1)
	d := dialing(t, "failover:("+b.addr()+")?initialReconnectDelay=1", Options{HeartBeat: 20 * time.Millisecond, OnDisconnect: func(err error) { lost <- err }})
	p := b.connected("heart-beat", "10,20")
	c := get(t, d)
	if err := <-lost; err == nil || !strings.Contains(err.Error(), "the broker was silent for 40ms") {
		t.Errorf("got %v", err)
	}
	p.wantEnd()
	p = b.connected("heart-beat", "0,20") // it promises nothing
	for range 10 {
		if f, err := p.in.Read(); err != nil || f != nil {
			t.Fatalf("got %v, %v, want a heart-beat", f, err)
		}
	}
	if len(lost) > 0 {
		t.Errorf("a connection that had nothing to say was lost: %v", <-lost)
	}
	cut(c)
}

func TestAgree(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header        string
		wanted        time.Duration
		beat, silence time.Duration
	}{
		{"", time.Second, 0, 0},
		{"0,0", time.Second, 0, 0},
		{"1000,500", time.Second, time.Second, 2 * time.Second},
		{"3000,10000", time.Second, 10 * time.Second, 6 * time.Second},
		{"1000,1000", 0, 0, 0},
		{"9223372036854,9223372036854", time.Second, maxDuration, 2 * maxDuration},
	} {
		l := &link{connected: frame.NewHeader("heart-beat", c.header)}
		if err := l.agree(c.wanted); err != nil || l.beat != c.beat || l.silence != c.silence {
			t.Errorf("%s, wanted %v: beat %v, silence %v, %v", c.header, c.wanted, l.beat, l.silence, err)
		}
	}
}

// Close waits for what has no answer, over a lost connection too, and then says goodbye.
func TestClose(t *testing.T) {
	t.Parallel()
	b := listen(t)
	c, p := pair(t, b, "", Options{})
	s, _ := subscribe(t, c, p, stomp.AckAuto)
	sent := send(t, c, "x")
	p.wantSend("x")
	done := async(func() error { return c.Close(within(t)) })
	if _, err := s.Receive(within(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("Receive: %v", err)
	}
	p.Close()
	p = b.connected()
	p.receipt(p.want("SUBSCRIBE"))
	p.receipt(p.wantSend("x"))
	waitNil(t, sent)
	p.receipt(p.want("DISCONNECT"))
	waitNil(t, done)
	p.wantEnd()
	for name, err := range map[string]error{
		"Send":      c.Send(within(t), "/queue/a", "", nil),
		"Subscribe": second(c.Subscribe(within(t), "/queue/a", stomp.AckAuto)),
		"Receive":   second(s.Receive(within(t))),
		"Commit":    begin(t, c, "x").Commit(within(t)),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.Close(within(t)); err != nil {
		t.Errorf("again: %v", err)
	}
	if !c.room.TryAcquire(c.url.MaxCacheBytes) {
		t.Error("room of the cache is not free again")
	}
}

func second[T any](_ T, err error) error { return err }

// Close does not wait for what nobody waits for any more.
func TestCloseAfterASendHasEnded(t *testing.T) {
	t.Parallel()
	c, p := pair(t, listen(t), "", Options{})
	ctx, cancel := context.WithCancel(within(t))
	sent := async(func() error { return c.Send(ctx, "/queue/a", "", nil) })
	p.wantSend("")
	done := async(func() error { return c.Close(within(t)) })
	closing := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.closing
	}
	for !closing() {
		runtime.Gosched()
	}
	cancel()
	if err := wait(t, sent); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	p.receipt(p.want("DISCONNECT"))
	waitNil(t, done)
}

// Where the broker ends the connection in place of an answer to DISCONNECT, all has been answered.
func TestCloseIsAnsweredWithTheEnd(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"%s", "failover:(%s)"} {
		b := listen(t)
		d := dialing(t, fmt.Sprintf(url, b.addr()), Options{})
		p := b.connected()
		c := get(t, d)
		done := async(func() error { return c.Close(within(t)) })
		p.want("DISCONNECT")
		p.Close()
		waitNil(t, done)
	}
}

// When its context ends first, what has no answer is in doubt, or was not sent.
func TestCloseIsCut(t *testing.T) {
	t.Parallel()
	for _, connected := range []bool{true, false} {
		b := listen(t)
		c, p := pair(t, b, "", Options{})
		sent := send(t, c, "x")
		p.wantSend("x")
		if !connected {
			b.listener.Close()
			p.Close()
		}
		ctx, cancel := context.WithCancel(within(t))
		done := async(func() error { return c.Close(ctx) })
		cancel()
		if err := wait(t, done); !errors.Is(err, context.Canceled) {
			t.Errorf("Close: %v", err)
		}
		if err := wait(t, sent); !errors.Is(err, ErrClosed) || !errors.Is(err, ErrInDoubt) {
			t.Errorf("Send: %v", err)
		}
	}
}

// When the attempts are used up, all that waits ends, and says why.
func TestGivesUp(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{"maxReconnectAttempts=2": "refused", "maxReconnectAttempts=0": "the broker has closed the connection"} {
		b := listen(t)
		c, p := pair(t, b, options, Options{})
		s, _ := subscribe(t, c, p, stomp.AckClientIndividual)
		sent := send(t, c, "x")
		p.wantSend("x")
		received := async(func() error { return second(s.Receive(within(t))) })
		b.listener.Close()
		p.Close()
		if err := wait(t, sent); !errors.Is(err, ErrInDoubt) || !strings.Contains(err.Error(), want) {
			t.Errorf("Send: %v", err)
		}
		if err := wait(t, received); !strings.Contains(err.Error(), want) {
			t.Errorf("Receive: %v", err)
		}
		if err := c.Send(within(t), "/queue/a", "", nil); err == nil || errors.Is(err, ErrInDoubt) || !strings.Contains(err.Error(), want) {
			t.Errorf("Send afterwards: %v", err)
		}
		if err := c.Close(within(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Close: %v", err)
		}
	}
}

// Many goroutines send over connections that are cut at any moment: each message is answered, and those of one goroutine
// come first in its order.
func TestManySendersOverCutConnections(t *testing.T) {
	t.Parallel()
	const senders, each = 8, 200
	b := listen(t)
	ctx, stop := context.WithCancel(within(t))
	broker := async(func() error { return takeAll(ctx, b, senders*each) })
	c := get(t, dialing(t, "failover:("+b.addr()+")?initialReconnectDelay=1&maxReconnectDelay=2&maxCacheSize=20000", Options{}))
	var group sync.WaitGroup
	for i := range senders {
		group.Go(func() {
			answers := make(chan error, each)
			for n := range each {
				if err := c.SendAsync(within(t), fmt.Sprintf("/queue/%d", i), "", fmt.Append(nil, n), func(err error) { answers <- err }); err != nil {
					t.Error(err)
					return
				}
			}
			for range each {
				if err := wait(t, answers); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	stop()
	waitNil(t, broker)
}

// takeAll is a broker that takes messages, knows them again, forgets to answer some, and cuts each connection after a while.
func takeAll(ctx context.Context, b *scripted, want int) error {
	next := map[string]int{} // by destination
	seen := map[string]bool{}
	for connection := 0; ; connection++ {
		select {
		case conn := <-b.arrived:
			if err := takeSome(conn, 37*(connection%5+1), next, seen); err != nil {
				return err
			}
		case <-ctx.Done():
			if len(seen) != want {
				return fmt.Errorf("%d messages of %d came", len(seen), want)
			}
			return nil
		}
	}
}

func takeSome(conn net.Conn, frames int, next map[string]int, seen map[string]bool) error {
	defer conn.Close()
	in, out := frame.NewReader(conn), frame.NewWriter(conn)
	for n := range frames {
		f, err := in.Read()
		if err != nil || f == nil {
			return nil // the client may go at any time, and it has nothing more when it beats
		}
		if f.Command != frame.SEND {
			fmt.Fprint(conn, "CONNECTED\nversion:1.2\nheart-beat:0,50\n\n\x00")
			continue
		}
		to, id := f.Header.Get(frame.Destination), f.Header.Get(deduplicationID)
		if !seen[id] {
			if string(f.Body) != fmt.Sprint(next[to]) {
				return fmt.Errorf("%s: got %s, want %d", to, f.Body, next[to])
			}
			next[to]++
			seen[id] = true
		}
		if n%7 != 6 {
			_ = out.Write(frame.New(frame.RECEIPT, frame.ReceiptId, f.Header.Get(frame.Receipt)))
		}
	}
	return nil
}

// A callback that closes the client does not hold it up for ever.
func TestCloseInACallback(t *testing.T) {
	t.Parallel()
	b := listen(t)
	made, closed := make(chan *Client, 1), make(chan error, 1)
	c, p := pair(t, b, "", Options{OnDisconnect: func(error) { closed <- (<-made).Close(context.Background()) }})
	made <- c
	p.Close()
	if err := wait(t, closed); err == nil || !strings.Contains(err.Error(), "callbacks") {
		t.Errorf("got %v", err)
	}
	if err := c.Send(within(t), "/queue/a", "", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// Connections that are of no use are made less and less often; one of use ends that.
func TestUselessConnections(t *testing.T) {
	t.Parallel()
	c := &Client{dialer: &dialer{url: &URL{InitialDelay: time.Second, MaxDelay: time.Hour, Exponential: true, Exponent: 2}}}
	useless, used := &session{begun: time.Now()}, &session{begun: time.Now(), answered: true}
	for n := 1; n <= 2*maxPenalty; n++ {
		c.lose(useless, errGone)
		longest := time.Second << min(n-1, maxPenalty-1)
		if delay := c.dialer.delay(); delay < longest/2 || delay > longest {
			t.Errorf("after %d useless connections the delay is %v, want up to %v", n, delay, longest)
		}
	}
	c.lose(used, errGone)
	if c.dialer.vain != 0 {
		t.Errorf("after a connection of use there were %d attempts in vain", c.dialer.vain)
	}
}

// A failing is a connection that takes nothing, and has something to read a moment later.
type failing struct {
	net.Conn
	failed chan struct{}
	answer io.Reader
}

func (f *failing) Write([]byte) (int, error) {
	close(f.failed)
	return 0, errors.New("broken pipe")
}

func (f *failing) Read(p []byte) (int, error) {
	<-f.failed
	return f.answer.Read(p)
}

func (f *failing) Close() error { return nil }

// What a broker has said before it closed is heard, though the client meets the end in a write.
func TestErrorAfterAFailedWrite(t *testing.T) {
	t.Parallel()
	conn := &failing{failed: make(chan struct{}), answer: strings.NewReader("ERROR\nmessage:enough\n\n\x00")}
	l := &link{Conn: conn}
	l.in = newReader(l, 100)
	c := &Client{}
	put(&c.outbox, kindSend, "SEND")
	s := &session{link: l, c: c, generation: 1, wake: make(chan struct{}, 1)}
	if err := s.serve(within(t)); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("got %v", err)
	}
}
