package client

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
	"golang.org/x/sync/errgroup"
)

// A session is a connection at work: one goroutine reads, one writes.
type session struct {
	*link
	c          *Client
	generation uint64
	begun      time.Time
	wake       chan struct{} // there is something to write

	// Of the reader, until it has ended:
	answered bool         // a receipt or a message has come
	refused  *frame.Frame // ERROR
	blamed   bool         // the ERROR named a request of ours
}

// serve works until the connection is lost, and says why.
func (s *session) serve(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	group.Go(func() error { return s.read(ctx) })
	group.Go(func() error { return s.write(ctx) })
	err := group.Wait()
	_ = s.Close()
	switch {
	case s.refused != nil:
		return refusal(s.refused)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errGone
	}
	return err
}

var errGone = errors.New("the broker has closed the connection")

// useful says whether it was worth connecting. Where it was not, the next connection has to wait a little longer.
func (s *session) useful() bool {
	return s.answered && s.refused == nil || time.Since(s.begun) > time.Second
}

func (s *session) read(ctx context.Context) error {
	for {
		f, err := s.in.next()
		if err != nil {
			return err
		}
		switch f.Command {
		case frame.MESSAGE:
			s.answered = true
			err = s.message(ctx, f)
		case frame.RECEIPT:
			s.answered = true
			s.c.receipt(f.Header.Get(frame.ReceiptId), s.generation)
		case frame.ERROR:
			s.refused = f
			s.blamed = s.c.refuse(f, s.generation)
			return refusal(f)
		default:
			err = errors.New("the broker sent CONNECTED again")
		}
		if err != nil {
			return err
		}
	}
}

// message hands a MESSAGE to its subscription. One of a subscription that has ended meanwhile goes back to the broker with it.
func (s *session) message(ctx context.Context, f *frame.Frame) error {
	s.c.mu.Lock()
	sub := s.c.subscription(f.Header.Get(frame.Subscription))
	s.c.mu.Unlock()
	if sub == nil {
		return nil
	}
	return sub.deliver(ctx, &Message{
		Destination: f.Header.Get(frame.Destination), ContentType: f.Header.Get(frame.ContentType),
		Header: f.Header, Body: f.Body, Generation: s.generation, Subscription: sub,
	})
}

// errorPatience is how long after a failed write the broker's ERROR is waited for.
const errorPatience = time.Second

// write writes what the outbox has, and else a heart-beat when it is time. It may wait for as long as the broker takes nothing:
// whether that lives, the reader knows.
func (s *session) write(ctx context.Context) error {
	var b batch
	beat := s.ticker()
	defer beat.Stop()
	for {
		s.c.mu.Lock()
		s.c.outbox.fill(&b, s.generation)
		s.c.mu.Unlock()
		if b.Len() == 0 {
			select {
			case <-s.wake:
				continue
			case <-beat.C:
				b.WriteByte('\n')
			case <-ctx.Done():
				return nil // the reader knows why
			}
		}
		if n, err := s.Write(b.Bytes()); err != nil {
			s.c.mu.Lock()
			s.c.outbox.cut(&b, n)
			s.c.mu.Unlock()
			s.awaitError(ctx)
			return err
		}
		if s.beat > 0 {
			beat.Reset(s.beat / 2)
		}
	}
}

// ticker ticks when a heart-beat is due: twice as often as was agreed.
func (s *session) ticker() *time.Ticker {
	if s.beat > 0 {
		return time.NewTicker(s.beat / 2)
	}
	never := time.NewTicker(time.Hour)
	never.Stop()
	return never
}

// awaitError gives the reader time to find why nothing can be written.
func (s *session) awaitError(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(errorPatience):
	}
}
