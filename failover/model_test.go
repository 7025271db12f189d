package failover

import (
	"fmt"
	"strings"
	"time"
)

// The model: two nodes that run Step itself, their disks, the connection between them, and a hostile register. Whatever can
// happen next in a world is a move; explore_test.go tries all of them, invariants_test.go says what must hold.
//
// There is no time in it: a timer that is set may ring whenever it likes, so nothing here rests on a clock. See
// lease_test.go for what does.

const (
	maxSeq    = 12 // sizes of the arrays; limits says how far an exploration goes
	maxRev    = 15
	maxFrames = 6
	maxWrites = 3
)

// limits bound an exploration. A move that goes beyond is not made.
type limits struct {
	messages    int // records that clients cause
	epochs      int
	revisions   int // of the register
	writes      int // CAS on their way at a time
	crashes     int
	diskLosses  int
	faults      int // of a journal (R12)
	switchovers int // and masters that hand over because they are to exit
	refreshes   int
	cuts        int        // of a connection
	strangers   bool       // somebody else may answer at the peer's address; in exact worlds
	stale       uint8      // by how many revisions what is read may be old
	window      uint8      // of frames on their way to a standby, when a record joins them
	exact       bool       // see relax
	timed       *[2]*Terms // with clocks: see lease_test.go
	states      int        // within these bounds, where they were explored to the end; 0: they were not
}

// A disk is what a node has while it is down.
type disk struct {
	kept Kept
	gen  uint8 // of the journal: a lost disk begins another one
	end  uint8 // last Seq
	log  [maxSeq + 1]uint8
}

// A machine is a node: disk and, while it is up, State. The log up to durable survives a crash.
type machine struct {
	disk
	up     bool
	s      State
	starts uint8  // tells one State from another
	link   uint64 // the number of the connection that it has said HELLO on
	doubts bool   // a stranger has answered it, and it has not met the peer since
}

// A frame on its way.
type modelFrame struct {
	kind  SignalKind // or kindPlan, kindAppend
	epoch uint8
	seq   uint8
	of    uint8         // a PLAN: the end that it is for
	sent  time.Duration // in lease_test.go
}

const (
	sideNone    = iota
	sideGreeted // its HELLO is sent, the peer's not yet read
	sideLinked
)

// A side of the connection, and what is on its way to it.
type side struct {
	phase    uint8
	hello    Peer // that it will read
	helloLog [maxSeq + 1]uint8
	frames   [maxFrames]modelFrame
	count    uint8
	fits     bool  // a standby: its journal is as the PLAN wants it
	planned  bool  // and the State knows
	sending  bool  // a master: the PLAN is sent
	sent     uint8 // a master: up to here
}

// A write is a CAS on its way.
type write struct {
	node    uint8
	waited  bool // the State that sent it waits for the answer
	applied uint8
	expect  uint8
	rev     uint8
	record  entry
}

const (
	writeQueued = iota
	writeDone
	writeLost
)

// An entry is a Record, in short.
type entry struct {
	epoch, master uint8
	insync        [2]uint8 // generation of the journal + 1; 0: not in sync
	minSeq        uint8
	cluster       uint8 // node + 1
	by            uint8
	nonce         string
}

type world struct {
	nodes  [2]machine
	sides  [2]side
	cut    bool     // the connection transports nothing more; what is there can be read
	dialed [2]uint8 // by a node that is connected yet: the end in the HELLO of its next connection, + 1; 0: none
	rev    uint8
	regs   [maxRev + 1]entry
	floor  uint8 // of revisions: nobody reads what everybody knows to be old
	writes [maxWrites]write
	count  uint8 // of writes

	messages    uint8
	crashes     uint8
	losses      uint8
	faults      uint8
	switchovers uint8
	refreshes   uint8
	cuts        uint8

	// What the invariants remember.
	committed [maxSeq + 1]uint8 // the epoch of the record that was acknowledged at a Seq
	ackedIn   [maxSeq + 1]uint8 // the epoch of its master
	activated [8]uint8          // node + 1

	now   [2]time.Duration // clocks, if timed
	since uint8            // one has run ahead of the other, in ticks

	limits *limits
	rules  *mutant
	broken string // an invariant, once it is violated
	beyond bool   // a limit
}

var (
	nodeNames  = [2]string{"a", "b"}
	modelTerms = [2]*Terms{modelTermsOf(0), modelTermsOf(1)}
)

// In the model every duration is the same: it only matters which timer is set.
func modelTermsOf(node int) *Terms {
	return &Terms{
		Node: nodeNames[node], DegradeAfter: 1, HoldTimeout: 1, FenceAfter: 1, Lease: 1, Guard: 0,
		Bias: 0, Beacon: 1, Retry: 1, Refresh: 1, Bootstrap: 1,
	}
}

func journalID(node, gen uint8) ID { return ID{1, node + 1, gen + 1} }

