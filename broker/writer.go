package broker

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"baton/broker/stomp"
	"baton/destinations"
)

const (
	takeLimit  = 256       // outputs that are encoded together
	copyLimit  = 4 << 10   // a larger content is not copied but written from where it is
	writeBytes = 64 << 10  // a buffer is written when it holds so much
	keepBytes  = 128 << 10 // a larger buffer is not kept for the next session
)

// A frameWriter encodes outputs of a session and writes them.
type frameWriter struct {
	s       *session
	version stomp.Version
	*scratch
	cut     int // where in buf the octets that are not in vectors begin
	pending int // octets in vectors
	written int // outputs of the batch that are wholly written
	end     bool

	renewed <-chan struct{} // closed when there may be a permit to write; nil: it is not waited for

	share share // of what may be read from the log and not be written
	retry retry // when that could not be read
}

// scratch is the memory of a writer that has something to write. One that has
// not lends it to others.
type scratch struct {
	buf     []byte
	vectors net.Buffers
	batch   []destinations.Output
	sent    []destinations.DeliveryID // what was encoded for auto subscriptions: of each run of one, the newest
	ends    []int                     // of those outputs of the batch that are encoded and not flushed: how many octets they and those before take
	opening opening
	absent  []destinations.Delivery // that are being read from the log
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// write writes what the outbox lets go until the session has ended or the
// client takes no more.
func (s *session) write() {
	w := frameWriter{s: s, share: newShare(), retry: newRetry(s.server.outage)}
	defer s.server.fetches.leave(&w.share)
	defer w.retry.stop()
	beat := time.NewTimer(time.Hour)
	beat.Stop()
	defer beat.Stop()
	for !w.end {
		wrote, err := w.drain()
		if err != nil {
			s.fail(err)
			return
		}
		if w.end {
			return
		}
		if wrote && s.beatEvery > 0 {
			beat.Reset(s.beatPause())
		}
		select {
		case <-s.gone:
			return
		case <-s.out.wake:
		case <-w.renewed:
		case <-w.share.granted:
		case <-w.retry.timer.C:
		case <-beat.C:
			if err := w.heartBeat(); err != nil {
				s.fail(err)
				return
			}
			beat.Reset(s.beatPause())
		}
	}
}

// fail ends the session because it cannot be written to.
func (s *session) fail(err error) {
	s.broken.Store(&err)
	s.logger.Info("writing to the client failed", zap.Error(err))
	s.kill()
}

// beatPause is how long the writer may be silent: less than was promised, so
// that the promise holds on a busy machine.
func (s *session) beatPause() time.Duration { return s.beatEvery * 3 / 4 }

func (w *frameWriter) heartBeat() error {
	_, err := w.flushVectors(net.Buffers{{'\n'}})
	return err
}

// drain writes everything that may leave now and says whether that was
// anything.
func (w *frameWriter) drain() (wrote bool, err error) {
	wrote, err = w.writeAll()
	w.giveBack() // not after a panic: what is in it would go to another session
	return wrote, err
}

func (w *frameWriter) writeAll() (wrote bool, err error) {
	s := w.s
	for !w.end {
		durable := s.server.engine.durable.Load()
		if s.server.opts.Kept != nil {
			s.checkCopies(durable)
		}
		limit := w.portion()
		if limit == 0 {
			return wrote, nil
		}
		w.borrow()
		w.batch = s.out.take(w.batch[:0], durable, limit)
		if len(w.batch) == 0 {
			if w.fetch(durable) {
				continue
			}
			return wrote, nil
		}
		wrote = true
		err := w.writeBatch()
		if err == nil {
			s.settle(w.sent)
		} else {
			s.out.cut(w.batch[w.written:])
		}
		clear(w.batch)
		s.server.fetches.leave(&w.share)
		s.out.written()
		w.sent = w.sent[:0]
		if err != nil {
			return wrote, err
		}
	}
	return wrote, nil
}

func (w *frameWriter) borrow() {
	if w.scratch == nil {
		w.scratch = scratches.Get().(*scratch)
	}
}

func (w *frameWriter) giveBack() {
	if w.scratch == nil {
		return
	}
	if cap(w.buf) > keepBytes {
		w.buf = nil
	}
	w.batch = w.s.out.yield(w.batch[:0])
	scratches.Put(w.scratch)
	w.scratch = nil
}

func (w *frameWriter) writeBatch() error {
	w.written = 0
	together := w.s.server.opts.Permit != nil // it was asked for one write
	for i := range w.batch {
		w.encode(&w.batch[i])
		octets := w.pending + len(w.buf) - w.cut
		w.ends = append(w.ends, octets)
		if octets >= writeBytes && !together {
			if err := w.flush(); err != nil {
				return err
			}
		}
		if w.end {
			break
		}
	}
	return w.flush()
}

func (w *frameWriter) encode(o *destinations.Output) {
	switch o.Kind {
	case outputConnected:
		w.version = w.s.speaks()
		w.buf = append(w.buf, o.ReceiptID...)
	case destinations.Receipt:
		w.buf = append(w.buf, "RECEIPT\n"...)
		w.buf = stomp.AppendHeader(w.buf, w.version, headerReceiptID, o.ReceiptID)
		if id := o.Delivery.ID; id != (destinations.MessageID{}) {
			w.buf = appendJob(w.buf, w.s.server.name, id)
		}
		w.buf = append(w.buf, '\n', 0)
	case destinations.Deliver:
		w.message(&o.Delivery)
	case destinations.Browsed:
		w.browsed(&o.Delivery)
	case destinations.Evict:
		w.buf = appendError(w.buf, w.version, o.Err)
	case outputEnd:
		w.end = true
	}
}

// message encodes a MESSAGE. Its headers begin with those that are the
// delivery's own; what the producer sent is copied behind them.
func (w *frameWriter) message(d *destinations.Delivery) {
	m, v := d.Message, w.version
	if !w.opening.fits(v, d) {
		w.opening.write(v, d)
	}
	b := append(w.buf, w.opening.destination...)
	b = append(b, headerMessageID+":"...)
	b = appendMessageID(b, w.s.server.name, d.ID, copyFor(d))
	b = append(b, '\n')
	b = append(b, w.opening.subscription...)
	if len(w.opening.ack) > 0 {
		b = append(b, w.opening.ack...)
		b = endAckID(b, d.Tag, w.s.mark)
		b = append(b, '\n')
	}
	if d.Redelivered || d.Deliveries > 1 {
		b = append(b, headerRedelivered+":true\n"+headerDeliveryCount+":"...)
		b = strconv.AppendInt(b, int64(d.Deliveries), 10)
		b = append(b, "\n"+headerJMSXDeliveryCount+":"...)
		b = strconv.AppendInt(b, int64(d.Deliveries), 10)
		b = append(b, '\n')
	}
	if d.GroupFirst {
		b = append(b, headerGroupFirst+":true\n"...)
	}
	if d.Dead != nil {
		b = w.deadLetter(b, d.Dead)
	} else if topic := m.Topic(); topic != "" && !d.Destination.Topic {
		b = appendDestination(b, v, headerOriginalDestination, destinations.Topic(topic))
	}
	if m.Props != nil {
		b = w.times(b, d)
	}
	body := m.Content[m.HeaderBytes+1:]
	b = append(b, headerContentLength+":"...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, '\n')
	b = stomp.AppendBlock(b, m.Content[:m.HeaderBytes], stomp.Form(m.Form), v)
	b = append(b, '\n')
	w.buf = b
	w.octets(body)
	w.buf = append(w.buf, 0)
	if d.Ack != destinations.AckAuto {
		return
	}
	if n := len(w.sent); n > 0 && w.sent[n-1].Sub == d.Sub {
		w.sent[n-1].Tag = d.Tag
	} else {
		w.sent = append(w.sent, destinations.DeliveryID{Sub: d.Sub, Tag: d.Tag})
	}
}

// An opening is how the MESSAGEs of a subscription begin, but for their ids. Most
// begin as the one before did.
type opening struct {
	version stomp.Version
	of      *destinations.Label // what those have in common; nil: there was none yet

	destination  []byte // the command and that header line
	subscription []byte // that one
	ack          []byte // what that one begins with; empty: there is none
}

func (o *opening) fits(v stomp.Version, d *destinations.Delivery) bool {
	return o.of == d.Label && o.version == v
}

func (o *opening) write(v stomp.Version, d *destinations.Delivery) {
	o.version, o.of = v, d.Label
	o.destination = appendDestination(append(o.destination[:0], "MESSAGE\n"...), v, headerDestination, d.Destination)
	o.subscription = o.subscription[:0]
	if v != stomp.V10 || !strings.HasPrefix(d.Subscription, implicit) {
		o.subscription = stomp.AppendHeader(o.subscription, v, headerSubscription, d.Subscription)
	}
	o.ack = o.ack[:0]
	if d.Ack != destinations.AckAuto && v == stomp.V12 {
		o.ack = beginAckID(append(o.ack, headerAck+":"...), d.Sub)
	}
}

// browsed encodes the MESSAGE that ends a browse, as ActiveMQ writes it.
func (w *frameWriter) browsed(d *destinations.Delivery) {
	w.opening.write(w.version, d)
	b := append(w.buf, w.opening.destination...)
	b = append(b, headerMessageID+":0\n"...)
	b = append(b, w.opening.subscription...)
	w.buf = append(b, headerBrowser+":end\n"+headerContentLength+":0\n\n\x00"...)
}

// copyFor tells the copies of a topic's message apart that one connection may
// have. One that is stored has an id for ever, whoever gets it.
func copyFor(d *destinations.Delivery) uint32 {
	if d.Copy || d.Destination.Topic && d.Content == 0 {
		return d.Sub
	}
	return 0
}

// times says when a message expires, or in a dead-letter queue, when it would
// have, and what it was called while it waited for its time, as ActiveMQ does.
func (w *frameWriter) times(b []byte, d *destinations.Delivery) []byte {
	if expires := d.Message.Props.Expires; expires != 0 {
		name := headerExpires
		if d.Dead != nil {
			name = headerOriginalExpiration
		}
		b = append(append(b, name...), ':')
		b = append(strconv.AppendInt(b, expires, 10), '\n')
	}
	if id, ok := d.Job(); ok {
		b = appendJob(b, w.s.server.name, id)
	}
	return b
}

func (w *frameWriter) deadLetter(b []byte, d *destinations.DeadLetter) []byte {
	v := w.version
	b = stomp.AppendHeader(b, v, headerDLQReason, d.Reason)
	b = append(b, headerDLQCount+":"...)
	b = strconv.AppendInt(b, int64(d.Deliveries), 10)
	b = append(b, "\n"+headerDLQTime+":"...)
	b = strconv.AppendInt(b, d.Time.UnixMilli(), 10)
	b = append(b, '\n')
	b = appendDestination(b, v, headerOriginalDestination, d.Destination)
	b = append(b, headerOriginalMessageID+":"...)
	b = appendMessageID(b, w.s.server.name, d.ID, 0)
	return append(b, '\n')
}

func appendDestination(dst []byte, v stomp.Version, header string, d destinations.Destination) []byte {
	var space [300]byte
	name := space[:0]
	if d.Temporary() {
		name = d.AppendOwn(name) // nobody else gets messages of it
	} else {
		name = d.AppendTo(name)
	}
	return stomp.AppendHeader(dst, v, header, name)
}

// octets adds content: copied if that is cheaper than a vector of its own.
func (w *frameWriter) octets(content []byte) {
	if len(content) <= copyLimit {
		w.buf = append(w.buf, content...)
		return
	}
	w.seal()
	w.vectors = append(w.vectors, content)
	w.pending += len(content)
}

// seal makes a vector of the octets encoded since the last one.
func (w *frameWriter) seal() {
	if n := len(w.buf); n > w.cut {
		w.vectors = append(w.vectors, w.buf[w.cut:n:n])
		w.pending += n - w.cut
		w.cut = n
	}
}

// flush writes all that is encoded.
func (w *frameWriter) flush() error {
	w.seal()
	n, err := w.flushVectors(w.vectors)
	for i := 0; i < len(w.ends) && int64(w.ends[i]) <= n; i++ {
		w.written++
	}
	clear(w.vectors)
	w.vectors, w.buf, w.ends, w.cut, w.pending = w.vectors[:0], w.buf[:0], w.ends[:0], 0, 0
	return err
}

var errSlowConsumer = errors.New("the client does not take in time what it is sent: it is too slow")

// maxHold is how long a client may take, in WriteTimeouts, for all of what was
// read from the log for it while others wait for their share of that.
const maxHold = 3

// flushVectors writes vectors and returns how many octets were written. It waits
// as long as the client takes something within each WriteTimeout; at the end of
// the session, only the first of them.
func (w *frameWriter) flushVectors(vectors net.Buffers) (written int64, err error) {
	timeout, fetches := w.s.server.opts.WriteTimeout, w.s.server.fetches
	for len(vectors) > 0 {
		if err := w.s.conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return written, err
		}
		n, err := vectors.WriteTo(w.s.conn)
		written += n
		switch {
		case err == nil:
			return written, nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return written, err
		case n == 0 || w.s.ending.Load() || fetches.overdue(&w.share, maxHold*timeout):
			return written, errSlowConsumer
		}
	}
	return written, nil
}

// settle tells the engine what was written for auto subscriptions.
func (s *session) settle(sent []destinations.DeliveryID) {
	if len(sent) == 0 {
		return
	}
	p := newPost(s)
	for _, d := range sent {
		p.mails = append(p.mails, mail{command: destinations.Command{
			Op: destinations.Sent, Session: s.id, Delivery: d,
		}})
	}
	s.server.engine.box.put(p, 0, false)
}
