package destinations

import (
	"fmt"
)

func (m *Machine) subscribe(c *Command, out *Effects) error {
	ses := m.sessions[c.Session]
	if ses != nil {
		if ses.named(c.Subscription) != nil {
			return &Error{Code: CodeSubscriptionExists, Text: fmt.Sprintf(
				"a subscription with the id %s exists on this connection", quote(c.Subscription))}
		}
		// One that has ended, but of which a transaction holds messages, counts.
		if n := len(ses.subs) + len(ses.leaving); n >= m.opts.MaxSubscriptions && !c.Consumer.Network {
			return &Error{Code: CodeTooManySubscription, Text: fmt.Sprintf(
				"this connection has %d subscriptions: no more are allowed", n)}
		}
	}
	if err := m.maySubscribe(c); err != nil {
		return err
	}
	if err := m.admit(m.lasting(c)); err != nil {
		return err
	}
	q, err := m.source(c, out)
	if err != nil {
		return err
	}
	if ses == nil {
		ses = &session{id: c.Session}
		m.sessions[c.Session] = ses
	}
	s := m.newSubscription(ses, c)
	m.enlist(ses, s, c, q, out)
	m.lookBack(s)
	m.noteSubscription(SubscriptionMade, s, 0)
	return nil
}

// source is the queue that a SUBSCRIBE takes from: for a topic, one of its own;
// nil if it has several sources.
func (m *Machine) source(c *Command, out *Effects) (*queue, error) {
	switch d := c.Destination; {
	case c.Consumer.Browse:
		return m.browse(c)
	case c.Consumer.Durable != DurableID{}:
		return m.subscribeDurable(c, out)
	case len(c.More.Sources) > 0:
		return nil, nil
	case d.Topic:
		return &queue{destination: d, policy: m.policies.of(d)}, nil
	case d.Temporary():
		return m.temporary(c)
	default:
		m.establish(d.Name, out)
		return m.queue(d.Name), nil
	}
}

func (m *Machine) newSubscription(ses *session, c *Command) *subscription {
	ses.lastSub++
	s := &subscription{session: ses, id: c.Subscription, number: ses.lastSub, consumer: *c.Consumer}
	if s.consumer.Network {
		s.consumer.Priority = networkPriority
		if s.consumer.Spare {
			s.consumer.Priority = sparePriority
		}
	}
	if s.consumer.ByMessageID {
		s.byID = map[MessageID]uint64{}
	}
	return s
}

// enlist joins a subscription to its session and to what it takes from.
func (m *Machine) enlist(ses *session, s *subscription, c *Command, q *queue, out *Effects) {
	ses.add(s)
	switch {
	case q == nil:
		m.watch(s, c.More.Sources, out)
	case q.browser != nil:
		s.copies = q
		m.consume(s, q, false)
	case q.destination.Topic:
		m.listen(s, q)
	default:
		ses.own(q)
		m.consume(s, q, false)
	}
}

// listen makes s a subscriber of one topic, whose copies wait in q.
func (m *Machine) listen(s *subscription, q *queue) {
	d := q.destination
	t := m.topics[d.Name]
	if t == nil {
		t = &topic{policy: q.policy}
		m.topics[d.Name] = t
		m.noteDestination(DestinationMade, d)
	}
	t.add(s)
	m.listens(s, d, 1)
	if d.reports() {
		m.observers++
	}
	s.topic, s.copies = d, q
	m.consume(s, q, false)
}

// consume makes s a consumer of q.
func (m *Machine) consume(s *subscription, q *queue, wild bool) {
	setDefault(&s.consumer.Prefetch, q.policy.Prefetch)
	setDefault(&s.consumer.PrefetchBytes, q.policy.PrefetchBytes)
	src := &source{sub: s, queue: q, wild: wild, index: len(s.sources)}
	if sel := s.consumer.Selector; sel != nil && q != s.copies && !q.selects(sel) {
		src.view = m.view(q, sel)
		src.view.members++
	}
	if lease := s.consumer.Lease.Milliseconds(); lease > 0 && !wild {
		q.lease = lease
	}
	s.sources = append(s.sources, src)
	q.enter(src)
	m.mayStray(src)
	m.stir(q)
	m.rebalance(src)
	m.touch(q)
}

func (m *Machine) unsubscribe(c *Command, out *Effects) error {
	ses := m.sessions[c.Session]
	if c.Delete && !ses.hasPlain(c) {
		return m.unsubscribeDurable(c, out)
	}
	if ses == nil || ses.named(c.Subscription) == nil {
		return &Error{Code: CodeNoSubscription, Text: fmt.Sprintf(
			"this connection has no subscription with the id %s", quote(c.Subscription))}
	}
	m.leave(ses.named(c.Subscription), out)
	return nil
}

