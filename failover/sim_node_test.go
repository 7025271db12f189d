package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"baton/journal"
	"baton/journal/memfs"
)

// A simNode is a host with its disk and clock, and the process on it if one is up.
type simNode struct {
	s    *sim
	i    int
	name string

	fs       *memfs.FS // while no process is up
	hostUp   bool
	up       bool
	disk     *simDisk // of the process
	term     *simTerm // nil: none, or being opened
	life     int      // number of the process, and of the hosts' lives
	paused   bool
	deferred []func()
	callers  []*simConn // connections made while there is no term

	offset time.Duration // of the clock
	rate   float64
	slow   time.Duration // that a sync takes more

	stranger bool // somebody else answers at its address

	doing sync.Mutex
	done  []func() // what goroutines have come to

	// What the checker and the operator know.
	kept    Pair
	damaged bool // somebody has changed the disk behind the node's back
	spoilt  bool // and both nodes were in sync then
	// An old copy of the disk is there while the journal was in sync; until it is in sync again.
	rolledBack bool
	mend       func() // undoes that; nil: nobody can
	copies     []*memfs.FS

	whole ID // the journal that the process has read to its end
}

func newSimNode(s *sim, i int) *simNode {
	return &simNode{
		s: s, i: i, name: nodeNames[i], fs: memfs.New(), hostUp: true,
		offset: s.between(time.Second, time.Hour), rate: 1 + float64(s.rng.IntN(401)-200)/10000,
	}
}

func (n *simNode) other() *simNode { return n.s.nodes[1-n.i] }

// clock is CLOCK_BOOTTIME of the node.
func (n *simNode) clock() time.Duration { return n.offset + time.Duration(float64(n.s.now)*n.rate) }

// start begins a process.
func (n *simNode) start() {
	if n.up {
		return
	}
	n.hostUp, n.up, n.whole = true, true, ID{}
	n.life++
	n.disk = newSimDisk(n.fs)
	n.s.note("%s starts", n.name)
	if !n.s.calm && n.s.chance(10) {
		n.s.armCrash(n)
	}
	n.open()
}

// open begins a term.
func (n *simNode) open() {
	t := newSimTerm(n)
	n.job(func() func() {
		log, err := OpenLog(t.logOptions())
		return func() {
			switch {
			case t.life != n.life || n.disk.dead():
				if err == nil {
					go log.Close()
				}
			case err != nil:
				n.fail(err)
			default:
				t.begin(log)
			}
		}
	})
}

// job runs in a goroutine what may wait for the disk. What it returns is done when everything rests.
func (n *simNode) job(fn func() func()) {
	go func() {
		then := fn()
		n.doing.Lock()
		n.done = append(n.done, then)
		n.doing.Unlock()
	}()
	n.rest()
}

// rest has everything come to rest before anything else happens.
func (n *simNode) rest() {
	synctest.Wait()
	n.catchUp()
}

// catchUp has the race detector know that what goroutines did before they came to rest is done: synctest.Wait tells it of the
// last one alone. They call it when they have done something here, and the simulation does after each Wait.
func (n *simNode) catchUp() {
	n.doing.Lock()
	defer n.doing.Unlock()
	if n.disk != nil {
		n.disk.mu.Lock()
		defer n.disk.mu.Unlock()
	}
}

// reap sees to what the node has come to, and says whether that was anything.
func (n *simNode) reap() (any bool) {
	n.doing.Lock()
	done := n.done
	n.done = nil
	n.doing.Unlock()
	for _, then := range done {
		then()
	}
	if !n.up {
		return len(done) > 0
	}
	if image := n.disk.crashed(); image != nil {
		n.s.note("%s dies within its work", n.name)
		n.dieWith(image)
		return true
	}
	calls := n.disk.take()
	for _, c := range calls {
		d := n.disk
		n.s.note("%s %s", n.name, c.what)
		n.s.schedule(n.latency(), n, func() { d.grant(c) })
	}
	any = len(done)+len(calls) > 0
	if t := n.term; t != nil {
		any = t.reap() || any
	}
	return any
}

