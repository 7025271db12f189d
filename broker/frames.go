package broker

import (
	"strings"

	"baton/broker/stomp"
	"baton/destinations"
)

// handle carries out one frame: it adds a mail, or answers an error that ends
// the session.
func (s *session) handle(f *stomp.Frame) error {
	if !s.connected {
		if f.Command != stomp.CmdConnect && f.Command != stomp.CmdStomp {
			return refuse(codeConnectFirst, "the first frame must be CONNECT or STOMP")
		}
		return s.connect(f)
	}
	c := &destinations.Command{}
	if receipt, ok := f.Header(headerReceipt); ok {
		c.WantReceipt, c.Receipt, c.Copies = true, string(receipt), uint8(s.server.opts.MinCopies)
	}
	switch f.Command {
	case stomp.CmdSend:
		return s.send(f, c)
	case stomp.CmdSubscribe:
		return s.subscribe(f, c)
	case stomp.CmdUnsubscribe:
		return s.unsubscribe(f, c)
	case stomp.CmdAck:
		c.Op = destinations.Ack
		return s.acknowledge(f, c)
	case stomp.CmdNack:
		c.Op = destinations.Nack
		return s.acknowledge(f, c)
	case stomp.CmdBegin:
		return s.begin(f, c)
	case stomp.CmdCommit:
		return s.commit(f, c)
	case stomp.CmdAbort:
		return s.abort(f, c)
	case stomp.CmdDisconnect:
		c.Op, c.Clean = destinations.Disconnect, true
		s.add(c)
		return errGoodbye
	default:
		return refuse(codeConnected, "this connection is connected already")
	}
}

// named says in err which frame was refused and which receipt it wanted.
func (s *session) named(err error, f *stomp.Frame) error {
	if err == errGoodbye {
		return err
	}
	e := *asClientError(err)
	e.command = f.Command.String()
	if receipt, ok := f.Header(headerReceipt); ok && s.connected {
		e.receipt, e.refused = string(receipt), true
	}
	return &e
}

// required returns the value of a header that must be there.
func required(f *stomp.Frame, name string) (string, error) {
	v, ok := f.Header(name)
	if !ok {
		return "", missing(name)
	}
	return string(v), nil
}

func missing(name string) error { return refuse(codeHeader, "the header %s is missing", name) }

// truth reads a header that is true or false.
func truth(f *stomp.Frame, name string, otherwise bool) (bool, error) {
	v, ok := f.Header(name)
	if !ok {
		return otherwise, nil
	}
	switch string(v) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, refuse(codeHeader, "the header %s must be true or false", name)
}

// count reads a header that is a number from 1 to most; 0 if it is not there.
func count(f *stomp.Frame, name string, most int64) (int64, error) {
	return countOr(f, name, most, "")
}

// countOr is count where a caller has looked for other values, as or says.
func countOr(f *stomp.Frame, name string, most int64, or string) (int64, error) {
	v, ok := f.Header(name)
	if !ok {
		return 0, nil
	}
	n, ok := parseNumber(string(v))
	if !ok || n < 1 || n > most {
		return 0, refuse(codeHeader, "the header %s must be a number from 1 to %d%s", name, most, or)
	}
	return n, nil
}

func (s *session) speaks() stomp.Version { return stomp.Version(s.version.Load()) }

// send makes a message of a SEND.
func (s *session) send(f *stomp.Frame, c *destinations.Command) error {
	target, err := s.target(f)
	if err != nil {
		return err
	}
	if target.Existing, err = existing(f, target.Existing); err != nil {
		return err
	}
	if target.Destination == schedulerManagement {
		return s.manageSchedule(f, c)
	}
	persistent, err := truth(f, headerPersistent, s.lastStored)
	if err != nil {
		return err
	}
	tx, err := s.openTransaction(f)
	if err != nil {
		return err
	}
	replyTo, err := s.replyTo(f)
	if err != nil {
		return err
	}
	persistent = persistent && !target.Destination.Temporary()
	size := sendBytes(&target, f)
	if tx != nil {
		var copies int64
		if target.Message, copies, err = s.newMessage(f, persistent, replyTo); err != nil {
			return err
		}
		tx.copies, tx.stored = max(tx.copies, copies), tx.stored || persistent
		return s.sendInTransaction(tx, target, size, c)
	}
	if err := s.server.budget.take(size); err != nil {
		return err
	}
	msg, copies, err := s.newMessage(f, persistent, replyTo)
	if err == nil && persistent {
		err = s.keepCopies(c, copies)
	}
	if err != nil {
		s.server.budget.give(size)
		return err
	}
	c.Op, c.Destination, c.Existing, c.Message = destinations.Send, target.Destination, target.Existing, msg
	if target.Also != nil || s.clientID != "" {
		c.More = s.sending(target.Also)
	}
	s.addSends(c, len(msg.Content), size)
	return nil
}

