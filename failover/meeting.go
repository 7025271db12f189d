package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"baton/journal"
)

// How a term finds the other node: who is not master dials, whoever listens accepts, and the newest connection is the one
// that counts.

const (
	refusedWait = 20 * time.Millisecond // between the two attempts of R13
	cutShort    = 4                     // attempts at a node that listens and greets nobody
	warnEvery   = 10 * time.Second      // of strangers
	// absentPatience is how long the other node may be away before the log says so: less than it takes an empty one to begin alone.
	absentPatience = 2 * time.Second
)

// meet looks for the other node as long as there is no connection and this node is not master; when a master is lost, at
// once; and whatever there is when asked to probe.
func (t *Term) meet() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	absent := lasting{patience: absentPatience}
	for {
		probe := false
		select {
		case <-t.ctx.Done():
			return
		case <-t.probing:
			probe = true
		case <-t.meeting:
		case <-timer.C:
		}
		switch {
		case probe:
			// The answer must be there before the promise to a silent master is over, and half of the time for it is left.
			t.seekPeer((t.n.opt.Terms.Lease + t.n.opt.Terms.Bias) / 2)
		case !t.lonely(), t.rests():
			absent.lasts(time.Now(), "")
		default:
			t.missPeer(&absent, t.seekPeer(0))
		}
		t.linkMu.Lock()
		timer.Reset(t.redial.wait())
		t.linkMu.Unlock()
	}
}

// lonely says that nobody is connected who should be.
func (t *Term) lonely() (lonely bool) {
	t.look(func(s *State) { lonely = !s.Role().IsMaster() })
	t.linkMu.Lock()
	defer t.linkMu.Unlock()
	// What an old connection still does to the journal comes first: the next HELLO tells of it.
	return lonely && t.link == nil && !slices.ContainsFunc(t.masters, func(l *numberedLink) bool { return !isClosed(l.ended) })
}

// rests says that the last copy of the journal found no room on the disk, and the next one is not due yet. Who is in sync with the
// journal that it has looks for the other node all the same: it may have to take over.
func (t *Term) rests() bool {
	var listed bool
	t.look(func(s *State) { listed = s.known && s.seen.Record.Lists(s.me()) })
	t.linkMu.Lock()
	defer t.linkMu.Unlock()
	return !listed && time.Now().Before(t.redial.due)
}

// missPeer logs once that the other node cannot be reached, when that has lasted.
func (t *Term) missPeer(absent *lasting, err error) {
	text := ""
	if err != nil {
		text = "absent"
	}
	if absent.lasts(time.Now(), text) && err != nil {
		t.logger.Warn("the other node cannot be reached", zap.String("failover.peer", t.n.opt.Address), zap.Error(err))
	}
}

// seekPeer dials the other node, and tells whether it was reached in time, or is dead (R13). No time is the usual one. The error
// is why it was not reached.
func (t *Term) seekPeer(within time.Duration) (err error) {
	refused := 0
	o := t.linkOptions()
	o.Greet = within
	for attempt := 1; refused < 2; attempt++ {
		if attempt > 1 {
			sleep(t.ctx, refusedWait)
		}
		var link *Link
		if link, err = Dial(t.ctx, t.n.opt.Address, o, t.hello); err == nil {
			t.linked(link)
			return nil
		}
		if t.ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, ErrSecret) || errors.Is(err, ErrStranger) {
			t.estranged(err)
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			refused++
			continue
		}
		refused = 0
		// One that cuts a connection short may be dying, and refuse the next.
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) || attempt == cutShort {
			break
		}
	}
	t.linkMu.Lock()
	dead := refused == 2 && t.closed && t.link == nil
	t.linkMu.Unlock()
	t.refusedBy("") // who has refused is not there
	t.handle(Event{Kind: OnUnreached, Dead: dead})
	return err
}

// estranged tells of somebody at the other node's address who is not the other node.
func (t *Term) estranged(err error) {
	t.handle(Event{Kind: OnStranger})
	t.sound(alarmPeerForeign, true, zap.String("address", t.n.opt.Address), zap.Error(err),
		zap.String("hint", "failover.name and failover.secret are to be the same on both nodes, failover.node is not, "+
			"and failover.peer is the other one's failover.listen"))
}

// receive takes connections of the other node.
func (t *Term) receive() {
	var waiting greetings
	for {
		select {
		case conn := <-t.n.incoming:
			waiting.add(conn)
			if !t.job(func() { t.welcomePeer(conn, &waiting) }) {
				_ = conn.Close()
			}
		case <-t.ctx.Done():
			return
		}
	}
}

