package destinations

// A loan is a copy that a retroactive subscription has of a kept message. However
// many have one, and for however long, the content is there once: what is stored is
// read from the log, and what is not is in memory for all of them.
//
//	archive  [. . .][stored][not stored]
//	                 ^       ^
//	copies   [content: Seq] [kept: Message]
//
// It is a slot of a message of its own, which has a number and no content. The log
// keeps what is lent as it keeps what was spilled: see Machine.spilled.

// lend gives s a copy of a message of q, an archive.
func (m *Machine) lend(s *subscription, q *queue, at ref) {
	var x extra
	if sl := at.slot(); sl.stored() {
		x.content = at.content()
		m.spilled.add(x.content, int64(sl.size))
	} else {
		x.kept = sl.msg
		m.retain(sl.msg)
	}
	m.pushLoan(s, q.archive.topic, at.slot().size, at.props(), x)
}

// pushLoan puts a copy into the queue of those for s. x says where its content is.
func (m *Machine) pushLoan(s *subscription, topic string, size uint32, p *Props, x extra) {
	x.props = p.waits()
	msg := &Message{Props: x.props}
	m.published(msg, topic)
	m.number(msg)
	m.push(s.copies, slot{seq: m.last, msg: msg, size: size, marks: markLent}, DefaultPriority, &x)
}

// message returns what is at a place, nil if its content is only in the log.
func (r ref) message() *Message {
	if r.slot().lent() {
		return r.extra().kept
	}
	return r.slot().msg
}

// logged is the Seq of the entry that holds the content; 0: none does.
func (r ref) logged() uint64 {
	switch s := r.slot(); {
	case s.stored():
		return r.content()
	case s.lent():
		return r.extra().content
	}
	return 0
}
