package network

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"baton/destinations"
)

// A Status is what a broker knows of its network.
type Status struct {
	Member      string          `json:"member"`
	Incarnation string          `json:"incarnation"`
	Mode        Mode            `json:"mode"`
	Ready       bool            `json:"ready"` // what was under way before the start is known
	Peers       []PeerStatus    `json:"peers"`
	Lost        []LostPeer      `json:"lost"`                 // that were peers since this broker began to serve
	Held        int             `json:"held"`                 // batches that are kept here for a peer that has not decided
	Sent        int             `json:"sent"`                 // batches on their way from here
	Durables    []DurableStatus `json:"durables"`             // subscriptions
	Restarts    int             `json:"restarts,omitempty"`   // of its part in the network, since this broker began to serve
	LastError   string          `json:"last_error,omitempty"` // that it ended with
}

// A DurableStatus is a durable subscription, and where it was used last.
type DurableStatus struct {
	Name  string `json:"name"` // /durable/CLIENT/NAME
	Topic string `json:"topic"`
	Home  string `json:"home,omitempty"` // member; empty: one that is not heard of
}

// A PeerStatus is what is known of another broker.
type PeerStatus struct {
	Member    string       `json:"member"`
	Since     time.Time    `json:"since"`   // it is there
	Heard     string       `json:"heard"`   // how long ago
	Known     bool         `json:"known"`   // all of its demand is
	Learned   time.Time    `json:"learned"` // since when Known is what it is
	Transfers int          `json:"transfers"`
	Batches   Batches      `json:"batches"`
	Counts    Counts       `json:"counts"`
	Links     []LinkStatus `json:"links"`
}

// A LostPeer is a broker that is not heard of any more, or is named by what was under
// way and not heard of yet.
type LostPeer struct {
	Member  string    `json:"member"`
	Since   time.Time `json:"since"`
	Why     string    `json:"why"`
	Batches Batches   `json:"batches"`
	Counts  Counts    `json:"counts"`
}

// Batches are those that are under way between this broker and another one, by their
// state. Each state ends by itself, but for those that only the other can end: Decided
// and Held wait for it, and ask again and again.
type Batches struct {
	Offered  int    `json:"offered"`          // to it; is taken back when it does not answer in time
	Deciding int    `json:"deciding"`         // it holds them, this broker's journal is being written
	Decided  int    `json:"decided"`          // they are its, and it has not said yet that it has put them into their queues
	Held     int    `json:"held"`             // from it, kept here until it decides
	Oldest   string `json:"oldest,omitempty"` // how long the one has been under way that began first
}

// A LinkState is what becomes of messages that a peer wants.
type LinkState string

const (
	LinkStopped  LinkState = "stopped"  // this broker forwards nothing: an operator wants it so
	LinkStarting LinkState = "starting" // what was under way before the start is not known yet
	LinkResting  LinkState = "resting"  // a transfer has failed, the next try is at the end of the rest
	LinkWaiting  LinkState = "waiting"  // the peer has as much under way as it may have
	LinkMoving   LinkState = "moving"   // messages are under way
	LinkFull     LinkState = "full"     // its consumers have as many as they may have
	LinkOpen     LinkState = "open"     // messages that come will be forwarded
)

// A LinkStatus is what a peer wants of a queue, and how that stands.
type LinkStatus struct {
	Queue     string    `json:"queue"`
	State     LinkState `json:"state"`
	Static    bool      `json:"static,omitempty"` // it gets them without its asking
	Consumers int       `json:"consumers"`
	Room      int       `json:"room"` // messages
	Selectors []string  `json:"selectors,omitempty"`
	Granted   int       `json:"granted"` // messages that may still leave without a word of the peer
	UnderWay  int       `json:"under_way"`
	Failed    int       `json:"failed"`          // transfers in a row
	Why       string    `json:"why,omitempty"`   // the last one did
	Rests     string    `json:"rests,omitempty"` // for how long from now
}

