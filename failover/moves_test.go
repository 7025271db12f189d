package failover

import (
	"fmt"
	"time"
)

// A move is something that can happen next: its kind, where, an argument, and after which action the node crashes (+1; 0: it
// does not).
type move struct {
	kind  moveKind
	node  uint8
	arg   uint8
	crash uint8
}

type moveKind uint8

const (
	moveStart     moveKind = iota // a process begins
	moveConnect                   // node dials the peer, who accepts
	moveDial                      // node sends HELLO for a second connection (R4b), which moveConnect makes later
	moveHello                     // node reads the peer's HELLO
	moveRead                      // node reads the next frame
	movePlanned                   // node's State hears that a PLAN is done
	moveUnlinked                  // node sees that the connection has ended
	moveCut                       // the connection breaks
	moveUnreached                 // node finds that the peer does not answer
	moveStranger                  // node finds that somebody else answers at the peer's address
	moveSend                      // the master sends the next record
	moveAppend                    // the master's broker writes a record
	moveDurable                   // the journal of node is synced
	moveActivated
	moveNear
	moveSee     // node reads revision arg
	moveApply   // write arg comes to the register
	moveStale   // the same, and then node reads what was there before
	moveAnswer  // its answer comes to who waits
	moveUnknown // who waits gives up
	moveLose    // a write that nobody waits for never comes
	moveRing    // timer arg rings
	moveBeacon
	moveMissed
	moveIsolated
	moveRefresh
	moveDrained
	moveTooLate
	moveSwitchover
	moveLeaving // the process of node is to exit, and hands over first; it exits by moveLeave or as if it crashed
	moveFault
	moveCrash // arg: how much of what was not durable is lost
	moveDiskLoss
	moveLeave
	moveTime // arg: which clock runs ahead, + 1
	moveKinds
)

var moveNames = [moveKinds]string{
	"start", "connect", "dial", "hello", "read", "planned", "unlinked", "cut", "unreached", "stranger", "send", "append", "durable", "activated", "near", "see",
	"apply", "stale", "answer", "unknown", "lose", "ring", "beacon", "missed", "isolated", "refresh", "drained", "too-late", "switchover", "leaving", "fault", "crash",
	"disk-loss", "leave", "time",
}

func (v move) String() string {
	text := fmt.Sprintf("%s %s", moveNames[v.kind], nodeNames[v.node])
	if v.arg != 0 {
		text += fmt.Sprintf(" %d", v.arg)
	}
	if v.crash != 0 {
		text += fmt.Sprintf(" crash-after %d", v.crash-1)
	}
	return text
}

// each calls fn with every move that may be possible in w. Those that are not do nothing, and make says so.
func (w *world) each(fn func(v move)) {
	for n := uint8(0); n < 2; n++ {
		m := &w.nodes[n]
		if !m.up {
			fn(move{kind: moveStart, node: n})
			if int(w.losses) < w.limits.diskLosses {
				fn(move{kind: moveDiskLoss, node: n})
			}
			continue
		}
		w.eachOfNode(n, m, fn)
	}
	for i := uint8(0); i < w.count; i++ {
		c := &w.writes[i]
		v := move{node: c.node, arg: i}
		switch {
		case c.applied == writeQueued:
			v.kind = moveApply
			fn(v)
			w.eachStale(i, fn)
			if !c.waited && (w.limits.exact || int(w.count) == w.limits.writes) {
				v.kind = moveLose
				fn(v)
			}
		case c.waited:
			v.kind = moveAnswer
			fn(v)
		}
		if c.waited {
			v.kind = moveUnknown
			fn(v)
		}
	}
	if w.limits.exact && w.sides[0].phase != sideNone && !w.cut && int(w.cuts) < w.limits.cuts {
		fn(move{kind: moveCut})
	}
	if !w.limits.exact && w.limits.timed != nil {
		w.eachTime(fn)
	}
}

// eachTime are those of a clock.
func (w *world) eachTime(fn func(v move)) {
	fn(move{kind: moveTime})
	if w.since == driftTicks {
		fn(move{kind: moveTime, arg: 1})
		fn(move{kind: moveTime, arg: 2})
	}
	for n := range w.nodes {
		if s := &w.nodes[n].s; s.due[timerPromise] != 0 && s.due[timerPromise] <= w.now[n] {
			fn(move{kind: moveRing, node: uint8(n), arg: timerPromise})
		}
	}
}

