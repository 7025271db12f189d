package failover

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"baton/journal"
)

// A Term is the time of a node between an opening of its journal and the next: it begins as nobody in particular, may come
// to follow the other node or to lead, and ends when it has led or the process ends. What happens to it is a member's to
// decide; it is the member's shell, with the goroutines, sockets and clocks.
type Term struct {
	member
	n           *Node
	logger      *zap.Logger
	broker      Broker
	permit      *permit
	incarnation ID
	begun       atomic.Bool     // the member has a state
	leaving     context.Context // ends when the process is to end
	ctx         context.Context
	cancel      context.CancelFunc
	jobs        sync.WaitGroup
	hiring      sync.Mutex
	retired     bool          // no job begins any more; hiring guards it
	required    atomic.Bool   // writes are to wait for the peer
	requiring   chan struct{} // required has changed
	timer       *time.Timer
	alarmAt     time.Duration // on the clock; 0: none. The member's lock guards it
	meeting     chan struct{} // the other node is to be looked for now
	probing     chan struct{} // the same, even if there is a connection
	noted       Role          // as note saw it last; the member's lock guards it
	asking      bool          // the same of Overruling
	refusing    bool          // DoRefuse was said; the same guards it
	copies      atomic.Int32
	epoch       atomic.Uint32 // as note saw it last
	kept        atomic.Uint64 // up to here the other node has, too, what is committed

	space spaceWatch // of the disk of the journal

	fault  atomic.Pointer[error] // the first of the journal, or of the disk
	faulty chan struct{}         // closed when there is one
	over   chan struct{}         // closed when the term is to end, for cause
	ending sync.Once
	cause  error

	// Of the newest pause of the broker, or end of one; the member's lock guards both.
	forgo  context.CancelFunc // it is wanted no more
	turned chan struct{}      // closed when it is done

	reading  context.Context // ends when the log need not be read any more
	haveRead context.CancelFunc

	roles   chan uint32 // the epoch that this node is to lead
	rest    rest        // of the broker, while it follows
	serving context.Context
	goodbye context.CancelFunc // of serving: clients are to be told that the process ends, or are not let in any more

	linkMu  sync.Mutex
	link    *numberedLink // the newest
	links   uint64
	masters []*numberedLink // connections to masters that may not have ended
	closed  bool            // the last one was closed by the other side, which may be dead (R13)
	redial  redial

	statusMu  sync.Mutex
	role      Role          // as it was last noted
	changed   chan struct{} // closed when it is another one
	since     time.Time
	follows   string // whom this node follows or followed last; empty: nobody
	reason    string
	stoodDown Why
	alarms    []string
	peer      PeerStatus
	pairs     ID // the pair that the peer says it belongs to
	register  RegisterStatus
	record    Reading // what the register said last
	refusal   string  // of the master, when this node was to follow it last; empty: none
}

// newTerm opens the log. Errors of the journal and of the node's file are told as they are.
func newTerm(ctx context.Context, n *Node) (*Term, error) {
	t := &Term{
		rest:  newRest(),
		space: newSpaceWatch(),
		n:     n, logger: n.logger, permit: newPermit(bootTime), incarnation: randomID(),
		requiring: make(chan struct{}, 1), meeting: make(chan struct{}, 1), probing: make(chan struct{}, 1),
		faulty: make(chan struct{}), over: make(chan struct{}), forgo: func() {}, turned: make(chan struct{}),
		roles: make(chan uint32, 1), changed: make(chan struct{}), since: time.Now(),
		reason: n.last.Reason, // who runs the terms writes it
	}
	close(t.turned)
	t.leaving = ctx
	t.ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	t.serving, t.goodbye = context.WithCancel(t.ctx)
	t.reading, t.haveRead = context.WithCancel(t.ctx)
	t.register.State, t.register.Since = "not asked yet", t.since
	t.timer = time.AfterFunc(time.Hour, func() { t.handle(Event{Kind: OnTick}) })
	t.timer.Stop()
	o := LogOptions{
		Data: n.opt.Data, Node: n.opt.Terms.Node, Journal: n.opt.Journal, Retain: n.opt.Retain, SyncRate: n.opt.SyncRate,
		OnAppended: t.appended, OnDurable: t.durable, Rest: t.rest.begin,
	}
	o.Journal.OnFatal = t.fail
	t.space.watch(&o.Journal)
	t.broker = n.opt.NewBroker(t)
	log, err := OpenLog(o)
	if err != nil {
		t.cancel()
		return nil, err
	}
	t.log, t.shell = log, t
	kept, lineage, err := t.recollect()
	if err != nil {
		t.cancel()
		_ = log.Close()
		return nil, err
	}
	end := log.End()
	t.state = NewState(bootTime(), &n.opt.Terms, Start{
		Kept: kept, Incarnation: t.incarnation, End: end.Seq, LastEpoch: max(lineage.Last().Epoch, end.Epoch),
		Unread: n.whole != log.ID(), Leaving: n.leaving,
	})
	t.begun.Store(true)
	return t, nil
}

