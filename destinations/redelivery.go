package destinations

import (
	"math"
	"time"
)

// fail ends a delivery that was in vain: the message returns to its place, for
// now or for later, or goes to the dead-letter queue when that is asked or it
// failed too often.
func (m *Machine) fail(s *subscription, tag uint64, why Refusal, out *Effects) {
	q := s.flights.get(tag).queue
	at := m.land(s, tag)
	sl, policy := at.slot(), s.redelivery(q)
	attempts := min(int(sl.attempts)+1, maxAttempts)
	if m.policies.isDeadLetterQueue(q.destination) {
		// It keeps what it has: there is nowhere else to go. To count for ever
		// would fill the log.
		attempts = min(attempts, max(policy.MaxDeliveries, int(sl.attempts)))
	} else {
		switch {
		case why.Reject || s.consumer.RejectNacks:
			m.bury(q, at, ReasonRejected, attempts, out)
			return
		case attempts >= policy.MaxDeliveries:
			m.bury(q, at, ReasonMaxDeliveries, attempts, out)
			return
		}
	}
	m.attempt(q, at, attempts, m.until(policy, m.id(sl), attempts, why.Delay), out)
	m.giveBack(q, at)
	m.touch(q)
}

// attempt remembers how often a message was delivered in vain and when it may be
// again.
func (m *Machine) attempt(q *queue, at ref, attempts int, until int64, out *Effects) {
	sl := at.slot()
	switch {
	case attempts == int(sl.attempts) && until == at.extra().until:
		// Nothing new to remember.
	case q.lasts(sl):
		m.record(&record{kind: KindAttempt, queue: q.destination.Name, seqs: []uint64{sl.seq}, attempts: attempts, until: until}, out)
	default:
		at.setAttempts(attempts, until)
	}
}

// redelivery is the policy of a queue, as a consumer of it wants it changed.
func (s *subscription) redelivery(q *queue) Redelivery {
	policy, own := q.policy.Redelivery, s.consumer.Redelivery
	if own == nil {
		return policy
	}
	if own.MaxDeliveries > 0 {
		policy.MaxDeliveries = own.MaxDeliveries
	}
	if own.Delay != 0 {
		policy.Delay = max(own.Delay, 0)
	}
	if own.Multiplier > 0 {
		policy.Multiplier = own.Multiplier
	}
	if own.MaxDelay > 0 {
		policy.MaxDelay = own.MaxDelay
	}
	return policy
}

// until is when a message may be delivered again after so many deliveries in
// vain, in Unix ms; 0: at once. A delay that is not 0 is instead of the policy's.
func (m *Machine) until(policy Redelivery, id MessageID, attempts int, delay time.Duration) int64 {
	if delay == 0 {
		delay = policy.delay(id, attempts)
	}
	if delay.Milliseconds() <= 0 {
		return 0
	}
	return m.millis + delay.Milliseconds()
}

// delay is how long a message waits after so many deliveries in vain. What
// jitter adds follows from the message, so that it is the same each time it is
// computed.
func (r Redelivery) delay(id MessageID, attempts int) time.Duration {
	most := Longest
	if r.MaxDelay > 0 {
		most = r.MaxDelay
	}
	delay := float64(r.Delay)
	if r.Multiplier > 0 {
		delay *= math.Pow(r.Multiplier, float64(attempts-1))
	}
	delay = min(delay, float64(most))
	if r.Jitter > 0 {
		delay *= 1 + r.Jitter*scatter(id, attempts)
	}
	return time.Duration(delay)
}

// scatter is a number from -1 to 1 that looks random.
func scatter(id MessageID, attempts int) float64 {
	x := id.Seq*0x9e3779b97f4a7c15 ^ id.N*0xbf58476d1ce4e5b9 ^ uint64(attempts)*0x94d049bb133111eb
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11)/(1<<52) - 1
}

