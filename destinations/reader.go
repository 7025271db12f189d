package destinations

import "slices"

// Retroactive says which of the messages that its topics have kept a subscription
// gets before the new ones: all, or of those of each topic
type Retroactive struct {
	Messages int   // the newest so many; 0: all
	Since    int64 // those sent at this time or later, in Unix ms; 0: all
}

// A reader gives a retroactive subscription what the archives of its topics have,
// as it has credit for it, each archive from the oldest on. What is published
// meanwhile on a topic goes into its archive, and there the reader finds it, in
// its place; when it has come to the end, the subscription gets what is new like
// others. So nothing comes twice, and nothing is passed over.
//
//	archive  [. . . . . . . . . . . .]  <- published
//	              upto ^
//
// What it gives are loans, which take no memory to speak of.
//
// An archive does not grow for a reader that is slow. What leaves an archive that
// the reader has not had joins the copies that wait for its subscription, within
// their limit. Only what is in the log alone by then is lost to it, and counted.
type reader struct {
	sub     *subscription
	cursors []cursor // of the archives that it has not read to the end; the first is read now
	asked   []inquiry
	waiting bool // for an answer of the caller
	looked  int  // at so many messages in the Step in progress
}

// A cursor is up to where an archive was read.
type cursor struct {
	archive *queue
	upto    place
}

const (
	// readSlots is how many messages one Step looks at for a reader: then others
	// have their turn.
	readSlots = 4096
	// readMessages and readBytes are how much the caller is asked for at once of
	// what is only in the log.
	readMessages = 64
	readBytes    = 1 << 20
	// roomPause is after how many ms a reader looks again whether there is room.
	roomPause = 1000
)

// lookBack gives a new subscription a reader, if it wants one and there is something
// to read.
func (m *Machine) lookBack(s *subscription) {
	want := s.consumer.Retroactive
	if want == nil || s.copies == nil {
		return
	}
	patterns := s.watches
	if len(patterns) == 0 {
		patterns = []Pattern{{s.topic}}
	}
	r := &reader{sub: s}
	for _, a := range m.archives(patterns...) {
		r.cursors = append(r.cursors, cursor{a, a.from(want)})
		a.archive.readers = append(a.archive.readers, r)
		a.consumers++
	}
	if len(r.cursors) > 0 {
		s.copies.reader = r
		m.touch(s.copies)
	}
}

// from is the place in an archive behind which everything is that is wanted.
func (q *queue) from(want *Retroactive) place {
	from := place{priority: DefaultPriority}
	if *want == (Retroactive{}) {
		return from
	}
	left := want.Messages
	q.level(DefaultPriority).backwards(func(at ref) bool {
		if want.Messages > 0 && left == 0 || at.props().Sent < want.Since {
			from = placeOf(at)
			return false
		}
		left--
		return true
	})
	return from
}

// backwards calls fn for the messages of the level that are not settled, the
// newest first, until it returns false. A ref into a packed chunk is of a copy.
func (l *level) backwards(fn func(at ref) bool) {
	for _, c := range slices.Backward(l.chunks) {
		if c.packed() {
			open := *c
			c = &open
			c.unpack()
		}
		for i := range slices.Backward(c.slots) {
			if c.slots[i].state != slotGone && !fn(ref{c, i}) {
				return
			}
		}
	}
}

// behind says whether r has still to read what is published on a topic.
func (r *reader) behind(topic string) bool {
	return r != nil && slices.ContainsFunc(r.cursors, func(c cursor) bool { return c.archive.archive.topic == topic })
}

// read puts copies of what r has next into q, as far as its subscription has
// credit, and says whether there are any.
func (m *Machine) read(q *queue, out *Effects) bool {
	r := q.reader
	for r.looked = 0; !r.waiting && len(r.asked) == 0 && len(r.cursors) > 0; {
		c := &r.cursors[0]
		if !c.archive.level(DefaultPriority).after(c.upto, func(at ref) bool { return m.readOne(r, at) }) {
			break
		}
		if len(r.asked) == 0 {
			m.closeCursor(r)
		}
	}
	switch {
	case r.waiting:
	case len(r.asked) > 0 || r.looked >= readSlots:
		m.askFor(r, out)
	case len(r.cursors) == 0:
		q.reader = nil
	}
	return q.ready > 0
}

// readOne reads one message, and says whether to go on behind it.
func (m *Machine) readOne(r *reader, at ref) bool {
	c, sl := &r.cursors[0], at.slot()
	switch {
	case r.looked >= readSlots || sl.state != slotReady: // which is about to be handed over
		return false
	case !m.mayRead(r, at):
		r.looked++
		c.upto = placeOf(at)
		return true
	case !r.hasCredit():
		return false
	case !m.mayLend(r, at):
		m.wake(r.sub.copies, m.millis+roomPause)
		return false
	}
	unknown := sl.msg == nil && r.sub.consumer.Selector != nil
	if !unknown && len(r.asked) > 0 { // what is asked for comes first
		return false
	}
	r.looked++
	c.upto = placeOf(at)
	if unknown {
		r.asked = append(r.asked, inquiry{placeOf(at), at.content(), sl.size})
		m.spilled.add(at.content(), int64(sl.size)) // it may leave the archive meanwhile
		return len(r.asked) < readMessages
	}
	if sl.msg == nil || m.selects(r.sub.consumer.Selector, sl.msg) {
		m.lend(r.sub, c.archive, at)
	}
	return true
}

