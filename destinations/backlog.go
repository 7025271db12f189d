package destinations

import "slices"

// A backlog holds the messages of a queue, by priority: a level for each that
// was ever needed, which for most queues is one. What waits for its time is a
// level of its own.
type backlog struct {
	levels   []*level // highest priority first
	ready    int      // messages that a consumer may have now
	live     int      // those, and all others that are not settled
	bytes    int64    // size of the ready ones
	held     tally    // those that are in slotHeld
	resident int64    // size of those with their content in memory
}

// A tally is of some messages.
type tally struct {
	messages int
	bytes    int64 // their size
}

func (t *tally) add(size uint32) {
	t.messages++
	t.bytes += int64(size)
}

func (t *tally) remove(size uint32) {
	t.messages--
	t.bytes -= int64(size)
}

type slotState uint8

const (
	slotReady slotState = iota
	slotFlying
	slotAside // its content could not be read: it is left alone
	slotHeld  // it waits until it may be delivered again
	slotGone
)

// A slot is one message in a backlog.
type slot struct {
	// seq is the entry that put the message here. A message that is not stored
	// has the last seq before it came: so slots are ordered by seq, and among
	// equals the stored one is first and the others follow by their numbers.
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
	markLent                           // is a loan: what it has in memory is no content of its own
	markApart                          // counts as of no group
	markCame                           // is of a group, and was at another broker
)

func (s *slot) stored() bool   { return s.marks&markStored != 0 }
func (s *slot) returned() bool { return s.marks&markReturned != 0 }
func (s *slot) lent() bool     { return s.marks&markLent != 0 }

// resident says that it has its content in memory.
func (s *slot) resident() bool { return s.msg != nil && !s.lent() }

// waits says that no consumer has it, and that one is to have it.
func (s *slot) waits() bool { return s.state == slotReady || s.state == slotHeld }

// number is that of a message that is not stored; of one that is, 0.
func (s *slot) number() uint64 {
	if s.stored() {
		return 0
	}
	return s.msg.n
}

// An extra is what a slot has beyond what all have. It does not change while
// something refers to it: it is replaced.
type extra struct {
	dead    *DeadLetter // why it is in a dead-letter queue
	content uint64      // Seq of the entry that holds the content; 0: the one that put it here
	props   *Props      // see Props.waits
	until   int64       // Unix ms before which it is not delivered again, or does not come again; 0: at once
	kept    *Message    // of a loan: what it is of, if that is in memory only
	latest  uint64      // of one that waits for its time: Seq of the newest entry that says when that is; 0: none does
	left    int32       // and how often it comes after that time
}

// A ref is the place of a slot. It is valid while the slot is not gone.
type ref struct {
	c *chunk
	i int
}

func (r ref) slot() *slot { return &r.c.slots[r.i] }

// extra returns what the slot has beyond what all have: for most the zero value.
func (r ref) extra() extra {
	if x := r.c.extra(r.i); x != nil {
		return *x
	}
	return extra{}
}

// deadLetter says why the message is in a dead-letter queue, nil if it is not.
func (r ref) deadLetter() *DeadLetter {
	if x := r.c.extra(r.i); x != nil {
		return x.dead
	}
	return nil
}

// props are those that matter while the message waits, nil if none does.
func (r ref) props() *Props {
	if x := r.c.extra(r.i); x != nil {
		return x.props
	}
	return nil
}

// content is the Seq of the entry that holds the content of a stored message:
// the one that put it here, unless it came from elsewhere.
func (r ref) content() uint64 {
	if x := r.c.extra(r.i); x != nil && x.content != 0 {
		return x.content
	}
	return r.slot().seq
}

// setAttempts says how often it was delivered in vain, and when it may be again.
func (r ref) setAttempts(n int, until int64) {
	r.slot().attempts = uint16(n)
	if x := r.extra(); x.until != until {
		x.until = until
		r.setExtra(x)
	}
	r.c.image = nil
}

// setExtra replaces what the slot has beyond what all have.
func (r ref) setExtra(x extra) {
	r.c.setExtra(r.i, x)
	r.c.image = nil
}

// level returns that of a priority, made if there is none.
func (b *backlog) level(priority uint8) *level {
	for i, l := range b.levels {
		if l.priority == priority {
			return l
		}
		if l.priority < priority {
			l := &level{priority: priority}
			b.levels = slices.Insert(b.levels, i, l)
			return l
		}
	}
	l := &level{priority: priority}
	b.levels = append(b.levels, l)
	return l
}

