package destinations

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"
)

// A model is the machine once more, so naive that it is seen to be right:
// slices that are searched, nothing counted, nothing indexed. It does not
// choose between the consumers of a queue: it follows the deliveries that the
// machine made and says which of them were wrong.
type model struct {
	t        tester
	opts     Options
	last     uint64
	start    uint64
	unstored uint64
	queues   []*modelQueue
	topics   map[string][]*modelSub
	sessions map[uint64]*modelSession
	buried   map[*Message]bool
	contents map[uint64]*Message // as the log has them, by seq
	reserved int64

	// Of the step in progress.
	now     time.Time
	puts    []uint64 // seqs of the entries that put a message somewhere
	evicts  []uint64
	forgets []uint32
	dropped int
	aside   int

	came         map[uint64]uint64 // by the seqs of messages that waited: the entry that says that they came
	settledLater int               // entries about what has expired, which may be behind what a receipt waits for
}

// A modelQueue is all messages of a queue that are not settled, oldest first.
type modelQueue struct {
	destination Destination
	messages    []*modelMessage
	subs        []*modelSub
}

type modelMessage struct {
	msg      *Message
	seq      uint64 // 0: not stored
	n        uint64 // 0: stored
	attempts int
	returned bool
	holder   *modelSub // nil: ready
	dead     *DeadLetter
	content  uint64 // seq of the entry that has the content
	latest   uint64 // seq of the entry that says when it comes again
	level    uint8
	expires  int64 // Unix ms; 0: never
	until    int64 // Unix ms of the next delivery; of what waits, when it comes
	left     int32 // how often it comes after that
	held     bool  // the content is in memory
	aside    bool  // could not be read
}

type modelSession struct {
	id      uint64
	subs    []*modelSub
	lastSub uint32
	evicted bool
	held    map[string][]modelHeld
	leaving []*modelSub // ended, though transactions hold flights of theirs
}

type modelHeld struct {
	sub          *modelSub
	flight       *modelFlight
	nack, reject bool
}

type modelSub struct {
	session  *modelSession
	id       string
	number   uint32
	queue    *modelQueue
	consumer Consumer
	flights  []*modelFlight
	lastTag  uint64
	expected []Delivery           // of a topic, what the machine must deliver in this step
	passed   map[*modelSub]int    // deliveries to others since this one last had none to want
	byTag    map[uint64]MessageID // what was delivered, for choosing ids
}

type modelFlight struct {
	tag uint64
	m   *modelMessage
	tx  string
}

func newModel(t tester, o Options) *model {
	return &model{t: t, opts: o.WithDefaults(), topics: map[string][]*modelSub{}, sessions: map[uint64]*modelSession{}, buried: map[*Message]bool{}, contents: map[uint64]*Message{}}
}

// step follows c, of which the machine said out, and returns the code of the
// error that it must have given.
func (w *model) step(now time.Time, c Command, out *Effects) (code string) {
	w.now, w.puts, w.evicts, w.forgets, w.dropped, w.aside = now, nil, nil, nil, 0, 0
	w.came = map[uint64]uint64{}
	for i, e := range out.Entries {
		if e.Joined != (c.Op == Commit && i > 0) && out.Expired == 0 {
			w.t.Fatalf("entry %d of %d: joined is %t", i, c.Op, e.Joined)
		}
		if w.last++; e.Seq != w.last {
			w.t.Fatalf("entry %d follows entry %d", e.Seq, w.last-1)
		}
		if e.Kind == KindSchedule {
			r, err := e.decode()
			if err != nil {
				w.t.Fatalf("%v", err)
			}
			w.came[r.seqs[0]] = e.Seq
		}
		if e.Kind == KindEnqueue || e.Kind == KindMove {
			w.puts = append(w.puts, e.Seq)
		}
		if e.Kind == KindEnqueue {
			msg, err := readBack(e).Message()
			if err != nil {
				w.t.Fatalf("%v", err)
			}
			w.contents[e.Seq] = msg
		}
	}
	if w.settledLater = 0; out.Expired > 0 {
		w.settledLater = len(out.Entries)
	}
	code = w.do(c)
	if len(w.puts) > 0 {
		w.t.Fatalf("entries %d put messages somewhere that nobody sent", w.puts)
	}
	for _, s := range w.allSubs() {
		w.pump(s)
	}
	return code
}