// bury moves a message to the dead-letter queue of q, or, if it has expired, to
// the expiry queue. A temporary queue has none, for nobody could name it, and
// reports are not kept. There it is stored, even if it was not before: what is
// set aside for a person to look at must still be there when the person comes.
func (m *Machine) bury(q *queue, at ref, reason string, attempts int, out *Effects) {
	sl := at.slot()
	switch {
	case q.destination.Temporary():
		m.unclaimed(q.destination, 1, out)
		m.discard(q, at)
		return
	case q.destination.Topic && m.buried[originalOf(at)]: // another subscriber of its topic refused it too: it is there already
		m.discard(q, at)
		return
	}
	dead := &DeadLetter{
		Reason:      reason,
		Deliveries:  attempts,
		Time:        time.UnixMilli(m.millis).UTC(),
		Destination: q.origin(sl.msg),
		ID:          m.id(sl),
	}
	switch {
	case at.logged() != 0 && !q.lasts(sl):
		m.exhume(q, at, dead, out)
		return
	case dead.Destination.reports():
		m.discard(q, at)
		return
	}
	target := q.policy.buries(dead, q.deadLetterName(sl.msg))
	if !m.takesDead(target, q, at, out) {
		m.drop(q, at, out)
		return
	}
	m.noteDead(dead)
	if sl.stored() {
		m.record(&record{
			kind: KindMove, queue: q.destination.Name, seqs: []uint64{sl.seq},
			target: target, dead: dead, content: at.content(), size: sl.size,
		}, out)
		return
	}
	if q.destination.Topic {
		m.buryOnce(at)
	}
	m.enqueueDead(target, at.message(), dead, out)
	m.discard(q, at)
	m.collect(q)
}

// buries says in which queue a dead letter is put that is called after name.
func (p *Policy) buries(dead *DeadLetter, name string) string {
	if dead.Reason == ReasonExpired {
		return p.ExpiryQueue.Name
	}
	return p.DeadLetter.queue(name)
}

// noteDead reports a dead letter. What has expired is told already.
func (m *Machine) noteDead(dead *DeadLetter) {
	if dead.Reason != ReasonExpired {
		m.note(DeadLettered, dead.Destination, dead.Reason, 1)
	}
}

// buryOnce notes that of a topic's message there is a dead letter.
func (m *Machine) buryOnce(at ref) {
	if m.buried == nil {
		m.buried = map[original]bool{}
	}
	m.buried[originalOf(at)] = true
}

// enqueueDead puts a dead letter that is not stored yet into a queue.
func (m *Machine) enqueueDead(target string, of *Message, dead *DeadLetter, out *Effects) {
	msg := *of
	msg.Persistent, msg.Props, msg.n, msg.refs = true, msg.Props.bury(), 0, 0
	m.record(&record{kind: KindEnqueue, queue: target, msg: &msg, dead: dead}, out)
}

// deadLetterQueue is the name of the queue for a dead letter of q.
func (q *queue) deadLetterQueue(at ref) string {
	return q.policy.DeadLetter.queue(q.deadLetterName(at.slot().msg))
}

// giveBack returns a message in flight to its place in q.
func (m *Machine) giveBack(q *queue, at ref) {
	q.giveBack(at)
	m.regroup(q, at)
	if expires := at.c.extra(at.i).expires(); expires != never {
		m.wake(q, expires)
	}
}

// giveBackFrom returns a message that s has given up. Of what another broker was to
// have, no consumer has seen anything.
func (m *Machine) giveBackFrom(s *subscription, q *queue, at ref) {
	seen := at.slot().returned() || !s.consumer.Network
	m.giveBack(q, at)
	if !seen {
		at.slot().marks &^= markReturned
	}
}

// A fitness says whether a consumer may have a message now.
type fitness uint8

const (
	fit     fitness = iota
	unfit           // not this one; it is out of the way
	waiting         // not this one, and none behind it
)

// fitness looks at a message of q that is to be given to a consumer: it is ready
// or parked. One that has expired is taken away, and one that is to wait is made to.
func (m *Machine) fitness(q *queue, at ref, out *Effects) fitness {
	x := at.c.extra(at.i)
	switch {
	case x == nil:
		return fit
	case x.expires() <= m.millis:
		m.dropExpired(q, out, at)
		return unfit
	case m.isSuperseded(q, at):
		m.drop(q, at, out)
		return unfit
	case x.until <= m.millis:
		return fit
	case q.policy.Redelivery.KeepOrder:
		m.block(q, at)
		m.wake(q, x.until)
		return waiting
	}
	m.await(q, at.slot(), x.until)
	if at.slot().state == slotReady {
		q.hold(at)
	}
	m.block(q, at)
	return unfit
}

// nextFit returns the message of q that a consumer is to have next; ok is false
// when there is none for now.
func (m *Machine) nextFit(q *queue, out *Effects) (at ref, ok bool) {
	for q.ready > 0 {
		at := q.first()
		switch m.fitness(q, at, out) {
		case fit:
			return at, true
		case waiting:
			return at, false
		}
	}
	return ref{}, false
}
