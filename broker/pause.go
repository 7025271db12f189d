package broker

import (
	"context"
	"errors"
	"net"
	"time"
)

// A halt lets the engine rest between two batches.
type halt struct {
	rests chan uint64   // has the Seq of the newest entry when it does
	over  chan struct{} // closed by Resume; nil: the engine ends
}

// Pause lets the engine rest: nothing that clients ask is carried out, nothing happens
// that is due, nothing is appended to the log. It returns the Seq of the newest entry
// once that is so, and has asked the log to make it durable. Meanwhile what is durable goes out
// and heart-beats do; producers wait, and so do new connections. An error says that
// the broker does not serve any more, or that ctx ended or Resume was called: then the
// engine goes on.
func (s *Server) Pause(ctx context.Context) (last uint64, err error) {
	h := &halt{rests: make(chan uint64, 1), over: make(chan struct{})}
	if !s.engine.halt.CompareAndSwap(nil, h) {
		return 0, errors.New("the broker is paused already")
	}
	s.engine.box.signal()
	select {
	case last = <-h.rests:
		return last, nil
	case <-h.over:
		return 0, errors.New("the pause was ended before the broker rested")
	case <-ctx.Done():
		err = ctx.Err()
	case <-s.failed:
		err = s.cause
	case <-s.engine.ended:
		err = errors.New("the broker has ended")
	}
	s.Resume()
	return 0, err
}

// Resume ends a Pause, if there is one.
func (s *Server) Resume() {
	if h := s.engine.halt.Load(); h != nil && h.over != nil && s.engine.halt.CompareAndSwap(h, nil) {
		close(h.over)
		s.engine.box.signal() // what the engine has seen of it may be the halt alone
	}
}

// rest waits until h is over, and says false when the engine shall end.
func (e *engine) rest(h *halt) bool {
	if h.over == nil {
		return false
	}
	last := e.machine.Last()
	if e.durable.Load() < last {
		e.log.Sync()
	}
	h.rests <- last
	select {
	case <-h.over:
		return true
	case <-e.left:
		return false
	}
}

// endRest ends the engine if it rests.
func (e *engine) endRest() { e.endsRest.Do(func() { close(e.left) }) }

// Leave ends Serve, which returns err, because another broker goes on with the log.
// Nothing further is appended. Clients get what is durable, with the receipts, then an
// ERROR that says code:failover, as far as they take it within ShutdownTimeout; Serve
// does not wait for that, Wait does. Messages of queues that were not written yet are
// left to the other, and so is what only the log has. What is not
// durable by now is not acknowledged, so after Pause there should be nothing. Leave
// does not block.
func (s *Server) Leave(err error) {
	s.leaving.Do(func() {
		s.parting = err
		close(s.leaves)
	})
}

// dismiss ends all sessions without the engine, and tells them why. From then on nobody
// needs the log.
func (s *Server) dismiss(listener net.Listener, why *clientError) {
	_ = listener.Close()
	s.engine.halt.Store(&halt{})
	s.engine.box.signal()
	s.engine.endRest()
	select {
	case <-s.engine.ended:
	case <-time.After(engineGrace): // what it makes of its batch is not heard of any more
	}
	s.engine.box.close() // sessions that wait for room in it end
	durable := s.engine.durable.Load()
	s.mu.Lock()
	s.turnsAway = why
	s.mu.Unlock()
	s.eachSession(func(ses *session) {
		ses.out.conclude(durable, why)
		ses.stop(why)
	})
}

// Wait returns when all clients have gone, after Serve: one that left may have some who
// are slow to take their goodbye.
func (s *Server) Wait() { s.goodbyes.Wait() }
