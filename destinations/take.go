package destinations

import (
	"fmt"
	"slices"
)

// A durable subscription that is made retroactive takes what the archives of its
// topic have: for each message that is stored there is an entry, and it stays in
// the log once, for all that hold it.

// A taken message is one that it takes.
type taken struct {
	place
	size  uint32
	msg   *Message // if it is not stored
	props *Props
}

// maxTakeBytes bounds what the messages that one subscription takes when it is made
// take in the log: that is one Step, in which everybody else waits.
const maxTakeBytes = 8 << 20

// wanted are the kept messages that the durable subscription of c takes when it is
// made, in the order in which they came. What of them it does not select, and
// only the log has, is found out when somebody is there to have it.
func (m *Machine) wanted(c *Command) (all []taken, err error) {
	id, want := c.Consumer.Durable, c.Consumer.Retroactive
	if want == nil {
		return nil, nil
	}
	most := min(maxTakeBytes, m.opts.MaxCommitBytes)
	var octets int64
	archives := m.archives(Pattern{c.Destination})
	for _, a := range archives {
		a.level(DefaultPriority).after(a.from(want), func(at ref) bool {
			s, p := at.slot(), at.props()
			own := c.Consumer.NoLocal && p.Client == id.Client
			if own || p.Expires != 0 && p.Expires <= m.millis || s.msg != nil && !m.selects(c.Consumer.Selector, s.msg) {
				return true
			}
			t := taken{place: placeOf(at), size: s.size, props: p}
			if !s.stored() {
				t.msg = s.msg
			}
			octets += int64(len(id.key())) + p.headBytes() + 2*maxTakerBytes
			all = append(all, t)
			return octets <= most
		})
	}
	if octets > most {
		return nil, &Error{Code: CodeTransactionTooBig, Text: fmt.Sprintf(
			"the durable subscription would take more than the %d kept messages that fit into %d octets of the journal: ask for fewer", len(all)-1, most)}
	}
	if len(archives) > 1 {
		slices.SortFunc(all, func(a, b taken) int { return a.compare(b.place) })
	}
	return all, nil
}

// take puts kept messages into q, which was made in the same Step.
func (m *Machine) take(q *queue, all []taken, out *Effects) {
	for _, t := range all {
		if t.msg != nil {
			m.push(q, slot{seq: m.last, msg: t.msg, size: t.size}, t.msg.level(), t.msg.Props.waiting())
			continue
		}
		p := *t.props
		p.Sent, p.Client = 0, ""
		m.record(&record{kind: KindTake, queue: q.destination.Name, content: t.seq, size: t.size, props: &p}, out)
	}
}

// applyTake puts a kept message into a durable subscription, too. When that is not
// there, the log has given back that it ever was.
func (m *Machine) applyTake(r *record) {
	q := m.changing(r)
	if q == nil || q.durable == nil {
		return
	}
	m.comesBack(r)
	m.enliven(r.seq, moveBytes)
	m.enliven(r.content, int64(r.size))
	m.push(q, slot{seq: r.seq, size: r.size, marks: markStored}, r.props.Priority, &extra{content: r.content, props: r.props.waits()})
}

// unwanted drops a message that a durable subscription took, and does not select.
func (m *Machine) unwanted(v *view, p place, out *Effects) {
	q := v.queue
	if q.durable == nil || !q.durable.retroactive || q.durable.selector != v.selector.String() {
		return
	}
	if at, ok := q.find(p.seq, p.n); ok && at.slot().state == slotReady {
		q.fly(at)
		m.dropKept(q, []ref{at}, out)
	}
}