func (e *entry) full() Record {
	r := Record{
		Cluster: journalID(e.cluster-1, 0), Epoch: uint32(e.epoch), Master: nodeNames[e.master], MinSeq: uint64(e.minSeq),
		Nonce: e.nonce, By: nodeNames[e.by],
	}
	r.InSync = memberSets[e.insync[0]][e.insync[1]]
	return r
}

var memberSets = func() (sets [4][4][]Member) {
	for a := range sets {
		for b := range sets[a] {
			if a > 0 {
				sets[a][b] = append(sets[a][b], Member{"a", journalID(0, uint8(a-1))})
			}
			if b > 0 {
				sets[a][b] = append(sets[a][b], Member{"b", journalID(1, uint8(b-1))})
			}
		}
	}
	return sets
}()

func shortRecord(r *Record) entry {
	e := entry{
		epoch: uint8(r.Epoch), minSeq: uint8(r.MinSeq), cluster: r.Cluster[1], nonce: r.Nonce,
	}
	if r.Master == "b" {
		e.master = 1
	}
	if r.By == "b" {
		e.by = 1
	}
	for i := range r.InSync {
		e.insync[r.InSync[i].JournalID[1]-1] = r.InSync[i].JournalID[2]
	}
	return e
}

func (w *world) violate(name, format string, args ...any) {
	if w.broken == "" {
		w.broken = name + ": " + fmt.Sprintf(format, args...)
	}
}

// start has a node's process begin, or begin again in itself.
func (w *world) start(n int) {
	m := &w.nodes[n]
	m.up, m.doubts = true, false
	m.starts++
	var last uint8
	if m.end > 0 {
		last = m.log[m.end]
	}
	m.s = NewState(w.clock(n), w.terms(n), Start{
		Kept: m.kept, Incarnation: ID{2, uint8(n), m.starts}, End: uint64(m.end), LastEpoch: max(uint32(last), m.kept.Promised),
	})
	if w.limits.timed == nil {
		clear(m.s.due[:])
		m.s.due[timerPromise], m.s.due[timerBootstrap] = never, never
	}
}

func (w *world) terms(n int) *Terms {
	if w.limits.timed != nil {
		return w.limits.timed[n]
	}
	return modelTerms[n]
}

// clock is what a node believes that it is. Where there is no time it is always 1.
func (w *world) clock(n int) time.Duration { return max(w.now[n], 1) }

// never is when the timers of the model ring by themselves.
const never = 1 << 40

// step gives an event to a node and performs the actions; after some of them, when crash is not negative, the node crashes.
func (w *world) step(n int, e Event, crash int) (actions int) {
	m := &w.nodes[n]
	out := w.rules.step(w, n, e, w.rules.room[:0])
	w.rules.room = out
	for i := range out {
		if i == crash {
			w.crash(n, int(m.s.durable))
			return len(out)
		}
		w.perform(n, &out[i], &e)
		if w.beyond || w.broken != "" {
			return len(out)
		}
	}
	return len(out)
}

func (w *world) perform(n int, a *Action, cause *Event) {
	m := &w.nodes[n]
	switch a.Kind {
	case DoPersist:
		w.checkPersist(n, a)
		m.kept = a.Kept
	case DoCAS:
		w.checkClaim(n, a)
		w.ask(n, a)
	case DoSend:
		if !w.limits.exact && (w.limits.timed == nil || a.Signal.Kind != Beacon && a.Signal.Kind != BeaconAck) {
			return // timers do as much
		}
		if a.Link == m.link {
			w.push(1-n, modelFrame{kind: a.Signal.Kind, epoch: uint8(a.Signal.Epoch), seq: uint8(a.Signal.Seq), sent: a.Signal.Sent})
		}
	case DoFollow:
	case DoReplicate:
		w.plan(n)
	case DoHangup:
		if a.Link == m.link {
			w.hangup(n)
		}
	case DoActivate:
		w.checkActivate(n, a, cause)
		if w.dialed = [2]uint8{}; !w.limits.exact {
			w.hangup(n)
		}
		if int(a.Epoch) < len(w.activated) {
			w.activated[a.Epoch] = uint8(n + 1)
		}
	case DoCommit:
		w.commit(n, uint8(a.Seq))
	case DoStandDown:
		w.hangup(n)
		w.forgetWrites(n)
		if a.Why == JournalFailed {
			w.crash(n, int(m.end))
			return
		}
		w.dialed = [2]uint8{}
		w.start(n)
	}
}

// ask puts a CAS on its way.
func (w *world) ask(n int, a *Action) {
	if int(w.count) == w.limits.writes || int(a.Record.Epoch) > w.limits.epochs {
		w.beyond = true
		return
	}
	w.writes[w.count] = write{node: uint8(n), waited: true, expect: uint8(a.Revision), record: shortRecord(a.Record)}
	w.count++
}

