package failover

// What a master does: it commits what all have who may be promoted, and keeps the list of those.

func (t *turn) activated() {
	if t.role.IsMaster() {
		t.serving = true
		t.stand()
	}
}

// stand is the role of a master.
func (t *turn) stand() {
	switch {
	case t.draining != drainNot:
		t.role = HandingOver
	case !t.serving:
		t.role = Activating
	case t.held:
		t.role = Held
	case t.shared():
		t.role = Duplex
	default:
		t.role = Solo
	}
}

// shared says that the peer may be able to take over, as far as the register may ever say (R2, R3, R5).
func (s *State) shared() bool { return s.listed != ID{} || s.doubted != ID{} }

// welcome begins to replicate to a peer, unless it knows better who is master.
func (t *turn) welcome(p *Peer) {
	switch epoch := max(p.Promised, p.Epoch); {
	case epoch > t.epoch:
		t.superseded(epoch)
	case p.Master:
		t.send(Signal{Kind: Fence, Epoch: t.epoch})
		t.hangup()
	case t.lacks(p):
		t.rolledBack()
		t.hold()
	default:
		t.do(Action{Kind: DoReplicate, Link: t.peer.link, Epoch: t.epoch})
		t.sendBeacon()
	}
}

// lacks says that a peer whose process or journal has just been opened is listed, and ends before what it is listed for. An old
// HELLO of one that this State knows says nothing.
func (t *turn) lacks(p *Peer) bool {
	known := p.Incarnation == t.met
	t.met = p.Incarnation
	return !known && t.shared() && t.counts() && p.End < max(t.commit, t.seen.Record.MinSeq)
}

func (t *turn) sendBeacon() {
	t.set(timerBeacon, t.terms.Beacon)
	t.send(Signal{Kind: Beacon, Epoch: t.epoch, Seq: t.commit, Sent: t.now})
}

// near has writes wait for the peer from now on. When it has what was there before, it has everything that is committed.
func (t *turn) near() {
	if !t.role.IsMaster() || t.peer.near {
		return
	}
	t.peer.near, t.peer.join = true, t.end
	t.set(timerSilence, t.terms.DegradeAfter)
	t.caughtUp()
}

// needsSnapshot holds the snapshot for the peer back until a CAS of this node is done that begins now. Whatever an earlier
// process of the peer has asked of the register, with the journal that the snapshot replaces, can be done no more then. The
// peer will be in sync with another journal, and not soon: it is taken out at once.
func (t *turn) needsSnapshot() {
	if t.role.IsMaster() {
		t.peer.copyless = t.numbers
		t.set(timerRetry, t.terms.Retry)
		t.settle()
	}
}

func (t *turn) appended(seq uint64, epoch uint32) {
	t.end, t.lastEpoch = seq, max(epoch, t.lastEpoch)
	if t.due[timerStall] == 0 && t.Required() && !t.held {
		t.set(timerStall, t.terms.DegradeAfter)
	}
}

// flushed notes how far the peer's journal is durable. The same once more says that more has come of the record after it, which
// takes long: the peer is not stalled.
func (t *turn) flushed(s *Signal) {
	if !t.role.IsMaster() || s.Epoch != t.epoch || s.Seq < t.peer.flushed {
		return
	}
	t.due[timerStall] = 0
	if s.Seq < t.end && t.Required() {
		t.set(timerStall, t.terms.DegradeAfter)
	}
	if s.Seq == t.peer.flushed {
		return
	}
	t.peer.flushed = s.Seq
	t.advance()
	t.caughtUp()
}

// advance is R1: committed is what is durable here and on whoever may be promoted.
func (t *turn) advance() {
	if !t.role.IsMaster() || t.draining == drainFault {
		return
	}
	c := t.durable
	if t.Required() {
		if !t.counts() {
			return
		}
		c = min(c, t.peer.flushed)
	}
	if c > t.commit {
		t.commit = c
		t.do(Action{Kind: DoCommit, Seq: c})
	}
	t.handOver()
}

