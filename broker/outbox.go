package broker

import (
	"slices"
	"sync"

	"baton/destinations"
)

// Kinds of output that the broker adds to those of the machine.
const (
	outputEnd       destinations.OutputKind = 100 + iota // the session is over: close once all before is written
	outputConnected                                      // the CONNECTED frame, in ReceiptID as it goes on the wire
	outputNothing                                        // a delivery that is none any more: its content is lost
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

	mu        sync.Mutex
	items     []destinations.Output // from head on; After never falls from one to the next
	head      int
	receipts  int                  // octets of those among items
	departed  map[uint32]departure // newest that left the box, of each subscription
	final     bool                 // an ERROR is in the box or was: only the end comes after it
	counted   bool                 // some of items may say Copies
	writing   bool                 // the writer is busy with what it took
	closed    bool                 // the writer has ended; nothing is kept
	concluded bool                 // nothing is added
	changed   sync.Cond            // receipts fell, writing or closed changed
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
	return o.add(out)
}

// add is push by one who holds mu.
func (o *outbox) add(out *destinations.Output) (gate uint64) {
	if o.closed || o.concluded || o.final && out.Kind != outputEnd {
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
	if out.Copies > 0 {
		o.counted = true
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
		if it := &o.items[i]; it.Kind != destinations.Deliver && it.Kind != destinations.Browsed || !gone(&it.Delivery) {
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

// take moves up to limit outputs that may leave into batch. It stops at one of
// which the content is only in the log. Until written is called, the writer
// counts as busy.
func (o *outbox) take(batch []destinations.Output, durable uint64, limit int) []destinations.Output {
	o.mu.Lock()
	defer o.mu.Unlock()
	waiting := o.items[o.head:]
	n := 0
	for n < len(waiting) && n < limit && waiting[n].After <= durable && !isAbsent(&waiting[n]) {
		n++
	}
	if n == 0 {
		return batch
	}
	o.note(waiting[:n])
	o.writing = true
	if n == len(waiting) {
		o.counted = false
	}
	if n == len(o.items) && len(batch) == 0 {
		batch, o.items = o.items, batch
	} else {
		batch = append(batch, waiting[:n]...)
		o.drop(n)
	}
	o.changed.Broadcast()
	return batch
}

// within is how many of the limit outputs that leave next take most octets together,
// roughly, but one in any case.
func (o *outbox) within(limit, most int) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	waiting, size := o.items[o.head:], 0
	for n < len(waiting) && n < limit && size < most {
		size += outputBytes(&waiting[n])
		n++
	}
	return max(1, n)
}

// outputBytes is about what it takes on the wire.
func outputBytes(out *destinations.Output) int {
	size := receiptBytes(out)
	if m := out.Delivery.Message; m != nil {
		size += len(m.Content)
	}
	return size
}

// exempt is how many of the outputs that leave next need no permit: all but messages,
// which another broker may hand out as well, and CONNECTED, for who comes now is
// better served there. An ERROR does not wait for messages that may not be handed
// out: they go back.
func (o *outbox) exempt() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.final && !o.concluded {
		o.forget(func(*destinations.Delivery) bool { return true })
	}
	for i := o.head; i < len(o.items); i++ {
		switch o.items[i].Kind {
		case destinations.Deliver, destinations.Browsed, outputNothing, outputConnected:
			if !o.final {
				return n
			}
		}
		n++
	}
	return n
}

// conclude lets only what is durable leave, and then err and the end. Messages that
// are stored do not leave: who has the log next delivers them. Nor do those that only
// the log has, which is not read any more.
func (o *outbox) conclude(durable uint64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.endWith(durable, err)
	}
}

// endWith is conclude by one who holds mu.
func (o *outbox) endWith(durable uint64, err error) {
	o.forget(func(d *destinations.Delivery) bool { return d.Content != 0 && (!d.Copy || d.Message == nil) })
	told, n := o.final, len(o.items)
	for i := len(o.items) - 1; i >= 0; i-- {
		it := &o.items[i]
		if it.Kind == destinations.Evict {
			told = it.After <= durable
		}
		if it.After > durable || it.Kind == outputEnd {
			n = i
		}
	}
	o.cutAt(n)
	if !told {
		o.items = append(o.items, destinations.Output{Kind: destinations.Evict, Err: err})
	}
	o.items = append(o.items, destinations.Output{Kind: outputEnd})
	o.final, o.concluded = true, true
	o.changed.Broadcast()
	o.signal()
}

// cutAt drops the items from there on.
func (o *outbox) cutAt(n int) {
	for i := n; i < len(o.items); i++ {
		if it := &o.items[i]; it.Kind == destinations.Receipt {
			o.receipts -= receiptBytes(it)
		}
	}
	clear(o.items[n:])
	o.items = o.items[:n]
}

// yield takes the memory of an empty box that has more than it keeps, and returns
// that or batch, whichever is more.
func (o *outbox) yield(batch []destinations.Output) []destinations.Output {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.items) > 0 || cap(o.items) <= keepOutputs {
		return batch
	}
	if cap(batch) < cap(o.items) {
		batch, o.items = o.items, batch
	}
	if cap(o.items) > keepOutputs {
		o.items = nil
	}
	return batch
}