func (w *model) do(c Command) (code string) {
	switch c.Op {
	case Start:
		w.start, w.unstored = w.last, 0
	case Send:
		if needs := w.needs(c.DiskLow, Outgoing{Destination: c.Destination, Message: c.Message}); needs > 0 && w.bytes()+needs > w.opts.MemoryBytes {
			return CodeMemoryFull
		}
		w.accept(c.Destination, c.Message, c.DiskLow)
	case Subscribe:
		return w.subscribe(c)
	case Unsubscribe:
		return w.unsubscribe(c)
	case Ack, Nack:
		return w.acknowledge(c)
	case Commit:
		return w.commit(c)
	case Abort:
		w.abort(c)
	case Disconnect:
		w.disconnect(c)
	case Sent:
		if s := w.sub(c.Session, c.Delivery.Sub); s != nil && s.consumer.Ack == AckAuto {
			for _, f := range s.upTo(c.Delivery.Tag) {
				w.settle(s, f)
			}
		}
	case Unreadable:
		w.unreadable(c)
	case Tick:
		w.tick()
	}
	return ""
}

func (w *model) unreadable(c Command) {
	s := w.sub(c.Session, c.Delivery.Sub)
	if s == nil {
		return
	}
	for _, f := range slices.Clone(s.flights) {
		if f.tag == c.Delivery.Tag && f.tx == "" && f.m.seq > 0 {
			s.land(f)
			f.m.holder, f.m.aside = nil, true
			w.aside++
		}
	}
}

// restart forgets all that is not stored. What is in memory then is up to the
// machine that takes over.
func (w *model) restart(m *Machine) {
	w.topics, w.sessions = map[string][]*modelSub{}, map[uint64]*modelSession{}
	for _, q := range w.queues {
		q.subs = nil
		q.messages = slices.DeleteFunc(q.messages, func(m *modelMessage) bool { return m.seq == 0 })
		for _, m := range q.messages {
			m.holder, m.returned, m.aside = nil, true, false
		}
		if got := m.queues[q.destination.Name]; got != nil {
			i := 0
			got.each(func(at ref) bool {
				q.messages[i].held = at.slot().msg != nil
				i++
				return true
			})
		}
	}
}

// Messages.

func (w *model) queue(name string) *modelQueue {
	for _, q := range w.queues {
		if q.destination.Name == name {
			return q
		}
	}
	q := &modelQueue{destination: Queue(name)}
	w.queues = append(w.queues, q)
	return q
}

// put adds a stored message to a queue, under the seq of its entry.
func (w *model) put(name string, m *modelMessage) {
	if len(w.puts) == 0 {
		w.t.Fatalf("the log has no entry for a message of %s", Queue(name))
	}
	m.seq, w.puts = w.puts[0], w.puts[1:]
	if m.content == 0 {
		m.content = m.seq
	}
	w.queue(name).add(m)
}

// add puts m behind those of its level.
func (q *modelQueue) add(m *modelMessage) {
	i := len(q.messages)
	for i > 0 && q.messages[i-1].level < m.level {
		i--
	}
	q.messages = slices.Insert(q.messages, i, m)
}

func (m *modelMessage) waits() bool { return m.level == levelWaiting }

// message is one that was sent now: with times, where it said how long.
func (w *model) message(msg *Message) *modelMessage {
	m := &modelMessage{msg: msg, level: DefaultPriority}
	p, now := msg.Props, w.now.UnixMilli()
	if p == nil {
		return m
	}
	m.level = p.Priority
	from := now
	if p.Delay > 0 || p.Period > 0 {
		from = now + cmp.Or(p.Delay, p.Period)
		m.level, m.until, m.left = levelWaiting, from, 0
		if p.Period > 0 {
			m.left = p.Repeat
		}
	}
	if p.TTL > 0 {
		m.expires = from + p.TTL
	}
	return m
}

// tick lets come what is due, and takes away what has expired.
func (w *model) tick() {
	now := w.now.UnixMilli()
	for _, q := range w.queues {
		var due []*modelMessage
		for _, m := range q.messages {
			if m.waits() && m.until <= now {
				due = append(due, m)
			}
		}
		slices.SortStableFunc(due, func(a, b *modelMessage) int { return int(a.until - b.until) })
		for _, m := range due {
			w.due(q, m)
		}
	}
}

