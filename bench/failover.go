package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Failover is what a run over brokers that take over from one another has met.
type Failover struct {
	Lost    int64   `json:"lost"`        // connections
	Resent  int64   `json:"resent"`      // SENDs that had no receipt then
	Flagged int64   `json:"flagged"`     // deliveries that came again and said so; they are not counted as received
	Gap     float64 `json:"gap_seconds"` // longest time between two receipts, of all producers
}

// survival is that of a run under way.
type survival struct {
	lost, resent, flagged atomic.Int64

	mu      sync.Mutex
	receipt time.Duration // when the last one came; 0: none
	gap     time.Duration
	seen    []bitmap // of all consumers of the queues, by producer
}

// survives says whether the run goes on when connections are lost.
func (s *Server) survives() bool { return len(s.Failover) > 0 }

// failover is what r has met; nil, if a lost connection would have ended it.
func (r *run) failover() *Failover {
	if !r.server.survives() {
		return nil
	}
	s := &r.survival
	return &Failover{s.lost.Load(), s.resent.Load(), s.flagged.Load(), s.gap.Seconds()}
}

// confirmed notes that receipts have come.
func (s *survival) confirmed(now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.receipt > 0 {
		s.gap = max(s.gap, now-s.receipt)
	}
	s.receipt = now
}

// newLedger is that of a consumer. Where messages may come again to another one, all consumers of the queues share what they
// have had.
func (r *run) newLedger() *ledger {
	l := newLedger(r.w.Producers, r.w.Destinations)
	if !r.server.survives() {
		return l
	}
	l.shared = &r.survival
	if !r.w.Topic {
		r.survival.mu.Lock()
		defer r.survival.mu.Unlock()
		if r.survival.seen == nil {
			r.survival.seen = l.seen
		}
		l.seen = r.survival.seen
	}
	return l
}

// silence is how long a broker may be silent: twice what it is asked to be heard in. It is asked where the run survives it.
const silence = 2 * time.Second

// A watched connection ends when nothing is heard for the silence.
type watched struct {
	net.Conn
	last atomic.Pointer[time.Time] // whatever is heard; nil: no such time
}

func (w *watched) Read(p []byte) (int, error) {
	until := time.Now().Add(silence)
	if last := w.last.Load(); last != nil && last.Before(until) {
		until = *last
	}
	_ = w.Conn.SetReadDeadline(until)
	return w.Conn.Read(p)
}

func (w *watched) SetReadDeadline(at time.Time) error {
	if at.IsZero() {
		w.last.Store(nil)
	} else {
		w.last.Store(&at)
	}
	return w.Conn.SetReadDeadline(at)
}

func (w *watched) SetDeadline(at time.Time) error {
	return errors.Join(w.SetReadDeadline(at), w.SetWriteDeadline(at))
}

const (
	failoverPatience = time.Second           // for CONNECTED of one address
	failoverPause    = 20 * time.Millisecond // when all were tried
)

// redial connects to the first address that answers, beginning behind the one that was lost. The error says what each of them
// said last. The connection ends with ctx.
func (s *Server) redial(ctx context.Context, lost string, headers ...string) (*conn, error) {
	over := time.After(connectPatience)
	first := slices.Index(s.Failover, lost) + 1
	for {
		var said []error
		for i := range s.Failover {
			c, err := s.dialTo(ctx, s.Failover[(first+i)%len(s.Failover)], failoverPatience, headers)
			if err == nil {
				return c, nil
			}
			said = append(said, err)
		}
		select {
		case <-over:
			return nil, errors.Join(said...)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(failoverPause):
		}
	}
}

// broken says whether err is the loss of a connection that the run survives.
func (r *run) broken(ctx context.Context, err error) bool {
	var network *net.OpError
	return err != nil && r.server.survives() && ctx.Err() == nil &&
		(errors.Is(err, errGone) || errors.Is(err, errLeaving) || errors.As(err, &network))
}

// survive has a producer work over lost connections. What it has written without a receipt is gone with them.
func (p *producer) survive(ctx context.Context) error {
	for {
		err := p.session()
		if !p.broken(ctx, err) || p.w.Window == 0 {
			return err
		}
		_ = p.c.Close()
		p.survival.lost.Add(1)
		if p.c, err = p.server.redial(ctx, p.c.addr); err != nil {
			return fmt.Errorf("producer %d: %w", p.number, err)
		}
		p.resend()
	}
}

// resend writes again what has no receipt, the same as before.
func (p *producer) resend() {
	for n := max(0, p.asked-int64(len(p.due))); n < p.asked; n++ {
		due := time.Duration(p.slot(n).Load() - 1)
		switch {
		case due < 0: // it was answered
		case p.w.Tx == 0:
			p.writeAgain(n, n+1, due, n)
		default:
			p.writeTx(n, due)
			p.writeCommit(n)
		}
	}
	if p.w.Tx > 0 && p.asked*int64(p.w.Tx) < p.sent {
		p.writeTx(p.asked, p.begun)
	}
}

// writeTx begins a transaction again, with those of its messages that were sent.
func (p *producer) writeTx(n int64, due time.Duration) {
	tx := int64(p.w.Tx)
	p.c.add("BEGIN", "transaction", "t")
	p.writeAgain(n*tx, min((n+1)*tx, p.sent), due, -1)
}

// writeAgain writes messages from one number to before another. What cannot be written the reader will tell of.
func (p *producer) writeAgain(from, to int64, due time.Duration, receipt int64) {
	for n := from; n < to; n++ {
		p.write(stamp{p.number, uint32(n), due}, receipt)
		p.survival.resent.Add(1)
		if p.c.full() {
			_ = p.c.flush()
		}
	}
}

// survive has a consumer work over lost connections. What it has not acknowledged comes again.
func (c *consumer) survive(ctx context.Context) error {
	for {
		err := c.session()
		if !c.broken(ctx, err) {
			return err
		}
		_ = c.c.Close()
		c.survival.lost.Add(1)
		if err := c.connect(ctx); err != nil {
			return fmt.Errorf("consumer %d: %w", c.number, err)
		}
	}
}
