package destinations

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"baton/destinations/selector"
)

// A DurableID names a durable subscription for ever, whoever holds it at the
// moment. The zero value is none.
type DurableID struct {
	Client string // the client-id of its client; may be empty
	Name   string // which of that client's; empty: no durable subscription
}

// maxDurableBytes bounds both parts of a DurableID together.
const maxDurableBytes = 500

// A durable subscription is a queue that no client can name, beside the others:
// its name is NUL, the client, NUL, the name.
const durablePrefix = "\x00"

func (id DurableID) key() string { return durablePrefix + id.Client + durablePrefix + id.Name }

// durableID is the opposite of DurableID.key; ok is false if d is a queue or a
// topic of clients.
func durableID(d Destination) (id DurableID, ok bool) {
	rest, ok := strings.CutPrefix(d.Name, durablePrefix)
	if ok && (strings.HasPrefix(d.Name, schedulePrefix) || strings.HasPrefix(d.Name, archivePrefix)) {
		return id, false
	}
	id.Client, id.Name, _ = strings.Cut(rest, durablePrefix)
	return id, ok
}

// Durable says that d is the queue of a durable subscription.
func (d Destination) Durable() bool {
	_, durable := durableID(d)
	return durable && !d.Topic
}

// String is for people: "/durable/CLIENT/NAME".
func (id DurableID) String() string { return string(id.appendTo(nil)) }

func (id DurableID) appendTo(dst []byte) []byte {
	dst = append(dst, "/durable/"...)
	if id.Client != "" {
		dst = append(append(dst, id.Client...), '/')
	}
	return append(dst, id.Name...)
}