func (t *Term) welcomePeer(conn net.Conn, waiting *greetings) {
	link, err := Accept(t.ctx, conn, t.linkOptions(), func(peer Hello) Hello {
		waiting.remove(conn)
		return t.hello(peer)
	})
	waiting.remove(conn)
	if err != nil {
		if t.ctx.Err() == nil {
			t.n.strangers.warn(t.logger, "a connection was refused that is not the other node's",
				zap.Stringer("from", conn.RemoteAddr()), zap.Error(err))
		}
		return
	}
	t.linked(link)
}

// A warner says what happens over and over only now and then, and how often it did.
type warner struct {
	mu    sync.Mutex
	last  time.Time
	since int
}

func (w *warner) warn(logger *zap.Logger, text string, fields ...zap.Field) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since++
	if now := time.Now(); now.Sub(w.last) >= warnEvery {
		logger.Warn(text, append(fields, zap.Int("times", w.since))...)
		w.last, w.since = now, 0
	}
}

func (t *Term) linkOptions() LinkOptions {
	o := &t.n.opt
	return LinkOptions{Node: o.Terms.Node, Pair: o.Pair, Secret: o.Secret, Logger: t.logger}
}

// hello is what this node says of itself now.
func (t *Term) hello(Hello) Hello {
	h := Hello{Incarnation: t.incarnation.String(), Advertise: t.n.opt.Advertise}
	t.look(func(s *State) { h.Role, h.Master, h.Epoch = s.Role().String(), s.Role().IsMaster(), s.Epoch() })
	return t.log.Hello(h)
}

// linked makes a connection the one that counts, and serves it until it ends.
func (t *Term) linked(link *Link) {
	l := &numberedLink{Link: link, ended: make(chan struct{}), begun: time.Now()}
	l.ctx, l.hangup = context.WithCancel(t.ctx)
	hello := link.Peer()
	t.linkMu.Lock()
	old := t.link
	if old != nil && old.keeps(&hello, l.begun) {
		t.linkMu.Unlock()
		l.hangup()
		link.Close()
		t.n.twins.warn(t.logger, "two processes say that they are the other node: has another one the same failover.node?",
			zap.String("node", hello.Node), zap.Stringer("one", old.conn.RemoteAddr()), zap.Stringer("other", link.conn.RemoteAddr()))
		return
	}
	t.links++
	l.number = t.links
	t.link, t.closed = l, false
	t.met(hello)
	t.refusedBy("") // it will say so again
	t.n.meets.Store(new(link.Host()))
	t.linkMu.Unlock()
	if old != nil {
		old.hangup()
	}
	if !hello.Master {
		t.n.opt.Door.Silent(true) // what it leads to is none
	}
	t.sound(alarmPeerForeign, false)
	t.logger.Info("connected with the other node", zap.String("node", hello.Node), zap.String("role", hello.Role),
		zap.Uint32("epoch", hello.Epoch), zap.Uint64("end", hello.End.Seq))
	t.handle(Event{Kind: OnLinked, Link: l.number, Peer: peerOf(&hello)})
	begun := t.job(func() {
		again := t.serveLink(l)
		close(l.ended)
		if again { // not before: who meets waits for the end of the last one
			signal(t.meeting)
		}
	})
	if !begun {
		link.Close()
		close(l.ended) // a later connection may wait for it
	}
}

// peerOf is what decides of a HELLO.
func peerOf(h *Hello) *Peer {
	p := &Peer{
		Node: h.Node, Cluster: h.Cluster, JournalID: h.Journal, Master: h.Master, Epoch: h.Epoch, Promised: h.Promised, RegRev: h.RegRev,
		End: h.End.Seq,
	}
	_ = p.Incarnation.UnmarshalText([]byte(h.Incarnation)) // one that is none tells nothing
	return p
}

// serveLink serves a connection to its end, and says whether another one is due at once: it was that of a master, or of one to
// be, and of use.
func (t *Term) serveLink(l *numberedLink) (again bool) {
	defer l.hangup()
	begun := time.Now()
	broken := t.runLink(l)
	t.linkMu.Lock()
	current := t.link == l
	if current {
		t.link, t.closed = nil, broken.Ending == Closed
		t.parted()
		t.n.opt.Door.Silent(true)
	}
	if l.quiet != nil {
		l.quiet.Stop()
	}
	t.linkMu.Unlock()
	if current {
		t.logger.Info("the connection with the other node has ended", zap.Error(broken))
	}
	if t.ctx.Err() != nil {
		return false
	}
	if errors.Is(broken, ErrRefused) {
		t.refusedBy(broken.Err.Error())
	}
	t.handle(Event{Kind: OnUnlinked, Link: l.number})
	t.tryMaster()
	if !current || !t.leads(l.Peer()) {
		return false
	}
	t.linkMu.Lock()
	defer t.linkMu.Unlock()
	return t.redial.ended(time.Since(begun))
}

// leads says that a node is the master or, by the register, about to be.
func (t *Term) leads(h Hello) (leads bool) {
	t.look(func(s *State) {
		r, known, _ := s.Seen()
		leads = h.Master || known && r.Found && r.Record.Master == h.Node
	})
	return leads
}

