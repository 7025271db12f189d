package failover

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"baton/journal"
)

// NodeOptions of a Node.
type NodeOptions struct {
	Terms     Terms
	Pair      string          // name of the pair, the same on both nodes
	Secret    []byte          // the same on both nodes; empty: only loopback addresses are spoken with
	Data      string          // the node's directory
	Journal   journal.Options // but for Dir, OnDurable and OnFatal
	Retain    int64           // octets that a standby may lack before it gets a snapshot; 0: 1 GiB
	SyncRate  int64           // octets a second for a standby that was away; 0: as fast as it can
	Listener  net.Listener    // for the other node; open as long as the process lives (R13)
	Address   string          // where the other node listens
	Advertise string          // where this node serves clients
	Register  Register
	Door      *Door
	// HandOver is how long a process that is to exit waits at the most until its standby is the master; 0: Terms.HoldTimeout.
	HandOver time.Duration
	// NewBroker makes the broker of one term: of the time from an opening of the journal to its closing.
	NewBroker func(*Term) Broker
	Logger    *zap.Logger // nil: none
}

// A Broker is what a node has in its process to follow the log and, as the master, to serve clients. Its methods are those
// of broker.Server.
type Broker interface {
	// Follow applies what Durable says to the destinations until ctx ends, and then returns nil.
	Follow(ctx context.Context, log *Log) error
	// Recover applies the rest of the log and begins the epoch. The name begins every message id.
	Recover(ctx context.Context, log *Log, name string, epoch uint32) error
	// Serve serves clients until ctx ends, in peace; or until Fail or Leave. Then the log is not needed any more.
	Serve(ctx context.Context, clients net.Listener) error
	// Wait returns when the last client has gone, after Serve.
	Wait()
	// Durable says that everything up to seq is committed. It does not block.
	Durable(seq uint64)
	// Refuse says whether what waits for the standby is to be answered with an ERROR. It does not block.
	Refuse(refuse bool)
	// Fail ends Serve with this error at once. So does Leave, and what is committed is told meanwhile. Neither blocks.
	Fail(err error)
	Leave(err error)
	// Pause returns when nothing is appended any more, until Resume, and with which Seq the log ends.
	Pause(ctx context.Context) (last uint64, err error)
	Resume()
}

// A Node is one of the two brokers of a pair: it finds out whether it is the master, and does what that one or the standby
// has to do.
type Node struct {
	opt       NodeOptions
	logger    *zap.Logger
	incoming  chan net.Conn // from the other node, or who says so
	opened    chan struct{}
	opening   sync.Once
	served    chan struct{} // has one when the master that this node follows has said that it serves
	strangers warner
	twins     warner

	meets atomic.Pointer[string] // the host of the other node, as it spoke last
	whole ID                     // the journal that this process has read to its end; of the term that there is

	leaving bool          // the process is to exit, and this node not to be the master any more; this, and
	gone    chan struct{} // closed when the clients of the last term have gone; whoever runs the terms uses it

	mu      sync.Mutex
	term    *Term // nil: between two
	last    Status
	waiting sync.WaitGroup
}

// NewNode makes a Node. It begins with Run.
func NewNode(o NodeOptions) *Node {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.HandOver == 0 {
		o.HandOver = o.Terms.HoldTimeout
	}
	return &Node{opt: o, logger: o.Logger.Named("failover"), incoming: make(chan net.Conn), opened: make(chan struct{}), served: make(chan struct{}, 1)}
}

// Advertise is where this node serves clients.
func (n *Node) Advertise() string { return n.opt.Advertise }

// Opened is closed when the node has its data directory to itself, for the first time.
func (n *Node) Opened() <-chan struct{} { return n.opened }

// errAgain ends a term after which another begins.
var errAgain = errors.New("the term is over")

// Run is a member of the pair until ctx ends, which is no error, or until its journal or its memory of the pair fail.
func (n *Node) Run(ctx context.Context) error {
	// Who finds nobody listening takes this process for dead (R13): it listens until it leads no more.
	listening, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer n.waiting.Wait()
	defer cancel()
	n.waiting.Go(func() { n.accept(listening) })
	for {
		err := n.serveTerm(ctx)
		switch {
		case !errors.Is(err, errAgain):
			return err
		case ctx.Err() != nil:
			return n.follow()
		}
	}
}

