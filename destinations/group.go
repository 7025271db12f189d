package destinations

// A group is the messages of a queue with one JMSXGroupID. They go to one
// consumer, its owner, in their order. What the owner has no credit for is parked:
// it waits for the owner, and messages of other groups pass it. What the owner
// does not select counts as of no group.
//
// Some messages block those after them in their group: those that wait to be
// delivered again, and those of which only the log says whether the owner selects
// them, until they were examined. The others wait behind.
//
//	owner.parked  [x1 y4 y5]     group x:  blocks [x2]  behind [x3 x6]
//
// A group begins with its first message, with the consumer that has the fewest
// groups; see also rebalance, and home.go for brokers of a network. It ends with a message of a negative JMSXGroupSeq,
// when there are very many and nothing of it is under way, or with its owner. But
// where a message waits to be delivered again, it stays without an owner, so that
// its order does.
type group struct {
	id      string
	owner   *source // nil: it has none, and blocks is not empty
	next    *source // that it is handed to when nothing of it is in flight; nil: none
	seated  int     // in owner.groups
	known   bool    // the owner has had a message of it
	flying  int     // messages that the owner has; fewer, if there was a group of this name before, unless next is set
	parked  int     // in owner.parked
	blocks  places
	behind  places // what is held and blocked
	outside places // what the owner is known not to select, if only the log could tell
}

const (
	// groupBytes and parkBytes are counted for each group and each message in one
	// of its lists.
	groupBytes = 256
	parkBytes  = 48
	// manyGroups is how many of a queue are known before those with nothing under
	// way are forgotten: a power of two, and so is when it is tried again.
	manyGroups = 1 << 16
)

func (g *group) seat() *int { return &g.seated }

// blocked says whether a message of g must wait behind another one, or until g has
// moved.
func (g *group) blocked(p place) bool {
	return g.next != nil || g.blocks.len() > 0 && g.blocks.first().compare(p) < 0
}

// waits says whether something of g is held.
func (g *group) waits() bool { return g.parked+g.blocks.len()+g.behind.len() > 0 }

// group returns the JMSXGroupID of a message, empty if it has none or counts as of
// none.
func (r ref) group() string {
	if p := r.props(); p != nil && r.slot().marks&markApart == 0 {
		return p.Group
	}
	return ""
}

func (m *Message) group() string {
	if m.Props == nil {
		return ""
	}
	return m.Props.Group
}

// groupOf returns the group of a message of q, nil if it has none or that is not
// known.
func (q *queue) groupOf(at ref) *group {
	if q.groups == nil {
		return nil
	}
	return q.groups[at.group()]
}

// addressee is who gets a message of a group when it is src's turn, in view v: nil
// if it is held.
func (m *Machine) addressee(q *queue, src *source, v *view, at ref) *source {
	m.unblock(q, at) // it has waited long enough
	g := q.groupOf(at)
	switch {
	case g == nil:
		g = m.newGroup(q, at.group())
		m.adopt(q, src, g, at)
	case g.owner == nil && g.blocked(placeOf(at)):
		m.park(q, g, at)
		return nil
	case g.owner == nil:
		m.adopt(q, src, g, at)
	}
	o := g.owner
	if o.view != v {
		mine, known := m.claims(g, at)
		switch {
		case !known:
			m.doubt(q, g, at)
			return nil
		case !mine:
			return src
		}
	}
	if g.next == nil && !o.sub.hasCredit() && m.relieve(o, o.relief()) {
		return m.addressee(q, src, v, at)
	}
	if g.blocked(placeOf(at)) || !o.sub.hasCredit() || o.parked.len() > 0 {
		m.park(q, g, at)
		return nil
	}
	return o
}

// claims says whether a message is for the owner of its group: whether that
// selects it. If known is false, only the log can tell.
func (m *Machine) claims(g *group, at ref) (mine, known bool) {
	v, msg := g.owner.view, at.slot().msg
	switch {
	case v == nil:
		return true, true
	case msg != nil:
		return m.selects(v.selector, msg), true
	case g.outside.has(placeOf(at)):
		return false, true
	}
	found := v.found.has(placeOf(at))
	return found, found
}

// adopt gives a group an owner for a message of it: where it has a home, a consumer
// there; otherwise, of those whose turn it could be as well as src's, the one that
// has the fewest.
func (m *Machine) adopt(q *queue, src *source, g *group, at ref) {
	m.unparkAll(q, &g.behind) // it may not select them
	g.owner = src
	if home := m.homeOf(q, g.id, &at); home != nil {
		g.owner = home
		g.owner.groups.add(g)
		return
	}
	for _, o := range q.members.places {
		if src.equals(o) && o.sub.hasCredit() && (q.active == nil || q.active == o) && o.share() < g.owner.share() {
			g.owner = o
		}
	}
	g.owner.groups.add(g)
}

