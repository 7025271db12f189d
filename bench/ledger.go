package bench

import (
	"fmt"
	"math/bits"
	"strings"
)

// Checks are what was wrong with the messages of a run; none may be.
type Checks struct {
	Lost       int64 `json:"lost"`       // sent, but never delivered
	Doubled    int64 `json:"doubled"`    // delivered again
	Disordered int64 `json:"disordered"` // delivered to a consumer behind a later one of the same producer
	Corrupt    int64 `json:"corrupt"`    // not as sent
	Foreign    int64 `json:"foreign"`    // nobody sent it
	Unselected int64 `json:"unselected"` // delivered to a consumer whose selector does not want it
}

// Err is nil when nothing was wrong.
func (c Checks) Err() error {
	if c == (Checks{}) {
		return nil
	}
	var wrong []string
	for _, kind := range []struct {
		n    int64
		name string
	}{{c.Lost, "lost"}, {c.Doubled, "doubled"}, {c.Disordered, "out of order"}, {c.Corrupt, "corrupt"}, {c.Foreign, "that nobody sent"}, {c.Unselected, "that a selector did not want"}} {
		if kind.n > 0 {
			wrong = append(wrong, fmt.Sprintf("%d %s", kind.n, kind.name))
		}
	}
	return fmt.Errorf("messages: %s", strings.Join(wrong, ", "))
}

func (c *Checks) add(other Checks) {
	c.Lost += other.Lost
	c.Doubled += other.Doubled
	c.Disordered += other.Disordered
	c.Corrupt += other.Corrupt
	c.Foreign += other.Foreign
	c.Unselected += other.Unselected
}

// A ledger is what one consumer has had, by producer.
type ledger struct {
	seen         []bitmap
	shared       *survival // seen is that of all consumers of the queues, and a message may come again if it says so; nil: neither
	next         []uint32  // the number after the last, of each destination
	destinations int
	checks       Checks
}

func newLedger(producers, destinations int) *ledger {
	return &ledger{seen: make([]bitmap, producers), next: make([]uint32, producers*destinations), destinations: destinations}
}

// take notes a delivery. again says that the broker has marked it as redelivered, which may be out of order. It counts unless it
// may come again, and has.
func (l *ledger) take(s stamp, again bool) (counts bool) {
	if int(s.producer) >= len(l.seen) {
		l.checks.Foreign++
		return true
	}
	if !l.add(s) {
		if l.shared != nil && again {
			l.shared.flagged.Add(1)
			return false
		}
		l.checks.Doubled++
		return true
	}
	switch next := &l.next[int(s.producer)*l.destinations+s.destination(len(l.seen), l.destinations)]; {
	case s.number >= *next:
		*next = s.number + 1
	case !again:
		l.checks.Disordered++
	}
	return true
}

// add says whether the message is new.
func (l *ledger) add(s stamp) bool {
	if l.shared != nil {
		l.shared.mu.Lock()
		defer l.shared.mu.Unlock()
	}
	return l.seen[s.producer].add(s.number)
}

// merge adds what another consumer of the same queue has had: both must not have had the same.
func (l *ledger) merge(other *ledger) {
	for producer := range l.seen {
		if l.shared == nil {
			l.checks.Doubled += l.seen[producer].merge(other.seen[producer])
		}
	}
	l.checks.add(other.checks)
}

// settle compares with how many messages each producer sent.
func (l *ledger) settle(sent []int64) Checks {
	c := l.checks
	for producer, n := range sent {
		had, beyond := l.seen[producer].count(n)
		c.Lost += n - had
		c.Foreign += beyond
	}
	return c
}

// A bitmap is a set of numbers.
type bitmap []uint64

// add says whether the number is new.
func (b *bitmap) add(n uint32) bool {
	i := int(n / 64)
	for i >= len(*b) {
		*b = append(*b, 0)
	}
	bit := uint64(1) << (n % 64)
	if (*b)[i]&bit != 0 {
		return false
	}
	(*b)[i] |= bit
	return true
}

// merge returns how many both had.
func (b *bitmap) merge(other bitmap) (both int64) {
	for len(*b) < len(other) {
		*b = append(*b, 0)
	}
	for i, word := range other {
		both += int64(bits.OnesCount64((*b)[i] & word))
		(*b)[i] |= word
	}
	return both
}

// count says how many numbers are below n, and how many are not.
func (b bitmap) count(n int64) (below, beyond int64) {
	for i, word := range b {
		first := int64(i) * 64
		mask := ^uint64(0)
		if first+64 > n {
			mask = 1<<max(n-first, 0) - 1
		}
		below += int64(bits.OnesCount64(word & mask))
		beyond += int64(bits.OnesCount64(word &^ mask))
	}
	return below, beyond
}