// follow is the last term of a process that has handed over, and has clients who take their time to go. A new master that must not
// acknowledge alone would do nothing until this node is started again: it has its standby until they have gone.
func (n *Node) follow() error {
	if !n.opt.Terms.Block || isClosed(n.gone) {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	gone := n.gone
	go func() {
		<-gone
		cancel()
	}()
	n.leaving = true
	var err error
	for err = errAgain; errors.Is(err, errAgain) && ctx.Err() == nil; {
		err = n.serveTerm(ctx)
	}
	if errors.Is(err, errAgain) {
		return nil
	}
	return err
}

// accept hands connections of the other node to the term that there is. Between two it leaves them waiting: the process is
// there.
func (n *Node) accept(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = n.opt.Listener.Close() })
	defer stop()
	for {
		conn, err := n.opt.Listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			n.logger.Warn("accepting a connection of the other node failed", zap.Error(err))
			sleep(ctx, time.Second)
			continue
		}
		select {
		case n.incoming <- conn:
		case <-ctx.Done():
			_ = conn.Close()
		}
	}
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// serveTerm runs one term. It returns nil when ctx has ended.
func (n *Node) serveTerm(ctx context.Context) error {
	t, err := newTerm(ctx, n)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.term = t
	n.mu.Unlock()
	n.opening.Do(func() { close(n.opened) })
	err = t.run()
	status := t.Status()
	n.mu.Lock()
	n.term, n.last = nil, status
	n.mu.Unlock()
	return err
}

func (n *Node) current() (*Term, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.term == nil {
		return nil, errors.New("the node is between two roles: ask again")
	}
	return n.term, nil
}

// Status is what the node knows of itself and its pair, with what it keeps in its directory.
func (n *Node) Status() Status {
	s := n.status()
	s.Divergent = divergent(n.opt.Data)
	if len(s.Divergent) > 0 {
		s.Alarms = append(s.Alarms, alarmDivergentKept)
	}
	return s
}

func (n *Node) status() Status {
	t, err := n.current()
	if err == nil {
		return t.Status()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.last
	s.Alarms = slices.Clone(s.Alarms)
	s.Node, s.Role, s.Serving = n.opt.Terms.Node, Idle.String(), false
	return s
}

// heirPatience is how long a switchover waits at the most until the new master serves clients, which takes a fraction of a second.
const heirPatience = 10 * time.Second

// Switchover makes the standby the master. It returns when that serves clients, or why it does not.
func (n *Node) Switchover(ctx context.Context) error {
	t, err := n.current()
	if err != nil {
		return err
	}
	select {
	case <-n.served: // by another master, before this one
	default:
	}
	if err := t.switchover(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, heirPatience)
	defer cancel()
	return n.awaitHeir(ctx)
}

// awaitHeir waits until the node that this one has handed over to says that it serves clients.
func (n *Node) awaitHeir(ctx context.Context) error {
	select {
	case <-n.served:
		return nil
	case <-ctx.Done():
		return errors.New("this node has handed over, and has not heard yet that the other one serves clients: " +
			"baton failover status says there whether it does")
	}
}

// Promote makes this node the master even if it may lack what was acknowledged (R11). Without acceptLoss the error says what
// is known of that, and nothing is done.
func (n *Node) Promote(ctx context.Context, acceptLoss bool) error {
	t, err := n.current()
	if err != nil {
		return err
	}
	return t.promote(ctx, acceptLoss)
}

// Resync has this node, which must not be the master, get a copy of the master's journal in the place of its own.
func (n *Node) Resync(context.Context) error {
	t, err := n.current()
	if err != nil {
		return err
	}
	return t.resync()
}

// randomID is an identity that no other has.
func randomID() (id ID) {
	if _, err := rand.Read(id[:]); err != nil {
		panic(fmt.Sprintf("BUG: failover: no random numbers: %v", err))
	}
	return id
}
