package failover

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"baton/journal"
	"baton/journal/memfs"
)

// A lone is one node in this process; the other one is never there.
type lone struct {
	*Node
	broker *quietBroker
	stop   context.CancelFunc
	ended  chan error // what Run returned
}

func newLone(t *testing.T, register Register, change func(*NodeOptions)) *lone {
	t.Helper()
	other := listenLoopback(t)
	_ = other.Close()
	l := &lone{ended: make(chan error, 1), broker: &quietBroker{
		serves: make(chan struct{}, 8), hold: make(chan struct{}), changed: make(chan struct{}), failed: make(chan struct{}),
	}}
	close(l.broker.hold)
	o := NodeOptions{
		Terms: Terms{
			Node: "a", DegradeAfter: time.Second, HoldTimeout: time.Minute, FenceAfter: time.Hour, Lease: 1500 * time.Millisecond,
			Guard: 150 * time.Millisecond, Bias: 500 * time.Millisecond, Beacon: 300 * time.Millisecond, Retry: time.Minute,
			Refresh: time.Hour,
		},
		Pair: "test", Data: "data", Journal: journal.Options{SegmentBytes: 1 << 20, FS: memfs.New()},
		Listener: listenLoopback(t), Address: other.Addr().String(), Advertise: "a:61613", Register: register,
		Door: NewDoor(listenLoopback(t), DoorOptions{}), NewBroker: func(*Term) Broker { return l.broker },
	}
	if change != nil {
		change(&o)
	}
	l.Node = NewNode(o)
	ctx, cancel := context.WithCancel(t.Context())
	l.stop = cancel
	go func() { l.ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		l.ended <- <-l.ended
	})
	<-l.Opened()
	return l
}

// term is the one that there is.
func (l *lone) term(t *testing.T) *Term {
	t.Helper()
	term, err := l.current()
	if err != nil {
		t.Fatal(err)
	}
	return term
}

// awaitState waits until the state of a term is as wanted, which it is told of with a change of the role.
func (t *Term) awaitState(is func(*State) bool) {
	for {
		var done bool
		var changed <-chan struct{}
		t.look(func(s *State) {
			done = is(s)
			_, changed = t.change()
		})
		if done {
			return
		}
		<-changed
	}
}

// A muteRegister answers nothing, and keeps what it is asked.
type muteRegister struct{}

func (muteRegister) Watch(ctx context.Context, _ func(Reading, error)) { <-ctx.Done() }

func (muteRegister) Read(ctx context.Context) (Reading, error) {
	<-ctx.Done()
	return Reading{}, ctx.Err()
}

