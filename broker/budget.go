package broker

import (
	"fmt"
	"sync/atomic"

	"baton/broker/stomp"
	"baton/destinations"
)

// A budget bounds the memory that messages take, wherever they are: in the
// machine, in open transactions, on their way to the engine, in frames that are
// not complete and larger than a few KiB.
type budget struct {
	limit  int64
	held   atomic.Int64 // by the machine; written by the engine
	coming atomic.Int64 // by sessions and the mailbox
}

// take counts octets that a session is about to hold. When there is no room
// for them it counts nothing and returns an error for the client.
func (b *budget) take(octets int) error {
	for {
		held, coming := b.held.Load(), b.coming.Load()
		if held+coming+int64(octets) > b.limit {
			return &clientError{code: destinations.CodeMemoryFull, text: fmt.Sprintf(
				"the broker holds %d octets of messages and queues, %d more are coming, and it may hold %d: try again when some were consumed",
				held, coming, b.limit)}
		}
		if b.coming.CompareAndSwap(coming, coming+int64(octets)) {
			return nil
		}
	}
}

// give counts them back.
func (b *budget) give(octets int) { b.coming.Add(-int64(octets)) }

// sendBytes is what the message of a SEND takes until the machine holds it.
func sendBytes(o *destinations.Outgoing, f *stomp.Frame) int {
	const overhead = 256
	return f.HeaderBytes() + stampBytes + len(f.Body) + len(o.Destination.Name) + overhead
}
