package destinations

// A group is the messages of a queue with one JMSXGroupID. They go to one
// consumer, its owner, in their order. What the owner has no credit for is parked:
// it waits for the owner, and messages of other groups pass it.
//
// A group begins with its first message, with the consumer that has the fewest
// groups; so newcomers get the new groups. It ends with its owner, with a message
// of a negative JMSXGroupSeq, or when there are very many and nothing of it is
// under way.
type group struct {
	owner  *source
	known  bool    // the owner has had a message of it
	under  int     // messages in flight or parked
	held   int     // messages that wait to be delivered again: none may pass them
	behind []place // parked, while there are such
}

const (
	// groupBytes and parkBytes are counted for each group and each message that is
	// parked.
	groupBytes = 128
	parkBytes  = 48
	// manyGroups is how many of a queue are known before those with nothing under
	// way are forgotten.
	manyGroups = 1 << 16
)

// group returns the JMSXGroupID of a message, empty if it has none.
func (r ref) group() string {
	if p := r.props(); p != nil {
		return p.Group
	}
	return ""
}

// groupOf returns the group of a message of q, nil if it has none or that has no
// owner.
func (q *queue) groupOf(at ref) *group {
	if q.groups == nil {
		return nil
	}
	return q.groups[at.group()]
}

// addressee is who gets a message of a group when it is src's turn, in view v: nil
// if it was parked. What its owner does not select counts as of no group.
func (m *Machine) addressee(q *queue, src *source, v *view, at ref) *source {
	g := q.groupOf(at)
	if g == nil {
		g = m.begin(q, src, at.group())
	}
	if o := g.owner; o != src {
		switch {
		case o.view != nil && o.view != v && (at.slot().msg == nil || !m.selects(o.view.selector, at.slot().msg)):
			return src
		case !o.sub.hasCredit() || g.held > 0 || o.parked.len() > 0:
			q.hold(at)
			m.park(g, at)
			return nil
		}
		return o
	}
	if g.held > 0 {
		q.hold(at)
		m.park(g, at)
		return nil
	}
	return src
}

// begin makes a group: of those whose turn it could be as well as src's, with the
// one that has the fewest.
func (m *Machine) begin(q *queue, src *source, id string) *group {
	owner := src
	for _, o := range q.members.places {
		able := o != nil && o.view == src.view && o.sub.hasCredit() && o.sub.consumer.Priority == src.sub.consumer.Priority
		if able && (q.active == nil || q.active == o) && o.groups < owner.groups {
			owner = o
		}
	}
	if len(q.groups) >= manyGroups {
		m.forgetGroups(q, func(g *group) bool { return g.under+g.held == 0 })
	}
	g := &group{owner: owner}
	if q.groups == nil {
		q.groups = map[string]*group{}
	}
	q.groups[id] = g
	owner.groups++
	m.bytes += groupBytes
	return g
}

// park keeps a message that is held for its group's owner.
func (m *Machine) park(g *group, at ref) {
	m.bytes += parkBytes
	if g.held > 0 {
		g.behind = append(g.behind, placeOf(at))
		return
	}
	g.owner.parked.add(placeOf(at))
	g.owner.sub.parked = true
}

// servePark gives the owners of groups what is parked for them and they have
// credit for.
func (m *Machine) servePark(q *queue, out *Effects) {
	for _, src := range q.members.places {
		for src != nil && src.parked.len() > 0 && src.sub.hasCredit() {
			p := src.parked.take()
			m.bytes -= parkBytes
			at, ok := q.find(p.seq, p.n)
			if !ok || at.slot().state != slotHeld {
				continue
			}
			g := q.groupOf(at)
			if g != nil && g.held > 0 {
				m.park(g, at)
				continue
			}
			q.backlog.letGo(at)
			if m.fitness(q, at, out) == fit {
				q.fly(at)
				m.deliver(src, at, out)
			}
		}
	}
}

// delivered notes that src gets a message of a group, and says whether it is the
// first of it for src. The last one of a group ends it.
func (m *Machine) delivered(src *source, at ref) (first bool) {
	q := src.queue
	g := q.groupOf(at)
	if g == nil || g.owner != src {
		return false
	}
	first, g.known = !g.known, true
	g.under++
	if at.props().GroupSeq < 0 {
		m.endGroup(q, at.group(), g)
	}
	return first
}

// regroup parks a message that is ready again for the owner of its group, so that
// it is in its place among those.
func (m *Machine) regroup(q *queue, at ref) {
	if g := q.groupOf(at); g != nil {
		q.hold(at)
		m.park(g, at)
		m.touch(q)
	}
}

// resume is regroup for a message whose time has come: those behind it may follow.
func (m *Machine) resume(q *queue, at ref) {
	g := q.groupOf(at)
	if g == nil {
		return
	}
	if g.held--; g.held <= 0 {
		g.held = 0
		for _, p := range g.behind {
			g.owner.parked.add(p)
		}
		g.behind, g.owner.sub.parked = nil, true
	}
	m.regroup(q, at)
}

// unparkable has the queues dispatched in which something is parked for s.
func (m *Machine) unparkable(s *subscription) {
	if !s.parked {
		return
	}
	s.parked = false
	for _, src := range s.sources {
		if src.parked.len() > 0 {
			s.parked = true
			m.touch(src.queue)
		}
	}
}

// forgetGroups ends groups of q.
func (m *Machine) forgetGroups(q *queue, over func(*group) bool) {
	for id, g := range q.groups {
		if over(g) {
			m.endGroup(q, id, g)
		}
	}
}

// endGroup ends a group. What waits behind a message that waits is ready again;
// what is parked for its owner still is.
func (m *Machine) endGroup(q *queue, id string, g *group) {
	delete(q.groups, id)
	g.owner.groups--
	m.bytes -= groupBytes
	for _, p := range g.behind {
		m.unpark(q, p)
	}
}

// orphan ends the groups of a consumer that has left.
func (m *Machine) orphan(src *source) {
	if src.groups == 0 && src.parked.len() == 0 {
		return
	}
	m.forgetGroups(src.queue, func(g *group) bool { return g.owner == src })
	for src.parked.len() > 0 {
		m.unpark(src.queue, src.parked.take())
	}
}

func (m *Machine) unpark(q *queue, p place) {
	m.bytes -= parkBytes
	if at, ok := q.find(p.seq, p.n); ok && at.slot().state == slotHeld {
		q.letGo(at)
	}
}
