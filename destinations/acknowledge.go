package destinations

import (
	"fmt"
	"sort"
)

// acknowledge carries out an ACK or NACK, or holds it for its transaction.
func (m *Machine) acknowledge(c *Command, out *Effects) error {
	s, tag, err := m.locate(c)
	if err != nil || s == nil || s.consumer.Ack == AckAuto {
		return err
	}
	switch {
	case c.Op == Nack && c.more().Extend > 0:
		m.extend(s, tag, c.more().Extend)
	case c.more().Tx != "":
		m.hold(s, tag, c)
	case c.Op == Ack:
		m.settle(s, tag, out)
	default:
		s.covered(tag, func(tag uint64, _ *flight) { m.fail(s, tag, c.more().Refusal, out) })
	}
	m.replenish(s)
	return nil
}

// locate finds the delivery that c is about. A delivery that was made but is
// settled or given back, because of a race with the broker, gives no error and
// no subscription.
func (m *Machine) locate(c *Command) (*subscription, uint64, error) {
	ses := m.sessions[c.Session]
	if c.Delivery.ByMessage {
		return m.locateMessage(ses, c)
	}
	d := c.Delivery
	if ses == nil || d.Sub == 0 || d.Sub > ses.lastSub {
		return nil, 0, unknownAck(c)
	}
	s := ses.numbered(d.Sub)
	if s == nil {
		return nil, 0, nil
	}
	if d.Tag == 0 || d.Tag > s.flights.last() {
		return nil, 0, unknownAck(c)
	}
	return s, d.Tag, nil
}

func (m *Machine) locateMessage(ses *session, c *Command) (*subscription, uint64, error) {
	d := c.Delivery
	if d.ID.Seq > m.last || d.ID.N > m.unstored {
		return nil, 0, unknownAck(c)
	}
	if ses == nil {
		return nil, 0, nil
	}
	for _, s := range ses.subs {
		if c.Subscription != "" && s.id != c.Subscription || d.Sub != 0 && s.number != d.Sub {
			continue
		}
		if tag, ok := s.byID[d.ID]; ok {
			return s, tag, nil
		}
	}
	return nil, 0, nil
}

func unknownAck(c *Command) error {
	return &Error{Code: CodeUnknownAck, Text: fmt.Sprintf(
		"no message was delivered on this connection with the id %s", quote(c.Delivery.String()))}
}

// numbered returns the subscription with this number, nil if it has ended.
func (ses *session) numbered(number uint32) *subscription {
	if n := len(ses.subs); n > 0 && ses.subs[n-1].number == number { // of most sessions, the only one
		return ses.subs[n-1]
	}
	i := sort.Search(len(ses.subs), func(i int) bool { return ses.subs[i].number >= number })
	if i < len(ses.subs) && ses.subs[i].number == number {
		return ses.subs[i]
	}
	return nil
}

// covered calls fn for each flight that an acknowledgement of tag is about:
// that one, or in client mode all up to it. Those that a transaction holds are
// answered already.
func (s *subscription) covered(tag uint64, fn func(tag uint64, fl *flight)) {
	if s.consumer.Ack == AckIndividual {
		if fl := s.flights.get(tag); fl != nil && fl.tx == nil {
			fn(tag, fl)
		}
		return
	}
	s.flights.each(s.open, tag, func(tag uint64, fl *flight) {
		if fl.tx == nil {
			fn(tag, fl)
		}
	})
}

// settle takes the messages that an ACK of tag covers out of the queue.
func (m *Machine) settle(s *subscription, tag uint64, out *Effects) {
	s.covered(tag, func(tag uint64, fl *flight) {
		m.settleOne(s, tag, fl, out)
	})
}

// settleOne takes one message out of its queue. If it is stored, recordSettle is
// what does it: one entry for a run of messages of the same queue, at the latest
// when the batch ends.
func (m *Machine) settleOne(s *subscription, tag uint64, fl *flight, out *Effects) {
	q := fl.queue
	if !q.lasts(fl.at.slot()) {
		m.discard(q, m.land(s, tag))
		m.collect(q)
		return
	}
	m.settling(q, out)
	m.seqs = append(m.seqs, fl.at.slot().seq)
	m.refs = append(m.refs, m.land(s, tag))
}

// settling says of which queue the messages are that are put into m.seqs next.
func (m *Machine) settling(q *queue, out *Effects) {
	if q != m.settled {
		m.recordSettle(out)
		m.settled = q
	}
}

// recordSettle settles the messages in m.seqs.
func (m *Machine) recordSettle(out *Effects) {
	if len(m.seqs) > 0 {
		r := record{kind: KindSettle, queue: m.settled.destination.Name, seqs: m.seqs}
		if len(m.refs) == len(m.seqs) {
			r.refs = m.refs
		}
		m.record(&r, out)
	}
	clear(m.refs)
	m.seqs, m.refs, m.settled = m.seqs[:0], m.refs[:0], nil
}

// maxJoined is from how many messages on no further Step of a batch joins.
const maxJoined = 1024

// joins says that what c settles may be recorded together with what other Steps of
// the batch settle.
func (m *Machine) joins(c *Command) bool {
	return (c.Op == Ack || c.Op == Sent) && len(m.seqs) < maxJoined
}

// Finish ends a batch of Steps whose Effects continue.
func (m *Machine) Finish(out *Effects) { m.recordSettle(out) }

// land ends a flight and returns its credit. The message stays in flight in
// the queue: the caller says what becomes of it.
func (m *Machine) land(s *subscription, tag uint64) ref {
	fl := s.flights.get(tag)
	q, at := fl.queue, fl.at
	m.stir(q)
	if fl.tx == nil {
		s.out--
		s.outBytes -= int64(at.slot().size)
	}
	if s.byID != nil {
		s.forget(m.id(at.slot()), tag)
	}
	s.flights.remove(tag)
	if q.groups != nil {
		m.landed(s, q, at)
	}
	return at
}

// sent settles what an auto subscription was sent.
func (m *Machine) sent(c *Command, out *Effects) {
	ses := m.sessions[c.Session]
	if ses == nil {
		return
	}
	s := ses.numbered(c.Delivery.Sub)
	if s == nil || s.consumer.Ack != AckAuto {
		return
	}
	m.settle(s, c.Delivery.Tag, out)
	m.replenish(s)
}

// unreadable sets a delivery aside of which the content could not be read:
// until a restart, when it may be readable again, the message is left alone. A
// spilled copy is lost. What a transaction holds is answered already.
func (m *Machine) unreadable(c *Command, out *Effects) {
	ses := m.sessions[c.Session]
	if ses == nil {
		return
	}
	s := ses.numbered(c.Delivery.Sub)
	if s == nil {
		return
	}
	fl := s.flights.get(c.Delivery.Tag)
	if fl == nil || fl.tx != nil {
		return
	}
	switch q := fl.queue; {
	case q.browser != nil:
		m.settleOne(s, c.Delivery.Tag, fl, out)
	case fl.at.logged() == 0:
		return
	case q == s.copies:
		m.lost(s, nil, 1, out)
		m.settleOne(s, c.Delivery.Tag, fl, out)
	default:
		q.setAside(m.land(s, c.Delivery.Tag))
		m.aside++
		out.SetAside++
	}
	m.replenish(s)
}