// recollect is what the node remembers. Where that is about another journal, it is a journal that nobody knows: its history
// is forgotten, what was promised is not.
func (m *member) recollect() (Kept, Lineage, error) {
	id := m.log.ID()
	if !m.log.Ours() {
		if err := m.log.Remember(func(p *Pair) { p.Journal, p.Lineage = id, nil }); err != nil {
			return Kept{}, nil, err
		}
	}
	p := m.log.Pair()
	return Kept{Cluster: p.Cluster, JournalID: id, Promised: p.Promised, RegRev: p.RegRev, Overruled: p.Overruled, Alone: p.Alone}, p.Lineage, nil
}

// run is the term, from the first event to the end of all that it began.
func (t *Term) run() error {
	t.job(t.demand)
	t.job(t.heed)
	t.job(t.watchSpace)
	t.job(t.readLog)
	t.job(t.watchRegister)
	t.job(t.tellWhyNot)
	t.job(t.meet)
	t.job(t.receive)
	t.job(func() { t.n.opt.Register.Watch(t.ctx, t.saw) })
	hosted := make(chan struct{})
	go func() {
		defer close(hosted)
		t.host()
	}()
	t.handle(Event{Kind: OnTick})
	select {
	case <-t.over:
	case <-t.leaving.Done():
		t.leave(hosted)
	}
	t.timer.Stop()
	t.cancel()
	<-hosted
	gone := make(chan struct{})
	t.n.gone = gone
	t.n.waiting.Go(func() { // for clients who are slow to go, and nobody else is
		defer close(gone)
		t.broker.Wait()
	})
	err := t.closeLog()
	if t.cause != nil {
		return t.cause
	}
	return err
}

// jobGrace is how long the jobs of a term that is over may take to end by themselves.
const jobGrace = 2 * time.Second

// closeLog closes the log when all jobs have ended. One that has not by then stores what a master has sent, and its disk has no
// room: it ends with the log.
func (t *Term) closeLog() error {
	closed := make(chan error, 1)
	late := time.AfterFunc(jobGrace, func() {
		t.finish()
		closed <- t.log.Close()
	})
	t.retire()
	if late.Stop() {
		t.finish()
		return t.log.Close()
	}
	return <-closed
}

// job runs fn in a goroutine that the term waits for, unless that has ended.
func (t *Term) job(fn func()) (begun bool) {
	t.hiring.Lock()
	defer t.hiring.Unlock()
	if !t.retired {
		t.jobs.Go(fn)
	}
	return !t.retired
}

// retire waits for all jobs.
func (t *Term) retire() {
	t.hiring.Lock()
	t.retired = true
	t.hiring.Unlock()
	t.timer.Stop()
	t.jobs.Wait()
}

// end has the term end for a cause; the first one counts.
func (t *Term) end(cause error) {
	t.ending.Do(func() {
		t.cause = cause
		close(t.over)
	})
}

