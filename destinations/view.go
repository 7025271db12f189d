package destinations

import (
	"slices"

	"baton/destinations/selector"
)

// A view is what consumers with one selector see of a queue: the ready messages
// that match. They are looked for ahead of the consumers' credit, from the front
// of the queue on, so that a match is found behind any number of others.
//
//	backlog  [. . m . . . m . . . . . . . . . . .]
//	              found    found     ^ seen        nothing behind it was looked at
//
// What is only in the log is not read here: the caller is asked to examine it
// and answers with Examined. Until then nothing behind it is given out.
//
// A message that was looked at while it was in flight, or was found and taken by
// another consumer, is looked at again when it returns: see queue.giveBack.
type view struct {
	queue    *queue
	number   uint64 // among all there ever are
	selector *selector.Selector
	members  int
	turns    turns
	found    places    // that matched when they were looked at, and may have gone since
	again    places    // to be looked at again
	doubt    places    // held until it is known whether they match, see Machine.doubt
	asked    []inquiry // what the caller was asked to examine, in order
	waiting  bool      // for its answer
	seen     []place   // by level: up to where it was looked at
}

const (
	// viewAhead is how many matches are known before they are needed.
	viewAhead = 256
	// viewSlots is how many messages one Step looks at for a view: then others
	// have their turn.
	viewSlots = 4096
	// viewReads is how many the caller is asked to examine at once.
	viewReads = 1024
	// viewBytes is counted for each view. None is refused for want of memory:
	// consumers are what makes room.
	viewBytes = 2048
)

// An inquiry is one message that the caller was asked to examine.
type inquiry struct {
	place
	content uint64 // Seq of the entry that holds it
	size    uint32
}

// An Examination asks which of some messages, whose content is only in the log,
// match a selector. The caller reads them and answers with Examined. Without a
// selector it asks for the messages themselves.
type Examination struct {
	Queue    Destination
	Selector *selector.Selector
	Contents []uint64   // Seqs of the entries that hold the messages; may be none
	Largest  int64      // octets of the largest of them; without a Selector, of all
	Matches  []bool     // the answer, by Contents; if shorter, the rest was not examined
	Messages []*Message // the answer if there is no Selector, by Contents; nil: it cannot be read; if shorter, the rest was not read
	waiting  uint64     // Seq of that message in Queue
	view     uint64     // that asks
	burial   uint64     // or Seq of the spilled copy that is to be a dead letter; 0: there is none
	copies   *queue     // or, of the browser or the reader that asks; nil: neither does
}

// view returns that of q for a selector, made if there is none.
func (m *Machine) view(q *queue, sel *selector.Selector) *view {
	for _, v := range q.views {
		if v.selector.String() == sel.String() {
			return v
		}
	}
	m.viewed++
	v := &view{queue: q, number: m.viewed, selector: sel}
	q.views = append(q.views, v)
	m.bytes += viewBytes
	return v
}

// forgetView takes a member from v and ends it with the last. v may be nil.
func (m *Machine) forgetView(v *view) {
	if v == nil {
		return
	}
	if v.members--; v.members == 0 {
		v.queue.views = slices.DeleteFunc(v.queue.views, func(other *view) bool { return other == v })
		m.bytes -= viewBytes
	}
}

// selects says whether a message in memory matches.
func (m *Machine) selects(sel *selector.Selector, msg *Message) bool {
	return sel == nil || sel.Matches(m.opts.Fields(msg))
}

// returned notes that a message is ready again.
func (v *view) returned(at ref) {
	if p := placeOf(at); p.compare(v.upTo(p.priority)) <= 0 {
		v.again.add(p)
	}
}

// upTo is the place up to which the level of a priority was looked at.
func (v *view) upTo(priority uint8) place {
	for _, p := range v.seen {
		if p.priority == priority {
			return p
		}
	}
	return place{priority: priority}
}

func (v *view) see(p place) {
	for i := range v.seen {
		if v.seen[i].priority == p.priority {
			v.seen[i] = p
			return
		}
	}
	v.seen = append(v.seen, p)
}

