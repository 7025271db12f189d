package destinations

// A session is what the machine knows of a connection that has subscribed.
type session struct {
	id           uint64
	subs         []*subscription // in the order of their making
	byID         map[string]*subscription
	lastSub      uint32
	transactions map[string]*transaction
	evicted      bool // its connection is being closed
}

// A transaction holds the acknowledgements that a client made in it, until it
// commits or aborts. The sends of a transaction are kept by the caller.
type transaction struct{ held []held }

type held struct {
	sub    *subscription
	tag    uint64
	nack   bool
	reject bool
}

// A subscription is one consumer of a queue. That of a topic consumes a queue
// of its own, in which its copies wait.
type subscription struct {
	session  *session
	id       string
	number   uint32
	queue    *queue
	consumer Consumer
	out      int   // deliveries that use up credit
	outBytes int64 // their size
	flights  flights
	byID     map[MessageID]uint64 // tag of each flight, if the client acknowledges by message id
	inTurn   bool                 // waits in queue.turn
	closed   bool
}

// hasCredit says whether a further message may be sent. A message larger than
// what is left of the window still goes, so that none is too large to go.
func (s *subscription) hasCredit() bool {
	return s.out < s.consumer.Prefetch && s.outBytes < s.consumer.PrefetchBytes
}

// A flight is a delivery that is not settled.
type flight struct {
	at   ref
	tx   *transaction // that holds an acknowledgement of it
	live bool
}

// flights are the deliveries of a subscription by their tags, which ascend
// from 1. Those settled out of order leave holes until all before them are
// settled.
type flights struct {
	fifo[flight]
	gone uint64 // tags before the front
}

// last returns the newest tag that was given out, 0 if none was.
func (f *flights) last() uint64 { return f.gone + uint64(f.len()) }

func (f *flights) add(at ref) (tag uint64) {
	f.push(flight{at: at, live: true})
	return f.last()
}

// get returns the flight with this tag, or nil if it is settled.
func (f *flights) get(tag uint64) *flight {
	if tag <= f.gone || tag > f.last() {
		return nil
	}
	if fl := f.at(int(tag - f.gone - 1)); fl.live {
		return fl
	}
	return nil
}

func (f *flights) remove(tag uint64) {
	*f.get(tag) = flight{}
	for f.len() > 0 && !f.at(0).live {
		f.pop()
		f.gone++
	}
}

// each calls fn for every flight with a tag up to last, oldest first. fn may
// remove the flight that it is called for.
func (f *flights) each(last uint64, fn func(tag uint64, fl *flight)) {
	last = min(last, f.last())
	for tag := f.gone + 1; tag <= last; tag++ {
		if fl := f.get(tag); fl != nil {
			fn(tag, fl)
		}
	}
}
