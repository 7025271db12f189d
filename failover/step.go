package failover

import "time"

// Step takes an event at now, on a clock that goes on while the machine sleeps, and appends to out what is to be done about
// it. It never blocks, and takes no memory for OnAppended, OnDurable and a signal Flushed if out has room.
func (s *State) Step(now time.Duration, e Event, out []Action) []Action {
	if s.role == StoodDown {
		return out
	}
	t := turn{State: s, now: now, out: out}
	t.take(&e)
	return t.out
}

// A turn is one Step on its way.
type turn struct {
	*State
	now time.Duration
	out []Action
}

func (t *turn) do(a Action) { t.out = append(t.out, a) }

func (t *turn) take(e *Event) {
	if e.Link != 0 && e.Kind != OnLinked && e.Link != t.peer.link {
		return // an old connection; e.Link is 0 in events of other kinds
	}
	switch e.Kind {
	case OnAppended:
		t.appended(e.Seq, e.Epoch)
	case OnDurable:
		t.durable = max(t.durable, e.Seq)
		t.end = max(t.end, e.Seq) // what a frame brought while its connection ended
		t.advance()
	case OnSignal:
		t.signal(&e.Signal)
	case OnTick:
		t.tick()
	case OnSeen:
		t.look(e)
	case OnAnswer:
		t.answer(e)
	case OnLinked:
		t.linked(e.Link, e.Peer)
	case OnUnlinked:
		t.unlinked()
	case OnUnreached:
		t.unreached(e.Dead)
	case OnStranger:
		t.estranged()
	case OnPlanned:
		t.planned(e)
	case OnNear:
		t.near()
	case OnSnapshot:
		t.needsSnapshot()
	case OnRead:
		t.read()
	case OnSpace:
		t.spaceIs(e.Space)
	case OnActivated:
		t.activated()
	case OnSwitchover:
		t.switchover()
	case OnDrained:
		t.drain(e.Seq)
	case OnPromote:
		t.promote()
	case OnPromoteOver:
		t.forced = false
	case OnFault:
		t.fault()
	case OnLeaving:
		t.leaving = true
		t.switchover()
	case OnLeave:
		t.leave()
	}
}

func (t *turn) signal(s *Signal) {
	switch {
	case t.peer.link == 0:
	case s.Kind == Fence:
		t.higher(s.Epoch)
	case s.Epoch < t.kept.Promised:
		t.send(Signal{Kind: Fence, Epoch: t.kept.Promised}) // R7
	case s.Kind == Flushed:
		t.flushed(s)
	case s.Kind == Beacon:
		t.beacon(s)
	case s.Kind == BeaconAck:
		t.beaconAck(s)
	case s.Kind == Handoff, s.Kind == Release:
		t.released()
	}
}

// tick serves the timers that are due.
func (t *turn) tick() {
	for timer, at := range t.due {
		if at == 0 || at > t.now || t.role == StoodDown {
			continue
		}
		t.due[timer] = 0
		t.ring(timer)
	}
}

func (t *turn) ring(timer int) {
	switch timer {
	case timerPromise:
		t.promiseOver()
	case timerProbe:
		t.do(Action{Kind: DoProbe})
	case timerBootstrap:
		t.seek()
	case timerRetry:
		t.do(Action{Kind: DoRead})
	case timerBeacon:
		t.sendBeacon()
	case timerSilence, timerStall:
		t.missed()
	case timerHold:
		t.refuse()
	case timerFence:
		t.isolated()
	case timerRefresh:
		t.refresh()
	case timerDrain:
		t.drainedTooLate()
	}
}

func (t *turn) set(timer int, after time.Duration) { t.due[timer] = t.now + after }

func (t *turn) send(s Signal) {
	if t.peer.link != 0 {
		t.do(Action{Kind: DoSend, Link: t.peer.link, Signal: s})
	}
}

func (t *turn) hangup() {
	if t.peer.link != 0 {
		t.do(Action{Kind: DoHangup, Link: t.peer.link})
		t.unlink()
	}
}

// unlink forgets the peer, but for what it knows of the pair: a register that knows less is as suspicious after the connection.
func (t *turn) unlink() {
	p := &t.peer.says
	t.peer = peer{last: t.peer.last, says: Peer{Cluster: p.Cluster, Promised: p.Promised, RegRev: p.RegRev}}
}

// persist has Kept on the disk before anything else is done.
func (t *turn) persist() { t.do(Action{Kind: DoPersist, Kept: t.kept}) }

// standDown ends this State.
func (t *turn) standDown(why Why) {
	t.do(Action{Kind: DoLease, Until: t.now})
	t.do(Action{Kind: DoStandDown, Why: why})
	t.role, t.lease, t.due = StoodDown, t.now, [timers]time.Duration{}
}

// higher is R7: somebody knows of a higher epoch than this node's. Who is master is so no longer; who follows looks for
// another.
func (t *turn) higher(epoch uint32) {
	switch {
	case epoch <= t.epoch:
	case t.role.IsMaster():
		t.superseded(epoch)
	case t.role == Syncing || t.role == Standby:
		t.send(Signal{Kind: Fence, Epoch: epoch})
		t.hangup()
		t.alone()
	}
}

// superseded ends a master that hears of a higher epoch. One that has asked for the peer to be master, when all was on both, or
// for the register to be written anew, has what it wanted, though the answer may still be on its way.
func (t *turn) superseded(epoch uint32) {
	why := Superseded
	switch ask := &t.ask; {
	case t.draining == drainAsk:
		why = HandedOver
	case ask.purpose == askReseed && epoch == ask.record.Epoch && (ask.open || t.seen.Record.Nonce == ask.record.Nonce):
		why = Reseeded
	}
	t.standDown(why)
}

func (t *turn) leave() {
	t.send(Signal{Kind: Release, Epoch: max(t.epoch, t.kept.Promised)})
	t.role, t.due = StoodDown, [timers]time.Duration{}
}
