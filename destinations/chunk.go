package destinations

import "sort"

const chunkSlots = 128

// A chunk is a run of slots. When nothing of it is in memory nor in flight, it is
// packed: it is its image, see image.go.
type chunk struct {
	number     int
	last       uint64   // seq of the newest slot
	lastNumber uint64   // the number of its message, see slot.number
	expires    int64    // nothing in it that is not with a consumer expires before; Unix ms
	slots      []slot   // nil when packed, and when full and nothing lives in it
	extras     []*extra // by slot, of those that have one; may be shorter than slots
	image      []byte   // of what is stored; nil when it has changed since
	ready      int16
	live       int16
	held       int16
	resident   int16 // live ones with their content in memory
	next       int16 // no ready slot before this index
	gone       int16 // all slots before this index are gone
	full       bool  // takes no further slot
	priority   uint8 // of its level
}

// push adds a ready slot at the end.
func (c *chunk) push(s slot) {
	c.slots = append(c.slots, s)
	c.full = len(c.slots) == chunkSlots
	c.last, c.lastNumber = s.seq, s.number()
	c.image = nil
	c.ready++
	c.live++
	if s.msg != nil {
		c.resident++
	}
}

// extra is what slot i has beyond what all have, nil if that is nothing.
func (c *chunk) extra(i int) *extra {
	if i < len(c.extras) {
		return c.extras[i]
	}
	return nil
}

func (c *chunk) setExtra(i int, x extra) {
	for len(c.extras) <= i {
		c.extras = append(c.extras, nil)
	}
	if c.extras[i] = nil; x != (extra{}) {
		c.extras[i] = &x
		c.expires = min(c.expires, x.expires())
	}
}

// remove frees what slot i held.
func (c *chunk) remove(i int) {
	s := &c.slots[i]
	if s.msg != nil {
		c.resident--
	}
	s.state, s.msg = slotGone, nil
	if i < len(c.extras) {
		c.extras[i] = nil
	}
	for int(c.gone) < len(c.slots) && c.slots[c.gone].state == slotGone {
		c.gone++
	}
	c.image = nil
	c.live--
}

// pack replaces the slots of a full chunk by their image, if all are ready,
// stored and not in memory.
func (c *chunk) pack() {
	if !c.full || c.live == 0 || c.ready < c.live || c.resident > 0 || c.packed() {
		return
	}
	c.picture()
	c.slots, c.extras, c.next, c.gone = nil, nil, 0, 0
}

func (c *chunk) packed() bool { return c.slots == nil && c.live > 0 }

// unpack brings the slots of a packed chunk back.
func (c *chunk) unpack() {
	if c.packed() {
		c.slots, c.extras = readImage(c.image)
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

// from returns the index of the first slot that may be of this seq or a later one,
// and not gone.
func (c *chunk) from(seq uint64) int {
	gone := int(c.gone)
	return gone + sort.Search(len(c.slots)-gone, func(i int) bool { return c.slots[gone+i].seq >= seq })
}

// find returns the place of the message with this seq and number. Only those
// that are not stored share a seq, and what has gone has no number any more.
func (c *chunk) find(seq, n uint64) (ref, bool) {
	c.unpack()
	i := sort.Search(len(c.slots), func(i int) bool { return c.slots[i].seq >= seq })
	for ; i < len(c.slots) && c.slots[i].seq == seq; i++ {
		if s := &c.slots[i]; s.state != slotGone && s.number() == n {
			return ref{c, i}, true
		} else if n == 0 {
			break // the stored one is the first
		}
	}
	return ref{}, false
}
