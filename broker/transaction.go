package broker

import (
	"strconv"
	"time"

	"baton/broker/stomp"
	"baton/destinations"
)

// A transaction keeps the SENDs of an open transaction. What it acknowledges
// is held by the machine.
type transaction struct {
	id     string             // as the client says
	acks   *destinations.More // of what acknowledges in it: it names the transaction as the machine is told; no two of a session are alike, so that one that is parked is not mixed with the next
	sends  []destinations.Outgoing
	bytes  int // of the sends
	taken  int // from the budget, for them
	frames int
	copies int64     // that brokers must keep of it, as its SENDs say
	stored bool      // some of it is persistent
	used   time.Time // last
}

// begin opens a transaction (STOMP 1.2, "BEGIN").
func (s *session) begin(f *stomp.Frame, c *destinations.Command) error {
	id, err := required(f, headerTransaction)
	if err != nil {
		return err
	}
	if id == "" {
		return refuse(codeHeader, "the header transaction is empty")
	}
	if s.transactions[id] != nil {
		return refuse(codeTransactionNew, "the transaction is open already")
	}
	if limit := s.server.opts.Transactions.MaxOpen; len(s.transactions) >= limit {
		return refuse(codeTxLimit, "this connection has %d open transactions: no more are allowed", limit)
	}
	if s.transactions == nil {
		s.transactions = map[string]*transaction{}
	}
	s.begun++
	s.transactions[id] = &transaction{id: id, acks: &destinations.More{Tx: strconv.FormatUint(s.begun, 10)}, used: time.Now()}
	s.note(c)
	return nil
}

// note sends only the receipt through the engine, to keep its place in the
// order of receipts.
func (s *session) note(c *destinations.Command) {
	if c.WantReceipt {
		c.Op = destinations.Note
		s.add(c)
	}
}

// openTransaction returns the transaction that a frame belongs to; nil if to
// none.
func (s *session) openTransaction(f *stomp.Frame) (*transaction, error) {
	id, ok := f.Header(headerTransaction)
	if !ok {
		return nil, nil
	}
	tx := s.transactions[string(id)]
	if tx == nil {
		return nil, refuse(codeTransaction, "the transaction is not open")
	}
	return tx, nil
}

// grow counts a frame with so many octets of message in tx, for which so many
// are taken from the budget: none for one that acknowledges, which makes room.
func (s *session) grow(tx *transaction, bytes, taken int) error {
	limits := s.server.opts.Transactions
	if tx.frames+1 > limits.MaxFrames {
		return refuse(codeTxLimit, "the transaction has %d frames: no more are allowed", tx.frames)
	}
	if tx.bytes+bytes > limits.MaxBytes {
		return refuse(codeTxLimit, "the transaction would have more than %d octets", limits.MaxBytes)
	}
	if taken > 0 {
		if err := s.server.budget.take(taken); err != nil {
			return err
		}
	}
	tx.frames++
	tx.bytes += bytes
	tx.taken += taken
	tx.used = time.Now()
	return nil
}

// acknowledging is what an ACK or NACK in tx says, which says more or not.
func (tx *transaction) acknowledging(more *destinations.More) *destinations.More {
	if more == nil {
		return tx.acks
	}
	more.Tx = tx.acks.Tx
	return more
}

// sendInTransaction keeps a message, that takes so much of the budget, until
// COMMIT. Its receipt says that it was taken, not that it is safe: the receipt
// of the COMMIT says that.
func (s *session) sendInTransaction(tx *transaction, o destinations.Outgoing, taken int, c *destinations.Command) error {
	if err := s.grow(tx, len(o.Message.Content), taken); err != nil {
		return err
	}
	tx.sends = append(tx.sends, o)
	s.note(c)
	return nil
}

// commit hands the whole transaction to the engine (STOMP 1.2, "COMMIT").
func (s *session) commit(f *stomp.Frame, c *destinations.Command) error {
	copies, err := s.minCopies(f)
	if err != nil {
		return err
	}
	tx, err := s.closeTransaction(f)
	if err != nil {
		return err
	}
	acknowledges := tx.frames > len(tx.sends)
	if tx.stored || copies > 1 || acknowledges && c.WantReceipt {
		if err := s.keepCopies(c, max(copies, tx.copies)); err != nil {
			s.server.budget.give(tx.taken)
			return err
		}
	}
	c.Op, c.More = destinations.Commit, &destinations.More{Tx: tx.acks.Tx, Sends: tx.sends, Client: s.clientID}
	if len(tx.sends) > 0 {
		s.addSends(c, tx.bytes, tx.taken)
	} else {
		s.add(c)
	}
	return nil
}

func (s *session) abort(f *stomp.Frame, c *destinations.Command) error {
	tx, err := s.closeTransaction(f)
	if err != nil {
		return err
	}
	s.server.budget.give(tx.taken)
	c.Op, c.More = destinations.Abort, tx.acks
	s.add(c)
	return nil
}

func (s *session) closeTransaction(f *stomp.Frame) (*transaction, error) {
	if _, err := required(f, headerTransaction); err != nil {
		return nil, err
	}
	tx, err := s.openTransaction(f)
	if err == nil {
		delete(s.transactions, tx.id)
	}
	return tx, err
}

// dropTransactions forgets those that are open when the session ends.
func (s *session) dropTransactions() {
	for _, tx := range s.transactions {
		s.server.budget.give(tx.taken)
	}
	s.transactions = nil
}

// touchTransactions says that it was not the client's fault that none was used.
func (s *session) touchTransactions() {
	for _, tx := range s.transactions {
		tx.used = time.Now()
	}
}

// oldestTransaction returns when the transaction that is longest unused was
// used.
func (s *session) oldestTransaction() (used time.Time, open bool) {
	for _, tx := range s.transactions {
		if !open || tx.used.Before(used) {
			used, open = tx.used, true
		}
	}
	return used, open
}
