package broker

import (
	"sync"

	"baton/destinations"
)

// Kinds of output that the broker adds to those of the machine.
const (
	outputEnd       destinations.OutputKind = 100 + iota // the session is over: close once all before is written
	outputConnected                                      // the CONNECTED frame, in ReceiptID as it goes on the wire
)

// maxReceiptBacklog is how many octets of RECEIPTs may wait for a client that
// does not read them before nothing more is read from it.
const maxReceiptBacklog = 1 << 20

// receiptBytes is what an output with a receipt takes.
func receiptBytes(out *destinations.Output) int { return len(out.ReceiptID) + 256 }

// An outbox holds what waits to be written to one session, in order. Messages
// in it are bounded by the credit of the session's subscriptions, and receipts
// by maxReceiptBacklog.
type outbox struct {
	wake chan struct{} // holds a token when there may be something to write

	// The engine's own: what was last said to the log's waiting list.
	awaited uint64
	batch   uint64

	mu       sync.Mutex
	items    []destinations.Output // from head on; After never falls from one to the next
	head     int
	receipts int                  // octets of those among items
	departed map[uint32]departure // newest that left the box, of each auto subscription
	final    bool                 // an ERROR is in the box or was: only the end comes after it
	writing  bool                 // the writer is busy with what it took
	fetching bool                 // and has not yet all contents of it
	closed   bool                 // the writer has ended; nothing is kept
	changed  sync.Cond            // receipts fell, writing, fetching or closed changed
}

func newOutbox() *outbox {
	o := &outbox{wake: make(chan struct{}, 1)}
	o.changed.L = &o.mu
	return o
}

// push adds an output and returns the Seq that must be durable before it, and
// all before it, may leave.
func (o *outbox) push(out *destinations.Output) (gate uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.final && out.Kind != outputEnd {
		return 0
	}
	switch out.Kind {
	case destinations.Forget:
		delete(o.departed, out.Delivery.Sub)
		o.forget(func(d *destinations.Delivery) bool { return d.Sub == out.Delivery.Sub })
		return 0
	case outputEnd:
		o.forget(func(*destinations.Delivery) bool { return true })
	case destinations.Evict:
		o.final = true
	case destinations.Receipt:
		o.receipts += receiptBytes(out)
	}
	if n := len(o.items); n > o.head {
		gate = o.items[n-1].After
	}
	gate = max(gate, out.After)
	o.items = append(o.items, *out)
	o.items[len(o.items)-1].After = gate
	return gate
}

// forget drops the deliveries for which gone returns true: they are back in
// their queues.
func (o *outbox) forget(gone func(*destinations.Delivery) bool) {
	kept := o.items[:0]
	for i := o.head; i < len(o.items); i++ {
		if it := &o.items[i]; it.Kind != destinations.Deliver || !gone(&it.Delivery) {
			kept = append(kept, *it)
		}
	}
	clear(o.items[len(kept):])
	o.items, o.head = kept, 0
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// fetchBytes is how much of contents that are only in the log is taken at once.
const fetchBytes = writeBytes

// take moves up to limit outputs that may leave into batch. Until written is
// called, the writer counts as busy. When it has read what is only in the log,
// it calls fetched.
func (o *outbox) take(batch []destinations.Output, durable uint64, limit int) []destinations.Output {
	o.mu.Lock()
	defer o.mu.Unlock()
	waiting := o.items[o.head:]
	n, absent := 0, int64(0)
	for n < len(waiting) && n < limit && absent < fetchBytes && waiting[n].After <= durable {
		o.note(&waiting[n])
		if isAbsent(&waiting[n]) {
			absent += max(1, waiting[n].Delivery.Size)
		}
		n++
	}
	if n == 0 {
		return batch
	}
	o.writing, o.fetching = true, absent > 0
	batch = append(batch, waiting[:n]...)
	o.drop(n)
	o.changed.Broadcast()
	return batch
}

// isAbsent says that it is a message of which the content is only in the log.
func isAbsent(it *destinations.Output) bool {
	return it.Kind == destinations.Deliver && it.Delivery.Message == nil
}

// fetched says that the writer has all that it took: it will write that
// whatever becomes of the records in the log.
func (o *outbox) fetched() {
	o.mu.Lock()
	o.fetching = false
	o.mu.Unlock()
	o.changed.Broadcast()
}

func (o *outbox) note(it *destinations.Output) {
	switch {
	case it.Kind == destinations.Receipt:
		o.receipts -= receiptBytes(it)
	case it.Kind == destinations.Deliver && it.Delivery.Ack == destinations.AckAuto:
		if o.departed == nil {
			o.departed = map[uint32]departure{}
		}
		o.departed[it.Delivery.Sub] = departure{it.Delivery.Subscription, it.Delivery.Tag}
	}
}

// drop removes the first n items. Those behind them are moved up when most of
// the places are free. An empty box holds no memory to speak of.
func (o *outbox) drop(n int) {
	const keep = 8
	clear(o.items[o.head : o.head+n])
	o.head += n
	if o.head <= len(o.items)/2 {
		return
	}
	rest := copy(o.items, o.items[o.head:])
	clear(o.items[rest:])
	o.items, o.head = o.items[:rest], 0
	if rest == 0 && cap(o.items) > keep {
		o.items = nil
	}
}

// written ends what take began.
func (o *outbox) written() {
	o.mu.Lock()
	o.writing = false
	o.mu.Unlock()
	o.changed.Broadcast()
}

// waitForReader waits while too many receipts are unread by the client.
func (o *outbox) waitForReader() {
	o.mu.Lock()
	for o.receipts >= maxReceiptBacklog && !o.closed {
		o.changed.Wait()
	}
	o.mu.Unlock()
}

// waitForWriter waits until the writer is not busy.
func (o *outbox) waitForWriter() {
	o.mu.Lock()
	for o.writing && !o.closed {
		o.changed.Wait()
	}
	o.mu.Unlock()
}

// A departure is a delivery that left the box.
type departure struct {
	subscription string
	tag          uint64
}

// takenUpTo returns the newest tag of each auto subscription that left the box.
func (o *outbox) takenUpTo() map[uint32]uint64 {
	return o.takenWhere(func(string) bool { return true })
}

// takenBy does it for the subscription with this id.
func (o *outbox) takenBy(id string) map[uint32]uint64 {
	return o.takenWhere(func(subscription string) bool { return subscription == id })
}

// takenWhere waits until the writer has in hand what it took: as soon as that
// is settled, its records may go.
func (o *outbox) takenWhere(wanted func(subscription string) bool) map[uint32]uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.fetching && !o.closed {
		o.changed.Wait()
	}
	tags := map[uint32]uint64{}
	for sub, t := range o.departed {
		if wanted(t.subscription) {
			tags[sub] = t.tag
		}
	}
	return tags
}

// close drops everything: there is no one to write it.
func (o *outbox) close() {
	o.mu.Lock()
	o.items, o.head, o.receipts, o.closed = nil, 0, 0, true
	o.mu.Unlock()
	o.changed.Broadcast()
}
