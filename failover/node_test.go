package failover

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"baton/journal"
	"baton/journal/memfs"
)

// A plainRegister does what it is asked, in memory.
type plainRegister struct {
	mu      sync.Mutex
	now     Reading
	changed chan struct{}
	all     []Record // that there were
}

func (r *plainRegister) CAS(_ context.Context, expect uint64, record Record) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if expect != r.now.Revision {
		return 0, ErrLost
	}
	r.now = Reading{Revision: expect + 1, Found: true, Record: record}
	r.all = append(r.all, record)
	close(r.changed)
	r.changed = make(chan struct{})
	return r.now.Revision, nil
}

func (r *plainRegister) look() (Reading, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now, r.changed
}

func (r *plainRegister) Read(context.Context) (Reading, error) {
	now, _ := r.look()
	return now, nil
}

func (r *plainRegister) Watch(ctx context.Context, fn func(Reading, error)) {
	for {
		now, changed := r.look()
		fn(now, nil)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// A quietBroker has no clients: it begins its epochs, and serves until it is told not to.
type quietBroker struct {
	serves  chan struct{} // has one when Serve has begun
	hold    chan struct{} // clients are gone when it is closed
	start   int           // octets of what begins an epoch
	mu      sync.Mutex
	durable uint64
	changed chan struct{}
	failed  chan struct{}
	cause   error
	left    bool
	gone    *atomic.Bool // somebody has waited for the last client
}

func (b *quietBroker) Follow(ctx context.Context, _ *Log) error {
	<-ctx.Done()
	return nil
}

func (b *quietBroker) Recover(ctx context.Context, log *Log, _ string, epoch uint32) error {
	seq := log.Last() + 1
	if err := log.Append([]journal.Record{{Seq: seq, Epoch: epoch, Type: 1, Body: make([]byte, max(b.start, 1))}}); err != nil {
		return err
	}
	log.Sync()
	for {
		b.mu.Lock()
		durable, changed := b.durable, b.changed
		b.mu.Unlock()
		if durable >= seq {
			return nil
		}
		select {
		case <-changed:
		case <-b.failed:
			return b.cause
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *quietBroker) Serve(ctx context.Context, clients net.Listener) error {
	b.serves <- struct{}{}
	defer clients.Close()
	select {
	case <-ctx.Done():
	case <-b.failed:
	}
	if isClosed(b.failed) { // of both, this counts
		return b.cause
	}
	<-b.hold
	return nil
}

func (b *quietBroker) Durable(seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.durable = max(b.durable, seq)
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *quietBroker) Fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cause == nil {
		b.cause = err
		close(b.failed)
	}
}

func (b *quietBroker) Leave(err error) {
	b.mu.Lock()
	b.left = true
	b.mu.Unlock()
	b.Fail(err)
}

func (b *quietBroker) Wait() {
	b.mu.Lock()
	left := b.left
	b.mu.Unlock()
	if left {
		<-b.hold
		b.gone.Store(true)
	}
}

func (b *quietBroker) Resume()     {}
func (b *quietBroker) Refuse(bool) {}

func (b *quietBroker) Pause(context.Context) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.durable, nil // nothing is appended but what begins an epoch
}

// A twosome is two nodes in this process.
type twosome struct {
	t        *testing.T
	register *plainRegister
	serves   [2]chan struct{}
	hold     [2]chan struct{}
	gone     [2]atomic.Bool
	terms    [2]atomic.Int32 // how many there were
	options  [2]NodeOptions
	nodes    [2]*Node
	stop     [2]func() error
	disks    [2]*memfs.FS
}

func newTwosome(t *testing.T, changes ...func(*NodeOptions)) *twosome {
	t.Helper()
	p := &twosome{t: t, register: &plainRegister{changed: make(chan struct{})}}
	listeners := [2]net.Listener{listenBelow(t), listenBelow(t)}
	for i := range p.nodes {
		p.disks[i] = memfs.New()
		p.serves[i], p.hold[i] = make(chan struct{}, 8), make(chan struct{})
		p.options[i] = NodeOptions{
			Terms: Terms{
				Node: string(rune('a' + i)), DegradeAfter: time.Second, HoldTimeout: 5 * time.Second, FenceAfter: 4 * time.Second,
				Lease: 1500 * time.Millisecond, Guard: 150 * time.Millisecond, Bias: 500 * time.Millisecond, Beacon: 300 * time.Millisecond,
				Retry: 50 * time.Millisecond, Refresh: 5 * time.Second, Bootstrap: 3 * time.Second,
			},
			Pair: "test", Data: "data", Journal: journal.Options{SegmentBytes: 1 << 20, FS: p.disks[i]},
			Listener: listeners[i], Address: listeners[1-i].Addr().String(), Advertise: string(rune('a'+i)) + ":61613",
			Register: p.register, NewBroker: func(*Term) Broker {
				p.terms[i].Add(1)
				return &quietBroker{serves: p.serves[i], hold: p.hold[i], gone: &p.gone[i], changed: make(chan struct{}), failed: make(chan struct{})}
			},
		}
		for _, change := range changes {
			change(&p.options[i])
		}
		p.start(i)
	}
	return p
}

func (p *twosome) start(i int) {
	o := p.options[i]
	o.Door = NewDoor(listenLoopback(p.t), DoorOptions{Relay: true})
	p.nodes[i] = NewNode(o)
	ctx, cancel := context.WithCancel(p.t.Context())
	doorEnded, ended := make(chan error, 1), make(chan error, 1)
	go func() { doorEnded <- o.Door.Run(ctx) }()
	go func() { ended <- p.nodes[i].Run(ctx) }()
	p.stop[i] = sync.OnceValue(func() error {
		cancel()
		return errors.Join(<-ended, <-doorEnded)
	})
	p.t.Cleanup(func() {
		select {
		case <-p.hold[i]:
		default:
			close(p.hold[i])
		}
		if err := p.stop[i](); err != nil && !errors.Is(err, errBrokenDisk) {
			p.t.Error(err)
		}
	})
}

// awaitMaster waits until one of the nodes lets clients in.
func (p *twosome) awaitMaster() int {
	p.t.Helper()
	select {
	case <-p.serves[0]:
		return 0
	case <-p.serves[1]:
		return 1
	case <-time.After(30 * time.Second):
		p.t.Fatalf("nobody serves: %+v, %+v", p.nodes[0].Status(), p.nodes[1].Status())
		return 0
	}
}

// awaitRole waits until a node has a role.
func (p *twosome) awaitRole(i int, wanted Role) {
	p.t.Helper()
	late := time.After(30 * time.Second)
	for {
		term, err := p.nodes[i].current()
		if err != nil {
			time.Sleep(time.Millisecond) // between two terms there is nothing to wait for
			continue
		}
		role, changed := term.change()
		if role == wanted {
			return
		}
		select {
		case <-changed:
		case <-term.ctx.Done(): // there is another one soon
			time.Sleep(time.Millisecond)
		case <-late:
			p.t.Fatalf("node %d: %+v", i, p.nodes[i].Status())
		}
	}
}

// awaitDuplex waits until a master's standby is in step with it, and the register has confirmed that it is in sync.
func (p *twosome) awaitDuplex(i int) *Term {
	p.t.Helper()
	p.awaitRole(i, Duplex)
	term, err := p.nodes[i].current()
	if err != nil {
		p.t.Fatal(err)
	}
	for late := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) { // nothing tells of it
		var done bool
		term.look(func(s *State) {
			t := turn{State: s}
			done = s.role == Duplex && s.listed != ID{} && s.counts() && t.inStep() && t.readable()
		})
		if done {
			return term
		}
		if time.Now().After(late) {
			p.t.Fatalf("node %d: %+v", i, p.nodes[i].Status())
		}
	}
}

func TestNodesTakeTurns(t *testing.T) {
	t.Parallel()
	p := newTwosome(t)
	master := p.awaitMaster()
	p.awaitRole(master, Duplex)
	p.awaitRole(1-master, Standby)
	if err := p.nodes[1-master].Switchover(t.Context()); err == nil {
		t.Error("a standby began a switchover")
	}
	if err := p.nodes[master].Switchover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.awaitMaster(); got != 1-master {
		t.Fatalf("node %d serves after it has handed over", got)
	}
	p.awaitDuplex(1 - master)
	if s := p.nodes[master].Status(); s.Reason != HandedOver.String() { // it is in its next term
		t.Errorf("status of who has handed over: %+v", s)
	}
	s := p.nodes[1-master].Status()
	if s.Epoch < 2 || !s.Serving || s.Reason != "" || s.Master != s.Node || len(s.InSync) != 2 || !s.Peer.Linked || s.Peer.Node == s.Node {
		t.Errorf("status %+v", s)
	}
	if brokers := p.nodes[master].Brokers(); len(brokers) != 2 || brokers[0] != "tcp://"+p.options[1-master].Advertise {
		t.Errorf("brokers %v", brokers)
	}
	if n := p.nodes[1-master]; !n.Relays("127.0.0.1") || n.Relays("127.0.0.2") {
		t.Error("a master does not know the other node by its address")
	}
	if err := p.nodes[1-master].Resync(t.Context()); err == nil {
		t.Error("a master gave up its journal")
	}
	if err := p.nodes[master].Promote(t.Context(), false); err == nil {
		t.Error("a standby was promoted without a word of what may be lost")
	}
}

// A standby that has just handed over is listed in sync before it is connected again: a switchover back waits for it.
func TestSwitchoverWaitsForTheStandby(t *testing.T) {
	t.Parallel()
	p := newTwosome(t)
	for range 5 {
		master := p.awaitMaster()
		p.awaitRole(master, Duplex)
		if err := p.nodes[master].Switchover(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A node that has handed over follows the other at once, while clients of its own take their time to say goodbye.
func TestSwitchoverWaitsForNoClient(t *testing.T) {
	t.Parallel()
	p := newTwosome(t)
	master := p.awaitMaster()
	p.awaitDuplex(master)
	if err := p.nodes[master].Switchover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.awaitMaster(); got != 1-master {
		t.Fatalf("node %d serves after it has handed over", got)
	}
	p.awaitRole(master, Standby)
	p.awaitDuplex(1 - master)
}

// A master that is to end first has its standby take over, alone in sync, for who ends is not to be waited for. Then it waits
// for its clients.
func TestNodeHandsOverBeforeItEnds(t *testing.T) {
	t.Parallel()
	p := newTwosome(t)
	master := p.awaitMaster()
	p.awaitDuplex(master)
	terms := p.terms[master].Load()
	stopped := make(chan error, 1)
	go func() { stopped <- p.stop[master]() }()
	if got := p.awaitMaster(); got != 1-master {
		t.Fatalf("node %d serves", got)
	}
	handedOver := slices.ContainsFunc(p.register.records(), func(r Record) bool {
		return r.By == p.options[master].Terms.Node && r.Master == p.options[1-master].Terms.Node &&
			len(r.InSync) == 1 && r.InSync[0].Node == r.Master
	})
	if !handedOver {
		t.Errorf("nobody handed over: %+v", p.register.records())
	}
	close(p.hold[master])
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if !p.gone[master].Load() {
		t.Error("the node has not waited for its clients")
	}
	if more := p.terms[master].Load() - terms; more > 0 {
		t.Errorf("%d terms have begun in a process that was to end", more)
	}
}

// A busyBroker never rests.
type busyBroker struct{ *quietBroker }

func (b busyBroker) Pause(ctx context.Context) (uint64, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// A master that cannot hand over in time leaves as one without a standby does: its clients are told first. Who finds nobody
// listening takes a master for dead, and does not wait: a node that ends must listen as long as its clients are served.
func TestNodeListensUntilItLeadsNoMore(t *testing.T) {
	t.Parallel()
	p := newTwosome(t, func(o *NodeOptions) {
		quiet := o.NewBroker
		o.HandOver, o.NewBroker = 50*time.Millisecond, func(t *Term) Broker { return busyBroker{quiet(t).(*quietBroker)} }
	})
	master := p.awaitMaster()
	p.awaitDuplex(master)
	address := p.options[1-master].Address
	stopped := make(chan error, 1)
	go func() { stopped <- p.stop[master]() }()
	// Its clients are told goodbye as long as hold is open.
	<-p.doorClosed(master)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("nobody listens, and clients are served: %v", err)
	}
	_ = conn.Close()
	close(p.hold[master])
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want that nobody listens", err)
	}
	if got := p.awaitMaster(); got != 1-master {
		t.Errorf("node %d serves", got)
	}
}

// doorClosed is closed when a node has been told to end.
func (p *twosome) doorClosed(i int) <-chan struct{} {
	closed := make(chan struct{})
	address := p.nodes[i].opt.Door.listener.Addr().String()
	go func() {
		defer close(closed)
		for {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	return closed
}

var errBrokenDisk = errors.New("the disk is broken")

// A master whose disk fails has its standby take over, and ends with what is wrong (R12).
func TestNodeWithABrokenDiskHandsOver(t *testing.T) {
	t.Parallel()
	p := newTwosome(t)
	master := p.awaitMaster()
	term := p.awaitDuplex(master)
	p.disks[master].OnCall(func(call memfs.Call) error {
		if call.Op == "Datasync" {
			return errBrokenDisk
		}
		return nil
	})
	end := term.log.End()
	if err := term.log.Append([]journal.Record{{Seq: end.Seq + 1, Epoch: end.Epoch, Type: 1, Body: []byte("lost")}}); err != nil {
		t.Fatal(err)
	}
	term.log.Sync()
	if got := p.awaitMaster(); got != 1-master {
		t.Fatalf("node %d serves with a broken disk", got)
	}
	handedOver := slices.ContainsFunc(p.register.records(), func(r Record) bool {
		return r.By == p.options[master].Terms.Node && r.Master == p.options[1-master].Terms.Node
	})
	if !handedOver {
		t.Errorf("nobody handed over: %+v", p.register.records())
	}
	if err := p.stop[master](); !errors.Is(err, errBrokenDisk) {
		t.Errorf("the node ended with %v", err)
	}
}

func (r *plainRegister) records() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// A record that takes longer to cross the network than a standby may be silent comes to be committed, where the master may not
// go on alone either.
func TestRecordThatCrossesASlowNetwork(t *testing.T) {
	t.Parallel()
	p := newTwosome(t, func(o *NodeOptions) {
		o.Terms.Block, o.Terms.DegradeAfter, o.Terms.Beacon = true, 500*time.Millisecond, 100*time.Millisecond
		o.Address = newWire(t, o.Address, 2<<20).address
	})
	master := p.awaitMaster()
	term := p.awaitDuplex(master)
	broker := term.broker.(*quietBroker)
	end := term.log.End()
	if err := term.log.Append([]journal.Record{{Seq: end.Seq + 1, Epoch: end.Epoch, Type: 1, Body: make([]byte, 4<<20)}}); err != nil {
		t.Fatal(err)
	}
	term.log.Sync()
	for late := time.After(30 * time.Second); ; {
		broker.mu.Lock()
		durable, changed := broker.durable, broker.changed
		broker.mu.Unlock()
		if durable > end.Seq {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("it is not committed: %+v", p.nodes[master].Status())
		}
	}
}

// A wire leads to an address, as a network does that can be cut.
type wire struct {
	address string // of the wire
	mu      sync.Mutex
	isCut   bool
	ends    []net.Conn
}

// newWire passes so many octets a second each way, and holds few; 0: as fast as it can.
func newWire(t *testing.T, address string, rate int) *wire {
	listener := listenLoopback(t)
	w := &wire{address: listener.Addr().String()}
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", address)
			if err != nil {
				_ = near.Close()
				continue
			}
			w.join(near, far, rate)
		}
	}()
	return w
}

func (w *wire) join(near, far net.Conn, rate int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut {
		_ = near.Close()
		_ = far.Close()
		return
	}
	w.ends = append(w.ends, near, far)
	go pass(near, far, rate)
	go pass(far, near, rate)
}

// pass copies from one end to the other, until one is closed; then it closes both.
func pass(from, to net.Conn, rate int) {
	defer to.Close()
	defer from.Close()
	_ = from.(*net.TCPConn).SetReadBuffer(32 << 10)
	buf := make([]byte, 8<<10)
	for {
		n, err := from.Read(buf)
		if rate > 0 {
			time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
		}
		if _, e := to.Write(buf[:n]); err != nil || e != nil {
			return
		}
	}
}

// cut closes all that goes over the wire, and all that comes from now on.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
	for _, end := range w.ends {
		_ = end.Close()
	}
}

// Where only the link between both nodes is cut, the standby's door leads to the master again when it is known to go on alone.
func TestDoorOfAStandbyThatIsCutOff(t *testing.T) {
	t.Parallel()
	var wires []*wire
	p := newTwosome(t, func(o *NodeOptions) {
		w := newWire(t, o.Address, 0)
		wires, o.Address = append(wires, w), w.address
	})
	master := p.awaitMaster()
	p.awaitDuplex(master)
	door := p.nodes[1-master].opt.Door
	for _, w := range wires {
		w.cut()
	}
	p.awaitRole(master, Solo)
	for late := time.After(10 * time.Second); ; {
		w, speaks := door.look()
		if speaks == nil {
			if want := p.options[master].Advertise; w.address != want {
				t.Errorf("it leads to %q, want %q", w.address, want)
			}
			return
		}
		select {
		case <-speaks:
		case <-w.over.Done():
		case <-late:
			t.Fatalf("clients wait: %+v", p.nodes[1-master].Status())
		}
	}
}

// What is committed while the standby may take over is kept by both, from before and for ever; what a master commits alone is
// not, until the standby is in sync again.
func TestKept(t *testing.T) {
	t.Parallel()
	p := newTwosome(t, func(o *NodeOptions) { o.Terms.DegradeAfter = 700 * time.Millisecond })
	master := p.awaitMaster()
	term := p.awaitDuplex(master)
	wants := func(seq uint64, copies int) {
		t.Helper()
		if got := term.Kept(seq); got != copies {
			t.Errorf("%d nodes have seq %d, want %d", got, seq, copies)
		}
	}
	write := func() (seq uint64) {
		seq = term.log.Last() + 1
		if err := term.log.Append([]journal.Record{{Seq: seq, Epoch: term.Epoch(), Type: 1, Body: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
		term.log.Sync()
		b := term.broker.(*quietBroker)
		for {
			b.mu.Lock()
			durable, changed := b.durable, b.changed
			b.mu.Unlock()
			if durable >= seq {
				return seq
			}
			<-changed
		}
	}
	both := write()
	wants(both, 2)
	wants(both+1, 1)
	close(p.hold[1-master])
	if err := p.stop[1-master](); err != nil {
		t.Fatal(err)
	}
	p.awaitRole(master, Solo)
	alone := write()
	wants(both, 2)
	wants(alone, 1)
	p.start(1 - master)
	p.awaitDuplex(master)
	wants(alone, 2)
	wants(write(), 2)
}

// awaitAlarm waits for an alarm of a node.
func awaitAlarm(t *testing.T, n *Node, alarm string) {
	t.Helper()
	for late := time.Now().Add(30 * time.Second); !slices.Contains(n.Status().Alarms, alarm); {
		if time.Now().After(late) {
			t.Fatalf("there is no alarm %s: %+v", alarm, n.Status())
		}
		time.Sleep(time.Millisecond) // nothing tells of it
	}
}

// Two empty nodes of which one has another pair's name, or secret, do not begin a pair each. They say so, and are one when that is
// mended.
func TestTwoNodesOfTwoPairs(t *testing.T) {
	t.Parallel()
	for name, mistake := range map[string]func(*NodeOptions){
		"name":   func(o *NodeOptions) { o.Pair = "another" },
		"secret": func(o *NodeOptions) { o.Secret = []byte("another") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newTwosome(t, func(o *NodeOptions) {
				o.Terms.Bootstrap = time.Hour // not before both have spoken
				if o.Terms.Node == "b" {
					mistake(o)
					o.Register = &plainRegister{changed: make(chan struct{})}
				}
			})
			for _, n := range p.nodes {
				awaitAlarm(t, n, alarmPeerForeign)
				term, err := n.current()
				if err != nil {
					t.Fatal(err)
				}
				term.look(func(s *State) {
					if s.due[timerBootstrap] != forever {
						t.Errorf("node %s will begin a pair", s.terms.Node)
					}
				})
			}
			close(p.hold[1])
			if err := p.stop[1](); err != nil {
				t.Fatal(err)
			}
			p.hold[1] = make(chan struct{})
			p.options[1].Pair, p.options[1].Secret, p.options[1].Register = "test", nil, p.register
			p.options[1].Listener = relisten(t, p.options[1].Listener)
			p.start(1)
			master := p.awaitMaster()
			p.awaitDuplex(master)
			for _, n := range p.nodes {
				if alarms := n.Status().Alarms; slices.Contains(alarms, alarmPeerForeign) {
					t.Errorf("there are still the alarms %v", alarms)
				}
			}
		})
	}
}

// relisten listens where a listener did that was closed.
// listenBelow listens at a port below those that the kernel gives away itself: who closes it finds it free again.
func listenBelow(t *testing.T) net.Listener {
	t.Helper()
	const first, span = 10000, 20000
	for range span {
		port := first + (os.Getpid()*64+int(tried.Add(1)))%span
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			t.Cleanup(func() { _ = listener.Close() })
			return listener
		}
	}
	t.Fatal("no port is free")
	return nil
}

// tried counts the ports that were looked at: no two tests look at the same.
var tried atomic.Int64

func relisten(t *testing.T, closed net.Listener) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", closed.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// A node whose peer is said to be at its own address begins no pair, and says so.
func TestNodeThatIsItsOwnPeer(t *testing.T) {
	t.Parallel()
	l := newLone(t, &plainRegister{changed: make(chan struct{})}, func(o *NodeOptions) {
		o.Address, o.Terms.Bootstrap = o.Listener.Addr().String(), time.Hour
	})
	awaitAlarm(t, l.Node, alarmPeerForeign)
}

// Two nodes whose register has the record of another pair wait for ever, and say why.
func TestForeignRegister(t *testing.T) {
	t.Parallel()
	theirs := Reading{Revision: 9, Found: true, Record: Record{
		Cluster: ID{7}, Epoch: 3, Master: "x", InSync: []Member{{Node: "x", JournalID: ID{7}}}, Nonce: "x-1", By: "x",
	}}
	p := newTwosome(t, func(o *NodeOptions) {
		r := o.Register.(*plainRegister)
		r.mu.Lock()
		r.now = theirs
		r.mu.Unlock()
	})
	for _, n := range p.nodes {
		awaitAlarm(t, n, alarmRegisterForeign)
	}
}

// A node whose peer has an address at which nobody is says so, once.
func TestPeerThatIsNotThereIsTold(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.WarnLevel)
	told := make(chan struct{}, 8)
	logger := zap.New(core, zap.Hooks(func(e zapcore.Entry) error {
		if e.Message == "the other node cannot be reached" {
			told <- struct{}{}
		}
		return nil
	}))
	nobody := listenLoopback(t)
	address := nobody.Addr().String()
	_ = nobody.Close()
	newTwosome(t, func(o *NodeOptions) {
		o.Address, o.Terms.Bootstrap = address, time.Hour
		if o.Terms.Node == "a" {
			o.Logger = logger
		}
	})
	select {
	case <-told:
	case <-time.After(30 * time.Second):
		t.Fatalf("nothing is said: %v", logs.All())
	}
	entry := logs.FilterMessage("the other node cannot be reached").All()[0]
	if entry.ContextMap()["failover.peer"] != address {
		t.Errorf("said %v", entry.ContextMap())
	}
}

// Two processes of one name end each other's connections once a second at the most; one process renews its own at once.
func TestTwins(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	l := &numberedLink{Link: &Link{peer: Hello{Incarnation: "one"}}, ended: make(chan struct{}), begun: begun}
	soon, late := begun.Add(livedEnough-1), begun.Add(livedEnough)
	if l.keeps(&Hello{Incarnation: "one"}, soon) {
		t.Error("a process cannot connect again")
	}
	if !l.keeps(&Hello{Incarnation: "other"}, soon) || l.keeps(&Hello{Incarnation: "other"}, late) {
		t.Error("another process takes the place of one that has just come, or never")
	}
	close(l.ended)
	if l.keeps(&Hello{Incarnation: "other"}, soon) {
		t.Error("a connection that has ended does not give way")
	}
}

// A node with messages of its own, which the master refuses, says so, and what to do.
func TestRefusedNodeSaysWhy(t *testing.T) {
	t.Parallel()
	p := newTwosome(t)
	master := p.awaitMaster()
	p.awaitRole(master, Duplex)
	close(p.hold[0])
	close(p.hold[1])
	other := 1 - master
	if err := p.stop[other](); err != nil {
		t.Fatal(err)
	}
	p.awaitRole(master, Solo)
	o := &p.options[other]
	o.Data, o.Listener = "other", listenLoopback(t)
	log, err := OpenLog(LogOptions{Data: o.Data, Node: o.Terms.Node, Journal: o.Journal})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Append([]journal.Record{{Seq: 1, Epoch: 1, Type: 1, Body: []byte("its own")}}); err != nil {
		t.Fatal(err)
	}
	log.Sync()
	if err := errors.Join(log.Flush(t.Context()), log.Close()); err != nil {
		t.Fatal(err)
	}
	p.start(other)
	<-p.nodes[other].Opened()
	term, err := p.nodes[other].current()
	if err != nil {
		t.Fatal(err)
	}
	late := time.After(30 * time.Second)
	for {
		_, changed := term.change()
		waits := p.nodes[other].Status().Waits
		if strings.Contains(waits, "shares no epoch with this pair") && strings.Contains(waits, "promote --accept-loss, there") {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("waits: %q", waits)
		}
	}
}

// A slowFollower takes a moment to end, as one does that writes a checkpoint.
type slowFollower struct{ *quietBroker }

func (b slowFollower) Follow(ctx context.Context, log *Log) error {
	err := b.quietBroker.Follow(ctx, log)
	time.Sleep(20 * time.Millisecond)
	return err
}

// A standby that is told to end tells its master, who does not wait for it.
func TestStandbyThatEndsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	p := newTwosome(t, func(o *NodeOptions) {
		quiet := o.NewBroker
		o.NewBroker = func(t *Term) Broker { return slowFollower{quiet(t).(*quietBroker)} }
		o.Terms.DegradeAfter, o.Terms.FenceAfter = time.Minute, time.Hour
	})
	master := p.awaitMaster()
	p.awaitDuplex(master)
	close(p.hold[1-master])
	if err := p.stop[1-master](); err != nil {
		t.Fatal(err)
	}
	p.awaitRole(master, Solo)
}

// A partingFollower ends, when it is told to rest, the connection that its node follows over.
type partingFollower struct {
	*quietBroker
	term  *Term
	parts *atomic.Bool // once
}

func (b partingFollower) Follow(ctx context.Context, log *Log) error {
	err := b.quietBroker.Follow(ctx, log)
	b.term.linkMu.Lock()
	defer b.term.linkMu.Unlock()
	if l := b.term.link; l != nil && b.parts.CompareAndSwap(true, false) {
		l.hangup()
	}
	return err
}

// A node whose connection ends for another reason while a snapshot takes the place of its journal begins anew with that, too: else
// it would not know its own journal when it is its turn.
func TestSnapshotWhoseConnectionEnds(t *testing.T) {
	t.Parallel()
	var parts atomic.Bool
	p := newTwosome(t, func(o *NodeOptions) {
		quiet := o.NewBroker
		o.NewBroker = func(t *Term) Broker { return partingFollower{quiet(t).(*quietBroker), t, &parts} }
	})
	master := p.awaitMaster()
	p.awaitDuplex(master)
	before, err := p.nodes[1-master].current()
	if err != nil {
		t.Fatal(err)
	}
	parts.Store(true)
	if err := p.nodes[1-master].Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-before.ctx.Done():
	case <-time.After(30 * time.Second):
		t.Fatalf("its term goes on; no connection was ended: %t", parts.Load())
	}
	p.awaitDuplex(master)
	close(p.hold[master])
	if err := p.stop[master](); err != nil {
		t.Fatal(err)
	}
	if got := p.awaitMaster(); got == master {
		t.Error("who has ended serves")
	}
}

