package failover

// How a master makes the peer the master: on an operator's word (switchover), because its process is to exit, or because its own
// journal has failed (R12).

// How far it is.
const (
	drainNot   = iota
	drainPause // the broker comes to rest
	drainFlush // what it has written is to be committed
	drainAsk   // the register is asked: from here on only a newer CAS of this node goes back (R5)
	drainFault // as drainAsk, and there is no way back
)

// switchover begins one if the peer is in sync; Role tells. While the register does not answer only who exits begins one.
func (t *turn) switchover() {
	if t.role != Duplex || !t.mayLead() || t.doubted != (ID{}) || t.suspect || t.silent && !t.leaving {
		return
	}
	t.draining = drainPause
	t.set(timerDrain, t.terms.HoldTimeout)
	t.stand()
	t.do(Action{Kind: DoPause})
}

func (t *turn) drain(seq uint64) {
	if t.draining == drainPause {
		t.draining, t.drained = drainFlush, seq
		t.handOver()
	}
}

// handOver goes on when everything is on both: then clients are given nothing more, and the register is asked.
func (t *turn) handOver() {
	if t.draining != drainFlush || t.commit < t.drained || t.commit < t.end {
		return
	}
	t.draining = drainAsk
	t.grant()
	if t.goAway(); t.role == HandingOver {
		t.settle()
	}
}

// goAway is for a process that is to exit, and a register that does not answer: the peer has everything, nothing more is acknowledged
// or given to clients, and as soon as the register is back the peer asks by itself. Whether what was asked is done, or will be, makes
// no difference to it.
func (t *turn) goAway() {
	if t.draining == drainAsk && t.leaving && t.silent && !t.ask.open {
		t.send(Signal{Kind: Release, Epoch: t.epoch})
		t.standDown(Leaving)
	}
}

// handoverRecord has this node stay in sync, unless it exits: then the new master would wait for it. One that must not acknowledge
// alone does so in any case, and this node follows it as long as it takes leave of its clients.
func (t *turn) handoverRecord() Record {
	members := t.members()
	if t.leaving && !t.terms.Block {
		members = members[1:]
	}
	r := t.recordFor(t.epoch+1, members...)
	r.Master = t.peer.says.Node
	r.MinSeq = max(r.MinSeq, t.commit)
	return r
}

func (t *turn) handedOver() {
	why := HandedOver
	if t.draining == drainFault {
		why = JournalFailed
	}
	t.send(Signal{Kind: Handoff, Epoch: t.seen.Record.Epoch, Seq: t.end})
	t.standDown(why)
}

// cancelSwitchover goes back if nothing was asked yet. Otherwise settle does when it can.
func (t *turn) cancelSwitchover() {
	if t.draining == drainPause || t.draining == drainFlush {
		t.resume()
	}
}

func (t *turn) drainedTooLate() {
	t.cancelSwitchover()
	if t.draining == drainFault {
		t.standDown(JournalFailed)
	}
}

func (t *turn) resume() {
	t.draining, t.due[timerDrain] = drainNot, 0
	t.do(Action{Kind: DoResume})
	t.grant()
	t.stand()
}

// fault is R12: this node can neither acknowledge nor be promoted any more. A master has the peer take over, if that holds
// everything.
func (t *turn) fault() {
	if !t.role.IsMaster() {
		t.send(Signal{Kind: Release, Epoch: max(t.epoch, t.kept.Promised)}) // the master need not wait for this node
		t.standDown(JournalFailed)
		return
	}
	if !t.shared() || !t.counts() || !t.mayLead() || !t.readable() {
		t.standDown(JournalFailed)
		return
	}
	t.draining = drainFault
	t.grant()
	t.stand()
	clear(t.due[:])
	t.set(timerDrain, t.terms.DegradeAfter)
	r := t.recordFor(t.epoch+1, t.linkedMember())
	r.Master = t.peer.says.Node
	t.claim(askHandover, r)
}