func (w *model) due(q *modelQueue, m *modelMessage) {
	now, p := w.now.UnixMilli(), m.msg.Props
	copied := &modelMessage{msg: m.msg, level: p.Priority, expires: m.expires, content: m.content, held: m.held}
	again := m.left > 0 && !(m.expires > 0 && m.expires <= now)
	if again {
		m.left--
		for m.until += p.Period; m.until <= now; {
			m.until += p.Period
		}
	}
	if m.seq > 0 {
		copied.seq = w.came[m.seq]
		if copied.seq == 0 {
			w.t.Fatalf("the log does not say that message %d of %s came", m.seq, q.destination)
		}
		m.latest = copied.seq
		q.add(copied)
	} else {
		w.unstored++
		own := *m.msg
		copied.msg, copied.n = &own, w.unstored
		q.add(copied)
	}
	if !again {
		q.remove(m)
	}
}

// expire takes away what has expired and is with nobody.
func (w *model) expire() (n int) {
	for _, q := range w.queues {
		before := len(q.messages)
		q.messages = slices.DeleteFunc(q.messages, func(m *modelMessage) bool {
			return m.holder == nil && !m.aside && m.expired(w.now)
		})
		n += before - len(q.messages)
	}
	return n
}

func (m *modelMessage) expired(now time.Time) bool {
	return !m.waits() && m.expires > 0 && m.expires <= now.UnixMilli()
}

// needs is the memory that sends cannot do without.
func (w *model) needs(diskLow bool, sends ...Outgoing) (n int64) {
	made := map[string]bool{}
	for _, o := range sends {
		if o.Destination.Topic || diskLow && !o.Message.Persistent {
			n += o.Message.size()
		}
		n += o.Message.Props.waitingBytes()
		if name := o.Destination.Name; !o.Destination.Topic && w.queue(name).forgotten() && !made[name] {
			made[name] = true
			n += queueBytes
		}
	}
	return n
}

// room says whether a message may be in memory for a queue.
func (w *model) room(name string, msg *Message) bool {
	q, free := w.queue(name), w.opts.MemoryBytes-w.opts.MemoryBytes/8-w.reserved-w.bytes()
	if q.forgotten() {
		free -= queueBytes
	}
	return q.resident()+msg.size() <= free
}

func (q *modelQueue) forgotten() bool { return len(q.messages)+len(q.subs) == 0 }

// resident is the size of what is in memory for a queue.
func (q *modelQueue) resident() (n int64) {
	for _, m := range q.messages {
		if m.held {
			n += m.msg.size()
		}
	}
	return n
}

func (w *model) accept(d Destination, msg *Message, diskLow bool) {
	switch {
	case d.Topic && len(w.topics[d.Name]) == 0:
	case d.Topic:
		w.unstored++
		for _, s := range w.topics[d.Name] {
			m := w.message(msg)
			m.n, m.held = w.unstored, true
			w.offer(s, m)
		}
	case msg.Persistent || !diskLow && !w.room(d.Name, msg):
		m := w.message(msg)
		m.held = w.room(d.Name, msg)
		w.put(d.Name, m)
	default:
		w.unstored++
		m := w.message(msg)
		m.n, m.held = w.unstored, true
		w.queue(d.Name).add(m)
	}
}

func (w *model) offer(s *modelSub, m *modelMessage) {
	q, p := s.queue, w.opts.Pending
	over := func() bool {
		ready := q.ready()
		return len(ready) >= p.Messages || len(ready) > 0 && sizes(ready)+m.msg.size() > p.Bytes
	}
	if over() && p.Policy != DropOldest {
		w.dropped++
		if p.Policy == DisconnectPending && !s.session.evicted {
			s.session.evicted = true
			w.evicts = append(w.evicts, s.session.id)
		}
		return
	}
	for over() {
		ready := q.ready()
		least := ready[len(ready)-1].level
		q.remove(ready[slices.IndexFunc(ready, func(m *modelMessage) bool { return m.level == least })])
		w.dropped++
	}
	q.add(m)
	w.pump(s)
}

// pump expects of a topic's subscription what it has credit for.
func (w *model) pump(s *modelSub) {
	if !s.queue.destination.Topic {
		return
	}
	for s.credit() && len(s.queue.ready()) > 0 {
		s.expected = append(s.expected, w.fly(s, s.queue.ready()[0]))
	}
}

