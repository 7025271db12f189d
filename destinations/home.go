package destinations

// Where brokers are a network, the messages of one group may be sent to any of them
// and are to reach one consumer. So each group of a queue has a home: one of the
// brokers with consumers of that queue. All brokers find the same one, without
// asking each other, for they know who has consumers: it is the one for which
// homeRank is highest. So when a broker comes or goes, the groups that it gets or
// had move, and no others.
//
//	at home       its messages go to one of the consumers here
//	elsewhere     they go to the subscription of the home, and wait for its grant
//
// A broker without a consumer that selects a message is not its home. Where a group
// has messages that different brokers select, each is the home of some.
//
// A group moves when nothing of it is in flight. What then is on its way to its
// earlier home, or waits there, comes after newer messages: it is said to be returned,
// by the network when it forwards it again, and by astray where it stays.
//
// While brokers disagree, messages go to and fro. They agree once they know what
// all others want; but some never do, such as a broker with so many selectors that
// the others take it to want everything. So what has come back to a broker a
// few times is made to count as of no group there, see Outgoing.Apart: then a
// consumer here has it, if there is one, and it goes round no more.

// homed says that the groups of q have homes. A consumer that wants to be the only
// one has all there are.
func (q *queue) homed() bool { return q.far > 0 && q.active == nil }

// member says which broker of the network src is for; ok is false where that may be
// the home of no group.
func (m *Machine) member(src *source) (name string, ok bool) {
	switch c := &src.sub.consumer; {
	case !c.Network:
		return m.opts.Member, src.queue.instead == 0
	default:
		return c.Member, c.Member != ""
	}
}

// changesHomes says that groups may have other homes since src came.
func (m *Machine) changesHomes(src *source) bool {
	if src.sub.consumer.Instead {
		return true
	}
	for _, o := range src.queue.members.places {
		if o != nil && o != src && src.atHome(o) {
			return false
		}
	}
	return true
}

// mayStray notes that groups may have other homes since src came or left.
func (m *Machine) mayStray(src *source) {
	if _, ok := m.member(src); ok && m.telling && m.changesHomes(src) {
		src.queue.strayed = m.last
	}
}

// astray says that a message has come here for its group, and may come after newer ones
// nevertheless: the group may have been elsewhere since.
func (q *queue) astray(s *slot) bool { return s.marks&markCame != 0 && s.seq <= q.strayed }

// atHome says that src and o are for the same broker.
func (src *source) atHome(o *source) bool {
	a, b := &src.sub.consumer, &o.sub.consumer
	return a.Network == b.Network && a.Member == b.Member
}

// homeOf is who gets the group with this id: at its home, of those who may select a
// message of it, one with credit, of the highest priority, with the fewest groups.
// If at is nil, whichever message it is; nil: the group has no home.
func (m *Machine) homeOf(q *queue, id string, at *ref) (best *source) {
	if !q.homed() {
		return nil
	}
	var home string
	var highest uint64
	for _, o := range q.members.places {
		if o == nil || at != nil && !m.maySelect(o, *at) {
			continue
		}
		name, ok := m.member(o)
		if !ok {
			continue
		}
		rank := homeRank(name, id)
		if best == nil || rank > highest || rank == highest && (name > home || name == home && o.before(best)) {
			best, home, highest = o, name, rank
		}
	}
	return best
}

// maySelect says that src selects a message, or that only the log can tell.
func (m *Machine) maySelect(src *source, at ref) bool {
	v, msg := src.view, at.slot().msg
	return v == nil || msg == nil || m.selects(v.selector, msg)
}

// before says that a group is for src rather than for o, at the same home.
func (src *source) before(o *source) bool {
	s, t := src.sub, o.sub
	switch {
	case s.hasCredit() != t.hasCredit():
		return s.hasCredit()
	case s.consumer.Priority != t.consumer.Priority:
		return s.consumer.Priority > t.consumer.Priority
	}
	return src.share() < o.share()
}

// homeRank is a number that all brokers find for a member and a group: FNV-1a of
// both, mixed as MurmurHash3 ends, so that members with similar names get equal
// shares. To change it is to have brokers of different versions disagree.
func homeRank(member, id string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, s := range [...]string{member, "\x00", id} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * prime
		}
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// rehome moves the groups of q that are not at home, each when nothing of it is in
// flight.
func (m *Machine) rehome(q *queue) {
	if !q.homed() || len(q.groups) == 0 {
		return
	}
	for _, from := range q.members.places {
		if from == nil {
			continue
		}
		var moving []*group
		for _, g := range from.groups.places {
			if g != nil && m.sendHome(q, g) {
				moving = append(moving, g)
			}
		}
		m.depart(from, moving)
	}
}

// sendHome has g move to its home, unless it is there or on its way. It says whether
// it is to move and was not before.
func (m *Machine) sendHome(q *queue, g *group) bool {
	home := m.homeOf(q, g.id, nil)
	moves := g.next != nil
	switch {
	case home == nil, moves && g.next.atHome(home), !moves && g.owner.atHome(home):
		return false
	case g.owner.atHome(home):
		g.stay()
		m.goOn(q, g)
		return false
	}
	g.stay()
	g.moveTo(home)
	return !moves
}

// Another broker may have several subscriptions for one queue, such as one by a wildcard.
// They are granted what different consumers want, but whichever a group has there
// gets its messages from any. So a group does not wait for one while another has credit.

// relief is who has credit, for the same broker as src, and selects the same; nil:
// nobody has.
func (src *source) relief() *source {
	if src.sub.consumer.Member == "" || src.queue.far < 2 {
		return nil
	}
	for _, o := range src.queue.members.places {
		if o != nil && o != src && src.atHome(o) && o.view == src.view && o.sub.hasCredit() {
			return o
		}
	}
	return nil
}

// relieve moves the groups of from, which has no credit, to another one, which may be nil. It
// says whether some do.
func (m *Machine) relieve(from, to *source) bool {
	if to == nil {
		return false
	}
	m.yield(from, to, from.groups.len())
	return true
}

// relieveFor relieves those for whom src, which was granted something, can do it.
func (m *Machine) relieveFor(src *source) {
	q := src.queue
	if q.far < 2 || q.groups == nil || !src.sub.hasCredit() {
		return
	}
	for _, o := range q.members.places {
		if o != nil && o != src && src.atHome(o) && o.view == src.view && o.parked.len() > 0 && !o.sub.hasCredit() {
			m.relieve(o, src)
		}
	}
}

// keepPlaces lets what a transaction holds of s, which has left, block those after it
// in their groups: it may come back.
func (m *Machine) keepPlaces(s *subscription) {
	if !s.consumer.Network {
		return
	}
	s.flights.each(0, s.flights.last(), func(_ uint64, fl *flight) {
		if fl.queue != s.copies {
			m.block(fl.queue, fl.at)
		}
	})
}
