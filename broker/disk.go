package broker

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"baton/destinations"
)

// A DiskFullPolicy says what becomes of what is to be stored while the disk of
// the log is low. Acknowledging, consuming and what is not stored go on in any
// case.
type DiskFullPolicy uint8

// The policies.
const (
	RefuseSends DiskFullPolicy = iota // it is answered with ERROR
	HoldSends                         // it is parked until there is room, and so are the SENDs of its connection behind it
)

// maxParked is how many octets of one session are parked before nothing more
// is read from it. What is in the mailbox by then is parked as well.
const maxParked = 1 << 20

// disk is what the engine knows of the disk of the log.
type disk struct {
	policy DiskFullPolicy
	low    atomic.Bool
	free   atomic.Int64
}

// DiskLow tells the server that the disk of the log has less room than it
// should, or again enough, and how many octets are free; -1: nobody knows. It
// does not block and may be called from any goroutine, before Recover too.
func (s *Server) DiskLow(low bool, free int64) {
	e := s.engine
	e.disk.free.Store(free)
	if e.disk.low.Swap(low) == low {
		return
	}
	if low {
		s.opts.Logger.Error("the disk is nearly full: nothing further is stored, consuming goes on",
			zap.Int64("free", free), zap.Bool("senders wait", e.disk.policy == HoldSends))
	} else {
		s.opts.Logger.Info("the disk has room again: messages are stored", zap.Int64("free", free))
	}
	e.box.signal()
}

// full is what clients are told.
func (d *disk) full() error {
	free := ""
	if n := d.free.Load(); n >= 0 {
		free = fmt.Sprintf(" (%d octets are free)", n)
	}
	return refuse(codeDiskFull, "the disk of the broker is nearly full%s: it stores nothing further until there is room", free)
}

// stores says whether c puts messages into the log.
func (e *engine) stores(c *destinations.Command) bool {
	return slices.ContainsFunc(c.Outgoing(), e.machine.Stores)
}

// sends says whether c has messages. Those of one session keep their order, so
// none overtakes another that is parked.
func sends(c *destinations.Command) bool { return len(c.Outgoing()) > 0 }

// ampleRoom is more than what one command stores. With less, each is measured.
const ampleRoom = 256 << 20

// ration says what becomes of a mail while the disk is low or would be with it,
// or another of its session is parked: it is carried out, parked, or refused with
// an error for the client. Of an agent nothing is parked: what it does for one queue must not wait for another.
func (e *engine) ration(s *session, m *mail) (parked bool, err error) {
	stored := e.stores(&m.command)
	low := stored && (e.low || int64(m.taken) > e.room)
	hold := s.agent == nil && (low && e.disk.policy == HoldSends || len(s.parked) > 0 && sends(&m.command))
	switch {
	case hold && !e.stopping.Load():
		e.cramped = e.cramped || low && !e.low
		e.park(s, m)
		return true, nil
	case low && !e.low:
		return false, refuse(codeDiskFull, "the disk of the broker has no room for these %d octets: it stores %d more at most, until there is room",
			m.taken, max(0, e.room))
	case low:
		return false, e.disk.full()
	case stored:
		e.room -= int64(m.taken)
	}
	return false, nil
}

// waits says that the machine lets a command wait, for its queue is full.
func waits(err error) bool {
	var e *destinations.Error
	return errors.As(err, &e) && e.Wait
}

// park keeps a mail until there is room: on the disk, or in its queue.
func (e *engine) park(s *session, m *mail) {
	if len(s.parked) == 0 {
		e.parked = append(e.parked, s)
	}
	s.parked = append(s.parked, *m)
	e.lot.count(s, m.taken)
	m.taken = 0 // it stays in the budget
}

// unpark carries out what is parked, once there is room, and returns how many
// octets of the budget that frees. When the broker stops it is refused instead.
func (e *engine) unpark(now time.Time) (taken int) {
	if e.low && !e.stopping.Load() {
		return 0
	}
	parked := e.parked
	e.parked = nil
	for _, s := range parked {
		if !e.stopping.Load() && e.machine.Waits(&s.parked[0].command) {
			e.parked = append(e.parked, s)
			continue
		}
		taken += e.stepAll(now, s, e.leaveLot(s))
	}
	return taken
}

// dropParked forgets what is parked for a session that has gone.
func (e *engine) dropParked(s *session) {
	if len(s.parked) == 0 {
		return
	}
	mails := e.leaveLot(s)
	for i := range mails {
		e.budget.give(mails[i].taken)
	}
	kept := e.parked[:0]
	for _, other := range e.parked {
		if other != s {
			kept = append(kept, other)
		}
	}
	clear(e.parked[len(kept):])
	e.parked = kept
	s.logger.Warn("the connection ended while its messages waited for room: they were not stored", zap.Int("commands", len(mails)))
}

func (e *engine) leaveLot(s *session) []mail {
	mails := s.parked
	s.parked = nil
	e.lot.empty(s)
	return mails
}

// A lot counts the octets of what is parked, so that readers wait when it is
// much: of their session, or of all together and their session has some.
type lot struct {
	limit   int64
	mu      sync.Mutex
	changed sync.Cond // something fell, or a session ends
	bytes   int64     // of all sessions; those of each are its parkedBytes
}

func newLot(limit int64) *lot {
	l := &lot{limit: limit}
	l.changed.L = &l.mu
	return l
}

func (l *lot) count(s *session, octets int) {
	l.mu.Lock()
	s.parkedBytes.Add(int64(octets))
	l.bytes += int64(octets)
	l.mu.Unlock()
}

func (l *lot) empty(s *session) {
	l.mu.Lock()
	l.bytes -= s.parkedBytes.Swap(0)
	l.mu.Unlock()
	l.changed.Broadcast()
}

// wait waits until s may read on, and says whether that took any time.
func (l *lot) wait(s *session) (waited bool) {
	if s.parkedBytes.Load() == 0 { // as nearly always: the lock is one for all
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for !s.isOver() {
		own := s.parkedBytes.Load()
		if own == 0 || own < maxParked && l.bytes < l.limit {
			break
		}
		waited = true
		l.changed.Wait()
	}
	return waited
}

// wake lets those go on whose session is over.
func (l *lot) wake() {
	l.mu.Lock() // whoever looked before the session was over is waiting by now
	defer l.mu.Unlock()
	l.changed.Broadcast()
}
