package network

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"baton/destinations"
)

// Queues of the broker's own, see the package comment.
const (
	heldQueue = destinations.NetworkPrefix + "held"
	sentQueue = destinations.NetworkPrefix + "sent"
)

// Bounds of one batch and of the transfers to one peer.
const (
	batchMessages = 256
	batchBytes    = 256 << 10
	partBytes     = 512 << 10
	maxTransfers  = 16
	grantLimit    = 4 * batchMessages
	maxFailed     = 3 // transfers in a row that make the rest of a link longer, each twice as long
)

// Settings are what an exchange goes by.
type Settings struct {
	Member      string        // this broker, or this pair
	Incarnation string        // another one for each exchange that there ever was
	Hello       time.Duration // how often it says that it is there
	Silence     time.Duration // after which a peer has no demand
	Timeout     time.Duration // for a peer to hold a batch
	Retry       time.Duration // after which it is said again what was not answered
	Forwards    func(destinations.Destination) bool
}

// actions are what an exchange wants done, in order: commands first.
type actions struct {
	commands []destinations.Command
	frames   []outgoing
}

// An outgoing frame is for one peer, or for all.
type outgoing struct {
	to string // member; empty: all
	frame
}

// An exchange is what of a broker is in its network: who its peers are, what they
// want, and the transfers. It is pure, and for one goroutine at a time.
type exchange struct {
	Settings
	now     time.Time
	out     *actions
	serial  uint64 // of transfers and subscriptions
	version uint64 // of what was told of demand
	ready   bool   // what was held and decided before the start is known
	closing bool
	mode    Mode

	peers      map[string]*peer
	topics     map[string]bool      // that consumers here listen to, as the peers know it; false: not any more, and they do not know
	relays     map[string]*relay    // of topics that peers listen to, by pattern
	relayed    map[uint32]uint64    // newest delivery of each subscription that has left
	publishing []*peer              // with messages that were relayed and have not left
	local      map[string]*want     // what consumers here want, by queue, as it is
	fresh      map[string]bool      // of these, what may have to be told
	freshTopic map[string]bool      // the same of topics
	links      map[string]*link     // by subscription
	bySub      map[uint32]string    // subscriptions by their numbers, as deliveries have them
	sent       map[string]*transfer // by name
	held       map[string]*holding  // by name
	parts      map[string]*assembly // of what is on its way here
	hello      time.Time            // when the last was said
	told       time.Time            // when demand was
	filled     []*link              // those with something that may be offered
	resting    []*link              // those that wait for their rest to end
	full       bool                 // somebody wants all of it
}

// A want is what the consumers here want of a queue.
type want struct {
	now  destinations.Demand
	told demand // as the peers know it
	odd  bool   // one of them was told something else since
}

// A peer is another broker of the network.
type peer struct {
	member      string
	incarnation string
	heard       time.Time
	version     uint64 // of its demand that is known
	asked       time.Time
	known       bool // all of its demand is
	demands     map[string]*link
	topics      map[string]destinations.Pattern // that its consumers listen to
	transfers   int                             // under way to it
	publish     *frame                          // that has not left; nil: none
	waiting     []*link                         // that have something to offer, when one of these ends
	stale       map[string]bool
}

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

// A transfer is a batch on its way from here.
type transfer struct {
	name     string
	peer     string
	link     *link // nil: of an earlier process
	messages int
	stored   bool // some of them are persistent
	state    transferState
	due      time.Time
	sub      uint32 // the delivery of the decision
	tag      uint64
}

type transferState uint8

const (
	offered  transferState = iota // the peer was asked to hold it
	deciding                      // it does; the decision is not durable yet
	decided                       // it is
)

// A holding is a batch that is kept here for a peer that has not decided.
type holding struct {
	name, from, queue string
	sub               uint32
	tag               uint64
	batch             []byte
	releasing         bool
	due               time.Time
}

// An assembly is a batch of which some parts have come.
type assembly struct {
	frame
	next  int
	batch []byte
	heard time.Time
}

