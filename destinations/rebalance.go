package destinations

// Where the policy is RebalanceGroups, a consumer that joins a queue gets its share of
// the groups that there are, from those that have more. One that has messages in
// flight moves when they have come back or are settled: until then it is blocked,
// so that no two consumers work on one group.
//
// So do all groups move to the one consumer of an exclusive queue, whatever the
// policy.

// rebalance gives src, which has just come, its share, and what those had who stand by
// from now on.
func (m *Machine) rebalance(src *source) {
	q := src.queue
	if len(q.groups) == 0 {
		return
	}
	if q.homed() {
		if m.changesHomes(src) {
			m.rehome(q)
		}
	} else {
		m.callBack(src)
	}
	switch {
	case q.active == nil && src.sub.consumer.Member != "":
		return
	case q.active == src:
		m.concentrate(q)
		return
	case q.active != nil || !q.policy.RebalanceGroups:
		return
	}
	peers, groups := 0, 0
	for _, o := range q.members.places {
		if src.equals(o) {
			peers++
			groups += o.share()
		}
	}
	share := groups / peers
	for _, o := range q.members.places {
		if src.equals(o) && o != src {
			m.yield(o, src, min(o.share()-share, share-src.share()))
		}
	}
}

// callBack gives src, a consumer of this broker, the groups of those who stand by
// from now on.
func (m *Machine) callBack(src *source) {
	for _, o := range src.queue.members.places {
		if o != nil && o.sub.consumer.Spare && src.queue.locals > 0 {
			m.yield(o, src, o.groups.len())
		}
	}
}

// concentrate moves all groups to the active consumer of q, if it has one.
func (m *Machine) concentrate(q *queue) {
	if q.active == nil {
		return
	}
	for _, o := range q.members.places {
		if o == nil || o == q.active {
			continue
		}
		for _, g := range o.groups.places {
			if g != nil && g.next != q.active {
				g.stay()
			}
		}
		m.yield(o, q.active, o.groups.len())
	}
}

// equals says that groups may as well belong to o, which may be nil, as to src.
func (src *source) equals(o *source) bool {
	return o != nil && o.view == src.view && o.sub.consumer.Priority == src.sub.consumer.Priority
}

// share is how many groups src has, once those have moved that are to.
func (src *source) share() int { return src.groups.len() - src.going + src.coming }

// yield lets from hand so many groups over, its oldest. What is parked of them
// waits.
func (m *Machine) yield(from, to *source, n int) {
	var moving []*group
	for _, g := range from.groups.places {
		if len(moving) >= n {
			break
		}
		if g != nil && g.next == nil {
			g.moveTo(to)
			moving = append(moving, g)
		}
	}
	m.depart(from, moving)
}

func (g *group) moveTo(to *source) {
	g.next = to
	g.owner.going++
	to.coming++
}

// depart lets groups of from move for which that was said: those of which nothing is
// in flight at once.
func (m *Machine) depart(from *source, moving []*group) {
	if len(moving) == 0 {
		return
	}
	q, parked := from.queue, from.parked
	from.parked = places{}
	for p := range parked.all() {
		at, _ := q.find(p.seq, p.n)
		if g := q.groupOf(at); g.next != nil {
			g.behind.add(p)
			g.parked--
		} else {
			from.parked.add(p)
		}
	}
	flying := from.flying()
	for _, g := range moving {
		if g.flying = flying[g.id]; g.flying == 0 {
			m.handOver(q, g)
		}
	}
}

// flying counts what src has in flight of each group.
func (src *source) flying() map[string]int {
	count := map[string]int{}
	f := &src.sub.flights
	f.each(0, f.last(), func(_ uint64, fl *flight) {
		if fl.queue == src.queue {
			count[fl.at.group()]++
		}
	})
	return count
}

// handOver moves a group to its next owner. One that selects something else begins
// it anew.
func (m *Machine) handOver(q *queue, g *group) {
	to := g.next
	g.owner.groups.remove(g)
	if to.view != g.owner.view {
		m.vacate(q, g)
		return
	}
	g.stay()
	g.owner, g.known = to, false
	to.groups.add(g)
	m.goOn(q, g)
}

// stay calls a move off, if one is to be.
func (g *group) stay() {
	if g.next != nil {
		g.owner.going--
		g.next.coming--
		g.next = nil
	}
}

// callOff lets the groups stay that were to move to a consumer that has left.
func (m *Machine) callOff(src *source) {
	if src.coming == 0 {
		return
	}
	for _, o := range src.queue.members.places {
		if o == nil {
			continue
		}
		for _, g := range o.groups.places {
			if g != nil && g.next == src {
				g.stay()
				m.goOn(src.queue, g)
			}
		}
	}
}
