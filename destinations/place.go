package destinations

import (
	"cmp"
	"slices"
)

// A place is where a message is in the order of its queue. It stays good when
// the message has gone.
type place struct {
	seq, n   uint64 // see queue.find
	priority uint8
}

func placeOf(at ref) place {
	s := at.slot()
	return place{s.seq, s.number(), at.c.priority}
}

// compare says which place is first: that of higher priority, then the older.
func (p place) compare(other place) int {
	return cmp.Or(cmp.Compare(other.priority, p.priority), cmp.Compare(p.seq, other.seq), cmp.Compare(p.n, other.n))
}

// places are kept in their order, each once.
type places struct {
	all  []place
	head int // before which all were taken
}

func (p *places) len() int { return len(p.all) - p.head }

func (p *places) first() place { return p.all[p.head] }

// rest are all that there are, valid until the next change.
func (p *places) rest() []place { return p.all[p.head:] }

// add mostly appends: places are found in their order.
func (p *places) add(v place) {
	waiting := p.rest()
	if n := len(waiting); n == 0 || waiting[n-1].compare(v) < 0 {
		p.all = append(p.all, v)
		return
	}
	i, there := slices.BinarySearchFunc(waiting, v, place.compare)
	switch {
	case there:
	case i == 0 && p.head > 0:
		p.head--
		p.all[p.head] = v
	default:
		p.all = slices.Insert(p.all, p.head+i, v)
	}
}

// take removes the first.
func (p *places) take() place {
	v := p.first()
	if p.head++; p.head == len(p.all) {
		p.all, p.head = p.all[:0], 0
	} else if p.head > 64 && p.head > len(p.all)/2 {
		p.all = slices.Delete(p.all, 0, p.head)
		p.head = 0
	}
	return v
}

func (p *places) has(v place) bool {
	_, there := slices.BinarySearchFunc(p.rest(), v, place.compare)
	return there
}

// remove takes v out, if it is there.
func (p *places) remove(v place) bool {
	i, there := slices.BinarySearchFunc(p.rest(), v, place.compare)
	switch {
	case !there:
	case i == 0:
		p.take()
	default:
		p.all = slices.Delete(p.all, p.head+i, p.head+i+1)
	}
	return there
}

// after calls fn for every message of the level behind p that is not settled,
// until it returns false, and says whether it never did. A ref into a packed
// chunk is of a copy, as with each.
func (l *level) after(p place, fn func(at ref) bool) bool {
	from, _ := slices.BinarySearchFunc(l.chunks, p, func(c *chunk, p place) int {
		return place{c.last, c.lastNumber, l.priority}.compare(p)
	})
	for _, c := range l.chunks[from:] {
		if c.packed() {
			open := *c
			c = &open
			c.unpack()
		}
		for i := range c.slots {
			at := ref{c, i}
			if c.slots[i].state == slotGone || placeOf(at).compare(p) <= 0 {
				continue
			}
			if !fn(at) {
				return false
			}
		}
	}
	return true
}