// latency is that of a disk.
func (n *simNode) latency() time.Duration {
	d := n.s.between(50*time.Microsecond, 3*time.Millisecond)
	if n.s.chance(3) {
		d += n.s.between(0, 100*time.Millisecond)
	}
	return d + n.slow
}

// simDeath is how a process dies.
type simDeath struct {
	host bool // and the machine under it
	keep memfs.Keep
}

var simKilled = simDeath{}

func (d simDeath) image(fs *memfs.FS) *memfs.FS {
	if d.host {
		return fs.CrashClone(d.keep)
	}
	return fs.KillClone()
}

// die ends the process.
func (n *simNode) die(d simDeath) {
	n.s.note("%s dies, host %t", n.name, d.host)
	n.hostUp = !d.host
	n.dieWith(d.image(n.disk.fs))
}

func (n *simNode) dieWith(image *memfs.FS) {
	n.s.checker.stats.kills++
	n.fs = image
	n.up = false
	n.life++
	if n.term != nil {
		n.term.dead = true
	}
	n.disk.die()
	n.disk.fs.OnCall(func(memfs.Call) error { return errProcessGone })
	n.deferred = nil
	if t := n.term; t != nil {
		n.term = nil
		for _, l := range t.all {
			l.abandon()
		}
		go t.log.Close()
	}
	for _, c := range n.callers {
		c.close(1, n.hostUp)
	}
	n.callers = nil
	n.rest()
}

// fail ends the process because of an error that it does not survive. An operator sees to it where the disk was damaged.
func (n *simNode) fail(err error) {
	n.s.note("%s fails: %v", n.name, simText(err))
	n.die(simKilled)
	if errors.Is(err, errDiskFault) || strings.Contains(err.Error(), errDiskFault.Error()) {
		n.s.after(n.s.between(100*time.Millisecond, time.Second), n.start)
		return
	}
	if !n.damaged {
		n.s.violate("soundness", "%s cannot go on: %v", n.name, err)
		return
	}
	if r := n.s.register.head().Record; n.spoilt && len(r.InSync) == 1 && r.Master == n.name {
		n.s.violate("R4", "%s has taken the role, alone, with a log that it cannot read: %v", n.name, simText(err))
	}
	n.s.operatorWipes(n)
}

// simText leaves out what is different each time.
func simText(err error) string {
	var text strings.Builder
	hex := 0
	flush := func(word string) {
		if len(word) >= 8 && strings.Trim(word, "0123456789abcdef") == "" && hex > 0 {
			word = "…"
		}
		text.WriteString(word)
	}
	word := ""
	for _, r := range err.Error() {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
			hex++
			word += string(r)
			continue
		}
		flush(word)
		word = ""
		text.WriteRune(r)
	}
	flush(word)
	return text.String()
}

// stop has the node stand still, as SIGSTOP does; its clock goes on.
func (n *simNode) stop(d time.Duration) {
	if n.paused {
		return
	}
	n.paused = true
	n.s.note("%s stands still", n.name)
	n.s.after(d, n.resume)
}

func (n *simNode) resume() {
	if !n.paused {
		return
	}
	n.s.note("%s goes on", n.name)
	n.paused = false
	for _, do := range n.deferred {
		n.s.schedule(n.s.between(0, time.Millisecond), n, do)
	}
	n.deferred = nil
	n.s.deliverHeld()
}

// has orders journals by how much of the newest history they have.
func (n *simNode) has() uint64 { return uint64(n.term.log.End().Epoch)<<32 + n.term.log.Last() }

func (n *simNode) serves() bool { return n.term != nil && n.term.broker.serving && !n.paused }

func (n *simNode) describe() string {
	switch {
	case !n.up:
		return n.name + " is down"
	case n.term == nil:
		return n.name + " is between two terms"
	}
	s := &n.term.state
	return fmt.Sprintf("%s is %s in epoch %d, end %d, durable %d, commit %d, peer %+v, kept %+v, suspect %t, probed %t, ask %+v, due %v at %v",
		n.name, s.role, s.epoch, n.term.log.Last(), n.term.log.Durable(), s.commit, s.peer, s.kept, s.suspect, s.probed, s.ask, s.due, n.clock())
}