// leave ends a subscription while its session goes on.
func (m *Machine) leave(s *subscription, out *Effects) {
	s.session.remove(s)
	m.retire(s)
	m.giveBackAll(s, true)
	if !s.flights.none() {
		m.keepPlaces(s)
		s.session.leaving = append(s.session.leaving, s)
	}
	m.forsake(s)
	out.Outputs = append(out.Outputs, Output{Kind: Forget, Session: s.session.id, Delivery: Delivery{Label: &Label{Subscription: s.id, Sub: s.number}}})
}

// remove takes a subscription out of its session.
func (ses *session) remove(s *subscription) {
	delete(ses.byID, s.id)
	for i := range ses.subs {
		if ses.subs[i] == s {
			ses.subs = append(ses.subs[:i], ses.subs[i+1:]...)
			return
		}
	}
}

// retire takes a subscription out of its destinations: it gets nothing more.
func (m *Machine) retire(s *subscription) {
	s.closed, s.idle = true, nil
	m.noteSubscription(SubscriptionEnded, s, 0)
	m.stopTimer(&s.alarm)
	m.closeReader(s.copies)
	for _, src := range s.sources {
		active := src.queue.active
		src.queue.leave(src)
		m.mayStray(src)
		m.stir(src.queue)
		m.forgetView(src.view)
		m.orphan(src)
		if src.queue.active != active {
			m.concentrate(src.queue)
		}
		m.touch(src.queue)
	}
	m.unwatch(s)
	if t := m.topics[s.topic.Name]; t != nil && s.topic.Topic {
		if t.remove(s); t.empty() {
			delete(m.topics, s.topic.Name)
			m.noteDestination(DestinationGone, s.topic)
		}
		m.listens(s, s.topic, -1)
		if s.topic.reports() {
			m.observers--
		}
	}
}

// giveBackAll returns what a retired subscription did not settle: to its place
// in the queue, or away if it was a topic's copy. With keepHeld, what it has
// acknowledged in a transaction stays with the transaction: COMMIT and ABORT
// will say what becomes of it.
func (m *Machine) giveBackAll(s *subscription, keepHeld bool) {
	s.flights.each(0, s.flights.last(), func(tag uint64, fl *flight) {
		switch q := fl.queue; {
		case q == s.copies:
			s.flights.remove(tag)
		case fl.tx == nil || !keepHeld:
			m.giveBackFrom(s, q, fl.at)
			s.flights.remove(tag)
			m.touch(q)
		}
	})
	if s.copies != nil {
		s.copies.each(func(at ref) bool {
			if m.release(at); at.logged() != 0 {
				m.unspill(at)
			}
			return true
		})
		m.forgetKeys(s.copies)
		m.forgetGroups(s.copies)
		m.stopTimer(&s.copies.timer)
		s.copies = nil
	}
}

// forsake forgets the queues of a retired subscription that nobody needs now.
func (m *Machine) forsake(s *subscription) {
	for _, src := range s.sources {
		m.lapse(src.queue)
		m.collect(src.queue)
	}
	s.sources = nil
}

// disconnect ends all subscriptions of a session and its transactions.
func (m *Machine) disconnect(c *Command, out *Effects) {
	ses := m.sessions[c.Session]
	if ses == nil {
		return
	}
	delete(m.sessions, c.Session)
	// All of them first, so that nothing is given to one that is about to end.
	for _, s := range ses.subs {
		m.retire(s)
	}
	for _, s := range ses.subs {
		if !c.Clean && s.consumer.Ack != AckAuto {
			m.blame(s, c, out)
		}
		m.giveBackAll(s, false)
		m.forsake(s)
	}
	for _, s := range ses.leaving {
		m.giveBackAll(s, false)
		m.forsake(s)
	}
	m.dropTemporary(ses, out)
}

// blame counts a failed delivery for one message that a lost consumer had: the
// one that it most likely was working on, which is the oldest that it had not
// acknowledged in a transaction either. Those behind it were only prefetched;
// were they counted too, a consumer that dies of one message again and again
// would take its neighbours to the dead-letter queue. One that was not wholly
// written to the consumer did it no harm, and is not counted.
func (m *Machine) blame(s *subscription, c *Command, out *Effects) {
	var oldest, open uint64
	s.flights.each(0, s.flights.last(), func(tag uint64, fl *flight) {
		if fl.queue == s.copies {
			return
		}
		if oldest == 0 {
			oldest = tag
		}
		if open == 0 && fl.tx == nil {
			open = tag
		}
	})
	suspect := open
	if open == 0 {
		suspect = oldest
	}
	if suspect != 0 && (c.more().Written == nil || suspect <= c.more().Written[s.number]) {
		m.fail(s, suspect, Refusal{}, out)
	}
}