func newExchange(s Settings) *exchange {
	return &exchange{
		Settings: s, mode: Running, peers: map[string]*peer{}, topics: map[string]bool{}, relays: map[string]*relay{}, relayed: map[uint32]uint64{}, local: map[string]*want{}, fresh: map[string]bool{}, freshTopic: map[string]bool{},
		links: map[string]*link{}, bySub: map[uint32]string{}, sent: map[string]*transfer{}, held: map[string]*holding{}, parts: map[string]*assembly{},
	}
}

// Ids of subscriptions and receipts.
const (
	subHeld   = "held"
	subSent   = "sent"
	tagReady  = "ready"
	tagHold   = "hold "
	tagDecide = "decide "
	tagGive   = "release "
)

// begin takes up what an earlier process has left.
func (x *exchange) begin(now time.Time, out *actions) {
	x.now, x.out = now, out
	for _, sub := range []struct{ id, queue string }{{subHeld, heldQueue}, {subSent, sentQueue}} {
		x.do(destinations.Command{
			Op: destinations.Subscribe, Subscription: sub.id, Destination: destinations.Queue(sub.queue),
			Consumer: &destinations.Consumer{Ack: destinations.AckIndividual, Prefetch: 1 << 20, PrefetchBytes: 1 << 40},
		})
	}
	x.do(destinations.Command{Op: destinations.Note, WantReceipt: true, Receipt: tagReady})
	x.sayHello()
}

func (x *exchange) do(c destinations.Command) { x.out.commands = append(x.out.commands, c) }

func (x *exchange) say(to string, f frame) {
	f.From, f.Incarnation = x.Member, x.Incarnation
	x.out.frames = append(x.out.frames, outgoing{to, f})
}

func (x *exchange) sayHello() {
	x.hello = x.now
	x.say("", frame{Kind: frameHello, Version: x.version})
}

// end says goodbye.
func (x *exchange) end(now time.Time, out *actions) {
	x.now, x.out, x.closing = now, out, true
	x.say("", frame{Kind: frameBye})
}

// tick does what is due.
func (x *exchange) tick(now time.Time, out *actions) {
	x.now, x.out = now, out
	if now.Sub(x.hello) >= x.Hello {
		x.sayHello()
	}
	for _, p := range x.sortedPeers() {
		if now.Sub(p.heard) >= x.Silence {
			x.lose(p)
		}
	}
	for _, name := range sortedKeys(x.sent) {
		t := x.sent[name]
		if now.Before(t.due) {
			continue
		}
		switch t.state {
		case offered:
			x.takeBack(t, "it was not held in time")
		case decided:
			x.release(t)
		}
	}
	for _, name := range sortedKeys(x.held) {
		if h := x.held[name]; !h.releasing && !now.Before(h.due) {
			h.due = now.Add(2 * x.Retry)
			x.say(h.from, frame{Kind: frameAsk, Transfer: name})
		}
	}
	maps.DeleteFunc(x.parts, func(_ string, a *assembly) bool { return now.Sub(a.heard) > x.Timeout })
	resting := x.resting
	x.resting = nil
	for _, l := range resting {
		x.serve(l)
	}
	x.tell()
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

func (x *exchange) sortedPeers() (all []*peer) {
	for _, name := range sortedKeys(x.peers) {
		all = append(all, x.peers[name])
	}
	return all
}

// ---- what the broker says

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
		alone := w.now.Consumers == 0
		w.now = d
		x.fresh[d.Queue] = true
		if alone != (d.Consumers == 0) {
			x.serveAll(d.Queue)
		}
	}
	x.tell()
}

func (x *exchange) serveAll(queue string) {
	for _, p := range x.sortedPeers() {
		if l := p.demands[queue]; l != nil {
			x.serve(l)
		}
	}
}

// tellEvery is how often peers hear of changes of the demand that are none of
// whether there is one.
const tellEvery = 5 * time.Millisecond