// fly gives m to s, and returns the delivery that must say so.
func (w *model) fly(s *modelSub, m *modelMessage) Delivery {
	s.lastTag++
	m.holder = s
	s.flights = append(s.flights, &modelFlight{tag: s.lastTag, m: m})
	s.byTag[s.lastTag] = w.id(m)
	if m.seq > 0 && (w.contents[m.content] == nil || !bytes.Equal(w.contents[m.content].Content, m.msg.Content)) {
		w.t.Fatalf("entry %d does not hold %q", m.content, m.msg.Content)
	}
	d := Delivery{
		Label:       &Label{Subscription: s.id, Sub: s.number, Ack: s.consumer.Ack, Destination: s.queue.destination, Copy: s.queue.destination.Topic},
		Tag:         s.lastTag,
		ID:          w.id(m),
		Content:     m.content,
		Size:        uint32(len(m.msg.Content)),
		Redelivered: m.returned,
		Deliveries:  uint16(m.attempts + 1),
		Dead:        m.dead,
	}
	if m.held {
		d.Message = m.msg
	}
	return d
}

func (w *model) id(m *modelMessage) MessageID {
	if m.seq > 0 {
		return MessageID{Seq: m.seq}
	}
	return MessageID{Seq: w.start, N: m.n}
}

func (q *modelQueue) ready() (ready []*modelMessage) {
	for _, m := range q.messages {
		if m.holder == nil && !m.aside && !m.waits() {
			ready = append(ready, m)
		}
	}
	return ready
}

// open are those of the ready ones that may go now. With keep-order, they end
// before one that may not.
func (w *model) open(q *modelQueue) (open []*modelMessage) {
	for _, m := range q.ready() {
		switch {
		case m.expired(w.now):
		case m.until <= w.now.UnixMilli():
			open = append(open, m)
		case w.opts.Policy(q.destination).Redelivery.KeepOrder:
			return open
		}
	}
	return open
}

func (q *modelQueue) remove(m *modelMessage) {
	i := slices.Index(q.messages, m)
	q.messages = slices.Delete(q.messages, i, i+1)
}

func sizes(messages []*modelMessage) (n int64) {
	for _, m := range messages {
		n += m.msg.size()
	}
	return n
}

// bytes is the size of all queues and messages held; one that is held twice
// counts once. What waits for its time has a timer.
func (w *model) bytes() (n int64) {
	seen := map[*Message]bool{}
	for _, q := range w.allQueues() {
		for _, m := range q.messages {
			if m.held && !seen[m.msg] {
				seen[m.msg] = true
				n += m.msg.memory()
			}
			if !m.held {
				n += m.msg.Props.waits().textBytes()
			}
			if m.waits() {
				n += waitBytes
			}
		}
	}
	for _, q := range w.queues {
		if !q.forgotten() {
			n += queueBytes
		}
	}
	return n
}

func (w *model) allQueues() []*modelQueue {
	queues := slices.Clone(w.queues)
	for _, s := range w.allSubs() {
		if s.queue.destination.Topic {
			queues = append(queues, s.queue)
		}
	}
	return queues
}

// oldest is the seq of the oldest entry that a recovery needs.
func (w *model) oldest() uint64 {
	oldest := w.last + 1
	for _, q := range w.queues {
		for _, m := range q.messages {
			if m.seq > 0 {
				oldest = min(oldest, m.seq, m.content)
				if m.latest > 0 {
					oldest = min(oldest, m.latest)
				}
			}
		}
	}
	return oldest
}

// Subscriptions.

func (w *model) allSubs() (subs []*modelSub) {
	for id := range uint64(modelSessions + 1) {
		if ses := w.sessions[id]; ses != nil {
			subs = append(subs, ses.subs...)
		}
	}
	return subs
}

func (w *model) sub(session uint64, number uint32) *modelSub {
	for _, s := range w.allSubs() {
		if s.session.id == session && s.number == number {
			return s
		}
	}
	return nil
}

func (s *modelSub) credit() bool {
	n, size := s.used()
	return n < s.consumer.Prefetch && size < s.consumer.PrefetchBytes
}

// used is the credit that is used up.
func (s *modelSub) used() (n int, size int64) {
	for _, f := range s.flights {
		if f.tx == "" {
			n++
			size += f.m.msg.size()
		}
	}
	return n, size
}

func (s *modelSub) upTo(tag uint64) (flights []*modelFlight) {
	for _, f := range s.flights {
		if f.tag <= tag {
			flights = append(flights, f)
		}
	}
	return flights
}

// left are the subscriptions that have ended, but of which transactions hold
// messages.
func (ses *modelSession) left() []*modelSub {
	return slices.DeleteFunc(slices.Clone(ses.leaving), func(s *modelSub) bool { return len(s.flights) == 0 })
}