func (muteRegister) CAS(ctx context.Context, _ uint64, _ Record) (uint64, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// The journal of a node may fail before the node has found out who it is.
func TestFaultBeforeTheTermBegins(t *testing.T) {
	t.Parallel()
	n := newLone(t, &plainRegister{changed: make(chan struct{})}, func(o *NodeOptions) {
		o.NewBroker = func(term *Term) Broker {
			term.fail(errBrokenDisk)
			return &quietBroker{serves: make(chan struct{}, 8), changed: make(chan struct{}), failed: make(chan struct{})}
		}
	})
	err := <-n.ended
	n.ended <- nil
	if !errors.Is(err, errBrokenDisk) {
		t.Errorf("the node ended with %v", err)
	}
}

// Whatever comes while the log is busy, the last word on whether writes wait for the peer counts.
func TestTheLastDemandCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, err := OpenLog(LogOptions{Data: "data", Node: "a", Journal: journal.Options{SegmentBytes: 1 << 20, FS: memfs.New()}})
		if err != nil {
			t.Fatal(err)
		}
		term := &Term{requiring: make(chan struct{}, 1)}
		term.log = log
		ctx, cancel := context.WithCancel(t.Context())
		term.ctx = ctx
		term.job(term.demand)
		log.appending.Lock()
		for i := range 1001 {
			term.require(i%2 == 1)
		}
		log.appending.Unlock()
		synctest.Wait()
		log.buffer.mu.Lock()
		if log.buffer.required {
			t.Error("writes wait for a peer that is not required")
		}
		log.buffer.mu.Unlock()
		cancel()
		term.jobs.Wait()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Who waits for a promotion hears at once that the node has ended meanwhile.
func TestPromoteHearsThatTheTermEnds(t *testing.T) {
	t.Parallel()
	n := newLone(t, muteRegister{}, nil)
	term := n.term(t)
	answered := make(chan error, 1)
	go func() { answered <- n.Promote(t.Context(), true) }()
	term.awaitState((*State).Overruling)
	term.end(errBrokenDisk)
	if err := <-answered; !errors.Is(err, errBrokenDisk) {
		t.Errorf("answered %v", err)
	}
	if err := <-n.ended; !errors.Is(err, errBrokenDisk) {
		t.Errorf("the node ended with %v", err)
	}
	n.ended <- nil
}

// A promotion is void when nobody waits for it any more, or when there is a master to follow: the register may answer much later.
func TestPromoteIsNotDoneLater(t *testing.T) {
	t.Parallel()
	n := newLone(t, muteRegister{}, nil)
	term := n.term(t)
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() { answered <- n.Promote(ctx, true) }()
	term.awaitState((*State).Overruling)
	cancel()
	if err := <-answered; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "nothing will be") {
		t.Errorf("answered %v", err)
	}
	for what, e := range map[string]Event{
		"the operator waits no more": {Kind: OnPromoteOver},
		"there is a master": {Kind: OnLinked, Link: 1, Peer: &Peer{
			Node: "a", Cluster: ID{1}, JournalID: ID{1}, Master: true, Epoch: 5, Promised: 5,
		}},
	} {
		s, reading := standbyOf(5)
		s.Step(2, Event{Kind: OnPromote}, nil)
		s.Step(3, e, nil)
		if s.Overruling() || asks(s.Step(4, Event{Kind: OnSeen, Reading: &reading}, nil)) {
			t.Errorf("%s, and it is promoted", what)
		}
	}
}

// An operator's word is remembered for ever: with each later change of roles, and by the node that becomes the master with it.
func TestOverruledIsRemembered(t *testing.T) {
	t.Parallel()
	s, reading := standbyOf(5)
	s.Step(2, Event{Kind: OnPromote}, nil)
	asked := asksFor(s.Step(3, Event{Kind: OnSeen, Reading: &reading}, nil))
	if asked == nil || asked.Epoch != 6 || !asked.Forced || asked.Overruled != 6 {
		t.Fatalf("a promotion asks for %+v", asked)
	}
	actions := s.Step(4, Event{Kind: OnAnswer, Number: s.ask.number, Revision: 8}, nil)
	if len(actions) == 0 || actions[0].Kind != DoPersist || actions[0].Kept.Overruled != 6 {
		t.Errorf("a promoted node does %+v", actions)
	}

	s, reading = standbyOf(9)
	reading.Revision, reading.Record.Epoch, reading.Record.Overruled = 8, 10, 6
	s.Step(2, Event{Kind: OnUnreached}, nil)
	s.Step(3, Event{Kind: OnSeen, Reading: &reading}, nil)
	asked = asksFor(s.Step(3+2*time.Second, Event{Kind: OnTick}, nil))
	if asked == nil || asked.Epoch != 11 || asked.Forced || asked.Overruled != 6 {
		t.Errorf("a takeover asks for %+v", asked)
	}
}

// asksFor is the record of the CAS among the actions; nil: there is none.
func asksFor(actions []Action) *Record {
	for i := range actions {
		if actions[i].Kind == DoCAS {
			return actions[i].Record
		}
	}
	return nil
}

// A lonelyBroker never hears that anything is committed.
type lonelyBroker struct{ *quietBroker }

func (lonelyBroker) Durable(uint64) {}

// A node that is told to end while it cannot yet serve, for its first record is not committed, ends.
func TestNodeEndsBeforeItServes(t *testing.T) {
	t.Parallel()
	n := newLone(t, &plainRegister{changed: make(chan struct{})}, func(o *NodeOptions) {
		quiet := o.NewBroker
		o.NewBroker = func(t *Term) Broker { return lonelyBroker{quiet(t).(*quietBroker)} }
	})
	n.term(t).awaitState(func(s *State) bool { return s.Role() == Activating })
	n.stop()
	if err := <-n.ended; err != nil {
		t.Error(err)
	}
	n.ended <- nil
}

