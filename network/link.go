package network

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"baton/destinations"
	"baton/destinations/selector"
)

// A link is what a peer wants of one queue, or of those that a pattern names, and
// the subscription for it.
type link struct {
	peer    *peer
	demand  demand
	pattern destinations.Pattern // of its queues; the zero value: it has one
	rivals  int                  // of a pattern: its queues with consumers here
	spool   bool                 // it is for temporary queues that the peer has, whichever
	static  bool                 // messages of its queues go to the peer without its asking
	ended   bool
	id      string // of the subscription; empty: there is none
	number  uint32 // of it, known from its first delivery
	granted int    // messages that it may still get
	pending []destinations.Delivery
	octets  int
	turned  bool        // it is in peer.turned
	waiting bool        // it is in peer.waiting
	out     int         // messages of its transfers
	grouped []*transfer // of these, those with messages of groups that are not decided, in their order
	rest    time.Time   // none until then: something went wrong
	failed  int         // times in a row
	why     string      // it failed last
	circled int         // batches in a row that had come from the peer, been there before, and went back to it
}

// serveAll serves the links of a queue, which has its first consumer here, or has lost
// its last.
func (x *exchange) serveAll(queue string, consumed bool) {
	for _, p := range x.sortedPeers() {
		if l := p.demands[queue]; l != nil {
			x.serve(l)
		}
		for _, pattern := range sortedKeys(p.wild) {
			l := p.wild[pattern]
			if !l.pattern.Matches(destinations.Queue(queue)) {
				continue
			}
			if l.rivals--; consumed {
				l.rivals += 2
			}
			x.serve(l)
		}
	}
}

// newLink is what a peer wants that is called so: a queue, or what patternOf reads.
func (x *exchange) newLink(p *peer, name string) *link {
	l := &link{peer: p}
	p.demands[name] = l
	pattern, wild := patternOf(name)
	if !wild {
		return l
	}
	l.pattern = pattern
	p.wild[name] = l
	for queue, w := range x.local {
		if w.consumed() && !wildName(queue) && pattern.Matches(destinations.Queue(queue)) {
			l.rivals++
		}
	}
	return l
}

// patternOf reads the name of a demand of consumers by a wildcard. No queue has such
// a name: what begins like it has no wildcards.
func patternOf(name string) (p destinations.Pattern, ok bool) {
	if !wildName(name) {
		return p, false
	}
	p, err := destinations.Names{MaxBytes: math.MaxInt}.ParsePattern(name)
	return p, err == nil && p.Wild()
}

func wildName(name string) bool {
	return strings.HasPrefix(name, "/queue/") && strings.ContainsAny(name, "*>")
}

// open makes the links that a peer has without asking.
func (x *exchange) open(p *peer) {
	p.given = append(p.given, &link{peer: p, spool: true, demand: demand{Queue: destinations.Spool(p.member).Name}})
	for _, s := range x.Static {
		if s.To == p.member && (s.Queues.Wild() || x.Forwards(destinations.Queue(strings.TrimPrefix(s.Queues.String(), "/queue/")))) {
			p.given = append(p.given, &link{peer: p, static: true, pattern: s.Queues, demand: demand{Queue: s.Queues.String()}})
		}
	}
	x.serveGiven(p)
}

func (x *exchange) serveGiven(p *peer) {
	for _, l := range p.given {
		x.serve(l)
	}
}

// notTwice selects, of what goes to a member without its asking, what was not there
// before: two brokers that give each other everything give nothing to and fro.
func notTwice(member string) *selector.Selector {
	const path = `"x-broker-path"`
	like := strings.ReplaceAll(member, "_", "!_")
	s, err := selector.Parse(fmt.Sprintf("%[1]s IS NULL OR NOT (%[1]s = '%[2]s' OR %[1]s LIKE '%[3]s,%%' ESCAPE '!' OR %[1]s LIKE '%%,%[3]s' ESCAPE '!' "+
		"OR %[1]s LIKE '%%,%[3]s,%%' ESCAPE '!')", path, member, like))
	if err != nil {
		panic("BUG: the selector of a path: " + err.Error())
	}
	return s
}

