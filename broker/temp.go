package broker

import (
	"crypto/rand"

	"baton/broker/stomp"
	"baton/destinations"
)

// A temp is a temporary destination of a session. It is made by SUBSCRIBE, as
// with ActiveMQ, or by the header reply-to of a SEND, as with RabbitMQ: then
// the broker subscribes for the session, and MESSAGEs come with the
// destination as the id of their subscription.
type temp struct {
	destination destinations.Destination
	automatic   bool // the broker has subscribed to it, with the destination as id
	asked       bool // the client has; from then on that is its own affair
}

// ownTemp returns what the session calls name, "/temp-queue/NAME", made if there
// is none. ok is false when name is no temporary destination.
func (s *session) ownTemp(name string) (t *temp, ok bool, err error) {
	if t := s.temps[name]; t != nil {
		return t, true, nil
	}
	d, ok, err := s.server.names.ParseTemporary(name)
	if !ok || err != nil {
		return nil, ok, err
	}
	if limit := s.server.opts.Machine.MaxSubscriptions; len(s.temps) >= limit {
		return nil, true, refuse(codeTempLimit, "this connection has %d temporary destinations: no more are allowed", limit)
	}
	if s.temps == nil {
		s.temps = map[string]*temp{}
	}
	t = &temp{destination: destinations.Temporary(d, destinations.AtMember(s.server.name+"-"+rand.Text(), s.server.opts.Machine.Member))}
	s.temps[name] = t
	return t, true, nil
}

// taken is what a SUBSCRIBE takes from: one destination, or several.
func (s *session) taken(name string) (d destinations.Destination, sources []destinations.Pattern, err error) {
	t, temporary, err := s.ownTemp(name)
	if err != nil {
		return d, nil, err
	}
	if temporary {
		s.release(t)
		t.asked = true
		return t.destination, nil, nil
	}
	if d, addressed, err := s.server.names.ParseAddress(name); addressed {
		return d, nil, err // the machine knows whose it is
	}
	return s.server.names.ParseSources(name)
}

// destinationNamed is the destination of a SEND.
func (s *session) destinationNamed(name string) (destinations.Destination, error) {
	if t := s.temps[name]; t != nil {
		return t.destination, nil
	}
	if _, temporary, err := s.server.names.ParseTemporary(name); err != nil {
		return destinations.Destination{}, err
	} else if temporary {
		return destinations.Destination{}, refuse(destinations.CodeBadDestination,
			"this connection has no temporary destination %q: one of another is reached by the address in reply-to", name)
	}
	if d, addressed, err := s.server.names.ParseAddress(name); addressed {
		return d, err
	}
	return s.server.names.Parse(name)
}

// replyTo reads the header reply-to of a SEND. Where it names a temporary
// destination of this session, it returns the address that others know it by;
// otherwise nothing.
func (s *session) replyTo(f *stomp.Frame) (address string, err error) {
	name, ok := f.Header(headerReplyTo)
	if !ok || len(name) < len("/temp-") || string(name[:len("/temp-")]) != "/temp-" {
		return "", nil
	}
	t, temporary, err := s.ownTemp(string(name))
	if !temporary || err != nil {
		return "", err
	}
	if !t.asked && !t.automatic {
		t.automatic = true
		s.add(&destinations.Command{
			Op: destinations.Subscribe, Subscription: t.destination.Own(), Destination: t.destination,
			Consumer: &destinations.Consumer{ByMessageID: s.speaks() != stomp.V12},
		})
	}
	if t.automatic && !t.destination.Topic {
		return t.destination.ReplyAddress(), nil
	}
	return t.destination.String(), nil
}

// release ends the subscription that the broker made to t, if there is one.
func (s *session) release(t *temp) {
	if !t.automatic {
		return
	}
	t.automatic = false
	id := t.destination.Own()
	s.addSent(s.out.autoTakenBy(id))
	s.add(&destinations.Command{Op: destinations.Unsubscribe, Subscription: id})
}

// unsubscribed notes that the client ended a subscription: it may have been one
// that the broker made.
func (s *session) unsubscribed(id string) {
	if t := s.temps[id]; t != nil {
		t.automatic = false
	}
}
