package destinations

// dispatch gives the ready messages of q to the consumers that have credit,
// each in turn.
func (m *Machine) dispatch(q *queue, out *Effects) {
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
		q.fly(at)
		m.deliver(src, at, out)
		q.join(src)
	}
}

func (m *Machine) deliver(src *source, at ref, out *Effects) {
	q, s, sl := src.queue, src.sub, at.slot()
	tag := s.flights.add(q, at)
	s.out++
	s.outBytes += int64(sl.size)
	id := m.id(sl)
	if s.byID != nil {
		s.byID[id] = tag
	}
	o := Output{Kind: Deliver, Session: s.session.id, Delivery: Delivery{
		Subscription: s.id,
		Sub:          s.number,
		Tag:          tag,
		Ack:          s.consumer.Ack,
		ID:           id,
		Destination:  q.origin(sl.msg),
		Message:      sl.msg,
		Size:         int64(sl.size) - messageOverhead,
		Redelivered:  sl.returned() || sl.stored() && sl.seq < m.start,
		Deliveries:   int(sl.attempts) + 1,
		Dead:         at.deadLetter(),
	}}
	if sl.stored() {
		o.After = sl.seq
		o.Delivery.Content = at.content()
	}
	out.Outputs = append(out.Outputs, o)
}

func (m *Machine) id(s *slot) MessageID {
	if s.stored() {
		return MessageID{Seq: s.seq}
	}
	return MessageID{Seq: m.start, N: s.msg.n}
}
