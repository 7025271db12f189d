package destinations

import "fmt"

// send puts a message into a queue or hands it to a topic's subscribers.
func (m *Machine) send(c *Command, out *Effects) error {
	if q := m.plain(c); q != nil {
		m.append(q, c.Message, c.DiskLow, out)
		return nil
	}
	sent := c.outgoing()
	if err := m.mayCreateAll(&sent); err != nil {
		return err
	}
	o := m.routed(&sent)
	if err := m.admit(m.needs(o, c.DiskLow, nil)); err != nil {
		return err
	}
	if err := m.admitBatch(o); err != nil {
		return err
	}
	if err := m.admitPlace(c.more().Client, o, nil); err != nil {
		return err
	}
	m.acceptOnce(c, o, false, out)
	return nil
}

// plain returns the queue that c sends to, if there is nothing to be asked about
// it: neither the message nor the queue has anything that not all have. Nil: look
// closer.
func (m *Machine) plain(c *Command) *queue {
	if c.Message.Props != nil || c.DiskLow || c.Destination.Topic || c.more().Also != nil || len(m.opts.Routes) > 0 {
		return nil
	}
	if q := m.find(c.Destination.Name); q != nil && q.plain {
		return q
	}
	return nil
}

// outgoing is what a Send sends.
func (c *Command) outgoing() Outgoing {
	return Outgoing{Destination: c.Destination, Also: c.more().Also, Existing: c.Existing, Message: c.Message}
}

// Outgoing returns what c sends.
func (c *Command) Outgoing() []Outgoing {
	if c.Op == Send {
		return []Outgoing{c.outgoing()}
	}
	return c.more().Sends
}

// needs is the memory that a message cannot do without, with what must be known of
// it while it waits, and the queues that it makes. The content of one that is stored can stay in the log; so can any other,
// but one for a topic or a temporary queue. made, if it is not nil, are queues
// that count already.
func (m *Machine) needs(o *Outgoing, diskLow bool, made map[string]bool) (need int64) {
	content := diskLow && !o.Message.Persistent
	for i := range o.parts() {
		d := o.part(i)
		need += o.Message.Props.waitingBytes()
		switch {
		case d.Topic || d.Temporary():
			content = true
			if key := archivePrefix + d.Name; m.keeps(d) && m.find(key) == nil && !made[key] {
				need += queueBytes
				if made != nil {
					made[key] = true
				}
			}
		case m.find(d.Name) == nil && !made[d.Name]:
			need += queueBytes
			if made != nil {
				made[d.Name] = true
			}
		}
	}
	if content {
		need += o.Message.size()
	}
	if id := m.dedupID(o); id != "" {
		need += (&sighting{id: id}).size()
	}
	if p := o.Message.Props; p != nil && p.Key != "" {
		need += int64(o.parts()) * (keyBytes + int64(len(p.Key)))
	}
	return need
}

// admit checks that so much more may be in memory.
func (m *Machine) admit(size int64) error {
	if size > 0 && m.bytes+size > m.opts.MemoryBytes {
		return &Error{Code: CodeMemoryFull, Text: fmt.Sprintf(
			"the broker holds %d octets of messages and queues and may hold %d: try again when some were consumed", m.bytes, m.opts.MemoryBytes)}
	}
	return nil
}

// accept puts a message where it belongs.
func (m *Machine) accept(c *Command, o *Outgoing, out *Effects) {
	if !o.Forwarded {
		m.resolve(o.Message, m.policyOf(o.Destination))
	}
	if o.Message.level() == levelWaiting {
		m.schedule(c, *o, out)
		return
	}
	if o.Destination.Topic || len(o.Also) > 0 {
		m.publish(c, *o, out)
		return
	}
	if _, durable := durableID(o.Destination); durable && o.Forwarded {
		m.arrive(c, o, out)
		return
	}
	m.enqueue(o.Destination, o.Message, o.Forwarded, c.DiskLow, out)
}

// enqueue puts a message into one queue. What was accepted elsewhere is not dropped
// for coming late: it stays beyond the limit of a queue that drops what is new.
func (m *Machine) enqueue(d Destination, msg *Message, forwarded, diskLow bool, out *Effects) {
	if d.Temporary() {
		m.reply(d, msg, out)
		return
	}
	m.establish(d.Name, out)
	if q := m.find(d.Name); q != nil && msg.level() != levelWaiting && !(forwarded && q.policy.OnFull == FullDropNew) && !m.takes(q, msg.size(), msg.Props, out) {
		return
	}
	m.append(m.queue(d.Name), msg, diskLow, out)
}

