package destinations

import (
	"fmt"
	"slices"
)

// hold keeps the acknowledgement of what c covers for its transaction. The
// credit returns at once: a client that takes more messages in a transaction
// than its prefetch would otherwise wait for ever for the next.
func (m *Machine) hold(s *subscription, tag uint64, c *Command) {
	ses := s.session
	more := c.more()
	tx := ses.transactions[more.Tx]
	if tx == nil {
		tx = &transaction{}
		if ses.transactions == nil {
			ses.transactions = map[string]*transaction{}
		}
		ses.transactions[more.Tx] = tx
	}
	s.covered(tag, func(tag uint64, fl *flight) {
		fl.tx = tx
		tx.size += entrySize(fl.at.slot(), c.Op == Nack)
		if n := len(tx.held); c.Op == Ack && (n == 0 || tx.held[n-1].sub != s || tx.held[n-1].nack) {
			tx.size += maxHeadBytes // an ACK that begins a settle of its own
		}
		s.out--
		s.outBytes -= int64(fl.at.slot().size)
		tx.held = append(tx.held, held{sub: s, tag: tag, nack: c.Op == Nack, refusal: more.Refusal})
	})
	if s.consumer.Ack == AckClient {
		s.open = max(s.open, tag+1)
	}
}

// entrySize bounds what a held acknowledgement takes in the log: an ACK part
// of a settle, a NACK an entry, with the content if that is not stored yet.
func entrySize(s *slot, nack bool) int64 {
	switch {
	case !nack:
		return 16
	case s.stored():
		return maxHeadBytes
	}
	return int64(s.size) + maxHeadBytes
}

// commit carries out what a transaction held, and its sends.
func (m *Machine) commit(c *Command, out *Effects) error {
	sends := c.more().Sends
	for i := range sends {
		if err := m.mayCreateAll(&sends[i]); err != nil {
			return err
		}
	}
	sends = m.allRouted(sends)
	need, err := m.admitCommit(c, sends)
	if err != nil {
		return err
	}
	m.whole, m.reserved = true, need
	if tx := m.takeTransaction(c); tx != nil {
		m.carryOut(tx, out)
		m.sessions[c.Session].forgetLeft()
	}
	repeated := m.onlyDuplicates(sends)
	for i := range sends {
		last, number := m.last, m.unstored
		m.acceptOnce(c, &sends[i], repeated, out)
		if o := &sends[i]; o.Returned || o.Forwarded && o.Message.group() != "" {
			m.comes(o, last, number, out)
		}
	}
	m.whole, m.joined, m.reserved = false, false, 0
	return nil
}

// admitCommit checks that what is sent may be held and that the transaction
// fits into one batch of the log. It returns the memory that the sends need.
func (m *Machine) admitCommit(c *Command, sends []Outgoing) (need int64, err error) {
	var size int64
	made, drained := map[string]bool{}, map[string]bool{} // the queues that the sends make, and those in which place is made
	for i := range sends {
		size += m.logBytes(&sends[i], drained) + m.spillBytes(&sends[i])
		need += m.needs(&sends[i], c.DiskLow, made)
	}
	if err := m.admit(need); err != nil {
		return 0, err
	}
	ahead := map[*queue]tally{}
	for i := range sends {
		if err := m.admitPlace(c.more().Client, &sends[i], ahead); err != nil {
			return 0, err
		}
	}
	if tx := m.transaction(c); tx != nil {
		size += tx.size + m.buryBytes(tx, drained)
	}
	if size > m.opts.MaxCommitBytes {
		return 0, &Error{Code: CodeTransactionTooBig, Text: fmt.Sprintf(
			"the transaction would take up to %d octets in the journal and may take %d", size, m.opts.MaxCommitBytes)}
	}
	return need, nil
}

// carryOut settles and fails what the transaction held. Runs of ACKs of one
// subscription become one entry.
func (m *Machine) carryOut(tx *transaction, out *Effects) {
	var acked *subscription // of the run
	for _, h := range tx.held {
		fl := h.sub.flights.get(h.tag)
		if fl == nil || fl.tx != tx {
			continue // the subscription has ended
		}
		if h.nack || h.sub != acked {
			m.recordSettle(out)
		}
		acked = h.sub
		if h.nack {
			m.fail(h.sub, h.tag, h.refusal, out)
		} else {
			m.settleOne(h.sub, h.tag, fl, out)
		}
	}
	m.recordSettle(out)
}

// abort forgets what a transaction held: the messages are unacknowledged
// again, on the same subscriptions. Those of a subscription that has ended
// meanwhile return to their places.
func (m *Machine) abort(c *Command) {
	tx := m.takeTransaction(c)
	if tx == nil {
		return
	}
	for _, h := range tx.held {
		s := h.sub
		fl := s.flights.get(h.tag)
		switch {
		case fl == nil || fl.tx != tx:
			continue // it was a topic's copy and went with its subscription
		case s.closed:
			q := fl.queue
			m.giveBackFrom(s, q, m.land(s, h.tag))
			m.touch(q)
		default:
			fl.tx = nil
			m.expect(s, fl.due)
			s.out++
			s.outBytes += int64(fl.at.slot().size)
			s.open = min(s.open, h.tag)
		}
	}
	m.sessions[c.Session].forgetLeft()
}

// forgetLeft forgets the subscriptions of which no transaction holds anything
// any more.
func (ses *session) forgetLeft() {
	ses.leaving = slices.DeleteFunc(ses.leaving, func(s *subscription) bool { return s.flights.none() })
}

// transaction returns a transaction of the session; nil if it holds nothing.
func (m *Machine) transaction(c *Command) *transaction {
	ses := m.sessions[c.Session]
	if ses == nil {
		return nil
	}
	return ses.transactions[c.more().Tx]
}

// takeTransaction takes it out of the session.
func (m *Machine) takeTransaction(c *Command) *transaction {
	tx := m.transaction(c)
	if tx != nil {
		delete(m.sessions[c.Session].transactions, c.more().Tx)
	}
	return tx
}