func (w *model) subscribe(c Command) string {
	ses := w.sessions[c.Session]
	if ses == nil {
		ses = &modelSession{id: c.Session, held: map[string][]modelHeld{}}
	}
	switch {
	case slices.ContainsFunc(ses.subs, func(s *modelSub) bool { return s.id == c.Subscription }):
		return CodeSubscriptionExists
	case len(ses.subs)+len(ses.left()) >= w.opts.MaxSubscriptions:
		return CodeTooManySubscription
	}
	w.sessions[c.Session] = ses
	ses.lastSub++
	s := &modelSub{
		session: ses, id: c.Subscription, number: ses.lastSub, consumer: *c.consumer(),
		passed: map[*modelSub]int{}, byTag: map[uint64]MessageID{},
	}
	setDefault(&s.consumer.Prefetch, w.opts.Prefetch)
	setDefault(&s.consumer.PrefetchBytes, w.opts.PrefetchBytes)
	ses.subs = append(ses.subs, s)
	if c.Destination.Topic {
		s.queue = &modelQueue{destination: c.Destination}
		w.topics[c.Destination.Name] = append(w.topics[c.Destination.Name], s)
	} else {
		s.queue = w.queue(c.Destination.Name)
	}
	s.queue.subs = append(s.queue.subs, s)
	return ""
}

func (w *model) unsubscribe(c Command) string {
	if ses := w.sessions[c.Session]; ses != nil {
		for _, s := range ses.subs {
			if s.id == c.Subscription {
				w.end(s, true)
				w.forgets = append(w.forgets, s.number)
				return ""
			}
		}
	}
	return CodeNoSubscription
}

// end gives back what s has in flight, but keepHeld leaves to transactions what
// they hold.
func (w *model) end(s *modelSub, keepHeld bool) {
	same := func(other *modelSub) bool { return other == s }
	s.session.subs = slices.DeleteFunc(s.session.subs, same)
	s.queue.subs = slices.DeleteFunc(s.queue.subs, same)
	if d := s.queue.destination; d.Topic {
		w.topics[d.Name] = slices.DeleteFunc(w.topics[d.Name], same)
	}
	var kept []*modelFlight
	for _, f := range s.flights {
		if keepHeld && f.tx != "" && !s.queue.destination.Topic {
			kept = append(kept, f)
		} else {
			f.m.holder, f.m.returned = nil, true
		}
	}
	if s.flights = kept; len(kept) > 0 {
		s.session.leaving = append(s.session.leaving, s)
	}
}

func (w *model) disconnect(c Command) {
	ses := w.sessions[c.Session]
	if ses == nil {
		return
	}
	for _, s := range slices.Clone(ses.subs) {
		blamed := !c.Clean && s.consumer.Ack != AckAuto && !s.queue.destination.Topic
		if blamed && len(s.flights) > 0 {
			culprit := s.flights[0]
			for _, f := range s.flights {
				if f.tx == "" {
					culprit = f
					break
				}
			}
			w.fail(s, culprit, false)
		}
		w.end(s, false)
	}
	for _, s := range ses.leaving {
		w.end(s, false)
	}
	delete(w.sessions, c.Session)
}

// Acknowledgements.

func (w *model) acknowledge(c Command) string {
	s, tag, code := w.locate(c)
	if s == nil || s.consumer.Ack == AckAuto {
		return code
	}
	for _, f := range s.upTo(tag) {
		switch {
		case f.tx != "" || s.consumer.Ack == AckIndividual && f.tag != tag:
		case c.more().Tx != "":
			f.tx = c.more().Tx
			s.session.held[c.more().Tx] = append(s.session.held[c.more().Tx], modelHeld{s, f, c.Op == Nack, c.more().Refusal.Reject})
		case c.Op == Ack:
			w.settle(s, f)
		default:
			w.fail(s, f, c.more().Refusal.Reject)
		}
	}
	return ""
}

func (w *model) locate(c Command) (s *modelSub, tag uint64, code string) {
	d, ses := c.Delivery, w.sessions[c.Session]
	if d.ByMessage {
		if d.ID.Seq > w.last || d.ID.N > w.unstored {
			return nil, 0, CodeUnknownAck
		}
		for _, s := range w.allSubs() {
			for _, f := range s.flights {
				right := c.Subscription == "" || c.Subscription == s.id
				if s.session == ses && right && s.consumer.ByMessageID && w.id(f.m) == d.ID {
					return s, f.tag, ""
				}
			}
		}
		return nil, 0, ""
	}
	if ses == nil || d.Sub == 0 || d.Sub > ses.lastSub {
		return nil, 0, CodeUnknownAck
	}
	s = w.sub(c.Session, d.Sub)
	if s != nil && (d.Tag == 0 || d.Tag > s.lastTag) {
		return nil, 0, CodeUnknownAck
	}
	return s, d.Tag, ""
}

