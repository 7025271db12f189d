package destinations

import (
	"maps"
	"math"
	"slices"
	"strings"

	"baton/destinations/selector"
)

// Brokers of a network forward messages to where their consumers are. To the
// Machine another broker is a subscription of one session, with Consumer.Network:
// it comes after all consumers of this broker, gets as many messages as it was
// granted and no more, has all the time it wants to settle them, and is no demand
// of its own, so that two brokers never want messages for each other.
//
// The other way round, a Demand says what the consumers here want of a queue. The
// Machine notes of which queues that may have changed; Machine.Demands tells.

// NetworkPrefix begins the names of queues in which the network keeps what it is
// about: no policy is for them.
const NetworkPrefix = "$network."

// networkPriority is below what any client can ask for, and sparePriority below that.
const (
	sparePriority   = math.MinInt
	networkPriority = math.MinInt + 1
)

// MaxDemandSelectors bounds those of one Demand: where there are more, it says
// that everything is wanted, and what comes in vain goes on to somebody else.
const MaxDemandSelectors = 32

// A Demand is what the consumers of a queue of this broker want, and what waits
// for them.
//
// Those that came by a wildcard take from queues that are not there yet too. What
// they want is told once for each pattern, whichever queues it names, and so their
// credit counts once; in the Demand of a queue they only count as Wild.
type Demand struct {
	Queue     string        // its name; or what Pattern.String says, of those who take from queues by a wildcard
	Topic     string        // instead of Queue, perhaps with wildcards: whether it has subscribers is all that is said
	Consumers int           // of this broker
	Wild      int           // more of them, that came by a wildcard
	Window    int           // messages that they may have in flight together
	Free      int           // and of these, how many more they could be given now
	Ready     int           // messages that wait
	Wanted    int           // of these, such as Consumers want and cannot be given now
	Flying    int           // messages that somebody has, and has not settled
	Selectors []string      // what they want, sorted; nil: everything, if there are Consumers
	Durable   *DurableState // Queue is that of this durable subscription; nil: it is of none, or that is gone
	Parked    []Parked      // of Ready, such as are of groups of other brokers; by their names
}

// Parked are messages that wait for another broker, for the owners of their groups
// are there.
type Parked struct {
	Member   string
	Messages int
}

// shares says that other brokers may be told of the demand for a queue, and get its
// messages.
func (m *Machine) shares(d Destination) bool {
	_, durable := durableID(d)
	return durable || d.visible() && !m.policies.isDeadLetterQueue(d) && !d.Temporary()
}

// stir notes that the demand for q may have changed.
func (m *Machine) stir(q *queue) {
	if m.telling && !q.stirred && (q.shared || q.members.len() > q.consumers) {
		q.stirred = true
		m.stirred = append(m.stirred, q)
	}
}

// TellDemands has Demands tell of all queues, and of what changes from now on;
// or of nothing any more.
func (m *Machine) TellDemands(tell bool) {
	for _, q := range m.stirred {
		q.stirred = false
	}
	m.stirred, m.stirredTopics, m.stirredWilds, m.telling = nil, nil, nil, tell
	for _, name := range slices.Sorted(maps.Keys(m.wilds)) {
		m.wilds[name].stirred = false
		m.stirWild(m.wilds[name])
	}
	if tell {
		m.stirredTopics = slices.Sorted(maps.Keys(m.listeners))
	}
	for _, q := range m.roster.places {
		if q != nil {
			m.stir(q)
		}
	}
}

// Stirred says that Demands has something to tell.
func (m *Machine) Stirred() bool { return len(m.stirred)+len(m.stirredTopics)+len(m.stirredWilds) > 0 }

// A wild is those who take from queues by one pattern.
type wild struct {
	pattern Pattern
	subs    []*subscription
	stirred bool // it is in Machine.stirredWilds

	wanted int   // by those without credit, as it was when looked at last
	looked int64 // when that was, in Unix ms
}

// Of a subscription with many queues it is not counted each time what waits in them
// for its credit: while that is used up, it is a matter of how much is sent ahead.
const (
	manySources = 256
	lookEvery   = 10 // ms
)

// longsFor notes that s takes from queues by a wildcard, or does not any more. A
// pattern of dead-letter queues is for this broker alone.
func (m *Machine) longsFor(s *subscription, p Pattern, longs bool) {
	if s.consumer.Network || p.named.Topic || m.policies.isDeadLetterQueue(p.named) {
		return
	}
	name := p.String()
	w := m.wilds[name]
	switch {
	case !longs:
		w.subs = without(w.subs, s)
		if len(w.subs) == 0 {
			delete(m.wilds, name)
		}
	case w == nil:
		if m.wilds == nil {
			m.wilds = map[string]*wild{}
		}
		w = &wild{pattern: p}
		m.wilds[name] = w
		fallthrough
	default:
		w.subs = append(w.subs, s)
	}
	m.stirWild(w)
}

