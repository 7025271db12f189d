package failover

// What a node does that is not master: it finds the peer, follows it if that is the master, and takes over when it may.

// linked takes the HELLO of the peer. It is a hint as a read of the register is: it can take a role away, and give none.
func (t *turn) linked(link uint64, p *Peer) {
	if link <= t.peer.last {
		return
	}
	t.hangup() // the old connection, if that is still there
	t.advance()
	t.peer = peer{link: link, last: link, says: *p}
	t.probed = !p.Master
	if t.due[timerBootstrap] == forever { // they have met
		t.set(timerBootstrap, t.terms.Bootstrap)
	}
	t.lookAgain()
	switch {
	case t.kept.Cluster != (ID{}) && p.Cluster != (ID{}) && p.Cluster != t.kept.Cluster:
		t.hangup()
	case t.role.IsMaster():
		t.welcome(p)
	case !p.Master:
		t.acquainted()
	case p.Epoch < t.kept.Promised:
		t.send(Signal{Kind: Fence, Epoch: t.kept.Promised})
		t.hangup()
	default:
		t.follow(p)
	}
}

// lookAgain forgets what was seen of the register where the peer knows better (R4b). Where the register still says that when it
// is read again, it is not to be believed.
func (t *turn) lookAgain() {
	if !t.role.IsMaster() && t.known && t.suspicious(&t.seen) {
		t.unsee()
		t.do(Action{Kind: DoRead})
	}
}

// follow makes the peer this node's master. Where an operator wanted to do without one, there is one after all.
func (t *turn) follow(p *Peer) {
	t.forced = false
	t.epoch = p.Epoch
	if t.role != Candidate {
		t.role = t.following()
	}
	t.promise()
	t.do(Action{Kind: DoFollow, Link: t.peer.link, Epoch: p.Epoch})
}

// following is the role of a node that is not master.
func (t *turn) following() Role {
	switch {
	case t.epoch == 0:
		return Idle
	case t.known && t.seen.Found && t.seen.Record.Lists(t.me()):
		return Standby
	}
	return Syncing
}

// acquainted is for a peer that is not master: whatever this node has promised, it was to a process that is dead, for the lock
// of a journal is exclusive, or to a master that has stood down (R13). But a HELLO may be old, from before the peer became the
// master that this node has followed since: then it had not promised that epoch itself. And a peer that the register names as
// master, and whose journal it lists, has a moment to be it: else a master that hands over, and stands by again at once, would
// take the role back.
func (t *turn) acquainted() {
	p, r := &t.peer.says, &t.seen.Record
	switch {
	case p.Promised < max(t.epoch, t.kept.Promised):
	case r.Master == p.Node && r.Lists(Member{Node: p.Node, JournalID: p.JournalID}):
		t.set(timerPromise, t.terms.Bias)
	default:
		t.due[timerPromise] = 0
	}
	t.alone()
}

// alone is for a node without a master.
func (t *turn) alone() {
	t.epoch, t.due[timerProbe] = 0, 0
	if t.role != Candidate {
		t.role = Idle
	}
	t.set(timerRetry, t.terms.Retry)
	t.seek()
}

// planned has this node keep what it promises to its master before it stores a record of it: the epoch (R7) and the pair.
func (t *turn) planned(e *Event) {
	if e.Epoch != t.epoch || e.Epoch < t.kept.Promised {
		t.hangup()
		t.alone()
		return
	}
	if e.Epoch > t.kept.Promised {
		t.kept.RegRev = t.revisionOf(e.Epoch)
	}
	t.kept.Cluster, t.kept.Promised, t.kept.Alone = e.Cluster, e.Epoch, false
	t.end, t.durable, t.lastEpoch = e.Seq, min(t.durable, e.Seq), e.Epoch
	t.persist()
}

// revisionOf is the newest that was seen of an epoch; 0: none.
func (t *turn) revisionOf(epoch uint32) uint64 {
	if t.known && t.seen.Record.Epoch == epoch {
		return t.seen.Revision
	}
	return 0
}

// beacon answers the master with a promise: no CAS for the role for the time of the lease (R8). A node with a CAS that may
// be done yet can promise nothing.
func (t *turn) beacon(s *Signal) {
	if t.role != Syncing && t.role != Standby || s.Epoch != t.epoch || t.ask.open || t.ask.doubtful {
		return
	}
	t.probed = false
	t.promise()
	ack := Signal{Kind: BeaconAck, Epoch: s.Epoch, Sent: s.Sent, Lease: t.terms.Lease, Chain: uint32(t.space)}
	if t.unread || !t.known || t.leaving {
		ack.Seq = 1 // it could not take over
	}
	t.send(ack)
}

