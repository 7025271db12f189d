package failover

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A member joins the State of a node to its Log: it has each event decided and performs what comes of it, in order. All that
// takes time, or that the world does, is a shell's. It has no goroutine of its own, so that a simulation can drive it.
type member struct {
	shell shell
	log   *Log

	mu      sync.Mutex // held while a Step is performed, so that actions keep their order
	state   State
	actions []Action
	over    bool // nothing is decided any more
}

// A shell does what a member decides. None of its methods may block or call the member, who calls them while it is locked;
// answers come later as events.
type shell interface {
	now() time.Duration
	// alarm asks for OnTick at this time, in the place of what was asked before; ok is false when there is none.
	alarm(at time.Duration, ok bool)
	readRegister()
	changeRegister(number, revision uint64, record Record)
	send(link uint64, s Signal)
	hangup(link uint64)
	probe()
	follow(link uint64, epoch uint32)
	replicate(link uint64, epoch uint32)
	sendSnapshot(link uint64)
	require(required bool) // writes wait for the peer, or not any more
	activate(epoch uint32)
	committed(seq uint64)
	extendLease(until time.Duration)
	refuse(refuse bool)
	pause()
	resume()
	standDown(why Why)
	raise(a Alarm, raised bool)
	// broke says that this node cannot remember what it must; OnFault follows.
	broke(err error)
}

// handle has an event decided and performed. When it returns, what had to be on disk is.
func (m *member) handle(e Event) { m.handleIf(func(*State) bool { return true }, e) }

// handleUntil is handle, unless ctx has ended.
func (m *member) handleUntil(ctx context.Context, e Event) {
	m.handleIf(func(*State) bool { return ctx.Err() == nil }, e)
}

// handleIf is handle, if the state is as it is wanted.
func (m *member) handleIf(wanted func(*State) bool, e Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over || !wanted(&m.state) {
		return
	}
	required := m.state.Waits()
	m.actions = m.state.Step(m.shell.now(), e, m.actions[:0])
	for i := range m.actions {
		if err := m.perform(&m.actions[i]); err != nil {
			m.shell.broke(err)
			break // what comes after relies on it
		}
	}
	if now := m.state.Waits(); now != required {
		m.shell.require(now)
	}
	m.shell.alarm(m.state.Next())
}

// finish has all events from now on ignored: another member of the same directory may begin.
func (m *member) finish() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true
}

// look calls fn with the state as it is.
func (m *member) look(fn func(*State)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fn(&m.state)
}

// shorten asks whether the journal may be cut after a Seq.
func (m *member) shorten(link, after uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.state.Shorten(link, after) {
		return errors.New("this node does not follow over that connection any more")
	}
	return nil
}

// yield has the journal make way for a snapshot, unless this node may yet become the master with it.
func (m *member) yield(link uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.state.Yield(link) {
		return errors.New("this node may yet become the master with the journal that it has")
	}
	return nil
}

func (m *member) perform(a *Action) error {
	s := m.shell
	switch a.Kind {
	case DoPersist:
		return m.log.Remember(a.remember)
	case DoRead:
		s.readRegister()
	case DoCAS:
		s.changeRegister(a.Number, a.Revision, *a.Record)
	case DoSend:
		s.send(a.Link, a.Signal)
	case DoFollow:
		s.follow(a.Link, a.Epoch)
	case DoReplicate:
		s.replicate(a.Link, a.Epoch)
	case DoSnapshot:
		s.sendSnapshot(a.Link)
	case DoHangup:
		s.hangup(a.Link)
	case DoProbe:
		s.probe()
	case DoActivate:
		s.activate(a.Epoch)
	case DoCommit:
		m.log.Commit(a.Seq)
		s.committed(a.Seq)
	case DoLease:
		s.extendLease(a.Until)
	case DoRefuse, DoAccept:
		s.refuse(a.Kind == DoRefuse)
	case DoPause:
		s.pause()
	case DoResume:
		s.resume()
	case DoStandDown:
		s.standDown(a.Why)
	case DoRaise, DoClear:
		s.raise(a.Alarm, a.Kind == DoRaise)
	}
	return nil
}

// remember is what a DoPersist changes in the file of the node.
func (a *Action) remember(p *Pair) {
	p.Cluster, p.Journal, p.Promised, p.RegRev = a.Kept.Cluster, a.Kept.JournalID, a.Kept.Promised, a.Kept.RegRev
	p.Overruled, p.Alone = a.Kept.Overruled, a.Kept.Alone
}
