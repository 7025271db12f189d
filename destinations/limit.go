package destinations

import (
	"fmt"
	"strings"
)

// full says whether q has no place for a further message of this size, when those
// in ahead are on their way into it. What consumers have is not counted.
func (q *queue) full(ahead tally, size int64) bool {
	t := q.queued()
	t.messages += ahead.messages
	t.bytes += ahead.bytes
	return t.full(q.policy.MaxMessages, q.policy.MaxBytes, size)
}

// full says whether a message of this size is too much beside those of t, where so
// many messages and so many octets are allowed; 0: any number. A message larger
// than the limit still goes where there is none.
func (t tally) full(messages int, bytes, size int64) bool {
	return messages > 0 && t.messages >= messages || bytes > 0 && t.messages > 0 && t.bytes+size > bytes
}

// admitPlace checks that the queues of o, which this client sends, take it: those
// that refuse what is beyond their limit, or let it wait. A transaction is refused
// when it does not fit whole, but waits only for its beginning, for it may never
// fit whole. ahead counts what it sends; nil: it is no transaction.
func (m *Machine) admitPlace(client string, o *Outgoing, ahead map[*queue]tally) error {
	if err := m.admitSpool(o, ahead); err != nil {
		return err
	}
	q := m.firstFull(client, o, ahead)
	if q == nil {
		return nil
	}
	m.note(QueueFull, q.destination, "", 1)
	t := q.queued()
	return &Error{Code: CodeQueueFull, Wait: q.policy.OnFull == FullBlock, Text: fmt.Sprintf(
		"%s is full: %d messages of %d octets wait in it", quote(q.destination.String()), t.messages, t.bytes)}
}

// firstFull is the first queue for which admitPlace refuses o; nil: there is none, and
// never for what another broker has accepted.
func (m *Machine) firstFull(client string, o *Outgoing, ahead map[*queue]tally) (full *queue) {
	if o.Forwarded || m.dedupID(o) != "" && m.duplicate(o) {
		return nil
	}
	for i := 0; i < o.parts() && full == nil; i++ {
		d := o.part(i)
		if q := m.find(d.Name); !d.Topic && q != nil && m.refuses(q, o.Message, ahead) {
			return q
		}
		if !d.Topic || !strings.HasPrefix(d.Name, virtualTopic) {
			continue
		}
		m.durables.each(d.Name, func(t *durable) {
			q := t.queue
			if full == nil && !q.hidden() && !o.names(q.destination) && m.wants(t, client, o.Message) && m.refuses(q, o.Message, ahead) {
				full = q
			}
		})
	}
	return full
}

// refuses says that q refuses a message, or lets it wait, and counts it in ahead if
// not, which has what a transaction puts into queues before it.
func (m *Machine) refuses(q *queue, msg *Message, ahead map[*queue]tally) bool {
	if q.policy.OnFull != FullReject && q.policy.OnFull != FullBlock {
		return false
	}
	before := ahead[q]
	if q.policy.OnFull == FullBlock {
		before = tally{}
	}
	if q.full(before, msg.size()) && !m.replaces(q, msg.Props) {
		return true
	}
	if ahead != nil {
		ahead[q] = tally{before.messages + 1, before.bytes + msg.size()}
	}
	return false
}

// takes says whether q takes a further message, after it has made place for it if
// its policy says so. A queue that refuses messages or lets them wait did so in
// admitPlace: what comes in another way was accepted long ago, and stays beyond
// the limit. Nothing is lost then, and what a client sends is refused, or waits,
// until enough has gone.
func (m *Machine) takes(q *queue, size int64, p *Props, out *Effects) bool {
	if q.policy.OnFull == FullPage || !q.full(tally{}, size) || m.replaces(q, p) {
		return true
	}
	m.note(QueueFull, q.destination, "", 1)
	switch q.policy.OnFull {
	case FullDropNew:
		m.overflow(q, 1, out)
		return false
	case FullDropOldest:
		m.overflow(q, m.makePlace(q, q.policy.MaxMessages, q.policy.MaxBytes, size, out), out)
	}
	return true
}

// takesDead says whether the queue of this name takes a message of q that is a dead
// letter or has expired.
func (m *Machine) takesDead(name string, q *queue, at ref, out *Effects) bool {
	to := m.find(name)
	return to == nil || to == q || m.takes(to, int64(at.slot().size), nil, out)
}

