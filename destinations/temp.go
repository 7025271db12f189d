package destinations

import (
	"fmt"
	"slices"
	"strings"
)

// A temporary destination belongs to the session that subscribed to it first: it
// alone consumes from it, and it is gone when that session ends. Whoever knows
// its address may send to it. Its messages are never stored.
//
// Its name begins with tempPrefix, which no name of a client's does, so it
// shares the maps with the others. What follows is the address: a token that
// is never used again, a dot, and the name that the owner calls it by.
//
//	/temp-queue/replies               what its owner writes and reads
//	/remote-temp-queue/TOKEN.replies  its address
//
// In a network, the token ends with the name of the broker that has it, as
// TOKEN@berlin: see spool.go.
const tempPrefix = "$temp."

const (
	tempQueuePrefix   = "/temp-queue/"
	tempTopicPrefix   = "/temp-topic/"
	remoteQueuePrefix = "/remote-temp-queue/"
	remoteTopicPrefix = "/remote-temp-topic/"
	replyQueuePrefix  = "/reply-queue/" // as RabbitMQ calls it
)

// maxTokenBytes bounds the token of an address.
const maxTokenBytes = 128

// Temporary names a new temporary destination: d is what its owner calls it,
// token is never used again and holds no dot.
func Temporary(d Destination, token string) Destination {
	d.Name = tempPrefix + token + "." + d.Name
	return d
}

// Temporary says whether d is a temporary destination.
func (d Destination) Temporary() bool { return strings.HasPrefix(d.Name, tempPrefix) }

// Own is a temporary destination as its owner writes it: "/temp-queue/replies".
func (d Destination) Own() string { return string(d.AppendOwn(nil)) }

// AppendOwn appends what Own returns to dst.
func (d Destination) AppendOwn(dst []byte) []byte {
	if d.Topic {
		dst = append(dst, tempTopicPrefix...)
	} else {
		dst = append(dst, tempQueuePrefix...)
	}
	_, name, _ := strings.Cut(d.Name[len(tempPrefix):], ".")
	return append(dst, name...)
}

// appendAddress appends a temporary destination as others write it.
func (d Destination) appendAddress(dst []byte) []byte {
	if d.Topic {
		dst = append(dst, remoteTopicPrefix...)
	} else {
		dst = append(dst, remoteQueuePrefix...)
	}
	return append(dst, d.Name[len(tempPrefix):]...)
}

// namesTemporary says that s is what clients call a temporary destination, or its
// address.
func namesTemporary(s string) bool {
	return slices.ContainsFunc([]string{tempQueuePrefix, tempTopicPrefix, remoteQueuePrefix, remoteTopicPrefix, replyQueuePrefix},
		func(prefix string) bool { return strings.HasPrefix(s, prefix) })
}

// ParseTemporary reads what an owner calls a temporary destination:
// "/temp-queue/NAME" or "/temp-topic/NAME". It is of no use before it was given
// to Temporary. ok is false when s is not of this form.
func (n Names) ParseTemporary(s string) (d Destination, ok bool, err error) {
	name, ok := strings.CutPrefix(s, tempQueuePrefix)
	if !ok {
		if name, ok = strings.CutPrefix(s, tempTopicPrefix); !ok {
			return d, false, nil
		}
		d.Topic = true
	}
	d.Name = name
	return d, true, n.check(name)
}

// ParseAddress reads the address of a temporary destination. ok is false when s
// is not of this form. Nobody knows here whether it is still there.
func (n Names) ParseAddress(s string) (d Destination, ok bool, err error) {
	var address string
	for _, prefix := range [...]string{remoteQueuePrefix, replyQueuePrefix, remoteTopicPrefix} {
		if address, ok = strings.CutPrefix(s, prefix); ok {
			d.Topic = prefix == remoteTopicPrefix
			break
		}
	}
	if !ok {
		return d, false, nil
	}
	token, name, _ := strings.Cut(address, ".")
	if token == "" || name == "" || len(token) > maxTokenBytes {
		return d, true, destinationError("%s is no address of a temporary destination: it must be what a message has as its reply-to", quote(s))
	}
	d.Name = tempPrefix + address
	return d, true, n.check(name)
}

// ReplyAddress is the address of a temporary queue in the words of RabbitMQ:
// "/reply-queue/TOKEN.NAME". Both forms lead to the same.
func (d Destination) ReplyAddress() string { return replyQueuePrefix + d.Name[len(tempPrefix):] }

// temporary returns the temporary queue that c subscribes to, made if there is
// none. Only its owner may consume from it.
func (m *Machine) temporary(c *Command) (*queue, error) {
	q := m.find(c.Destination.Name)
	if m.home(c.Destination) != "" {
		return nil, notOwner(c.Destination)
	}
	if q == nil {
		// They stay, with or without a consumer, until the session ends.
		if ses := m.sessions[c.Session]; ses != nil && len(ses.temporary) >= m.opts.MaxSubscriptions {
			return nil, &Error{Code: CodeTooManySubscription, Text: fmt.Sprintf(
				"this connection has %d temporary queues: no more are allowed", len(ses.temporary))}
		}
		q = m.queue(c.Destination.Name)
		q.owner = c.Session
	}
	if q.owner != c.Session {
		return nil, notOwner(c.Destination)
	}
	return q, nil
}

func notOwner(d Destination) error {
	return &Error{Code: CodeNotOwner, Text: fmt.Sprintf(
		"%s is a temporary queue of another connection: only that may consume from it", quote(d.String()))}
}

// own notes a temporary queue of the session, which ends with it.
func (ses *session) own(q *queue) {
	if q.owner != 0 && !slices.Contains(ses.temporary, q) {
		ses.temporary = append(ses.temporary, q)
	}
}

// reply puts a message into a temporary queue. One that is gone, or holds as
// many as a topic's subscriber may have waiting, takes no more: the message is
// dropped and counted, for an error would cost a connection that did nothing
// wrong. One of another broker's waits in the spool for that.
func (m *Machine) reply(d Destination, msg *Message, out *Effects) {
	if member := m.home(d); member != "" {
		m.spool(d, member, msg)
		return
	}
	q := m.find(d.Name)
	if q == nil || q.queued().full(q.policy.Pending.Messages, q.policy.Pending.Bytes, msg.size()) {
		m.unclaimed(d, 1, out)
		return
	}
	m.number(msg)
	m.push(q, slot{seq: m.last, msg: msg, size: slotSize(msg)}, msg.level(), msg.Props.waiting())
}

// dropTemporary forgets the temporary queues of a session that has ended, with
// what nobody took.
func (m *Machine) dropTemporary(ses *session, out *Effects) {
	for _, q := range ses.temporary {
		m.unclaimed(q.destination, q.live, out)
		m.clear(q)
		q.owner = 0
		m.collect(q)
	}
	ses.temporary = nil
}

// unclaimed counts messages for a temporary destination that nobody gets.
func (m *Machine) unclaimed(d Destination, messages int, out *Effects) {
	out.Unclaimed += messages
	m.note(Dropped, d, DroppedUnclaimed, messages)
}
