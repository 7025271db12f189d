package destinations

import (
	"cmp"
	"slices"
)

// A queue is a backlog and its consumers. A subscription to topics has one too,
// with itself as the only consumer.
type queue struct {
	destination Destination
	policy      *Policy
	durable     *durable // nil: it takes only what is sent to it
	archive     *archive // nil: it is none
	shared      bool     // other brokers may be told of the demand for it
	spool       bool     // what is in it is for temporary queues of another broker
	stirred     bool     // it is in Machine.stirred
	plain       bool     // it takes what asks for nothing as it is, see Machine.plain
	backlog
	locals    int               // members that are consumers of this broker
	far       int               // members with Consumer.Member
	instead   int               // of these, those with Consumer.Instead
	strayed   uint64            // the newest entry when groups had other homes last
	consumers int               // those that keep the queue: all but those that came by a wildcard
	members   roster[*source]   // all consumers, oldest first
	turns     turns             // of those without a selector
	views     []*view           // of those with one
	groups    map[string]*group // by JMSXGroupID; nil: there were none yet
	browser   *browser          // that the copies here are for; nil: there is none
	reader    *reader           // that puts copies here still; nil: there is none
	served    int               // of these, which got a message last; see choose
	exclusive int               // members that want to be the only one
	active    *source           // of these, the one that is; nil: there are none
	place     int               // in Machine.roster
	owner     uint64            // session that a temporary queue belongs to; 0: it is none
	timer     timer             // of the first of waits and of what expires
	waits     waits             // may have some that have gone
	unused    int64             // since when nothing is in it and nobody consumes it, in Unix ms; 0: it is not so, or is not remembered
	lease     int64             // ms that it may be unused, as who consumed it said last; 0: as the policy says
	gathering *gathering        // of what it has settled and others have not; nil: there is no such
	newest    map[string]place  // of each key, where the policy is LastValue; nil: it is not known yet
}

func (q *queue) seat() *int { return &q.place }

// A source is one queue of those that a subscription consumes. Most consume one.
type source struct {
	sub   *subscription
	queue *queue
	view  *view // nil: it takes everything
	wild  bool  // by a wildcard: the queue may be forgotten nevertheless
	turn  turnState
	rank  *rank  // of its turns, that of its priority
	place int    // in queue.members
	index int    // in sub.sources
	label *Label // of the newest delivery; nil: there was none

	groups roster[*group] // that it owns
	going  int            // of these, that it hands over
	coming int            // that it will be handed
	parked places         // of its groups, what waits for credit
}

func (src *source) seat() *int { return &src.place }

// exclusive says that src wants to be the only one, or that its queue wants that.
func (src *source) exclusive() bool {
	return src.sub.consumer.Exclusive || src.queue.policy.Exclusive && !src.sub.consumer.Network
}

// enter makes src a consumer of its queue.
func (q *queue) enter(src *source) {
	q.unused = 0
	q.members.add(src)
	if !src.wild {
		q.consumers++
	}
	q.countMember(src, 1)
	src.rank = src.turns().open(src.sub.consumer.Priority)
	if src.exclusive() {
		q.exclusive++
		q.elect()
	}
	q.join(src)
}

// leave ends what enter began.
func (q *queue) leave(src *source) {
	q.members.remove(src)
	if !src.wild {
		q.consumers--
	}
	src.turns().leave(src)
	if q.countMember(src, -1); q.locals == 0 && !src.sub.consumer.Network {
		q.callSpare()
	}
	if src.exclusive() {
		q.exclusive--
		if q.active == src {
			q.active = nil
			q.elect()
		}
	}
}

func (q *queue) countMember(src *source, more int) {
	switch c := &src.sub.consumer; {
	case !c.Network:
		q.locals += more
	case c.Member != "":
		q.far += more
		if c.Instead {
			q.instead += more
		}
	}
}

// elect chooses the one consumer of an exclusive queue: of the highest
// priority, the oldest. It stays until it leaves, for to take over from one that
// is at work would be two at work. The others stand by, and so do those that did
// not ask to be alone; they go on when nobody asks any more.
func (q *queue) elect() {
	if q.active != nil {
		return
	}
	for _, src := range q.members.places {
		if src == nil || !src.exclusive() {
			continue
		}
		if q.active == nil || src.sub.consumer.Priority > q.active.sub.consumer.Priority {
			q.active = src
		}
	}
	for _, src := range q.members.places {
		if src != nil {
			q.join(src)
		}
	}
}

