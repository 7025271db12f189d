package broker

import (
	"strings"

	"baton/broker/stomp"
	"baton/destinations"
)

// A durableAsked is what the headers of a SUBSCRIBE or UNSUBSCRIBE say of a
// durable subscription.
type durableAsked struct {
	id     destinations.DurableID // none if its Name is empty
	asked  bool
	shared bool
}

// durable reads which durable subscription a frame is about, in the words of
// ActiveMQ and Artemis or in those of RabbitMQ. A frame that says half of it gets
// an error: to subscribe for the time of the connection only would lose messages
// that the client counts on. subscription is the id of the subscription, and
// destination as the client wrote it.
func (s *session) durable(f *stomp.Frame, subscription, destination string) (a durableAsked, err error) {
	header, name, err := durableName(f)
	if err != nil {
		return a, err
	}
	if header == "" {
		return s.durableByID(f, subscription, destination)
	}
	if s.clientID == "" {
		return a, refuse(codeHeader, "the header %s needs a client-id in the CONNECT frame: both together name a durable subscription", header)
	}
	a.asked, a.id = true, destinations.DurableID{Client: s.clientID, Name: name}
	a.shared, err = truth(f, headerShared, false)
	return a, err
}

// durableName reads the headers of ActiveMQ and Artemis. header is empty if none
// is there.
func durableName(f *stomp.Frame) (header, name string, err error) {
	for _, h := range []string{headerSubscriptionName, headerDurableSubscription, headerDurableSubscriberName} {
		v, ok := f.Header(h)
		switch {
		case !ok:
		case len(v) == 0:
			return "", "", refuse(codeHeader, "the header %s is empty: it names a durable subscription", h)
		case header != "" && string(v) != name:
			return "", "", refuse(codeHeader, "the headers %s and %s name different durable subscriptions", header, h)
		default:
			header, name = h, string(v)
		}
	}
	return header, name, nil
}

// durableByID reads the headers of RabbitMQ, where the id of the subscription and
// its topic name it, and all who say the same share it. On queues they say what is
// so anyway.
func (s *session) durableByID(f *stomp.Frame, subscription, destination string) (a durableAsked, err error) {
	durable, err := truth(f, headerDurable, false)
	if err != nil {
		return a, err
	}
	autoDelete, err := truth(f, headerAutoDelete, !durable)
	if err != nil {
		return a, err
	}
	_, given := f.Header(headerAutoDelete)
	switch {
	case onlyQueues(destination):
		return a, nil
	case durable && (autoDelete || !given):
		return a, refuse(codeHeader, "durable:true needs auto-delete:false: both together, with an id, ask for a durable subscription")
	case !durable && !autoDelete:
		return a, refuse(codeHeader, "auto-delete:false needs durable:true: both together, with an id, ask for a durable subscription")
	case !durable:
		return a, s.sharesNothing(f)
	case subscription == "" || strings.HasPrefix(subscription, implicit):
		return a, refuse(codeHeader, "durable:true needs the header id: it names the durable subscription")
	}
	a.asked = true
	if destination != "" {
		a.id.Name = subscription + "@" + destination
	}
	a.shared, err = truth(f, headerShared, true)
	return a, err
}

// onlyQueues says whether a destination, as the client wrote it, is a queue or
// several: one topic among them makes a difference, wherever it is.
func onlyQueues(destination string) bool {
	for d := range strings.SplitSeq(destination, ",") {
		if !strings.HasPrefix(d, "/queue/") && !strings.HasPrefix(d, amqQueue) {
			return false
		}
	}
	return true
}

// sharesNothing refuses to share what is not durable.
func (s *session) sharesNothing(f *stomp.Frame) error {
	if shared, err := truth(f, headerShared, false); err != nil || !shared {
		return err
	}
	return refuse(codeHeader, "shared:true is for durable subscriptions: it needs activemq.subscriptionName, or durable:true with auto-delete:false")
}
