package destinations

// Where the pending policy is Spill, the copies that wait for a topic's subscriber
// beyond its limit are in the log only. For all subscribers that spill a message
// there is one entry, which says nothing but its content: replayed, it does nothing.
//
//	copies  [in memory . . .][spilled . . . . . . . .][in memory .
//	                          ^ limit reached          ^ and again within it
//
// A spilled copy is a slot like that of a stored message, and is packed like one.
// But it ends with its subscription, so that nothing of what becomes of it is
// recorded: see queue.lasts. The log keeps the entry for as long as somebody has a
// copy of it, as Machine.spilled knows. No start remembers that, and a standby does
// not know it: so nothing that is stored may refer to the entry. What of it becomes
// a dead letter is brought from the log first, and stored like any other message.

// lasts says that what becomes of a message of q must be in the log: that is so for
// what is stored, but a spilled copy goes with its subscription.
func (q *queue) lasts(s *slot) bool { return s.stored() && !q.destination.Topic }

// maySpill says whether a copy of msg may wait for s in the log: there is room for
// it, and in memory for what must be known of it there.
func (m *Machine) maySpill(s *subscription, msg *Message) bool {
	texts := msg.Props.waits().textBytes()
	return m.spillable && (texts == 0 || m.room(s.copies, texts))
}

// spill lets a copy of msg wait for s in the log. Beyond most octets in all, the
// oldest that wait for it are dropped.
func (m *Machine) spill(s *subscription, msg *Message, most int64, out *Effects) {
	q := s.copies
	if !m.replaces(q, msg.Props) {
		m.dropPending(s, msg, 0, most, out)
	}
	if m.spilledAs == 0 {
		m.record(&record{kind: KindSpill, topic: q.origin(msg).Name, msg: msg}, out)
		m.spilledAs = m.last
	}
	m.spilled.add(m.spilledAs, msg.size())
	m.push(q, slot{seq: m.spilledAs, size: slotSize(msg), marks: markStored}, msg.level(), msg.Props.waiting())
}

// unspill says that a copy has gone that was spilled or lent from the log.
func (m *Machine) unspill(at ref) { m.letSpillGo(at.logged(), int64(at.slot().size)) }

// letSpillGo says that one holder less has the entry with this Seq, of a message of
// this size: without one it may go.
func (m *Machine) letSpillGo(seq uint64, size int64) {
	m.freed++
	if !m.spilled.remove(seq, size) && m.buried != nil {
		delete(m.buried, original{spilled: seq})
	}
}

// A burial is a spilled copy on its way to a dead-letter queue. It has left its
// subscription.
type burial struct {
	policy *Policy
	dead   *DeadLetter
	size   int64
}

// exhume asks for the content of a copy in the log that is to be a dead letter.
func (m *Machine) exhume(q *queue, at ref, dead *DeadLetter, out *Effects) {
	content, size := at.logged(), int64(at.slot().size)
	m.buryOnce(at)
	if m.burials == nil {
		m.burials = map[uint64]burial{}
	}
	m.burials[content] = burial{q.policy, dead, size}
	m.spilled.add(content, size)
	m.askForDead(content, out)
	m.discard(q, at)
}

func (m *Machine) askForDead(seq uint64, out *Effects) {
	b := m.burials[seq]
	out.Sync = true
	out.Outputs = append(out.Outputs, Output{Kind: Examine, After: seq, Examination: &Examination{
		Queue: b.dead.Destination, Contents: []uint64{seq}, Largest: b.size, burial: seq,
	}})
}

// broughtDead stores a dead letter whose content was asked for. One that cannot be
// read is lost.
func (m *Machine) broughtDead(e *Examination, out *Effects) {
	if len(e.Messages) == 0 {
		m.askForDead(e.burial, out)
		return
	}
	b := m.burials[e.burial]
	delete(m.burials, e.burial)
	m.letSpillGo(e.burial, b.size)
	msg := e.Messages[0]
	if msg == nil {
		out.Dropped++
		return
	}
	topic := Topic(msg.Topic()) // of a subscription with wildcards, it was not known before
	target := b.policy.buries(b.dead, topic.Name)
	b.dead.Destination = topic
	if to := m.find(target); !topic.reports() && (to == nil || m.takes(to, b.size, nil, out)) {
		m.noteDead(b.dead)
		m.enqueueDead(target, msg, b.dead, out)
	}
}

// An original is what several subscribers of a topic have copies of: a message in
// memory, or the entry of one that was spilled or lent.
type original struct {
	msg     *Message
	spilled uint64
}

func originalOf(at ref) original {
	if content := at.logged(); content != 0 {
		return original{spilled: content}
	}
	return original{msg: at.message()}
}

// spillBytes bounds what it takes in the log that copies of o are spilled.
func (m *Machine) spillBytes(o *Outgoing) (n int64) {
	if !m.policies.spills {
		return 0
	}
	for i := range o.parts() {
		d := o.part(i)
		if d.Topic && m.heardBySpiller(d, o.Message) {
			n += o.Message.size() + o.Message.Props.headBytes() + maxHeadBytes
		}
	}
	return n
}

// heardBySpiller says whether one of those who get a copy of what is sent to a topic
// may spill it.
func (m *Machine) heardBySpiller(topic Destination, msg *Message) (is bool) {
	m.eachSubscriber(topic, msg, func(s *subscription) {
		is = is || s.copies.policy.Pending.Policy == Spill
	})
	return is
}

// Freed counts what went from the log without an entry that says so: spilled copies.
// When it has changed, or Last has, so may have Live.
func (m *Machine) Freed() uint64 { return m.freed }
