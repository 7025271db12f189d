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
	stream func() (Stream, error) // what goes over it; nil: signals alone. Set before it is run
	sender *Sender                // of a standby: stream sets it
	quiet  *time.Timer            // of a master: rings when that has said nothing for long

	receiving sync.Mutex
	receiver  *Receiver // of a master's stream; nil: there is none yet
	shut      bool      // and there will be none
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
