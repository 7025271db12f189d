package destinations

import (
	"fmt"
	"slices"
)

// publish puts a message wherever it belongs, when that may be several places:
// the queues that o names, what is durable on its topics, and the subscribers
// of those topics that are there.
//
// What is stored of it is one entry for all of them, which stays in the log
// until the last has settled it. Only where several topics have durable
// subscriptions there is an entry for each; they are joined.
func (m *Machine) publish(c *Command, o Outgoing, out *Effects) {
	before := m.unstored
	if !o.Forwarded { // else it was stored for all where it was published
		m.placeAll(c, &o, out)
	}
	m.showAll(&o, before, out)
}

// placeAll puts a message wherever it stays, if nobody is there to have it.
func (m *Machine) placeAll(c *Command, o *Outgoing, out *Effects) {
	whole := m.whole
	m.whole = whole || len(o.Also) > 0
	queues := o.queues()
	for _, name := range queues {
		m.establish(name, out)
	}
	named := queues
	for i := range o.parts() {
		topic := o.part(i)
		if !topic.Topic {
			continue
		}
		takers, all := m.takersOf(topic.Name, c.more().Client, o.Message, named)
		archive := m.keep(topic.Name, c.more().Client, o.Message, out)
		if archive != "" {
			queues = append(queues, archive)
		}
		if len(takers) > 0 || archive != "" {
			m.place(c, o.Message, queues, topic.Name, takers, all, out)
			queues = nil
			if i < o.parts()-1 {
				o.Message = o.Message.again()
			}
		}
	}
	switch len(queues) {
	case 0:
	case 1:
		m.enqueue(Queue(queues[0]), o.Message, false, c.DiskLow, out)
	default:
		m.place(c, o.Message, queues, "", nil, true, out)
	}
	if m.whole = whole; !whole {
		m.joined = false
	}
}

// parts is how many destinations o has.
func (o *Outgoing) parts() int { return 1 + len(o.Also) }

func (o *Outgoing) part(i int) Destination {
	if i == 0 {
		return o.Destination
	}
	return o.Also[i-1]
}

// queues are the names of those that o names.
func (o *Outgoing) queues() (names []string) {
	for i := range o.parts() {
		if d := o.part(i); !d.Topic {
			names = append(names, d.Name)
		}
	}
	return names
}

// names says that d is one of the destinations of o.
func (o *Outgoing) names(d Destination) bool {
	return o.Destination == d || slices.Contains(o.Also, d)
}

// place puts a message into queues, and into takers: those of its topic, perhaps
// all.
func (m *Machine) place(c *Command, msg *Message, queues []string, topic string, takers []*durable, all bool, out *Effects) {
	takers, all = m.durablesTaking(takers, all, msg, out)
	if queues = m.queuesTaking(queues, msg, out); len(queues) == 0 && len(takers) == 0 {
		return
	}
	if msg.Persistent || !c.DiskLow && !m.roomInAll(queues, takers, msg.size()) {
		r := record{kind: KindPublish, topic: topic, queues: queues, msg: msg, chosen: !all}
		if r.chosen {
			r.seqs = seqsOf(takers)
		}
		m.record(&r, out)
		return
	}
	m.published(msg, topic)
	m.number(msg)
	s := slot{seq: m.last, msg: msg, size: slotSize(msg)}
	for _, name := range queues {
		q := m.queue(name)
		level, props := m.places(q, msg)
		m.push(q, s, level, props.extra())
	}
	for _, d := range takers {
		m.push(d.queue, s, msg.level(), msg.Props.waiting())
	}
}

// takersOf are the durables that take a message of client on a topic, but those
// that get it for they are named; all says that these are all that match the
// topic. They are good until the next call.
func (m *Machine) takersOf(topic, client string, msg *Message, named []string) (takers []*durable, all bool) {
	takers, all = m.takers[:0], true
	m.durables.each(topic, func(d *durable) {
		if m.wants(d, client, msg) && !slices.Contains(named, d.queue.destination.Name) {
			takers = append(takers, d)
		} else {
			all = false
		}
	})
	m.takers = takers
	return takers, all
}

// wants says whether d takes a message of this client.
func (m *Machine) wants(d *durable, client string, msg *Message) bool {
	return d.takes(client) && m.selects(d.selects, msg) && m.selected(d.queue, msg)
}

func seqsOf(takers []*durable) []uint64 {
	seqs := make([]uint64, len(takers))
	for i, d := range takers {
		seqs[i] = d.seq
	}
	slices.Sort(seqs)
	return seqs
}

func (m *Machine) roomInAll(queues []string, takers []*durable, size int64) bool {
	for _, name := range queues {
		if !m.room(m.queue(name), size) {
			return false
		}
	}
	for _, d := range takers {
		if !m.room(d.queue, size) {
			return false
		}
	}
	return true
}

