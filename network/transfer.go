package network

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"baton/destinations"
)

// A transfer is a batch on its way from here.
type transfer struct {
	name     string
	peer     string
	link     *link // nil: of an earlier process
	messages int
	octets   int
	since    time.Time // it was offered, or found
	stored   bool      // some of them are persistent
	state    transferState
	grouped  bool   // some are of groups
	kept     bool   // the peer holds it
	after    string // grouped: the one that was decided before it, and is to be released first
	due      time.Time
	sub      uint32 // the delivery of the decision
	tag      uint64
}

type transferState uint8

const (
	offered  transferState = iota // the peer was asked to hold it
	deciding                      // it does; the decision is not durable yet
	decided                       // it is
)

// A holding is a batch that is kept here for a peer that has not decided.
type holding struct {
	name, from, queue string
	life              string // of from, when it was offered
	sub               uint32
	tag               uint64
	batch             []byte
	messages          int       // known when it is released
	since             time.Time // it is kept
	releasing         bool
	after             string // it is to be released, once this one is
	due               time.Time
}

// batchFor is what the messages of a batch are for that do not say so; the zero value: all say.
func batchFor(name string) destinations.Destination {
	if wildName(name) || name == "" {
		return destinations.Destination{}
	}
	return destinations.Queue(name)
}

// An assembly is a batch of which some parts have come.
type assembly struct {
	frame
	next  int
	batch []byte
	heard time.Time
}

// What a message and the note take more in a frame than their contents, roughly.
const (
	messageOverhead = 128
	noteOverhead    = 256
)

// maxSpare bounds the buffers that are kept for further batches, each of partBytes at
// most.
const maxSpare = 8

// buffer is one of at least so many octets, of a batch that has left or new.
func (x *exchange) buffer(octets int) []byte {
	for i, b := range x.spare {
		if cap(b) >= octets {
			x.spare = slices.Delete(x.spare, i, i+1)
			return b
		}
	}
	return make([]byte, octets)
}

// left takes back the buffer of a frame that has been written.
func (x *exchange) left(f *frame) {
	if f.buffer == nil || cap(f.buffer) > 2*partBytes {
		return
	}
	if len(x.spare) == maxSpare {
		x.spare = slices.Delete(x.spare, 0, 1)
	}
	x.spare = append(x.spare, f.buffer)
}

func octetsOf(all []destinations.Delivery) (octets int) {
	for i := range all {
		octets += len(all[i].Message.Content)
	}
	return octets
}

func (x *exchange) offerBatch(l *link, all []destinations.Delivery) {
	x.serial++
	t := &transfer{
		name: fmt.Sprintf("%s.%d", x.Incarnation, x.serial), peer: l.peer.member, link: l,
		messages: len(all), due: x.now.Add(x.Timeout), since: x.now, octets: octetsOf(all),
	}
	x.sent[t.name] = t
	l.peer.transfers++
	l.out += len(all)
	f := frame{Kind: frameHold, Transfer: t.name, Queue: l.batchName(), Messages: len(all)}
	buffer := x.buffer(frameRoom + t.octets + len(all)*messageOverhead + noteOverhead + len(f.Queue))
	own := noteHead{transfer: t.name, peer: x.Member, queue: f.Queue, life: x.Life}
	buffer, f.Head = own.append(buffer[:frameRoom])
	for i := range all {
		if !x.mayLeave(l.demand.Queue, all[i].Message) {
			f.Messages-- // it is settled with the others, and goes nowhere
			continue
		}
		t.grouped = t.grouped || groupOf(all[i].Message) != ""
		buffer = appendMessage(buffer, x.Member, t.peer, l.queueOf(&all[i]), &all[i])
		f.Persistent = f.Persistent || all[i].Message.Persistent
	}
	if t.stored = f.Persistent; t.grouped {
		l.grouped = append(l.grouped, t)
	}
	last := &all[len(all)-1]
	x.do(destinations.Command{
		Op: destinations.Ack, Delivery: destinations.DeliveryID{Sub: last.Sub, Tag: last.Tag}, More: &destinations.More{Tx: t.name},
	})
	whole := buffer[frameRoom:]
	if len(whole) <= partBytes {
		f.buffer = buffer
	}
	x.sayInParts(t.peer, f, whole)
	x.slowDown(l, all)
}

