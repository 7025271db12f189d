package network

import (
	"fmt"
	"slices"
	"strings"

	"baton/destinations"
)

// An Explanation says why the messages of a queue wait at one broker.
type Explanation struct {
	Member    string   `json:"member"`
	Queue     string   `json:"queue"`
	Waiting   int      `json:"waiting"`   // messages that nobody has
	InFlight  int      `json:"in_flight"` // that somebody has, and has not settled
	Consumers int      `json:"consumers"` // of this broker
	Why       []string `json:"why"`       // what holds them, a sentence each; empty: nothing waits
}

// explain says why messages of a queue wait here.
func (x *exchange) explain(queue string) Explanation {
	e := Explanation{Member: x.Member, Queue: queue, Why: []string{}}
	if queue = x.queueOf(queue); strings.HasPrefix(queue, "/durable/") {
		e.Why = append(e.Why, "this broker does not know of this durable subscription")
		return e
	}
	w := x.local[queue]
	if w != nil {
		e.Waiting, e.InFlight, e.Consumers = w.now.Ready, w.now.Flying, w.now.Consumers+w.now.Wild
	}
	if e.Waiting == 0 {
		return e
	}
	because := func(format string, args ...any) { e.Why = append(e.Why, fmt.Sprintf(format, args...)) }
	switch d := &w.now; {
	case d.Consumers == 0 && d.Wild > 0:
		because("the %d consumers here, by wildcards, want other messages or have as many in flight as they may have", d.Wild)
	case d.Consumers == 0:
		because("no consumer is connected to this broker")
	case d.Free <= 0:
		because("the %d consumers here have the %d messages in flight that they may have", d.Consumers, d.Window)
	case d.Selectors != nil:
		because("the %d consumers here want other messages: %s", d.Consumers, strings.Join(d.Selectors, "; "))
	default:
		because("consumers here can take %d more: they are being given", d.Free)
	}
	switch {
	case !x.passes(queue):
		because("network.include and network.exclude do not let messages of this queue, or topic, leave")
		return e
	case x.mode == Stopped:
		because("this broker takes no part in the network: it was stopped by an operator")
		return e
	case !x.ready:
		because("this broker is still reading what was under way before its start")
	case len(x.peers) == 0:
		because("no other broker of the network is heard of")
	}
	if x.MaxHops > 0 {
		because("network.max_hops: what was forwarded %d times stays here", x.MaxHops)
	}
	for _, s := range x.Static {
		if x.peers[s.To] == nil && s.Queues.Matches(destinations.Queue(queue)) {
			because("%s: network.static gives it these messages, but it is not heard of", s.To)
		}
	}
	for _, p := range x.sortedPeers() {
		links := p.linksOf(queue)
		for _, l := range links {
			because("%s: %s", p.member, x.explainLink(l, queue))
		}
		for _, parked := range w.now.Parked {
			if parked.Member == p.member {
				because("%s: it has the consumers of the groups of %d of them", p.member, parked.Messages)
			}
		}
		switch {
		case len(links) > 0:
		case p.known:
			because("%s: it has no consumers", p.member)
		default:
			because("%s: its demand is not known yet", p.member)
		}
	}
	return e
}

// queueOf is the queue that operators call so: of a durable subscription it is
// /durable/CLIENT/NAME.
func (x *exchange) queueOf(name string) string {
	if !strings.HasPrefix(name, "/durable/") {
		return name
	}
	for queue := range x.local {
		if durableQueue(queue) && destinations.Queue(queue).String() == name {
			return queue
		}
	}
	return name
}

// linksOf are those that messages of a queue may take.
func (p *peer) linksOf(queue string) (all []*link) {
	if l := p.demands[queue]; l != nil {
		all = append(all, l)
	}
	for _, pattern := range sortedKeys(p.wild) {
		if l := p.wild[pattern]; l.pattern.Matches(destinations.Queue(queue)) {
			all = append(all, l)
		}
	}
	for _, l := range p.given {
		if l.static && l.pattern.Matches(destinations.Queue(queue)) {
			all = append(all, l)
		}
	}
	return all
}

// explainLink says why a peer does not get them.
func (x *exchange) explainLink(l *link, queue string) string {
	switch {
	case x.now.Before(l.rest) && l.circled > 0:
		return fmt.Sprintf("%s: the next messages leave in %v", circling, l.rest.Sub(x.now))
	case x.now.Before(l.rest):
		return fmt.Sprintf("the last transfer failed (%s), the next try is in %v", l.why, l.rest.Sub(x.now))
	case !x.agrees(l):
		return "a subscription of this name there is one of another topic or selector, or its topic may not leave"
	case l.turned:
		return "it has as much under way as it may have: they wait for their turn"
	case l.static && l.peer.declines:
		return "network.static gives it these messages, but it takes none: it was told so by an operator"
	case l.static && x.consumedHere(queue):
		return "network.static gives it these messages while there is no consumer here"
	case l.out+len(l.pending) > 0:
		return fmt.Sprintf("%d messages are under way to it", l.out+len(l.pending))
	case x.room(l) == 0:
		return fmt.Sprintf("its %d consumers have as many messages as they may have", l.demand.Consumers)
	case len(l.demand.Selectors) > 0:
		return "its consumers want other messages: " + strings.Join(l.demand.Selectors, "; ")
	}
	if l.static {
		return "network.static gives it these messages, but not those that were there before"
	}
	return fmt.Sprintf("it has room for %d: they are being sent", x.room(l))
}

// consumedHere says that a queue has consumers of this broker.
func (x *exchange) consumedHere(queue string) bool {
	w := x.local[queue]
	return w != nil && w.consumed()
}

// setMode changes what this broker takes part in.
func (x *exchange) setMode(m Mode, out *actions) error {
	if !slices.Contains([]Mode{Running, Draining, Stopped}, m) {
		return fmt.Errorf("%q is none of running, draining and stopped", m)
	}
	drained := x.mode == Draining
	x.out, x.mode, x.full = out, m, true
	x.sayHello()
	for _, p := range x.sortedPeers() {
		for _, l := range p.links() {
			if m == Stopped {
				x.leave(l)
			} else {
				if drained != (m == Draining) {
					x.renew(l) // for where groups are at home
				}
				x.serve(l)
			}
		}
	}
	x.tell()
	return nil
}