// A simTerm is what a Term is: the shell of a member, and its connections and broker.
type simTerm struct {
	member
	n      *simNode
	life   int
	permit *permit
	broker simBroker
	dead   bool // nothing of it counts any more
	over   bool // it ends
	leaves bool // and the process with it, by SIGTERM
	doubts bool // a stranger has answered in the peer's place, and it has not been met since
	todo   []func()

	incarnation ID
	alarms      int
	due         time.Duration
	watcher     simWatcher
	all         []*simLink // that have not ended
	link        *simLink
	links       uint64
	masters     []*simLink // connections to masters, that may not have ended
	closed      bool
	dialling    bool
	leading     uint32 // epoch that this node is to lead
	requires    []bool // what the log is to be told, when no Append is under way: it would wait for that

	mu      sync.Mutex // guards what the journal tells
	durable []uint64
	census  *simCensus // that the journal was given
	fatal   error
}

var simTerms = Terms{
	DegradeAfter: time.Second, HoldTimeout: 5 * time.Second, FenceAfter: 4 * time.Second, Lease: 1500 * time.Millisecond,
	Guard: 150 * time.Millisecond, Bias: 500 * time.Millisecond, Beacon: 300 * time.Millisecond, Retry: 250 * time.Millisecond,
	Refresh: 5 * time.Second, Bootstrap: 3 * time.Second,
}

func newSimTerm(n *simNode) *simTerm {
	t := &simTerm{n: n, life: n.life}
	t.permit = newPermit(n.clock)
	t.broker = simBroker{t: t, live: map[int]simEntry{}, settled: map[int]bool{}}
	for i := range t.incarnation {
		t.incarnation[i] = byte(n.s.rng.IntN(256))
	}
	return t
}

func (t *simTerm) logOptions() LogOptions {
	return LogOptions{
		Data: "data", Node: t.n.name, Retain: simRetain, OnDurable: t.onDurable, OnAppended: t.onAppended,
		Rest: t.broker.rest,
		Journal: journal.Options{
			FS: t.n.disk.fs, SegmentBytes: simSegment, BufferBytes: simBuffer, ScrubEvery: -1, Amplification: 1.1,
			LazySync: time.Hour, CleanRate: 1 << 50, Stall: time.Hour, OnFatal: t.onFatal,
		},
	}
}

// Small, so that segments, buffers and what is retained come to their ends within a run.
const (
	simSegment = 16 << 10
	simBuffer  = 64 << 10
	simRetain  = 24 << 10
)

// begin is what newTerm and run do once the log is open.
func (t *simTerm) begin(log *Log) {
	t.log, t.shell = log, t
	kept, lineage, err := t.recollect()
	if err != nil {
		go log.Close()
		if !t.n.disk.dead() {
			t.n.fail(err)
		}
		return
	}
	end := log.End()
	terms := simTerms
	terms.Node = t.n.name
	t.state = NewState(t.n.clock(), &terms, Start{
		Kept: kept, Incarnation: t.incarnation, End: end.Seq, LastEpoch: max(lineage.Last().Epoch, end.Epoch),
		Unread: t.n.whole != log.ID() && !t.n.s.mutant.unread,
	})
	t.n.s.note("%s opens, end %d, promised %d", t.n.name, end.Seq, kept.Promised)
	t.n.term = t
	t.n.s.checker.opened(t)
	t.decide(Event{Kind: OnTick})
	t.watch()
	t.after(t.n.s.between(0, 50*time.Millisecond), t.meet)
	t.after(t.n.s.between(0, 500*time.Millisecond), t.readLog)
	t.lazySync()
	t.n.receiveCallers()
}

// readLog is Term.readLog. It does not wait for a cut, for then the simulation would never come to rest.
func (t *simTerm) readLog() {
	switch {
	case t.n.whole == t.log.ID(), t.n.s.mutant.unread:
		return
	case slices.ContainsFunc(t.all, func(l *simLink) bool { return l.busy }):
		t.after(time.Millisecond, t.readLog)
		return
	}
	if err := t.log.Verify(context.Background()); err != nil {
		t.fault(err)
		return
	}
	t.n.whole = t.log.ID()
	t.n.s.note("%s has read its log", t.n.name)
	t.decide(Event{Kind: OnRead})
}

