package broker

import (
	"slices"
	"sync"
	"time"
)

// An allowance bounds the contents that were read from the log and are not yet
// written, of all sessions together. Writers get their shares in the order in
// which they ask; one that waits holds nothing.
type allowance struct {
	limit int64 // octets; one share that is larger is granted when there is no other

	mu      sync.Mutex
	held    int64 // octets, of all shares that are held
	holders int
	waiting []*share // in the order of asking
}

func newAllowance(limit int64) *allowance { return &allowance{limit: limit} }

// A share is what one writer has of an allowance, or waits for.
type share struct {
	granted chan struct{} // holds a token when it is held

	// The writer's own.
	asked  bool
	octets int64 // that were asked for; 0: none

	// Guarded by the allowance.
	since time.Time // when it was granted; zero: it is not held
}

func newShare() share { return share{granted: make(chan struct{}, 1)} }

// fetchBytes is the most that one writer asks for, beyond one message.
const fetchBytes = writeBytes

// portion is how much a writer that asks now may ask for, beyond one message.
// It is less the more hold some already, n of them together limit/16 × (1 + 1/2
// + ... + 1/n): however many consumers are slow, those of small messages do not
// use up the allowance.
func (a *allowance) portion() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return min(fetchBytes, a.limit/16/int64(a.holders+1))
}

// ask says whether s is held now. If not, it waits for its turn. A share that
// was asked for already stays as it is until the writer leaves it.
func (a *allowance) ask(s *share, octets int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !s.asked {
		s.asked, s.octets = true, octets
		a.waiting = append(a.waiting, s)
		a.grant()
	}
	return !s.since.IsZero()
}

// leave gives a share back, or the place of one that waits.
func (a *allowance) leave(s *share) {
	if !s.asked { // as nearly always: the lock is one for all
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.since.IsZero() {
		a.waiting = slices.DeleteFunc(a.waiting, func(other *share) bool { return other == s })
	} else {
		a.held -= s.octets
		a.holders--
	}
	select {
	case <-s.granted:
	default:
	}
	s.asked, s.octets, s.since = false, 0, time.Time{}
	a.grant()
}

// grant gives their shares to those whose turn it is. The caller holds mu.
func (a *allowance) grant() {
	for len(a.waiting) > 0 {
		s := a.waiting[0]
		if a.holders > 0 && a.held+s.octets > a.limit {
			return
		}
		a.waiting[0] = nil
		a.waiting = a.waiting[1:]
		a.held += s.octets
		a.holders++
		s.since = time.Now()
		s.granted <- struct{}{}
	}
}

// overdue says whether s is held for so long and others wait.
func (a *allowance) overdue(s *share, after time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !s.since.IsZero() && len(a.waiting) > 0 && time.Since(s.since) >= after
}