// eachStale are the old reads of worlds that are not exact: once somebody else has seen what is new, they come to the same.
func (w *world) eachStale(i uint8, fn func(v move)) {
	for n := range w.nodes {
		if s := &w.nodes[n].s; !w.limits.exact && w.limits.stale > 0 && w.rev > 0 && w.nodes[n].up && s.role != Syncing {
			fn(move{kind: moveStale, node: uint8(n), arg: i})
		}
	}
}

func (w *world) eachOfNode(n uint8, m *machine, fn func(v move)) {
	s, d := &m.s, &w.sides[n]
	at := func(kind moveKind) { fn(move{kind: kind, node: n}) }
	master := s.role.IsMaster()
	if other := &w.nodes[1-n]; !master && other.up && (w.limits.exact || other.s.role.IsMaster()) {
		if d.phase == sideNone || w.dialed[n] != 0 {
			at(moveConnect)
		} else if d.count > 0 && d.frames[0].kind == kindOfAppend && !w.cut && w.limits.timed == nil {
			at(moveDial) // or later: it is not old before there is a record to come
		}
	}
	if d.phase == sideGreeted {
		at(moveHello)
	}
	if d.phase == sideLinked && d.count > 0 && !d.fits {
		at(moveRead)
	}
	if d.fits {
		at(movePlanned)
	}
	if (w.cut || !w.limits.exact) && d.phase != sideNone {
		at(moveUnlinked)
	}
	if !master && !s.probed {
		at(moveUnreached)
	}
	if w.limits.strangers && !master {
		at(moveStranger)
	}
	if s.durable < s.end {
		at(moveDurable)
	}
	for rev := max(uint8(s.seen.Revision), uint8(m.kept.RegRev), w.floor); rev <= w.rev; rev++ {
		if !w.limits.exact && (uint32(w.regs[rev].epoch) < m.kept.Promised || s.role == Syncing && w.limits.timed == nil) {
			continue
		}
		fn(move{kind: moveSee, node: n, arg: rev})
	}
	for timer := uint8(0); timer < timers; timer++ {
		if w.limits.exact && s.due[timer] != 0 && s.due[timer] != forever && (timer == timerPromise || timer == timerBootstrap) {
			fn(move{kind: moveRing, node: n, arg: timer})
		}
	}
	if master {
		w.eachOfMaster(n, m, at)
	}
	if int(w.crashes) < w.limits.crashes && (w.limits.exact || s.role != Idle || s.durable < s.end) {
		for lost := uint64(0); lost <= s.end-s.durable; lost++ {
			fn(move{kind: moveCrash, node: n, arg: uint8(lost)})
		}
		if w.limits.exact {
			at(moveLeave)
		}
	}
	if int(w.faults) < w.limits.faults {
		at(moveFault)
	}
	if !w.limits.exact && int(w.losses) < w.limits.diskLosses {
		at(moveDiskLoss)
	}
}

func (w *world) eachOfMaster(n uint8, m *machine, at func(moveKind)) {
	s, d := &m.s, &w.sides[n]
	if d.sending && !w.cut && d.sent < m.end && w.sides[1-n].count < w.limits.window {
		at(moveSend)
	}
	if w.appends(m) {
		at(moveAppend)
	}
	if !s.serving && w.limits.exact {
		at(moveActivated)
	}
	if d.sending && !s.peer.near {
		at(moveNear)
	}
	if s.peer.link != 0 && (!s.peer.promised || s.peer.unread || !w.limits.exact && w.limits.timed != nil) {
		at(moveBeacon)
	}
	if s.Required() {
		at(moveMissed)
	}
	if s.held || !w.limits.exact && s.shared() && s.peer.link == 0 {
		at(moveIsolated)
	}
	if s.draining == drainPause {
		at(moveDrained)
	}
	if s.draining != drainNot {
		at(moveTooLate)
	}
	if s.role == Duplex && int(w.switchovers) < w.limits.switchovers {
		at(moveSwitchover)
	}
	if (s.role == Duplex || s.role == HandingOver && !s.leaving) && (s.leaving || int(w.switchovers) < w.limits.switchovers) {
		at(moveLeaving)
	}
	if int(w.refreshes) < w.limits.refreshes {
		at(moveRefresh)
	}
}