func (m *Machine) stirWild(w *wild) {
	if m.telling && !w.stirred {
		w.stirred = true
		m.stirredWilds = append(m.stirredWilds, w)
	}
}

// stirWilds notes that the demand of those who consume q by a wildcard may have
// changed.
func (m *Machine) stirWilds(q *queue) {
	if q.members.len() == q.consumers {
		return
	}
	for _, src := range q.members.places {
		if src == nil || !src.wild || src.sub.consumer.Network {
			continue
		}
		for _, p := range src.sub.watches {
			if w := m.wilds[p.String()]; p.Wild() && w != nil {
				m.stirWild(w)
			}
		}
	}
}

// demand is that of the pattern as it is now.
func (w *wild) demand(m *Machine) Demand {
	d := Demand{Queue: w.pattern.String()}
	wants := selection{}
	for _, s := range w.subs {
		window := s.consumer.Prefetch
		fresh := s.consumer.Prefetch == 0 || s.consumer.PrefetchBytes == 0 // it has had no queue yet, whose defaults it would have
		if setDefault(&window, m.policies.of(w.pattern.named).Prefetch); fresh || s.hasCredit() {
			d.Free += window - s.out
		}
		d.Consumers++
		d.Window += window
		wants.add(s.consumer.Selector)
		if s.consumer.Exclusive || !fresh && !s.hasCredit() {
			d.Wanted = max(d.Wanted, w.waiting(m, s))
		}
	}
	d.Selectors = wants.texts()
	return d
}

// waiting is how many messages wait for s in its queues.
func (w *wild) waiting(m *Machine, s *subscription) (wanted int) {
	if len(s.sources) > manySources {
		if m.millis < w.looked+lookEvery {
			return w.wanted
		}
		defer func() { w.wanted, w.looked = wanted, m.millis }()
	}
	for _, src := range s.sources {
		if wanted > 2*s.consumer.Prefetch {
			break // there is no room for more, however many there are
		}
		if src.queue.shared {
			wanted += src.wanted() + src.parked.len()
		}
	}
	return wanted
}

// wanted is how many messages wait for src or others like it and cannot be given to them now.
func (src *source) wanted() int {
	switch {
	case src.view == nil:
		return src.queue.ready
	case src.sub.hasCredit():
		return 0 // what waits, it does not select
	}
	return src.view.found.len()
}

// A selection is what several consumers select.
type selection struct {
	all       []string
	unlimited bool
}

func (s *selection) add(sel *selector.Selector) {
	if sel == nil {
		s.unlimited = true
	} else if text := sel.String(); !s.unlimited && !slices.Contains(s.all, text) {
		s.all = append(s.all, text)
	}
}

// texts are the selectors, sorted; nil: everything, or nothing.
func (s *selection) texts() []string {
	if s.unlimited || len(s.all) > MaxDemandSelectors {
		return nil
	}
	slices.Sort(s.all)
	return s.all
}

// listens counts the subscribers of topics, and notes where there are some first or
// none any more. Those of temporary topics and of the broker's reports are for
// this broker alone.
func (m *Machine) listens(s *subscription, topic Destination, more int) {
	if s.consumer.Network || topic.Temporary() || topic.reports() {
		return
	}
	if m.listeners == nil {
		m.listeners = map[string]int{}
	}
	n := m.listeners[topic.Name] + more
	if m.listeners[topic.Name] = n; n == 0 {
		delete(m.listeners, topic.Name)
	}
	if m.telling && (n == 0 || n == 1 && more > 0) && !slices.Contains(m.stirredTopics, topic.Name) {
		m.stirredTopics = append(m.stirredTopics, topic.Name)
	}
}