// name is what operators call the queues of a link.
func (l *link) name() string {
	if l.pattern != (destinations.Pattern{}) {
		return strings.TrimPrefix(l.demand.Queue, "/queue/")
	}
	if durableQueue(l.demand.Queue) {
		return destinations.Queue(l.demand.Queue).String()
	}
	return l.demand.Queue
}

// status is that of the exchange.
func (x *exchange) status(now time.Time) Status {
	s := Status{
		Member: x.Member, Incarnation: x.Incarnation, Mode: x.mode, Ready: x.ready, Held: len(x.held), Sent: len(x.sent),
		Peers: []PeerStatus{}, Lost: []LostPeer{}, Durables: x.durables(),
	}
	batches := x.batches(now)
	for _, p := range x.sortedPeers() {
		ps := PeerStatus{
			Member: p.member, Since: p.record.since, Heard: ago(now, p.heard), Known: p.known, Learned: p.learned,
			Transfers: p.transfers, Batches: batches[p.member], Counts: p.record.counts, Links: []LinkStatus{},
		}
		for _, l := range p.links() {
			if l.spool && l.failed+l.out+len(l.pending) == 0 {
				continue // there is always one
			}
			ps.Links = append(ps.Links, x.linkStatus(l, now))
		}
		s.Peers = append(s.Peers, ps)
	}
	for _, member := range sortedKeys(x.records) {
		if x.peers[member] == nil {
			r := x.records[member]
			s.Lost = append(s.Lost, LostPeer{member, r.since, cmp.Or(r.lost, "it was not heard of yet"), batches[member], r.counts})
		}
	}
	return s
}

func (x *exchange) linkStatus(l *link, now time.Time) LinkStatus {
	s := LinkStatus{
		Queue: l.name(), State: x.linkState(l, now), Static: l.static, Consumers: l.demand.Consumers, Room: x.room(l),
		Selectors: slices.Clone(l.demand.Selectors), Granted: l.granted, UnderWay: l.out + len(l.pending), Failed: l.failed, Why: l.why,
	}
	if s.State == LinkResting {
		s.Rests = ago(l.rest, now)
	}
	return s
}

func (x *exchange) linkState(l *link, now time.Time) LinkState {
	switch {
	case x.mode == Stopped:
		return LinkStopped
	case !x.ready:
		return LinkStarting
	case now.Before(l.rest):
		return LinkResting
	case l.turned:
		return LinkWaiting
	case l.out+len(l.pending) > 0:
		return LinkMoving
	case x.room(l) == 0:
		return LinkFull
	}
	return LinkOpen
}

// batches are what is under way, by member.
func (x *exchange) batches(now time.Time) map[string]Batches {
	all := map[string]Batches{}
	oldest := map[string]time.Time{}
	began := func(member string, at time.Time) {
		if first, ok := oldest[member]; !ok || at.Before(first) {
			oldest[member] = at
		}
	}
	for _, t := range x.sent {
		b := all[t.peer]
		switch t.state {
		case offered:
			b.Offered++
		case deciding:
			b.Deciding++
		case decided:
			b.Decided++
		}
		all[t.peer] = b
		began(t.peer, t.since)
	}
	for _, h := range x.held {
		b := all[h.from]
		b.Held++
		all[h.from] = b
		began(h.from, h.since)
	}
	for member, at := range oldest {
		b := all[member]
		b.Oldest = ago(now, at)
		all[member] = b
	}
	return all
}

func ago(now, then time.Time) string { return now.Sub(then).Round(time.Millisecond).String() }

// busy says that something is due soon.
func (x *exchange) busy() bool {
	return len(x.fresh)+len(x.freshTopic)+len(x.sent)+len(x.held)+len(x.parts)+len(x.resting) > 0 || x.full || x.turnedAway()
}

// turnedAway says that a link waits to come back.
func (x *exchange) turnedAway() bool {
	for _, p := range x.peers {
		if len(p.turned) > 0 {
			return true
		}
	}
	return false
}
