package failover

// Outside the bounds that are exact a world is made one in which more can happen, and of which there are fewer. README.md
// argues for each part; TestRelaxedWorldsMissNothing checks them together.

// relax is done after every move.
func (w *world) relax() {
	w.hurry()
	for n := range w.nodes {
		m := &w.nodes[n]
		m.kept.RegRev = 0
		w.sides[n].hello.RegRev, w.sides[n].hello.Promised = 0, 0
		if m.up {
			w.relaxState(n, &m.s)
		}
	}
	for rev := range w.regs {
		w.regs[rev].minSeq = 0
	}
	for i := range w.writes {
		w.writes[i].record.minSeq = 0
	}
	w.renumberRevisions()
	w.renumberLog()
	w.mergeWrites()
	w.forgetEpochs()
	if w.limits.timed != nil {
		w.resetClocks()
	}
}

// relaxState forgets what only ever keeps a node from asking the register: probes, promises, beacons and their answers, a
// register that cannot be believed, what has lost before. And of who is not master, what it has read: it can read it again.
func (w *world) relaxState(n int, s *State) {
	s.kept.RegRev, s.probed, s.suspect, s.silent, s.beaten, s.refused = 0, true, false, false, 0, false
	if s.peer.says.Promised, s.peer.says.RegRev = 0, 0; s.peer.link == 0 {
		s.peer.says = Peer{}
	}
	promise := s.due[timerPromise]
	clear(s.due[:])
	s.solo = s.listed == ID{}
	s.seen.Record.MinSeq = 0
	if s.role.IsMaster() {
		if s.role == Held {
			s.role = Duplex
		}
		s.held = false
		s.leaving = s.leaving && s.draining != drainNot // it says so again
	}
	if w.limits.timed != nil {
		s.due[timerPromise] = promise
		return
	}
	if s.peer.promised, s.peer.unread = s.peer.link != 0, false; s.role.IsMaster() {
		return
	}
	s.known, s.seen, s.ask.doubtful = false, Reading{}, false
	if s.role == Standby {
		s.role = Syncing
	}
}

// hurry makes at once the moves that nothing is gained by making later.
func (w *world) hurry() {
	for i := int(w.count) - 1; i >= 0; i-- {
		if c := &w.writes[i]; c.applied == writeQueued && c.expect != w.rev {
			w.lose(i)
		}
	}
	if w.limits.timed != nil {
		w.hurryLogs()
	}
	for n := range w.nodes {
		if d := &w.sides[n]; w.cut && d.phase == sideLinked && d.count == 0 && !d.fits {
			w.unlinked(n, -1)
		}
		if m := &w.nodes[n]; m.up && m.s.role.IsMaster() && !m.s.serving {
			w.perhaps(move{kind: moveActivated, node: uint8(n)})
		}
	}
}

// hurryLogs is for worlds with clocks, where nothing is looked for that rests on the logs: a master begins its epoch in its own as
// soon as it is one, and what is written is durable.
func (w *world) hurryLogs() {
	for n := range w.nodes {
		m := &w.nodes[n]
		if m.up && m.s.role.IsMaster() && w.appends(m) {
			w.append(n, -1)
		}
		if m.up && m.s.durable < m.s.end {
			w.durable(n, -1)
		}
	}
}

// lose is for a CAS that can only lose any more: its answer comes at once, if anybody waits for it.
func (w *world) lose(i int) {
	c := w.writes[i]
	w.dropWrite(i)
	if c.waited {
		w.step(int(c.node), Event{Kind: OnAnswer, Number: w.nodes[c.node].s.ask.number, Outcome: Lost}, -1)
	}
}