// links are all that a peer has, in the order of the names of what it asked for.
func (p *peer) links() []*link {
	all := slices.Clone(p.given)
	for _, name := range sortedKeys(p.demands) {
		all = append(all, p.demands[name])
	}
	return all
}

// several says that the link is for more queues than one.
func (l *link) several() bool { return l.spool || l.pattern != destinations.Pattern{} }

// batchName is what a batch of the link is for.
func (l *link) batchName() string {
	if l.spool || l.static {
		return ""
	}
	return l.demand.Queue
}

// queueOf is what the batch says of a message that differs from the others, of one of
// a durable subscription its topic; empty: it does not.
func (l *link) queueOf(d *destinations.Delivery) string {
	if l.several() {
		return d.Destination.Name
	}
	if durableQueue(l.demand.Queue) {
		return d.Message.Topic()
	}
	return ""
}

// room is how many messages the peer could use.
func (x *exchange) room(l *link) int {
	switch {
	case l.static && l.peer.declines:
		return 0
	case l.spool || l.static:
		return grantLimit
	}
	w := x.local[l.demand.Queue]
	return l.demand.room(l.rivals == 0 && (l.several() || w == nil || !w.consumed() || w.parkedFor(l.peer.member)))
}

func (x *exchange) delivered(d *destinations.Delivery) {
	switch d.Subscription {
	case subHeld:
		x.keeps(d)
		return
	case subSent:
		x.decidedBefore(d)
		return
	}
	if r := x.relayOf(d); r != nil {
		x.relay(r, d)
		return
	}
	l := x.links[d.Subscription]
	if l == nil {
		return // it was given up, and so the message is back
	}
	l.granted--
	l.number = d.Sub
	if len(l.pending) == 0 {
		x.filled = append(x.filled, l)
	}
	l.pending = append(l.pending, *d)
	l.octets += len(d.Message.Content)
	l.peer.pending += len(d.Message.Content)
	if len(l.pending) >= batchMessages || l.octets >= batchBytes {
		x.offer(l)
	}
	if l.peer.pending > maxPending && len(l.pending) > 0 {
		x.turnAway(l)
	}
}

// turnAway gives back to its queue what a link has and has not offered, for its peer
// has too much under way: there it is for whoever can take it. The link comes back
// when there is room.
func (x *exchange) turnAway(l *link) {
	x.renew(l)
	l.turned = true
	l.peer.turned = append(l.peer.turned, l)
}

// comeBack lets some links of a peer come back that were turned away.
func (x *exchange) comeBack(p *peer) {
	for range maxBack {
		if len(p.turned) == 0 || p.pending > maxPending/2 {
			return
		}
		l := p.turned[0]
		p.turned = p.turned[1:]
		l.turned = false
		x.serve(l)
	}
}

// offer has the peer hold what was delivered for it.
func (x *exchange) offer(l *link) {
	for len(l.pending) > 0 && l.peer.transfers < maxTransfers {
		n, octets := 0, 0
		for n < len(l.pending) && n < batchMessages && (n == 0 || octets < batchBytes) {
			octets += len(l.pending[n].Message.Content)
			n++
		}
		x.offerBatch(l, l.pending[:n])
		l.octets -= octets
		l.peer.pending -= octets
		l.pending = slices.Delete(l.pending, 0, n)
	}
	if len(l.pending) == 0 {
		l.pending = nil
	} else if !l.waiting {
		l.waiting = true
		l.peer.waiting = append(l.peer.waiting, l)
	}
}

