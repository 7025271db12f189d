package network

import (
	"cmp"
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
	maxPending    = 4 << 20 // octets that the links of one peer have and have not offered
	maxBack       = 4       // links that come back at a time when they were turned away
	grantLimit    = 4 * batchMessages
	maxFailed     = 3 // transfers in a row that make the rest of a link longer, each twice as long
)

// Settings are what an exchange goes by.
type Settings struct {
	Member      string        // this broker, or this pair
	Incarnation string        // another one for each exchange that there ever was
	Life        string        // whose data this broker has: another one after it has lost them; of a pair, that of both nodes
	MaxHops     int           // of a message of a queue; 0: any number
	Mode        Mode          // at first; empty: Running
	Hello       time.Duration // how often it says that it is there
	Silence     time.Duration // after which a peer has no demand
	Timeout     time.Duration // for a peer to hold a batch
	Retry       time.Duration // after which it is said again what was not answered
	Forwards    func(destinations.Destination) bool
	Static      []Static
}

// A Static says that messages of some queues go to a member whether or not anybody
// consumes them there, while nobody does here.
type Static struct {
	Queues destinations.Pattern
	To     string // member
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
	records    map[string]*record   // by member
	topics     map[string]bool      // that consumers here listen to, as the peers know it; false: not any more, and they do not know
	relays     map[string]*relay    // of topics that peers listen to, by pattern
	relayed    map[uint32]uint64    // newest delivery of each subscription that has left
	publishing []*peer              // with messages that were relayed and have not left
	graves     map[string]grave     // of durable subscriptions, by queue
	local      map[string]*want     // what consumers here want, by queue, as it is
	fresh      map[string]bool      // of these, what may have to be told
	freshTopic map[string]bool      // the same of topics
	links      map[string]*link     // by subscription
	bySub      map[uint32]string    // subscriptions by their numbers, as deliveries have them
	sent       map[string]*transfer // by name
	held       map[string]*holding  // by name
	newest     map[string]string    // by member: of those with messages of groups that were decided for it, the last one, if it is not released
	parts      map[string]*assembly // of what is on its way here
	hello      time.Time            // when the last was said
	told       time.Time            // when demand was
	spare      [][]byte             // buffers of batches that have left
	filled     []*link              // those with something that may be offered
	resting    []*link              // those that wait for their rest to end
	full       bool                 // somebody wants all of it
}

// A peer is another broker of the network.
type peer struct {
	member      string
	incarnation string
	heard       time.Time
	version     uint64 // of its demand that is known
	asked       time.Time
	known       bool // all of its demand is
	declines    bool // what it has not asked for: an operator has told it to take nothing
	demands     map[string]*link
	wild        map[string]*link                // of these, those of patterns
	given       []*link                         // beside them, without its asking
	topics      map[string]destinations.Pattern // that its consumers listen to
	transfers   int                             // under way to it
	publish     *frame                          // that has not left; nil: none
	waiting     []*link                         // that have something to offer, when one of these ends
	pending     int                             // octets that its links have and have not offered
	turned      []*link                         // that had too much for that, and come back in turn
	stale       map[string]bool
	record      *record
	life        string              // whose data it has; empty: not known yet
	durables    map[string]*durable // that it has told of, by queue
	unsure      map[string]bool     // of those that are here, and at home there as it seems: it has not told; true: and was asked
	learned     time.Time           // when known became what it is
}

