package destinations

import (
	"fmt"
	"slices"
)

// In a network of brokers a durable subscription is at all of them, so that its
// client may come back to any: each keeps for it what its own clients publish, and
// what is kept elsewhere comes to where the subscription is consumed, as with any
// queue. One broker is its home, where it was used last; at the others there are
// replicas. Brokers tell one another of them by a DurableState, and carry out what
// they hear by Learn.

// A DurableState is what brokers tell one another of a durable subscription.
type DurableState struct {
	Topic    string // its name, perhaps with wildcards
	Selector string // its text; empty: none
	NoLocal  bool
	Claim
}

// A Claim says at which broker of a network a durable subscription is at home. The
// zero value is that of a broker without a network.
type Claim struct {
	Home   string // the data of that broker, see the package network; empty: of this one
	Born   uint64 // tells it from one of the same name before it; Unix ms, as far as that goes up
	Number uint64 // the highest one counts; Unix ms, as far as that goes up
}

// claimed is the claim of this broker to d, higher than the one before. d is nil
// if there is none yet. A broker that knows of no network has none.
func (m *Machine) claimed(d *durable) (c Claim) {
	if d != nil {
		c = Claim{Born: d.claim.Born, Number: d.claim.Number + 1}
	}
	if m.telling {
		c.Number = max(c.Number, m.newest+1, uint64(max(0, m.millis)))
		if m.newest = c.Number; d == nil {
			c.Born = c.Number
		}
	}
	return c
}

// state is what other brokers are told of d.
func (d *durable) state() *DurableState {
	return &DurableState{Topic: d.topic, Selector: d.selector, NoLocal: d.noLocal, Claim: d.claim}
}

// learn carries out what another broker says of a durable subscription. Who has the
// lower claim yields. Messages that are here stay, and follow the one whose claim it is, but those of
// a subscription that was deleted since, or is another one by now.
func (m *Machine) learn(c *Command, out *Effects) error {
	id, ok := durableID(c.Destination)
	told := c.more().Durable
	if !ok || c.Destination.Topic || told == nil {
		return durableError("%s is no durable subscription that another broker could tell of", quote(c.Destination.String()))
	}
	if err := id.check(); err != nil {
		return err
	}
	m.newest = max(m.newest, told.Number)
	q := m.find(c.Destination.Name)
	if q != nil && q.durable == nil {
		q = nil
	}
	want := record{kind: KindDurable, queue: c.Destination.Name, topic: told.Topic, selector: told.Selector, noLocal: told.NoLocal, claim: told.Claim}
	switch {
	case q == nil && (c.Delete || c.Existing):
		return nil
	case q == nil:
		if err := m.admit(queueBytes); err != nil {
			return err
		}
		m.record(&want, out)
		return nil
	}
	d := q.durable
	switch ahead := told.Number > d.claim.Number || told.Number == d.claim.Number && c.more().Outranks; {
	case !ahead:
	case c.Delete && q.locals > 0, !c.Delete && !d.is(&want) && q.locals > 0: // in use here: so it stays
		if c.Delete {
			m.reclaim(q, Claim{Born: d.claim.Born, Number: told.Number + 1}, out)
		}
	case c.Delete:
		m.forgo(q, out)
	case !d.is(&want), d.claim.Home == told.Home && d.claim.Born != told.Born && q.locals == 0: // made anew there
		m.forgo(q, out)
		m.record(&want, out)
	default:
		m.reclaim(q, told.Claim, out)
	}
	return nil
}

// replica says that q is at home at another broker of the network.
func (m *Machine) replica(q *queue) bool {
	return m.telling && q.hidden() && q.durable.claim.Home != ""
}

// reclaim notes that a durable subscription, which stays what it is, has another
// claim.
func (m *Machine) reclaim(q *queue, c Claim, out *Effects) {
	d := q.durable
	if d.claim == c {
		return
	}
	m.record(&record{kind: KindDurable, queue: q.destination.Name, topic: d.topic, selector: d.selector, noLocal: d.noLocal, retroactive: d.retroactive, claim: c, instead: d.seq}, out)
	q.durable.shared = d.shared
}

// arrive puts into a durable subscription what another broker had for it. If it is
// not here, or would not have taken this, it is another one by now.
func (m *Machine) arrive(c *Command, o *Outgoing, out *Effects) {
	q := m.find(o.Destination.Name)
	if q == nil || q.durable == nil {
		return
	}
	d, topic := q.durable, o.Message.Topic()
	if topic == "" {
		topic = d.topic
	}
	if d.pattern().Matches(Topic(topic)) && m.selects(d.selects, o.Message) {
		m.place(c, o.Message, nil, topic, []*durable{d}, false, out)
	}
}

// banish ends the subscriptions of other brokers to q, which is deleted.
func (m *Machine) banish(q *queue, out *Effects) {
	var all []*subscription
	for _, src := range q.members.places {
		if src != nil && src.sub.consumer.Network {
			all = append(all, src.sub)
		}
	}
	slices.SortFunc(all, func(a, b *subscription) int { return int(a.number) - int(b.number) })
	for _, s := range all {
		m.leave(s, out)
	}
}

// String is for scripts and logs.
func (s *DurableState) String() string {
	return fmt.Sprintf("%s %q no-local=%v home=%q born=%d number=%d", s.Topic, s.Selector, s.NoLocal, s.Home, s.Born, s.Number)
}