// after has the term do something later, if there is still something to do then.
func (t *simTerm) after(d time.Duration, do func()) {
	t.n.s.schedule(d, t.n, func() {
		if !t.dead && !t.over {
			do()
		}
	})
}

// later has the term do something when everything rests.
func (t *simTerm) later(do func()) { t.todo = append(t.todo, do) }

// decide gives the member an event.
func (t *simTerm) decide(e Event) {
	defer t.n.catchUp()
	before := t.state.role
	t.handle(e)
	if t.n.disk.dead() {
		return
	}
	if now := t.state.role; now != before {
		t.n.s.note("%s becomes %s, epoch %d", t.n.name, now, t.state.epoch)
	}
}

// reap sees to what the term has come to.
func (t *simTerm) reap() (any bool) {
	t.mu.Lock()
	durable, fatal, census := t.durable, t.fatal, t.census
	t.durable, t.fatal, t.census = nil, nil, nil
	t.mu.Unlock()
	todo := t.todo
	t.todo = nil
	any = len(todo) > 0
	for _, do := range todo {
		if !t.dead {
			do()
			t.n.rest()
		}
	}
	if t.dead {
		return true
	}
	if census != nil {
		t.after(t.n.latency(), census.clean)
	}
	for _, seq := range durable {
		any = true
		t.n.s.note("%s has %d durable", t.n.name, seq)
		t.decide(Event{Kind: OnDurable, Seq: seq})
		t.n.rest()
		t.broker.look()
		t.n.rest()
	}
	if fatal != nil {
		t.fault(fatal)
		return true
	}
	if len(t.requires) > 0 && !t.broker.busy {
		t.log.Require(t.requires[len(t.requires)-1])
		any, t.requires = true, nil
	}
	if t.over {
		return t.finish() || any
	}
	for _, l := range slices.Clone(t.all) {
		any = l.reap() || any
	}
	return t.lead() || any
}

func (t *simTerm) onDurable(seq uint64) {
	t.mu.Lock()
	t.durable = append(t.durable, seq)
	t.mu.Unlock()
}

func (t *simTerm) onFatal(err error) {
	t.mu.Lock()
	t.fatal = err
	t.mu.Unlock()
}

func (t *simTerm) onAppended(end journal.Position) {
	t.decide(Event{Kind: OnAppended, Seq: end.Seq, Epoch: end.Epoch})
}

// fault is a journal that has failed, or that cannot be read.
func (t *simTerm) fault(err error) {
	t.n.s.note("%s: its journal fails", t.n.name)
	t.broker.stop()
	t.decide(Event{Kind: OnFault})
	if t.link != nil && !t.link.hung && t.state.role == StoodDown {
		t.link.hangup() // the last signals still go
	}
	if t.state.role != StoodDown && t.n.s.chance(50) { // the process may stay until the peer has taken over (R12)
		t.after(2*time.Second, func() { t.n.fail(err) })
		return
	}
	t.n.fail(err)
}

// lazySync is what the journal does after a while by itself.
func (t *simTerm) lazySync() {
	if t.log.Durable() < t.log.Last() {
		t.log.j().Sync()
	}
	t.after(100*time.Millisecond, t.lazySync)
}

// end has the term end, and another begin.
func (t *simTerm) end() {
	if t.over {
		return
	}
	t.n.s.note("%s ends its term", t.n.name)
	t.over = true
	t.broker.stop()
	for _, l := range slices.Clone(t.all) {
		l.hangup()
	}
}

// replaced is for a snapshot that has taken the place of the journal.
func (t *simTerm) replaced() {
	t.n.s.checker.stats.snapshots++
	t.end()
}

// leave is Term.leave: a standby in sync is to be the master first, until then.
func (t *simTerm) leave(until time.Duration) {
	if t.state.HasHeir() && t.n.s.now < until {
		t.decide(Event{Kind: OnLeaving})
		t.after(switchoverRetry, func() { t.leave(until) })
		return
	}
	t.n.s.note("%s leaves", t.n.name)
	t.broker.leave()
	t.broker.stop()
	t.permit.extend(0) // no client is connected any more
	t.decide(Event{Kind: OnLeave})
	t.end()
}

