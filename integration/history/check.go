package history

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Check judges a history that ended with a drain. It takes time and memory proportional to the number of Ops.
func Check(ops []Op) *Report {
	c := &checker{txs: map[uint32]*tx{}, last: map[stream]uint32{}, groups: map[groupName]*group{}, rankings: map[uint32]*ranking{}}
	for _, op := range ops {
		c.collect(op)
	}
	c.decideFates()
	for _, op := range ops {
		c.replay(op)
	}
	c.judgeMessages()
	c.judgeTransactions()
	return &c.report
}

// message is what is known of one message.
type message struct {
	sent       bool
	receipted  bool // its own RECEIPT came
	delivered  bool // somebody saw it, at any time
	again      bool // replay: somebody saw it before
	maySettled bool // replay: an acknowledgement was written that may have counted
	settled    bool // replay: an acknowledgement was receipted
	settledBy  uint32
	tx         uint32
	queue      uint32
	sender     uint32 // its connection, if that may linger
	hash       uint64
	delayed    bool
	due        time.Duration // not to be delivered before, for one that is delayed
	group      uint32
	priority   uint8
	waits      bool          // replay: promised and not yet delivered
	refused    uint32        // replay: the highest count of a NACK that was receipted
	nacked     Op            // replay: the newest NACK that was written
	away       time.Duration // replay: not to be delivered before, as a NACK said that was receipted
	name       uint64        // replay: as it was delivered first
}

// fate is how a transaction ended.
type fate uint8

const (
	aborted   fate = iota // COMMIT was never written
	inDoubt               // COMMIT was written, no RECEIPT came, and nothing tells
	happened              // no RECEIPT came, but a message of it was seen: it was committed
	committed             // the RECEIPT of COMMIT came
)

type tx struct {
	fate  fate
	sends []ID
	acks  []ID
}

// stream is a place where order is promised: what one client receives of one producer through one queue.
type stream struct {
	client   uint32 // 0: any, for a group has one consumer at a time
	producer uint32
	queue    uint32
	group    uint32
	priority uint8
	sender   uint32 // the connection on which it was sent, if that may linger; else 0: any
}

type checker struct {
	producers [][]message // by producer, then N-1
	txs       map[uint32]*tx
	last      map[stream]uint32
	groups    map[groupName]*group
	rankings  map[uint32]*ranking // by queue
	report    Report
}

// maxGap is how far a number may jump ahead of those seen so far: an invented id must not size our memory.
const maxGap = 1 << 20

// at returns the place of a message, or nil when nobody can have sent it.
func (c *checker) at(id ID) *message {
	if int(id.Producer) >= len(c.producers) || id.N == 0 || int(id.N) > len(c.producers[id.Producer]) {
		return nil
	}
	if m := &c.producers[id.Producer][id.N-1]; m.sent {
		return m
	}
	return nil
}

func (c *checker) grow(id ID) *message {
	if id.N == 0 || int(id.Producer) > len(c.producers)+maxGap {
		panic(fmt.Sprintf("BUG: recorded a SEND with id %v", id))
	}
	for int(id.Producer) >= len(c.producers) {
		c.producers = append(c.producers, nil)
	}
	of := &c.producers[id.Producer]
	if int(id.N) > len(*of)+maxGap {
		panic(fmt.Sprintf("BUG: producer %d jumped from %d to %d", id.Producer, len(*of), id.N))
	}
	for int(id.N) > len(*of) {
		*of = append(*of, message{})
	}
	return &(*of)[id.N-1]
}

func (c *checker) tx(n uint32) *tx {
	t := c.txs[n]
	if t == nil {
		t = &tx{}
		c.txs[n] = t
	}
	return t
}

