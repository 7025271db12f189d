package destinations

import (
	"cmp"
	"iter"
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
	switch {
	case p.priority != other.priority:
		return cmp.Compare(other.priority, p.priority)
	case p.seq != other.seq:
		return cmp.Compare(p.seq, other.seq)
	}
	return cmp.Compare(p.n, other.n)
}

// places are kept in their order, each once, in short runs: to add or remove one of
// very many, wherever it is, moves a run of them and not all.
//
//	[x1 x2 x5] [x6] [y1 y2 y7 y9]
type places struct {
	runs  [][]place // none is empty, but for the only one
	count int
}

// runPlaces is how many a run has at most.
const runPlaces = 128

func (p *places) len() int { return p.count }

func (p *places) first() place { return p.runs[0][0] }

// all are valid until the next change.
func (p *places) all() iter.Seq[place] {
	return func(yield func(place) bool) {
		for _, run := range p.runs {
			for _, v := range run {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// add puts v in, and says whether it was not there. Mostly it is the last: places
// are found in their order.
func (p *places) add(v place) bool {
	r, i, there := p.find(v)
	switch {
	case there:
		return false
	case r == len(p.runs) && (r == 0 || len(p.runs[r-1]) == runPlaces):
		p.runs = append(p.runs, []place{v})
	case r == len(p.runs):
		p.runs[r-1] = append(p.runs[r-1], v)
	default:
		p.insert(r, i, v)
	}
	p.count++
	return true
}

// insert puts v into run r, of which there are two if it is full.
func (p *places) insert(r, i int, v place) {
	if run := p.runs[r]; len(run) == runPlaces {
		const half = runPlaces / 2
		p.runs = slices.Insert(p.runs, r+1, slices.Clone(run[half:]))
		p.runs[r] = run[:half]
		if i > half {
			r, i = r+1, i-half
		}
	}
	p.runs[r] = slices.Insert(p.runs[r], i, v)
}

// find returns the run and where in it v is, or is to be; behind all, there is no
// such run.
func (p *places) find(v place) (r, i int, there bool) {
	if p.count == 0 {
		return len(p.runs), 0, false
	}
	r, _ = slices.BinarySearchFunc(p.runs, v, func(run []place, v place) int {
		return run[len(run)-1].compare(v)
	})
	if r < len(p.runs) {
		i, there = slices.BinarySearchFunc(p.runs[r], v, place.compare)
	}
	return r, i, there
}

// take removes the first.
func (p *places) take() place {
	v := p.first()
	p.cut(0, 0)
	return v
}

func (p *places) has(v place) bool {
	_, _, there := p.find(v)
	return there
}

// remove takes v out, if it is there.
func (p *places) remove(v place) bool {
	r, i, there := p.find(v)
	if there {
		p.cut(r, i)
	}
	return there
}

// cut removes one. The only run stays, for what comes next.
func (p *places) cut(r, i int) {
	p.runs[r] = slices.Delete(p.runs[r], i, i+1)
	if len(p.runs[r]) == 0 && len(p.runs) > 1 {
		p.runs = slices.Delete(p.runs, r, r+1)
	}
	p.count--
}

// after calls fn for every message of the level behind p, a place in it, that is not settled,
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
		for i := c.behind(p); i < len(c.slots); i++ {
			if c.slots[i].state != slotGone && !fn(ref{c, i}) {
				return false
			}
		}
	}
	return true
}

// behind returns the index of a slot from which on all that are not gone are behind
// p. Who asks has mostly seen all but the newest.
func (c *chunk) behind(p place) int {
	first := c.from(p.seq)
	for i := len(c.slots); i > first; i-- {
		if c.slots[i-1].state != slotGone && placeOf(ref{c, i - 1}).compare(p) <= 0 {
			return i
		}
	}
	return first
}
