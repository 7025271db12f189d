package network

import (
	"slices"
	"time"

	"baton/destinations"
)

// A want is what the consumers here want of a queue.
type want struct {
	now  destinations.Demand
	told demand   // as the peers know it
	odd  bool     // one of them was told something else since
	gone *durable // it was of a durable subscription, which a client here has deleted
}

// consumed says that somebody here takes from the queue.
func (w *want) consumed() bool { return w.now.Consumers+w.now.Wild > 0 }

// idle says that there is nothing to know of the queue.
func (w *want) idle() bool {
	return !w.consumed() && w.now.Ready+w.now.Flying == 0 && w.now.Durable == nil
}

// wants takes what the consumers here want.
func (x *exchange) wants(now time.Time, demands []destinations.Demand, out *actions) {
	x.now, x.out = now, out
	for _, d := range demands {
		if d.Topic != "" {
			x.listens(d.Topic, d.Consumers > 0)
			continue
		}
		w := x.local[d.Queue]
		if w == nil {
			w = &want{}
			x.local[d.Queue] = w
		}
		before, was, parked := w.consumed(), w.now.Durable, w.now.Parked
		w.now = d
		x.fresh[d.Queue] = true
		if w.consumed() != before && !wildName(d.Queue) {
			x.serveAll(d.Queue, !before)
		}
		x.durableChanged(w, was)
		x.serveParked(d.Queue, parked)
	}
	x.tell()
}

// parkedFor says that messages wait for a member, for the groups that are its.
func (w *want) parkedFor(member string) bool {
	return slices.ContainsFunc(w.now.Parked, func(p destinations.Parked) bool { return p.Member == member })
}

// serveParked serves the links of a queue for which messages are parked and were not before.
func (x *exchange) serveParked(queue string, before []destinations.Parked) {
	for _, parked := range x.local[queue].now.Parked {
		if slices.ContainsFunc(before, func(b destinations.Parked) bool { return b.Member == parked.Member }) {
			continue
		}
		if p := x.peers[parked.Member]; p != nil && p.demands[queue] != nil {
			x.serve(p.demands[queue])
		}
	}
}

// tellEvery is how often peers hear of changes of the demand that are none of
// whether there is one.
const tellEvery = 5 * time.Millisecond

// Bounds of the demands in one frame, and of the selectors of one demand: with more,
// everything is wanted, as the Machine has it with very many.
const (
	maxTold          = 1000
	maxToldBytes     = 64 << 10 // in JSON perhaps six times as many
	maxSelectorBytes = 64 << 10
)

// inFrames says demands in as many frames as they need; there is always one.
func inFrames(all []demand, say func(demands []demand, first, last bool)) {
	for first := true; first || len(all) > 0; first = false {
		n, octets := 0, 0
		for n < len(all) && n < maxTold && (n == 0 || octets < maxToldBytes) {
			octets += all[n].size()
			n++
		}
		say(all[:n], first, n == len(all))
		all = all[n:]
	}
}

// size is what d takes in a frame, roughly.
func (d *demand) size() int {
	octets := 100 + len(d.Queue) + len(d.Topic) + sizeOf(d.Selectors)
	if d.Durable != nil {
		octets += 100 + len(d.Durable.Topic) + len(d.Durable.Selector) + len(d.Durable.Home)
	}
	return octets
}

func sizeOf(texts []string) (octets int) {
	for _, t := range texts {
		octets += len(t)
	}
	return octets
}

// tell tells all peers what has changed.
func (x *exchange) tell() {
	if x.full {
		x.full = false
		x.tellAll()
		return
	}
	if len(x.fresh)+len(x.freshTopic) == 0 || x.now.Sub(x.told) < tellEvery {
		return
	}
	changed := x.freshTopics()
	for _, queue := range sortedKeys(x.fresh) {
		w := x.local[queue]
		d := x.demandFor(w, false)
		delete(x.fresh, queue)
		if w.idle() {
			delete(x.local, queue)
		}
		if !w.odd && !d.differs(&w.told) {
			continue
		}
		w.told, w.odd = d, false
		changed = append(changed, d)
	}
	if len(changed) == 0 {
		return
	}
	x.told = x.now
	inFrames(changed, func(demands []demand, _, _ bool) {
		x.version++
		x.say("", frame{Kind: frameDemand, Version: x.version, Demand: demands, Life: x.Life})
	})
}