func (s *modelSub) land(f *modelFlight) {
	s.flights = slices.DeleteFunc(s.flights, func(other *modelFlight) bool { return other == f })
}

func (w *model) settle(s *modelSub, f *modelFlight) {
	s.land(f)
	s.queue.remove(f.m)
}

func (w *model) fail(s *modelSub, f *modelFlight, reject bool) {
	s.land(f)
	inDLQ := !s.queue.destination.Topic && strings.HasPrefix(s.queue.destination.Name, w.opts.DeadLetterPrefix)
	if !inDLQ || f.m.attempts < w.opts.MaxDeliveries {
		f.m.attempts++
	}
	f.m.holder, f.m.returned = nil, true
	reason := ""
	switch {
	case inDLQ:
	case reject || s.consumer.RejectNacks:
		reason = ReasonRejected
	case f.m.attempts >= w.opts.MaxDeliveries:
		reason = ReasonMaxDeliveries
	}
	if reason != "" {
		w.bury(s.queue, f.m, reason)
		return
	}
	f.m.until = 0
	if delay := w.opts.Policy(s.queue.destination).Redelivery.delay(MessageID{}, f.m.attempts); delay > 0 {
		f.m.until = w.now.UnixMilli() + delay.Milliseconds()
	}
}

func (w *model) bury(q *modelQueue, m *modelMessage, reason string) {
	defer q.remove(m)
	target, msg, held := w.opts.DeadLetterPrefix+q.destination.Name, m.msg, m.held
	if m.seq == 0 { // a copy, which is stored; one for all subscribers of a topic
		if w.buried[m.msg] {
			return
		}
		w.buried[m.msg] = true
		msg = newMessage("", true)
		msg.Content = m.msg.Content
		held = w.room(target, msg)
	}
	w.put(target, &modelMessage{
		level:   DefaultPriority,
		msg:     msg,
		held:    held,
		content: m.content,
		dead: &DeadLetter{
			Reason: reason, Deliveries: m.attempts, Time: w.now, Destination: q.destination, ID: w.id(m),
		},
	})
}

// Transactions.

func (w *model) commit(c Command) string {
	needs := w.needs(c.DiskLow, c.more().Sends...)
	if needs > 0 && w.bytes()+needs > w.opts.MemoryBytes {
		return CodeMemoryFull
	}
	w.reserved = needs
	for _, h := range w.held(c) {
		if h.nack {
			w.fail(h.sub, h.flight, h.reject)
		} else {
			w.settle(h.sub, h.flight)
		}
	}
	for _, o := range c.more().Sends {
		w.accept(o.Destination, o.Message, c.DiskLow)
	}
	w.reserved = 0
	return ""
}

func (w *model) abort(c Command) {
	for _, h := range w.held(c) {
		h.flight.tx = ""
		if slices.Contains(h.sub.session.leaving, h.sub) {
			h.sub.land(h.flight)
			h.flight.m.holder, h.flight.m.returned = nil, true
		}
	}
}

// held ends a transaction and returns what it holds. Copies of a topic's
// subscription that has ended are gone.
func (w *model) held(c Command) (held []modelHeld) {
	ses := w.sessions[c.Session]
	if ses == nil {
		return nil
	}
	for _, h := range ses.held[c.more().Tx] {
		if slices.Contains(h.sub.flights, h.flight) {
			held = append(held, h)
		}
	}
	delete(ses.held, c.more().Tx)
	return held
}

// What the machine did.

