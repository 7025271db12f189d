package destinations

import "cmp"

// Where the policy is LastValue, a message takes the place of the one with the
// same Props.Key that waits in the queue: that is settled in the same batch.
// One that a consumer has at that time goes when it comes back.
//
// Which is the newest of each key follows from what is in the queue: it is found
// when it is needed first.

// A superseded message waits in a queue though there is a newer one of its key.
type superseded struct {
	queue *queue
	place place
}

// keyBytes is counted for each key of a queue beyond itself.
const keyBytes = 64

// key is what a message of q shares with those that it takes the place of; empty
// if it takes none's.
func (q *queue) key(p *Props) string {
	if p == nil || !q.policy.LastValue || q.browser != nil {
		return ""
	}
	return p.Key
}

// succeed notes that a message was put into q, and which one it takes the place
// of.
func (m *Machine) succeed(q *queue, at ref) {
	switch {
	case q.key(at.props()) == "" || at.c.priority == levelWaiting || !m.started:
	case q.newest == nil:
		m.indexKeys(q)
	default:
		m.compareKey(q, at)
	}
}

// indexKeys finds the newest message of each key in q, unless it is known.
func (m *Machine) indexKeys(q *queue) {
	if q.newest != nil {
		return
	}
	q.newest = map[string]place{}
	q.each(func(at ref) bool {
		if q.key(at.props()) != "" && at.c.priority != levelWaiting {
			m.compareKey(q, at)
		}
		return true
	})
}

// compareKey lets the newer of two messages with one key be the newest.
func (m *Machine) compareKey(q *queue, at ref) {
	key, p := at.props().Key, placeOf(at)
	other, known := q.newest[key]
	switch {
	case !known:
		m.bytes += keyBytes + int64(len(key))
	case p.older(other):
		m.superseded = append(m.superseded, superseded{q, p})
		return
	default:
		m.superseded = append(m.superseded, superseded{q, other})
	}
	q.newest[key] = p
}

// older says which of two messages came first, whatever their priorities.
func (p place) older(other place) bool {
	return cmp.Or(cmp.Compare(p.seq, other.seq), cmp.Compare(p.n, other.n)) < 0
}

// settleSuperseded takes away what newer messages took the place of in this
// Step, before which the newest entry was before. One batch of the log has both.
func (m *Machine) settleSuperseded(before uint64, out *Effects) {
	for _, old := range m.superseded {
		if at, ok := old.queue.find(old.place.seq, old.place.n); ok && at.slot().waits() {
			m.joined = m.last > before
			m.drop(old.queue, at, out)
		}
	}
	clear(m.superseded)
	m.superseded, m.joined = m.superseded[:0], false
}

// isSuperseded says that there is a newer message of the key of at.
func (m *Machine) isSuperseded(q *queue, at ref) bool {
	key := q.key(at.props())
	if key == "" {
		return false
	}
	m.indexKeys(q)
	newest, known := q.newest[key]
	return known && placeOf(at).older(newest)
}

// replaces says whether a message with these Props would take the place of one
// that waits in q, so that q does not grow.
func (m *Machine) replaces(q *queue, p *Props) bool {
	key := q.key(p)
	if key == "" {
		return false
	}
	m.indexKeys(q)
	newest, known := q.newest[key]
	if !known {
		return false
	}
	at, ok := q.find(newest.seq, newest.n)
	return ok && at.slot().waits()
}

// forgetKey notes that a message leaves q.
func (m *Machine) forgetKey(q *queue, at ref) {
	key := q.key(at.props())
	if newest, known := q.newest[key]; known && newest == placeOf(at) {
		delete(q.newest, key)
		m.bytes -= keyBytes + int64(len(key))
	}
}

// forgetKeys notes that all leave q.
func (m *Machine) forgetKeys(q *queue) {
	for key := range q.newest {
		m.bytes -= keyBytes + int64(len(key))
	}
	q.newest = nil
}
