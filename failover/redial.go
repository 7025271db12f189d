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
)

// A redial says when the next connection to the other node is due. One that has been of use is made again at once, for its
// end may be that of a master. Those that come to nothing again and again, as where one side refuses the other's journal, are
// made more and more seldom.
type redial struct {
	vain int // connections in a row that were of no use
}

// ended is told how long a connection has lasted, and says whether the next one is due at once.
func (r *redial) ended(lasted time.Duration) (now bool) {
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