// Demands appends the demand for those queues of which it may have changed since
// they were told last, in the order of that, but at most so many. One that is gone
// has no Consumers.
func (m *Machine) Demands(dst []Demand, most int) []Demand {
	n := min(most, len(m.stirredTopics))
	for _, topic := range m.stirredTopics[:n] {
		dst = append(dst, Demand{Topic: topic, Consumers: m.listeners[topic]})
	}
	m.stirredTopics = slices.Delete(m.stirredTopics, 0, n)
	most -= n
	n = min(most, len(m.stirred))
	for _, q := range m.stirred[:n] {
		q.stirred = false
		if m.stirWilds(q); q.shared {
			dst = append(dst, q.demand())
		}
	}
	m.stirred = slices.Delete(m.stirred, 0, n)
	n = min(most-n, len(m.stirredWilds))
	for _, w := range m.stirredWilds[:n] {
		w.stirred = false
		dst = append(dst, w.demand(m))
	}
	m.stirredWilds = slices.Delete(m.stirredWilds, 0, n)
	return dst
}

// demand is that of q as it is now.
func (q *queue) demand() Demand {
	d := Demand{Queue: q.destination.Name, Ready: q.ready, Flying: q.live - q.ready - q.held.messages}
	wants := selection{}
	parked := 0 // for consumers here
	if q.hidden() {
		d.Durable = q.durable.state()
		wants.unlimited = true // it holds nothing else
	}
	for _, src := range q.members.places {
		if src == nil {
			continue
		}
		d.Ready += src.parked.len()
		if src.sub.consumer.Network {
			d.park(src)
			continue
		}
		if src.wild {
			d.Wild++
			continue
		}
		d.Consumers++
		if q.active != nil && q.active != src {
			continue
		}
		s := src.sub
		d.Window += s.consumer.Prefetch
		if s.hasCredit() {
			d.Free += s.consumer.Prefetch - s.out
		}
		wants.add(s.consumer.Selector)
		d.Wanted = max(d.Wanted, src.wanted())
		parked += src.parked.len()
	}
	d.Wanted += parked
	d.Selectors = wants.texts()
	return d
}

// park counts what waits for src, of another broker.
func (d *Demand) park(src *source) {
	member, n := src.sub.consumer.Member, src.parked.len()
	if n == 0 || member == "" {
		return
	}
	i, found := slices.BinarySearchFunc(d.Parked, member, func(p Parked, member string) int { return strings.Compare(p.Member, member) })
	if !found {
		d.Parked = slices.Insert(d.Parked, i, Parked{Member: member})
	}
	d.Parked[i].Messages += n
}

// grant says how many messages a subscription of another broker may get from now
// on.
func (m *Machine) grant(c *Command) {
	ses := m.sessions[c.Session]
	if ses == nil {
		return
	}
	s := ses.named(c.Subscription)
	if s == nil || !s.consumer.Network {
		return
	}
	s.granted = c.more().Grant
	for _, src := range s.sources[:min(len(s.sources), manySources)] {
		m.relieveFor(src)
	}
	m.replenish(s)
}

// comes marks what o put into a queue as what the broker says that had it before:
// delivered, so often in vain. before is the newest entry, and number the newest
// message that was not stored, before o.
func (m *Machine) comes(o *Outgoing, before, number uint64, out *Effects) {
	q := m.find(o.Destination.Name)
	if o.Destination.Topic || q == nil {
		return
	}
	at, ok := ref{}, false
	if o.Message.n > number {
		at, ok = q.find(m.last, o.Message.n)
	}
	for seq := before + 1; !ok && seq <= m.last; seq++ {
		at, ok = q.find(seq, 0)
	}
	if !ok {
		return
	}
	marks := &at.slot().marks
	if o.Returned {
		*marks |= markReturned
	}
	if o.Apart {
		*marks |= markApart
	}
	if o.Forwarded && o.Message.group() != "" {
		*marks |= markCame
	}
	if o.Attempts > 0 {
		m.attempt(q, at, min(o.Attempts, maxAttempts), 0, out)
	}
}

// AppendForward appends a message of a queue as it goes to another broker, but for
// its content, which is to follow, and whose header lines have so many octets there.
// What it was to wait for is over, and stays behind.
func AppendForward(dst []byte, m *Message, headerBytes int) []byte {
	own := Message{HeaderBytes: int32(headerBytes), Form: m.Form, Persistent: m.Persistent}
	if p := m.Props; p != nil {
		props := *p
		props.Deliver, props.Delay, props.Period, props.Repeat, props.Cron, props.TTL = 0, 0, 0, 0, "", 0
		props.Job, props.Sent, props.Client, props.sender, props.topic = MessageID{}, 0, "", 0, ""
		own.Props = &props
	}
	r := record{kind: KindEnqueue, msg: &own}
	return r.encode(dst)
}

// ReadForward reads what AppendForward appended, and the content. The message shares memory with b.
func ReadForward(b []byte) (*Message, error) {
	return Entry{Kind: KindEnqueue, Body: b}.Message()
}