// append puts a message at the end of q.
func (m *Machine) append(q *queue, msg *Message, diskLow bool, out *Effects) {
	switch {
	case msg.Persistent || !diskLow && !m.room(q, msg.size()):
		m.record(&record{kind: KindEnqueue, queue: q.destination.Name, msg: msg}, out)
	default:
		m.number(msg)
		m.push(q, slot{seq: m.last, msg: msg, size: slotSize(msg)}, msg.level(), msg.Props.waiting())
	}
}

// number names a message that is not stored.
func (m *Machine) number(msg *Message) {
	m.unstored++
	msg.n = m.unstored
}

// show gives a copy to each subscriber of a topic that is there.
func (m *Machine) show(topic string, msg *Message, out *Effects) {
	if m.watching > 0 || msg.Topic() != "" {
		msg = m.onTopic(topic, msg)
	}
	m.spilledAs = 0
	m.eachSubscriber(Topic(topic), msg, func(s *subscription) {
		if !s.copies.reader.behind(topic) {
			m.offer(s, msg, out)
		}
	})
}

// onTopic is msg for those who see on which topic it was published.
func (m *Machine) onTopic(topic string, msg *Message) *Message {
	switch {
	case msg.Topic() == "":
		m.published(msg, topic)
	case msg.Topic() != topic || msg.n < m.unstored: // one of several: their numbers ascend
		msg = msg.again()
		m.published(msg, topic)
		m.number(msg)
	}
	return msg
}

// offer gives a copy to one subscriber, within its limit.
func (m *Machine) offer(s *subscription, msg *Message, out *Effects) {
	if m.mayWait(s, msg, out) {
		m.push(s.copies, slot{seq: m.last, msg: msg, size: slotSize(msg)}, msg.level(), msg.Props.waiting())
		m.dispatch(s.copies, out)
	}
}

// mayWait says whether a further copy may wait for s in memory: within its limit,
// for which others may be dropped. If not, it is spilled or lost.
func (m *Machine) mayWait(s *subscription, msg *Message, out *Effects) bool {
	q, p := s.copies, s.copies.policy.Pending
	if s.consumer.Pending > 0 {
		p.Messages = s.consumer.Pending
	}
	full := q.queued().full(p.Messages, p.Bytes, msg.size())
	switch {
	case p.Policy == Spill && (full || !m.room(q, msg.size())) && m.maySpill(s, msg):
		m.spill(s, msg, p.SpillBytes, out)
		return false
	case !full || m.replaces(q, msg.Props):
	case p.Policy == DropOldest:
		m.dropPending(s, msg, p.Messages, p.Bytes, out)
	default:
		m.lost(s, msg, 1, out)
		if p.Policy == DisconnectPending {
			m.evict(s, out)
		}
		return false
	}
	return true
}

// dropPending drops copies that wait for s, of the lowest priority the oldest,
// until msg fits into the limits; 0 is none.
func (m *Machine) dropPending(s *subscription, msg *Message, messages int, bytes int64, out *Effects) {
	q, dropped := s.copies, 0
	for q.queued().full(messages, bytes, msg.size()) {
		m.discard(q, q.least())
		dropped++
	}
	if dropped > 0 {
		m.lost(s, msg, dropped, out)
	}
}

// evict has the connection of a subscriber closed that is too slow.
func (m *Machine) evict(s *subscription, out *Effects) {
	if s.session.evicted {
		return
	}
	s.session.evicted = true
	out.Outputs = append(out.Outputs, Output{Kind: Evict, Session: s.session.id, Err: &Error{
		Code: CodeSlowConsumer,
		Text: fmt.Sprintf("subscription %s is too slow for %s: %d messages wait for it", quote(s.id), s.copies.destination, s.copies.queued().messages),
	}})
}

// lost counts copies that s lost to its limit, for msg came.
func (m *Machine) lost(s *subscription, msg *Message, copies int, out *Effects) {
	out.Dropped += copies
	if !s.copies.origin(msg).reports() { // or the next report would be on this one
		m.noteSubscription(ConsumerSlow, s, copies)
	}
}
