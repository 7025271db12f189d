package destinations

// A topic is its subscriptions, in the order of their making: but for those
// with wildcards or several destinations, which are in Machine.watchers.
type topic struct {
	policy *Policy
	roster[*subscription]
}

// eachSubscriber calls fn for those who get a copy of what is sent to a topic,
// each once: those of the topic itself first, in the order of their
// making, then those with wildcards, the least specific first.
func (m *Machine) eachSubscriber(d Destination, msg *Message, fn func(*subscription)) {
	if t := m.topics[d.Name]; t != nil {
		for _, s := range t.places {
			if s != nil && m.hears(s, msg) {
				fn(s)
			}
		}
	}
	if m.watching == 0 {
		return
	}
	m.round++
	m.watchers.each(d, func(s *subscription) {
		if s.round != m.round && m.hears(s, msg) {
			s.round = m.round // another of its patterns may match too
			fn(s)
		}
	})
}

// hears says whether a topic's subscription wants msg.
func (m *Machine) hears(s *subscription, msg *Message) bool {
	return !(s.consumer.NoLocal && s.session.id == m.sender) && m.selects(s.consumer.Selector, msg)
}
