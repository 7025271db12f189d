package destinations

import "sort"

// A backlog holds the messages of a queue in the order of their arrival, from
// the oldest that is not settled. Each message is a slot of 24 octets; slots
// live in chunks, so that the front is given back as it is settled and a
// message can be found by its Seq without an index. A chunk that only waits,
// with contents that are only in the log, is packed: see image.go.
//
//	chunks  [gone gone flying ready] [packed] [packed] [ready ready ...
//	                          ^ cursor: no ready slot in an earlier chunk
type backlog struct {
	chunks   []*chunk // oldest first, numbered consecutively
	cursor   int      // number of the first chunk that may have a ready slot
	ready    int      // messages that wait for a consumer
	live     int      // those, the ones in flight, and the ones set aside
	bytes    int64    // size of the ready ones
	resident int64    // size of those with their content in memory
}

const chunkSlots = 128

type chunk struct {
	number  int
	last    uint64        // seq of the newest slot
	slots   []slot        // nil when packed, and when full and nothing lives in it
	letters []*DeadLetter // by slot, of those that came as dead letters; may be shorter than slots
	image   []byte        // of what is stored; nil when it has changed since
	ready   int16
	live    int16
	held    int16 // live ones with their content in memory
	next    int16 // no ready slot before this index
	full    bool  // takes no further slot
}

type slotState uint8

const (
	slotReady slotState = iota
	slotFlying
	slotAside // its content could not be read: it is left alone
	slotGone
)

// A slot is one message in a backlog.
type slot struct {
	// seq is the entry that put the message here. A message that is not stored
	// has the last seq before it came: so slots are ordered by seq, and among
	// equals the stored one is first.
	seq      uint64
	msg      *Message // nil if its content is only in the log
	size     uint32   // of the message, saturated
	attempts uint16   // deliveries in vain, saturated
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

// deadLetter says why the message is in a dead-letter queue, nil if it is not.
func (r ref) deadLetter() *DeadLetter { return r.c.letter(r.i) }

// content is the Seq of the entry that holds the content of a stored message:
// the one that put it here, unless it was moved from elsewhere.
func (r ref) content() uint64 {
	if l := r.deadLetter(); l != nil && l.content != 0 {
		return l.content
	}
	return r.slot().seq
}

func (r ref) setAttempts(n int) {
	r.slot().attempts = uint16(n)
	r.c.image = nil
}

func (c *chunk) letter(i int) *DeadLetter {
	if i < len(c.letters) {
		return c.letters[i]
	}
	return nil
}

// push adds a ready slot at the end.
func (b *backlog) push(s slot, dead *DeadLetter) ref {
	var c *chunk
	if n := len(b.chunks); n > 0 && !b.chunks[n-1].full {
		c = b.chunks[n-1]
	} else {
		c = b.grow()
	}
	s.state = slotReady
	c.slots = append(c.slots, s)
	if dead != nil {
		for len(c.letters) < len(c.slots)-1 {
			c.letters = append(c.letters, nil)
		}
		c.letters = append(c.letters, dead)
	}
	c.full = len(c.slots) == chunkSlots
	c.last = s.seq
	c.image = nil
	c.ready++
	c.live++
	if s.msg != nil {
		c.held++
		b.resident += int64(s.size)
	}
	b.ready++
	b.live++
	b.bytes += int64(s.size)
	return ref{c, len(c.slots) - 1}
}

// grow adds a chunk with room. The one before is packed, if it can be.
func (b *backlog) grow() *chunk {
	c := &chunk{}
	if n := len(b.chunks); n > 0 {
		b.chunks[n-1].pack()
		c.slots = make([]slot, 0, chunkSlots)
	}
	b.link(c)
	return c
}

// link joins a chunk to the end.
func (b *backlog) link(c *chunk) {
	if n := len(b.chunks); n > 0 {
		c.number = b.chunks[n-1].number + 1
	} else {
		b.cursor = 0
	}
	b.chunks = append(b.chunks, c)
}

// restore adds a packed chunk, c, with messages that are all ready.
func (b *backlog) restore(c *chunk, image []byte, o outline) {
	*c = chunk{last: o.last, image: image, ready: int16(o.n), live: int16(o.n), full: true}
	b.link(c)
	b.ready += o.n
	b.live += o.n
	b.bytes += o.bytes
}

// pack replaces the slots of a full chunk by their image, if all are ready,
// stored and not in memory.
func (c *chunk) pack() {
	if !c.full || c.live == 0 || c.ready < c.live || c.held > 0 || c.packed() {
		return
	}
	c.picture()
	c.slots, c.letters, c.next = nil, nil, 0
}

func (c *chunk) packed() bool { return c.slots == nil && c.live > 0 }

// unpack brings the slots of a packed chunk back.
func (c *chunk) unpack() {
	if c.packed() {
		c.slots, c.letters = readImage(c.image)
	}
}

// picture returns the image of what is stored now, nil if nothing is. made says
// that it was not there yet.
func (c *chunk) picture() (image []byte, made bool) {
	if c.image != nil || c.live == 0 {
		return c.image, false
	}
	c.image = c.makeImage()
	return c.image, true
}

// take puts the oldest ready slot in flight. There must be one.
func (b *backlog) take() ref {
	base := b.chunks[0].number
	b.cursor = max(b.cursor, base)
	for b.chunks[b.cursor-base].ready == 0 {
		b.cursor++
	}
	c := b.chunks[b.cursor-base]
	c.unpack()
	for c.slots[c.next].state != slotReady {
		c.next++
	}
	r := ref{c, int(c.next)}
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
	if !s.returned() {
		s.marks |= markReturned
		r.c.image = nil
	}
	r.c.ready++
	r.c.next = min(r.c.next, int16(r.i))
	b.cursor = min(b.cursor, r.c.number)
	b.ready++
	b.bytes += int64(s.size)
}

// setAside leaves a slot in flight alone: it is not ready again.
func (b *backlog) setAside(r ref) { r.slot().state = slotAside }

// remove settles a slot and frees what it held.
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
	if s.msg != nil {
		r.c.held--
		b.resident -= int64(s.size)
	}
	s.state = slotGone
	s.msg = nil
	if r.i < len(r.c.letters) {
		r.c.letters[r.i] = nil
	}
	r.c.image = nil
	r.c.live--
	b.live--
	if r.c.live == 0 {
		b.release(r.c)
	}
}

// release frees the slots of a full chunk in which nothing lives, and drops
// such chunks from the front.
func (b *backlog) release(c *chunk) {
	if !c.full {
		return
	}
	if len(b.chunks) == 1 { // a queue that is kept empty needs no new chunk
		*c = chunk{number: c.number, slots: c.slots[:0]}
		return
	}
	c.slots, c.letters = nil, nil
	n := 0
	for n < len(b.chunks) && b.chunks[n].live == 0 && b.chunks[n].full {
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
	c.unpack()
	i := sort.Search(len(c.slots), func(i int) bool { return c.slots[i].seq >= seq })
	if i == len(c.slots) {
		return ref{}, false
	}
	s := &c.slots[i]
	return ref{c, i}, s.seq == seq && s.stored() && s.state != slotGone
}

// each calls fn for every message that is not settled, oldest first, until it
// returns false. A ref into a packed chunk is of a copy: it is good for reading.
func (b *backlog) each(fn func(at ref) bool) {
	for _, c := range b.chunks {
		if c.packed() {
			open := *c
			c = &open
			c.unpack()
		}
		for i := range c.slots {
			if c.slots[i].state != slotGone && !fn(ref{c, i}) {
				return
			}
		}
	}
}
