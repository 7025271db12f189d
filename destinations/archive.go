package destinations

import (
	"slices"
	"strings"
)

// An archive is what a topic keeps for those who subscribe later, as Policy.Keep
// says. It is a queue that clients cannot name: what is published on the topic goes
// into it too, in the order in which it comes, whatever its priority, and its oldest
// leave it. Nobody consumes it: a reader gives copies of it to a subscription, and a
// durable subscription takes what there is when it is made.
type archive struct {
	topic   string
	readers []*reader // that have not read it to its end; each counts as a consumer
}

// archivePrefix begins the name of an archive. No durable subscription is called
// so, nor can clients.
const archivePrefix = "\x00\x00\x01"

// trimAtOnce is how many messages of an archive are dropped at once; what more
// is to go follows.
const trimAtOnce = tickWork

// any says whether a topic keeps anything.
func (k Keep) any() bool { return k != Keep{} }

// keep makes place for msg, which client sent, in the archive of a topic and
// returns the name of that; empty if the topic keeps nothing.
func (m *Machine) keep(topic, client string, msg *Message, out *Effects) (name string) {
	d := Topic(topic)
	if !m.keeps(d) {
		return ""
	}
	p := Props{Priority: DefaultPriority}
	if msg.Props != nil {
		p = *msg.Props
	}
	p.Sent = m.millis
	p.noteClient(client)
	msg.Props = &p
	name = archivePrefix + topic
	if q := m.find(name); q != nil && !m.replaces(q, msg.Props) {
		m.makeRoom(q, msg, out)
	}
	return name
}

// keeps says whether what is published on d is kept. What is temporary ends with
// its owner, and reports are of the moment.
func (m *Machine) keeps(d Destination) bool {
	return m.policies.keeps && d.Topic && !d.Temporary() && !d.reports() && m.policyOf(d).Keep.any()
}

// archiveOf says that q is the archive of a topic, and which.
func (m *Machine) archiveOf(q *queue) {
	if topic, ok := strings.CutPrefix(q.destination.Name, archivePrefix); ok {
		q.archive, q.policy = &archive{topic: topic}, m.policies.of(Topic(topic))
	}
}

// places says in which level of q a message waits, and with which of its Props. An
// archive remembers who sent it.
func (m *Machine) places(q *queue, msg *Message) (level uint8, props *Props) {
	if q.archive == nil {
		return msg.level(), msg.Props.waits()
	}
	kept := Props{Priority: DefaultPriority}
	if msg.Props != nil {
		kept = *msg.Props
	}
	kept.DedupID, kept.sender = "", m.sender
	return DefaultPriority, &kept
}

// makeRoom drops the oldest messages of an archive, so that msg, which comes, is
// within its limits and, if it is not to be stored, has room in memory: there, what
// is old gives way to what is new.
func (m *Machine) makeRoom(q *queue, msg *Message, out *Effects) {
	m.trimArchive(q, msg, out)
	for !msg.Persistent && q.resident > 0 && !m.room(q, msg.size()) {
		m.dropFirst(q, 1, out)
	}
}

// trimArchive drops the oldest messages of an archive, until it is within its
// limits with msg, which comes; nil: none does.
func (m *Machine) trimArchive(q *queue, msg *Message, out *Effects) {
	keep, messages, bytes := q.policy.Keep, q.ready, q.bytes
	if msg != nil {
		messages++
		bytes += msg.size()
	}
	if q.ready == 0 || keep.holds(messages, bytes, q.first().props().Sent, m.millis) {
		return
	}
	n := 0
	q.each(func(at ref) bool {
		if n == q.ready || n == trimAtOnce || keep.holds(messages-n, bytes, at.props().Sent, m.millis) {
			return false
		}
		bytes -= int64(at.slot().size)
		n++
		return true
	})
	m.dropFirst(q, n, out)
}

// holds says that a message is kept that was sent at a time, and is the oldest of
// so many.
func (k Keep) holds(messages int, bytes, sent, now int64) bool {
	return k.any() &&
		(k.Messages == 0 || messages <= k.Messages) &&
		(k.Bytes == 0 || bytes <= k.Bytes) &&
		(k.Age == 0 || sent+k.Age.Milliseconds() > now)
}

// dropFirst drops the n oldest messages of an archive. Readers that have not had
// them get them first.
func (m *Machine) dropFirst(q *queue, n int, out *Effects) {
	var space [4]ref
	gone := space[:0]
	for range n {
		gone = append(gone, q.take())
	}
	for _, at := range gone {
		m.passOn(q, at, out)
	}
	m.dropKept(q, gone, out)
}

// dropKept takes messages out of an archive.
func (m *Machine) dropKept(q *queue, gone []ref, out *Effects) {
	m.settling(q, out)
	for _, at := range gone {
		if at.slot().stored() {
			m.seqs = append(m.seqs, at.slot().seq)
		} else {
			m.discard(q, at)
		}
	}
	m.recordSettle(out)
}

// weed drops what an archive must not keep any longer, as far as the Tick in
// progress may.
func (m *Machine) weed(q *queue, out *Effects) {
	expired := q.expired(m.millis, m.work)
	m.work -= len(expired)
	m.dropKept(q, expired, out)
	m.trimArchive(q, nil, out)
	m.wakeArchive(q)
	m.collect(q)
}

// wakeArchive sets when to weed q.
func (m *Machine) wakeArchive(q *queue) {
	if !m.started || q.ready == 0 {
		return
	}
	at := q.expires()
	if age := q.policy.Keep.Age; age > 0 {
		at = min(at, q.first().props().Sent+age.Milliseconds())
	}
	if sent := q.first().props().Sent; !q.policy.Keep.holds(q.ready, q.bytes, sent, m.millis) {
		at = m.millis
	}
	if at != never {
		m.wake(q, at)
	}
}

// archives are those of the topics that match one of the patterns.
func (m *Machine) archives(patterns ...Pattern) (found []*queue) {
	add := func(q *queue) {
		if q != nil && q.archive != nil && q.policy.Keep.any() && !slices.Contains(found, q) {
			found = append(found, q)
		}
	}
	for _, p := range patterns {
		switch {
		case !p.named.Topic:
		case !p.Wild():
			add(m.find(archivePrefix + p.named.Name))
		default:
			for _, q := range m.roster.places {
				if q != nil && q.archive != nil && p.Matches(Topic(q.archive.topic)) {
					add(q)
				}
			}
		}
	}
	return found
}

// keepBytes bounds what it takes in the log that a message is kept by a topic.
// drained is as with placeBytes.
func (m *Machine) keepBytes(d Destination, drained map[string]bool) int64 {
	if !m.keeps(d) {
		return 0
	}
	name := archivePrefix + d.Name
	n := int64(3*maxHeadBytes + maxTakerBytes) // its name and who sent it, and the entries that drop others
	if q := m.find(name); q != nil && !drained[name] {
		n += int64(q.ready) * maxTakerBytes
	}
	if drained != nil {
		drained[name] = true
	}
	return n
}