// make performs v, and says whether it was possible. actions is how many the node had to perform.
func (w *world) make(v move) (actions int, ok bool) {
	actions, ok = w.perhaps(v)
	if !w.limits.exact {
		if !w.beyond && w.broken == "" {
			w.relax()
		}
		return actions, ok
	}
	w.floor = max(w.floor, w.oldest())
	if w.rev > w.limits.stale {
		w.floor = max(w.floor, w.rev-w.limits.stale)
	}
	w.forgetOld()
	for n := range w.nodes { // these alone matter where there is no time
		if due := &w.nodes[n].s.due; w.limits.timed == nil {
			*due = [timers]time.Duration{timerPromise: due[timerPromise], timerBootstrap: due[timerBootstrap]}
		}
	}
	return actions, ok
}

func (w *world) perhaps(v move) (actions int, ok bool) {
	n := int(v.node)
	m, crash := &w.nodes[n], int(v.crash)-1
	if crash >= 0 {
		spend(&w.crashes, w.limits.crashes)
	}
	switch v.kind {
	case moveStart:
		w.start(n)
		return 0, true
	case moveConnect:
		w.connect(n)
		if w.limits.exact {
			return 0, true
		}
		w.meet(n)
		return 0, true
	case moveDial:
		w.dialed[n] = m.end + 1
		return 0, true
	case moveHello:
		actions := w.greet(n, crash)
		if !w.limits.exact && w.sides[n].count > 0 {
			return w.read(n, crash), true
		}
		return actions, true
	case moveRead:
		return w.read(n, crash), true
	case movePlanned:
		return w.planned(n, crash), true
	case moveUnlinked:
		return w.unlinked(n, crash), true
	case moveCut:
		w.cuts++
		w.cut = true
		return 0, true
	case moveUnreached:
		return w.step(n, Event{Kind: OnUnreached}, crash), true
	case moveStranger:
		w.step(n, Event{Kind: OnStranger}, -1)
		m.doubts = m.s.peer.link == 0 // or it has met the peer, as far as it knows
		return w.step(n, Event{Kind: OnUnreached}, crash), true
	case moveSend:
		d := &w.sides[n]
		d.sent++
		w.push(1-n, modelFrame{kind: kindOfAppend, epoch: m.log[d.sent], seq: d.sent})
		return 0, true
	case moveAppend:
		return w.append(n, crash)
	case moveDurable:
		return w.durable(n, crash), true
	case moveActivated:
		if first, _ := span(&m.log, m.end, uint8(m.s.epoch)); first == 0 || m.s.commit < uint64(first) {
			return 0, false
		}
		return w.step(n, Event{Kind: OnActivated}, crash), true
	case moveNear:
		return w.step(n, Event{Kind: OnNear, Link: m.s.peer.link}, crash), true
	case moveSee:
		return w.see(n, v.arg, crash), true
	case moveApply:
		w.apply(int(v.arg))
		return 0, true
	case moveStale:
		old := w.rev
		if w.apply(int(v.arg)); w.beyond || w.broken != "" {
			return 0, true
		}
		return w.see(n, old, crash), true
	case moveAnswer, moveUnknown:
		return w.answer(v, crash), true
	case moveLose:
		w.dropWrite(int(v.arg))
		return 0, true
	case moveRing, moveBeacon, moveMissed, moveIsolated, moveRefresh, moveTooLate:
		return w.ring(v, crash), true
	case moveDrained:
		return w.step(n, Event{Kind: OnDrained, Seq: m.s.end}, crash), true
	case moveSwitchover:
		spend(&w.switchovers, w.limits.switchovers)
		return w.step(n, Event{Kind: OnSwitchover}, crash), m.s.role == HandingOver
	case moveLeaving:
		if !m.s.leaving { // it says so again until it exits
			spend(&w.switchovers, w.limits.switchovers)
		}
		return w.step(n, Event{Kind: OnLeaving}, crash), m.s.role == HandingOver
	case moveFault:
		spend(&w.faults, w.limits.faults)
		return w.step(n, Event{Kind: OnFault}, crash), true
	case moveCrash:
		spend(&w.crashes, w.limits.crashes)
		w.crash(n, int(m.s.end)-int(v.arg))
		return 0, true
	case moveDiskLoss:
		spend(&w.losses, w.limits.diskLosses)
		m.disk = disk{gen: m.gen + 1}
		m.kept.JournalID = journalID(v.node, m.gen)
		if m.up {
			w.crash(n, 0)
		}
		return 0, true
	case moveTime:
		w.tick(v.arg)
		return 0, true
	case moveLeave:
		spend(&w.crashes, w.limits.crashes)
		w.step(n, Event{Kind: OnLeave}, crash)
		if m.up {
			w.crash(n, int(m.end))
		}
		return 0, true
	}
	return 0, false
}