// takeBack gives up a transfer that was not decided: its messages are back in their
// queue, and so is whatever else the link had. If some are of groups, what was offered
// after it is given up too, for that is not to be there before it.
func (x *exchange) takeBack(t *transfer, why string) {
	l := t.link
	all := []*transfer{t}
	if i := slices.Index(l.grouped, t); i >= 0 {
		all = slices.Clone(l.grouped[i:])
		l.grouped = l.grouped[:i]
	}
	for _, t := range all {
		x.recordOf(t.peer).counts.TakenBack++
		x.do(destinations.Command{Op: destinations.Abort, More: &destinations.More{Tx: t.name}})
		x.say(t.peer, frame{Kind: frameDrop, Transfer: t.name, Life: x.Life, Reason: why})
	}
	x.renew(l) // first, so that nothing is offered before what is back
	for _, t := range all {
		x.forget(t)
	}
	l.failed, l.why = min(l.failed+1, maxFailed), why
	l.rest = x.now.Add(x.Retry << (l.failed - 1))
	x.serve(l)
}

func (x *exchange) forget(t *transfer) {
	delete(x.sent, t.name)
	if x.newest[t.peer] == t.name {
		delete(x.newest, t.peer)
	}
	if t.link == nil {
		return
	}
	x.decideNext(t)
	t.link.out -= t.messages
	t.link.peer.transfers--
	waiting := t.link.peer.waiting
	t.link.peer.waiting = nil
	for _, l := range waiting {
		l.waiting = false
		x.offer(l)
	}
	x.comeBack(t.link.peer)
}

// decide settles a batch that the peer holds.
func (x *exchange) decide(t *transfer) {
	t.state = deciding
	x.do(destinations.Command{
		Op: destinations.Commit, WantReceipt: true, Receipt: tagDecide + t.name,
		More: &destinations.More{Tx: t.name, Sends: []destinations.Outgoing{{
			Destination: destinations.Queue(sentQueue), Message: note(noteHead{transfer: t.name, peer: t.peer}, t.stored),
		}}},
	})
}

// A noteHead is what the header lines of a note say.
type noteHead struct {
	transfer string
	peer     string // the other broker
	queue    string // of a batch that is held; empty: its messages say
	life     string // of the sender
}

// note is a message of one of the broker's own queues.
func note(h noteHead, persistent bool) *destinations.Message {
	content, head := h.append(nil)
	return &destinations.Message{Content: content, HeaderBytes: int32(head), Persistent: persistent}
}

// append appends a note as far as its body, and says how many octets its header
// lines have.
func (h *noteHead) append(dst []byte) (note []byte, head int) {
	begun := len(dst)
	for _, line := range [...]struct{ name, value string }{{"transfer:", h.transfer}, {"peer:", h.peer}, {"queue:", h.queue}, {"life:", h.life}} {
		if line.value != "" {
			dst = append(append(append(dst, line.name...), line.value...), '\n')
		}
	}
	return append(dst, '\n'), len(dst) - begun
}

// readNote reads what note and noteHead.append wrote.
func readNote(m *destinations.Message) (h noteHead, body []byte) {
	for line := range strings.Lines(string(m.Content[:m.HeaderBytes])) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		switch name {
		case "transfer":
			h.transfer = value
		case "peer":
			h.peer = value
		case "queue":
			h.queue = value
		case "life":
			h.life = value
		}
	}
	return h, m.Content[m.HeaderBytes+1:]
}

// decidedBefore takes a decision that is durable, of this process or an earlier one.
func (x *exchange) decidedBefore(d *destinations.Delivery) {
	h, _ := readNote(d.Message)
	t := x.sent[h.transfer]
	if t == nil {
		t = &transfer{name: h.transfer, peer: h.peer, since: x.now}
		x.recordOf(h.peer)
		x.sent[t.name] = t
	}
	if t.state != decided {
		x.noteForwarded(t)
		if t.grouped || t.link == nil { // nobody knows any more
			t.after, x.newest[t.peer] = x.newest[t.peer], t.name
		}
	}
	t.state, t.sub, t.tag = decided, d.Sub, d.Tag
	if x.release(t); t.link != nil {
		x.decideNext(t)
	}
}

