package destinations

import "math"

// never is later than any time at which a message expires.
const never = math.MaxInt64

// expires is when the message expires; never if it does not.
func (x *extra) expires() int64 {
	if x == nil || x.props == nil || x.props.Expires == 0 {
		return never
	}
	return x.props.Expires
}

// expires is when the first message expires that can be delivered, or earlier;
// never if none does.
func (b *backlog) expires() int64 {
	first := int64(never)
	for _, l := range b.levels {
		if l.priority == levelWaiting {
			continue
		}
		for _, c := range l.chunks {
			first = min(first, c.expires)
		}
	}
	return first
}

// expired collects the messages that are due and not with a consumer, at most
// so many. Only chunks in which something is due are looked into.
func (b *backlog) expired(now int64, most int) (due []ref) {
	for _, l := range b.levels {
		if l.priority == levelWaiting {
			continue
		}
		for _, c := range l.chunks {
			if len(due) == most {
				return due
			}
			if c.expires <= now {
				due = c.expired(now, most, due)
			}
		}
	}
	return due
}

// expired appends those of c, and sets when the next ones expire. One that is
// with a consumer expires when it returns.
func (c *chunk) expired(now int64, most int, due []ref) []ref {
	c.unpack()
	c.expires = never
	for i := range c.slots {
		at, state := c.extra(i).expires(), c.slots[i].state
		switch {
		case at == never || state == slotGone:
		case at <= now && (state == slotFlying || state == slotAside):
		case at <= now && len(due) < most:
			due = append(due, ref{c, i})
		default:
			c.expires = min(c.expires, at)
		}
	}
	return due
}

// sweep takes what has expired out of q, as far as the Tick in progress may, and
// sets when to look again.
func (m *Machine) sweep(q *queue, out *Effects) {
	if q.expires() <= m.millis {
		due := q.expired(m.millis, m.work)
		m.work -= len(due)
		m.dropExpired(q, out, due...)
	}
	if at := q.expires(); at != never {
		m.wake(q, at)
	}
}

// dropExpired takes messages of q, that are not in flight, to the expiry queue of
// q, or away if it has none.
func (m *Machine) dropExpired(q *queue, out *Effects, due ...ref) {
	out.Expired += len(due)
	m.note(Expired, q.destination, "", len(due))
	m.settling(q, out)
	for _, at := range due {
		switch sl := at.slot(); {
		case q.policy.ExpiryQueue != (Destination{}):
			m.bury(q, at, ReasonExpired, int(sl.attempts), out)
		case q.lasts(sl):
			m.seqs = append(m.seqs, sl.seq)
		default:
			m.discard(q, at)
		}
	}
	m.recordSettle(out)
}
