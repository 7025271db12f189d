package destinations

// A queue is a backlog and its consumers. A topic's subscription has one too,
// with itself as the only consumer.
type queue struct {
	destination Destination
	backlog
	consumers int
	turn      fifo[*subscription]    // those with credit, who is next first
	left      int                    // closed ones in turn
	dead      map[uint64]*DeadLetter // of the messages that came as dead letters, by seq
}

// deadLetter says why s is in a dead-letter queue, nil if nothing is known. A
// message that is not stored may have the same seq as a stored one.
func (q *queue) deadLetter(s *slot) *DeadLetter {
	if !s.stored() {
		return nil
	}
	return q.dead[s.seq]
}

// content is the Seq of the entry that holds the content of a stored message:
// the one that put it here, unless it was moved from elsewhere.
func (q *queue) content(s *slot) uint64 {
	if d := q.dead[s.seq]; d != nil && d.content != 0 {
		return d.content
	}
	return s.seq
}

// join puts a consumer that has credit at the end of the turn.
func (q *queue) join(s *subscription) {
	if !s.inTurn && !s.closed && s.hasCredit() {
		s.inTurn = true
		q.turn.push(s)
	}
}

// next takes the consumer whose turn it is, or nil when none has credit.
func (q *queue) next() *subscription {
	for q.turn.len() > 0 {
		s := q.turn.pop()
		s.inTurn = false
		if s.closed {
			q.left--
		} else if s.hasCredit() {
			return s
		}
	}
	return nil
}

// leave forgets a closed consumer. It keeps its place in the turn until that
// comes, or until most of the places are of such: so a thousand can leave
// without a thousand searches.
func (q *queue) leave(s *subscription) {
	if !s.inTurn {
		return
	}
	q.left++
	if q.left <= q.turn.len()/2 {
		return
	}
	for range q.turn.len() {
		if s := q.turn.pop(); !s.closed {
			q.turn.push(s)
		}
	}
	q.left = 0
}

// A topic is its subscriptions, in the order of their making. Those that have
// ended leave nil behind, until most of the places are nil.
type topic struct {
	subs []*subscription
	left int // nils in subs
}

func (t *topic) add(s *subscription) {
	s.place = len(t.subs)
	t.subs = append(t.subs, s)
}

func (t *topic) remove(s *subscription) {
	t.subs[s.place] = nil
	t.left++
	if t.left <= len(t.subs)/2 {
		return
	}
	kept := t.subs[:0]
	for _, s := range t.subs {
		if s != nil {
			s.place = len(kept)
			kept = append(kept, s)
		}
	}
	clear(t.subs[len(kept):])
	t.subs, t.left = kept, 0
}

func (t *topic) empty() bool { return len(t.subs) == t.left }