// push adds a slot that is ready, or in the level of those that wait will be, at
// the end of a level.
func (b *backlog) push(s slot, level uint8) ref {
	s.state = slotReady
	at := b.level(level).push(s)
	if s.resident() {
		b.resident += int64(s.size)
	}
	b.live++
	if level != levelWaiting {
		b.ready++
		b.bytes += int64(s.size)
	}
	return at
}

// restore adds a packed chunk, c, with messages that are all ready.
func (b *backlog) restore(c *chunk, level uint8, image []byte, o outline) {
	b.level(level).restore(c, image, o)
	b.live += o.n
	if level != levelWaiting {
		b.ready += o.n
		b.bytes += o.bytes
	}
}

// first returns the place of the ready slot that is next: the oldest of the
// highest priority. There must be one.
func (b *backlog) first() ref {
	for _, l := range b.levels {
		if l.ready > 0 && l.priority != levelWaiting {
			return l.first()
		}
	}
	panic("BUG: a message is taken where none is ready")
}

// take puts the slot in flight that is next. There must be one.
func (b *backlog) take() ref {
	r := b.first()
	b.fly(r)
	return r
}

// queued counts what no consumer has, and one is to have: what is ready or held.
func (b *backlog) queued() tally {
	return tally{b.ready + b.held.messages, b.bytes + b.held.bytes}
}

// least returns the place of the slot, ready or held, that matters least: the
// oldest of the lowest priority. There must be one.
func (b *backlog) least() ref {
	for _, l := range slices.Backward(b.levels) {
		if l.ready+l.held > 0 && l.priority != levelWaiting {
			return l.oldest()
		}
	}
	panic("BUG: a message is looked for where none waits")
}

// fly puts a ready slot in flight.
func (b *backlog) fly(r ref) {
	s := r.slot()
	if s.state != slotReady {
		panic("BUG: a message is taken that is not ready")
	}
	b.unready(r, slotFlying)
}

// hold keeps a ready slot from being taken, until it is let go.
func (b *backlog) hold(r ref) {
	b.unready(r, slotHeld)
	b.level(r.c.priority).hold(r)
	b.held.add(r.slot().size)
}

// letGo makes a slot ready that was held.
func (b *backlog) letGo(r ref) {
	b.unhold(r)
	b.makeReady(r)
}

func (b *backlog) unhold(r ref) {
	if r.slot().state != slotHeld {
		panic("BUG: a message is let go that is not held")
	}
	b.level(r.c.priority).unhold(r)
	b.held.remove(r.slot().size)
}

func (b *backlog) unready(r ref, state slotState) {
	s := r.slot()
	s.state = state
	b.level(r.c.priority).unready(r)
	b.ready--
	b.bytes -= int64(s.size)
}

func (b *backlog) makeReady(r ref) {
	s := r.slot()
	s.state = slotReady
	b.level(r.c.priority).makeReady(r)
	b.ready++
	b.bytes += int64(s.size)
}

// giveBack makes a slot in flight ready again, in its old place.
func (b *backlog) giveBack(r ref) {
	s := r.slot()
	if s.state != slotFlying {
		panic("BUG: a message is given back that is not in flight")
	}
	if !s.returned() {
		s.marks |= markReturned
		r.c.image = nil
	}
	b.makeReady(r)
}

// setAside leaves a slot in flight alone: it is not ready again.
func (b *backlog) setAside(r ref) { r.slot().state = slotAside }

// remove settles a slot and frees what it held.
func (b *backlog) remove(r ref) {
	s := r.slot()
	l := b.level(r.c.priority)
	switch s.state {
	case slotGone:
		panic("BUG: a message is settled twice")
	case slotReady:
		l.unready(r)
		if l.priority != levelWaiting {
			b.ready--
			b.bytes -= int64(s.size)
		}
	case slotHeld:
		b.unhold(r)
	}
	if s.resident() {
		b.resident -= int64(s.size)
	}
	b.live--
	l.remove(r)
}

// find returns the place of the message with this seq and, if it is not stored,
// this number. For one that is stored, n is 0. Those that wait for their time are
// not found, see findWaiting.
func (b *backlog) find(seq, n uint64) (ref, bool) {
	for _, l := range b.levels {
		if l.priority == levelWaiting {
			continue
		}
		if at, ok := l.find(seq, n); ok {
			return at, true
		}
	}
	return ref{}, false
}

// each calls fn for every message that is not settled, first those that wait for
// their time, then the highest priority and
// of that the oldest first, until it returns false. A ref into a packed chunk is
// of a copy: it is good for reading.
func (b *backlog) each(fn func(at ref) bool) {
	for _, l := range b.levels {
		if !l.each(fn) {
			return
		}
	}
}
