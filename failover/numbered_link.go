package failover

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A numberedLink is a connection to the other node; the numbers are in the order in which they were made.
type numberedLink struct {
	*Link
	number uint64
	ctx    context.Context
	hangup context.CancelFunc
	ended  chan struct{}
	begun  time.Time
	stream func() (Stream, error) // what goes over it; nil: signals alone. Set before it is run
	sender *Sender                // of a standby: stream sets it
	quiet  *time.Timer            // of a master: rings when that has said nothing for long

	receiving sync.Mutex
	receiver  *Receiver // of a master's stream; nil: there is none yet
	shut      bool      // and there will be none
}

// keeps says that this connection, which has not ended, does not give way at now to one of another process of that name: it has
// just begun, and two that live would end each other's for ever. A process that has taken the place of a dead one comes again.
func (l *numberedLink) keeps(other *Hello, now time.Time) bool {
	return other.Incarnation != l.Peer().Incarnation && now.Sub(l.begun) < livedEnough && !isClosed(l.ended)
}

// admit makes r what stores the stream of a master, unless nothing is to be stored any more.
func (l *numberedLink) admit(r *Receiver) (Stream, error) {
	l.receiving.Lock()
	defer l.receiving.Unlock()
	if l.shut {
		return nil, errors.New("this node follows nobody any more")
	}
	l.receiver = r
	return r, nil
}

// shutOut returns when nothing that comes over the connection is stored any more. The connection ends by itself: where the
// other side is silent, that takes a moment (lastWords).
func (l *numberedLink) shutOut() {
	l.receiving.Lock()
	r := l.receiver
	l.shut = true
	l.receiving.Unlock()
	if r != nil {
		r.Close()
	}
}