// renumberRevisions has those that may yet be read begin with 1. Nobody minds their number, but for their order.
func (w *world) renumberRevisions() {
	if w.rev <= 1 {
		w.floor = min(w.rev, 1)
	} else {
		by := w.rev - 1
		copy(w.regs[1:], w.regs[1+by:w.rev+1])
		clear(w.regs[w.rev+1-by:])
		w.rev -= by
		w.floor = 1
		for i := range w.count {
			c := &w.writes[i]
			c.expect, c.rev = less(c.expect, by), less(c.rev, by)
		}
		for n := range w.nodes {
			s := &w.nodes[n].s
			s.seen.Revision = less(s.seen.Revision, uint64(by))
			s.ask.expect = less(s.ask.expect, uint64(by))
		}
	}
	w.forgetOld()
	for i := range w.count {
		if c := &w.writes[i]; c.applied == writeDone {
			c.expect = 0
		}
	}
	for n := range w.nodes {
		if s := &w.nodes[n].s; !s.ask.open {
			s.ask.expect = 0
		}
	}
}

// forgetOld has who knows a revision that is read no more look again: a CAS at that one could only lose.
func (w *world) forgetOld() {
	for n := range w.nodes {
		if s := &w.nodes[n].s; s.seen.Revision < uint64(w.floor) || w.rev == 0 && !w.limits.exact {
			s.known, s.seen = false, Reading{}
		}
	}
}

func less[T uint8 | uint64](v, by T) T {
	if v <= by {
		return 0
	}
	return v - by
}

// renumberLog drops what is at the beginning of both logs, durable and acknowledged, but for the last record of it.
func (w *world) renumberLog() {
	a, b := &w.nodes[0], &w.nodes[1]
	same := uint8(0)
	for seq := uint8(1); seq <= min(w.durableEnd(0), w.durableEnd(1)) && a.log[seq] == b.log[seq] && a.log[seq] == w.committed[seq]; seq++ {
		same = seq
	}
	if same < 2 {
		return
	}
	by := same - 1
	drop := func(log *[maxSeq + 1]uint8) {
		copy(log[1:], log[1+by:])
		clear(log[maxSeq+1-by:])
	}
	drop(&w.committed)
	drop(&w.ackedIn)
	for n := range w.nodes {
		m, s, d := &w.nodes[n], &w.nodes[n].s, &w.sides[n]
		drop(&m.log)
		m.end -= by
		for _, seq := range []*uint64{&s.end, &s.durable, &s.commit, &s.drained, &s.peer.flushed, &s.peer.join} {
			*seq = less(*seq, uint64(by))
		}
		if d.phase == sideGreeted {
			drop(&d.helloLog)
			d.hello.End = less(d.hello.End, uint64(by))
		}
		d.sent = less(d.sent, by)
		if w.dialed[n] > 0 {
			w.dialed[n] = 1 + less(w.dialed[n]-1, by)
		}
		for i := range d.count {
			d.frames[i].seq, d.frames[i].of = less(d.frames[i].seq, by), less(d.frames[i].of, by)
		}
	}
}

// mergeWrites has a CAS that nobody waits for be there once, whoever sent it, and in an order that says nothing.
func (w *world) mergeWrites() {
	for i := 1; i < int(w.count); i++ {
		for k := i; k > 0 && w.writes[k].before(&w.writes[k-1]); k-- {
			w.writes[k], w.writes[k-1] = w.writes[k-1], w.writes[k]
		}
	}
	for i := int(w.count) - 1; i > 0; i-- {
		if c := &w.writes[i]; !c.waited && c.key() == w.writes[i-1].key() {
			w.dropWrite(i)
		}
	}
}

func (c *write) before(other *write) bool { return c.key() < other.key() }

// key is all of a CAS but its nonce.
func (c *write) key() uint64 {
	key := uint64(c.applied)
	if c.waited {
		key |= 4
	}
	for _, v := range []uint8{c.node, c.expect, c.rev, c.record.epoch, c.record.master, c.record.insync[0], c.record.insync[1], c.record.cluster} {
		key = key<<4 | uint64(v)
	}
	return key
}

// forgetEpochs keeps of the epoch in which a record was acknowledged what S3 asks: whether it is before an activation to come.
func (w *world) forgetEpochs() {
	for seq := range w.ackedIn {
		for w.ackedIn[seq] > 1 && w.activated[w.ackedIn[seq]] != 0 {
			w.ackedIn[seq]--
		}
	}
}
