package failover

import "fmt"

// What a CAS is for.
const (
	askNothing  = iota
	askRole     // to be master: takeover, reclaim, promotion, the first record
	askMembers  // as the master: who is in sync, or the same again
	askHandover // as the master: that the peer be master
	askReseed   // as the master: to write the register anew
)

// A request is the CAS on its way or, when it is not, the last one.
type request struct {
	purpose  uint8
	open     bool // no answer yet
	doubtful bool // this one or one before it may be done yet; until a newer one is done (R5)
	number   uint64
	expect   uint64
	record   Record
}

// look takes what the register says: a hint. It can take a role away, and say where to begin the next CAS. It gives none.
func (t *turn) look(e *Event) {
	t.silent = e.Failed
	switch {
	case e.Failed:
		t.goAway()
	case t.forced:
		t.overrule(e.Reading)
	case t.suspicious(e.Reading):
		t.doubt()
		t.unsee()
	default:
		t.believe()
		t.consider(e.Reading)
	}
	if t.restless() {
		t.set(timerRetry, t.terms.Retry)
	}
}

func (t *turn) consider(r *Reading) {
	if !t.known || t.newer(r) {
		t.adopt(r)
	}
	switch {
	case t.draining != drainNot && r.Found && r.Record.Epoch > t.epoch && r.Record.Master != t.terms.Node:
		t.handedOver() // a CAS of this node that was in doubt
	case r.Found:
		t.higher(r.Record.Epoch)
	}
	if t.role.IsMaster() {
		t.settle()
	} else {
		t.seek()
	}
}

// suspicious is R9: this cannot be the newest that was ever there.
func (t *turn) suspicious(r *Reading) bool { return t.flaw(r) != "" }

// flaw says what is suspicious; empty: nothing.
func (t *turn) flaw(r *Reading) string {
	p := &t.peer.says
	member := t.kept.Cluster != ID{}
	switch {
	case !r.Found && (member || r.Revision != 0 || p.Cluster != ID{}):
		return noRecord
	case !r.Found:
		return ""
	case member && r.Record.Cluster != t.kept.Cluster:
		return otherRecord
	case older(r, t.kept.Promised, t.kept.RegRev):
		return olderRecord
	case p.Cluster == r.Record.Cluster && older(r, p.Promised, p.RegRev):
		return olderThanPeers
	}
	return ""
}

// older compares with what a node has kept. A revision counts within its epoch alone: a register that is written anew begins
// with 1, and with a higher epoch.
func older(r *Reading, promised uint32, revision uint64) bool {
	return r.Record.Epoch < promised || r.Record.Epoch == promised && r.Revision < revision
}

// newer orders what the register says by epoch, then by revision: one that was written anew begins with revision 1.
func (t *turn) newer(r *Reading) bool {
	old := &t.seen
	return r.Found && (!old.Found || r.Record.Epoch > old.Record.Epoch) ||
		r.Record.Epoch == old.Record.Epoch && r.Revision > old.Revision
}

func (t *turn) adopt(r *Reading) {
	changed := r.Record.Epoch != t.seen.Record.Epoch || len(r.Record.InSync) != len(t.seen.Record.InSync)
	if r.Record.Epoch > t.seen.Record.Epoch && !t.role.IsMaster() {
		t.named(&r.Record)
	}
	t.seen, t.known = *r, true
	t.lookPast()
	if changed && r.Record.Cluster == t.kept.Cluster && r.Record.Epoch == t.kept.Promised {
		t.keepRevision(r.Revision)
	}
	if t.role == Syncing || t.role == Standby {
		t.role = t.following()
	}
	if t.peer.last == 0 && t.seen.Record.Lists(t.me()) && t.end < t.seen.Record.MinSeq { // as it was found: nothing has changed it yet
		t.rolledBack()
	}
}

// rolledBack tells of A4: a journal that the register lists ends before what it had. It is no danger where it is found out: this
// node does not ask for the role with it, and a master does not count the other's before it has everything again.
func (t *turn) rolledBack() { t.do(Action{Kind: DoRaise, Alarm: AlarmRolledBack}) }

// named is for a new epoch that the register tells of. Who is named master in it goes first. If that is this node, and the other
// has named it, whatever it had promised is void: that one had stopped serving before. What an earlier process of this node had
// asked for, perhaps before the promise, ends none.
func (t *turn) named(r *Record) {
	switch {
	case r.Master != t.terms.Node:
		t.set(timerPromise, t.terms.Lease+t.terms.Bias)
	case r.By != t.terms.Node:
		t.due[timerPromise], t.probed = 0, true
	}
}

