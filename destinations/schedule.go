package destinations

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// levelWaiting is where messages wait that are not to be delivered before their
// time: a level of their own, in the order in which they came. When it is time
// for one, a copy of it joins the queue at its end, and it goes, or waits on if
// it repeats. Both share the content.
const levelWaiting = MaxPriority + 1

// waiting returns the level of those that wait for their time, nil if none ever
// did.
func (b *backlog) waiting() *level {
	if len(b.levels) > 0 && b.levels[0].priority == levelWaiting {
		return b.levels[0]
	}
	return nil
}

// findWaiting is find for those that wait for their time.
func (b *backlog) findWaiting(seq, n uint64) (ref, bool) {
	if l := b.waiting(); l != nil {
		return l.find(seq, n)
	}
	return ref{}, false
}

// comes is when it is time for a message that waits: what its schedule entries
// say, or before the first of them its Props.
func (x *extra) comes() int64 {
	if x.until != 0 {
		return x.until
	}
	return x.props.Deliver
}

// again is when a message comes that has come just now, and how many times more
// then, until its next time by Cron. Times that have passed, because nobody was
// there to see them, are left out. at is 0 when it does not come again.
func (p *Props) again(came int64, left int32, now int64) (at int64, then int32) {
	if left != 0 && p.Period > 0 {
		at = came + p.Period
		if at <= now {
			at += (now - at + p.Period) / p.Period * p.Period
		}
		return at, max(left-1, -1)
	}
	if p.Cron == "" {
		return 0, 0
	}
	next := nextByCron(p.Cron, now)
	if next == 0 {
		return 0, 0
	}
	return next + p.Delay, p.Repeat
}

// cronFields are minute, hour, day of the month, month and day of the week.
var cronFields = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// CheckCron says what is wrong with a Props.Cron. Its times are in UTC.
func CheckCron(text string) error {
	if strings.Contains(text, "=") { // a time zone, which the machine's host may not know
		return fmt.Errorf("%s: only the five fields minute, hour, day of the month, month and day of the week are allowed", quote(text))
	}
	schedule, err := cronFields.Parse(text)
	if err == nil && schedule.Next(time.Unix(0, 0).UTC()).IsZero() {
		return fmt.Errorf("%s: there is no such time", quote(text))
	}
	return err
}

// nextByCron is the first time after now, both in Unix ms; 0 if there is none.
func nextByCron(text string, now int64) int64 {
	schedule, err := cronFields.Parse(text)
	if err != nil {
		return 0 // a later version may allow what this one does not
	}
	next := schedule.Next(time.UnixMilli(now).UTC())
	if next.IsZero() {
		return 0
	}
	return next.UnixMilli()
}

// resolve puts times where a message sent to d says how long, and adds what the
// policy of d says.
func (m *Machine) resolve(msg *Message, policy *Policy) {
	if msg.Props == nil && policy.MessageTTL == 0 && policy.MaxTTL == 0 && policy.DeliveryDelay == 0 {
		return
	}
	p := Props{Priority: DefaultPriority}
	if msg.Props != nil {
		p = *msg.Props
	}
	if !policy.Priorities {
		p.Priority = DefaultPriority
	}
	m.resolveDelivery(&p, policy)
	m.resolveExpiry(&p, policy)
	if msg.Props = nil; p.fields() != 0 {
		msg.Props = &p
	}
}

func (m *Machine) resolveDelivery(p *Props, policy *Policy) {
	if p.Deliver == 0 && p.Delay == 0 && p.Cron == "" { // as ActiveMQ, what has only a period begins after one
		p.Delay = cmp.Or(p.Period, policy.DeliveryDelay.Milliseconds())
	}
	switch {
	case p.Cron != "":
		if p.Deliver = nextByCron(p.Cron, m.millis); p.Deliver != 0 {
			p.Deliver += p.Delay
		}
		return // which needs the delay again
	case p.Delay > 0:
		p.Deliver = m.millis + p.Delay
	case p.Deliver <= m.millis:
		p.Deliver = 0
		if p.Period > 0 && p.Repeat != 0 {
			p.Deliver = m.millis // the first of several
		}
	}
	p.Delay = 0
	if p.Deliver == 0 {
		p.Period, p.Repeat = 0, 0
	}
}

// resolveExpiry lets a message that is delivered later live so much longer.
func (m *Machine) resolveExpiry(p *Props, policy *Policy) {
	from := max(m.millis, p.Deliver)
	if p.TTL == 0 && p.Expires == 0 {
		p.TTL = policy.MessageTTL.Milliseconds()
	}
	if p.TTL > 0 && p.Expires == 0 {
		p.Expires = from + p.TTL
	}
	if most := policy.MaxTTL.Milliseconds(); most > 0 && (p.Expires == 0 || p.Expires > from+most) {
		p.Expires = from + most
	}
	p.TTL = 0
}