func (t *Term) runLink(l *numberedLink) *Broken {
	stream, err := Stream(&idle{onSignal: t.signalled(l.number)}), error(nil)
	if l.stream != nil {
		stream, err = l.stream()
	}
	if err != nil {
		l.Close()
		return &Broken{Ending: Invalid, Err: err}
	}
	broken := l.Run(l.ctx, stream)
	full := errors.Is(broken, errCopying) && isFull(broken)
	t.linkMu.Lock()
	t.redial.room(!full, time.Now())
	t.linkMu.Unlock()
	if full {
		t.refusedBy(noRoomForCopy)
	}
	return broken
}

// idle is the Stream between two nodes of which neither is master: signals alone.
type idle struct {
	onSignal func(Signal)
	seeds    seeds
}

func (idle) Next() ([]byte, error)        { return nil, nil }
func (idle) Close()                       {}
func (i *idle) bind(s seeds, _ func())    { i.seeds = s }
func (idle) coming()                      {}
func (idle) rest(time.Time) time.Duration { return 0 }
func (idle) mark() uint64                 { return 0 }
func (idle) settled(uint64) bool          { return true }

func (i *idle) Accept(b []byte) error {
	f, err := parseFrame(b, i.seeds.in)
	if err != nil {
		return err
	}
	if !f.kind.isSignal() {
		return fmt.Errorf("%s came between two nodes of which neither is master", f.kind)
	}
	s, err := parseSignal(f)
	if err == nil {
		i.onSignal(s)
	}
	return err
}

// signal wakes who waits for c; it never blocks.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// linkOf is the connection with this number, if it is the current one.
func (t *Term) linkOf(number uint64) *numberedLink {
	t.linkMu.Lock()
	defer t.linkMu.Unlock()
	if t.link == nil || t.link.number != number {
		return nil
	}
	return t.link
}

// More of the methods of shell.

func (t *Term) probe() { signal(t.probing) }

func (t *Term) send(link uint64, s Signal) {
	if l := t.linkOf(link); l != nil {
		l.Send(s)
	}
}

func (t *Term) hangup(link uint64) {
	if l := t.linkOf(link); l != nil {
		l.hangup()
	}
}

// signalled gives the member what came over a connection.
func (t *Term) signalled(link uint64) func(Signal) {
	return func(s Signal) { t.handle(Event{Kind: OnSignal, Link: link, Signal: s}) }
}

// follow has the connection, which is about to be run, take the stream of a master, and leads clients to that.
func (t *Term) follow(link uint64, epoch uint32) {
	l := t.linkOf(link)
	if l == nil {
		return
	}
	hello := l.Peer()
	t.following(hello.Node)
	t.linkMu.Lock()
	t.masters = slices.DeleteFunc(t.masters, func(l *numberedLink) bool { return isClosed(l.ended) })
	earlier := slices.Clone(t.masters)
	t.masters = append(t.masters, l)
	l.quiet = time.AfterFunc(t.quietTime(), func() { t.silent(l) })
	t.linkMu.Unlock()
	if hello.Advertise != "" {
		t.n.opt.Door.Relay(hello.Advertise)
		t.n.opt.Door.Silent(hello.Role == Activating.String()) // its door may lead here yet
	}
	l.stream = func() (Stream, error) {
		for _, before := range earlier { // one at a time changes the journal
			<-before.ended
		}
		var r *Receiver
		signalled, serves := t.signalled(link), hello.Role != Activating.String()
		r = NewReceiver(t.log, ReceiverOptions{
			OnSignal: func(s Signal) {
				if serves = serves || r.serves(&s); serves && s.Kind == Beacon {
					t.speaks(l)
				}
				signalled(s)
			},
			OnCommit:  t.broker.Durable,
			OnReplace: func() error { return t.yield(link) },
			OnReplaced: func() {
				t.end(fmt.Errorf("%w: %w", errAgain, ErrReplaced))
			},
			OnStored: func(seq uint64, epoch uint32) {
				t.handle(Event{Kind: OnAppended, Link: link, Seq: seq, Epoch: epoch})
			},
			OnCut: func(after uint64) error { return t.cuts(link, after) },
			OnPlanned: func(end journal.Position, cluster ID, epoch uint32) error {
				t.refusedBy("")
				t.handle(Event{Kind: OnPlanned, Link: link, Seq: end.Seq, Epoch: epoch, Cluster: cluster})
				return l.ctx.Err()
			},
		})
		return l.admit(r)
	}
}

// quietTime is how long a master may say nothing before clients are not led to it any more, until it speaks again or there is
// another. It may be dead, and its system still accept connections: a client that is led there loses its own. Nor are they while
// it is not connected: it may lead clients here by then, and two doors that lead to each other take all that there is.
func (t *Term) quietTime() time.Duration { return t.n.opt.Terms.Beacon * 3 / 2 }

