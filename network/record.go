package network

import "time"

// A record is what is remembered of a peer for as long as this broker serves, whether the
// peer is there or not: a counter that vanishes with its peer counts nothing.
type record struct {
	counts Counts
	since  time.Time // when it was heard of first, or lost
	lost   string    // why it is not there; empty: it is
}

// Counts are totals since this broker began to serve, of one peer. A batch counts when
// it is settled; messages of topics when they leave, and when they have come.
type Counts struct {
	Forwarded       int64 `json:"forwarded"` // messages of queues that are the peer's now
	ForwardedOctets int64 `json:"forwarded_octets"`
	Received        int64 `json:"received"` // messages of queues that it gave
	ReceivedOctets  int64 `json:"received_octets"`
	Published       int64 `json:"published"`  // messages of topics that left for it
	Shown           int64 `json:"shown"`      // and that came from it
	TakenBack       int64 `json:"taken_back"` // batches that it has not got
	Refused         int64 `json:"refused"`    // of these, those that it refused
	Resent          int64 `json:"resent"`     // times that a decision or a question was said again, for nobody answered
}

// maxRecords bounds those of peers that are lost.
const maxRecords = 256

// recordOf is the record of a member.
func (x *exchange) recordOf(member string) *record {
	r := x.records[member]
	if r == nil {
		r = &record{since: x.now}
		x.records[member] = r
	}
	return r
}

// noteHeard begins, or goes on with, the record of a peer that is there.
func (x *exchange) noteHeard(p *peer) {
	r := x.recordOf(p.member)
	r.since, r.lost = x.now, ""
	p.record, p.learned = r, x.now
}

// noteLost notes that a peer is not there any more. Of too many that which was lost
// first is forgotten.
func (x *exchange) noteLost(p *peer, why string) {
	p.record.since, p.record.lost = x.now, why
	if len(x.records) <= maxRecords {
		return
	}
	oldest := ""
	for _, member := range sortedKeys(x.records) {
		r := x.records[member]
		if x.peers[member] == nil && (oldest == "" || r.since.Before(x.records[oldest].since)) {
			oldest = member
		}
	}
	delete(x.records, oldest)
}

// noteForwarded counts a batch that is settled here, unless an earlier process sent it.
func (x *exchange) noteForwarded(t *transfer) {
	c := &x.recordOf(t.peer).counts
	c.Forwarded += int64(t.messages)
	c.ForwardedOctets += int64(t.octets)
}

// noteReceived counts a batch that is ours.
func (x *exchange) noteReceived(h *holding) {
	c := &x.recordOf(h.from).counts
	c.Received += int64(h.messages)
	c.ReceivedOctets += int64(len(h.batch))
}
