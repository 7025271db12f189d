package registertest

import (
	"context"
	"errors"

	"baton/failover"
)

// Watcher sees the changes of a register one by one, without a goroutine. One goroutine uses it.
type Watcher struct {
	register *Register
	looked   bool
	reading  failover.Reading // seen last
	err      error
}

// Watcher gives one that has seen nothing.
func (r *Register) Watcher() *Watcher { return &Watcher{register: r} }

// sight is one look at a register.
type sight struct {
	reading failover.Reading
	err     error
	fate    Fate
	changed <-chan struct{} // closed when there may be more to see
}

// Next is what a watch would tell now, and whether it would tell anything.
func (w *Watcher) Next() (failover.Reading, error, bool) {
	s := w.look()
	return s.reading, s.err, w.isNews(s)
}

func (w *Watcher) look() sight {
	r := w.register
	r.mu.Lock()
	defer r.mu.Unlock()
	fate := r.choose(Op{Kind: Watch})
	reading, err := r.look(fate)
	return sight{reading, err, fate, r.changed}
}

// isNews also remembers what was seen.
func (w *Watcher) isNews(s sight) bool {
	same := w.looked && kindOf(s.err) == kindOf(w.err) && s.reading.Revision == w.reading.Revision &&
		s.reading.Found == w.reading.Found && s.reading.Record.Equal(w.reading.Record)
	w.looked, w.reading, w.err = true, s.reading, s.err
	return !same || s.fate == Again
}

// kindOf is the sentinel of an error.
func kindOf(err error) error {
	for _, kind := range []error{failover.ErrNoRegister, failover.ErrRecord, ErrNoAnswer} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return nil
}

// Watch is failover.Register's. What is shown stale, again or not at all is looked at again when anything changes, which
// Choose is too.
func (r *Register) Watch(ctx context.Context, fn func(failover.Reading, error)) {
	w := r.Watcher()
	for ctx.Err() == nil {
		s := w.look()
		if w.isNews(s) {
			fn(s.reading, s.err)
		}
		select {
		case <-ctx.Done():
		case <-s.changed:
		}
	}
}
