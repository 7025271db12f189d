package destinations

import "time"

// ackDue is when a delivery to s is in vain if it is not acknowledged before, in Unix
// ms; 0: never.
func (m *Machine) ackDue(s *subscription, q *queue) int64 {
	timeout := s.consumer.AckTimeout
	if timeout == 0 {
		timeout = q.policy.AckTimeout
	}
	if timeout <= 0 || s.consumer.Network || s.consumer.Ack == AckAuto || q == s.copies {
		return 0
	}
	return m.millis + timeout.Milliseconds()
}

// expect has the alarm of s ring when a delivery is due, unless it rings before.
func (m *Machine) expect(s *subscription, due int64) {
	if due > 0 && (s.alarm.place == 0 || due < s.alarm.at) {
		m.setTimer(&s.alarm, s, due)
	}
}

// extend gives a client more time for what it has not acknowledged: c covers the
// same as a NACK would.
func (m *Machine) extend(s *subscription, tag uint64, by time.Duration) {
	s.covered(tag, func(_ uint64, fl *flight) {
		if fl.due > 0 {
			fl.due = m.millis + by.Milliseconds()
			m.expect(s, fl.due)
		}
	})
}

// ring returns what was not acknowledged in time. An acknowledgement that comes
// later is ignored. What a transaction holds is answered.
func (s *subscription) ring(m *Machine, out *Effects) {
	next := int64(0)
	s.flights.each(0, s.flights.last(), func(tag uint64, fl *flight) {
		switch {
		case fl.due == 0 || fl.tx != nil:
		case fl.due <= m.millis:
			m.fail(s, tag, Refusal{}, out)
		case next == 0 || fl.due < next:
			next = fl.due
		}
	})
	m.expect(s, next)
	m.replenish(s)
}