func (m *Machine) newGroup(q *queue, id string) *group {
	if n := len(q.groups); n >= manyGroups && n&(n-1) == 0 {
		for _, g := range q.groups {
			if g.flying == 0 && !g.waits() {
				m.endGroup(q, g)
			}
		}
	}
	if q.groups == nil {
		q.groups = map[string]*group{}
	}
	g := &group{id: id}
	q.groups[id] = g
	m.bytes += groupBytes
	return g
}

// list and unlist keep a message in a list of a group, and its size.
func (m *Machine) list(l *places, p place) {
	if l.add(p) {
		m.bytes += parkBytes
	}
}

func (m *Machine) unlist(l *places, p place) bool {
	there := l.remove(p)
	if there {
		m.bytes -= parkBytes
	}
	return there
}

// park holds a message for the owner of its group, or behind what blocks that.
func (m *Machine) park(q *queue, g *group, at ref) {
	if at.slot().state == slotReady {
		q.hold(at)
	}
	if g.owner == nil || g.blocked(placeOf(at)) {
		m.list(&g.behind, placeOf(at))
		return
	}
	m.list(&g.owner.parked, placeOf(at))
	m.stir(q)
	g.parked++
	g.owner.sub.parked = true
}

// doubt holds a message until its owner's view has found out whether it is for the
// owner.
func (m *Machine) doubt(q *queue, g *group, at ref) {
	q.hold(at)
	m.list(&g.blocks, placeOf(at))
	g.owner.view.doubt.add(placeOf(at))
}

// decide ends the doubt whether a message is for the owner of its group.
func (m *Machine) decide(v *view, p place, mine bool) {
	v.doubt.remove(p)
	q := v.queue
	at, _ := q.find(p.seq, p.n)
	g := q.groupOf(at)
	if mine {
		m.unlist(&g.blocks, p)
		m.list(&g.behind, p)
	} else {
		m.list(&g.outside, p)
		m.unlist(&g.blocks, p)
		q.letGo(at)
	}
	m.goOn(q, g)
}

// block lets a message that is to wait hold up those after it in its group.
func (m *Machine) block(q *queue, at ref) {
	id := at.group()
	if id == "" {
		return
	}
	g := q.groups[id]
	if g == nil {
		g = m.newGroup(q, id)
	} else if g.owner != nil {
		if mine, known := m.claims(g, at); known && !mine {
			return
		}
	}
	m.list(&g.blocks, placeOf(at))
}

// unblock ends what block and doubt began.
func (m *Machine) unblock(q *queue, at ref) {
	g := q.groupOf(at)
	if g != nil && m.unlist(&g.blocks, placeOf(at)) {
		m.goOn(q, g)
	}
}

// goOn lets those go on that are blocked no more.
func (m *Machine) goOn(q *queue, g *group) {
	m.touch(q)
	if g.owner == nil && g.blocks.len() == 0 {
		m.endGroup(q, g)
		return
	}
	var free places
	for g.behind.len() > 0 && !g.blocked(g.behind.first()) {
		free.add(g.behind.take())
	}
	if g.owner == nil {
		m.unparkAll(q, &free)
	} else if n := free.len(); n > 0 {
		for p := range free.all() {
			g.owner.parked.add(p)
		}
		g.parked += n
		g.owner.sub.parked = true
	}
}

// servePark gives the owners of groups what is parked for them and they have
// credit for.
func (m *Machine) servePark(q *queue, out *Effects) {
	for _, src := range q.members.places {
		for src != nil && src.parked.len() > 0 && src.sub.hasCredit() {
			m.serve(src, out)
		}
	}
}

// serve gives src the first message that is parked for it, unless that must wait.
func (m *Machine) serve(src *source, out *Effects) {
	q, p := src.queue, src.parked.first()
	at, _ := q.find(p.seq, p.n)
	g := q.groupOf(at)
	m.unlist(&src.parked, p)
	g.parked--
	if g.blocked(p) {
		m.park(q, g, at)
		return
	}
	switch m.fitness(q, at, out) {
	case fit:
		q.backlog.letGo(at) // the views need not know
		q.fly(at)
		m.deliver(src, at, out)
	case waiting:
		q.letGo(at)
	}
}

