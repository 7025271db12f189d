package destinations

// A browser gets a copy of each message that was in a queue when it came, whether
// or not a consumer has it at the moment, and then an end. It disturbs nobody:
// its copies wait in a queue of its own, as those of a topic's subscriber do, and
// are settled when they were written.
type browser struct {
	of      Destination
	upto    place     // the newest when it came: what is newer is not shown
	at      place     // up to where it was looked at
	asked   []inquiry // of that, what the caller was asked to examine, in order
	found   []place   // and what it said matches, and is not shown yet
	waiting bool      // for the caller's answer
	done    bool
}

// browse makes the queue of a browser's copies.
func (m *Machine) browse(c *Command) (*queue, error) {
	if len(c.More.Sources) == 1 && c.More.Sources[0].named.virtual() {
		c.Destination, c.More.Sources = c.More.Sources[0].named, nil
	}
	if len(c.More.Sources) > 0 || c.Destination.Topic || c.Consumer.Durable != (DurableID{}) {
		return nil, destinationError("a browser looks into one queue; it can have neither topics, nor wildcards, nor several destinations")
	}
	c.Consumer.Ack, c.Consumer.ByMessageID = AckAuto, false
	return &queue{
		destination: c.Destination,
		policy:      m.policies.of(c.Destination),
		browser:     &browser{of: c.Destination, upto: place{seq: m.last, n: m.unstored}, at: place{priority: 1<<8 - 1}},
	}, nil
}

// showNext shows a browser, whose copies wait in q, what it has credit for. With
// a selector it is shown what matches; the caller examines what is only in the
// log, and nothing behind that is shown before the answer.
func (m *Machine) showNext(q *queue, out *Effects) {
	b := q.browser
	if b.done || b.waiting {
		return
	}
	src := q.next()
	if src == nil {
		return
	}
	ended, left := true, viewSlots
	if of := m.queues[b.of.Name]; of != nil {
		m.showFound(src, of, out)
		ended = len(b.found)+len(b.asked) == 0 && m.showLevels(src, of, &left, out)
	}
	switch s := src.sub; {
	case len(b.found) > 0:
	case len(b.asked) > 0 || left == 0:
		b.waiting = true
		m.inquire(&Examination{Queue: b.of, Selector: s.consumer.Selector, copies: q}, b.asked, out)
	case ended && s.hasCredit():
		b.done = true
		out.Outputs = append(out.Outputs, Output{Kind: Browsed, Session: s.session.id, Delivery: Delivery{Label: src.labelled(b.of)}})
	}
	q.join(src)
}

// showFound shows what the caller said matches.
func (m *Machine) showFound(src *source, of *queue, out *Effects) {
	b := src.queue.browser
	for len(b.found) > 0 && src.sub.hasCredit() {
		p := b.found[0]
		b.found = b.found[1:]
		if at, ok := of.find(p.seq, p.n); ok && m.shows(at) {
			m.showOne(src, at, out)
		}
	}
}

// showLevels shows what is behind the last that was looked at, left messages at
// most, and says whether it came to the end.
func (m *Machine) showLevels(src *source, of *queue, left *int, out *Effects) bool {
	for _, l := range of.levels {
		if !m.showLevel(src, l, left, out) {
			return false
		}
	}
	return true
}

func (m *Machine) showLevel(src *source, l *level, left *int, out *Effects) (ended bool) {
	b := src.queue.browser
	if l.priority == levelWaiting || l.priority > b.at.priority {
		return true
	}
	from := place{priority: l.priority}
	if l.priority == b.at.priority {
		from = b.at
	}
	ended = true
	l.after(from, func(at ref) bool {
		p := placeOf(at)
		if b.upto.older(p) {
			return false
		}
		if ended = src.sub.hasCredit() && *left > 0 && m.glance(src, at, out); ended {
			b.at = p
			*left--
		}
		return ended
	})
	return ended
}

// shows says that a message is one for browsers.
func (m *Machine) shows(at ref) bool {
	return at.slot().state != slotAside && at.c.extra(at.i).expires() > m.millis
}

// glance shows a message if it matches, or asks the caller. It returns false
// for one that is not to be passed before the caller has answered.
func (m *Machine) glance(src *source, at ref, out *Effects) bool {
	b, sel, s := src.queue.browser, src.sub.consumer.Selector, at.slot()
	switch {
	case !m.shows(at):
	case sel != nil && s.msg == nil:
		if len(b.asked) == viewReads {
			return false
		}
		b.asked = append(b.asked, inquiry{placeOf(at), at.content(), s.size})
	case sel != nil && !m.selects(sel, s.msg):
	case len(b.asked) > 0:
		return false
	default:
		m.showOne(src, at, out)
	}
	return true
}

// glanced takes the caller's answer for a browser.
func (m *Machine) glanced(e *Examination) {
	b := e.copies.browser
	for i, matches := range e.Matches {
		if matches {
			b.found = append(b.found, b.asked[i].place)
		}
	}
	b.asked, b.waiting = b.asked[len(e.Matches):], false
	m.touch(e.copies)
}

// showOne delivers a copy of one message.
func (m *Machine) showOne(src *source, at ref, out *Effects) {
	s, msg := at.slot(), at.slot().msg
	if msg == nil {
		msg = &Message{} // its content is read from the log
	}
	src.queue.backlog.push(slot{seq: m.last, msg: msg, size: s.size}, DefaultPriority)
	m.retain(msg)
	copied := src.queue.take()
	tag := src.sub.flights.add(src.queue, copied)
	src.sub.out++
	src.sub.outBytes += int64(s.size)
	m.emit(src, at, tag, out)
}
