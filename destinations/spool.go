package destinations

import (
	"fmt"
	"strings"
	"time"
)

// A temporary queue of another broker of the network is found by its address: the
// token ends with @ and the name of that broker. What is sent there waits in a
// queue of this broker's own, the spool for that broker, until the network has
// taken it there, each message with its own destination. Like all messages for
// temporary queues they are never stored. A broker that stays away costs so much
// memory, and no more: who sends further ones is refused, and those that wait
// expire.

const (
	spoolPrefix   = NetworkPrefix + "to."
	maxSpoolBytes = 16 << 20 // for one broker
	maxSpools     = 256      // anybody can make up a name
	spoolTTL      = 5 * time.Minute
)

// AtMember is token, of a temporary destination that the broker of this name has
// in its network; without a network the name is empty.
func AtMember(token, member string) string {
	if member == "" {
		return token
	}
	return token + "@" + member
}

// Spool is the queue in which messages wait for the temporary queues of a broker.
func Spool(member string) Destination { return Queue(spoolPrefix + member) }

// home is the broker that has a temporary queue; empty: this one.
func (m *Machine) home(d Destination) string {
	if m.opts.Member == "" || d.Topic || !d.Temporary() {
		return ""
	}
	token, _, _ := strings.Cut(d.Name[len(tempPrefix):], ".")
	if _, member, _ := strings.Cut(token, "@"); member != m.opts.Member {
		return member
	}
	return ""
}

// spool has a message wait for the broker that has its temporary queue.
func (m *Machine) spool(d Destination, member string, msg *Message) {
	props := Props{Priority: DefaultPriority}
	if msg.Props != nil {
		props = *msg.Props
	}
	props.topic = d.Name
	own := &Message{Content: msg.Content, HeaderBytes: msg.HeaderBytes, Form: msg.Form, Props: &props}
	m.number(own)
	waits := Props{Priority: props.Priority, Expires: props.Expires}
	if waits.Expires == 0 {
		waits.Expires = m.millis + spoolTTL.Milliseconds()
	}
	m.push(m.queue(Spool(member).Name), slot{seq: m.last, msg: own, size: slotSize(own)}, own.level(), waits.waiting())
}

// admitSpool checks that the spools for the temporary queues that o names take it.
// ahead is as for admitPlace.
func (m *Machine) admitSpool(o *Outgoing, ahead map[*queue]tally) error {
	member := m.home(o.Destination)
	if member == "" {
		return nil
	}
	q := m.find(Spool(member).Name)
	if q == nil {
		if m.spools < maxSpools {
			return nil
		}
		return &Error{Code: CodeQueueFull, Text: fmt.Sprintf(
			"messages wait for temporary queues of %d other brokers: no more are allowed, and %s is of one more", m.spools, quote(o.Destination.String()))}
	}
	t := q.queued()
	size := o.Message.size()
	if t.bytes+ahead[q].bytes+size > maxSpoolBytes {
		return &Error{Code: CodeQueueFull, Text: fmt.Sprintf(
			"%s is a temporary queue of the broker %s, which is not in reach or slow: %d messages of %d octets wait for it, and %d may",
			quote(o.Destination.String()), quote(member), t.messages, t.bytes, maxSpoolBytes)}
	}
	if ahead != nil {
		ahead[q] = tally{ahead[q].messages + 1, ahead[q].bytes + size}
	}
	return nil
}