// meet has the master, whom node n has dialled, read its HELLO at once and answer with a PLAN.
func (w *world) meet(n int) {
	w.greet(1-n, -1)
	if w.sides[n].count == 0 {
		w.sides[n], w.cut = side{}, false
	}
	w.sides[n].helloLog, w.sides[n].hello.End = [maxSeq + 1]uint8{}, 0
}

// connect has node n reach its peer, whatever that still has of an old connection.
func (w *world) connect(n int) {
	if w.sides[n].phase != sideNone {
		w.unlinked(n, -1)
	}
	w.cut = false
	for i := range w.sides {
		other := &w.nodes[1-i]
		w.sides[i] = side{phase: sideGreeted, hello: other.hello(), helloLog: other.log}
	}
	if d := &w.sides[1-n]; w.dialed[n] != 0 && uint64(w.dialed[n]) <= d.hello.End {
		d.hello.End = uint64(w.dialed[n] - 1)
		clear(d.helloLog[w.dialed[n]:])
	}
	w.dialed = [2]uint8{}
}

func (m *machine) hello() Peer {
	p := Peer{
		Node: m.s.terms.Node, Cluster: m.kept.Cluster, JournalID: m.kept.JournalID, Master: m.s.role.IsMaster(), Promised: m.kept.Promised,
		RegRev: m.kept.RegRev, End: uint64(m.end),
	}
	if p.Master {
		p.Epoch = m.s.epoch
	}
	return p
}

func (w *world) greet(n, crash int) int {
	d, s := &w.sides[n], &w.nodes[n].s
	d.phase, w.nodes[n].doubts = sideLinked, false
	w.nodes[n].link = s.peer.last + 1
	hello := d.hello
	return w.step(n, Event{Kind: OnLinked, Link: w.nodes[n].link, Peer: &hello}, crash)
}

func (w *world) read(n, crash int) int {
	m, d := &w.nodes[n], &w.sides[n]
	f := d.pop()
	switch f.kind {
	case kindOfPlan:
		return w.follow(n, f, crash)
	case kindOfAppend:
		if !d.planned || !m.s.Accepts(m.s.epoch) {
			return 0
		}
		if f.seq != m.end+1 {
			w.violate("stream", "%s gets seq %d after %d", nodeNames[n], f.seq, m.end)
			return 0
		}
		m.end++
		m.log[m.end] = f.epoch
		return w.step(n, Event{Kind: OnAppended, Seq: uint64(f.seq), Epoch: uint32(f.epoch)}, crash)
	}
	return w.step(n, Event{Kind: OnSignal, Link: m.link, Signal: Signal{
		Kind: f.kind, Epoch: uint32(f.epoch), Seq: uint64(f.seq), Sent: f.sent, Lease: m.s.terms.Lease,
	}}, crash)
}

// follow does what a PLAN says: the tail goes.
func (w *world) follow(n int, f modelFrame, crash int) int {
	m, d := &w.nodes[n], &w.sides[n]
	if !m.s.Accepts(uint32(f.epoch)) {
		return 0
	}
	if f.of != m.end && !w.rules.anyPlan { // it answers a HELLO from before
		return w.unlinked(n, crash)
	}
	if !m.s.Shorten(m.link, uint64(f.seq)) {
		return 0
	}
	w.checkCut(n, f.seq)
	clear(m.log[f.seq+1:])
	m.end, d.fits = f.seq, true
	return 0
}

// planned is when the State hears of it, on a connection that is still there.
func (w *world) planned(n, crash int) int {
	m, d := &w.nodes[n], &w.sides[n]
	d.fits, d.planned = false, true
	cluster := w.nodes[1-n].kept.Cluster
	if m.kept.Cluster != (ID{}) {
		cluster = m.kept.Cluster
	}
	epoch, end := m.s.epoch, m.end
	actions := w.step(n, Event{Kind: OnPlanned, Link: m.link, Seq: uint64(end), Epoch: epoch, Cluster: cluster}, crash)
	if m.up && d.planned && m.s.durable >= uint64(end) { // else when it is durable
		w.push(1-n, modelFrame{kind: Flushed, epoch: uint8(epoch), seq: end})
	}
	return actions
}