// finish closes the log once all connections have ended, and begins another term, unless the process ends.
func (t *simTerm) finish() (any bool) {
	for _, l := range slices.Clone(t.all) {
		any = l.reap() || any
	}
	if len(t.all) > 0 {
		return any
	}
	n := t.n
	n.term = nil
	t.dead = true
	n.job(func() func() {
		err := t.log.Close()
		return func() {
			switch {
			case t.life != n.life || n.disk.dead():
			case err != nil:
				n.fail(err)
			case t.leaves:
				n.s.schedule(0, n, func() { n.s.kill(n, simKilled) })
			default:
				n.open()
			}
		}
	})
	return true
}

// lead begins a mastership, once nobody else appends and all is durable.
func (t *simTerm) lead() bool {
	if t.leading == 0 || slices.ContainsFunc(t.masters, func(l *simLink) bool { return !l.ended }) {
		return false
	}
	if t.log.Durable() < t.log.Last() {
		t.log.j().Sync()
		return false
	}
	epoch := t.leading
	t.leading = 0
	if err := t.log.Begin(epoch); err != nil {
		t.broke(err)
		return true
	}
	t.broker.recover(epoch)
	return true
}

// The methods of shell.

func (t *simTerm) now() time.Duration { return t.n.clock() }

func (t *simTerm) gone() bool { return t.dead || t.n.disk.dead() }

func (t *simTerm) alarm(at time.Duration, ok bool) {
	if ok = ok && at != forever; !ok {
		at = 0
	}
	if at == t.due || t.gone() {
		return
	}
	t.due = at
	t.alarms++
	if !ok {
		return
	}
	alarm := t.alarms
	wait := time.Duration(float64(at-t.n.clock())/t.n.rate) + t.n.s.between(1, time.Millisecond)
	t.later(func() {
		t.after(max(0, wait), func() {
			if alarm == t.alarms {
				t.due = 0
				t.decide(Event{Kind: OnTick})
			}
		})
	})
}

func (t *simTerm) require(required bool) { t.requires = append(t.requires, required) }

func (t *simTerm) activate(epoch uint32) {
	if t.gone() {
		return
	}
	t.n.s.checker.activates(t, epoch)
	t.leading = epoch
}

func (t *simTerm) committed(seq uint64) {
	if !t.gone() {
		t.n.s.checker.commits(t, seq)
		t.broker.commit = seq
		t.later(t.broker.look)
	}
}

func (t *simTerm) extendLease(until time.Duration) {
	if !t.gone() {
		if until != forever {
			until += t.n.s.mutant.linger
		}
		t.permit.extend(until)
		t.later(t.broker.look)
	}
}

func (t *simTerm) refuse(bool) {}

func (t *simTerm) pause() {
	t.later(func() {
		t.broker.paused = true
		t.log.Sync()
		t.after(t.n.s.between(0, 20*time.Millisecond), t.drained)
	})
}

func (t *simTerm) drained() {
	switch {
	case !t.broker.paused:
	case t.broker.busy:
		t.after(time.Millisecond, t.drained)
	default:
		t.decide(Event{Kind: OnDrained, Seq: t.log.Last()})
	}
}

func (t *simTerm) resume() { t.later(func() { t.broker.paused = false }) }

func (t *simTerm) standDown(why Why) {
	if t.gone() {
		return
	}
	t.n.s.note("%s stands down: %s", t.n.name, why)
	if why == HandedOver {
		t.broker.leave()
	}
	t.broker.stop()
	t.later(func() {
		if why == JournalFailed {
			t.n.fail(errDiskFault)
			return
		}
		t.end()
	})
}

func (t *simTerm) broke(err error) {
	if !t.gone() {
		t.onFatal(err)
	}
}

func (t *simTerm) raise(a Alarm, raised bool) {
	if !t.gone() {
		t.n.s.note("%s alarm %s %t", t.n.name, a, raised)
	}
}