// leave has the standby take over, if it is in sync. Else it takes leave of clients in peace, and then of the other node, which
// may take over at once.
func (t *Term) leave(hosted <-chan struct{}) {
	if t.handOver() {
		return
	}
	// Who follows says so while there is a connection: its master need not wait for it.
	t.handleIf(func(s *State) bool { return !s.Role().IsMaster() }, Event{Kind: OnLeave})
	t.goodbye()
	if role, _ := t.change(); role == StoodDown {
		return
	}
	<-hosted
	t.handle(Event{Kind: OnLeave})
}

// handOver has a standby that is in sync be the master before clients are told that this process ends, for some may be slow to
// take that. One that has just lost its connection has until it is given up to be back. It says whether this node has stood down.
func (t *Term) handOver() bool {
	late := time.After(t.n.opt.HandOver)
	for t.hasHeir() {
		t.handle(Event{Kind: OnLeaving})
		_, changed := t.change()
		select {
		case <-changed:
		case <-time.After(switchoverRetry):
		case <-t.over:
		case <-late:
			return isClosed(t.over)
		}
	}
	return isClosed(t.over)
}

// hasHeir is State.HasHeir.
func (t *Term) hasHeir() (has bool) {
	t.look(func(s *State) { has = s.HasHeir() })
	return has
}

// demand has writes wait for the peer, or not any more. To begin with that, the log waits for an Append to end.
func (t *Term) demand() {
	for {
		select {
		case <-t.requiring:
			t.log.Require(t.required.Load())
		case <-t.ctx.Done():
			return
		}
	}
}

// heed tells the member of a fault. That may be older than the member is, for the journal was opened before.
func (t *Term) heed() {
	select {
	case <-t.faulty:
		t.handle(Event{Kind: OnFault})
	case <-t.ctx.Done():
	}
}

// readLog finds out whether the log is whole, unless this process knows. Once the broker has read it all to lead, nobody waits
// for that any more.
func (t *Term) readLog() {
	if t.n.whole == t.log.ID() {
		return
	}
	switch err := t.log.Verify(t.reading); {
	case err == nil:
		t.n.whole = t.log.ID()
		t.handle(Event{Kind: OnRead})
	case t.reading.Err() == nil && !errors.Is(err, journal.ErrClosed):
		t.fail(fmt.Errorf("read the log: %w", err))
	}
}

// host has the broker follow until this node is to lead, and then lead.
func (t *Term) host() {
	for t.ctx.Err() == nil {
		if err := t.keepUp(); err != nil {
			t.brokerEnded(err)
			return
		}
		select {
		case epoch := <-t.roles:
			if err := t.lead(epoch); err != nil {
				t.brokerEnded(err)
			}
			return
		default:
		}
	}
}

// brokerEnded ends the term, but for a fault of the journal, which ends the broker too: then the node stands down by itself,
// within DegradeAfter.
func (t *Term) brokerEnded(err error) {
	if t.fault.Load() != nil {
		select {
		case <-t.over:
		case <-time.After(2 * t.n.opt.Terms.DegradeAfter):
		}
	}
	t.end(err)
}

// keepUp runs Follow until somebody wants the broker to rest, or the term to end.
func (t *Term) keepUp() error {
	ctx, end := t.rest.work(t.ctx)
	defer end()
	if len(t.roles) > 0 {
		return nil
	}
	err := t.broker.Follow(ctx, t.log)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	err = fmt.Errorf("follow the log: %w", err)
	t.fail(err)
	return err
}

// lead is the master of an epoch, until it is not.
func (t *Term) lead(epoch uint32) error {
	t.n.opt.Door.Wait() // for this node
	t.linkMu.Lock()
	masters := t.masters
	t.linkMu.Unlock()
	for _, l := range masters {
		l.shutOut() // nobody else appends from here on
	}
	err := t.log.Flush(t.serving)
	if err == nil {
		err = t.beginEpoch(epoch)
	}
	if err == nil {
		cluster := t.log.Pair().Cluster
		err = t.broker.Recover(t.serving, t.log, hex.EncodeToString(cluster[:4]), epoch)
	}
	if err != nil {
		if t.serving.Err() != nil {
			return nil
		}
		err = fmt.Errorf("become the master of epoch %d: %w", epoch, err)
		t.fail(err)
		return err
	}
	t.haveRead()
	t.handle(Event{Kind: OnRead})
	clients := t.n.opt.Door.Serve()
	defer clients.Close()
	t.handle(Event{Kind: OnActivated})
	return t.broker.Serve(t.serving, clients)
}