// collect is the first pass: what was sent, what was seen at any time, and which COMMITs were written.
func (c *checker) collect(op Op) {
	switch op.Kind {
	case Sent:
		var sender uint32
		if op.Lingers {
			sender = op.Client
		}
		*c.grow(op.Message) = message{
			sent: true, tx: op.Tx, queue: op.Queue, sender: sender, hash: op.Hash, group: op.Group, priority: op.Priority, delayed: op.Delay > 0, due: op.At + op.Delay,
		}
		c.report.Messages++
		if op.Tx != 0 {
			t := c.tx(op.Tx)
			t.sends = append(t.sends, op.Message)
		}
	case SendReceipted:
		if m := c.at(op.Message); m != nil {
			m.receipted = true
		}
	case Delivered:
		c.report.Deliveries++
		if m := c.at(op.Message); m != nil {
			m.delivered = true
		}
	case Acked:
		if op.Tx != 0 {
			t := c.tx(op.Tx)
			t.acks = append(t.acks, op.Message)
		}
	case Committing:
		c.tx(op.Tx).fate = inDoubt
	case Committed:
		c.tx(op.Tx).fate = committed
	}
}

// decideFates resolves doubt where the messages of the transaction tell: one that was seen shows that COMMIT took effect,
// and when none of them was ever seen, though the queues were drained, it did not.
func (c *checker) decideFates() {
	for _, t := range c.txs {
		if t.fate != inDoubt || len(t.sends) == 0 {
			continue
		}
		t.fate = aborted
		for _, id := range t.sends {
			if c.at(id).delivered {
				t.fate = happened
			}
		}
	}
}

// replay is the second pass, in order: what was seen when, and what had been promised by then.
func (c *checker) replay(op Op) {
	switch op.Kind {
	case SendReceipted:
		c.wait(op)
	case Delivered:
		c.deliver(op)
	case Acked:
		c.ack(op)
	case Nacked:
		if m := c.at(op.Message); m != nil {
			c.credit(op, m)
			c.groupOf(m).refuse(op)
			m.nacked = op
		}
	case NackReceipted:
		if m := c.at(op.Message); m != nil {
			m.refused = max(m.refused, op.Count)
			if m.nacked.Delay > 0 && m.nacked.Count == op.Count {
				m.away = m.nacked.At + m.nacked.Delay
			}
			c.groupOf(m).giveBack(op)
		}
	case Leaving:
		for _, g := range c.groups {
			g.leave(op.Client)
		}
	case AckReceipted:
		// The receipt of an ACK inside a transaction says only that it was noted.
		if m := c.at(op.Message); m != nil && op.Tx == 0 {
			m.settled = true
		}
	case Committed:
		for _, id := range c.tx(op.Tx).acks {
			if m := c.at(id); m != nil {
				m.settled = true
			}
		}
	case Left:
		c.report.add(NotEmptyAtEnd, "%v", op)
	}
}

func (c *checker) deliver(op Op) {
	m := c.at(op.Message)
	if m == nil {
		c.report.add(Unexpected, "%v", op)
		return
	}
	if m.hash != op.Hash || m.queue != op.Queue {
		c.report.add(Altered, "%v, sent to queue %d with hash %016x", op, m.queue, m.hash)
	}
	if m.tx != 0 && c.tx(m.tx).fate == aborted {
		c.report.add(AbortedVisible, "%v, sent in transaction %d", op, m.tx)
	}
	if m.settled {
		c.report.add(Resurrected, "%v", op)
	} else if m.settledBy != 0 {
		c.report.add(TornTx, "%v, acknowledged in transaction %d, whose messages were delivered", op, m.settledBy)
	}
	c.checkTime(op, m)
	c.checkName(op, m)
	c.checkCount(op, m)
	c.checkGroup(op, m)
	c.checkPriority(op, m)
	c.checkOrder(op, m)
	c.checkFlag(op, m)
	m.again = true
	m.maySettled = m.maySettled || op.Auto
}

// rounding is how early a broker may be that counts whole milliseconds.
const rounding = time.Millisecond

func (c *checker) checkTime(op Op, m *message) {
	if m.delayed && op.At+rounding <= m.due {
		c.report.add(Early, "%v, due at %v", op, m.due)
	}
	if op.At+rounding <= m.away {
		c.report.add(Early, "%v, refused until %v", op, m.away)
	}
}