// read is for a log that is known to be whole.
func (t *turn) read() {
	t.unread = false
	if t.role.IsMaster() {
		t.settle()
	} else {
		t.seek()
	}
}

func (t *turn) promise() {
	t.set(timerPromise, t.terms.Lease+t.terms.Bias)
	t.set(timerProbe, (t.terms.Lease+t.terms.Bias)/2)
}

// promiseOver lets a silent master go.
func (t *turn) promiseOver() {
	if t.role.IsMaster() {
		return
	}
	if t.peer.says.Master {
		t.hangup()
	}
	t.alone()
}

// Yield says whether the journal may make way for a snapshot that has come over a connection: not while a CAS is under way, or
// in doubt, that would make a master of this very journal. If it may, this State asks for the role no more.
func (s *State) Yield(link uint64) bool {
	s.yielded = s.yielded || s.peer.link == link && !s.ask.open && !s.ask.doubtful
	return s.yielded
}

// Shorten says whether the journal may be cut after a Seq, as the PLAN wants that has come over a connection: only while this
// node follows over it. If it may, what comes after that Seq counts no more, whatever becomes of the connection.
func (s *State) Shorten(link, after uint64) bool {
	if s.peer.link != link || s.role.IsMaster() {
		return false
	}
	s.end, s.durable = min(s.end, after), min(s.durable, after)
	return true
}

func (t *turn) unlinked() {
	t.unlink()
	if t.role.IsMaster() {
		t.parted()
		return
	}
	t.alone()
	t.do(Action{Kind: DoRead}) // it may be listed, or not any more, since it heard last
}

// unreached is R4b: the peer does not answer; and R13, if its process is dead.
func (t *turn) unreached(dead bool) {
	if t.role.IsMaster() {
		return
	}
	t.probed = true
	if dead && t.peer.link == 0 {
		t.due[timerPromise] = 0
	}
	t.seek()
}

// estranged is for a node at whose peer's address somebody else answers: one of the two is not set up as it should be. Each of two
// empty ones would begin a pair of its own, and clients would find two masters. So none does before they have met.
func (t *turn) estranged() {
	if !t.role.IsMaster() {
		t.due[timerBootstrap] = forever
	}
}

// released is for a peer that exits, or that has made this node the master: whatever was promised to it is void.
func (t *turn) released() {
	if t.role.IsMaster() {
		t.hold()
		return
	}
	t.peer.says.Master = false
	t.probed = true
	t.due[timerPromise] = 0
	t.alone()
	t.do(Action{Kind: DoRead})
}

// seek asks the register for the role of a master, if this node may have it.
func (t *turn) seek() {
	if t.role != Idle || t.yielded || t.leaving || !t.readable() {
		return
	}
	switch {
	case !t.seen.Found && t.mayBegin():
		t.ascend(Record{Cluster: t.kept.JournalID, Epoch: max(t.lastEpoch, t.kept.Promised) + 1, InSync: []Member{t.me()}})
	case t.seen.Found && t.mayTakeOver():
		t.ascend(t.succession())
	}
}

func (t *turn) ascend(r Record) {
	t.role = Candidate
	r.Master = t.terms.Node
	t.claim(askRole, r)
}

// mayBegin says that this node may write the first record: it never was a member of a pair (R9), and if it has no data then
// nor has the peer, as far as that can be told.
func (t *turn) mayBegin() bool {
	linked := t.peer.link != 0
	switch {
	case t.kept.Cluster != ID{}, linked && t.peer.says.Cluster != ID{}:
		return false
	case t.end > 0:
		return true
	case linked && t.peer.says.End > 0:
		return false
	}
	return t.due[timerBootstrap] == 0 || linked && t.terms.Node < t.peer.says.Node
}

// mayTakeOver is R4, with what R8 and R4b add.
func (t *turn) mayTakeOver() bool {
	r := &t.seen.Record
	return t.belongsTo(r.Cluster) && r.Lists(t.me()) && // this journal holds everything
		t.end >= r.MinSeq && t.lastEpoch <= r.Epoch && // and was not rolled back
		(!t.unread || r.Master == t.terms.Node) && // and is whole, or who else is in sync stays so
		(t.space != SpaceNone || r.other(t.terms.Node) == Member{}) && // and can be written, or nobody else can be the master
		t.probed && (t.due[timerPromise] == 0 || t.wasMaster(r))
}

