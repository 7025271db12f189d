package destinations

// A queue is a backlog and its consumers. A topic's subscription has one too,
// with itself as the only consumer.
type queue struct {
	destination Destination
	backlog
	consumers int
	turn      fifo[*subscription]    // those with credit, who is next first
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
		if s.hasCredit() {
			return s
		}
	}
	return nil
}

// leave takes a consumer out of the turn.
func (q *queue) leave(s *subscription) {
	for range q.turn.len() {
		if other := q.turn.pop(); other != s {
			q.turn.push(other)
		}
	}
	s.inTurn = false
}

// A topic is its subscriptions, in the order of their making.
type topic struct{ subs []*subscription }

func (t *topic) remove(s *subscription) {
	for i := range t.subs {
		if t.subs[i] == s {
			t.subs = append(t.subs[:i:i], t.subs[i+1:]...)
			return
		}
	}
}
