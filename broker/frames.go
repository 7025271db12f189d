package broker

import (
	"maps"
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
	c := destinations.Command{}
	if receipt, ok := f.Header("receipt"); ok {
		c.WantReceipt, c.Receipt = true, string(receipt)
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
	if receipt, ok := f.Header("receipt"); ok && s.connected {
		e.receipt, e.refused = string(receipt), true
	}
	return &e
}

// required returns the value of a header that must be there.
func required(f *stomp.Frame, name string) (string, error) {
	v, ok := f.Header(name)
	if !ok {
		return "", refuse(codeHeader, "the header %s is missing", name)
	}
	return string(v), nil
}

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

// send makes a message of a SEND.
func (s *session) send(f *stomp.Frame, c destinations.Command) error {
	target, err := s.target(f)
	if err != nil {
		return err
	}
	persistent, err := truth(f, "persistent", true)
	if err != nil {
		return err
	}
	tx, err := s.openTransaction(f)
	if err != nil {
		return err
	}
	size := sendBytes(target, f)
	if tx != nil {
		return s.sendInTransaction(tx, target, newMessage(f, persistent), size, c)
	}
	if err := s.server.budget.take(size); err != nil {
		return err
	}
	msg := newMessage(f, persistent)
	c.Op, c.Destination, c.Message = destinations.Send, target, msg
	s.addSends(c, len(msg.Content), size)
	return nil
}

// target is the destination of a SEND.
func (s *session) target(f *stomp.Frame) (destinations.Destination, error) {
	name, ok := f.Header("destination")
	if !ok {
		return destinations.Destination{}, refuse(codeHeader, "the header destination is missing")
	}
	if s.lastName != "" && string(name) == s.lastName {
		return s.lastTarget, nil
	}
	d, err := s.server.names.Parse(string(name))
	if err == nil {
		s.lastName, s.lastTarget = string(name), d
	}
	return d, err
}

// newMessage copies what a message is out of its frame: one allocation holds
// the headers and the body as they came.
func newMessage(f *stomp.Frame, persistent bool) *destinations.Message {
	content := make([]byte, 0, f.HeaderBytes()+1+len(f.Body))
	content, form := f.AppendHeaders(content, reserved)
	headerBytes := len(content)
	content = append(content, '\n')
	content = append(content, f.Body...)
	return &destinations.Message{Content: content, HeaderBytes: headerBytes, Form: uint8(form), Persistent: persistent}
}

// reserved says which headers of a SEND are not passed on: those that speak to
// the broker, and those that only the broker may write on a MESSAGE, so that
// none of them can be forged.
func reserved(name []byte) bool {
	switch string(name) {
	case "destination", "receipt", "transaction", "content-length", "login", "passcode",
		"message-id", "subscription", "ack", "redelivered", "delivery-count",
		"JMSXDeliveryCount", "JMSXUserID", "receipt-id", "version", "session", "server", "heart-beat",
		"original-destination", "original-message-id", "dlq-reason", "dlq-count", "dlq-time",
		stomp.DroppedHeader:
		return true
	}
	return len(name) > 9 && string(name[:9]) == "x-broker-"
}

func (s *session) subscribe(f *stomp.Frame, c destinations.Command) error {
	name, err := required(f, "destination")
	if err != nil {
		return err
	}
	d, err := s.server.names.Parse(name)
	if err != nil {
		return err
	}
	id, err := s.subscriptionID(f, name)
	if err != nil {
		return err
	}
	if err := supported(f); err != nil {
		return err
	}
	consumer, err := s.consumer(f)
	if err != nil {
		return err
	}
	c.Op, c.Destination, c.Subscription, c.Consumer = destinations.Subscribe, d, id, consumer
	s.add(c)
	if s.speaks() == stomp.V10 {
		if s.unnamed == nil {
			s.unnamed = map[string]string{}
		}
		s.unnamed[name] = id
	}
	return nil
}

// implicit begins the id of a subscription that a 1.0 client made without one.
// No header of 1.0 can hold a line feed, so it is never an id of the client's.
const implicit = "\n"

// subscriptionID is the id header. 1.0 may leave it out and mean the
// destination (STOMP 1.0, "SUBSCRIBE").
func (s *session) subscriptionID(f *stomp.Frame, destination string) (string, error) {
	id, ok := f.Header("id")
	switch {
	case ok:
		return string(id), nil
	case s.speaks() != stomp.V10:
		return "", refuse(codeHeader, "the header id is missing")
	case destination == "":
		return "", refuse(codeHeader, "one of the headers id and destination is needed")
	}
	return implicit + destination, nil
}

func (s *session) speaks() stomp.Version { return stomp.Version(s.version.Load()) }

// supported refuses a SUBSCRIBE whose headers ask for what is not there yet:
// to ignore them would give the wrong messages to the wrong consumers.
func supported(f *stomp.Frame) error {
	for _, name := range []string{
		"selector", "activemq.subscriptionName", "durable-subscription-name", "durable-subscriber-name",
	} {
		if v, ok := f.Header(name); ok && len(v) > 0 {
			return refuse(codeUnsupported, "the header %s is not supported", name)
		}
	}
	for _, name := range []string{
		"durable", "browser", "activemq.exclusive", "exclusive", "no-local", "activemq.noLocal", "activemq.retroactive",
	} {
		on, err := truth(f, name, false)
		if err != nil {
			return err
		}
		if on {
			return refuse(codeUnsupported, "the header %s:true is not supported", name)
		}
	}
	return nil
}

// consumer reads how the subscription wants its messages.
func (s *session) consumer(f *stomp.Frame) (destinations.Consumer, error) {
	c := destinations.Consumer{ByMessageID: s.speaks() != stomp.V12}
	requeue, err := truth(f, "requeue", true)
	if err != nil {
		return c, err
	}
	c.RejectNacks = !requeue
	if c.Ack, err = s.ackMode(f); err != nil {
		return c, err
	}
	for _, name := range []string{"prefetch-count", "activemq.prefetchSize"} {
		n, err := count(f, name, maxPrefetch)
		if err != nil {
			return c, err
		}
		if c.Prefetch == 0 {
			c.Prefetch = int(n)
		}
	}
	c.PrefetchBytes, err = count(f, "consumer-window-size", maxPrefetchBytes)
	return c, err
}

const (
	maxPrefetch      = 65_535
	maxPrefetchBytes = 256 << 20
)

func (s *session) ackMode(f *stomp.Frame) (destinations.AckMode, error) {
	ack, ok := f.Header("ack")
	if !ok {
		return destinations.AckAuto, nil
	}
	switch string(ack) {
	case "auto":
		return destinations.AckAuto, nil
	case "client":
		return destinations.AckClient, nil
	case "client-individual":
		return destinations.AckIndividual, nil
	}
	return 0, refuse(codeHeader, "the header ack must be auto, client or client-individual")
}

// count reads a header that is a number from 1 to most; 0 if it is not there.
func count(f *stomp.Frame, name string, most int64) (int64, error) {
	v, ok := f.Header(name)
	if !ok {
		return 0, nil
	}
	n, ok := parseNumber(string(v))
	if !ok || n < 1 || n > most {
		return 0, refuse(codeHeader, "the header %s must be a number from 1 to %d", name, most)
	}
	return n, nil
}

func (s *session) unsubscribe(f *stomp.Frame, c destinations.Command) error {
	destination, _ := f.Header("destination")
	id, err := s.subscriptionID(f, string(destination))
	if err != nil {
		return err
	}
	if named, ok := s.unnamed[string(destination)]; ok {
		if _, given := f.Header("id"); !given {
			id = named
		}
	}
	maps.DeleteFunc(s.unnamed, func(_, named string) bool { return named == id })
	s.addSent(s.out.autoTakenBy(id))
	c.Op, c.Subscription = destinations.Unsubscribe, id
	s.add(c)
	return nil
}

// acknowledge reads an ACK or NACK. 1.2 names the delivery by its ack header;
// 1.1 by message and subscription, 1.0 by message alone.
func (s *session) acknowledge(f *stomp.Frame, c destinations.Command) error {
	version := s.speaks()
	if c.Op == destinations.Nack && version == stomp.V10 {
		return refuse(codeProtocol, "STOMP 1.0 has no NACK")
	}
	var err error
	if version == stomp.V12 {
		c.Delivery, err = s.deliveryByAck(f)
	} else {
		c.Delivery, err = s.deliveryByMessage(f)
		if subscription, ok := f.Header("subscription"); ok {
			c.Subscription = string(subscription)
		} else if version == stomp.V11 && err == nil {
			err = refuse(codeHeader, "the header subscription is missing")
		}
	}
	if err != nil {
		return err
	}
	requeue, err := truth(f, "requeue", true)
	if err != nil {
		return err
	}
	c.Reject = !requeue
	tx, err := s.openTransaction(f)
	if err != nil {
		return err
	}
	if tx != nil {
		if err := s.grow(tx, 0, 0); err != nil {
			return err
		}
		c.Tx = tx.key
	}
	s.add(c)
	return nil
}

func (s *session) deliveryByAck(f *stomp.Frame) (destinations.DeliveryID, error) {
	id, err := required(f, "id")
	if err != nil {
		return destinations.DeliveryID{}, err
	}
	d, ok := parseAckID(id)
	if !ok {
		return d, unknownID("id", id)
	}
	return d, nil
}

func (s *session) deliveryByMessage(f *stomp.Frame) (destinations.DeliveryID, error) {
	id, err := required(f, "message-id")
	if err != nil {
		return destinations.DeliveryID{}, err
	}
	d, ok := parseMessageID(s.server.name, id)
	if !ok {
		return d, unknownID("message-id", id)
	}
	return d, nil
}

func unknownID(header, id string) error {
	if len(id) > 64 {
		id = id[:64] + "..."
	}
	return refuse(destinations.CodeUnknownAck, "no message was delivered on this connection with the %s %q", header, strings.ToValidUTF8(id, "?"))
}
