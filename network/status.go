package network

import (
	"slices"
	"strings"
	"time"

	"baton/destinations"
)

// A Status is what a broker knows of its network.
type Status struct {
	Member      string       `json:"member"`
	Incarnation string       `json:"incarnation"`
	Mode        Mode         `json:"mode"`
	Ready       bool         `json:"ready"` // what was under way before the start is known
	Peers       []PeerStatus `json:"peers"`
	Held        int          `json:"held"` // batches that are kept here for a peer that has not decided
	Sent        int          `json:"sent"` // batches on their way from here
}

// A PeerStatus is what is known of another broker.
type PeerStatus struct {
	Member    string       `json:"member"`
	Heard     string       `json:"heard"` // how long ago
	Known     bool         `json:"known"` // all of its demand is
	Transfers int          `json:"transfers"`
	Links     []LinkStatus `json:"links"`
}

// A LinkStatus is what a peer wants of a queue, and how that stands.
type LinkStatus struct {
	Queue     string   `json:"queue"`            // or a pattern
	Static    bool     `json:"static,omitempty"` // it gets them without its asking
	Consumers int      `json:"consumers"`
	Room      int      `json:"room"` // messages
	Selectors []string `json:"selectors,omitempty"`
	Granted   int      `json:"granted"`
	UnderWay  int      `json:"under_way"`
	Failed    int      `json:"failed"`        // transfers in a row
	Why       string   `json:"why,omitempty"` // the last one did
}

// name is what operators call the queues of a link.
func (l *link) name() string {
	if l.pattern != (destinations.Pattern{}) {
		return strings.TrimPrefix(l.demand.Queue, "/queue/")
	}
	return l.demand.Queue
}

// status is that of the exchange.
func (x *exchange) status(now time.Time) Status {
	s := Status{Member: x.Member, Incarnation: x.Incarnation, Mode: x.mode, Ready: x.ready, Held: len(x.held), Sent: len(x.sent), Peers: []PeerStatus{}}
	for _, p := range x.sortedPeers() {
		ps := PeerStatus{
			Member: p.member, Heard: now.Sub(p.heard).Round(time.Millisecond).String(), Known: p.known, Transfers: p.transfers, Links: []LinkStatus{},
		}
		for _, l := range p.links() {
			if l.spool && l.failed+l.out+len(l.pending) == 0 {
				continue // there is always one
			}
			ps.Links = append(ps.Links, LinkStatus{
				Queue: l.name(), Static: l.static, Consumers: l.demand.Consumers, Room: x.room(l),
				Selectors: slices.Clone(l.demand.Selectors), Granted: l.granted, UnderWay: l.out + len(l.pending), Failed: l.failed, Why: l.why,
			})
		}
		s.Peers = append(s.Peers, ps)
	}
	return s
}

// busy says that something is due soon.
func (x *exchange) busy() bool {
	return len(x.fresh)+len(x.freshTopic)+len(x.sent)+len(x.held)+len(x.parts)+len(x.resting) > 0 || x.full
}
