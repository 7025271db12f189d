package destinations

// A queue is a backlog and its consumers. A topic's subscription has one too,
// with itself as the only consumer.
type queue struct {
	destination Destination
	policy      *Policy
	durable     *durable // nil: it takes only what is sent to it
	backlog
	consumers int
	turn      fifo[*subscription] // those with credit, who is next first
	left      int                 // closed ones in turn
	place     int                 // in Machine.roster
}

func (q *queue) seat() *int { return &q.place }

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

// A topic is its subscriptions, in the order of their making.
type topic struct {
	policy *Policy
	roster[*subscription]
}
