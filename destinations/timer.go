package destinations

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// A timer rings for its owner once, at a time. It is a field of its owner.
type timer struct {
	owner alarm
	at    int64  // Unix ms
	order uint64 // of setting: of two for the same time, the one set first rings first
	place int    // in Machine.timers, from 1; 0: not set
}

// An alarm has a timer. It may set it again when it rings.
type alarm interface {
	ring(m *Machine, out *Effects)
}

// timers are those that are set: a heap, with the earliest in front.
type timers struct {
	set   []*timer
	order uint64
}

func (t *timers) Len() int { return len(t.set) }

func (t *timers) Less(i, j int) bool {
	a, b := t.set[i], t.set[j]
	return a.at < b.at || a.at == b.at && a.order < b.order
}

func (t *timers) Swap(i, j int) {
	t.set[i], t.set[j] = t.set[j], t.set[i]
	t.set[i].place, t.set[j].place = i+1, j+1
}

func (t *timers) Push(v any) {
	t.set = append(t.set, v.(*timer))
	t.set[len(t.set)-1].place = len(t.set)
}

func (t *timers) Pop() any {
	last := t.set[len(t.set)-1]
	t.set[len(t.set)-1] = nil
	t.set = t.set[:len(t.set)-1]
	last.place = 0
	return last
}

// setTimer lets t, of owner, ring at a time in Unix ms, and at no other.
func (m *Machine) setTimer(t *timer, owner alarm, at int64) {
	m.stopTimer(t)
	m.timers.order++
	t.owner, t.at, t.order = owner, at, m.timers.order
	heap.Push(&m.timers, t)
}

func (m *Machine) stopTimer(t *timer) {
	if t.place > 0 {
		heap.Remove(&m.timers, t.place-1)
	}
}

// NextTick is when a Tick is due; ok is false when none is.
func (m *Machine) NextTick() (at time.Time, ok bool) {
	if len(m.timers.set) == 0 {
		return time.Time{}, false
	}
	return time.UnixMilli(m.timers.set[0].at), true
}

// tickWork bounds what one Tick does: timers that ring, and messages that they
// move.
const tickWork = 1000

// tick lets everything ring that is due. What is more than one Tick may do is
// due still.
func (m *Machine) tick(out *Effects) {
	m.work = tickWork
	for len(m.timers.set) > 0 && m.timers.set[0].at <= m.millis && m.work > 0 {
		t := m.timers.set[0]
		m.stopTimer(t)
		m.work--
		t.owner.ring(m, out)
	}
}

// A wait is a message of a queue for which something happens at a time.
type wait struct {
	at     int64 // Unix ms
	seq, n uint64
}

func (w wait) compareMessage(other wait) int {
	return cmp.Or(cmp.Compare(w.seq, other.seq), cmp.Compare(w.n, other.n))
}

// waits are a heap, with the earliest in front.
type waits []wait

func (w waits) Len() int { return len(w) }

func (w waits) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(w[i].at, w[j].at), w[i].compareMessage(w[j])) < 0
}

func (w waits) Swap(i, j int) { w[i], w[j] = w[j], w[i] }

func (w *waits) Push(v any) { *w = append(*w, v.(wait)) }

func (w *waits) Pop() any {
	last := (*w)[len(*w)-1]
	*w = (*w)[:len(*w)-1]
	if len(*w) == 0 {
		*w = nil
	}
	return last
}

// waitBytes is counted for each message that waits for its time. The wait of one
// that is to be delivered again is not counted, as its slot is not.
const waitBytes = 32

// await lets something happen for a message of q at a time in Unix ms.
func (m *Machine) await(q *queue, s *slot, at int64) {
	if m.started {
		heap.Push(&q.waits, wait{at, s.seq, s.number()})
		m.wake(q, at)
	}
}

// stale says that most of the waits of q are of messages that have gone, or wait
// no more.
func (q *queue) stale() bool { return len(q.waits) > 2*q.live+fewWaits }

// fewWaits is how many stale ones do not matter.
const fewWaits = 64

// forgetStale forgets the waits of q whose messages do not wait any more.
func (q *queue) forgetStale() {
	all := slices.Clone(q.waits)
	slices.SortFunc(all, func(a, b wait) int { return cmp.Or(a.compareMessage(b), cmp.Compare(a.at, b.at)) })
	all = slices.Compact(all)
	q.waits = nil
	q.each(func(at ref) bool {
		s := at.slot()
		if at.c.priority != levelWaiting && s.state != slotHeld {
			return true
		}
		of := wait{seq: s.seq, n: s.number()}
		for i, _ := slices.BinarySearchFunc(all, of, wait.compareMessage); i < len(all) && all[i].compareMessage(of) == 0; i++ {
			q.waits = append(q.waits, all[i])
		}
		return true
	})
	heap.Init(&q.waits)
}

// wake lets q ring at a time in Unix ms, if it does not ring before. Before the
// start, nothing rings.
func (m *Machine) wake(q *queue, at int64) {
	if m.started && (q.timer.place == 0 || at < q.timer.at) {
		m.setTimer(&q.timer, q, at)
	}
}

// ring does what is due in a queue, as far as the Tick in progress may.
func (q *queue) ring(m *Machine, out *Effects) {
	if q.archive != nil {
		m.weed(q, out)
		return
	}
	for len(q.waits) > 0 && q.waits[0].at <= m.millis && m.work > 0 {
		w := heap.Pop(&q.waits).(wait)
		m.work--
		m.awaited(q, w, out)
	}
	m.sweep(q, out)
	if len(q.waits) > 0 {
		m.wake(q, q.waits[0].at)
	}
	m.touch(q)
	m.collect(q)
}

// awaited does what was due at w, unless the message has gone meanwhile.
func (m *Machine) awaited(q *queue, w wait, out *Effects) {
	if at, ok := q.findWaiting(w.seq, w.n); ok {
		m.due(q, at, at.slot().msg, out)
	} else if at, ok := q.find(w.seq, w.n); ok && at.slot().state == slotHeld {
		q.letGo(at)
		m.resume(q, at)
	}
}

// setTimes sets when something happens to a message that was just put into q.
func (m *Machine) setTimes(q *queue, at ref) {
	x := at.extra()
	if q.archive != nil {
		m.wakeArchive(q)
	} else if at.c.priority == levelWaiting {
		m.await(q, at.slot(), x.comes())
	} else if expires := x.expires(); expires != never {
		m.wake(q, expires)
	}
}

// startTimers sets the timers of what was stored before.
func (m *Machine) startTimers() {
	m.started = true
	for _, q := range m.roster.places {
		if q == nil {
			continue
		}
		if l := q.waiting(); l != nil {
			l.each(func(at ref) bool {
				x := at.extra()
				m.await(q, at.slot(), x.comes())
				return true
			})
		}
		if at := q.expires(); at != never {
			m.wake(q, at)
		}
		if q.archive != nil {
			m.wakeArchive(q)
		}
		m.lapse(q)
		if q.durable != nil {
			m.idle(q)
		}
	}
}