func (x *exchange) tellAll() {
	var all []demand
	for _, queue := range sortedKeys(x.local) {
		w := x.local[queue]
		if w.told, w.odd = x.demandFor(w, true), false; w.told.Consumers > 0 || w.told.Durable != nil {
			all = append(all, w.told)
		}
		if w.idle() {
			delete(x.local, queue)
		}
	}
	clear(x.fresh)
	all = append(all, x.allTopics()...)
	inFrames(all, func(demands []demand, first, last bool) {
		x.version++
		x.say("", frame{Kind: frameDemand, Version: x.version, Full: first, Done: last, Demand: demands, Life: x.Life})
	})
	x.told = x.now
}

// demandFor is what peers are told; with all, as a part of all that there is.
func (x *exchange) demandFor(w *want, all bool) demand {
	d := &w.now
	standing := x.tells(w, all)
	if x.mode != Running || !x.passes(d.Queue) {
		return demand{Queue: d.Queue, Durable: standing}
	}
	selectors := d.Selectors
	if sizeOf(selectors) > maxSelectorBytes {
		selectors = nil
	}
	return demand{Queue: d.Queue, Consumers: d.Consumers, Window: d.Window, Free: d.Free, Ready: d.Wanted, Selectors: selectors, Durable: standing}
}

// passes says whether messages of what a demand is called may leave. Of a pattern each
// queue is asked for by itself.
func (x *exchange) passes(name string) bool {
	if durableQueue(name) {
		s := x.durableHere(name)
		return s != nil && x.passesTopic(s.Topic)
	}
	return wildName(name) || x.Forwards(destinations.Queue(name))
}

// room is how many messages a peer could use: what its consumers can take at once
// or, when nobody else has a use for them, as many again as they may have in flight.
func (d *demand) room(alone bool) int {
	room := d.Free
	if alone {
		room += d.Window
	}
	return max(0, room-d.Ready)
}

// differs says that peers should know.
func (d *demand) differs(told *demand) bool {
	if d.Consumers != told.Consumers || d.Window != told.Window || !slices.Equal(d.Selectors, told.Selectors) || !d.Durable.same(told.Durable) {
		return true
	}
	now, before := d.room(true), told.room(true)
	return (now == 0) != (before == 0) || max(now-before, before-now) > d.Window/8
}

// compare asks for the demand of a peer if something of it is not known.
func (x *exchange) compare(p *peer, version uint64) {
	if p.known && p.version == version || x.now.Sub(p.asked) < x.Retry {
		return
	}
	p.asked = x.now
	x.say(p.member, frame{Kind: frameWant})
}

// learn takes a part of the demand of a peer.
func (x *exchange) learn(p *peer, f *frame) {
	switch {
	case f.Version <= p.version: // it was overtaken
		return
	case f.Full:
		p.setKnown(true, x.now)
		p.stale = map[string]bool{}
		for queue := range p.demands {
			p.stale[demand{Queue: queue}.key()] = true
		}
		for queue := range p.durables {
			p.stale[demand{Queue: queue}.key()] = true
		}
		for topic := range p.topics {
			p.stale[demand{Topic: topic}.key()] = true
		}
	case !p.known || f.Version != p.version+1:
		p.setKnown(false, x.now)
		x.compare(p, f.Version)
		return
	}
	p.version, p.life = f.Version, f.Life
	for i := range f.Demand {
		delete(p.stale, f.Demand[i].key())
		x.learnOne(p, &f.Demand[i])
	}
	if f.Done {
		for _, key := range sortedKeys(p.stale) {
			x.learnOne(p, demandOf(key))
		}
		p.stale = nil
		x.missed(p)
	}
}

func (p *peer) setKnown(known bool, now time.Time) {
	if p.known != known {
		p.known, p.learned = known, now
	}
}

func (x *exchange) learnOne(p *peer, d *demand) {
	if d.Topic != "" {
		x.learnTopic(p, d)
		return
	}
	standing := durableQueue(d.Queue)
	if standing {
		x.learnDurable(p, d)
	}
	l := p.demands[d.Queue]
	if d.Consumers == 0 {
		if l != nil {
			x.endLink(l)
			delete(p.demands, d.Queue)
			delete(p.wild, d.Queue)
		}
		return
	}
	if !standing && !x.passes(d.Queue) {
		return
	}
	if l == nil {
		l = x.newLink(p, d.Queue)
	}
	selects := l.demand.Selectors
	l.demand = *d
	if !slices.Equal(selects, d.Selectors) {
		x.renew(l)
	}
	x.serve(l)
}