// judge checks the effects of c.
func (w *model) judge(c Command, out *Effects) {
	receipts, delivered := 0, false
	for _, o := range out.Outputs {
		switch o.Kind {
		case Deliver:
			w.delivered(o)
			delivered = delivered || !o.Delivery.Destination.Topic
		case Receipt:
			if receipts++; delivered {
				w.t.Fatalf("the receipt %s is behind a delivery that its command set free", o.ReceiptID)
			}
			w.receipt(c, o)
		case Forget:
			if o.Session != c.Session || len(w.forgets) == 0 || w.forgets[0] != o.Delivery.Sub {
				w.t.Fatalf("forget %d of session %d", o.Delivery.Sub, o.Session)
			}
			w.forgets = nil
		case Evict:
			i := slices.Index(w.evicts, o.Session)
			if i < 0 || o.Err.(*Error).Code != CodeSlowConsumer {
				w.t.Fatalf("evict %d: %v", o.Session, o.Err)
			}
			w.evicts = slices.Delete(w.evicts, i, i+1)
		}
	}
	if want := map[bool]int{true: 1}[c.WantReceipt]; receipts != want {
		w.t.Fatalf("%d receipts, want %d", receipts, want)
	}
	if len(w.forgets)+len(w.evicts) > 0 {
		w.t.Fatalf("not said: forget %d, evict %d", w.forgets, w.evicts)
	}
	if out.Dropped != w.dropped || out.SetAside != w.aside {
		w.t.Fatalf("dropped %d and set %d aside, want %d and %d", out.Dropped, out.SetAside, w.dropped, w.aside)
	}
	w.conserved()
}

func (w *model) receipt(c Command, o Output) {
	var after uint64
	switch {
	case c.Op == Send && !c.Destination.Topic && c.Message.Persistent,
		c.Op == Ack, c.Op == Nack, c.Op == Commit, c.Op == Disconnect:
		after = w.last
	}
	if w.settledLater > 0 && o.After < after && o.After+uint64(w.settledLater) >= after {
		after = o.After
	}
	if o.Session != c.Session || o.ReceiptID != c.Receipt || o.After != after {
		w.t.Fatalf("receipt %q to %d after %d, want %q to %d after %d",
			o.ReceiptID, o.Session, o.After, c.Receipt, c.Session, after)
	}
}

// delivered checks one delivery.
func (w *model) delivered(o Output) {
	got := o.Delivery
	s := w.sub(o.Session, got.Sub)
	if s == nil {
		w.t.Fatalf("session %d got a message for its subscription %d, which it has not: %+v", o.Session, got.Sub, got)
	}
	var want Delivery
	if s.queue.destination.Topic {
		if len(s.expected) == 0 {
			w.t.Fatalf("%s got a copy that is not for it: %+v", s.id, got)
		}
		want, s.expected = s.expected[0], s.expected[1:]
	} else {
		want = w.expect(s)
	}
	if !sameDelivery(got, want) {
		w.t.Fatalf("delivered\n %+v %+v, want\n %+v %+v", *got.Label, got, *want.Label, want)
	}
	var after uint64
	if got.ID.N == 0 {
		after = got.ID.Seq
	}
	if o.After != after {
		w.t.Fatalf("message %+v leaves after %d, want %d", got.ID, o.After, after)
	}
}

// expect is the delivery that s must get next from its queue.
func (w *model) expect(s *modelSub) Delivery {
	ready := w.open(s.queue)
	if len(ready) == 0 || !s.credit() {
		w.t.Fatalf("%s of session %d got a message with %d ready and credit %v", s.id, s.session.id, len(ready), s.credit())
	}
	for _, other := range s.queue.subs {
		if other == s || !other.credit() {
			continue
		}
		if other.passed[s]++; other.passed[s] > 1 {
			w.t.Fatalf("%s of %d was passed twice by %s of %d", other.id, other.session.id, s.id, s.session.id)
		}
	}
	clear(s.passed)
	return w.fly(s, ready[0])
}

// conserved checks that nothing waits that could go.
func (w *model) conserved() {
	for _, s := range w.allSubs() {
		if len(s.expected) > 0 {
			w.t.Fatalf("%s of session %d did not get %+v", s.id, s.session.id, s.expected)
		}
		if !s.credit() {
			clear(s.passed)
		} else if n := len(w.open(s.queue)); n > 0 {
			w.t.Fatalf("%s of session %d has credit, and %d messages are ready", s.id, s.session.id, n)
		}
	}
}

func sameDelivery(a, b Delivery) bool {
	sameContent := (a.Message == nil) == (b.Message == nil)
	if sameContent && a.Message != nil {
		sameContent = bytes.Equal(a.Message.Content, b.Message.Content) && a.Message.Form == b.Message.Form
	}
	sameLabel := *a.Label == *b.Label
	a.Message, b.Message, a.Label, b.Label = nil, nil, nil, nil
	return sameContent && sameLabel && sameDead(&a, &b) && a == b
}

func sameDead(a, b *Delivery) bool {
	if (a.Dead == nil) != (b.Dead == nil) {
		return false
	}
	if a.Dead == nil {
		return true
	}
	x, y := *a.Dead, *b.Dead
	sameTime := x.Time.Equal(y.Time)
	x.Time, y.Time = time.Time{}, time.Time{}
	a.Dead, b.Dead = nil, nil
	return sameTime && x == y
}

