package network

import (
	"fmt"
	"slices"
	"time"

	"baton/destinations"
)

// A link is what a peer wants of one queue, and the subscription for it.
type link struct {
	peer    *peer
	demand  demand
	id      string // of the subscription; empty: there is none
	number  uint32 // of it, known from its first delivery
	granted int    // messages that it may still get
	pending []destinations.Delivery
	octets  int
	out     int       // messages of its transfers
	rest    time.Time // none until then: something went wrong
	failed  int       // times in a row
	why     string    // it failed last
}

func (x *exchange) serveAll(queue string) {
	for _, p := range x.sortedPeers() {
		if l := p.demands[queue]; l != nil {
			x.serve(l)
		}
	}
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
	if len(l.pending) >= batchMessages || l.octets >= batchBytes {
		x.offer(l)
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
		l.pending = slices.Delete(l.pending, 0, n)
	}
	if len(l.pending) == 0 {
		l.pending = nil
	} else if !slices.Contains(l.peer.waiting, l) {
		l.peer.waiting = append(l.peer.waiting, l)
	}
}

// serve gives a link its subscription, and as much credit as the peer has room.
func (x *exchange) serve(l *link) {
	switch {
	case x.closing || x.mode == Stopped || x.peers[l.peer.member] != l.peer || l.peer.demands[l.demand.Queue] != l:
		return
	case l.id == "" && (!x.ready || x.now.Before(l.rest)):
		if !slices.Contains(x.resting, l) {
			x.resting = append(x.resting, l)
		}
		return
	}
	if l.id == "" {
		x.subscribe(l)
	}
	w := x.local[l.demand.Queue]
	alone := w == nil || w.now.Consumers == 0
	grant := min(max(0, l.demand.room(alone)-l.out-len(l.pending)), grantLimit)
	if grant == l.granted || grant > l.granted && grant < l.granted+batchMessages/4 && l.granted > 0 {
		return
	}
	l.granted = grant
	x.do(destinations.Command{Op: destinations.Grant, Subscription: l.id, More: &destinations.More{Grant: grant}})
}

func (x *exchange) subscribe(l *link) {
	x.serial++
	l.id = fmt.Sprintf("%s %d", l.peer.member, x.serial)
	l.granted = 0
	x.links[l.id] = l
	x.do(destinations.Command{
		Op: destinations.Subscribe, Subscription: l.id, Destination: destinations.Queue(l.demand.Queue),
		Consumer: &destinations.Consumer{
			Ack: destinations.AckClient, Network: true, Prefetch: 1 << 20, PrefetchBytes: 4 * batchBytes, Selector: union(l.demand.Selectors),
		},
	})
}

// leave ends the subscription of a link. What it was delivered and has not offered
// is back in its queue.
func (x *exchange) leave(l *link) {
	if l.id == "" {
		return
	}
	x.do(destinations.Command{Op: destinations.Unsubscribe, Subscription: l.id})
	delete(x.links, l.id)
	l.id, l.granted, l.pending, l.octets = "", 0, nil, 0
}