// dropOldest makes room for a message in what a durable subscription may keep
// while nobody consumes it.
func (m *Machine) dropOldest(d *durable, msg *Message, out *Effects) {
	q, limit := d.queue, d.queue.policy.Durable
	if !q.offline() || m.replaces(q, msg.Props) {
		return
	}
	dropped := m.makePlace(q, limit.Messages, limit.Bytes, msg.size(), out)
	out.Dropped += dropped
	m.note(Dropped, q.destination, DroppedFull, dropped)
}

// offline says that q is a durable subscription that nobody consumes.
func (q *queue) offline() bool {
	return q.durable != nil && q.consumers == 0 && q.hidden()
}

// applyPublish puts a message into its queues and what is durable on its topic.
func (m *Machine) applyPublish(r *record) {
	m.published(r.msg, r.topic)
	for _, name := range r.queues {
		m.share(name, r)
	}
	if r.topic == "" {
		return
	}
	m.durables.each(r.topic, func(d *durable) {
		if _, takes := slices.BinarySearch(r.seqs, d.seq); takes || !r.chosen {
			m.share(d.queue.destination.Name, r)
		}
	})
}

// published notes on which topic a message was published. Plain ones of one topic
// share their Props.
func (m *Machine) published(msg *Message, topic string) {
	plain := msg.Props == nil
	if last := m.lastPublished; plain && last != nil && last.topic == topic {
		msg.Props = last
		return
	}
	if msg.PublishedOn(topic); plain {
		m.lastPublished = msg.Props
	}
}

// share puts the message of r into one of its queues, but not twice.
func (m *Machine) share(queue string, r *record) {
	if m.recovery.has(queue, r.seq) {
		return
	}
	q := m.queue(queue)
	if _, twice := q.find(r.seq, 0); twice {
		return
	}
	m.enliven(r.seq, r.msg.size())
	m.put(q, r)
}

// showAll gives a copy to each subscriber of the topics of o that is there. before
// is how many messages were not stored before this one.
func (m *Machine) showAll(o *Outgoing, before uint64, out *Effects) {
	for i := range o.parts() {
		d := o.part(i)
		if !d.Topic || m.topics[d.Name] == nil && m.watching == 0 {
			continue
		}
		if o.Message.n <= before {
			m.number(o.Message)
		}
		m.show(d.Name, o.Message, out)
	}
}

// Stores says whether o puts something into the log, however much room there is
// in memory.
func (m *Machine) Stores(o Outgoing) bool {
	if !o.Message.Persistent {
		return false
	}
	routed := m.routed(&o)
	later := o.Message.Props.later() || m.policyOf(routed.Destination).DeliveryDelay > 0
	stores := false
	for i := range routed.parts() {
		d := routed.part(i)
		stores = stores || !d.Temporary() && (!d.Topic || later)
		if d.Topic {
			m.durables.each(d.Name, func(*durable) { stores = true })
			stores = stores || m.keeps(d)
		}
	}
	return stores
}

// logBytes bounds what o takes in the log: each of its destinations may need an
// entry of its own. drained is as with placeBytes.
func (m *Machine) logBytes(o *Outgoing, drained map[string]bool) int64 {
	return int64(o.parts())*(o.Message.size()+o.Message.Props.headBytes()) + m.headBytes(o, drained)
}

// admitBatch checks that what o takes fits into one batch of the log, if it may be
// several entries.
func (m *Machine) admitBatch(o *Outgoing) error {
	if len(o.Also) == 0 {
		return nil
	}
	if size := m.logBytes(o, nil); size > m.opts.MaxCommitBytes {
		return &Error{Code: CodeTransactionTooBig, Text: fmt.Sprintf(
			"the message for %d destinations would take up to %d octets in the journal and may take %d", o.parts(), size, m.opts.MaxCommitBytes)}
	}
	return nil
}

// headBytes bounds what the heads of the entries of o take in the log.
func (m *Machine) headBytes(o *Outgoing, drained map[string]bool) int64 {
	n := int64(o.parts()) * maxHeadBytes
	keyed := false
	if p := o.Message.Props; p != nil {
		keyed = p.Key != ""
		if p.DedupID != "" {
			n += maxHeadBytes
		}
	}
	for i := range o.parts() {
		d := o.part(i)
		if !d.Topic {
			n += m.placeBytes(d.Name, keyed, drained)
			if _, makes := virtualTopicOf(d.Name); makes {
				n += maxHeadBytes
			}
			continue
		}
		n += m.keepBytes(d, drained)
		m.durables.each(d.Name, func(t *durable) {
			n += maxTakerBytes + m.placeBytes(t.queue.destination.Name, keyed, drained)
		})
	}
	return n
}

// maxTakerBytes bounds what a taker takes in the head of a publish.
const maxTakerBytes = 10