// overflow counts messages that q dropped.
func (m *Machine) overflow(q *queue, messages int, out *Effects) {
	out.Overflowed += messages
	m.note(Dropped, q.destination, DroppedFull, messages)
}

// drop takes a message out of q that goes nowhere else.
func (m *Machine) drop(q *queue, at ref, out *Effects) {
	if !q.lasts(at.slot()) {
		m.discard(q, at)
		return
	}
	m.settling(q, out)
	m.seqs = append(m.seqs, at.slot().seq)
	m.recordSettle(out)
}

// makePlace drops of q, of the lowest priority, the oldest that no consumer has,
// until a message of this size fits into the limits; 0 is none. It returns how many it dropped.
func (m *Machine) makePlace(q *queue, messages int, bytes, size int64, out *Effects) (dropped int) {
	m.settling(q, out)
	for q.queued().full(messages, bytes, size) {
		at := q.least()
		m.seize(q, at)
		if at.slot().stored() {
			m.seqs = append(m.seqs, at.slot().seq)
		} else {
			m.discard(q, at)
		}
		dropped++
	}
	q.consumers++ // or it would be forgotten, and made anew for what comes
	m.recordSettle(out)
	q.consumers--
	return dropped
}

// seize puts a message in flight that is ready or held, wherever it is held.
func (m *Machine) seize(q *queue, at ref) {
	if at.slot().state == slotHeld {
		m.withdraw(q, at)
		q.backlog.letGo(at) // the views need not know
	}
	q.fly(at)
}

// placeBytes bounds what it takes in the log to make place for a message in the
// queue of this name; keyed says that it may take the place of another with its
// key. drained are the queues of which all that is there was counted already, for
// a message that comes before; nil: there is no such.
func (m *Machine) placeBytes(name string, keyed bool, drained map[string]bool) (n int64) {
	if keyed {
		n = maxHeadBytes
	}
	if !m.dropsOldest(name) {
		return n
	}
	n += maxHeadBytes + maxTakerBytes // and it may have to go itself, for the next
	if q := m.find(name); q != nil && !drained[name] {
		n += int64(q.queued().messages) * maxTakerBytes
	}
	if drained != nil {
		drained[name] = true
	}
	return n
}

// dropsOldest says that the queue of this name makes place for messages.
func (m *Machine) dropsOldest(name string) bool {
	policy := m.policyOf(Queue(name))
	if q := m.find(name); q != nil && q.hidden() {
		return policy.Durable.Messages > 0 || policy.Durable.Bytes > 0
	}
	return policy.OnFull == FullDropOldest && (policy.MaxMessages > 0 || policy.MaxBytes > 0)
}

// buryBytes bounds what it takes in the log to make place for the dead letters of
// a transaction. drained is as with placeBytes.
func (m *Machine) buryBytes(tx *transaction, drained map[string]bool) (n int64) {
	for _, h := range tx.held {
		fl := h.sub.flights.get(h.tag)
		if h.nack && fl != nil && fl.tx == tx {
			n += m.placeBytes(fl.queue.deadLetterQueue(fl.at), false, drained)
		}
	}
	return n
}

// queuesTaking are those of the named queues that take a message.
func (m *Machine) queuesTaking(names []string, msg *Message, out *Effects) []string {
	kept := names[:0]
	for _, name := range names {
		if q := m.find(name); q == nil || q.archive != nil || m.takes(q, msg.size(), msg.Props, out) {
			kept = append(kept, name)
		}
	}
	return kept
}

// durablesTaking are those of takers that take a message, after they have made
// place for it; all says that nobody who matches its topic is missing.
func (m *Machine) durablesTaking(takers []*durable, all bool, msg *Message, out *Effects) ([]*durable, bool) {
	kept := takers[:0]
	for _, d := range takers {
		switch {
		case d.queue.hidden():
			m.dropOldest(d, msg, out)
		case !m.takes(d.queue, msg.size(), msg.Props, out):
			all = false
			continue
		}
		kept = append(kept, d)
	}
	return kept, all
}

// Waits says whether c, a Send or a Commit, would be refused with an Error that
// says Wait.
func (m *Machine) Waits(c *Command) bool {
	sends := c.Outgoing()
	for i := range sends {
		if q := m.firstFull(c.more().Client, m.routed(&sends[i]), nil); q != nil && q.policy.OnFull == FullBlock {
			return true
		}
	}
	return false
}
