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
	begun  time.Time    // when the frame in progress was first waited for, or last had kept MinRate; zero: none is
	octets int          // that came since
	frame  int          // octets of the frame in progress
	taken  int          // of them, from the budget
}

// frameDone says that what came last is complete, or will not be.
func (d *deadlines) frameDone(b *budget) {
	d.begun, d.octets, d.frame = time.Time{}, 0, 0
	if d.taken > 0 {
		b.give(d.taken)
		d.taken = 0
	}
}

// uncounted is how large a frame may be before it counts against the budget.
const uncounted = 8 << 10

// came counts octets that were read. A frame for which there is no room ends
// the session.
func (d *deadlines) came(n int, b *budget) error {
	d.octets += n
	d.frame += n
	if d.frame <= uncounted {
		return nil
	}
	more := d.frame - d.taken
	if err := b.take(more); err != nil {
		return err
	}
	d.taken += more
	return nil
}

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
	return n, src.s.readSome(n, err)
}

func (src *source) Read(p []byte) (int, error) {
	if err := src.s.setDeadline(); err != nil {
		return 0, err
	}
	n, err := src.s.conn.Read(p)
	return n, src.s.readSome(n, err)
}

func (s *session) readSome(n int, err error) error {
	s.heard = time.Now()
	if full := s.deadlines.came(n, s.server.budget); err == nil && full != nil {
		return full
	}
	return err
}

// setDeadline chooses the deadline of the next read and tells the connection.
func (s *session) setDeadline() error {
	if err := s.stopping.Load(); err != nil {
		return err
	}
	d := &s.deadlines
	if !s.reader.InFrame() {
		d.frameDone(s.server.budget) // line ends between frames are none
	}
	at, why := s.nextDeadline(time.Now())
	d.passed = why
	if at == d.set {
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

// frameDeadline is when the frame in progress must be complete or have kept
// MinRate: at the end of a FrameGrace, and then of the next.
func (s *session) frameDeadline(now time.Time) time.Time {
	o, d := &s.server.opts, &s.deadlines
	if d.begun.IsZero() || float64(d.octets) >= float64(o.MinRate)*o.FrameGrace.Seconds() {
		d.begun, d.octets = now, 0
	}
	return d.begun.Add(o.FrameGrace)
}