// LeavesTo says that, as far as the register tells, a node is the master and this one cannot take its place.
func (s *State) LeavesTo(master string) bool {
	r := &s.seen.Record
	return s.known && s.seen.Found && !s.suspect && !s.role.IsMaster() && r.Master == master && !r.Lists(s.me())
}

// belongsTo says that this node is of that pair. It may be so without knowing: where its process died after the first record
// was written, and before the answer came.
func (t *turn) belongsTo(cluster ID) bool {
	return cluster == t.kept.Cluster || t.kept.Cluster == ID{} && cluster == t.kept.JournalID
}

// wasMaster says that this node has been master of the epoch of r. What it had promised before was over by then, and it has
// promised nothing since; else it would have promised a higher epoch, too.
func (t *turn) wasMaster(r *Record) bool {
	return r.Master == t.terms.Node && r.Epoch == t.kept.Promised
}

// succession is the record of a takeover or, if this node is the master already, of its next process: then who was in sync
// still is (R6).
func (t *turn) succession() Record {
	r := &t.seen.Record
	if r.Master == t.terms.Node {
		next := t.recordFor(r.Epoch+1, r.InSync...)
		next.Forced = r.Forced // until the next change of the master
		return next
	}
	return t.recordFor(r.Epoch+1, t.me())
}

// promote waits for what the register says now, whatever it is.
func (t *turn) promote() {
	t.forced = true
	t.do(Action{Kind: DoRead})
}

// overrule is R11 or, on a master, R9: the register is written anew, with an epoch above all that anybody has heard of.
func (t *turn) overrule(r *Reading) {
	if t.ask.open || t.yielded {
		return // until the next look
	}
	t.forced = false
	if r.Found && t.foreign(&r.Record) {
		t.doubt() // the register of another pair is not to be touched
		return
	}
	if t.role.IsMaster() && r.Found && r.Record.Epoch > t.epoch {
		t.consider(r) // it is none any more: whoever wants it back in spite of what was acknowledged since says so once more
		return
	}
	t.seen, t.known, t.beaten = *r, true, 0 // whatever has beaten it, perhaps in another register
	epoch := t.nextEpoch(r)
	if t.role.IsMaster() {
		members := t.members()
		t.reckonWith(members)
		record := t.recordFor(epoch, members...)
		record.Master, record.Overruled = t.terms.Node, epoch
		record.Forced = t.held // the other node may have taken over, and acknowledged what this one does not have
		t.claim(askReseed, record)
		return
	}
	record := t.recordFor(epoch, t.me())
	record.Forced, record.Overruled, record.MinSeq = true, epoch, min(record.MinSeq, t.durable)
	t.ascend(record)
}

// foreign says that a record is not of this node's pair nor, where it is of none yet, of the peer's.
func (t *turn) foreign(r *Record) bool {
	return !t.belongsTo(r.Cluster) && (t.kept.Cluster != (ID{}) || r.Cluster != t.peer.says.Cluster)
}

// forgotten is how many epochs there may have been of which nobody here knows, where the register has forgotten.
const forgotten = 1000

// nextEpoch is above all that there were. Where this node or its peer know of a later one than the register does, that has
// forgotten, and the other node may know of still later ones.
func (t *turn) nextEpoch(r *Reading) uint32 {
	heard := max(t.epoch, t.kept.Promised, t.lastEpoch, t.peer.says.Promised, t.peer.says.Epoch)
	if heard > r.Record.Epoch {
		return heard + forgotten
	}
	return r.Record.Epoch + 1
}

// activate begins a mastership: the CAS of this very process is done (R6).
func (t *turn) activate() {
	r := &t.seen.Record
	t.hangup()
	t.epoch, t.lastEpoch, t.commit = r.Epoch, r.Epoch, 0
	t.kept = Kept{
		Cluster: r.Cluster, JournalID: t.kept.JournalID, Promised: r.Epoch, RegRev: t.seen.Revision,
		Overruled: r.Overruled, Alone: r.other(t.terms.Node) == Member{},
	}
	t.persist()
	clear(t.due[:])
	t.role = Activating
	t.set(timerBeacon, t.terms.Beacon)
	t.set(timerRefresh, t.terms.Refresh)
	t.set(timerSilence, t.terms.DegradeAfter)
	t.believe()
	t.lease = t.now
	t.do(Action{Kind: DoLease, Until: t.now})
	t.do(Action{Kind: DoActivate, Epoch: r.Epoch})
	t.settled()
}
