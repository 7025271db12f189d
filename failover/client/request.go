package client

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
)

// A request is what the broker is asked for with a receipt: one frame, or a transaction's frames that are written together. Its
// fields belong to the outbox, whose lock guards them, once it is in it.
type request struct {
	kind       kind
	number     uint64 // of the outbox; its receipt
	frames     []*frame.Frame
	generation uint64        // of what it acknowledges; 0: nothing
	sub        *Subscription // that a SUBSCRIBE is for
	bytes      int64         // of the cache that it takes
	done       func(error)   // called once, without a lock; nil: nobody
	timer      *time.Timer   // ends its wait; nil: none

	written  uint64 // the generation of the last connection to which it was written; 0: none
	again    bool   // and it was written to one before that, which has not answered
	refused  error  // by an ERROR that named it, on the last connection: there it had no effect; nil: it was not
	answered bool   // it is out of the outbox, or will be when it is the first
	strikes  int    // connections that ended with an ERROR about nothing while it was the first
}

// A kind says what becomes of a request whose connection is lost.
type kind int

const (
	kindSend        kind = iota // is sent again
	kindCommit                  // of messages with ids alone: is sent again
	kindBareCommit              // without ids for all: is sent again if it was not written, else it is in doubt
	kindAckCommit               // with acknowledgements: rolled back if it was not written, else in doubt
	kindAck                     // lost
	kindSubscribe               // the next connection begins with one
	kindUnsubscribe             // done
	kindForget                  // UNSUBSCRIBE that deletes a durable subscription: is sent again
	kindDisconnect              // done
)

// fate is what becomes of r when its connection is lost: it is kept for the next one, or ends with err.
func (r *request) fate() (keep bool, err error) {
	idle := r.written == 0 || r.refused != nil // nothing has come of it
	switch r.kind {
	case kindSend, kindCommit, kindForget:
		return true, nil
	case kindBareCommit:
		return idle, ErrInDoubt
	case kindAckCommit:
		if idle {
			return false, ErrRolledBack
		}
		return false, ErrInDoubt
	case kindAck:
		return false, ErrLostAck
	default:
		return false, nil
	}
}

// unanswered is what r ends with when no connection comes any more.
func (r *request) unanswered(why error) error {
	switch {
	case r.written == 0, r.refused == why:
		return why
	case r.refused != nil && !r.again:
		return fmt.Errorf("%w: %w", why, r.refused)
	}
	return inDoubt(why)
}

// refusal is what r ends with when an ERROR has refused it. What came of an earlier connection, nobody knows.
func (r *request) refusal(f *frame.Frame) error {
	if r.again || stored(f) {
		return inDoubt(refusal(f))
	}
	return refusal(f)
}

// wantsCopies says whether r itself asks for several brokers to have it.
func (r *request) wantsCopies() bool {
	return slices.ContainsFunc(r.frames, func(f *frame.Frame) bool { return f.Header.Get("min-copies") != "" })
}

// receipt is what r asks for.
func (r *request) receipt() string { return strconv.FormatUint(r.number, 10) }

// setReceipts numbers the frames of r: the last one has the receipt of r, and those before it one that names their place, so that
// an ERROR about them says whose they are.
func (r *request) setReceipts() {
	last := len(r.frames) - 1
	for i, f := range r.frames[:last] {
		f.Header.Set(frame.Receipt, r.receipt()+"."+strconv.Itoa(i))
	}
	if r.kind != kindAck { // whether an ACK asks for a receipt is decided when it is written
		r.frames[last].Header.Set(frame.Receipt, r.receipt())
	}
}

// frameBytes is what a frame takes in memory, about.
func frameBytes(f *frame.Frame) int64 {
	n := int64(256 + len(f.Body))
	for i := range f.Header.Len() {
		name, value := f.Header.GetAt(i)
		n += int64(len(name) + len(value) + 32)
	}
	return n
}