// A stuntedBroker cannot begin an epoch.
type stuntedBroker struct{ *quietBroker }

func (stuntedBroker) Recover(context.Context, *Log, string, uint32) error { return errBrokenDisk }

// A node that takes over waits until nothing of the old master is stored any more, and not until the connection has ended: that
// takes a moment where the old master is silent.
func TestTakeoverOfASilentMaster(t *testing.T) {
	t.Parallel()
	n := newLone(t, muteRegister{}, func(o *NodeOptions) {
		quiet := o.NewBroker
		o.NewBroker = func(t *Term) Broker { return stuntedBroker{quiet(t).(*quietBroker)} }
	})
	term := n.term(t)
	r := NewReceiver(term.log, ReceiverOptions{})
	master := &numberedLink{ended: make(chan struct{})}
	defer close(master.ended)
	if _, err := master.admit(r); err != nil {
		t.Fatal(err)
	}
	term.linkMu.Lock()
	term.masters = append(term.masters, master)
	term.linkMu.Unlock()
	if err := term.lead(1); !errors.Is(err, errBrokenDisk) {
		t.Errorf("it ended with %v", err)
	}
	if _, err := r.take(frame{kind: kindPlan, epoch: 9}); err == nil || !strings.Contains(err.Error(), "the stream has ended") {
		t.Errorf("a frame of the old master came to %v", err)
	}
	if _, err := master.admit(NewReceiver(term.log, ReceiverOptions{})); err == nil {
		t.Error("another stream of the old master is taken")
	}
}

// What CONNECTED tells is there at any time, also while the node writes to its disk.
func TestBrokersDoNotWait(t *testing.T) {
	t.Parallel()
	p := newTwosome(t)
	master := p.awaitMaster()
	term := p.awaitDuplex(master)
	p.awaitRole(1-master, Standby)
	other, err := p.nodes[1-master].current()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"tcp://" + p.options[master].Advertise, "tcp://" + p.options[1-master].Advertise}
	for i, of := range []*Term{term, other} {
		of.mu.Lock()
		if got := of.n.Brokers(); !slices.Equal(got, want) {
			t.Errorf("node %d of %d: brokers %v, want %v", i, master, got, want)
		}
		if got := of.Epoch(); got != of.state.Epoch() || got == 0 {
			t.Errorf("node %d of %d: epoch %d, want %d", i, master, got, of.state.Epoch())
		}
		of.mu.Unlock()
	}
}

// A stubbornRegister lets nobody change what it says.
type stubbornRegister struct{ plainRegister }

func (*stubbornRegister) CAS(context.Context, uint64, Record) (uint64, error) { return 0, ErrLost }

// A promotion that the register does not take is over, and the operator hears of it.
func TestPromoteHearsThatTheRegisterSaysNo(t *testing.T) {
	t.Parallel()
	r := &stubbornRegister{plainRegister{changed: make(chan struct{}), now: Reading{Revision: 4, Found: true, Record: Record{
		Cluster: ID{1}, Epoch: 3, Master: "b", InSync: []Member{{Node: "b", JournalID: ID{2}}},
	}}}}
	for _, c := range []struct {
		cluster ID // of the node
		want    string
	}{
		{ID{1}, "has not confirmed"},
		{ID{}, "the register has the record of another pair, whose master is b"},
		{ID{7}, "the register has the record of another pair, whose master is b"},
	} {
		n := newLone(t, r, func(o *NodeOptions) {
			p := Pair{Node: o.Terms.Node, Cluster: c.cluster}
			if err := errors.Join(o.Journal.FS.MkdirAll(o.Data), p.Store(o.Journal.FS, o.Data)); err != nil {
				t.Fatal(err)
			}
		})
		if err := n.Promote(t.Context(), true); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("a node of the pair %v was answered %v", c.cluster, err)
		}
	}
}