// decideNext ends the time in which t keeps those with messages of groups waiting that
// the link has offered after it.
func (x *exchange) decideNext(t *transfer) {
	l := t.link
	i := slices.Index(l.grouped, t)
	if i < 0 {
		return
	}
	l.grouped = slices.Delete(l.grouped, i, i+1)
	if i == 0 && len(l.grouped) > 0 && l.grouped[0].kept {
		x.decide(l.grouped[0])
	}
}

func (x *exchange) release(t *transfer) {
	t.due = x.now.Add(x.Retry)
	f := frame{Kind: frameRelease, Transfer: t.name}
	if x.sent[t.after] != nil {
		f.After = t.after
	}
	x.say(t.peer, f)
}

// keeps takes a batch that is held here, durably.
func (x *exchange) keeps(d *destinations.Delivery) {
	h, batch := readNote(d.Message)
	x.held[h.transfer] = &holding{
		name: h.transfer, from: h.peer, queue: h.queue, life: h.life, sub: d.Sub, tag: d.Tag, batch: batch, since: x.now, due: x.now.Add(2 * x.Retry),
	}
	x.recordOf(h.peer)
	x.say(h.peer, frame{Kind: frameHeld, Transfer: h.transfer})
}

func (x *exchange) refused(receipt string, err error) {
	if name, ok := strings.CutPrefix(receipt, tagHold); ok {
		_, peer, _ := strings.Cut(name, " ")
		name, _, _ = strings.Cut(name, " ")
		x.say(peer, frame{Kind: frameRefused, Transfer: name, Reason: err.Error()})
		return
	}
	if name, ok := strings.CutPrefix(receipt, tagDecide); ok {
		if t := x.sent[name]; t != nil && t.state == deciding {
			x.takeBack(t, err.Error())
		}
		return
	}
	if name, ok := strings.CutPrefix(receipt, tagGive); ok {
		if h := x.held[name]; h != nil {
			h.releasing, h.due = false, x.now.Add(2*x.Retry) // it is asked for again
			x.do(destinations.Command{Op: destinations.Abort, More: &destinations.More{Tx: tagGive + name}})
		}
	}
}

// gather puts together what comes in parts; nil: it is not whole yet.
func (x *exchange) gather(f *frame) *assembly {
	a := x.parts[f.Transfer]
	if a == nil {
		if f.Part != 0 {
			return nil // the beginning is lost: the sender will take a batch back
		}
		a = &assembly{frame: *f}
		x.parts[f.Transfer] = a
	}
	if f.Part != a.next {
		delete(x.parts, f.Transfer)
		return nil
	}
	if a.Parts == 1 {
		a.batch = f.body
	} else {
		a.batch = append(a.batch, f.body...)
	}
	a.next++
	a.heard = x.now
	if a.next < a.Parts {
		return nil
	}
	delete(x.parts, f.Transfer)
	return a
}

// sayInParts has a body leave in as many frames as it needs.
func (x *exchange) sayInParts(to string, f frame, body []byte) {
	f.Parts = max(1, (len(body)+partBytes-1)/partBytes)
	for f.Part = range f.Parts {
		f.body = body[f.Part*partBytes : min((f.Part+1)*partBytes, len(body))]
		x.say(to, f)
	}
}

// keep has a batch kept when it is whole.
func (x *exchange) keep(f *frame) {
	a := x.gather(f)
	if a == nil {
		return
	}
	m, err := a.note()
	if err != nil {
		x.say(f.From, frame{Kind: frameRefused, Transfer: f.Transfer, Reason: err.Error()})
		return
	}
	x.do(destinations.Command{
		Op: destinations.Send, WantReceipt: true, Receipt: tagHold + f.Transfer + " " + f.From,
		Destination: destinations.Queue(heldQueue), Message: m,
	})
}

// note is what is to be held, as the sender wrote it, if it can be read.
func (a *assembly) note() (*destinations.Message, error) {
	if a.Head <= 0 || a.Head >= len(a.batch) {
		return nil, errBatch
	}
	m := &destinations.Message{Content: a.batch, HeaderBytes: int32(a.Head), Persistent: a.Persistent}
	h, batch := readNote(m)
	if h.transfer != a.Transfer || h.peer != a.From || h.queue != a.Queue {
		return nil, fmt.Errorf("what is to be held is of transfer %q of %q, and not %q of %q", h.transfer, h.peer, a.Transfer, a.From)
	}
	_, err := readBatch(batchFor(h.queue), min(a.Messages, batchMessages), batch)
	return m, err
}