// look looks for matches until enough are known, or the caller must be asked.
func (m *Machine) look(v *view, out *Effects) {
	if v.waiting {
		return
	}
	for p := range v.doubt.all() {
		if len(v.asked) == viewReads/2 {
			break
		}
		if at, ok := v.queue.find(p.seq, p.n); ok {
			v.asked = append(v.asked, inquiry{p, at.content(), at.slot().size})
		}
	}
	left := viewSlots
	if !v.turns.empty() {
		left = m.lookAhead(v, left)
	}
	if len(v.asked) > 0 || left <= 0 {
		m.ask(v, out)
	}
}

// lookAhead looks at so many messages at most, and returns how many are left of
// them.
func (m *Machine) lookAhead(v *view, left int) int {
	can := func() bool { return left > 0 && len(v.asked) < viewReads }
	more := func() bool { return can() && v.found.len() < viewAhead }
	for can() && v.again.len() > 0 {
		left--
		if at, ok := v.queue.find(v.again.first().seq, v.again.first().n); ok {
			m.lookAt(v, at)
		}
		v.again.take()
	}
	for _, l := range v.queue.levels {
		if !more() {
			break
		}
		if l.priority == levelWaiting {
			continue
		}
		l.after(v.upTo(l.priority), func(at ref) bool {
			left--
			v.see(placeOf(at))
			m.lookAt(v, at)
			return more()
		})
	}
	return left
}

// lookAt looks at one message. One that is not ready is looked at when it
// returns.
func (m *Machine) lookAt(v *view, at ref) {
	switch s := at.slot(); {
	case s.state != slotReady:
	case s.msg == nil:
		v.asked = append(v.asked, inquiry{placeOf(at), at.content(), s.size})
	case m.selects(v.selector, s.msg):
		v.found.add(placeOf(at))
	}
}

// ask has the caller examine what was asked for. With nothing to read it is only
// to come back: other commands come first.
func (m *Machine) ask(v *view, out *Effects) {
	v.waiting = true
	slices.SortFunc(v.asked, func(a, b inquiry) int { return a.compare(b.place) })
	m.inquire(&Examination{Queue: v.queue.destination, Selector: v.selector, view: v.number}, v.asked, out)
}

// inquire asks the caller to examine what was asked for, in order.
func (m *Machine) inquire(e *Examination, asked []inquiry, out *Effects) {
	var after uint64
	for _, p := range asked {
		e.Contents = append(e.Contents, p.content)
		e.Largest = max(e.Largest, int64(p.size))
		after = max(after, p.seq)
	}
	out.Outputs = append(out.Outputs, Output{Kind: Examine, After: after, Examination: e})
}

// examined takes the answer to an Examination. What has changed meanwhile is
// found out when it is taken.
func (m *Machine) examined(e *Examination, out *Effects) {
	q := m.find(e.Queue.Name)
	if q == nil {
		return
	}
	i := slices.IndexFunc(q.views, func(v *view) bool { return v.number == e.view })
	if i < 0 {
		return
	}
	v := q.views[i]
	for i, p := range v.asked {
		known := i < len(e.Matches)
		switch {
		case v.doubt.has(p.place):
			if known {
				m.decide(v, p.place, e.Matches[i])
			}
		case !known:
			v.again.add(p.place)
		case e.Matches[i]:
			v.found.add(p.place)
		default:
			m.unwanted(v, p.place, out)
		}
	}
	v.asked, v.waiting = v.asked[:0], false
	m.touch(q)
}

// first returns the first message that is known to match, unless one before it
// has not been looked at yet.
func (v *view) first() (ref, bool) {
	for v.found.len() > 0 {
		p := v.found.first()
		if len(v.asked) > 0 && v.asked[0].compare(p) < 0 || v.again.len() > 0 && v.again.first().compare(p) < 0 {
			return ref{}, false
		}
		if at, ok := v.queue.find(p.seq, p.n); ok && at.slot().state == slotReady {
			return at, true
		}
		v.found.take()
	}
	return ref{}, false
}
