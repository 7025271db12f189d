package destinations

import "strings"

// A Fact is something that happened in a Step and that the caller may report to
// people. Facts change nothing: they are told only while somebody subscribes to
// one of the broker's topics of reports, see Machine.Observed.
type Fact struct {
	Kind         FactKind
	Session      uint64 // of a subscription
	Subscription string // the client's own id of it
	Destination  string // as its clients write it; of a subscription, all that it names with commas between them
	Reason       string // of DeadLettered: a Reason constant; of Dropped: DroppedFull or DroppedUnclaimed
	Messages     int    // how many are concerned; of QueueFull, how often a message or a transaction found it so
}

// A FactKind is what a Fact is about.
type FactKind uint8

// The kinds of facts.
const (
	_                 FactKind = iota
	SubscriptionMade           // Session, Subscription, Destination
	SubscriptionEnded          // the same
	DestinationMade            // Destination
	DestinationGone            // Destination
	ConsumerSlow               // Session, Subscription, Destination, Messages: copies it lost to its pending limit
	QueueFull                  // Destination, Messages
	DeadLettered               // Destination, Reason, Messages
	Expired                    // Destination, Messages
	Dropped                    // Destination, Reason, Messages
)

// Why messages are dropped.
const (
	DroppedFull      = "full"      // their queue was, and its policy has it so
	DroppedUnclaimed = "unclaimed" // they were for a temporary queue that was gone or full, or nobody took them from it
)

// ReportsPrefix begins the names of the topics on which the broker reports.
// Clients may subscribe to them and not send to them.
const ReportsPrefix = "$SYS."

// reports says that d is one of the topics on which the broker reports.
func (d Destination) reports() bool { return d.Topic && strings.HasPrefix(d.Name, ReportsPrefix) }

// Observed says whether somebody subscribes to a topic of reports.
func (m *Machine) Observed() bool { return m.observers > 0 }

// maxFacts is how many one Effects holds.
const maxFacts = 4096

// tell adds a fact to the effects of the Step in progress. One that is like the
// last, but for the number of messages, is joined with it.
func (m *Machine) tell(f Fact) {
	out := m.out
	if n := len(out.Facts); n > 0 {
		last := &out.Facts[n-1]
		like := *last
		if like.Messages = f.Messages; like == f {
			last.Messages += f.Messages
			return
		}
	}
	if len(out.Facts) == maxFacts {
		out.Untold++
		return
	}
	out.Facts = append(out.Facts, f)
}

// note tells a fact about a destination, unless it is one of reports: a report
// on reports would make the next.
func (m *Machine) note(kind FactKind, d Destination, reason string, messages int) {
	if m.observers > 0 && messages > 0 && !d.reports() {
		m.tell(Fact{Kind: kind, Destination: d.written(), Reason: reason, Messages: messages})
	}
}

// noteDestination tells that a destination was made or is gone, if clients can
// name it.
func (m *Machine) noteDestination(kind FactKind, d Destination) {
	if m.observers > 0 && d.visible() {
		m.tell(Fact{Kind: kind, Destination: d.String()})
	}
}

// noteSubscription tells a fact about s, while it has its sources.
func (m *Machine) noteSubscription(kind FactKind, s *subscription, messages int) {
	if m.observers > 0 {
		m.tell(Fact{Kind: kind, Session: s.session.id, Subscription: s.id, Destination: s.written(), Messages: messages})
	}
}

// written is what s subscribes to.
func (s *subscription) written() string {
	if len(s.watches) == 0 {
		return s.sources[0].queue.destination.written()
	}
	all := make([]string, len(s.watches))
	for i, p := range s.watches {
		all[i] = p.String()
	}
	return strings.Join(all, ",")
}

// written is d as its owner writes it: who knows the address of a temporary
// destination may send to it, so that is nobody else's business.
func (d Destination) written() string {
	if d.Temporary() {
		return d.Own()
	}
	return d.String()
}
