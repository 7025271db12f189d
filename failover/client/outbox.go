package client

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/go-stomp/stomp/v3/frame"
)

// An outbox is the requests that have no answer, in the order in which they were made and are written. Its methods are called
// under the client's lock. What they return are ends of requests, to be told when the lock is not held any more.
type outbox struct {
	order      []*request // what was answered stays until it is the first, or there is much of it
	answered   int        // in order
	next       int        // in order: the first that is not written to this connection
	acks       int        // not written
	unanswered int        // without DISCONNECT, which waits for the others to be answered
	numbers    uint64
	byNumber   map[uint64]*request
	covered    []*request // ACKs written to this connection without a receipt: that of a later one speaks for them
}

// An ended request has an outcome that nobody knows yet.
type ended struct {
	*request
	err error
}

// add appends a request.
func (o *outbox) add(r *request) {
	o.enter(r)
	o.order = append(o.order, r)
}

func (o *outbox) enter(r *request) {
	if o.byNumber == nil {
		o.byNumber = map[uint64]*request{}
	}
	o.numbers++
	r.number = o.numbers
	r.setReceipts()
	o.byNumber[r.number] = r
	if r.kind != kindDisconnect {
		o.unanswered++
	}
	if r.kind == kindAck {
		o.acks++
	}
}

// begin has a new connection start: with first, and then with what was kept.
func (o *outbox) begin(first []*request) {
	for _, r := range first {
		o.enter(r)
	}
	o.order = append(first, o.order...)
}

// A batch is what was written to a connection at once.
type batch struct {
	bytes.Buffer
	requests []placed
	writer   *frame.Writer // into the Buffer
}

// A placed request has its end at an offset of the batch. before, again and refused are what its fields were.
type placed struct {
	*request
	end     int
	before  uint64
	again   bool
	refused error
}

// batchBytes is when a batch is not made longer.
const batchBytes = 64 << 10

// fill makes the next batch for a connection; it is empty when there is nothing to write.
func (o *outbox) fill(b *batch, generation uint64) {
	if b.Cap() > 16*batchBytes {
		b.Buffer = bytes.Buffer{}
	}
	if b.Reset(); b.writer == nil {
		b.writer = frame.NewWriter(&b.Buffer)
	}
	b.requests = b.requests[:0]
	for ; o.next < len(o.order) && b.Len() < batchBytes; o.next++ {
		if r := o.order[o.next]; !r.answered {
			o.write(b, r, generation)
		}
	}
	o.trim()
}

// write appends a request to a batch. An ACK asks for a receipt when no other waits to be written behind it: the receipt of one
// says that those before it were taken too.
func (o *outbox) write(b *batch, r *request, generation uint64) {
	if r.kind == kindAck {
		if o.acks--; o.acks == 0 {
			r.frames[0].Header.Set(frame.Receipt, r.receipt())
		} else {
			o.covered = append(o.covered, r)
			o.leave(r)
		}
	}
	for _, f := range r.frames {
		_ = b.writer.Write(f) // into memory
	}
	b.requests = append(b.requests, placed{r, b.Len(), r.written, r.again, r.refused})
	if r.written != 0 && r.refused == nil {
		r.again = true
	}
	r.written, r.refused = generation, nil
}

// cut says that only n octets of a batch have left.
func (o *outbox) cut(b *batch, n int) {
	for _, p := range b.requests {
		if p.end > n {
			p.written, p.request.again, p.request.refused = p.before, p.again, p.refused
		}
	}
}

// leave takes a request out.
func (o *outbox) leave(r *request) {
	r.answered = true
	o.answered++
	delete(o.byNumber, r.number)
	if r.kind != kindDisconnect {
		o.unanswered--
	}
}

// trim lets go what was answered: at the front, and else when it is most of what is there.
func (o *outbox) trim() {
	for o.next > 0 && o.order[0].answered {
		o.order[0] = nil
		o.order = o.order[1:]
		o.next--
		o.answered--
	}
	if o.answered < keepAnswered || o.answered < len(o.order)/2 {
		return
	}
	kept := make([]*request, 0, len(o.order)-o.answered)
	next := 0
	for i, r := range o.order {
		if !r.answered {
			kept = append(kept, r)
		}
		if i < o.next {
			next = len(kept)
		}
	}
	o.order, o.next, o.answered = kept, next, 0
}

// keepAnswered is how many answered requests are not worth the way through all.
const keepAnswered = 64

// find is the request that a receipt-id of this connection belongs to, and whether it is of all of it.
func (o *outbox) find(id string, generation uint64) (r *request, whole bool) {
	id, _, part := strings.Cut(id, ".")
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return nil, false
	}
	r = o.byNumber[n]
	if r == nil || r.written != generation {
		return nil, false
	}
	return r, !part
}

// receipt answers the request that a RECEIPT is for, and the ACKs that it speaks for.
func (o *outbox) receipt(id string, generation uint64) []ended {
	r, whole := o.find(id, generation)
	if r == nil || !whole {
		return nil
	}
	var ends []ended
	if r.kind == kindAck {
		n := 0
		for ; n < len(o.covered) && o.covered[n].number < r.number; n++ {
			ends = append(ends, ended{o.covered[n], nil})
		}
		o.covered = slices.Delete(o.covered, 0, n)
	}
	return append(ends, o.end(r, nil)...)
}

// end ends a request that has not ended.
func (o *outbox) end(r *request, err error) []ended {
	if r.answered {
		return nil
	}
	o.leave(r)
	o.trim()
	return []ended{{r, err}}
}

// lose ends what ends with its connection, and keeps the rest for the next one.
func (o *outbox) lose() (ends []ended) {
	for _, r := range o.covered {
		ends = append(ends, ended{r, ErrLostAck})
	}
	o.covered = nil
	kept := make([]*request, 0, len(o.order))
	for _, r := range o.order {
		if r.answered {
			continue
		}
		keep, err := r.fate()
		if keep {
			kept = append(kept, r)
			continue
		}
		o.leave(r)
		ends = append(ends, ended{r, err})
	}
	o.order, o.answered, o.next, o.acks = kept, 0, 0, 0
	return ends
}

// clear ends all there is.
func (o *outbox) clear(err error) []ended {
	ends := o.lose()
	for _, r := range o.order {
		o.leave(r)
		ends = append(ends, ended{r, r.unanswered(err)})
	}
	o.order, o.answered, o.next = nil, 0, 0
	return ends
}

// first is the first request that was written to a connection and has no answer.
func (o *outbox) first(generation uint64) *request {
	for _, r := range o.order[:o.next] {
		if !r.answered && r.written == generation {
			return r
		}
	}
	return nil
}