// An illegibleRegister has what no node can read, until a CAS replaces it.
type illegibleRegister struct{ plainRegister }

func (r *illegibleRegister) Read(context.Context) (Reading, error) { return r.legible(r.look()) }

func (r *illegibleRegister) legible(now Reading, _ <-chan struct{}) (Reading, error) {
	if !now.Found {
		return now, ErrRecord
	}
	return now, nil
}

func (r *illegibleRegister) Watch(ctx context.Context, fn func(Reading, error)) {
	r.plainRegister.Watch(ctx, func(now Reading, _ error) { fn(r.legible(now, nil)) })
}

// What is in the register, and cannot be read, makes way for the record of a node that an operator promotes.
func TestPromoteOverrulesAnIllegibleRecord(t *testing.T) {
	t.Parallel()
	r := &illegibleRegister{plainRegister{changed: make(chan struct{}), now: Reading{Revision: 4}}}
	n := newLone(t, r, nil)
	if err := n.Promote(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if records := r.records(); len(records) != 1 || records[0].Master != "a" || !records[0].Forced {
		t.Errorf("the register said %+v", records)
	}
}

// A promotion at a master writes the register anew, and is over when that is done (R9).
func TestPromoteAtAMaster(t *testing.T) {
	t.Parallel()
	p := newTwosome(t)
	master := p.awaitMaster()
	term := p.awaitDuplex(master)
	epoch := term.Epoch()
	if err := p.nodes[master].Promote(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(p.register.records(), func(r Record) bool { return r.Epoch == epoch+1 })
	if i < 0 {
		t.Fatalf("nothing above epoch %d: %+v", epoch, p.register.records())
	}
	if anew := p.register.records()[i]; anew.Master != p.options[master].Terms.Node || len(anew.InSync) != 2 || anew.Forced ||
		anew.Overruled != anew.Epoch {
		t.Errorf("the register says %+v", anew)
	}
	if got := p.awaitMaster(); got != master {
		t.Errorf("node %d serves", got)
	}
}

// A restless broker says what it is asked to do, and does it when it may.
type restless struct {
	*quietBroker
	pauses  chan uint64 // what Pause returns, when it comes; it minds no context
	resumes chan struct{}
	rests   atomic.Bool
}

func (b *restless) Pause(context.Context) (uint64, error) {
	last := <-b.pauses
	b.rests.Store(true)
	return last, nil
}

func (b *restless) Resume() {
	b.rests.Store(false)
	b.resumes <- struct{}{}
}

// A pause that is wanted no more does not outlast its end, and what it came to is not taken for what the next one does.
func TestPausesAndTheirEndsComeInTurn(t *testing.T) {
	t.Parallel()
	b := &restless{pauses: make(chan uint64, 2), resumes: make(chan struct{}, 1000)}
	term := &Term{broker: b, logger: zap.NewNop(), changed: make(chan struct{}), forgo: func() {}, turned: make(chan struct{})}
	close(term.turned)
	term.ctx, term.shell = t.Context(), term
	for range 200 {
		term.mu.Lock()
		term.pause()
		term.resume()
		term.mu.Unlock()
		b.pauses <- 1
		<-b.resumes
		term.jobs.Wait()
		if b.rests.Load() {
			t.Fatal("the broker rests after its pause was ended")
		}
	}
	term.state = State{terms: &Terms{}, role: HandingOver, draining: drainPause, end: 9}
	term.mu.Lock()
	term.pause()
	term.resume()
	term.pause()
	term.mu.Unlock()
	b.pauses <- 7
	<-b.resumes
	b.pauses <- 9
	term.jobs.Wait()
	if term.state.drained != 9 || !b.rests.Load() {
		t.Errorf("the broker rests: %t, after seq %d; want that it does, after 9", b.rests.Load(), term.state.drained)
	}
}

// A brokenPause is a broker that cannot come to rest.
type brokenPause struct {
	*quietBroker
	pauses chan struct{}
}

func (b brokenPause) Pause(ctx context.Context) (uint64, error) {
	close(b.pauses)
	<-ctx.Done()
	return 0, ctx.Err()
}

// Who waits for a switchover hears at once that the broker has ended meanwhile.
func TestSwitchoverHearsThatTheTermEnds(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	brokers := map[*Term]brokenPause{}
	p := newTwosome(t, func(o *NodeOptions) {
		newBroker := o.NewBroker
		o.NewBroker = func(t *Term) Broker {
			mu.Lock()
			defer mu.Unlock()
			brokers[t] = brokenPause{newBroker(t).(*quietBroker), make(chan struct{})}
			return brokers[t]
		}
	})
	master := p.awaitMaster()
	term := p.awaitDuplex(master)
	mu.Lock()
	broker := brokers[term]
	mu.Unlock()
	answered := make(chan error, 1)
	go func() { answered <- p.nodes[master].Switchover(t.Context()) }()
	<-broker.pauses
	broker.Fail(errBrokenDisk)
	if err := <-answered; !errors.Is(err, errBrokenDisk) || !strings.Contains(err.Error(), "there was no switchover") {
		t.Errorf("answered %v", err)
	}
}

// A node that has asked for the role of a master does not give its journal up.
func TestResyncIsRefusedToACandidate(t *testing.T) {
	t.Parallel()
	r := &deafRegister{plainRegister{changed: make(chan struct{})}}
	n := newLone(t, r, nil)
	term := n.term(t)
	term.awaitState(func(s *State) bool { return s.Role() == Candidate })
	if err := n.Resync(t.Context()); err == nil || !strings.Contains(err.Error(), "this node is candidate") {
		t.Errorf("answered %v", err)
	}
	if term.log.Hello(Hello{}).Resync {
		t.Error("it asks for a snapshot all the same")
	}
}

// A deafRegister says what it is, and never answers who wants to change it.
type deafRegister struct{ plainRegister }

func (*deafRegister) CAS(ctx context.Context, expect uint64, record Record) (uint64, error) {
	return muteRegister{}.CAS(ctx, expect, record)
}

// hooked is a logger that calls fn with what it is told.
func hooked(fn func(text string)) *zap.Logger {
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(io.Discard), zapcore.InfoLevel)
	return zap.New(core, zap.Hooks(func(e zapcore.Entry) error {
		fn(e.Message)
		return nil
	}))
}

// While the standby is away nothing is committed, and the status says so, before the master has decided on anything.
func TestStatusOfAMasterWithoutItsStandby(t *testing.T) {
	t.Parallel()
	parted, back := [2]chan struct{}{make(chan struct{}, 64), make(chan struct{}, 64)}, make(chan struct{})
	var armed atomic.Bool
	p := newTwosome(t, func(o *NodeOptions) {
		o.Terms.DegradeAfter = time.Hour
		o.Listener = shutListener{o.Listener, &armed} // or the next connection may be there before the end of this one is told
		mine := parted[o.Terms.Node[0]-'a']
		o.Logger = hooked(func(text string) {
			if armed.Load() && strings.HasSuffix(text, "has ended") {
				mine <- struct{}{}
				<-back
			}
		})
	})
	master := p.awaitMaster()
	term := p.awaitDuplex(master)
	if s := term.Status(); s.Role != "duplex" || !s.Peer.Linked {
		t.Errorf("with its standby: %+v", s)
	}
	armed.Store(true)
	term.linkMu.Lock()
	term.link.Close()
	term.linkMu.Unlock()
	<-parted[master]
	<-parted[1-master]
	if _, speaks := p.nodes[1-master].opt.Door.look(); speaks == nil {
		t.Error("the standby leads clients to a master that it is not connected with")
	}
	if s := term.Status(); s.Role != "held" || s.Peer.Linked || !s.Serving || s.Since != s.Peer.Since {
		t.Errorf("without its standby: %+v", s)
	}
	armed.Store(false)
	close(back)
}

// A shutListener hangs up on everybody while it is shut.
type shutListener struct {
	net.Listener
	shut *atomic.Bool
}

func (l shutListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || !l.shut.Load() {
			return conn, err
		}
		conn.Close()
	}
}