// maxTold bounds the demands in one frame.
const maxTold = 1000

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
		d := x.demandFor(w)
		delete(x.fresh, queue)
		if w.now.Consumers+w.now.Ready+w.now.Flying == 0 {
			delete(x.local, queue)
		}
		if !w.odd && !d.differs(&w.told) {
			continue
		}
		w.told, w.odd = d, false
		changed = append(changed, d)
	}
	for chunk := range slices.Chunk(changed, maxTold) {
		x.told = x.now
		x.version++
		x.say("", frame{Kind: frameDemand, Version: x.version, Demand: chunk})
	}
}

func (x *exchange) tellAll() {
	var all []demand
	for _, queue := range sortedKeys(x.local) {
		w := x.local[queue]
		if w.told, w.odd = x.demandFor(w), false; w.told.Consumers > 0 {
			all = append(all, w.told)
		}
	}
	clear(x.fresh)
	all = append(all, x.allTopics()...)
	for first := 0; ; first += maxTold {
		last := min(first+maxTold, len(all))
		x.version++
		x.say("", frame{Kind: frameDemand, Version: x.version, Full: first == 0, Done: last == len(all), Demand: all[first:last]})
		if last == len(all) {
			break
		}
	}
	x.told = x.now
}

// demandFor is what peers are told.
func (x *exchange) demandFor(w *want) demand {
	d := &w.now
	if x.mode != Running || !x.Forwards(destinations.Queue(d.Queue)) {
		return demand{Queue: d.Queue}
	}
	return demand{Queue: d.Queue, Consumers: d.Consumers, Window: d.Window, Free: d.Free, Ready: d.Ready, Selectors: d.Selectors}
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
	if d.Consumers != told.Consumers || d.Window != told.Window || !slices.Equal(d.Selectors, told.Selectors) {
		return true
	}
	now, before := d.room(true), told.room(true)
	return (now == 0) != (before == 0) || max(now-before, before-now) > d.Window/8
}