// callSpare lets those go on who stood by while the queue had consumers.
func (q *queue) callSpare() {
	for _, src := range q.members.places {
		if src != nil && src.sub.consumer.Spare {
			q.join(src)
		}
	}
}

// standsBy says that src gets nothing as things are.
func (q *queue) standsBy(src *source) bool {
	return q.active != nil && q.active != src || src.sub.consumer.Spare && q.locals > 0
}

// join puts a consumer at the end of the turn, if it has credit. If not, it is
// idle until it has.
func (q *queue) join(src *source) {
	switch s := src.sub; {
	case src.turn != outOfTurn || s.closed || q.standsBy(src):
	case s.hasCredit():
		src.turn = inTurn
		src.rank.push(src)
	default:
		src.turn = idle
		s.idle = append(s.idle, src)
	}
}

// next takes the consumer whose turn it is, or nil when none has credit.
func (q *queue) next() *source { return q.nextOf(&q.turns) }

func (q *queue) nextOf(t *turns) *source {
	for {
		src := t.pop()
		if src == nil {
			return nil
		}
		src.turn = outOfTurn
		if !src.sub.hasCredit() {
			q.join(src)
		} else if !q.standsBy(src) {
			return src
		}
	}
}

// putBack lets src, which next took, be next again.
func (q *queue) putBack(src *source) {
	src.turn = inTurn
	src.rank.unpop(src)
}

// turns are those that src waits in.
func (src *source) turns() *turns {
	if src.view != nil {
		return &src.view.turns
	}
	return &src.queue.turns
}

// giveBack makes a message in flight ready again, in its old place.
func (q *queue) giveBack(at ref) {
	q.backlog.giveBack(at)
	q.returned(at)
}

// letGo makes a message ready that was held.
func (q *queue) letGo(at ref) {
	q.backlog.letGo(at)
	q.returned(at)
}

// returned has the views look at a message again.
func (q *queue) returned(at ref) {
	for _, v := range q.views {
		v.returned(at)
	}
}

// unusedFor is how long q may be unused, in ms, before it goes; 0: its policy sets
// no time.
func (q *queue) unusedFor() int64 {
	switch {
	case q.lease > 0:
		return q.lease
	case q.hidden():
		return q.policy.Durable.TTL.Milliseconds()
	}
	return q.policy.GCAfter.Milliseconds()
}

type turnState uint8

const (
	outOfTurn turnState = iota // stands by, or is being served
	inTurn
	idle // in subscription.idle
	left // in turn no more, though its place there may not have been cleared yet
)

// turns are the consumers with credit that wait for messages, by priority: those
// of a lower one only get what those of the higher ones have no credit for.
type turns struct {
	ranks []*rank // highest priority first
}

// A rank is the turn of one priority: who is next is first.
type rank struct {
	priority int
	members  int // whether in turn or not
	fifo[*source]
	left int // closed ones in turn
}

func (t *turns) find(priority int) (int, bool) {
	return slices.BinarySearchFunc(t.ranks, priority, func(r *rank, p int) int { return cmp.Compare(p, r.priority) })
}

// open counts a member, and returns its rank.
func (t *turns) open(priority int) *rank {
	i, ok := t.find(priority)
	if !ok {
		t.ranks = slices.Insert(t.ranks, i, &rank{priority: priority})
	}
	t.ranks[i].members++
	return t.ranks[i]
}

// pop takes who is next, nil if there is none.
func (t *turns) pop() *source {
	for _, r := range t.ranks {
		for r.len() > 0 {
			src := r.fifo.pop()
			if src.turn != left {
				return src
			}
			r.left--
		}
	}
	return nil
}

// top returns the highest priority of those who wait.
func (t *turns) top() (priority int, ok bool) {
	for _, r := range t.ranks {
		if r.len() > r.left {
			return r.priority, true
		}
	}
	return 0, false
}

func (t *turns) empty() bool {
	_, ok := t.top()
	return !ok
}

// leave forgets a member. It keeps its place in the turn until that comes, or
// until most of the places are of such: so a thousand can leave without a
// thousand searches.
func (t *turns) leave(src *source) {
	i, _ := t.find(src.sub.consumer.Priority)
	r := t.ranks[i]
	if r.members--; r.members == 0 {
		src.turn = left
		t.ranks = slices.Delete(t.ranks, i, i+1)
		return
	}
	waited := src.turn == inTurn
	src.turn = left
	if !waited {
		return
	}
	if r.left++; r.left <= r.len()/2 {
		return
	}
	for range r.len() {
		if src := r.fifo.pop(); src.turn != left {
			r.push(src)
		}
	}
	r.left = 0
}