// sending is what a SEND says beyond what all say. That of a client that names
// itself is mostly the same.
func (s *session) sending(also []destinations.Destination) *destinations.More {
	if also != nil {
		return &destinations.More{Also: also, Client: s.clientID}
	}
	if s.lastMore == nil {
		s.lastMore = &destinations.More{Client: s.clientID}
	}
	return s.lastMore
}

// target is where a SEND goes: an Outgoing without its message.
func (s *session) target(f *stomp.Frame) (destinations.Outgoing, error) {
	name, ok := f.Header(headerDestination)
	if !ok {
		return destinations.Outgoing{}, refuse(codeHeader, "the header destination is missing")
	}
	if s.lastName != "" && string(name) == s.lastName {
		return s.lastTarget, nil
	}
	target, err := s.targetNamed(string(name))
	if err == nil {
		s.lastName, s.lastTarget = string(name), target
		s.lastStored = s.server.opts.Machine.Policies.For(target.Destination, s.server.plain).DefaultPersistent
	}
	return target, err
}

// targetNamed reads one destination, or a composite one.
func (s *session) targetNamed(name string) (destinations.Outgoing, error) {
	name, existing := queueNamed(name)
	if !strings.Contains(name, ",") {
		d, err := s.destinationNamed(name)
		return destinations.Outgoing{Destination: d, Existing: existing}, err
	}
	all, err := s.server.names.ParseAll(name)
	if err != nil {
		return destinations.Outgoing{}, err
	}
	return destinations.Outgoing{Destination: all[0], Also: all[1:], Existing: existing}, nil
}

// amqQueue is RabbitMQ's spelling of a queue that must exist already.
const amqQueue = "/amq/queue/"

// queueNamed puts the usual spelling of a queue in the place of RabbitMQ's, and
// says whether it was that.
func queueNamed(name string) (usual string, existing bool) {
	if queue, ok := strings.CutPrefix(name, amqQueue); ok {
		return "/queue/" + queue, true
	}
	return name, false
}

// existing says whether the destination of a SEND or SUBSCRIBE must exist
// already: spelled says that its name says so.
func existing(f *stomp.Frame, spelled bool) (bool, error) {
	create, err := truth(f, headerCreate, true)
	return spelled || !create, err
}

// newMessage copies what a message is out of its frame: one allocation holds
// the headers and the body as they came. A replyTo takes the place of the header
// reply-to, and a timestamp is added where there is none. So many copies of it must be
// kept.
func (s *session) newMessage(f *stomp.Frame, persistent bool, replyTo string) (m *destinations.Message, copies int64, err error) {
	content := make([]byte, 0, f.HeaderBytes()+stampBytes+1+len(f.Body))
	var roles role
	content, form := f.AppendHeaders(content, func(name []byte) bool {
		r := roleOf(name)
		roles |= r
		return r&roleReserved != 0 || replyTo != "" && string(name) == headerReplyTo
	})
	if replyTo != "" {
		content = stomp.AppendHeader(content, s.speaks(), headerReplyTo, replyTo)
		form = stomp.FormOf(content, s.speaks())
	}
	if roles&roleStamp == 0 {
		content = appendStamp(content, s.heard)
	}
	headerBytes := len(content)
	content = append(content, '\n')
	content = append(content, f.Body...)
	m = &destinations.Message{Content: content, HeaderBytes: int32(headerBytes), Form: uint8(form), Persistent: persistent}
	copies = 1
	if roles&roleCopies != 0 {
		if copies, err = s.minCopies(f); err != nil {
			return nil, 0, err
		}
		if copies > 1 && !persistent {
			return nil, 0, refuse(codeHeader, "the header min-copies asks for %d brokers that keep this, and it is not stored: it is not persistent, or for a temporary destination", copies)
		}
	}
	if roles&roleProperties != 0 {
		m.Props, err = properties(f, roles)
	}
	return m, copies, err
}