// keepOutputs is for how many outputs an empty box keeps memory.
const keepOutputs = 8

// isAbsent says that it is a message of which the content is only in the log.
func isAbsent(it *destinations.Output) bool {
	return it.Kind == destinations.Deliver && it.Delivery.Message == nil
}

// absent adds to list what is absent among the limit outputs that leave next:
// as much as takes most octets of memory, but one in any case. It returns how
// many they take.
func (o *outbox) absent(list []destinations.Delivery, durable uint64, limit int, most int64) ([]destinations.Delivery, int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	waiting, size := o.items[o.head:], int64(0)
	for n := 0; n < len(waiting) && n < limit && waiting[n].After <= durable; n++ {
		if !isAbsent(&waiting[n]) {
			continue
		}
		d := &waiting[n].Delivery
		if size > 0 && size+fetchCost(int64(d.Size)) > most {
			break
		}
		size += fetchCost(int64(d.Size))
		list = append(list, *d)
	}
	return list, size
}

// supply gives what absent listed the messages that were found. One without is
// lost: it will not be written. What was forgotten meanwhile is passed over.
func (o *outbox) supply(found []destinations.Delivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := o.head; i < len(o.items) && len(found) > 0; i++ {
		it := &o.items[i]
		if !isAbsent(it) {
			continue
		}
		at := slices.IndexFunc(found, func(d destinations.Delivery) bool {
			return d.Sub == it.Delivery.Sub && d.Tag == it.Delivery.Tag
		})
		if at < 0 {
			return
		}
		if it.Delivery = found[at]; it.Delivery.Message == nil {
			it.Kind = outputNothing
		}
		found = found[at+1:]
	}
}

// note takes note of what leaves the box.
func (o *outbox) note(leaving []destinations.Output) {
	for i := range leaving {
		it := &leaving[i]
		switch it.Kind {
		case destinations.Receipt:
			o.receipts -= receiptBytes(it)
		case destinations.Deliver:
			d := &it.Delivery
			if n := i + 1; n < len(leaving) && leaving[n].Kind == destinations.Deliver && leaving[n].Delivery.Sub == d.Sub {
				continue // that one is newer
			}
			if o.departed == nil {
				o.departed = map[uint32]departure{}
			}
			o.departed[d.Sub] = departure{d.Subscription, d.Tag, d.Ack == destinations.AckAuto}
		}
	}
}

// drop removes the first n items. Those behind them are moved up when most of
// the places are free.
func (o *outbox) drop(n int) {
	clear(o.items[o.head : o.head+n])
	o.head += n
	if o.head <= len(o.items)/2 {
		return
	}
	rest := copy(o.items, o.items[o.head:])
	clear(o.items[rest:])
	o.items, o.head = o.items[:rest], 0
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

// cut says that the last outputs of what was taken were not wholly written, and
// will not be.
func (o *outbox) cut(rest []destinations.Output) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range rest {
		if rest[i].Kind != destinations.Deliver {
			continue
		}
		d := &rest[i].Delivery
		if left, ok := o.departed[d.Sub]; ok {
			left.tag = min(left.tag, d.Tag-1)
			o.departed[d.Sub] = left
		}
	}
}

// A departure is a delivery that left the box.
type departure struct {
	subscription string
	tag          uint64
	auto         bool
}

// takenUpTo returns the newest tag of each subscription that left the box.
func (o *outbox) takenUpTo() map[uint32]uint64 {
	return o.takenWhere(func(departure) bool { return true })
}

// autoTaken does it for auto subscriptions.
func (o *outbox) autoTaken() map[uint32]uint64 {
	return o.takenWhere(func(d departure) bool { return d.auto })
}

// autoTakenBy does it for the subscription with this id, if it is an auto one.
func (o *outbox) autoTakenBy(id string) map[uint32]uint64 {
	return o.takenWhere(func(d departure) bool { return d.auto && d.subscription == id })
}

func (o *outbox) takenWhere(wanted func(departure) bool) map[uint32]uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	tags := map[uint32]uint64{}
	for sub, d := range o.departed {
		if wanted(d) {
			tags[sub] = d.tag
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
