package destinations

import "sort"

// A backlog holds the messages of a queue in the order of their arrival, from
// the oldest that is not settled. Each message is a slot of 24 octets; slots
// live in chunks, so that the front is given back as it is settled and a
// message can be found by its Seq without an index.
//
//	chunks  [gone gone flying ready] [ready ready ready ready] [ready ...
//	                          ^ cursor: no ready slot in an earlier chunk
type backlog struct {
	chunks []*chunk // oldest first, numbered consecutively
	cursor int      // number of the first chunk that may have a ready slot
	ready  int      // messages that wait for a consumer
	live   int      // those, and the ones in flight
	bytes  int64    // size of the ready ones
}

const chunkSlots = 128

type chunk struct {
	number int
	last   uint64 // seq of the newest slot
	slots  []slot // nil when full and nothing lives in it
	count  int    // slots ever pushed
	ready  int
	live   int
	next   int // no ready slot before this index
}

type slotState uint8

const (
	slotReady slotState = iota
	slotFlying
	slotGone
)

// A slot is one message in a backlog.
type slot struct {
	// seq is the entry that put the message here. A message that is not stored
	// has the last seq before it came: so slots are ordered by seq, and among
	// equals the stored one is first.
	seq      uint64
	msg      *Message
	size     uint32 // of the message, saturated
	attempts uint16 // deliveries in vain, saturated
	state    slotState
	marks    slotMarks
}

// slotMarks are bits, because with two fields more a slot would take 32 octets.
type slotMarks uint8

const (
	markStored   slotMarks = 1 << iota // is in the log
	markReturned                       // was in flight before
)

func (s *slot) stored() bool   { return s.marks&markStored != 0 }
func (s *slot) returned() bool { return s.marks&markReturned != 0 }

// A ref is the place of a slot. It is valid while the slot is not gone.
type ref struct {
	c *chunk
	i int
}

func (r ref) slot() *slot { return &r.c.slots[r.i] }

// push adds a ready slot at the end.
func (b *backlog) push(s slot) ref {
	var c *chunk
	if n := len(b.chunks); n > 0 && b.chunks[n-1].count < chunkSlots {
		c = b.chunks[n-1]
	} else {
		c = b.grow()
	}
	s.state = slotReady
	c.slots = append(c.slots, s)
	c.count++
	c.last = s.seq
	c.ready++
	c.live++
	b.ready++
	b.live++
	b.bytes += int64(s.size)
	return ref{c, c.count - 1}
}

func (b *backlog) grow() *chunk {
	c := &chunk{}
	if n := len(b.chunks); n > 0 {
		c.number = b.chunks[n-1].number + 1
		c.slots = make([]slot, 0, chunkSlots)
	} else {
		b.cursor = 0
	}
	b.chunks = append(b.chunks, c)
	return c
}

// take puts the oldest ready slot in flight. There must be one.
func (b *backlog) take() ref {
	base := b.chunks[0].number
	b.cursor = max(b.cursor, base)
	for b.chunks[b.cursor-base].ready == 0 {
		b.cursor++
	}
	c := b.chunks[b.cursor-base]
	for c.slots[c.next].state != slotReady {
		c.next++
	}
	r := ref{c, c.next}
	c.next++
	c.ready--
	b.ready--
	s := r.slot()
	s.state = slotFlying
	b.bytes -= int64(s.size)
	return r
}

// giveBack makes a slot in flight ready again, in its old place.
func (b *backlog) giveBack(r ref) {
	s := r.slot()
	if s.state != slotFlying {
		panic("BUG: a message is given back that is not in flight")
	}
	s.state = slotReady
	s.marks |= markReturned
	r.c.ready++
	r.c.next = min(r.c.next, r.i)
	b.cursor = min(b.cursor, r.c.number)
	b.ready++
	b.bytes += int64(s.size)
}

// remove settles a slot, ready or in flight, and frees what it held.
func (b *backlog) remove(r ref) {
	s := r.slot()
	switch s.state {
	case slotGone:
		panic("BUG: a message is settled twice")
	case slotReady:
		r.c.ready--
		b.ready--
		b.bytes -= int64(s.size)
	}
	s.state = slotGone
	s.msg = nil
	r.c.live--
	b.live--
	if r.c.live == 0 {
		b.release(r.c)
	}
}

// release frees the slots of a full chunk in which nothing lives, and drops
// such chunks from the front.
func (b *backlog) release(c *chunk) {
	if c.count < chunkSlots {
		return
	}
	if len(b.chunks) == 1 { // a queue that is kept empty needs no new chunk
		*c = chunk{number: c.number, slots: c.slots[:0]}
		return
	}
	c.slots = nil
	n := 0
	for n < len(b.chunks) && b.chunks[n].live == 0 && b.chunks[n].count == chunkSlots {
		b.chunks[n] = nil
		n++
	}
	b.chunks = b.chunks[n:]
	if len(b.chunks) == 0 {
		b.chunks = nil
	}
}

// find returns the place of the stored message with this seq.
func (b *backlog) find(seq uint64) (ref, bool) {
	n := sort.Search(len(b.chunks), func(i int) bool { return b.chunks[i].last >= seq })
	if n == len(b.chunks) {
		return ref{}, false
	}
	c := b.chunks[n]
	i := sort.Search(len(c.slots), func(i int) bool { return c.slots[i].seq >= seq })
	if i == len(c.slots) {
		return ref{}, false
	}
	s := &c.slots[i]
	return ref{c, i}, s.seq == seq && s.stored() && s.state != slotGone
}

// each calls fn for every message that is not settled, oldest first, until it
// returns false.
func (b *backlog) each(fn func(s *slot) bool) {
	for _, c := range b.chunks {
		for i := range c.slots {
			if s := &c.slots[i]; s.state != slotGone && !fn(s) {
				return
			}
		}
	}
}
