package registertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"baton/failover"
)

// ErrNoAnswer is the error of operations that are not answered.
var ErrNoAnswer = errors.New("registertest: no answer")

// Register is a hostile failover.Register. It is safe for concurrent use.
type Register struct {
	mu       sync.Mutex // guards what follows
	choose   func(Op) Fate
	versions []failover.Reading // all that there were, since a Rollback those that it left; empty: never any
	last     uint64             // revision given out last
	gone     bool
	spoilt   bool
	pending  []Op
	accepted []failover.Reading // every CAS that was done, whatever became of it
	changed  chan struct{}      // closed at a change of any of the above
}

var _ failover.Register = (*Register)(nil)

// New gives a register that never had a value. Nil instead of a function is honest.
func New(choose func(Op) Fate) *Register {
	r := &Register{changed: make(chan struct{})}
	r.Choose(choose)
	return r
}

// Choose puts another function in the place of the one that New was given.
func (r *Register) Choose(choose func(Op) Fate) {
	if choose == nil {
		choose = Always(Honest)
	}
	r.change(func() { r.choose = choose })
}

// change does something and wakes who watches.
func (r *Register) change(do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do()
	r.wake()
}

// wake tells watchers to look. The caller holds mu.
func (r *Register) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// CAS is failover.Register's. It answers at once.
func (r *Register) CAS(ctx context.Context, expect uint64, record failover.Record) (uint64, error) {
	if _, err := record.Encode(); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	op := Op{CAS, expect, record}
	op.Record.InSync = slices.Clone(record.InSync)
	switch r.choose(op) {
	case Honest, Stale, Again:
		return r.compareAndSet(op)
	case LostReply:
		_, _ = r.compareAndSet(op)
	case Delayed:
		r.pending = append(r.pending, op)
	}
	return 0, ErrNoAnswer
}

// compareAndSet is what the register itself does. The caller holds mu.
func (r *Register) compareAndSet(op Op) (uint64, error) {
	switch {
	case r.gone:
		return 0, ErrNoAnswer // as NATS, where nobody listens then
	case op.Expect != r.head().Revision:
		return 0, fmt.Errorf("%w: %d, not %d", failover.ErrLost, r.head().Revision, op.Expect)
	}
	r.spoilt = false
	r.put(failover.Reading{Found: true, Record: op.Record})
	r.accepted = append(r.accepted, r.head())
	return r.last, nil
}

// put makes a version with the next revision. The caller holds mu.
func (r *Register) put(v failover.Reading) {
	r.last++
	v.Revision = r.last
	r.versions = append(r.versions, v)
	r.wake()
}

// head is the newest version. The caller holds mu.
func (r *Register) head() failover.Reading {
	if len(r.versions) == 0 {
		return failover.Reading{}
	}
	return r.versions[len(r.versions)-1]
}

// Pending is how many CAS are on their way.
func (r *Register) Pending() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pending)
}

// Deliver lets one of the pending CAS arrive, and returns whether it was done. The node that sent it hears nothing of it.
func (r *Register) Deliver(i int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	op := r.pending[i]
	r.pending = slices.Delete(r.pending, i, i+1)
	_, err := r.compareAndSet(op)
	return err == nil
}

// Lose forgets one of the pending CAS: it will never arrive.
func (r *Register) Lose(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = slices.Delete(r.pending, i, i+1)
}

// Read is failover.Register's. It answers at once.
func (r *Register) Read(ctx context.Context) (failover.Reading, error) {
	if err := ctx.Err(); err != nil {
		return failover.Reading{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.look(r.choose(Op{Kind: Read}))
}

// look is what a read with this fate shows. The caller holds mu.
func (r *Register) look(fate Fate) (failover.Reading, error) {
	switch {
	case fate != Honest && fate != Stale && fate != Again:
		return failover.Reading{}, ErrNoAnswer
	case r.gone:
		return failover.Reading{}, fmt.Errorf("registertest: %w", failover.ErrNoRegister)
	case fate == Stale && len(r.versions) > 1:
		return copied(r.versions[len(r.versions)-2]), nil
	case fate == Stale:
		return failover.Reading{}, nil // from before the first
	case r.spoilt:
		return failover.Reading{Revision: r.last}, fmt.Errorf("registertest: %w", failover.ErrRecord)
	}
	return copied(r.head()), nil
}

// copied shares nothing with what the register keeps.
func copied(v failover.Reading) failover.Reading {
	v.Record.InSync = slices.Clone(v.Record.InSync)
	return v
}

// Accepted is every CAS that was done, in order, with the revision that it was given.
func (r *Register) Accepted() []failover.Reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.accepted)
}

// Delete deletes the value, as an operator may. The mark of it has a revision.
func (r *Register) Delete() { r.change(func() { r.put(failover.Reading{}) }) }

// Spoil puts something into the register that is no record.
func (r *Register) Spoil() { r.change(func() { r.put(failover.Reading{}); r.spoilt = true }) }

// Remove takes the place of the register away, and SetBack brings it back.
func (r *Register) Remove() { r.change(func() { r.gone = true }) }

// SetBack makes the register what it was at a revision, as one is that is restored from an old copy; 0: empty. What came
// after it is forgotten, and its revisions are given out again.
func (r *Register) SetBack(revision uint64) {
	r.change(func() {
		r.gone, r.spoilt, r.last = false, false, revision
		r.versions = slices.DeleteFunc(r.versions, func(v failover.Reading) bool { return v.Revision > revision })
	})
}