func newExchange(s Settings) *exchange {
	return &exchange{
		Settings: s, mode: cmp.Or(s.Mode, Running), peers: map[string]*peer{}, records: map[string]*record{}, topics: map[string]bool{}, relays: map[string]*relay{}, relayed: map[uint32]uint64{}, local: map[string]*want{}, fresh: map[string]bool{}, freshTopic: map[string]bool{},
		links: map[string]*link{}, bySub: map[uint32]string{}, sent: map[string]*transfer{}, held: map[string]*holding{}, newest: map[string]string{}, parts: map[string]*assembly{}, graves: map[string]grave{},
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
	x.say("", frame{Kind: frameHello, Version: x.version, Mode: x.mode})
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
			x.lose(p, "nothing was heard of it for "+x.Silence.String())
			continue
		}
		x.comeBack(p)
		x.makeSure(p)
	}
	for _, name := range sortedKeys(x.sent) {
		t := x.sent[name]
		if t == nil || now.Before(t.due) {
			continue
		}
		switch {
		case t.state == offered && t.kept: // it waits for those before it
		case t.state == offered:
			x.takeBack(t, "it was not held in time")
		case t.state == decided && x.peers[t.peer] != nil: // else when it is back
			x.recordOf(t.peer).counts.Resent++
			x.release(t)
		}
	}
	for _, name := range sortedKeys(x.held) {
		if h := x.held[name]; !h.releasing && !now.Before(h.due) && x.peers[h.from] != nil {
			h.due = now.Add(2 * x.Retry)
			x.recordOf(h.from).counts.Resent++
			x.say(h.from, frame{Kind: frameAsk, Transfer: name})
		}
	}
	maps.DeleteFunc(x.parts, func(_ string, a *assembly) bool { return now.Sub(a.heard) > x.Timeout })
	x.forgetGraves()
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

// flush offers what has come, when nothing more is there for now.
func (x *exchange) flush(now time.Time, out *actions) {
	x.now, x.out = now, out
	for _, l := range x.filled {
		x.offer(l)
	}
	x.filled = x.filled[:0]
	x.publish()
}

func (x *exchange) confirmed(receipt string) {
	if receipt == tagReady {
		x.ready = true
		return
	}
	if name, ok := strings.CutPrefix(receipt, tagGive); ok {
		if h := x.held[name]; h != nil {
			delete(x.held, name)
			x.noteReceived(h)
			f := frame{Kind: frameReleased, Transfer: name, Version: x.version}
			if w := x.local[h.queue]; w != nil {
				f.Demand = []demand{x.demandFor(w, false)}
				w.odd, x.fresh[h.queue] = true, true
			}
			x.say(h.from, f)
			x.giveAfter(name)
		}
	}
}

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
		x.lose(p, "it has left")
	case frameHello:
		x.compare(p, f.Version)
		if declines := f.Mode != Running; declines != p.declines {
			p.declines = declines
			x.serveGiven(p)
		}
	case frameDemand:
		x.learn(p, f)
	case frameWant:
		x.full = true
		x.tell()
	case frameHold:
		x.keep(f)
	case frameHeld, frameAsk:
		x.answer(f)
	case frameRefused:
		if t := x.sent[f.Transfer]; t != nil && t.state == offered && t.peer == f.From {
			p.record.counts.Refused++
			x.takeBack(t, f.Reason)
		}
	case frameRelease:
		x.takeOver(f)
	case frameReleased:
		x.settled(p, f)
	case frameDrop:
		x.dropped(f)
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
		x.lose(p, "it began anew")
		p = nil
	}
	if p == nil {
		p = &peer{member: f.From, incarnation: f.Incarnation, demands: map[string]*link{}, wild: map[string]*link{}, durables: map[string]*durable{}, unsure: map[string]bool{}, topics: map[string]destinations.Pattern{}}
		x.peers[f.From] = p
		x.noteHeard(p)
		x.sayHello()
		x.open(p)
	}
	p.heard = x.now
	return p
}

// lose forgets a peer: its links end, and what is not decided is taken back.
func (x *exchange) lose(p *peer, why string) {
	delete(x.peers, p.member)
	x.noteLost(p, why)
	for _, l := range p.links() {
		x.endLink(l)
	}
	for _, topic := range sortedKeys(p.topics) {
		x.unlisten(p, topic)
	}
	for _, name := range sortedKeys(x.sent) {
		if t := x.sent[name]; t != nil && t.link != nil && t.link.peer == p && t.state == offered {
			x.takeBack(t, "the peer is lost")
		}
	}
}
