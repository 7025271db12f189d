package failover

import (
	"math/rand/v2"
	"time"
)

const (
	dialEvery   = 200 * time.Millisecond // about
	dialSeldom  = 5 * time.Second        // at the least
	livedEnough = time.Second            // a connection that lasted so long has been of use
	vainAtOnce  = 1                      // connections that were of no use, and after which the next is made at once
	roomSoon    = 2 * time.Second        // after a copy for which there was no room
	roomSeldom  = time.Minute            // at the least, then
)

// A redial says when the next connection to the other node is due. One that has been of use is made again at once, for its
// end may be that of a master. Those that come to nothing again and again, as where one side refuses the other's journal, are
// made more and more seldom. So are those that end because the disk has no room: each begins a copy of the journal anew.
type redial struct {
	vain int           // connections in a row that were of no use
	rest time.Duration // after the last one, for want of room; 0: there was room
	due  time.Time     // the end of that
}

// room is told, before ended, whether there was room for what the connection has brought.
func (r *redial) room(was bool, now time.Time) {
	if was {
		r.rest, r.due = 0, time.Time{}
		return
	}
	r.rest = min(max(2*r.rest, roomSoon), roomSeldom)
	r.due = now.Add(r.rest)
}

// ended is told how long a connection has lasted, and says whether the next one is due at once.
func (r *redial) ended(lasted time.Duration) (now bool) {
	if r.rest > 0 {
		r.vain++ // for one that does not rest, as it may have to take over
		return false
	}
	if lasted >= livedEnough {
		r.vain = 0
		return true
	}
	r.vain++
	return r.vain <= vainAtOnce
}

// wait is how long to wait otherwise. Two nodes that dial each other at the same time would end each other's connections:
// chance parts them.
func (r *redial) wait() time.Duration {
	wait := dialEvery
	for range max(0, r.vain-vainAtOnce) {
		wait = min(2*wait, dialSeldom)
	}
	return wait/2 + rand.N(wait)
}
