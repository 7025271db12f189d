package destinations

import (
	"slices"
	"sort"
)

// A level holds the messages of one priority in the order of their arrival, from
// the oldest that is not settled. Each message is a slot of 24 octets; slots
// live in chunks, so that the front is given back as it is settled and a
// message can be found by its Seq without an index. A chunk that only waits,
// with contents that are only in the log, is packed: see chunk.go.
//
//	chunks  [gone gone flying ready] [packed] [packed] [ready ready ...
//	                          ^ cursor: no ready slot in an earlier chunk
type level struct {
	chunks   []*chunk // oldest first, numbered consecutively
	cursor   int      // number of the first chunk that may have a ready slot
	holds    int      // and of the first that may have a held one
	ready    int
	held     int
	priority uint8
}

// push adds a ready slot at the end.
func (l *level) push(s slot) ref {
	var c *chunk
	if n := len(l.chunks); n > 0 && !l.chunks[n-1].full {
		c = l.chunks[n-1]
	} else {
		c = l.grow()
	}
	c.push(s)
	l.ready++
	return ref{c, len(c.slots) - 1}
}

// grow adds a chunk with room. The one before is packed, if it can be.
func (l *level) grow() *chunk {
	c := &chunk{expires: never}
	if n := len(l.chunks); n > 0 {
		l.chunks[n-1].pack()
		c.slots = make([]slot, 0, chunkSlots)
	}
	l.link(c)
	return c
}

// link joins a chunk to the end.
func (l *level) link(c *chunk) {
	c.priority = l.priority
	if n := len(l.chunks); n > 0 {
		c.number = l.chunks[n-1].number + 1
	} else {
		l.cursor = 0
	}
	l.chunks = append(l.chunks, c)
}

// restore adds a packed chunk, c, with messages that are all ready.
func (l *level) restore(c *chunk, image []byte, o outline) {
	*c = chunk{last: o.last, expires: o.expires, image: image, ready: int16(o.n), live: int16(o.n), full: true}
	l.link(c)
	l.ready += o.n
}

// first returns the place of the oldest ready slot. There must be one.
func (l *level) first() ref {
	base := l.chunks[0].number
	l.cursor = max(l.cursor, base)
	for l.chunks[l.cursor-base].ready == 0 {
		l.cursor++
	}
	c := l.chunks[l.cursor-base]
	c.unpack()
	for c.slots[c.next].state != slotReady {
		c.next++
	}
	return ref{c, int(c.next)}
}

// firstHeld returns the place of the oldest slot that is held. There must be one.
func (l *level) firstHeld() ref {
	base := l.chunks[0].number
	l.holds = max(l.holds, base)
	for l.chunks[l.holds-base].held == 0 {
		l.holds++
	}
	c := l.chunks[l.holds-base]
	return ref{c, slices.IndexFunc(c.slots, func(s slot) bool { return s.state == slotHeld })}
}

// oldest returns the place of the oldest slot that is ready or held. There must be
// one.
func (l *level) oldest() ref {
	switch {
	case l.held == 0:
		return l.first()
	case l.ready == 0:
		return l.firstHeld()
	}
	first, held := l.first(), l.firstHeld()
	if placeOf(held).compare(placeOf(first)) < 0 {
		return held
	}
	return first
}

// hold counts that a slot is held.
func (l *level) hold(r ref) {
	l.held++
	r.c.held++
	l.holds = min(l.holds, r.c.number)
}

// unhold counts that a slot is held no more.
func (l *level) unhold(r ref) {
	l.held--
	r.c.held--
}

// unready counts that a slot is not ready any more.
func (l *level) unready(r ref) {
	l.ready--
	r.c.ready--
}

// makeReady counts that a slot is ready again.
func (l *level) makeReady(r ref) {
	l.ready++
	r.c.ready++
	r.c.expires = min(r.c.expires, r.c.extra(r.i).expires())
	r.c.next = min(r.c.next, int16(r.i))
	l.cursor = min(l.cursor, r.c.number)
}

// remove frees what a slot held.
func (l *level) remove(r ref) {
	r.c.remove(r.i)
	if r.c.live == 0 {
		l.release(r.c)
	}
}

// release frees the slots of a full chunk in which nothing lives, and drops
// such chunks from the front.
func (l *level) release(c *chunk) {
	if !c.full {
		return
	}
	if len(l.chunks) == 1 { // a queue that is kept empty needs no new chunk
		*c = chunk{number: c.number, priority: c.priority, expires: never, slots: c.slots[:0]}
		return
	}
	c.slots, c.extras = nil, nil
	n := 0
	for n < len(l.chunks) && l.chunks[n].live == 0 && l.chunks[n].full {
		l.chunks[n] = nil
		n++
	}
	l.chunks = l.chunks[n:]
	if len(l.chunks) == 0 {
		l.chunks = nil
	}
}

// find returns the place of the message with this seq and number.
func (l *level) find(seq, n uint64) (ref, bool) {
	if len(l.chunks) == 1 {
		return l.chunks[0].find(seq, n)
	}
	i := sort.Search(len(l.chunks), func(i int) bool {
		c := l.chunks[i]
		return c.last > seq || c.last == seq && c.lastNumber >= n
	})
	if i == len(l.chunks) {
		return ref{}, false
	}
	return l.chunks[i].find(seq, n)
}

// each calls fn for every message that is not settled, and says whether it
// always returned true.
func (l *level) each(fn func(at ref) bool) bool {
	for _, c := range l.chunks {
		if c.packed() {
			open := *c
			c = &open
			c.unpack()
		}
		for i := range c.slots {
			if c.slots[i].state != slotGone && !fn(ref{c, i}) {
				return false
			}
		}
	}
	return true
}
