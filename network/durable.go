package network

import (
	"maps"
	"math"
	"time"

	"baton/destinations"
)

// A durable subscription is at every broker of the network, see
// destinations.DurableState; one is its home. The home tells it with the demand for
// its queue, which is told whether or not somebody consumes there. In a full list a
// broker also tells those of others, so that a claim is heard of though its broker is
// away: such hearsay changes what is there, and makes nothing. What its home leaves
// out of a full list is deleted. What was deleted does not come back by an older word
// of somebody who has not heard of that yet.

// A durable is what brokers tell of a durable subscription.
type durable struct {
	Topic    string `json:"t,omitempty"` // perhaps with wildcards
	Selector string `json:"s,omitempty"`
	NoLocal  bool   `json:"l,omitempty"`
	Home     string `json:"h,omitempty"` // life of its home
	Born     uint64 `json:"b,omitempty"`
	Number   uint64 `json:"n,omitempty"` // of the claim
	Gone     bool   `json:"g,omitempty"` // it was deleted
}

// describes says that both are the same subscription, wherever it is at home.
func (d *durable) describes(s *destinations.DurableState) bool {
	return d != nil && s != nil && d.Topic == s.Topic && d.Selector == s.Selector && d.NoLocal == s.NoLocal
}

func (d *durable) same(o *durable) bool { return d == o || d != nil && o != nil && *d == *o }

// durableQueue says that a queue of this name is that of a durable subscription.
func durableQueue(name string) bool { return destinations.Queue(name).Durable() }

// durableHere is the durable subscription with this queue that is here; nil: none.
func (x *exchange) durableHere(queue string) *destinations.DurableState {
	if w := x.local[queue]; w != nil {
		return w.now.Durable
	}
	return nil
}

// tells is what peers are told of the durable subscription of w, of which this broker
// is the home, or has told before that it was; or, with all, whoever is. Nil: nothing.
func (x *exchange) tells(w *want, all bool) *durable {
	s := w.now.Durable
	switch {
	case s == nil:
		return w.gone
	case !all && s.Home != "" && w.told.Durable == nil && w.now.Consumers == 0:
		return nil
	}
	d := &durable{Topic: s.Topic, Selector: s.Selector, NoLocal: s.NoLocal, Home: s.Home, Born: s.Born, Number: s.Number}
	if d.Home == "" {
		d.Home = x.Life
	}
	return d
}

// passesTopic says whether messages of a durable subscription to a topic may leave;
// with wildcards each is asked for by itself.
func (x *exchange) passesTopic(topic string) bool {
	p, err := destinations.Names{MaxBytes: math.MaxInt}.ParsePattern(destinations.Topic(topic).String())
	return err == nil && (p.Wild() || x.Forwards(destinations.Topic(topic)))
}

// mayLeave says whether a message of a durable subscription may: perhaps only some of
// those of a wildcard may.
func (x *exchange) mayLeave(queue string, m *destinations.Message) bool {
	return !durableQueue(queue) || m.Topic() == "" || x.Forwards(destinations.Topic(m.Topic()))
}

// learnDurable takes what a peer says of a durable subscription.
func (x *exchange) learnDurable(p *peer, d *demand) {
	delete(p.unsure, d.Queue)
	switch {
	case d.Durable == nil:
		had := p.durables[d.Queue]
		delete(p.durables, d.Queue)
		if s := x.durableHere(d.Queue); had != nil && s != nil && s.Home == p.life {
			x.teach(d.Queue, &durable{Home: p.life, Number: s.Number + 1, Gone: true})
		}
		return
	case d.Durable.Gone:
		delete(p.durables, d.Queue)
		x.teach(d.Queue, d.Durable)
		return
	}
	p.durables[d.Queue] = d.Durable
	x.compareDurable(p, d.Queue)
}

// compareDurable has the broker carry out what a peer has told of a durable
// subscription, if that differs from what is here.
func (x *exchange) compareDurable(p *peer, queue string) {
	d, here := p.durables[queue], x.durableHere(queue)
	switch {
	case d == nil, d.Home == x.Life:
	case !x.passesTopic(d.Topic):
		if here != nil && here.Home != "" && d.Number > here.Number { // it was another one before, that was here too
			x.teach(queue, &durable{Home: d.Home, Number: d.Number, Gone: true})
		}
	case here == nil && (d.Home != p.life || d.Number <= x.graves[queue].number):
	case here != nil && (d.Number < here.Number || d.describes(here) && d.Home == here.Home && d.Born == here.Born && d.Number == here.Number):
	default:
		x.teach(queue, d)
	}
}

