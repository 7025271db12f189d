package destinations

import (
	"slices"
	"sort"
)

// A session is what the machine knows of a connection that has subscribed.
type session struct {
	id           uint64
	subs         []*subscription          // in the order of their making
	byID         map[string]*subscription // nil while they are few
	lastSub      uint32
	transactions map[string]*transaction
	leaving      []*subscription // unsubscribed, but a transaction holds messages of theirs
	evicted      bool            // its connection is being closed
	temporary    []*queue        // temporary queues that are its own
}

// fewSubscriptions is how many of a session are looked through for one with an id:
// most sessions have one, and a map takes more than the rest of the session.
const fewSubscriptions = 16

// add joins a subscription to its session.
func (ses *session) add(s *subscription) {
	ses.subs = append(ses.subs, s)
	switch {
	case ses.byID != nil:
		ses.byID[s.id] = s
	case len(ses.subs) > fewSubscriptions:
		ses.byID = map[string]*subscription{}
		for _, s := range ses.subs {
			ses.byID[s.id] = s
		}
	}
}

// named returns the subscription with an id, nil if there is none.
func (ses *session) named(id string) *subscription {
	if ses.byID != nil {
		return ses.byID[id]
	}
	for _, s := range ses.subs {
		if s.id == id {
			return s
		}
	}
	return nil
}

// A transaction holds the acknowledgements that a client made in it, until it
// commits or aborts. The sends of a transaction are kept by the caller.
type transaction struct {
	held []held
	size int64 // bounds what they will take in the log
}

type held struct {
	sub     *subscription
	tag     uint64
	nack    bool
	refusal Refusal // of a nack
}

// A subscription is one consumer of its sources: of queues, and for topics of a
// queue of its own, in which its copies wait.
type subscription struct {
	session  *session
	id       string
	number   uint32
	sources  []*source
	parked   bool        // a source may have something parked
	idle     []*source   // those that would join the turn, were there credit
	lost     int         // of these, such as have left since
	copies   *queue      // of topics; nil if there are none among its destinations
	topic    Destination // the one topic, if that is all there is
	watches  []Pattern   // otherwise what it listens to, and queues by wildcards
	round    uint64      // of Machine, in which it was offered a copy last
	consumer Consumer
	out      int   // deliveries that use up credit
	outBytes int64 // their size
	granted  int   // of one with Consumer.Network: messages that it may still be given
	flights  flights
	byID     map[MessageID]uint64   // tag of each flight, the oldest with that id, if the client acknowledges by message id
	twins    map[MessageID][]uint64 // the further ones, by age: copies of one message in several of its queues
	place    int                    // in its topic
	open     uint64                 // in client mode: transactions hold all flights with a lower tag
	closed   bool
	alarm    timer // for the first flight that is due
}

func (s *subscription) seat() *int { return &s.place }

// hasCredit says whether a further message may be sent. A message larger than
// what is left of the window still goes, so that none is too large to go.
func (s *subscription) hasCredit() bool {
	if s.consumer.Network && s.copies == nil && s.granted <= 0 {
		return false
	}
	return s.out < s.consumer.Prefetch && s.outBytes < s.consumer.PrefetchBytes
}

// A flight is a delivery that is not settled.
type flight struct {
	at    ref
	queue *queue       // where at is
	tx    *transaction // that holds an acknowledgement of it
	due   int64        // Unix ms when it is in vain; 0: never
	live  bool
}

// flights are the deliveries of a subscription by their tags, which ascend
// from 1. Those settled out of order leave holes until all before them are
// settled. One that stays while many after it are settled is set aside, so
// that the holes behind it do not pile up.
type flights struct {
	fifo[flight]
	live   int     // flights in the fifo that are no holes
	gone   uint64  // tags before the front
	aside  []aside // of those tags, the ones that are not settled; ascending
	landed int     // settled ones that are still in aside
}

type aside struct {
	tag uint64
	flight
}