// counts says that what the peer flushes is in the journal that is required, and not in another one that it has by now.
func (s *State) counts() bool {
	id := s.peer.says.JournalID
	return s.peer.link != 0 && (s.listed == ID{} || s.listed == id) && (s.doubted == ID{} || s.doubted == id)
}

// keepsPace says that the peer has everything that is committed, that nothing will be without it, and that it has promised not
// to take over.
func (t *turn) keepsPace() bool {
	return t.peer.near && t.peer.flushed >= t.peer.join && t.peer.promised
}

// inStep says that the peer may be in sync (R3): it keeps pace, and could take over, for it knows that its log is whole and what the
// register says.
func (t *turn) inStep() bool { return t.keepsPace() && !t.peer.unread }

// caughtUp has a peer in step become in sync, or be so again.
func (t *turn) caughtUp() {
	if !t.keepsPace() {
		return
	}
	if t.held && t.counts() {
		t.release()
	}
	// While a retry is due the register has just failed: it is not asked again with each record that is flushed.
	if t.inStep() && (t.listed != t.peer.says.JournalID || t.ask.doubtful) && t.due[timerRetry] == 0 {
		t.settle()
	}
}

func (t *turn) beaconAck(s *Signal) {
	if !t.role.IsMaster() || s.Epoch != t.epoch {
		return
	}
	t.peer.promised, t.peer.unread = true, s.Seq != 0
	t.peer.lease = max(t.peer.lease, s.Sent+min(s.Lease, t.terms.Lease)-t.terms.Guard)
	if t.Required() && t.peer.flushed > 0 { // one that answers and follows not is of no use
		t.set(timerSilence, t.terms.DegradeAfter)
	}
	t.peerSpaceIs(min(Space(s.Chain), SpaceNone))
	t.grant()
	t.caughtUp()
}

// grant says until when clients may be given messages (R8): for ever while nobody else can be master.
func (t *turn) grant() {
	until := forever
	switch {
	case t.draining >= drainAsk, t.terms.Block && !t.shared(): // what could not be acknowledged is not given either
		until = t.now
	case t.shared():
		until = t.peer.lease
		if t.lease != forever {
			until = max(until, t.lease)
		}
	}
	if until != t.lease {
		t.lease = until
		t.do(Action{Kind: DoLease, Until: until})
	}
}

// parted is for a connection that has ended. The peer has a moment to come back, if it may be promoted; else writes go on.
func (t *turn) parted() {
	t.cancelSwitchover()
	t.advance()
	if t.shared() && t.due[timerSilence] == 0 && !t.held {
		t.set(timerSilence, t.terms.DegradeAfter)
	}
}

// missed is for a peer that says nothing, or flushes nothing, for too long.
func (t *turn) missed() {
	switch {
	case t.shared():
		t.hold()
	case t.peer.near:
		t.hangup() // it has not been in sync yet: writes go on without it
		t.advance()
	}
}

// hold stops committing until the peer is back or the register says that this node is alone.
func (t *turn) hold() {
	t.hangup()
	t.cancelSwitchover()
	t.due[timerSilence], t.due[timerStall] = 0, 0
	if !t.shared() {
		t.advance()
		return
	}
	if !t.held {
		t.held = true
		t.set(timerFence, t.terms.FenceAfter-t.terms.DegradeAfter) // for so long it has been silent already
		if t.terms.Block {
			t.set(timerHold, t.terms.HoldTimeout)
		}
	}
	t.stand()
	t.settle()
	t.set(timerRetry, t.terms.Retry)
}

// release ends holding.
func (t *turn) release() {
	t.held = false
	t.due[timerFence], t.due[timerHold] = 0, 0
	if t.refused {
		t.refused = false
		t.do(Action{Kind: DoAccept})
	}
	t.stand()
}

func (t *turn) refuse() {
	if t.held && !t.refused {
		t.refused = true
		t.do(Action{Kind: DoRefuse})
	}
}