// delivered notes that src gets a message of a group, and says whether it is the
// first of it for src. The last one of a group ends it; if more of that name
// waits already, that is the next group, of the same owner.
func (m *Machine) delivered(src *source, at ref) (first bool) {
	q := src.queue
	g := q.groupOf(at)
	if g == nil || g.owner != src {
		return false
	}
	first, g.known = !g.known, true
	g.flying++
	if at.props().GroupSeq < 0 {
		if g.known = false; !g.waits() {
			m.endGroup(q, g)
		}
	}
	return first
}

// landed notes that s has a message of q no more.
func (m *Machine) landed(s *subscription, q *queue, at ref) {
	g := q.groupOf(at)
	if g == nil || g.owner == nil || g.owner.sub != s {
		return
	}
	g.flying = max(g.flying-1, 0)
	if g.next != nil && g.flying == 0 {
		m.handOver(q, g)
	}
}

// regroup holds a message that is ready again for the owner of its group, so that
// it is in its place among those. Where order is kept in the whole queue, one
// that is to wait stays in front of it.
func (m *Machine) regroup(q *queue, at ref) {
	g := q.groupOf(at)
	if g == nil {
		return
	}
	m.touch(q)
	if q.policy.Redelivery.KeepOrder && at.extra().until > m.millis {
		m.block(q, at)
		return
	}
	if g.owner == nil && !g.blocked(placeOf(at)) {
		return
	}
	if g.owner != nil {
		mine, known := m.claims(g, at)
		switch {
		case !known:
			m.doubt(q, g, at)
			return
		case !mine:
			return
		}
	}
	m.park(q, g, at)
}

// resume is regroup for a message whose time has come: those behind it may follow.
func (m *Machine) resume(q *queue, at ref) {
	m.unblock(q, at)
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

// orphan ends the groups of a consumer that has left, or leaves them without an
// owner. What waited for it is ready.
func (m *Machine) orphan(src *source) {
	q, groups := src.queue, src.groups
	src.groups = roster[*group]{}
	m.unparkAll(q, &src.parked)
	for _, g := range groups.places {
		if g != nil {
			m.vacate(q, g)
		}
	}
	called := src.coming > 0
	if m.callOff(src); called || src.sub.consumer.Instead {
		m.rehome(q)
	}
}

// vacate takes the owner from a group.
func (m *Machine) vacate(q *queue, g *group) {
	v := g.owner.view
	g.stay()
	g.owner, g.known, g.flying, g.parked = nil, false, 0, 0
	m.bytes -= int64(g.outside.len()) * parkBytes
	g.outside = places{}
	var doubts places
	for p := range g.blocks.all() {
		if v != nil && v.doubt.remove(p) {
			doubts.add(p)
		}
	}
	for p := range doubts.all() {
		g.blocks.remove(p)
	}
	m.unparkAll(q, &doubts)
	m.goOn(q, g)
}

// endGroup ends a group. What waited behind is ready.
func (m *Machine) endGroup(q *queue, g *group) {
	delete(q.groups, g.id)
	if g.owner != nil {
		g.owner.groups.remove(g)
	}
	m.bytes -= groupBytes + int64(g.outside.len())*parkBytes
	m.unparkAll(q, &g.behind)
}

// unparkAll makes messages ready that were held.
func (m *Machine) unparkAll(q *queue, l *places) {
	for l.len() > 0 {
		p := l.take()
		m.bytes -= parkBytes
		at, _ := q.find(p.seq, p.n)
		q.letGo(at)
	}
}

// ungroup notes that a message leaves q.
func (m *Machine) ungroup(q *queue, at ref) {
	g := q.groupOf(at)
	if g == nil {
		return
	}
	m.unlist(&g.outside, placeOf(at))
	if at.slot().state == slotHeld {
		m.withdraw(q, at)
	}
	m.unblock(q, at)
}

// withdraw takes a held message from where it waits in its group. What it blocks
// stays blocked until it leaves its queue.
func (m *Machine) withdraw(q *queue, at ref) {
	g, p := q.groupOf(at), placeOf(at)
	if g == nil {
		return
	}
	m.unlist(&g.behind, p)
	if g.owner == nil {
		return
	}
	if m.unlist(&g.owner.parked, p) {
		g.parked--
	}
	if v := g.owner.view; v != nil {
		v.doubt.remove(p)
	}
}

// forgetGroups notes that all messages leave q, and its one consumer too.
func (m *Machine) forgetGroups(q *queue) {
	for _, g := range q.groups {
		m.bytes -= groupBytes + int64(g.blocks.len()+g.behind.len())*parkBytes
	}
	q.groups = nil
}
