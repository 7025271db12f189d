package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-stomp/stomp/v3"

	"baton/failover/client"
)

const (
	queue    = "/queue/demo"
	pace     = 2 * time.Millisecond // between two messages of a producer
	warmUp   = 1000                 // receipts before and after each act
	lateness = 5 * time.Second      // what has not come then, after its producers have ended, is lost
)

// load is producers and a consumer that work until they are told to stop, and count.
type load struct {
	clients  []*client.Client // the consumer's is the first
	sending  sync.WaitGroup
	enough   context.CancelFunc
	consumed chan struct{}

	mu          sync.Mutex
	tally       tally
	ids         map[string]string // message-id by content
	receipts    chan struct{}     // one is written with each receipt, if there is room
	lastReceipt time.Time
	longest     time.Duration // between two receipts
}

// A tally is what a load has counted.
type tally struct{ sent, receipted, received, doubled, again int }

func (t tally) lost() int { return max(0, t.receipted-t.received) }

func (t tally) String() string {
	return fmt.Sprintf("sent %d, receipted %d, received %d: lost %d, doubled %d (given out again and flagged: %d)",
		t.sent, t.receipted, t.received, t.lost(), t.doubled, t.again)
}

func startLoad(ctx context.Context, url string) (*load, error) {
	l := &load{ids: map[string]string{}, receipts: make(chan struct{}, 1), consumed: make(chan struct{})}
	for range 3 {
		c, err := client.Dial(ctx, url, client.Options{})
		if err != nil {
			l.stop()
			return nil, err
		}
		l.clients = append(l.clients, c)
	}
	s, err := l.clients[0].Subscribe(ctx, queue, stomp.AckClientIndividual)
	if err != nil {
		l.stop()
		return nil, err
	}
	sending, enough := context.WithCancel(ctx)
	l.enough = enough
	go l.consume(ctx, s)
	for i, c := range l.clients[1:] {
		l.sending.Go(func() { l.produce(sending, i, c) })
	}
	return l, nil
}

func (l *load) produce(ctx context.Context, number int, c *client.Client) {
	pacing := time.NewTicker(pace)
	defer pacing.Stop()
	for n := 0; ; n++ {
		select {
		case <-pacing.C:
		case <-ctx.Done():
			return
		}
		if c.SendAsync(ctx, queue, "text/plain", fmt.Appendf(nil, "message %d of producer %d", n, number), l.receipt) == nil {
			l.mu.Lock()
			l.tally.sent++
			l.mu.Unlock()
		}
	}
}

func (l *load) receipt(err error) {
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tally.receipted++
	now := time.Now()
	if !l.lastReceipt.IsZero() {
		l.longest = max(l.longest, now.Sub(l.lastReceipt))
	}
	l.lastReceipt = now
	select {
	case l.receipts <- struct{}{}:
	default:
	}
}

// consume takes messages until the client ends.
func (l *load) consume(ctx context.Context, s *client.Subscription) {
	defer close(l.consumed)
	for {
		m, err := s.Receive(ctx)
		if err != nil {
			return
		}
		l.delivered(m)
		_ = l.clients[0].Ack(ctx, m) // one that is lost brings the message again
	}
}

// delivered counts a message. Doubled is one that was stored twice, or that comes again and does not say so.
func (l *load) delivered(m *client.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := m.Header.Get("message-id")
	before, was := l.ids[string(m.Body)]
	switch {
	case !was:
		l.ids[string(m.Body)] = id
		l.tally.received++
	case before != id || !m.Redelivered():
		l.tally.doubled++
	default:
		l.tally.again++
	}
}

// await waits for n more receipts.
func (l *load) await(ctx context.Context, n int) error {
	want := l.count().receipted + n
	for l.count().receipted < want {
		select {
		case <-l.receipts:
		case <-ctx.Done():
			return fmt.Errorf("no receipt comes any more: %w", ctx.Err())
		}
	}
	return nil
}

func (l *load) count() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tally
}

// gap has something done, and says how long no receipt came because of it.
func (l *load) gap(ctx context.Context, do func() error) (time.Duration, error) {
	l.mu.Lock()
	l.longest = 0
	l.mu.Unlock()
	if err := do(); err != nil {
		return 0, err
	}
	if err := l.await(ctx, warmUp); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.longest, nil
}

// end lets the producers end, and the consumer when it has everything.
func (l *load) end(ctx context.Context) (tally, error) {
	l.enough()
	l.sending.Wait()
	var err error
	for _, c := range l.clients[1:] {
		err = errors.Join(err, c.Close(ctx))
	}
	for deadline := time.Now().Add(lateness); l.count().lost() > 0 && time.Now().Before(deadline) && ctx.Err() == nil; {
		time.Sleep(pace)
	}
	err = errors.Join(err, l.clients[0].Close(ctx))
	<-l.consumed
	return l.count(), err
}

// stop ends everything at once.
func (l *load) stop() {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range l.clients {
		_ = c.Close(now)
	}
	if l.enough != nil {
		l.enough()
		l.sending.Wait()
	}
}
