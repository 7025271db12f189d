package integration

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"baton/integration/client"
)

const (
	beat    = "0,300"                 // heart-beats of clients that roam: the broker is to be heard so often
	silence = 1200 * time.Millisecond // and is given up after this, before another can have become master without its consent
	pace    = 100 * time.Millisecond  // between two messages of a producer
)

// roam lets a mix of clients work at a pair until they are stopped: who loses its connection, or hears nothing, goes to
// whoever serves. An error is something that no fault excuses.
func (l *load) roam(ctx context.Context, p *pair, rng *rand.Rand, chosen mix) (stop func() error) {
	l.roams = true
	ctx, cancel := context.WithCancel(ctx)
	find := func(ctx context.Context, o client.Options) (*client.Conn, error) { return l.find(ctx, p.site, o) }
	w := worker{load: l, ctx: ctx, find: find, pace: pace}
	if !l.begun {
		l.begun = true
		if err := w.subscribeAll(); err != nil {
			return func() error { cancel(); return err }
		}
	}
	var errs []error
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, f := range chosen {
		for i, job := range f.jobs {
			w := w
			w.rng = rand.New(rand.NewPCG(rng.Uint64(), uint64(i)))
			all.Go(func() {
				for ctx.Err() == nil {
					l.turns.RLock()
					err := forgive(job(w))
					l.turns.RUnlock()
					if err != nil {
						mu.Lock()
						errs = append(errs, err)
						mu.Unlock()
						return
					}
				}
			})
		}
	}
	return func() error {
		cancel()
		all.Wait()
		return errors.Join(errs...)
	}
}

// moving are the codes of ERROR frames after which a client looks for the master, or tries again: the last one says that the
// broker has not yet noticed the end of the client's old connection.
var moving = []string{"failover", "shutdown", "not-replicated", "durable-subscription-in-use"}

// forgive is excuse for clients of a pair: silence, and being sent away, are ends of a connection like others.
func forgive(err error) error {
	var answered client.Error
	switch {
	case errors.As(err, &answered) && slices.Contains(moving, answered.Frame.Header("code")):
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled),
		errors.Is(err, syscall.ETIMEDOUT):
		return nil
	}
	return excuse(err)
}

// part does what ends all connections, as killing the master does, and waits until the clients have noted whatever came over
// them. Only then may they go on: what is noted late of one connection would seem to be delivered after what came over the next.
func (l *load) part(end func()) {
	l.parted.Store(true)
	end()
	l.turns.Lock()
	l.parted.Store(false)
	l.turns.Unlock()
}

// find connects to the node that serves, trying one after the other.
func (l *load) find(ctx context.Context, s *site, o client.Options) (*client.Conn, error) {
	o.HeartBeat = beat
	o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := s.dial(ctx, addr)
		if err != nil {
			return nil, err
		}
		return impatient{conn.(*net.TCPConn)}, nil
	}
	for at := rand.IntN(2); ; at = 1 - at {
		c, err := findAt(ctx, s.clients[at], o)
		if l.parted.Load() {
			if err == nil {
				c.Close()
			}
			return nil, net.ErrClosed
		}
		if err == nil {
			context.AfterFunc(ctx, func() { c.Close() })
			return c, nil
		}
		if unforgiven := forgive(err); unforgiven != nil {
			return nil, unforgiven
		}
		select {
		case <-time.After(pace):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func findAt(ctx context.Context, addr string, o client.Options) (*client.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	return client.Dial(ctx, addr, o)
}

// dial gives a connection from where the clients are.
func (s *site) dial(ctx context.Context, addr string) (net.Conn, error) {
	if s.reach != nil {
		return s.reach(ctx, addr)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

// impatient is a connection that ends when the other side is silent.
type impatient struct{ *net.TCPConn }

func (c impatient) Read(b []byte) (int, error) {
	c.SetReadDeadline(time.Now().Add(silence))
	return c.TCPConn.Read(b)
}

func (c impatient) Write(b []byte) (int, error) {
	c.SetWriteDeadline(time.Now().Add(silence))
	return c.TCPConn.Write(b)
}