// compare checks the state of m, which has done what is due.
func (w *model) compare(m *Machine) {
	w.expire()
	if m.Last() != w.last || m.Oldest() != w.oldest() || m.bytes != w.bytes() {
		w.t.Fatalf("last=%d oldest=%d bytes=%d, want %d %d %d", m.Last(), m.Oldest(), m.bytes, w.last, w.oldest(), w.bytes())
	}
	queues, topics := 0, 0
	for _, q := range w.queues {
		if !q.forgotten() {
			queues++
			w.compareQueue(m.queues[q.destination.Name], q)
		}
	}
	for _, subs := range w.topics {
		if len(subs) > 0 {
			topics++
		}
	}
	aside := 0
	for _, q := range w.queues {
		for _, msg := range q.messages {
			if msg.aside {
				aside++
			}
		}
	}
	if got := m.Stats().Unreadable; got != aside {
		w.t.Fatalf("%d messages are unreadable, want %d", got, aside)
	}
	if len(m.queues) != queues || len(m.topics) != topics || len(m.sessions) != len(w.sessions) || len(m.touched) != 0 {
		w.t.Fatalf("%d queues, %d topics, %d sessions, %d touched; want %d, %d, %d, 0",
			len(m.queues), len(m.topics), len(m.sessions), len(m.touched), queues, topics, len(w.sessions))
	}
	for _, s := range w.allSubs() {
		w.compareSub(m.sessions[s.session.id].numbered(s.number), s)
	}
}

func (w *model) compareQueue(got *queue, want *modelQueue) {
	if got == nil {
		w.t.Fatalf("%s is gone with %d messages and %d consumers", want.destination, len(want.messages), len(want.subs))
	}
	ready := want.ready()
	queued := len(ready)
	if got.resident != want.resident() {
		w.t.Fatalf("%s has %d octets in memory, want %d", want.destination, got.resident, want.resident())
	}
	got.each(func(at ref) bool { // those that wait for their redelivery are held as soon as somebody wants them
		if at.slot().state == slotHeld {
			ready = slices.DeleteFunc(ready, func(m *modelMessage) bool {
				return w.id(m) == (MessageID{at.slot().seq, at.slot().number()}) || m.n > 0 && m.n == at.slot().number()
			})
		}
		return true
	})
	if got.ready != len(ready) || got.live != len(want.messages) || got.backlog.bytes != sizes(ready) || got.consumers != len(want.subs) {
		w.t.Fatalf("%s: ready=%d live=%d bytes=%d consumers=%d, want %d %d %d %d", want.destination,
			got.ready, got.live, got.backlog.bytes, got.consumers, len(ready), len(want.messages), sizes(ready), len(want.subs))
	}
	if got.queued().messages != queued {
		w.t.Fatalf("%s counts %d messages that wait, want %d", want.destination, got.queued().messages, queued)
	}
	i, dead := 0, 0
	got.each(func(at ref) bool {
		s, m := at.slot(), want.messages[i]
		i++
		if (m.dead != nil) != (at.deadLetter() != nil) {
			dead++
		}
		if s.stored() != (m.seq > 0) || s.stored() && s.seq != m.seq || int(s.attempts) != m.attempts || (s.state == slotFlying) != (m.holder != nil) ||
			(s.state == slotAside) != m.aside || (s.msg != nil) != m.held {
			w.t.Fatalf("%s: message %d is %+v, want %+v", want.destination, i, s, m)
		}
		return true
	})
	if i != len(want.messages) || dead > 0 {
		w.t.Fatalf("%s has %d messages, want %d; of %d it is wrong whether they are dead letters", want.destination, i, len(want.messages), dead)
	}
}

func (w *model) compareSub(got *subscription, want *modelSub) {
	n, size := want.used()
	if got.out != n || got.outBytes != size || got.flights.last() != want.lastTag {
		w.t.Fatalf("%s of session %d: %d out, %d octets, last tag %d; want %d, %d, %d",
			want.id, want.session.id, got.out, got.outBytes, got.flights.last(), n, size, want.lastTag)
	}
	if want.consumer.ByMessageID && len(got.byID) != len(want.flights) {
		w.t.Fatalf("%s of session %d finds %d message ids, want %d", want.id, want.session.id, len(got.byID), len(want.flights))
	}
	if want.queue.destination.Topic {
		w.compareQueue(got.copies, want.queue)
	}
}