// A role says what the headers of a SEND are for, beyond being passed on.
type role uint16

const (
	roleReserved role = 1 << iota // it is not passed on
	roleStamp                     // it says when the message was made
	rolePriority
	roleExpiry
	roleSchedule
	roleGroup
	roleDedup
	roleLastValue
	roleCopies // it says how many brokers must keep the message

	roleProperties = rolePriority | roleExpiry | roleSchedule | roleGroup | roleDedup | roleLastValue // properties reads it
)

// roleOf says what a header of a SEND is for. Reserved are those that speak to
// the broker, and those that only the broker may write on a MESSAGE, so that none
// of them can be forged.
func roleOf(name []byte) role {
	switch string(name) {
	case headerTimestamp:
		return roleStamp
	case headerPriority:
		return rolePriority
	case headerExpiration, headerMessageTTL:
		return roleExpiry
	case headerExpires:
		return roleExpiry | roleReserved
	case headerScheduledDelay, headerXDelay, headerScheduledTime, headerScheduledPeriod, headerScheduledRepeat, headerScheduledCron:
		return roleSchedule | roleReserved
	case headerGroupID, headerGroupSeq:
		return roleGroup
	case headerDeduplicationID, headerDuplicateID, headerXDeduplicationID:
		return roleDedup
	case headerLastValueKey, headerLastValueName:
		return roleLastValue
	case headerMinCopies:
		return roleCopies | roleReserved
	case headerDestination, headerCreate, headerReceipt, headerTransaction, headerContentLength, headerLogin, headerPasscode,
		headerMessageID, headerSubscription, headerAck, headerRedelivered, headerDeliveryCount,
		headerJMSXDeliveryCount, headerJMSXUserID, headerReceiptID, headerVersion, headerSession, headerServer, headerHeartBeat,
		headerGroupFirst, headerOriginalDestination, headerOriginalMessageID, headerOriginalExpiration, headerDLQReason, headerDLQCount, headerDLQTime,
		headerScheduledJobID, headerDropped:
		return roleReserved
	}
	if len(name) > 9 && string(name[:9]) == "x-broker-" {
		return roleReserved
	}
	return 0
}

// acknowledge reads an ACK or NACK. 1.2 names the delivery by its ack header;
// 1.1 by message and subscription, 1.0 by message alone.
func (s *session) acknowledge(f *stomp.Frame, c *destinations.Command) error {
	version := s.speaks()
	if c.Op == destinations.Nack && version == stomp.V10 {
		return refuse(codeProtocol, "STOMP 1.0 has no NACK")
	}
	var err error
	if version == stomp.V12 {
		c.Delivery, err = s.deliveryByAck(f)
	} else {
		c.Delivery, err = s.deliveryByMessage(f)
		if subscription, ok := f.Header(headerSubscription); ok {
			c.Subscription = string(subscription)
		} else if version == stomp.V11 && err == nil {
			err = refuse(codeHeader, "the header subscription is missing")
		}
	}
	if err != nil {
		return err
	}
	if c.Op == destinations.Nack {
		if err := refusal(f, c); err != nil {
			return err
		}
	}
	tx, err := s.openTransaction(f)
	if err != nil {
		return err
	}
	if tx != nil {
		if err := s.grow(tx, 0, 0); err != nil {
			return err
		}
		c.More = tx.acknowledging(c.More)
	} else if c.WantReceipt {
		if err := s.keepCopies(c, 1); err != nil {
			return err
		}
	}
	s.add(c)
	return nil
}

func (s *session) deliveryByAck(f *stomp.Frame) (destinations.DeliveryID, error) {
	id, ok := f.Header(headerID)
	if !ok {
		return destinations.DeliveryID{}, missing(headerID)
	}
	d, ok := parseAckID(string(id), s.mark)
	if !ok {
		return d, unknownID(headerID, string(id))
	}
	return d, nil
}

func (s *session) deliveryByMessage(f *stomp.Frame) (destinations.DeliveryID, error) {
	id, ok := f.Header(headerMessageID)
	if !ok {
		return destinations.DeliveryID{}, missing(headerMessageID)
	}
	d, ok := parseMessageID(s.server.name, string(id))
	if !ok {
		return d, unknownID(headerMessageID, string(id))
	}
	return d, nil
}

func unknownID(header, id string) *clientError {
	return refuse(destinations.CodeUnknownAck, "no message was delivered on this connection with the %s %q", header, excerpt(id))
}