func (w *world) unlinked(n, crash int) int {
	m, d := &w.nodes[n], &w.sides[n]
	linked := d.phase == sideLinked
	w.sides[n] = side{}
	w.cut = w.sides[1-n].phase != sideNone
	if !linked {
		return 0
	}
	return w.step(n, Event{Kind: OnUnlinked, Link: m.link}, crash)
}

// appends says that a master's broker may write a record: the first of its epoch, then what clients cause.
func (w *world) appends(m *machine) bool {
	if m.end == maxSeq {
		return false
	}
	first, _ := span(&m.log, m.end, uint8(m.s.epoch))
	return first == 0 || m.s.serving && int(w.messages) < w.limits.messages && m.s.draining <= drainPause
}

func (w *world) append(n, crash int) (int, bool) {
	m := &w.nodes[n]
	epoch := uint8(m.s.epoch)
	if !w.appends(m) {
		return 0, false
	}
	if first, _ := span(&m.log, m.end, epoch); first != 0 {
		w.messages++
	}
	m.end++
	m.log[m.end] = epoch
	return w.step(n, Event{Kind: OnAppended, Seq: uint64(m.end), Epoch: uint32(epoch)}, crash), true
}

func (w *world) durable(n, crash int) int {
	m, d := &w.nodes[n], &w.sides[n]
	actions := w.step(n, Event{Kind: OnDurable, Seq: m.s.end}, crash)
	if m.up && d.planned && m.s.Accepts(m.s.epoch) {
		w.push(1-n, modelFrame{kind: Flushed, epoch: uint8(m.s.epoch), seq: uint8(m.s.durable)})
	}
	return actions
}

func (w *world) see(n int, rev uint8, crash int) int {
	reading := w.reading(rev)
	s := &w.nodes[n].s
	if w.limits.exact || w.limits.timed != nil || s.role.IsMaster() {
		return w.step(n, Event{Kind: OnSeen, Reading: &reading}, crash)
	}
	// Its promise ends at once, so that it acts on what it read before it forgets that.
	if actions := w.step(n, Event{Kind: OnSeen, Reading: &reading}, crash); s.role != Idle {
		return actions
	}
	return w.ring(move{kind: moveRing, node: uint8(n), arg: timerPromise}, crash)
}

func (w *world) reading(rev uint8) Reading {
	if rev == 0 {
		return Reading{}
	}
	return Reading{Revision: uint64(rev), Found: true, Record: w.regs[rev].full()}
}

// apply has the register perform a CAS.
func (w *world) apply(i int) {
	c := &w.writes[i]
	if c.expect != w.rev {
		c.applied = writeLost
	} else {
		if w.limits.exact && int(w.rev) == w.limits.revisions {
			w.beyond = true
			return
		}
		w.rev++
		w.regs[w.rev] = c.record
		c.applied, c.rev = writeDone, w.rev
	}
	if !c.waited {
		w.dropWrite(i)
	}
}

func (w *world) answer(v move, crash int) int {
	c := w.writes[v.arg]
	e := Event{Kind: OnAnswer, Number: w.nodes[c.node].s.ask.number, Outcome: Unknown}
	w.writes[v.arg].waited = false
	if c.applied != writeQueued {
		w.dropWrite(int(v.arg))
	}
	if v.kind == moveAnswer {
		e.Revision = uint64(c.rev)
		e.Outcome = Lost
		if c.applied == writeDone {
			e.Outcome = Done
		}
	}
	return w.step(int(c.node), e, crash)
}

func (w *world) ring(v move, crash int) int {
	s := &w.nodes[v.node].s
	timer := v.arg
	switch v.kind {
	case moveBeacon:
		timer = timerBeacon
	case moveMissed:
		timer = timerSilence
	case moveIsolated:
		timer, s.silent = timerFence, true
	case moveRefresh:
		timer = timerRefresh
		spend(&w.refreshes, w.limits.refreshes)
	case moveTooLate:
		timer = timerDrain
	}
	for i := range s.due { // it alone
		if s.due[i] != 0 && s.due[i] != forever && w.limits.timed == nil {
			s.due[i] = never
		}
	}
	s.due[timer] = 1
	return w.step(int(v.node), Event{Kind: OnTick}, crash)
}

// unlimited is a limit that is none: what it bounds is not counted, either.
const unlimited = 1000

func spend(counter *uint8, limit int) {
	if limit != unlimited {
		*counter++
	}
}
