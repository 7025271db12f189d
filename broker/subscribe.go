package broker

import (
	"maps"

	"baton/broker/stomp"
	"baton/destinations"
)

func (s *session) subscribe(f *stomp.Frame, c destinations.Command) error {
	name, err := required(f, headerDestination)
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

// supported refuses a SUBSCRIBE whose headers ask for what is not there yet:
// to ignore them would give the wrong messages to the wrong consumers.
func supported(f *stomp.Frame) error {
	for _, name := range []string{
		headerSelector, headerSubscriptionName, headerDurableSubscription, headerDurableSubscriberName,
	} {
		if v, ok := f.Header(name); ok && len(v) > 0 {
			return refuse(codeUnsupported, "the header %s is not supported", name)
		}
	}
	for _, name := range []string{
		headerDurable, headerBrowser, headerActiveMQExclusive, headerExclusive, headerNoLocal, headerActiveMQNoLocal, headerRetroactive,
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
	requeue, err := truth(f, headerRequeue, true)
	if err != nil {
		return c, err
	}
	c.RejectNacks = !requeue
	if c.Ack, err = s.ackMode(f); err != nil {
		return c, err
	}
	for _, name := range []string{headerPrefetchCount, headerPrefetchSize} {
		n, err := count(f, name, maxPrefetch)
		if err != nil {
			return c, err
		}
		if c.Prefetch == 0 {
			c.Prefetch = int(n)
		}
	}
	c.PrefetchBytes, err = count(f, headerWindowSize, maxPrefetchBytes)
	return c, err
}

const (
	maxPrefetch      = 65_535
	maxPrefetchBytes = 256 << 20
)

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

func (s *session) unsubscribe(f *stomp.Frame, c destinations.Command) error {
	destination, _ := f.Header(headerDestination)
	id, err := s.subscriptionID(f, string(destination))
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
	c.Op, c.Subscription = destinations.Unsubscribe, id
	s.add(c)
	return nil
}