// takes takes one output of the broker.
func (x *exchange) takes(now time.Time, o *destinations.Output, out *actions) {
	x.now, x.out = now, out
	switch o.Kind {
	case destinations.Deliver:
		x.delivered(&o.Delivery)
	case destinations.Receipt:
		x.confirmed(o.ReceiptID)
	case destinations.Refused:
		x.refused(o.ReceiptID, o.Err)
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

// flush offers what has come, when nothing more is there for now.
func (x *exchange) flush(now time.Time, out *actions) {
	x.now, x.out = now, out
	for _, l := range x.filled {
		x.offer(l)
	}
	x.filled = x.filled[:0]
	x.publish()
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

func (x *exchange) offerBatch(l *link, all []destinations.Delivery) {
	x.serial++
	t := &transfer{
		name: fmt.Sprintf("%s.%d", x.Incarnation, x.serial), peer: l.peer.member, link: l,
		messages: len(all), due: x.now.Add(x.Timeout),
	}
	x.sent[t.name] = t
	l.peer.transfers++
	l.out += len(all)
	var batch []byte
	f := frame{Kind: frameHold, Transfer: t.name, Queue: l.demand.Queue, Messages: len(all)}
	for i := range all {
		batch = appendMessage(batch, x.Member, t.peer, &all[i])
		f.Persistent = f.Persistent || all[i].Message.Persistent
	}
	t.stored = f.Persistent
	last := &all[len(all)-1]
	x.do(destinations.Command{
		Op: destinations.Ack, Delivery: destinations.DeliveryID{Sub: last.Sub, Tag: last.Tag}, More: &destinations.More{Tx: t.name},
	})
	f.Parts = max(1, (len(batch)+partBytes-1)/partBytes)
	for f.Part = range f.Parts {
		f.body = batch[f.Part*partBytes : min((f.Part+1)*partBytes, len(batch))]
		x.say(t.peer, f)
	}
}

// takeBack gives up a transfer that was not decided: its messages are back in their
// queue, and so is whatever else the link had.
func (x *exchange) takeBack(t *transfer, why string) {
	x.forget(t)
	x.do(destinations.Command{Op: destinations.Abort, More: &destinations.More{Tx: t.name}})
	x.say(t.peer, frame{Kind: frameDrop, Transfer: t.name, Reason: why})
	l := t.link
	l.failed, l.why = min(l.failed+1, maxFailed), why
	l.rest = x.now.Add(x.Retry << (l.failed - 1))
	x.leave(l)
	x.serve(l)
}

func (x *exchange) forget(t *transfer) {
	delete(x.sent, t.name)
	if t.link == nil {
		return
	}
	t.link.out -= t.messages
	t.link.peer.transfers--
	waiting := t.link.peer.waiting
	t.link.peer.waiting = nil
	for _, l := range waiting {
		x.offer(l)
	}
}

// decide settles a batch that the peer holds.
func (x *exchange) decide(t *transfer) {
	t.state = deciding
	x.do(destinations.Command{
		Op: destinations.Commit, WantReceipt: true, Receipt: tagDecide + t.name,
		More: &destinations.More{Tx: t.name, Sends: []destinations.Outgoing{{
			Destination: destinations.Queue(sentQueue), Message: note(t.name, t.peer, "", nil, t.stored),
		}}},
	})
}

// note is a message of one of the broker's own queues.
func note(transfer, peer, queue string, body []byte, persistent bool) *destinations.Message {
	head := "transfer:" + transfer + "\npeer:" + peer + "\n"
	if queue != "" {
		head += "queue:" + queue + "\n"
	}
	content := make([]byte, 0, len(head)+1+len(body))
	content = append(append(append(content, head...), '\n'), body...)
	return &destinations.Message{Content: content, HeaderBytes: int32(len(head)), Persistent: persistent}
}

// readNote reads what note wrote.
func readNote(m *destinations.Message) (transfer, peer, queue string, body []byte) {
	for line := range strings.Lines(string(m.Content[:m.HeaderBytes])) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		switch name {
		case "transfer":
			transfer = value
		case "peer":
			peer = value
		case "queue":
			queue = value
		}
	}
	return transfer, peer, queue, m.Content[m.HeaderBytes+1:]
}

// decidedBefore takes a decision that is durable, of this process or an earlier one.
func (x *exchange) decidedBefore(d *destinations.Delivery) {
	name, peer, _, _ := readNote(d.Message)
	t := x.sent[name]
	if t == nil {
		t = &transfer{name: name, peer: peer}
		x.sent[name] = t
	}
	t.state, t.sub, t.tag = decided, d.Sub, d.Tag
	x.release(t)
}

func (x *exchange) release(t *transfer) {
	t.due = x.now.Add(x.Retry)
	x.say(t.peer, frame{Kind: frameRelease, Transfer: t.name})
}

// keeps takes a batch that is held here, durably.
func (x *exchange) keeps(d *destinations.Delivery) {
	name, from, queue, batch := readNote(d.Message)
	x.held[name] = &holding{
		name: name, from: from, queue: queue, sub: d.Sub, tag: d.Tag, batch: batch, due: x.now.Add(2 * x.Retry),
	}
	x.say(from, frame{Kind: frameHeld, Transfer: name})
}

func (x *exchange) confirmed(receipt string) {
	if receipt == tagReady {
		x.ready = true
		return
	}
	if name, ok := strings.CutPrefix(receipt, tagGive); ok {
		if h := x.held[name]; h != nil {
			delete(x.held, name)
			f := frame{Kind: frameReleased, Transfer: name, Version: x.version}
			if w := x.local[h.queue]; w != nil {
				f.Demand = []demand{x.demandFor(w)}
				w.odd, x.fresh[h.queue] = true, true
			}
			x.say(h.from, f)
		}
	}
}

func (x *exchange) refused(receipt string, err error) {
	if name, ok := strings.CutPrefix(receipt, tagHold); ok {
		_, peer, _ := strings.Cut(name, " ")
		name, _, _ = strings.Cut(name, " ")
		x.say(peer, frame{Kind: frameRefused, Transfer: name, Reason: err.Error()})
		return
	}
	if name, ok := strings.CutPrefix(receipt, tagDecide); ok {
		if t := x.sent[name]; t != nil && t.state == deciding {
			x.takeBack(t, err.Error())
		}
		return
	}
	if name, ok := strings.CutPrefix(receipt, tagGive); ok {
		if h := x.held[name]; h != nil {
			h.releasing, h.due = false, x.now.Add(2*x.Retry) // it is asked for again
			x.do(destinations.Command{Op: destinations.Abort, More: &destinations.More{Tx: tagGive + name}})
		}
	}
}

// ---- what peers say

// hears takes a frame of a peer.
func (x *exchange) hears(now time.Time, f *frame, out *actions) {
	x.now, x.out = now, out
	if f.From == x.Member {
		return
	}
	p := x.peer(f)
	if p == nil {
		return
	}
	switch f.Kind {
	case frameBye:
		x.lose(p)
	case frameHello:
		x.compare(p, f.Version)
	case frameDemand:
		x.learn(p, f)
	case frameWant:
		x.full = true
		x.tell()
	case frameHold:
		x.assemble(f)
	case frameHeld:
		x.isHeld(f)
	case frameRefused:
		if t := x.sent[f.Transfer]; t != nil && t.state == offered {
			x.takeBack(t, f.Reason)
		}
	case frameRelease:
		x.takeOver(f)
	case frameReleased:
		x.settled(p, f)
	case frameDrop:
		x.dropped(f)
	case frameAsk:
		x.answer(f)
	case framePublish:
		x.shows(f)
	}
}

// peer is who f comes from. One that has begun anew has no demand yet.
func (x *exchange) peer(f *frame) *peer {
	p := x.peers[f.From]
	if p != nil && f.Incarnation < p.incarnation {
		return nil // of a process that has ended
	}
	if p != nil && p.incarnation != f.Incarnation {
		x.lose(p)
		p = nil
	}
	if p == nil {
		p = &peer{member: f.From, incarnation: f.Incarnation, demands: map[string]*link{}, topics: map[string]destinations.Pattern{}}
		x.peers[f.From] = p
		x.sayHello()
	}
	p.heard = x.now
	return p
}

// lose forgets a peer: its links end, and what is not decided is taken back.
func (x *exchange) lose(p *peer) {
	delete(x.peers, p.member)
	for _, queue := range sortedKeys(p.demands) {
		x.leave(p.demands[queue])
	}
	for _, topic := range sortedKeys(p.topics) {
		x.unlisten(p, topic)
	}
	for _, name := range sortedKeys(x.sent) {
		if t := x.sent[name]; t.link != nil && t.link.peer == p && t.state == offered {
			x.takeBack(t, "the peer is lost")
		}
	}
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
	case f.Full:
		p.known = true
		p.stale = map[string]bool{}
		for queue := range p.demands {
			p.stale[demand{Queue: queue}.key()] = true
		}
		for topic := range p.topics {
			p.stale[demand{Topic: topic}.key()] = true
		}
	case !p.known || f.Version != p.version+1:
		p.known = false
		x.compare(p, f.Version)
		return
	}
	p.version = f.Version
	for i := range f.Demand {
		delete(p.stale, f.Demand[i].key())
		x.learnOne(p, &f.Demand[i])
	}
	if f.Done {
		for _, key := range sortedKeys(p.stale) {
			x.learnOne(p, demandOf(key))
		}
		p.stale = nil
	}
}

func (x *exchange) learnOne(p *peer, d *demand) {
	if d.Topic != "" {
		x.learnTopic(p, d)
		return
	}
	l := p.demands[d.Queue]
	if d.Consumers == 0 {
		if l != nil {
			x.leave(l)
			delete(p.demands, d.Queue)
		}
		return
	}
	if !x.Forwards(destinations.Queue(d.Queue)) {
		return
	}
	if l == nil {
		l = &link{peer: p}
		p.demands[d.Queue] = l
	}
	if l.id != "" && !slices.Equal(l.demand.Selectors, d.Selectors) {
		x.leave(l)
	}
	l.demand = *d
	x.serve(l)
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

// assemble puts a batch together, and has it kept when it is whole.
func (x *exchange) assemble(f *frame) {
	a := x.parts[f.Transfer]
	if a == nil {
		if f.Part != 0 {
			return // the beginning is lost: the sender will take it back
		}
		a = &assembly{frame: *f}
		x.parts[f.Transfer] = a
	}
	if f.Part != a.next {
		delete(x.parts, f.Transfer)
		return
	}
	a.batch = append(a.batch, f.body...)
	a.next++
	a.heard = x.now
	if a.next < a.Parts {
		return
	}
	delete(x.parts, f.Transfer)
	if _, err := readBatch(destinations.Queue(a.Queue), a.batch); err != nil {
		x.say(f.From, frame{Kind: frameRefused, Transfer: f.Transfer, Reason: err.Error()})
		return
	}
	x.do(destinations.Command{
		Op: destinations.Send, WantReceipt: true, Receipt: tagHold + f.Transfer + " " + f.From,
		Destination: destinations.Queue(heldQueue), Message: note(f.Transfer, f.From, a.Queue, a.batch, a.Persistent),
	})
}

func (x *exchange) isHeld(f *frame) {
	t := x.sent[f.Transfer]
	switch {
	case t == nil && x.ready:
		x.say(f.From, frame{Kind: frameDrop, Transfer: f.Transfer})
	case t != nil && t.state == offered:
		x.decide(t)
	case t != nil && t.state == decided:
		x.release(t)
	}
}

// takeOver puts a batch that is ours into its queue.
func (x *exchange) takeOver(f *frame) {
	h := x.held[f.Transfer]
	switch {
	case h == nil && x.ready: // it was put there before
		x.say(f.From, frame{Kind: frameReleased, Transfer: f.Transfer})
		return
	case h == nil, h.releasing:
		return
	}
	sends, err := readBatch(destinations.Queue(h.queue), h.batch)
	if err != nil {
		return // BUG: it was read before it was held
	}
	h.releasing = true
	tx := tagGive + h.name
	x.do(destinations.Command{
		Op: destinations.Ack, Delivery: destinations.DeliveryID{Sub: h.sub, Tag: h.tag}, More: &destinations.More{Tx: tx},
	})
	x.do(destinations.Command{
		Op: destinations.Commit, WantReceipt: true, Receipt: tx, More: &destinations.More{Tx: tx, Sends: sends},
	})
}

// settled ends a transfer: the peer has put it into its queue.
func (x *exchange) settled(p *peer, f *frame) {
	t := x.sent[f.Transfer]
	if t == nil || t.state != decided {
		return
	}
	x.do(destinations.Command{Op: destinations.Ack, Delivery: destinations.DeliveryID{Sub: t.sub, Tag: t.tag}})
	x.forget(t)
	for i := range f.Demand {
		if l := p.demands[f.Demand[i].Queue]; l != nil && f.Demand[i].Consumers > 0 && f.Version >= p.version {
			l.demand.Window, l.demand.Free, l.demand.Ready = f.Demand[i].Window, f.Demand[i].Free, f.Demand[i].Ready
		}
	}
	if t.link != nil {
		t.link.failed = 0
		x.serve(t.link)
	}
}

// dropped forgets a batch that the sender has taken back.
func (x *exchange) dropped(f *frame) {
	delete(x.parts, f.Transfer)
	h := x.held[f.Transfer]
	if h == nil || h.releasing || h.from != f.From {
		return
	}
	delete(x.held, f.Transfer)
	x.do(destinations.Command{Op: destinations.Ack, Delivery: destinations.DeliveryID{Sub: h.sub, Tag: h.tag}})
}

// answer says what became of a transfer that a peer holds.
func (x *exchange) answer(f *frame) {
	t := x.sent[f.Transfer]
	switch {
	case t == nil && x.ready:
		x.say(f.From, frame{Kind: frameDrop, Transfer: f.Transfer})
	case t == nil: // not known yet
	case t.state == offered: // its answer was lost
		x.decide(t)
	case t.state == decided:
		x.release(t)
	}
}