// teach has the broker learn of a durable subscription.
func (x *exchange) teach(queue string, d *durable) {
	if d.Gone {
		x.buried(queue, d.Number)
	}
	x.do(destinations.Command{
		Op: destinations.Learn, Destination: destinations.Queue(queue), Delete: d.Gone,
		More: &destinations.More{Outranks: d.Home > x.Life, Durable: &destinations.DurableState{
			Topic: d.Topic, Selector: d.Selector, NoLocal: d.NoLocal, Claim: destinations.Claim{Home: d.Home, Born: d.Born, Number: d.Number},
		}},
	})
}

// durableChanged serves the links of a durable subscription that was another one
// before, or none.
func (x *exchange) durableChanged(w *want, before *destinations.DurableState) {
	now, queue := w.now.Durable, w.now.Queue
	if now == before || now != nil && before != nil && *now == *before {
		return
	}
	w.gone = nil
	if now == nil && x.graves[queue].number <= before.Number { // else another broker has said so
		w.gone = &durable{Home: x.Life, Number: before.Number + 1, Gone: true}
		x.buried(queue, before.Number+1)
	}
	anew := now == nil || before == nil || now.Born != before.Born || now.Topic != before.Topic || now.Selector != before.Selector
	for _, p := range x.sortedPeers() {
		if l := p.demands[queue]; l != nil {
			if anew {
				x.leave(l) // it ended with what it was of
			}
			x.serve(l)
		}
		if x.compareDurable(p, queue); now != nil && p.known && now.Home == p.life && p.durables[queue] == nil {
			p.unsure[queue] = false
		}
	}
}

// agrees says that a link is of what is here under this name, too.
func (x *exchange) agrees(l *link) bool {
	return !durableQueue(l.demand.Queue) || x.passes(l.demand.Queue) && l.demand.Durable.describes(x.durableHere(l.demand.Queue))
}

// A grave is what is remembered of a durable subscription that was deleted.
type grave struct {
	number uint64 // of the claim that deleted it
	since  time.Time
}

// graveyard is how long it is.
const graveyard = time.Minute

// buried notes that a durable subscription was deleted.
func (x *exchange) buried(queue string, number uint64) {
	x.graves[queue] = grave{max(number, x.graves[queue].number), x.now}
}

// forgetGraves forgets what was deleted long ago.
func (x *exchange) forgetGraves() {
	maps.DeleteFunc(x.graves, func(_ string, g grave) bool { return x.now.Sub(g.since) > graveyard })
}

// missed looks, at the end of a full list of a peer, for those of which it should be
// the home. What it was asked for and has left out again is deleted; for the rest, it
// is asked.
func (x *exchange) missed(p *peer) {
	for _, queue := range sortedKeys(x.local) {
		switch s := x.local[queue].now.Durable; {
		case s == nil || s.Home == "" || s.Home != p.life || p.durables[queue] != nil:
			delete(p.unsure, queue)
		case p.unsure[queue]:
			delete(p.unsure, queue)
			x.teach(queue, &durable{Home: p.life, Number: s.Number + 1, Gone: true})
		default:
			p.unsure[queue] = false
		}
	}
}

// makeSure asks a peer for those of which it is not sure that they are there yet.
func (x *exchange) makeSure(p *peer) {
	if len(p.unsure) == 0 || x.now.Sub(p.asked) < x.Retry {
		return
	}
	for queue := range maps.Keys(p.unsure) {
		p.unsure[queue] = true
	}
	p.asked = x.now
	x.say(p.member, frame{Kind: frameWant})
}

// durables are the durable subscriptions that are here, in the order of their names.
func (x *exchange) durables() []DurableStatus {
	home := map[string]string{"": x.Member, x.Life: x.Member}
	for _, p := range x.peers {
		if p.life != "" {
			home[p.life] = p.member
		}
	}
	all := []DurableStatus{}
	for _, queue := range sortedKeys(x.local) {
		if s := x.durableHere(queue); s != nil {
			all = append(all, DurableStatus{destinations.Queue(queue).String(), s.Topic, home[s.Home]})
		}
	}
	return all
}