// lookPast ends the doubt of a node that is not master about its CAS: somebody else's has come to the register, so that its
// own cannot any more. So it is, too, where there is a higher epoch than it has asked for: at a later revision, or in a register
// that was written anew and counts from 1.
func (t *turn) lookPast() {
	if t.role.IsMaster() {
		return
	}
	if t.seen.Revision > t.ask.expect && t.seen.Record.Nonce != t.ask.record.Nonce {
		t.ask.doubtful = false
	}
	if t.seen.Record.Epoch > t.ask.record.Epoch {
		t.ask.doubtful, t.beaten = false, 0
	}
}

func (t *turn) keepRevision(revision uint64) {
	if revision > t.kept.RegRev {
		t.kept.RegRev = revision
		t.persist()
	}
}

// unsee has a node that is not master go by nothing that it has read before: the next reading may be of a register that was
// written anew, whose revisions are others.
func (t *turn) unsee() {
	if !t.role.IsMaster() {
		t.seen, t.known = Reading{}, false
	}
}

func (t *turn) doubt() {
	if !t.suspect {
		t.suspect = true
		t.do(Action{Kind: DoRaise, Alarm: AlarmArbiterSuspect})
	}
}

func (t *turn) believe() {
	if t.suspect {
		t.suspect = false
		t.do(Action{Kind: DoClear, Alarm: AlarmArbiterSuspect})
	}
}

// restless says that a newer word of the register is wanted: nobody leads this node, a CAS is in doubt, or an operator waits.
func (t *turn) restless() bool {
	return t.role == Idle || t.role == Candidate ||
		t.role.IsMaster() && (t.held || t.ask.doubtful || t.draining == drainAsk || t.peer.copyless != 0) ||
		t.role != StoodDown && (t.suspect || t.ask.doubtful || t.forced)
}

// readable says that a CAS can begin at what was seen.
func (t *turn) readable() bool {
	return t.known && !t.suspect && !t.ask.open && (t.beaten == 0 || t.seen.Revision > t.beaten)
}

// recordFor is the next record, still without its master.
func (t *turn) recordFor(epoch uint32, members ...Member) Record {
	old := &t.seen.Record
	cluster := t.kept.Cluster
	switch {
	case cluster != ID{}:
	case t.seen.Found:
		cluster = old.Cluster
	default:
		cluster = t.kept.JournalID
	}
	return Record{
		Cluster: cluster, Epoch: epoch, InSync: members, MinSeq: old.MinSeq,
		Forced: old.Forced && epoch == old.Epoch, Overruled: old.Overruled,
	}
}

// claim asks the register, at the newest revision that is known.
func (t *turn) claim(purpose uint8, r Record) {
	t.numbers++
	r.Nonce = fmt.Sprintf("%s-%d", t.incarnation, t.numbers)
	r.By = t.terms.Node
	t.ask = request{
		purpose: purpose, open: true, doubtful: t.ask.doubtful,
		number: t.numbers, expect: t.seen.Revision, record: r,
	}
	t.do(Action{Kind: DoCAS, Number: t.numbers, Revision: t.seen.Revision, Record: &r})
}

// answer takes what came of the CAS. Lost and unknown are treated alike (R5): it may be that an earlier CAS of this very
// node is what came in between, or that the answer belongs to the second copy of a request. Only a CAS that is done, and by
// that is newer than all before it, ends the doubt.
func (t *turn) answer(e *Event) {
	if !t.ask.open || e.Number != t.ask.number {
		return
	}
	t.ask.open = false
	t.silent = e.Outcome == Unknown
	if e.Outcome != Done {
		t.failed(e.Outcome)
		return
	}
	t.ask.doubtful, t.beaten = false, 0
	is := Reading{Revision: e.Revision, Found: true, Record: t.ask.record}
	overtaken := t.ask.purpose == askRole && is.Record.Epoch <= max(t.kept.Promised, t.epoch)
	read := t.seen.Revision == is.Revision && t.seen.Record.Nonce == is.Record.Nonce // a watch may be faster than the answer
	if overtaken || t.known && !read && !t.newer(&is) {                              // somebody has come after it
		t.failed(Lost)
		return
	}
	t.seen, t.known = is, true
	t.done()
}

func (t *turn) failed(outcome Outcome) {
	t.ask.doubtful = true
	t.set(timerRetry, t.terms.Retry)
	if outcome == Lost {
		t.beaten = t.ask.expect
		t.due[timerRetry] = t.now // read at once
	}
	switch {
	case t.draining == drainFault:
		t.standDown(JournalFailed)
	case t.draining == drainAsk:
		t.goAway()
	case t.role == Candidate:
		t.role = t.following()
	}
	t.lookPast()
}

func (t *turn) done() {
	switch t.ask.purpose {
	case askRole:
		t.activate()
	case askMembers:
		t.settled()
	case askHandover:
		t.handedOver()
	case askReseed:
		t.standDown(Reseeded)
	}
}
