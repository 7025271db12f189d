package destinations

import "fmt"

// full says whether q has no place for a further message of this size, when so
// many of so many octets are on their way into it. What consumers have is not
// counted. A message larger than the limit still goes into an empty queue.
func (q *queue) full(ahead tally, size int64) bool {
	n, p := q.ready+ahead.messages, q.policy
	return p.MaxMessages > 0 && n >= p.MaxMessages || p.MaxBytes > 0 && n > 0 && q.bytes+ahead.bytes+size > p.MaxBytes
}

// A tally is what a transaction puts into a queue before the message in question.
type tally struct {
	messages int
	bytes    int64
}

// admitPlace checks that the queues of o take it: those that refuse what is
// beyond their limit, or let it wait. A transaction is refused when it does not
// fit whole, but waits only for its beginning, for it may never fit whole. ahead
// counts what it sends; nil: it is no transaction.
func (m *Machine) admitPlace(o Outgoing, ahead map[*queue]tally) error {
	q := m.firstFull(o, ahead)
	if q == nil {
		return nil
	}
	m.note(QueueFull, q.destination, "", 1)
	return &Error{Code: CodeQueueFull, Wait: q.policy.OnFull == FullBlock, Text: fmt.Sprintf(
		"%s is full: %d messages of %d octets wait in it", quote(q.destination.String()), q.ready, q.bytes)}
}

// firstFull is the first queue for which admitPlace refuses o; nil: there is none.
func (m *Machine) firstFull(o Outgoing, ahead map[*queue]tally) *queue {
	for i := range o.parts() {
		d := o.part(i)
		if d.Topic {
			continue
		}
		q := m.find(d.Name)
		if q == nil || q.policy.OnFull != FullReject && q.policy.OnFull != FullBlock || m.dedupID(o) != "" && m.duplicate(o) {
			continue
		}
		before := ahead[q]
		if q.policy.OnFull == FullBlock {
			before = tally{}
		}
		if q.full(before, o.Message.size()) && !m.replaces(q, o.Message) {
			return q
		}
		if ahead != nil {
			ahead[q] = tally{before.messages + 1, before.bytes + o.Message.size()}
		}
	}
	return nil
}

// takes says whether q takes a further message, after it has made
// place for it if its policy says so.
func (m *Machine) takes(q *queue, msg *Message, out *Effects) bool {
	size := msg.size()
	if !q.full(tally{}, size) || m.replaces(q, msg) {
		return true
	}
	switch q.policy.OnFull {
	case FullDropNew:
		m.note(QueueFull, q.destination, "", 1)
		m.overflow(q, 1, out)
		return false
	case FullDropOldest:
		m.note(QueueFull, q.destination, "", 1)
		m.overflow(q, m.makePlace(q, q.policy.MaxMessages, q.policy.MaxBytes, size, out), out)
	}
	return true
}

// overflow counts messages that q dropped.
func (m *Machine) overflow(q *queue, messages int, out *Effects) {
	out.Overflowed += messages
	m.note(Dropped, q.destination, DroppedFull, messages)
}

// makePlace drops of q, of the lowest priority, the oldest that no consumer has,
// until a message of this size fits into the limits; 0 is none. It returns how many it dropped.
func (m *Machine) makePlace(q *queue, messages int, bytes, size int64, out *Effects) (dropped int) {
	m.settled = q
	for q.ready > 0 && (messages > 0 && q.ready >= messages || bytes > 0 && q.bytes+size > bytes) {
		at := q.least()
		q.fly(at)
		if at.slot().stored() {
			m.seqs = append(m.seqs, at.slot().seq)
		} else {
			m.discard(q, at)
		}
		dropped++
	}
	m.recordSettle(out)
	return dropped
}

// placeBytes bounds what makes place for a message in q takes in the log; keyed
// says that it may take the place of another with its key.
func (q *queue) placeBytes(keyed bool) (n int64) {
	if keyed {
		n = maxHeadBytes
	}
	if q == nil {
		return n
	}
	limited := q.policy.OnFull == FullDropOldest && (q.policy.MaxMessages > 0 || q.policy.MaxBytes > 0)
	if limited || q.durable != nil && (q.policy.Durable.Messages > 0 || q.policy.Durable.Bytes > 0) {
		n += maxHeadBytes + int64(q.ready)*maxTakerBytes
	}
	return n
}

// queuesTaking are those of the named queues that take a message.
func (m *Machine) queuesTaking(names []string, msg *Message, out *Effects) []string {
	kept := names[:0]
	for _, name := range names {
		if q := m.find(name); q == nil || m.takes(q, msg, out) {
			kept = append(kept, name)
		}
	}
	return kept
}

// Waits says whether c, a Send or a Commit, would be refused with an Error that
// says Wait.
func (m *Machine) Waits(c *Command) bool {
	sends := c.Sends
	if c.Op == Send {
		sends = []Outgoing{c.outgoing()}
	}
	for _, o := range sends {
		if q := m.firstFull(o, nil); q != nil && q.policy.OnFull == FullBlock {
			return true
		}
	}
	return false
}