// The end of a connection may be told after the next one has begun; the status is that of the next one.
func TestStatusOfANewConnection(t *testing.T) {
	t.Parallel()
	var watched atomic.Value // name of the master
	connected := make(chan struct{}, 64)
	p := newTwosome(t, func(o *NodeOptions) {
		o.Logger = hooked(func(text string) {
			switch {
			case watched.Load() != o.Terms.Node:
			case strings.HasPrefix(text, "connected with"):
				connected <- struct{}{}
			case strings.HasSuffix(text, "has ended"):
				<-connected
			}
		})
	})
	master := p.awaitMaster()
	term := p.awaitDuplex(master)
	term.linkMu.Lock()
	link := term.link
	term.linkMu.Unlock()
	watched.Store(p.options[master].Terms.Node)
	link.Close()
	<-link.ended
	watched.Store("")
	if s := term.Status(); !s.Peer.Linked {
		t.Errorf("peer %+v, and it is connected", s.Peer)
	}
}

// A slowBroker begins all epochs but the first when it may.
type slowBroker struct {
	*quietBroker
	may <-chan struct{}
}

func (b slowBroker) Recover(ctx context.Context, log *Log, name string, epoch uint32) error {
	if epoch > 1 {
		select {
		case <-b.may:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return b.quietBroker.Recover(ctx, log, name, epoch)
}

// A door leads to a master that serves, and a switchover waits for that. One that does not yet might lead clients here, and so on for ever.
func TestDoorWaitsForAMasterThatServes(t *testing.T) {
	t.Parallel()
	may := make(chan struct{})
	p := newTwosome(t, func(o *NodeOptions) {
		quiet := o.NewBroker
		o.NewBroker = func(t *Term) Broker { return slowBroker{quiet(t).(*quietBroker), may} }
	})
	master := p.awaitMaster()
	p.awaitDuplex(master)
	switched := make(chan error, 1)
	go func() { switched <- p.nodes[master].Switchover(t.Context()) }()
	p.awaitRole(1-master, Activating)
	p.awaitRole(master, Standby)
	p.awaitPromise(1 - master)
	p.awaitBeacons(1-master, 2) // that something is committed, which is none of its own
	select {
	case err := <-switched:
		t.Fatalf("the switchover is over, and nobody serves: %v", err)
	default:
	}
	late, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.nodes[master].awaitHeir(late); err == nil || !strings.Contains(err.Error(), "has handed over, and has not heard yet") {
		t.Errorf("of a master that does not serve in time it is said: %v", err)
	}
	w, speaks := p.nodes[master].opt.Door.look()
	if w.address != p.options[1-master].Advertise || speaks == nil {
		t.Fatalf("the door leads to %q, at once: %t", w.address, speaks == nil)
	}
	close(may)
	<-speaks
	if err := <-switched; err != nil {
		t.Error(err)
	}
	if got := p.awaitMaster(); got != 1-master {
		t.Errorf("node %d serves", got)
	}
}

// awaitBeacons waits until the other node has answered so many beacons of this one after something was committed.
func (p *twosome) awaitBeacons(i, count int) {
	p.t.Helper()
	term, err := p.nodes[i].current()
	if err != nil {
		p.t.Fatal(err)
	}
	var lease time.Duration
	for late := time.Now().Add(30 * time.Second); count > 0; time.Sleep(time.Millisecond) { // nothing tells of it
		term.look(func(s *State) {
			if s.commit > 0 && s.peer.lease > lease {
				lease = s.peer.lease
				count--
			}
		})
		if time.Now().After(late) {
			p.t.Fatalf("node %d: %+v", i, p.nodes[i].Status())
		}
	}
}

// awaitPromise waits until the other node has heard a beacon of this one.
func (p *twosome) awaitPromise(i int) {
	p.t.Helper()
	term, err := p.nodes[i].current()
	if err != nil {
		p.t.Fatal(err)
	}
	for late := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) { // nothing tells of it
		promised := false
		term.look(func(s *State) { promised = s.peer.promised })
		if promised {
			return
		}
		if time.Now().After(late) {
			p.t.Fatalf("node %d: %+v", i, p.nodes[i].Status())
		}
	}
}