// last returns the newest tag that was given out, 0 if none was.
func (f *flights) last() uint64 { return f.gone + uint64(f.len()) }

// none says that nothing is in flight.
func (f *flights) none() bool { return f.len() == 0 && len(f.aside) == f.landed }

func (f *flights) add(q *queue, at ref) (tag uint64) {
	fl := f.extend()
	fl.at, fl.queue, fl.live = at, q, true
	f.live++
	return f.last()
}

// get returns the flight with this tag, or nil if it is settled. It is valid
// until the next add or remove.
func (f *flights) get(tag uint64) *flight {
	if tag <= f.gone {
		if i, ok := f.findAside(tag); ok {
			return &f.aside[i].flight
		}
		return nil
	}
	if tag > f.last() {
		return nil
	}
	if fl := f.at(int(tag - f.gone - 1)); fl.live {
		return fl
	}
	return nil
}

func (f *flights) findAside(tag uint64) (int, bool) {
	i := sort.Search(len(f.aside), func(i int) bool { return f.aside[i].tag >= tag })
	return i, i < len(f.aside) && f.aside[i].tag == tag && f.aside[i].live
}

func (f *flights) remove(tag uint64) {
	if tag == f.gone+1 { // as mostly
		f.drop()
		f.gone++
		f.live--
		f.closeUp()
		return
	}
	*f.get(tag) = flight{}
	if tag <= f.gone {
		f.landed++
		f.compactAside()
		return
	}
	f.live--
	f.closeUp()
}

// compactAside drops the settled ones when they are the most.
func (f *flights) compactAside() {
	if f.landed <= len(f.aside)/2 {
		return
	}
	f.aside = slices.DeleteFunc(f.aside, func(a aside) bool { return !a.live })
	f.landed = 0
	if len(f.aside) == 0 {
		f.aside = nil
	}
}

// closeUp drops the holes at the front. While there are many more holes than
// flights, the flight in front of them is set aside.
func (f *flights) closeUp() {
	const few = 256
	for f.len() > 0 {
		if front := f.at(0); front.live {
			if f.len() < few || f.len() < 4*f.live {
				return
			}
			f.aside = append(f.aside, aside{f.gone + 1, *front})
			f.live--
		}
		f.drop()
		f.gone++
	}
}

// each calls fn for every flight with a tag from first to last, oldest first.
// fn may remove the flight that it is called for.
func (f *flights) each(first, last uint64, fn func(tag uint64, fl *flight)) {
	for from := first; len(f.aside) > 0; {
		i, _ := f.findAside(from) // again each time, for fn may move them
		for i < len(f.aside) && !f.aside[i].live {
			i++
		}
		if i == len(f.aside) || f.aside[i].tag > last {
			break
		}
		from = f.aside[i].tag + 1
		fn(f.aside[i].tag, &f.aside[i].flight)
	}
	last = min(last, f.last())
	for tag := max(first, f.gone+1); tag <= last; tag++ {
		if fl := f.get(tag); fl != nil {
			fn(tag, fl)
		}
	}
}

// remember keeps the flight of a message for those who acknowledge by its id.
// Copies of one message have one id, and are settled in the order in which they
// were delivered.
func (s *subscription) remember(id MessageID, tag uint64) {
	if _, twin := s.byID[id]; !twin {
		s.byID[id] = tag
		return
	}
	if s.twins == nil {
		s.twins = map[MessageID][]uint64{}
	}
	s.twins[id] = append(s.twins[id], tag)
}

// forget is the opposite of remember.
func (s *subscription) forget(id MessageID, tag uint64) {
	twins := s.twins[id]
	switch {
	case s.byID[id] != tag:
		twins = slices.DeleteFunc(twins, func(other uint64) bool { return other == tag })
	case len(twins) > 0:
		s.byID[id], twins = twins[0], twins[1:]
	default:
		delete(s.byID, id)
	}
	if len(twins) > 0 {
		s.twins[id] = twins
	} else {
		delete(s.twins, id)
	}
}