func (id DurableID) check() error {
	both := id.Client + id.Name
	switch {
	case id.Name == "":
		return durableError("a durable subscription needs a name")
	case len(both) > maxDurableBytes:
		return durableError("the client-id and the name of the durable subscription have %d octets; at most %d are allowed", len(both), maxDurableBytes)
	case !utf8.ValidString(both):
		return durableError("the client-id or the name of the durable subscription is not valid UTF-8: %s", quote(both))
	case strings.ContainsFunc(both, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return durableError("the client-id or the name of the durable subscription holds a control character: %s", quote(both))
	}
	return nil
}

func durableError(format string, args ...any) error {
	return &Error{Code: CodeBadDurable, Text: fmt.Sprintf(format, args...)}
}

// A durable makes its queue take what is published on a topic, whether or not
// somebody consumes it: it is a durable subscription, or the queue of a virtual
// topic. It is there from its durable entry until its forgo entry.
type durable struct {
	queue    *queue
	seq      uint64 // of its entry: its number among all there ever are
	topic    string // its name, perhaps with wildcards
	selector string // its text; empty: none
	selects  *selector.Selector
	noLocal  bool // not what its own client sends
	// retroactive says that it may hold kept messages that it does not select.
	retroactive bool
	claim       Claim

	timer  timer // for when nobody has used it for too long
	shared bool  // whoever consumes it lets others do so too; not stored
}

// durableBytes is what a durable entry takes in the log, roughly.
const durableBytes = 128

// durables finds those that take what is published on a topic.
type durables struct {
	count  int // of them, the queues of virtual topics not counted
	topics patternSet[*durable]
}

func (s *durables) add(d *durable) {
	s.topics.add(d.pattern(), d)
	if d.queue.hidden() {
		s.count++
	}
}

func (s *durables) remove(d *durable) {
	s.topics.remove(d.pattern(), d)
	if d.queue.hidden() {
		s.count--
	}
}

// each calls fn for those that match the topic of this name.
func (s *durables) each(topic string, fn func(*durable)) { s.topics.each(Topic(topic), fn) }

func (d *durable) pattern() Pattern { return Pattern{Topic(d.topic)} }

// hidden says that q is a durable subscription, and not a queue that clients see.
func (q *queue) hidden() bool {
	if q.durable == nil {
		return false
	}
	_, durable := durableID(q.destination)
	return durable
}

// takes says whether d wants what this client sends.
func (d *durable) takes(client string) bool {
	id, _ := durableID(d.queue.destination)
	return !d.noLocal || id.Client != client
}

// selects says that q is durable and holds only what matches sel.
func (q *queue) selects(sel *selector.Selector) bool {
	d := q.durable
	return d != nil && !d.retroactive && d.selector == sel.String()
}

// origin is where a message of q was sent, as far as it is known: those who
// subscribe to several topics see which it was.
func (q *queue) origin(msg *Message) Destination {
	durable := q.hidden()
	switch {
	case q.spool:
		return Queue(msg.Topic())
	case !durable && !q.destination.Topic:
		return q.destination
	case msg != nil && msg.Topic() != "":
		return Topic(msg.Topic())
	case durable:
		return Topic(q.durable.topic)
	}
	return q.destination
}

// publishedTo says that the queue of this name may take what is published.
func publishedTo(queue string) bool {
	_, durable := durableID(Queue(queue))
	_, virtual := virtualTopicOf(queue)
	return durable || virtual
}

// deadLetterName is what the dead letters of q are called after: its name, or
// the topic. Of a durable subscription to a topic with wildcards it is what is
// before them.
func (q *queue) deadLetterName(msg *Message) string {
	if q.durable == nil {
		return q.origin(msg).Name
	}
	name := q.origin(nil).Name
	if i := strings.IndexAny(name, wildcards); i >= 0 {
		name = strings.TrimSuffix(name[:i], ".")
	}
	if name == "" {
		return "topics"
	}
	return name
}

// subscribeDurable checks that a SUBSCRIBE may have its durable subscription, and
// makes that if there is none.
//
// One that is there with another topic, selector or no-local is deleted, with
// what it holds, and made anew: so JMS has it ("Durable Topic Subscriptions").
func (m *Machine) subscribeDurable(c *Command, out *Effects) (*queue, error) {
	id := c.Consumer.Durable
	if len(c.More.Sources) == 1 {
		c.Destination = c.More.Sources[0].named
	} else if len(c.More.Sources) > 1 {
		return nil, durableError("a durable subscription has one topic, perhaps with wildcards, and not %d destinations", len(c.More.Sources))
	}
	if !c.Destination.Topic {
		return nil, durableError("%s is a queue: only a subscription of a topic can be durable; a queue keeps its messages anyway", c.Destination)
	}
	if c.Destination.Temporary() {
		return nil, durableError("%s is a temporary topic, which is gone with this connection: its subscriptions cannot be durable", c.Destination.Own())
	}
	if c.Destination.reports() {
		return nil, durableError("%s is a topic of the broker's reports, which are not kept: its subscriptions cannot be durable", c.Destination)
	}
	if err := id.check(); err != nil {
		return nil, err
	}
	if c.Consumer.NoLocal && id.Client == "" {
		return nil, durableError("no-local of a durable subscription needs a client-id: it is about what the client of that name sends")
	}
	want := record{kind: KindDurable, queue: id.key(), topic: c.Destination.Name, noLocal: c.Consumer.NoLocal, selector: c.Consumer.Selector.String()}
	want.retroactive = c.Consumer.Retroactive != nil && want.selector != ""
	q := m.find(want.queue)
	var kept []taken
	if q == nil || q.durable == nil || !q.durable.is(&want) {
		var err error
		if kept, err = m.wanted(c); err != nil {
			return nil, err
		}
	}
	switch {
	case q == nil || q.durable == nil:
		if err := m.admit(queueBytes); err != nil {
			return nil, err
		}
		want.claim = m.claimed(nil)
	case q.locals > 0 && !(q.durable.shared && c.Consumer.Shared):
		return nil, &Error{Code: CodeDurableInUse, Text: fmt.Sprintf(
			"the durable subscription %s has a consumer: only consumers that all say shared:true may have one together", quote(id.String()))}
	case q.durable.is(&want):
		if q.durable.claim.Home != "" {
			m.reclaim(q, m.claimed(q.durable), out)
		}
		q.durable.shared = c.Consumer.Shared
		return q, nil
	case q.locals > 0:
		return nil, &Error{Code: CodeDurableInUse, Text: fmt.Sprintf(
			"the durable subscription %s is in use with another topic, selector or no-local", quote(id.String()))}
	default:
		m.forgo(q, out)
		want.claim = m.claimed(nil)
	}
	m.whole = len(kept) > 0
	m.record(&want, out)
	q = m.find(want.queue)
	m.take(q, kept, out)
	m.whole, m.joined = false, false
	q.durable.shared = c.Consumer.Shared
	return q, nil
}

// is says that d is what r would make.
func (d *durable) is(r *record) bool {
	return d.topic == r.topic && d.selector == r.selector && d.noLocal == r.noLocal
}

// unsubscribeDurable ends the subscription of a session, if it has it, and
// deletes the durable subscription, with what that holds.
func (m *Machine) unsubscribeDurable(c *Command, out *Effects) error {
	q, s, err := m.locateDurable(c)
	if err != nil {
		return err
	}
	others := q.locals
	if s != nil {
		others--
	}
	if others > 0 {
		return &Error{Code: CodeDurableInUse, Text: fmt.Sprintf(
			"the durable subscription %s has another consumer: it can be deleted when that has gone", quote(q.destination.String()))}
	}
	if s != nil {
		m.leave(s, out)
	}
	m.forgo(q, out)
	return nil
}

// locateDurable finds the durable subscription that c names, and the
// subscription of this session that consumes it, nil if there is none.
func (m *Machine) locateDurable(c *Command) (*queue, *subscription, error) {
	id := c.Consumer.Durable
	if ses := m.sessions[c.Session]; ses != nil {
		s := ses.named(c.Subscription)
		if s != nil && s.durable() && (id.Name == "" || s.sources[0].queue.destination.Name == id.key()) {
			return s.sources[0].queue, s, nil
		}
	}
	if id.Name != "" {
		if q := m.find(id.key()); q != nil {
			return q, nil, nil
		}
		return nil, nil, &Error{Code: CodeNoSubscription, Text: fmt.Sprintf("there is no durable subscription %s", quote(id.String()))}
	}
	return nil, nil, &Error{Code: CodeNoSubscription, Text: fmt.Sprintf(
		"this connection has no durable subscription with the id %s", quote(c.Subscription))}
}

// durable says that s consumes a durable subscription.
func (s *subscription) durable() bool {
	return len(s.sources) == 1 && s.sources[0].queue.hidden()
}

// hasPlain says that an UNSUBSCRIBE, which names no durable subscription, is about
// one of the session that is not durable: there is nothing to delete.
func (ses *session) hasPlain(c *Command) bool {
	if ses == nil || c.Consumer.Durable.Name != "" {
		return false
	}
	s := ses.named(c.Subscription)
	return s != nil && !s.durable()
}

// forgo deletes a durable without consumers of this broker. What a transaction holds of it goes
// too.
func (m *Machine) forgo(q *queue, out *Effects) {
	m.banish(q, out)
	for _, ses := range m.sessions {
		for _, s := range ses.leaving {
			s.flights.each(0, s.flights.last(), func(tag uint64, fl *flight) {
				if fl.queue == q {
					s.flights.remove(tag)
				}
			})
		}
		ses.forgetLeft()
	}
	m.newest = max(m.newest, q.durable.claim.Number+1) // which is what deletes it elsewhere
	m.record(&record{kind: KindForgo, queue: q.destination.Name, seqs: []uint64{q.durable.seq}}, out)
}

func (m *Machine) applyDurable(r *record) {
	m.enliven(r.seq, durableBytes)
	if m.recovery.has(r.queue, r.seq) {
		return
	}
	q := m.queue(r.queue)
	m.dissolve(q)
	m.attach(&durable{queue: q, seq: r.seq, topic: r.topic, selector: r.selector, noLocal: r.noLocal, retroactive: r.retroactive, claim: r.claim})
}

// attach makes the queue of d durable.
func (m *Machine) attach(d *durable) {
	d.queue.durable = d
	m.newest = max(m.newest, d.claim.Number)
	if d.selector != "" {
		d.selects, _ = selector.Parse(d.selector) // one that only another version understands selects all: nothing is lost
	}
	m.durables.add(d)
	if d.queue.hidden() {
		d.queue.policy = m.policies.of(Topic(d.topic))
		m.stir(d.queue)
	}
}

func (m *Machine) applyForgo(r *record) {
	q := m.changing(r)
	if q == nil || q.durable == nil {
		return
	}
	m.dissolve(q)
	m.clear(q)
	m.collect(q)
}

// lapse sees to it that q is deleted if it is a durable subscription that nobody
// uses, and nobody does for as long as its policy allows. What the time was
// before a restart is not known: it begins again.
func (m *Machine) lapse(q *queue) {
	if ttl := q.unusedFor(); ttl > 0 && q.offline() && !m.replica(q) {
		m.setTimer(&q.durable.timer, q.durable, m.millis+ttl)
	}
}

// ring deletes what nobody has used for too long.
func (d *durable) ring(m *Machine, out *Effects) {
	switch q := d.queue; {
	case m.replica(q): // when its home deletes it, it goes
	case q.offline():
		id, _ := durableID(q.destination)
		out.Lapsed = append(out.Lapsed, id)
		m.forgo(q, out)
	case q.unused == 0: // it was used meanwhile
		m.idle(q)
	case q.unneeded():
		m.forgo(q, out)
	}
}

// dissolve makes q a queue like others.
func (m *Machine) dissolve(q *queue) {
	if q.durable == nil {
		return
	}
	m.durables.remove(q.durable)
	if q.hidden() {
		m.stir(q)
	}
	m.stopTimer(&q.durable.timer)
	if m.recovery == nil {
		m.live.remove(q.durable.seq, durableBytes)
	}
	q.durable = nil
}

// clear discards all that is in q.
func (m *Machine) clear(q *queue) {
	for q.ready > 0 {
		m.discard(q, q.take())
	}
	for _, l := range q.levels {
		for _, c := range l.chunks {
			c.unpack()
		}
	}
	var rest []ref
	q.each(func(at ref) bool {
		rest = append(rest, at)
		return true
	})
	for _, at := range rest {
		m.discard(q, at)
	}
}