// due lets a message of q that waited come. content is the message itself, nil if
// it is only in the log: what is published must be brought from there first.
func (m *Machine) due(q *queue, at ref, content *Message, out *Effects) {
	x, sl := at.extra(), at.slot()
	left := x.left
	if x.until == 0 {
		left = x.props.Repeat
	}
	next, left := x.props.again(x.comes(), left, m.millis)
	if x.expires() <= m.millis {
		next = 0
	}
	topic, isTopic := strings.CutPrefix(q.destination.Name, schedulePrefix)
	if isTopic && content == nil {
		out.Outputs = append(out.Outputs, Output{Kind: Examine, After: at.content(), Examination: &Examination{
			Queue: q.destination, Contents: []uint64{at.content()}, Largest: int64(sl.size), waiting: sl.seq,
		}})
		return
	}
	var msg *Message
	if content != nil {
		msg = content.again()
		msg.Props = x.props.come()
		msg.Props.Job = m.id(sl)
	}
	whole, taken := m.whole, isTopic || m.takes(q, int64(sl.size), x.props.come(), out)
	published, before, sender := Outgoing{Destination: Topic(topic), Message: msg}, m.unstored, m.sender
	if isTopic {
		m.whole, m.sender = true, m.sentBy(at)
		m.placeAll(&Command{More: &More{Client: x.props.Client}}, &published, out)
	}
	switch {
	case sl.stored():
		m.record(&record{kind: KindSchedule, queue: q.destination.Name, seqs: []uint64{sl.seq}, next: next, left: left}, out)
		if !taken {
			m.settling(q, out)
			m.seqs = append(m.seqs, m.last)
			m.recordSettle(out)
		}
	case next == 0:
		m.discard(q, at)
	default:
		at.setExtra(extra{props: x.props, until: next, left: left})
		m.await(q, at.slot(), next)
	}
	if !sl.stored() && !isTopic && taken {
		m.number(msg)
		m.push(q, slot{seq: m.last, msg: msg, size: slotSize(msg)}, x.props.Priority, msg.Props.waiting())
	}
	if m.whole = whole; !whole {
		m.joined = false
	}
	if isTopic {
		m.showAll(&published, before, out)
		m.sender = sender
	}
}

// broughtPause is how long it takes until a message that could not be read is
// asked for again.
const broughtPause = time.Minute

// brought lets a message come that was asked for.
func (m *Machine) brought(e *Examination, out *Effects) {
	q := m.find(e.Queue.Name)
	if q == nil {
		return
	}
	at, ok := q.findWaiting(e.waiting, 0)
	switch {
	case !ok:
	case len(e.Messages) == 0 || e.Messages[0] == nil:
		m.await(q, at.slot(), m.millis+broughtPause.Milliseconds())
	default:
		m.due(q, at, e.Messages[0], out)
		m.collect(q)
	}
}

// come is what p is when the message has come.
func (p *Props) come() *Props {
	come := *p
	come.Deliver, come.Delay, come.Period, come.Repeat, come.Cron, come.DedupID = 0, 0, 0, 0, "", ""
	come.Client, come.sender = "", 0
	return &come
}

// applySchedule puts a copy of a message that waited at the end of its queue. The
// copy is called by the entry, and so is when the message comes again. What waits
// for a topic has been published meanwhile.
func (m *Machine) applySchedule(q *queue, r *record) {
	at, ok := q.findWaiting(r.seqs[0], 0)
	if !ok {
		return
	}
	x, s, content := at.extra(), *at.slot(), at.content()
	if r.next != 0 {
		m.enliven(r.seq, moveBytes)
		if m.recovery == nil && x.latest != 0 {
			m.live.remove(x.latest, moveBytes)
		}
		at.setExtra(extra{content: x.content, props: x.props, until: r.next, left: r.left, latest: r.seq})
		m.await(q, at.slot(), r.next)
	}
	if !strings.HasPrefix(r.queue, schedulePrefix) {
		m.enliven(r.seq, moveBytes)
		m.enliven(content, int64(s.size))
		m.push(q, slot{seq: r.seq, msg: s.msg, size: s.size, marks: markStored}, x.props.Priority,
			&extra{content: content, props: x.props.come().waits()})
	}
	if r.next == 0 {
		m.discard(q, at)
		m.collect(q)
	}
}

// policyOf is the policy of a destination, whether it is there or not.
func (m *Machine) policyOf(d Destination) *Policy {
	if d.Topic {
		if t := m.topics[d.Name]; t != nil {
			return t.policy
		}
	} else if q := m.find(d.Name); q != nil {
		return q.policy
	}
	return m.policies.of(d)
}

// schedulePrefix begins the name of the queue in which the messages of a topic
// wait for their time. No durable subscription is called so, nor can clients.
const schedulePrefix = "\x00\x00\x00"

// schedule puts a message that is to wait into each of its destinations, and notes
// what it is called if that is one.
func (m *Machine) schedule(c *Command, o Outgoing, out *Effects) {
	whole := m.whole
	m.whole = whole || len(o.Also) > 0
	last, unstored := m.last, m.unstored
	for i := range o.parts() {
		d := o.part(i)
		msg := o.Message
		if i > 0 || d.Topic || d.Temporary() {
			msg = msg.again()
		}
		if d.Topic {
			msg.Persistent = msg.Persistent && !d.Temporary() // which nobody could have after a restart
			p := *msg.Props
			p.noteClient(c.more().Client)
			p.sender = m.sender
			msg.Props = &p
			d = Queue(schedulePrefix + d.Name)
		}
		m.enqueue(d, msg, false, c.DiskLow, out)
	}
	switch {
	case len(o.Also) > 0: // each part waits under an id of its own
	case m.unstored > unstored:
		m.job = MessageID{Seq: m.start, N: m.unstored}
	case m.last > last:
		m.job = MessageID{Seq: m.last}
	}
	if m.whole = whole; !whole {
		m.joined = false
	}
}