// serve gives a link its subscription, and as much credit as the peer has room.
func (x *exchange) serve(l *link) {
	switch {
	case x.closing || x.mode == Stopped || l.ended || l.turned:
		return
	case !x.agrees(l):
		x.leave(l)
		return
	case !x.ready || x.now.Before(l.rest):
		if !slices.Contains(x.resting, l) {
			x.resting = append(x.resting, l)
		}
		return
	}
	if l.id == "" {
		x.subscribe(l)
	}
	grant := min(max(0, x.room(l)-l.out-len(l.pending)), grantLimit)
	if grant == l.granted || grant > l.granted && grant < l.granted+batchMessages/4 && l.granted > 0 {
		return
	}
	l.granted = grant
	x.do(destinations.Command{Op: destinations.Grant, Subscription: l.id, More: &destinations.More{Grant: grant}})
}

// Bounds of the rest of a link whose messages go to and fro.
const (
	leastCircling = 100 * time.Millisecond
	maxCircled    = 4 // in a row that make the rest longer, each twice as long
)

// circling is why such a link rests.
const circling = "what goes to it comes back, again and again"

// slowDown lets a link rest after a batch that goes to and fro between both brokers: each
// wants it when it is at the other one. Consumers that move may do that, and it costs
// them little; brokers that will never agree what they want cost each other little then.
func (x *exchange) slowDown(l *link, all []destinations.Delivery) {
	switch {
	case !x.toAndFro(l.peer.member, all[0].Message) && !x.toAndFro(l.peer.member, all[len(all)-1].Message):
		l.circled = 0
		return
	case x.now.Before(l.rest):
		return
	}
	l.circled, l.why = min(l.circled+1, maxCircled), circling
	l.rest = x.now.Add(leastCircling << (l.circled - 1))
	if l.granted > 0 {
		l.granted = 0
		x.do(destinations.Command{Op: destinations.Grant, Subscription: l.id, More: &destinations.More{}})
	}
	x.serve(l) // when the rest is over
}

// toAndFro says that a message was at a peer twice, and here in between, before it came
// here from there.
func (x *exchange) toAndFro(peer string, m *destinations.Message) bool {
	path := pathOf(m)
	n := len(path)
	return n >= 4 && path[n-1] == peer && path[n-2] == x.Member && path[n-3] == peer
}

func (x *exchange) subscribe(l *link) {
	x.serial++
	l.id = fmt.Sprintf("%s %d", l.peer.member, x.serial)
	l.granted = 0
	x.links[l.id] = l
	c := destinations.Command{
		Op: destinations.Subscribe, Subscription: l.id, Destination: destinations.Queue(l.demand.Queue),
		Consumer: &destinations.Consumer{
			Ack: destinations.AckClient, Network: true, Prefetch: 1 << 20, PrefetchBytes: 4 * batchBytes, Selector: x.atMost(union(l.demand.Selectors)),
		},
	}
	c.Existing = durableQueue(l.demand.Queue)
	switch {
	case l.spool:
	case !l.static:
		c.Consumer.Member, c.Consumer.Instead = l.peer.member, x.mode == Draining
	default:
		c.Consumer.Spare, c.Consumer.Selector = true, x.atMost(notTwice(l.peer.member))
	}
	if l.pattern != (destinations.Pattern{}) {
		c.Destination, c.More = destinations.Destination{}, &destinations.More{Sources: []destinations.Pattern{l.pattern}}
		c.Consumer.Only = x.Forwards
	}
	x.do(c)
}

// renew replaces the subscription of a link: what it was delivered and has not offered
// is back in its queue. The new one is there before the old one leaves, so that the
// peer stays the home of its groups.
func (x *exchange) renew(l *link) {
	if l.id == "" {
		return
	}
	old := *l
	l.pending, l.octets = nil, 0
	x.subscribe(l)
	x.leave(&old)
}

// endLink ends a link for good.
func (x *exchange) endLink(l *link) {
	x.leave(l)
	l.ended = true
}

// leave ends the subscription of a link. What it was delivered and has not offered
// is back in its queue.
func (x *exchange) leave(l *link) {
	if l.id == "" {
		return
	}
	x.do(destinations.Command{Op: destinations.Unsubscribe, Subscription: l.id})
	delete(x.links, l.id)
	l.peer.pending -= l.octets
	l.id, l.granted, l.pending, l.octets = "", 0, nil, 0
}