func (c *checker) checkName(op Op, m *message) {
	if m.name != 0 && op.Name != m.name {
		c.report.add(Doubled, "%v, delivered before as %x", op, m.name)
	}
	m.name = op.Name
}

func (c *checker) checkCount(op Op, m *message) {
	if op.Count > 0 && op.Count <= m.refused {
		c.report.add(CountFell, "%v, refused before at %d", op, m.refused)
	}
}

// checkOrder looks at new messages only: those given back go to the front of the queue, and say so. Nor does it look at
// those that were delayed, which are in order of their times.
func (c *checker) checkOrder(op Op, m *message) {
	if op.Redelivered || m.delayed {
		return
	}
	at := stream{op.Client, op.Message.Producer, op.Queue, m.group, m.priority, m.sender}
	if m.group != 0 {
		at.client = 0
	}
	if last := c.last[at]; op.Message.N < last {
		c.report.add(OrderInversion, "%v, after %d of the same producer", op, last)
		return
	}
	c.last[at] = op.Message.N
}

func (c *checker) checkFlag(op Op, m *message) {
	switch {
	case !m.again:
	case op.Redelivered:
		c.report.add(DupFlagged, "")
	default:
		c.report.add(DupUnflagged, "%v", op)
	}
}

func (c *checker) ack(op Op) {
	m := c.at(op.Message)
	if m == nil {
		return // already reported as unexpected when it was delivered
	}
	c.credit(op, m)
	c.groupOf(m).settle(op.Message)
	if op.Tx == 0 {
		m.maySettled = true
		return
	}
	switch c.tx(op.Tx).fate {
	case committed, inDoubt:
		m.maySettled = true
	case happened:
		m.maySettled = true
		m.settledBy = op.Tx
	}
}

func (c *checker) judgeMessages() {
	for producer, messages := range c.producers {
		first, last := deliveredRange(messages)
		for i := range messages {
			c.judge(ID{uint32(producer), uint32(i + 1)}, &messages[i], first, last)
		}
	}
}

// judge settles the account of one message. A promised message that was delivered but never acknowledged is lost as well:
// it was still the broker's, and the drain should have seen it.
func (c *checker) judge(id ID, m *message, first, last uint32) {
	if !m.sent {
		return
	}
	promised := c.promised(m)
	if promised {
		c.report.Promised++
	}
	switch {
	case m.delivered && !promised:
		c.report.add(Recovered, "")
		if !m.maySettled {
			c.report.add(Phantom, "message %v on queue %d", id, m.queue)
		}
	case promised && !m.maySettled:
		c.report.add(lostWhere(id.N, first, last), "message %v on queue %d, tx=%d, delivered=%v", id, m.queue, m.tx, m.delivered)
	}
}

func (c *checker) promised(m *message) bool {
	if m.tx != 0 {
		return c.tx(m.tx).fate == committed
	}
	return m.receipted
}

func lostWhere(n, first, last uint32) Finding {
	switch {
	case first == 0 || n < first:
		return LostPrefix
	case n > last:
		return LostPostfix
	default:
		return LostMiddle
	}
}

func deliveredRange(messages []message) (first, last uint32) {
	for i := range messages {
		if !messages[i].delivered {
			continue
		}
		last = uint32(i + 1)
		if first == 0 {
			first = last
		}
	}
	return first, last
}

// judgeTransactions finds those of which some messages were seen and others not. What a torn transaction did to its
// acknowledgements shows in replay (given out again) and in judge (lost).
func (c *checker) judgeTransactions() {
	for _, n := range slices.Sorted(maps.Keys(c.txs)) {
		t := c.txs[n]
		seen := 0
		for _, id := range t.sends {
			if c.at(id).delivered {
				seen++
			}
		}
		if seen > 0 && seen < len(t.sends) {
			c.report.add(TornTx, "transaction %d: %d of its %d messages were delivered", n, seen, len(t.sends))
		}
	}
}