// forgetWrites leaves the writes of a node without anybody who waits for them.
func (w *world) forgetWrites(n int) {
	for i := int(w.count) - 1; i >= 0; i-- {
		if c := &w.writes[i]; int(c.node) == n && c.waited {
			c.waited = false
			if c.applied != writeQueued {
				w.dropWrite(i)
			}
		}
	}
}

func (w *world) dropWrite(i int) {
	w.count--
	copy(w.writes[i:], w.writes[i+1:w.count+1])
	w.writes[w.count] = write{}
}

func (w *world) push(to int, f modelFrame) {
	d := &w.sides[to]
	if w.cut || d.phase == sideNone {
		return
	}
	if d.count > 0 {
		switch last := &d.frames[d.count-1]; {
		case last.kind == Flushed && f.kind == Flushed:
			last.seq = max(last.seq, f.seq)
			return
		case last.kind == f.kind && f.kind != kindOfAppend:
			*last = f
			return
		}
	}
	if d.count == maxFrames {
		w.beyond = true
		return
	}
	d.frames[d.count] = f
	d.count++
}

const (
	kindOfPlan   = SignalKind(kindPlan)
	kindOfAppend = SignalKind(kindAppend)
)

func (d *side) pop() modelFrame {
	f := d.frames[0]
	copy(d.frames[:], d.frames[1:d.count])
	d.count--
	d.frames[d.count] = modelFrame{}
	return f
}

// hangup closes the connection at a node; the other side can read what is there.
func (w *world) hangup(n int) {
	if w.sides[n].phase == sideNone {
		return
	}
	w.sides[n] = side{}
	w.cut = w.sides[1-n].phase != sideNone
}

// plan answers the HELLO that a master has just read.
func (w *world) plan(n int) {
	mine, theirs := &w.nodes[n], &w.sides[n]
	common := commonPoint(&mine.log, mine.end, &theirs.helloLog, uint8(theirs.hello.End))
	if w.rules.common != nil {
		common = w.rules.common(w, n)
	}
	theirs.sending, theirs.sent = true, common
	w.push(1-n, modelFrame{kind: kindOfPlan, epoch: uint8(mine.s.epoch), seq: common, of: uint8(theirs.hello.End)})
}

// commonPoint is the end, on whichever has less of it, of the newest epoch that both logs have begun at the same Seq.
func commonPoint(a *[maxSeq + 1]uint8, aEnd uint8, b *[maxSeq + 1]uint8, bEnd uint8) uint8 {
	for epoch := uint8(7); epoch > 0; epoch-- {
		aFirst, aLast := span(a, aEnd, epoch)
		bFirst, bLast := span(b, bEnd, epoch)
		if aFirst != 0 && aFirst == bFirst {
			return min(aLast, bLast)
		}
	}
	return 0
}

func span(log *[maxSeq + 1]uint8, end, epoch uint8) (first, last uint8) {
	for seq := uint8(1); seq <= end; seq++ {
		if log[seq] == epoch {
			if first == 0 {
				first = seq
			}
			last = seq
		}
	}
	return first, last
}

// crash ends a process: what is durable stays, and what was written may, up to end.
func (w *world) crash(n, end int) {
	m := &w.nodes[n]
	clear(m.log[end+1:])
	m.end = uint8(end)
	m.up, m.link, m.doubts = false, 0, false
	m.s = State{}
	w.dialed = [2]uint8{}
	w.hangup(n)
	w.forgetWrites(n)
	if !w.limits.exact { // who is down is like who does nothing
		w.start(n)
	}
}

func (w *world) String() string {
	var b strings.Builder
	for n := range w.nodes {
		m := &w.nodes[n]
		fmt.Fprintf(&b, "  %s: log %v promised %d rev %d gen %d", nodeNames[n], m.log[1:m.end+1], m.kept.Promised, m.kept.RegRev, m.gen)
		if m.up {
			fmt.Fprintf(&b, " | %v epoch %d durable %d commit %d flushed %d near %v join %d ack %v listed %x doubted %x held %v ask %d open %v doubt %v seen %d probed %v promise %v link %d side %d drain %d",
				m.s.role, m.s.epoch, m.s.durable, m.s.commit, m.s.peer.flushed, m.s.peer.near, m.s.peer.join, m.s.peer.promised, m.s.listed[:3], m.s.doubted[:3],
				m.s.held, m.s.ask.purpose, m.s.ask.open, m.s.ask.doubtful, m.s.seen.Revision, m.s.probed, m.s.due[timerPromise] != 0, m.s.peer.link, w.sides[n].phase, m.s.draining)
		} else {
			b.WriteString(" | down")
		}
		d := &w.sides[n]
		fmt.Fprintf(&b, " <- %v\n", d.frames[:d.count])
	}
	fmt.Fprintf(&b, "  register: rev %d %v; on their way %v; acknowledged %v; cut %v\n", w.rev, w.regs[w.rev], w.writes[:w.count], w.committed[1:], w.cut)
	return b.String()
}
