package destinations

import "fmt"

// send puts a message into a queue or hands it to a topic's subscribers.
func (m *Machine) send(c *Command, out *Effects) error {
	need := needs(c.Destination, c.Message, c.DiskLow)
	if m.makes(c.Destination) {
		need += queueBytes
	}
	if err := m.admit(need); err != nil {
		return err
	}
	m.accept(c.Destination, c.Message, c.DiskLow, out)
	return nil
}

// needs is the memory that a message cannot do without. The content of one that
// is stored can stay in the log; so can any other, but a topic's.
func needs(d Destination, msg *Message, diskLow bool) int64 {
	if d.Topic || diskLow && !msg.Persistent {
		return msg.size()
	}
	return 0
}

// makes says whether a message for d makes a queue.
func (m *Machine) makes(d Destination) bool { return !d.Topic && m.find(d.Name) == nil }

// admit checks that so much more may be in memory.
func (m *Machine) admit(size int64) error {
	if size > 0 && m.bytes+size > m.opts.MemoryBytes {
		return &Error{Code: CodeMemoryFull, Text: fmt.Sprintf(
			"the broker holds %d octets of messages and queues and may hold %d: try again when some were consumed", m.bytes, m.opts.MemoryBytes)}
	}
	return nil
}

func (m *Machine) accept(d Destination, msg *Message, diskLow bool, out *Effects) {
	switch {
	case d.Topic:
		m.publish(d, msg, out)
	case msg.Persistent || !diskLow && !m.room(m.queue(d.Name), msg.size()):
		m.record(record{kind: KindEnqueue, queue: d.Name, msg: msg}, out)
	default:
		m.number(msg)
		m.push(m.queue(d.Name), slot{seq: m.last, msg: msg, size: slotSize(msg)}, msg.priority(), extra{props: msg.Props.waits()})
	}
}

// number names a message that is not stored.
func (m *Machine) number(msg *Message) {
	m.unstored++
	msg.n = m.unstored
}

// publish gives a copy to each subscriber of a topic.
func (m *Machine) publish(d Destination, msg *Message, out *Effects) {
	t := m.topics[d.Name]
	if t == nil {
		return
	}
	m.number(msg)
	for _, s := range t.places {
		if s != nil {
			m.offer(s, msg, out)
		}
	}
}

// offer gives a copy to one subscriber, within its limit.
func (m *Machine) offer(s *subscription, msg *Message, out *Effects) {
	q, p := s.queue, &s.queue.policy.Pending
	full := q.ready >= p.Messages || q.ready > 0 && q.bytes+msg.size() > p.Bytes
	if full && (p.Policy == DropNew || p.Policy == DisconnectPending) {
		out.Dropped++
		if p.Policy == DisconnectPending && !s.session.evicted {
			s.session.evicted = true
			out.Outputs = append(out.Outputs, Output{Kind: Evict, Session: s.session.id, Err: &Error{
				Code: CodeSlowConsumer,
				Text: fmt.Sprintf("subscription %s is too slow for %s: %d messages wait for it", quote(s.id), q.destination, q.ready),
			}})
		}
		return
	}
	for q.ready > 0 && (q.ready >= p.Messages || q.bytes+msg.size() > p.Bytes) {
		m.discard(q, q.take())
		out.Dropped++
	}
	m.push(q, slot{seq: m.last, msg: msg, size: slotSize(msg)}, msg.priority(), extra{props: msg.Props.waits()})
	m.dispatch(q, out)
}
