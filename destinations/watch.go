package destinations

import (
	"slices"
	"strings"
)

// watch makes s a consumer of all that the patterns name: of queues that are
// there and of those that will be, and of topics.
func (m *Machine) watch(s *subscription, patterns []Pattern, out *Effects) {
	s.watches = patterns
	for _, p := range patterns {
		switch {
		case p.named.Topic:
			if s.copies == nil {
				s.copies = &queue{destination: p.named, policy: m.policies.of(p.named)}
				m.consume(s, s.copies, false)
			}
			m.watchFor(s, p)
		case p.Wild():
			if p.named.virtual() && !s.consumer.Network { // that one is wanted by its name
				m.consumeNamed(s, p.named.Name, out)
			}
			m.watchFor(s, p)
			m.consumeAll(s, p)
		case !s.consumer.Network || m.shares(p.named):
			m.consumeNamed(s, p.named.Name, out)
		}
	}
}

// consumeNamed makes s a consumer of the queue of this name.
func (m *Machine) consumeNamed(s *subscription, name string, out *Effects) {
	m.establish(name, out)
	if q := m.queue(name); !s.consumes(q) {
		m.consume(s, q, false)
	}
}

func (m *Machine) watchFor(s *subscription, p Pattern) {
	m.watchers.add(p, s)
	m.watching++
	if p.named.Topic {
		m.listens(s, p.named, 1)
	} else {
		m.longsFor(s, p, true)
	}
	if p.named.reports() {
		m.observers++
	}
}

// unwatch ends what watch began with topics and wildcards.
func (m *Machine) unwatch(s *subscription) {
	for _, p := range s.watches {
		if p.named.Topic || p.Wild() {
			m.watchers.remove(p, s)
			m.watching--
			if p.named.Topic {
				m.listens(s, p.named, -1)
			} else {
				m.longsFor(s, p, false)
			}
			if p.named.reports() {
				m.observers--
			}
		}
	}
}

// consumeAll makes s a consumer of all queues that there are of a pattern, but of
// the one that is called like it.
func (m *Machine) consumeAll(s *subscription, p Pattern) {
	for _, q := range m.roster.places {
		if q != nil && p.Matches(q.destination) && q.visible() && q.destination != p.named {
			m.discover(s, q)
		}
	}
}

// visible says that clients can name q.
func (q *queue) visible() bool { return q.destination.visible() }

// visible says that clients can name d: that it is not the broker's own.
func (d Destination) visible() bool { return !strings.HasPrefix(d.Name, durablePrefix) && !own(d.Name) }

// discovered makes those consumers of a new queue who watch for such.
func (m *Machine) discovered(q *queue) {
	if m.watching > 0 && q.visible() {
		m.watchers.each(q.destination, func(s *subscription) { m.discover(s, q) })
	}
}

// discover makes s a consumer of a queue that one of its patterns matches,
// unless it is one. A wildcard in the first part does not stand for dead-letter
// queues: who consumes everything would consume what was just put aside. Another
// broker does not get what may not leave this one.
func (m *Machine) discover(s *subscription, q *queue) {
	if c := &s.consumer; c.Network && !(q.shared && (c.Only == nil || c.Only(q.destination))) {
		return
	}
	apart := m.policies.isDeadLetterQueue(q.destination) && !s.asksFor(q.destination)
	if !apart && !(len(s.watches) > 1 && s.consumes(q)) {
		m.consume(s, q, true)
	}
}

// asksFor says whether a pattern with a word as its first part matches d.
func (s *subscription) asksFor(d Destination) bool {
	return slices.ContainsFunc(s.watches, func(p Pattern) bool {
		return strings.IndexAny(p.named.Name, wildcards) != 0 && p.Matches(d)
	})
}

func (s *subscription) consumes(q *queue) bool {
	return slices.ContainsFunc(s.sources, func(src *source) bool { return src.queue == q })
}

// abandon takes a queue that is forgotten from those who consume it by a
// wildcard: nothing of it is in flight.
func (q *queue) abandon() {
	for _, src := range q.members.places {
		if src == nil {
			continue
		}
		s := src.sub
		waited := src.turn == idle
		if src.turn = left; waited {
			s.lostIdle()
		}
		end := len(s.sources) - 1
		s.sources[src.index] = s.sources[end]
		s.sources[src.index].index = src.index
		s.sources[end] = nil
		s.sources = s.sources[:end]
	}
	q.members = roster[*source]{}
}

// replenish lets a subscription that may have credit again go on.
func (m *Machine) replenish(s *subscription) {
	if s.copies != nil && s.copies.reader != nil { // which may have stopped for want of credit, with nothing in turn
		m.touch(s.copies)
	}
	if len(s.idle) == 0 && !s.parked || !s.hasCredit() {
		return
	}
	m.unparkable(s)
	for i, src := range s.idle {
		s.idle[i] = nil
		if src.turn == idle {
			src.turn = outOfTurn
			src.queue.join(src)
			m.touch(src.queue)
		}
	}
	s.idle, s.lost = s.idle[:0], 0
}

// lostIdle counts that the queue of one of those in idle was forgotten. When most
// are, the places are given back: one without credit may see any number of queues
// come and go.
func (s *subscription) lostIdle() {
	if s.lost++; s.lost <= len(s.idle)/2 {
		return
	}
	s.idle = slices.DeleteFunc(s.idle, func(src *source) bool { return src.turn != idle })
	s.lost = 0
}

// MaxSources is how many destinations one subscription may name.
const MaxSources = 16

// ParseSources reads the destinations of a SUBSCRIBE: what Parse reads, or
// several patterns with commas between them: "/queue/orders.*,/topic/news.>".
// Of the broker's own names, only those of its topics of reports are allowed.
func (n Names) ParseSources(s string) (Destination, []Pattern, error) {
	if !strings.ContainsAny(s, wildcards+",") {
		if strings.HasPrefix(s, topicPrefix+ReportsPrefix) {
			p, err := n.ParsePattern(s)
			return p.named, nil, err
		}
		d, err := n.Parse(s)
		return d, nil, err
	}
	parts := strings.Split(s, ",")
	if len(parts) > MaxSources {
		return Destination{}, nil, destinationError("the destination has %d parts with commas between them; at most %d are allowed", len(parts), MaxSources)
	}
	sources := make([]Pattern, 0, len(parts))
	for _, part := range parts {
		part = strings.TrimSpace(part)
		if part == "" {
			return Destination{}, nil, emptyPart(s)
		}
		p, err := n.ParsePattern(part)
		if err != nil {
			return Destination{}, nil, err
		}
		if own(p.named.Name) && !p.named.reports() {
			return Destination{}, nil, destinationError("destination names that begin with $ are the broker's own: %s", quote(part))
		}
		sources = append(sources, p)
	}
	return Destination{}, sources, nil
}