// A standby that waits for room on its disk, with a record in hand, ends all the same when it is told to.
func TestStandbyWithoutRoomEnds(t *testing.T) {
	t.Parallel()
	p := newTwosome(t, func(o *NodeOptions) { o.Journal.BufferBytes, o.Terms.DegradeAfter = 64<<10, 700*time.Millisecond })
	master := p.awaitMaster()
	term, standby := p.awaitDuplex(master), 1-master
	p.disks[standby].OnCall(func(c memfs.Call) error {
		if c.Op == "Create" && strings.HasPrefix(c.Name, "data/journal/") {
			return errors.Join(errBrokenDisk, syscall.ENOSPC)
		}
		return nil
	})
	var appended sync.WaitGroup
	defer appended.Wait()
	p.appendUntilStuck(&appended, term, standby, 60) // more than a segment
	close(p.hold[standby])
	ended := make(chan error, 1)
	go func() { ended <- p.stop[standby]() }()
	select {
	case err := <-ended:
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(30 * time.Second):
		p.disks[standby].OnCall(nil)
		t.Error("it does not end")
	}
}

// appendUntilStuck appends records of 50 KiB to a master's log beside the test, and returns when its standby stores nothing any more.
func (p *twosome) appendUntilStuck(appended *sync.WaitGroup, term *Term, standby, records int) {
	p.t.Helper()
	appended.Go(func() {
		for range records {
			end := term.log.End()
			if term.log.Append([]journal.Record{{Seq: end.Seq + 1, Epoch: end.Epoch, Type: 1, Body: make([]byte, 50<<10)}}) != nil {
				return
			}
			term.log.Sync()
		}
	})
	for late := time.Now().Add(30 * time.Second); !p.storesNothing(standby); time.Sleep(time.Millisecond) { // nothing tells of it
		if time.Now().After(late) {
			p.t.Fatalf("the standby goes on: %+v", p.nodes[standby].Status())
		}
	}
}

// storesNothing says that a standby has a frame in hand that its journal has no room for, beside what is not durable.
func (p *twosome) storesNothing(i int) bool {
	term, err := p.nodes[i].current()
	if err != nil || term.log.Last() == term.log.Durable() {
		return false
	}
	term.linkMu.Lock()
	l := term.link
	term.linkMu.Unlock()
	if l == nil {
		return false
	}
	l.receiving.Lock()
	r := l.receiver
	l.receiving.Unlock()
	last := term.log.Last()
	for range 5 {
		if r == nil {
			return false
		}
		if r.mu.TryLock() {
			r.mu.Unlock()
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return term.log.Last() == last
}