func (t *Term) speaks(l *numberedLink) {
	t.linkMu.Lock()
	defer t.linkMu.Unlock()
	if t.link == l {
		signal(t.n.served)
		t.n.opt.Door.Silent(false)
		l.quiet.Reset(t.quietTime())
	}
}

func (t *Term) silent(l *numberedLink) {
	t.linkMu.Lock()
	defer t.linkMu.Unlock()
	if t.link == l && t.ctx.Err() == nil {
		t.n.opt.Door.Silent(true)
	}
}

// tryMaster has clients led again to a master that is not connected, if this node cannot take its place: then nobody else serves
// them, and if it lives it does. It is the master of the newest epoch that is known of, so its door does not lead here.
func (t *Term) tryMaster() {
	t.statusMu.Lock()
	master := t.follows
	t.statusMu.Unlock()
	leaves := false
	t.look(func(s *State) { leaves = master != "" && s.LeavesTo(master) })
	t.linkMu.Lock()
	defer t.linkMu.Unlock()
	if leaves && t.link == nil && t.ctx.Err() == nil {
		t.n.opt.Door.Silent(false)
	}
}

// cuts is before the journal is cut after a Seq. What was committed is cut off only where an operator has accepted its loss, and
// then the broker has applied what is not there any more: it begins anew with the next term.
func (t *Term) cuts(link, after uint64) error {
	err := t.shorten(link, after)
	if err == nil && after < t.log.Committed() {
		t.end(fmt.Errorf("%w: what was committed after seq %d is given up", errAgain, after))
	}
	return err
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// replicate has the connection, which is about to be run, bring a standby the log.
func (t *Term) replicate(link uint64, epoch uint32) {
	l := t.linkOf(link)
	if l == nil {
		return
	}
	l.stream = func() (Stream, error) {
		l.sender = NewSender(t.log, epoch, l.Peer(), SenderOptions{
			OnSignal:   t.signalled(link),
			OnNear:     func() { t.handle(Event{Kind: OnNear, Link: link}) },
			OnSnapshot: func() { t.handle(Event{Kind: OnSnapshot, Link: link}) },
		})
		return l.sender, nil
	}
}

// sendSnapshot is called because of OnSnapshot: the sender is there.
func (t *Term) sendSnapshot(link uint64) {
	if l := t.linkOf(link); l != nil {
		l.sender.SendSnapshot()
	}
}

// saw is told what the register says.
func (t *Term) saw(r Reading, err error) {
	r, err = t.fresh(r, err)
	e := Event{Kind: OnSeen, Reading: &r}
	switch {
	case errors.Is(err, ErrNoRegister):
		e.Reading = &Reading{}
	case errors.Is(err, ErrRecord):
		e.Reading = &Reading{Revision: r.Revision} // which an operator may overrule
	case err != nil:
		e.Failed = true
	}
	t.heard(r, err)
	t.handle(e)
	t.tryMaster()
}

// fresh reads once more where a reading is older than what this node knows by now, as long as it learns more meanwhile: it may have
// been on its way when a CAS was answered. That somebody has put the register back, only a read tells that began after that.
func (t *Term) fresh(r Reading, err error) (Reading, error) {
	for known := (Reading{}); err == nil; {
		var now Reading
		t.look(func(s *State) { now, _, _ = s.Seen() })
		if !older(&r, now.Record.Epoch, now.Revision) || !older(&known, now.Record.Epoch, now.Revision) {
			break
		}
		known = now
		r, err = t.n.opt.Register.Read(t.ctx)
	}
	return r, err
}

func (t *Term) readRegister() {
	t.job(func() { t.saw(t.n.opt.Register.Read(t.ctx)) })
}

func (t *Term) changeRegister(number, revision uint64, record Record) {
	record.At = time.Now()
	candidate := t.state.Role() == Candidate
	t.job(func() {
		// Who cannot write down that it is the master must not be named as such.
		if candidate {
			if err := t.writable(); err != nil {
				if t.ctx.Err() == nil {
					t.fail(err)
				}
				return
			}
		}
		revision, err := t.n.opt.Register.CAS(t.ctx, revision, record)
		e := Event{Kind: OnAnswer, Number: number, Revision: revision}
		switch {
		case errors.Is(err, ErrLost):
			e.Outcome = Lost
		case err != nil:
			e.Outcome = Unknown
		}
		t.logger.Info("asked the register", zap.Uint32("epoch", record.Epoch), zap.String("master", record.Master),
			zap.Any("insync", record.InSync), zap.Uint64("revision", revision), zap.Error(err))
		if t.ctx.Err() == nil || err == nil {
			t.handle(e)
		}
	})
}
