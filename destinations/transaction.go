package destinations

import "time"

// hold keeps the acknowledgement of what c covers for its transaction. The
// credit returns at once: a client that takes more messages in a transaction
// than its prefetch would otherwise wait for ever for the next.
func (m *Machine) hold(s *subscription, tag uint64, c *Command) {
	ses := s.session
	tx := ses.transactions[c.Tx]
	if tx == nil {
		tx = &transaction{}
		if ses.transactions == nil {
			ses.transactions = map[string]*transaction{}
		}
		ses.transactions[c.Tx] = tx
	}
	s.covered(tag, func(tag uint64, fl *flight) {
		fl.tx = tx
		s.out--
		s.outBytes -= int64(fl.at.slot().size)
		tx.held = append(tx.held, held{sub: s, tag: tag, nack: c.Op == Nack, reject: c.Reject})
	})
}

// commit carries out what a transaction held, and its sends.
func (m *Machine) commit(now time.Time, c *Command, out *Effects) error {
	var size int64
	for _, s := range c.Sends {
		size += s.Message.size()
	}
	if err := m.admit(size); len(c.Sends) > 0 && err != nil {
		return err
	}
	if tx := m.endTransaction(c); tx != nil {
		m.carryOut(now, tx, out)
	}
	for _, s := range c.Sends {
		m.accept(s.Destination, s.Message, out)
	}
	return nil
}

// carryOut settles and fails what the transaction held. Runs of ACKs of one
// subscription become one entry.
func (m *Machine) carryOut(now time.Time, tx *transaction, out *Effects) {
	m.seqs = m.seqs[:0]
	var acked *subscription
	flush := func() {
		if acked != nil {
			m.recordSettle(acked.queue, out)
		}
		m.seqs, acked = m.seqs[:0], nil
	}
	for _, h := range tx.held {
		fl := h.sub.flights.get(h.tag)
		if fl == nil || fl.tx != tx {
			continue // the subscription has ended
		}
		if h.nack || h.sub != acked {
			flush()
		}
		switch at := fl.at; {
		case h.nack:
			m.fail(now, h.sub, h.tag, h.reject, out)
		case at.slot().stored():
			acked = h.sub
			m.seqs = append(m.seqs, at.slot().seq)
			m.land(h.sub, h.tag)
		default:
			m.discard(h.sub.queue, m.land(h.sub, h.tag))
		}
	}
	flush()
}

// abort forgets what a transaction held: the messages are unacknowledged
// again, on the same subscriptions.
func (m *Machine) abort(c *Command) {
	tx := m.endTransaction(c)
	if tx == nil {
		return
	}
	for _, h := range tx.held {
		if fl := h.sub.flights.get(h.tag); fl != nil && fl.tx == tx {
			fl.tx = nil
			h.sub.out++
			h.sub.outBytes += int64(fl.at.slot().size)
		}
	}
}

// endTransaction removes a transaction of the session; nil if it held nothing.
func (m *Machine) endTransaction(c *Command) *transaction {
	ses := m.sessions[c.Session]
	if ses == nil {
		return nil
	}
	tx := ses.transactions[c.Tx]
	delete(ses.transactions, c.Tx)
	return tx
}