// beginEpoch is Log.Begin, as soon as there is room for it or the process is to end.
func (t *Term) beginEpoch(epoch uint32) error {
	for told := false; ; told = true {
		err := t.log.Begin(epoch)
		if !isFull(err) || t.serving.Err() != nil {
			return err
		}
		if !told {
			t.logger.Error("the disk is full: this node waits for room for the beginning of its epoch", zap.Error(err))
		}
		sleep(t.serving, roomRetry)
	}
}

// appended is the log's OnAppended.
func (t *Term) appended(end journal.Position) {
	t.handle(Event{Kind: OnAppended, Seq: end.Seq, Epoch: end.Epoch})
}

// durable is the journal's OnDurable.
func (t *Term) durable(seq uint64) {
	if !t.begun.Load() {
		return
	}
	t.handle(Event{Kind: OnDurable, Seq: seq})
}

// fail has the node stand down, for it can keep nothing any more; it is the journal's OnFatal. A master first has the peer take
// over, which takes a moment (R12). Who tells of a fault does not wait for what comes of it, and only the first one counts.
func (t *Term) fail(err error) {
	if t.fault.CompareAndSwap(nil, &err) {
		close(t.faulty)
	}
}

// The methods of shell follow. The member calls them while it is locked.

func (t *Term) now() time.Duration { return bootTime() }

func (t *Term) alarm(at time.Duration, ok bool) {
	if !ok {
		at = 0
	}
	t.note()
	if at == t.alarmAt {
		return
	}
	t.alarmAt = at
	if !ok {
		t.timer.Stop()
		return
	}
	t.timer.Reset(max(0, at-bootTime()))
}

func (t *Term) require(required bool) {
	t.required.Store(required)
	signal(t.requiring)
}

func (t *Term) activate(epoch uint32) {
	t.roles <- epoch
	t.rest.interrupt()
}

func (t *Term) committed(seq uint64) {
	t.keep()
	t.broker.Durable(seq)
}

func (t *Term) extendLease(until time.Duration) { t.permit.extend(until) }

func (t *Term) refuse(refuse bool) {
	t.refusing = refuse
	t.copies.Store(t.copiesOf(t.state.Role()))
	t.broker.Refuse(refuse)
}

func (t *Term) pause() {
	t.inTurn(func(wanted context.Context) {
		last, err := t.broker.Pause(wanted)
		if err != nil && wanted.Err() == nil {
			t.logger.Warn("the broker could not be paused", zap.Error(err))
		}
		if err == nil {
			t.handleUntil(wanted, Event{Kind: OnDrained, Seq: last})
		}
	})
}

func (t *Term) resume() { t.inTurn(func(context.Context) { t.broker.Resume() }) }

// inTurn has the broker rest or go on, after what was wanted of it before, which is wanted no more.
func (t *Term) inTurn(fn func(wanted context.Context)) {
	t.forgo()
	wanted, forgo := context.WithCancel(t.ctx)
	before, turned := t.turned, make(chan struct{})
	t.forgo, t.turned = forgo, turned
	t.job(func() {
		defer close(turned)
		defer forgo()
		<-before
		fn(wanted)
	})
}

func (t *Term) standDown(why Why) {
	err := fmt.Errorf("%w: %s", errAgain, why)
	if why == JournalFailed {
		err = errors.New(why.String())
		if fault := t.fault.Load(); fault != nil {
			err = *fault
		}
	}
	t.statusMu.Lock()
	t.reason, t.stoodDown = why.String(), why
	t.statusMu.Unlock()
	t.logger.Warn("this node stands down", zap.Stringer("why", why))
	if why == HandedOver || why == Leaving {
		t.broker.Leave(err)
	} else {
		t.broker.Fail(err)
		t.n.opt.Door.Wait()
	}
	t.end(err)
}

func (t *Term) broke(err error) {
	t.logger.Error("this node cannot go on", zap.Error(err))
	t.fail(err)
}
