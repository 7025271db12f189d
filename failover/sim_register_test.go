package failover

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A HostileRegister is that of registertest, which this package's own tests cannot import.
type HostileRegister interface {
	CAS(ctx context.Context, expect uint64, record Record) (uint64, error)
	Read(ctx context.Context) (Reading, error)
	Watching() (next func() (Reading, error, bool))
	Pending() int
	Deliver(i int) bool
	Lose(i int)
	Accepted() []Reading
	Remove()
	SetBack(revision uint64)
}

// NewHostileRegister is set by the tests that can import it. Of all operations, percent in a hundred have a bad fate.
var NewHostileRegister func(source *rand.Rand, percent func() int) HostileRegister

type simWatcher = func() (Reading, error, bool)

// A simRegistry is the register behind its network.
type simRegistry struct {
	s        *sim
	register HostileRegister
	percent  int
	removed  bool
	accepted []Reading
	begun    int   // how many of accepted were there before it was emptied
	late     []int // numbers of the CAS that are pending in register
	lates    int
	asked    int // requests that have not come to an end: the CAS in them may be done yet
}

func newSimRegistry(s *sim) *simRegistry {
	r := &simRegistry{s: s, percent: s.rng.IntN(20)}
	r.register = NewHostileRegister(s.rng, func() int { return r.percent })
	return r
}

// head is the newest record.
func (r *simRegistry) head() Reading {
	if len(r.accepted) == r.begun {
		return Reading{}
	}
	return r.accepted[len(r.accepted)-1]
}

// empty is a register that has lost everything, and all requests that were on their way to it.
func (r *simRegistry) empty() {
	for range r.late {
		r.register.Lose(0)
	}
	r.late, r.begun, r.removed = nil, len(r.accepted), false
	r.register.SetBack(0)
}

// settledOn says that a journal is in sync, and that no CAS can change that but one that is not sent yet.
func (r *simRegistry) settledOn(n *simNode) bool {
	m, ok := r.head().Record.Member(n.name)
	return ok && m.JournalID == n.kept.Journal && r.asked == 0 && len(r.late) == 0
}

// lists says that the journal of a node is in sync, or may come to be by a CAS under way.
func (r *simRegistry) lists(n *simNode) bool {
	_, ok := r.head().Record.Member(n.name)
	return ok || r.asked > 0 || len(r.late) > 0
}

func (r *simRegistry) remove() {
	r.removed = true
	r.register.Remove()
}

func (r *simRegistry) restore() {
	if r.removed {
		r.removed = false
		r.register.SetBack(r.head().Revision)
	}
}

// ask sends a request, and has answer called with what comes of it, unless nothing does.
func (t *simTerm) ask(patient bool, request func() (answer func()), noAnswer func()) {
	s, n := t.n.s, t.n
	answered, begun := false, s.register.begun
	var try func(times int)
	try = func(times int) {
		switch {
		case begun != s.register.begun:
			if patient {
				s.register.asked--
			}
		case s.reach[n.i][theRegister]:
			answer := request()
			if answer != nil && s.reach[theRegister][n.i] {
				t.after(s.latency(), func() {
					if !answered {
						answered = true
						answer()
					}
				})
			}
			if patient {
				s.register.asked--
			}
		case patient && times < 8: // TCP sends it again
			s.after(s.between(100*time.Millisecond, time.Second), func() { try(times + 1) })
		case patient:
			s.register.asked--
		}
	}
	if patient {
		s.register.asked++
	}
	s.after(s.latency(), func() { try(0) })
	t.after(s.between(800*time.Millisecond, 1500*time.Millisecond), func() {
		if !answered {
			answered = true
			noAnswer()
		}
	})
}

func (t *simTerm) readRegister() {
	if t.gone() {
		return
	}
	t.later(func() {
		t.ask(false, func() func() {
			reading, err := t.n.s.register.register.Read(context.Background())
			if err != nil && !errors.Is(err, ErrNoRegister) {
				return nil
			}
			return func() { t.saw(reading, err) }
		}, func() { t.saw(Reading{}, errors.New("no answer")) })
	})
}