// isolated is for a master that has had neither peer nor register for long: its clients may find another.
func (t *turn) isolated() {
	if t.silent && t.peer.link == 0 {
		t.standDown(Isolated)
		return
	}
	t.set(timerFence, t.terms.FenceAfter)
}

// settle asks the register for what ought to be in it.
func (t *turn) settle() {
	if !t.role.IsMaster() || !t.readable() {
		return
	}
	switch {
	case t.draining == drainAsk && t.mayLead():
		t.claim(askHandover, t.handoverRecord())
	case t.draining == drainAsk:
		t.askMembers(t.members()) // take it back
	case t.draining != drainNot:
	case t.inStep() && (t.listed != t.peer.says.JournalID || t.ask.doubtful):
		t.askMembers(t.members())
	case (t.held || t.peer.copyless != 0) && t.mayBeAlone():
		t.askMembers([]Member{t.me()})
	case t.peer.copyless != 0:
		t.askMembers(t.members())
	}
}

// mayBeAlone says that this node may leave the peer out.
func (t *turn) mayBeAlone() bool { return !t.terms.Block && !t.unread }

// members are who is in sync, as it ought to be in the register.
func (t *turn) members() []Member {
	other := Member{Node: t.partner, JournalID: t.listed}
	if t.inStep() {
		other = t.linkedMember()
	}
	if other.JournalID == (ID{}) {
		return []Member{t.me()}
	}
	return []Member{t.me(), other}
}

// linkedMember is the other node, as it is connected.
func (t *turn) linkedMember() Member {
	return Member{Node: t.peer.says.Node, JournalID: t.peer.says.JournalID}
}

func (t *turn) askMembers(members []Member) {
	t.reckonWith(members)
	r := t.recordFor(t.epoch, members...)
	r.Master = t.terms.Node
	r.MinSeq = max(r.MinSeq, t.commit)
	t.claim(askMembers, r)
}

// reckonWith has the peer count from before it is asked for on (R3): from here on it may be promoted.
func (t *turn) reckonWith(members []Member) {
	if len(members) > 1 && members[1].JournalID != t.listed {
		t.doubted = members[1].JournalID
		t.grant()
		t.stand()
	}
}

// refresh tells the register how far a journal must reach that is not rolled back, and so ends what may be in doubt.
func (t *turn) refresh() {
	t.set(timerRefresh, t.terms.Refresh)
	if t.readable() && t.draining == drainNot && (!t.held || t.terms.Block) && t.doubted == (ID{}) {
		t.askMembers(t.members())
	}
}

// settled takes a list that is known to be that of the register: what was in doubt is over (R5).
func (t *turn) settled() {
	m := t.seen.Record.other(t.terms.Node)
	changed := t.listed != m.JournalID
	t.listed, t.partner, t.doubted = m.JournalID, m.Node, ID{}
	if changed && t.seen.Record.Epoch == t.kept.Promised {
		t.kept.RegRev, t.kept.Alone = max(t.kept.RegRev, t.seen.Revision), t.listed == ID{}
		t.persist() // before anything is acknowledged alone
	}
	if t.draining == drainAsk {
		t.resume()
	}
	if t.listed == (ID{}) && t.held {
		t.release()
	}
	t.grant()
	t.tellSolo()
	t.stand()
	t.advance()
	t.letSnapshotGo()
}

// letSnapshotGo has the peer get its snapshot, if a CAS is done that is new enough; else there is to be one.
func (t *turn) letSnapshotGo() {
	switch c := t.peer.copyless; {
	case c == 0:
	case t.ask.number > c:
		t.peer.copyless = 0
		t.do(Action{Kind: DoSnapshot, Link: t.peer.link})
	default:
		t.settle()
	}
}

func (t *turn) tellSolo() {
	switch alone := t.listed == (ID{}); {
	case alone && !t.solo:
		t.solo = true
		t.do(Action{Kind: DoRaise, Alarm: AlarmSolo})
	case !alone && t.solo:
		t.solo = false
		t.do(Action{Kind: DoClear, Alarm: AlarmSolo})
	}
}
