package destinations

// dispatch gives out what is ready in q, and what its reader makes ready.
func (m *Machine) dispatch(q *queue, out *Effects) {
	m.giveOut(q, out)
	for q.reader != nil && q.ready == 0 && m.read(q, out) {
		m.giveOut(q, out)
	}
}

// giveOut gives the ready messages of q to the consumers that have credit, each
// in turn.
func (m *Machine) giveOut(q *queue, out *Effects) {
	switch {
	case len(q.views) > 0 || q.groups != nil:
		m.dispatchViews(q, out)
		return
	case q.browser != nil:
		m.showNext(q, out)
		return
	}
	for q.ready > 0 {
		src := q.next()
		if src == nil {
			return
		}
		at, ok := m.nextFit(q, out)
		if !ok {
			q.putBack(src)
			return
		}
		if at.group() != "" {
			q.putBack(src)
			m.dispatchViews(q, out)
			return
		}
		q.fly(at)
		m.deliver(src, at, out)
		q.join(src)
	}
}

// dispatchViews does that for a queue with selectors or groups. Of those who want some
// message, the one of the highest priority is next; among equals, views take
// turns.
func (m *Machine) dispatchViews(q *queue, out *Effects) {
	for _, v := range q.views {
		m.look(v, out)
	}
	for {
		if q.groups != nil {
			m.servePark(q, out)
		}
		t, v, at := m.choose(q, out)
		if t == nil {
			break
		}
		src := q.nextOf(t)
		if src == nil {
			continue // of this turn nobody had credit
		}
		to := src
		if at.group() != "" {
			to = m.addressee(q, src, v, at)
		}
		if to != nil {
			q.fly(at)
			m.deliver(to, at, out)
		}
		if to == src {
			q.join(src)
		} else {
			q.putBack(src)
		}
		if v != nil {
			m.look(v, out)
		}
	}
	for _, v := range q.views {
		if v.doubt.len() > 0 {
			m.look(v, out)
		}
	}
}

// choose returns the turn of those who get the next message, their view and the
// message; without a view it is of those who take everything.
func (m *Machine) choose(q *queue, out *Effects) (best *turns, from *view, next ref) {
	var priority, served int
	n := len(q.views) + 1
	for i := range n {
		k := (q.served + 1 + i) % n
		t, v := &q.turns, (*view)(nil)
		if k > 0 {
			v = q.views[k-1]
			t = &v.turns
		}
		p, ok := t.top()
		if !ok || best != nil && p <= priority {
			continue
		}
		if at, ok := m.nextIn(q, v, out); ok {
			best, from, next, priority, served = t, v, at, p, k
		}
	}
	q.served = served
	return best, from, next
}

// nextIn is nextFit for those of a view.
func (m *Machine) nextIn(q *queue, v *view, out *Effects) (ref, bool) {
	if v == nil {
		return m.nextFit(q, out)
	}
	for {
		at, ok := v.first()
		if !ok {
			return at, false
		}
		switch m.fitness(q, at, out) {
		case fit:
			return at, true
		case waiting:
			return at, false
		}
	}
}

func (m *Machine) deliver(src *source, at ref, out *Effects) {
	s, sl := src.sub, at.slot()
	tag := s.flights.add(src.queue, at)
	if due := m.ackDue(s, src.queue); due > 0 {
		s.flights.get(tag).due = due
		m.expect(s, due)
	}
	s.out++
	s.granted--
	s.outBytes += int64(sl.size)
	m.stir(src.queue)
	if s.byID != nil {
		s.remember(m.id(sl), tag)
	}
	first := at.group() != "" && m.delivered(src, at)
	m.emit(src, at, tag, out).GroupFirst = first
}

// emit puts the delivery of a message out, and returns it.
func (m *Machine) emit(src *source, at ref, tag uint64, out *Effects) *Delivery {
	q, s, sl := src.queue, src.sub, at.slot()
	o := out.output()
	o.Kind, o.Session = Deliver, s.session.id
	d := &o.Delivery
	d.Label = src.labelled(q.origin(sl.msg))
	d.Tag = tag
	d.ID = m.id(sl)
	d.Message = at.message()
	d.Size = max(sl.size, messageOverhead) - messageOverhead
	d.Redelivered = sl.returned() || sl.stored() && sl.seq < m.start || q.astray(sl)
	d.Deliveries = min(sl.attempts, maxAttempts-1) + 1
	d.Dead = at.deadLetter()
	if content := at.logged(); content != 0 {
		o.After = content
		if sl.stored() {
			o.After = sl.seq
		}
		d.Content = content
		out.Sync = out.Sync || !q.lasts(sl) // nobody has asked for it when it was spilled
	}
	return d
}

// labelled returns the label of what src delivers that was sent to d. Mostly it
// is the one of the delivery before.
func (src *source) labelled(d Destination) *Label {
	if l := src.label; l != nil && l.Destination == d {
		return l
	}
	s := src.sub
	src.label = &Label{
		Subscription: s.id,
		Sub:          s.number,
		Ack:          s.consumer.Ack,
		Copy:         src.queue.destination.Topic,
		Destination:  d,
	}
	return src.label
}

func (m *Machine) id(s *slot) MessageID {
	if s.stored() {
		return MessageID{Seq: s.seq}
	}
	return MessageID{Seq: m.start, N: s.msg.n}
}