// takeOver puts a batch that is ours into its queue.
func (x *exchange) takeOver(f *frame) {
	switch h := x.held[f.Transfer]; {
	case h == nil && x.ready: // it was put there before
		x.say(f.From, frame{Kind: frameReleased, Transfer: f.Transfer})
	case h == nil || h.from != f.From || h.releasing:
	case f.After != "" && (!x.ready || x.held[f.After] != nil):
		h.after = f.After
	default:
		x.give(h, false)
	}
}

// giveAfter gives what was to come after a batch that is in its queue now.
func (x *exchange) giveAfter(name string) {
	for _, h := range x.held { // one at most
		if h.after == name && !h.releasing {
			x.give(h, false)
		}
	}
}

// give puts a batch into its queue. When it is not known whether somebody has had
// its messages, they are marked as returned.
func (x *exchange) give(h *holding, doubtful bool) {
	sends, err := readBatch(batchFor(h.queue), batchMessages, h.batch)
	if err != nil {
		return // BUG: it was read before it was held
	}
	for i := range sends {
		sends[i].Returned = sends[i].Returned || doubtful
		x.setApart(&sends[i])
	}
	h.releasing, h.messages = true, len(sends)
	tx := tagGive + h.name
	x.do(destinations.Command{
		Op: destinations.Ack, Delivery: destinations.DeliveryID{Sub: h.sub, Tag: h.tag}, More: &destinations.More{Tx: tx},
	})
	x.do(destinations.Command{
		Op: destinations.Commit, WantReceipt: true, Receipt: tx, More: &destinations.More{Tx: tx, Sends: sends},
	})
}

// maxReturns is how often a message of a group may come back to a broker and still go
// to the home of its group.
const maxReturns = 3

// setApart has a message count as of no group that has come back too often: brokers do
// not agree where its group is at home.
func (x *exchange) setApart(o *destinations.Outgoing) {
	if groupOf(o.Message) == "" {
		return
	}
	returns := 0
	for _, member := range pathOf(o.Message) {
		if member == x.Member {
			returns++
		}
	}
	if returns >= maxReturns {
		o.Returned, o.Apart = true, true
	}
}

// settled ends a transfer: the peer has put it into its queue.
func (x *exchange) settled(p *peer, f *frame) {
	t := x.sent[f.Transfer]
	if t == nil || t.state != decided || t.peer != f.From {
		return
	}
	x.do(destinations.Command{Op: destinations.Ack, Delivery: destinations.DeliveryID{Sub: t.sub, Tag: t.tag}})
	x.forget(t)
	for i := range f.Demand {
		if l := p.demands[f.Demand[i].Queue]; l != nil && f.Demand[i].Consumers > 0 && f.Version >= p.version {
			l.demand.Window, l.demand.Free, l.demand.Ready = f.Demand[i].Window, f.Demand[i].Free, f.Demand[i].Ready
		}
	}
	if t.link != nil {
		t.link.failed = 0
		x.serve(t.link)
	}
}

// dropped forgets a batch that the sender has taken back. One that has lost its
// data since it offered the batch knows nothing: what it may have decided is here
// only, and is given to the consumers here, for nobody else can have it any more.
func (x *exchange) dropped(f *frame) {
	delete(x.parts, f.Transfer)
	h := x.held[f.Transfer]
	if h == nil || h.releasing || h.from != f.From {
		return
	}
	if f.Life != "" && h.life != "" && f.Life != h.life {
		x.give(h, true)
		return
	}
	delete(x.held, f.Transfer)
	x.do(destinations.Command{Op: destinations.Ack, Delivery: destinations.DeliveryID{Sub: h.sub, Tag: h.tag}})
}

// answer says what became of a transfer that a peer holds, and decides it if that is
// not done yet.
func (x *exchange) answer(f *frame) {
	t := x.sent[f.Transfer]
	switch {
	case t == nil && x.ready:
		x.say(f.From, frame{Kind: frameDrop, Transfer: f.Transfer, Life: x.Life})
	case t == nil || t.peer != f.From: // not known yet; or none of its business
	case t.state == offered:
		if t.kept = true; !t.grouped || t.link.grouped[0] == t {
			x.decide(t)
		}
	case t.state == decided:
		x.release(t)
	}
}