// mayLend says whether there is room for what a copy takes in memory. One that has
// none gets it in any case: others cannot shut it out.
func (m *Machine) mayLend(r *reader, at ref) bool {
	s := r.sub
	return s.out+s.copies.ready+len(r.asked) == 0 || m.room(s.copies, messageOverhead+at.props().textBytes())
}

// mayRead says whether r may have a message, whatever is in it.
func (m *Machine) mayRead(r *reader, at ref) bool {
	own := r.sub.consumer.NoLocal && m.sentBy(at) == r.sub.session.id
	return !own && at.c.extra(at.i).expires() > m.millis
}

// hasCredit says whether r may read a further message, with those that wait
// already.
func (r *reader) hasCredit() bool {
	s, bytes := r.sub, int64(0)
	for _, a := range r.asked {
		bytes += int64(a.size)
	}
	q := s.copies
	return s.out+q.ready+len(r.asked) < s.consumer.Prefetch && s.outBytes+q.bytes+bytes < s.consumer.PrefetchBytes &&
		(len(r.asked) == 0 || bytes < readBytes)
}

// closeCursor ends the reading of the first archive.
func (m *Machine) closeCursor(r *reader) {
	a := r.cursors[0].archive
	r.cursors = r.cursors[1:]
	a.archive.readers = slices.DeleteFunc(a.archive.readers, func(other *reader) bool { return other == r })
	a.consumers--
	m.collect(a)
}

// closeReader ends the reader of a queue of copies, if there is one.
func (m *Machine) closeReader(q *queue) {
	if q == nil || q.reader == nil {
		return
	}
	for _, a := range q.reader.asked {
		m.letSpillGo(a.content, int64(a.size))
	}
	for len(q.reader.cursors) > 0 {
		m.closeCursor(q.reader)
	}
	q.reader = nil
}

// askFor has the caller bring what is only in the log. With nothing to bring it is
// only to come back: other commands come first.
func (m *Machine) askFor(r *reader, out *Effects) {
	r.waiting = true
	e := &Examination{Queue: r.cursors[0].archive.destination, copies: r.sub.copies}
	var after uint64
	for _, a := range r.asked {
		e.Contents = append(e.Contents, a.content)
		e.Largest += int64(a.size)
		after = max(after, a.seq)
	}
	out.Outputs = append(out.Outputs, Output{Kind: Examine, After: after, Examination: e})
}

// broughtFor takes the answer for the reader of q. What was not brought is asked for again, and what
// cannot be read is passed over.
func (m *Machine) broughtFor(q *queue, e *Examination, out *Effects) {
	r := q.reader
	if r == nil {
		return // the subscription has ended
	}
	r.waiting = false
	topic := r.cursors[0].archive.archive.topic
	for len(r.asked) > 0 && len(e.Messages) > 0 {
		switch a, msg := r.asked[0], e.Messages[0]; {
		case msg != nil && m.selects(r.sub.consumer.Selector, msg):
			m.pushLoan(r.sub, topic, a.size, msg.Props, extra{content: a.content})
		case msg == nil:
			m.lost(r.sub, nil, 1, out)
			fallthrough
		default:
			m.letSpillGo(a.content, int64(a.size))
		}
		r.asked, e.Messages = r.asked[1:], e.Messages[1:]
	}
	m.touch(q)
}

// passOn gives a message that is about to leave an archive to the readers that
// have not had it.
func (m *Machine) passOn(q *queue, at ref, out *Effects) {
	if len(q.archive.readers) == 0 {
		return
	}
	// A transaction was not asked whether there is room for that in its batch.
	spillable := m.spillable
	m.spillable, m.spilledAs = spillable && !m.whole, 0
	for _, r := range slices.Clone(q.archive.readers) { // which they may leave
		i := slices.IndexFunc(r.cursors, func(c cursor) bool { return c.archive == q })
		if i < 0 || placeOf(at).compare(r.cursors[i].upto) <= 0 || !m.mayRead(r, at) {
			continue
		}
		msg := at.slot().msg
		switch {
		case msg == nil || i == 0 && len(r.asked) > 0:
			m.lost(r.sub, msg, 1, out)
		case m.selects(r.sub.consumer.Selector, msg):
			r.cursors[i].upto = placeOf(at)
			if m.mayWait(r.sub, msg, out) {
				m.lend(r.sub, q, at)
				m.dispatch(r.sub.copies, out)
			}
		}
		m.touch(r.sub.copies)
	}
	m.spillable = spillable
}
