package broker

import (
	"maps"
	"strconv"

	"baton/broker/stomp"
	"baton/destinations"
	"baton/destinations/selector"
)

func (s *session) subscribe(f *stomp.Frame, c *destinations.Command) error {
	name, err := required(f, headerDestination)
	if err != nil {
		return err
	}
	usual, spelled := queueNamed(name)
	d, sources, err := s.taken(usual)
	if err != nil {
		return err
	}
	if c.Existing, err = existing(f, spelled); err != nil {
		return err
	}
	id, err := s.subscriptionID(f, name)
	if err != nil {
		return err
	}
	consumer, err := s.consumer(f)
	if err != nil {
		return err
	}
	durable, err := s.durable(f, id, name)
	if err != nil {
		return err
	}
	consumer.Durable, consumer.Shared = durable.id, durable.shared
	if consumer.Retroactive, err = retroactive(f, name); err != nil {
		return err
	}
	c.Op, c.Destination, c.Subscription, c.Consumer = destinations.Subscribe, d, id, &consumer
	if sources != nil {
		c.More = &destinations.More{Sources: sources}
	}
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
	id, ok := f.Header(headerID)
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

// consumer reads how the subscription wants its messages.
func (s *session) consumer(f *stomp.Frame) (c destinations.Consumer, err error) {
	c.ByMessageID = s.speaks() != stomp.V12
	requeue, err := truth(f, headerRequeue, true)
	if err != nil {
		return c, err
	}
	c.RejectNacks = !requeue
	if c.Ack, err = s.ackMode(f); err != nil {
		return c, err
	}
	if err := credit(f, &c); err != nil {
		return c, err
	}
	if c.Priority, err = consumerPriority(f); err != nil {
		return c, err
	}
	if c.Exclusive, err = anyTruth(f, headerExclusive, headerActiveMQExclusive, headerSingleActive); err != nil {
		return c, err
	}
	if c.Redelivery, err = redelivery(f); err != nil {
		return c, err
	}
	if c.NoLocal, err = anyTruth(f, headerNoLocal, headerActiveMQNoLocal); err != nil {
		return c, err
	}
	if c.AckTimeout, err = ackTimeout(f); err != nil {
		return c, err
	}
	if c.Lease, err = lease(f); err != nil {
		return c, err
	}
	if c.Browse, err = truth(f, headerBrowser, false); err != nil {
		return c, err
	}
	if c.Selector, err = selectorOf(f); err != nil {
		return c, err
	}
	return c, agrees(f, c)
}

const (
	maxPrefetch      = 65_535
	maxPrefetchBytes = 256 << 20
	maxPending       = 10_000_000
)

// credit reads how much may be in flight to a subscription, and wait for it.
func credit(f *stomp.Frame, c *destinations.Consumer) error {
	for _, name := range []string{headerPrefetchCount, headerPrefetchSize} {
		n, err := count(f, name, maxPrefetch)
		if err != nil {
			return err
		}
		if c.Prefetch == 0 {
			c.Prefetch = int(n)
		}
	}
	if err := window(f, c); err != nil {
		return err
	}
	if v, ok := f.Header(headerMaximumPending); ok && string(v) != "-1" { // which is ActiveMQ's default: no limit of its own
		n, err := countOr(f, headerMaximumPending, maxPending, ", or -1: no limit of its own")
		c.Pending = int(n)
		return err
	}
	return nil
}

// window reads the credit in octets. As Artemis has it, 0 is one message at a
// time, and -1 is no limit.
func window(f *stomp.Frame, c *destinations.Consumer) (err error) {
	switch v, _ := f.Header(headerWindowSize); string(v) {
	case "0":
		c.Prefetch, c.PrefetchBytes = 1, 0
	case "-1":
		c.PrefetchBytes = maxPrefetchBytes
	default:
		c.PrefetchBytes, err = countOr(f, headerWindowSize, maxPrefetchBytes, ", or 0: one message at a time, or -1: no limit")
	}
	return err
}

// selectorOf reads the selector, nil if there is none or it is empty.
func selectorOf(f *stomp.Frame) (*selector.Selector, error) {
	text, ok := f.Header(headerSelector)
	if !ok || len(text) == 0 {
		return nil, nil
	}
	sel, err := selector.Parse(string(text))
	if err != nil {
		return nil, refuse(codeHeader, "the header selector: %s", err)
	}
	return sel, nil
}

// consumerPriority reads the priority among the consumers of a queue.
func consumerPriority(f *stomp.Frame) (int, error) {
	for _, name := range []string{headerConsumerPriority, headerActiveMQPriority, headerXPriority} {
		v, ok := f.Header(name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(string(v), 10, 32)
		if err != nil {
			return 0, refuse(codeHeader, "the header %s must be a number of 32 bits", name)
		}
		return int(n), nil
	}
	return 0, nil
}

// anyTruth reads headers that mean the same: it is true if one of them is.
func anyTruth(f *stomp.Frame, names ...string) (bool, error) {
	is := false
	for _, name := range names {
		on, err := truth(f, name, false)
		if err != nil {
			return false, err
		}
		is = is || on
	}
	return is, nil
}

func (s *session) ackMode(f *stomp.Frame) (destinations.AckMode, error) {
	ack, ok := f.Header(headerAck)
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

func (s *session) unsubscribe(f *stomp.Frame, c *destinations.Command) error {
	destination, _ := f.Header(headerDestination)
	id, err := s.subscriptionID(f, string(destination))
	header, _, _ := durableName(f)
	if err != nil && header == "" { // a durable subscription is deleted by its name
		return err
	}
	durable, err := s.durable(f, id, string(destination))
	if err != nil {
		return err
	}
	if named, ok := s.unnamed[string(destination)]; ok {
		if _, given := f.Header(headerID); !given {
			id = named
		}
	}
	maps.DeleteFunc(s.unnamed, func(_, named string) bool { return named == id })
	s.addSent(s.out.autoTakenBy(id))
	s.unsubscribed(id)
	c.Op, c.Subscription, c.Delete = destinations.Unsubscribe, id, durable.asked
	c.Consumer = &destinations.Consumer{Durable: durable.id}
	s.add(c)
	return nil
}
