package destinations

// A browser gets a copy of each message that was in a queue when it came, whether
// or not a consumer has it at the moment, and then an end. It disturbs nobody:
// its copies wait in a queue of its own, as those of a topic's subscriber do, and
// are settled when they were written.
type browser struct {
	of   Destination
	upto uint64 // Seq of the newest entry when it came: what is newer is not shown
	at   place  // up to where it was shown
	done bool
}

// browse makes the queue of a browser's copies.
func (m *Machine) browse(c *Command) (*queue, error) {
	switch {
	case len(c.Sources) > 0 || c.Destination.Topic || c.Consumer.Durable != DurableID{}:
		return nil, destinationError("a browser looks into one queue; it can have neither topics, nor wildcards, nor several destinations")
	case c.Consumer.Selector != nil:
		return nil, destinationError("a browser sees all messages of its queue; it can have no selector")
	}
	c.Consumer.Ack, c.Consumer.ByMessageID = AckAuto, false
	return &queue{
		destination: c.Destination,
		policy:      m.policies.of(c.Destination),
		browser:     &browser{of: c.Destination, upto: m.last, at: place{priority: 1<<8 - 1}},
	}, nil
}

// showNext shows a browser, whose copies wait in q, what it has credit for.
func (m *Machine) showNext(q *queue, out *Effects) {
	b := q.browser
	if b.done {
		return
	}
	src := q.next()
	if src == nil {
		return
	}
	if of := m.queues[b.of.Name]; of != nil {
		for _, l := range of.levels {
			m.showLevel(src, l, out)
		}
	}
	if s := src.sub; s.hasCredit() {
		b.done = true
		out.Outputs = append(out.Outputs, Output{Kind: Browsed, Session: s.session.id, Delivery: Delivery{
			Subscription: s.id, Sub: s.number, Destination: b.of,
		}})
	}
	q.join(src)
}

// showLevel shows what is behind the last that was shown.
func (m *Machine) showLevel(src *source, l *level, out *Effects) {
	b := src.queue.browser
	if l.priority == levelWaiting || l.priority > b.at.priority || !src.sub.hasCredit() {
		return
	}
	from := place{priority: l.priority}
	if l.priority == b.at.priority {
		from = b.at
	}
	l.after(from, func(at ref) bool {
		s := at.slot()
		if s.seq > b.upto {
			return false
		}
		b.at = placeOf(at)
		if s.state != slotAside && at.c.extra(at.i).expires() > m.millis {
			m.showOne(src, at, out)
		}
		return src.sub.hasCredit()
	})
}

// showOne delivers a copy of one message.
func (m *Machine) showOne(src *source, at ref, out *Effects) {
	s, msg := at.slot(), at.slot().msg
	if msg == nil {
		msg = &Message{} // its content is read from the log
	}
	src.queue.backlog.push(slot{seq: m.last, msg: msg, size: s.size}, DefaultPriority, extra{})
	if msg.refs++; msg.refs == 1 {
		m.bytes += msg.size()
	}
	copied := src.queue.take()
	tag := src.sub.flights.add(src.queue, copied)
	src.sub.out++
	src.sub.outBytes += int64(s.size)
	m.emit(src, at, tag, out)
}
