package broker

import (
	"io"
	"time"

	"baton/broker/stomp"
)

// deadlines bounds how long a session waits for octets. They are set before
// each read, so that every octet counts as life, even of half a frame.
type deadlines struct {
	set    time.Time    // what the connection has; zero: none
	passed *clientError // what it means when that passes
	begun  time.Time    // when the frame in progress was first waited for; zero: no frame is in progress
	octets int          // that came of it since
}

func (d *deadlines) frameDone() { d.begun, d.octets = time.Time{}, 0 }

// A source reads from a session's connection for its stomp.Reader.
type source struct {
	s  *session
	in stomp.LazyReader
}

// source wraps the connection so that deadlines are kept.
func (s *session) source() io.Reader {
	return &source{s, stomp.Lazy(s.conn).(stomp.LazyReader)}
}

func (src *source) ReadLazy(lend func() []byte, unlend func()) (int, error) {
	if err := src.s.setDeadline(); err != nil {
		return 0, err
	}
	n, err := src.in.ReadLazy(lend, unlend)
	src.s.deadlines.octets += n
	return n, err
}

func (src *source) Read(p []byte) (int, error) {
	if err := src.s.setDeadline(); err != nil {
		return 0, err
	}
	n, err := src.s.conn.Read(p)
	src.s.deadlines.octets += n
	return n, err
}

// setDeadline chooses the deadline of the next read and tells the connection.
func (s *session) setDeadline() error {
	if err := s.stopping.Load(); err != nil {
		return err
	}
	d := &s.deadlines
	at, why := s.nextDeadline(time.Now())
	d.passed = why
	// Moving a deadline costs; one that is nearly the same is left.
	if near := at.Sub(d.set); at == d.set || !d.set.IsZero() && near >= 0 && near < s.beatWithin/8 {
		return nil
	}
	d.set = at
	if err := s.conn.SetReadDeadline(at); err != nil {
		return err
	}
	if err := s.stopping.Load(); err != nil { // stop came between
		return err
	}
	return nil
}

func (s *session) nextDeadline(now time.Time) (at time.Time, why *clientError) {
	o := &s.server.opts
	if !s.connected {
		return s.since.Add(o.ConnectTimeout), errConnectTimeout
	}
	switch {
	case s.beatWithin > 0:
		at, why = now.Add(s.beatWithin), errHeartBeatMissed
	case o.IdleTimeout > 0:
		at, why = now.Add(o.IdleTimeout), errIdleTimeout
	}
	earlier := func(t time.Time, err *clientError) {
		if at.IsZero() || t.Before(at) {
			at, why = t, err
		}
	}
	if o.FrameGrace > 0 && s.reader.InFrame() {
		earlier(s.frameDeadline(now), errFrameTimeout)
	}
	if t, open := s.oldestTransaction(); open {
		earlier(t.Add(o.Transactions.IdleTimeout), errTxIdle)
	}
	return at, why
}

// frameDeadline is when the frame in progress must be complete: after
// FrameGrace, and later by what MinRate allows for the octets that came.
func (s *session) frameDeadline(now time.Time) time.Time {
	o, d := &s.server.opts, &s.deadlines
	if d.begun.IsZero() {
		d.begun, d.octets = now, 0
	}
	return d.begun.Add(o.FrameGrace).Add(time.Duration(d.octets) * time.Second / time.Duration(o.MinRate))
}