// saw is Term.saw.
func (t *simTerm) saw(r Reading, err error) {
	e := Event{Kind: OnSeen, Reading: &r}
	switch {
	case errors.Is(err, ErrNoRegister), errors.Is(err, ErrRecord):
		e.Reading = &Reading{}
	case err != nil:
		e.Failed = true
	}
	t.decide(e)
}

func (t *simTerm) changeRegister(number, revision uint64, record Record) {
	if t.gone() {
		return
	}
	s := t.n.s
	record.InSync, record.At = slices.Clone(record.InSync), time.Unix(0, int64(t.n.clock()))
	s.note("%s asks at %d for epoch %d, master %s, %d in sync, minSeq %d", t.n.name, revision, record.Epoch, record.Master, len(record.InSync), record.MinSeq)
	s.checker.claims(t, revision, &record)
	answer := func(e Event) func() {
		return func() {
			s.note("%s is answered %d, revision %d", t.n.name, e.Outcome, e.Revision)
			t.decide(e)
		}
	}
	t.later(func() {
		t.ask(true, func() func() {
			rev, err := s.register.cas(revision, record)
			switch {
			case errors.Is(err, ErrLost):
				return answer(Event{Kind: OnAnswer, Number: number, Outcome: Lost})
			case err != nil:
				return nil
			}
			return answer(Event{Kind: OnAnswer, Number: number, Outcome: Done, Revision: rev})
		}, func() {
			e := Event{Kind: OnAnswer, Number: number, Outcome: Unknown}
			if s.mutant.confident {
				e.Outcome, e.Revision = Done, revision+1
			}
			answer(e)()
		})
	})
}

func (r *simRegistry) cas(revision uint64, record Record) (uint64, error) {
	before := r.register.Pending()
	rev, err := r.register.CAS(context.Background(), revision, record)
	if r.register.Pending() > before {
		r.lates++
		number := r.lates
		r.late = append(r.late, number)
		r.s.after(r.s.between(0, 5*time.Second), func() { r.deliver(number) })
	}
	r.changed()
	return rev, err
}

// deliver lets a CAS that was delayed arrive, or get lost.
func (r *simRegistry) deliver(number int) {
	i := slices.Index(r.late, number)
	if i < 0 {
		return
	}
	r.late = slices.Delete(r.late, i, i+1)
	if r.s.chance(30) {
		r.register.Lose(i)
		return
	}
	r.s.note("a CAS comes late: done %t", r.register.Deliver(i))
	r.changed()
}

// changed sees what has been done.
func (r *simRegistry) changed() {
	accepted := r.register.Accepted()
	if len(accepted) == len(r.accepted) {
		return
	}
	r.accepted = accepted
	head := r.head()
	r.s.checker.forced(&head.Record)
	r.s.note("the register has revision %d: epoch %d, master %s, %d in sync, minSeq %d",
		head.Revision, head.Record.Epoch, head.Record.Master, len(head.Record.InSync), head.Record.MinSeq)
	for _, n := range r.s.nodes {
		_, listed := head.Record.Member(n.name)
		n.rolledBack = n.rolledBack && listed
		if t := n.term; t != nil {
			t.after(r.s.between(0, 20*time.Millisecond), t.watchOnce)
		}
	}
}

// watch looks now and then for what the register says.
func (t *simTerm) watch() {
	if t.watcher == nil {
		t.watcher = t.n.s.register.register.Watching()
	}
	t.watchOnce()
	t.after(500*time.Millisecond, t.watch)
}

func (t *simTerm) watchOnce() {
	if t.watcher == nil || !t.n.s.reach[t.n.i][theRegister] || !t.n.s.reach[theRegister][t.n.i] {
		return
	}
	if reading, err, ok := t.watcher(); ok {
		t.saw(reading, err)
	}
}

// owns says that a nonce is of this term.
func (t *simTerm) owns(nonce string) bool {
	return strings.HasPrefix(nonce, t.incarnation.String()+"-")
}
