package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// DoorOptions of a Door. The zero value refuses clients where it does not serve them.
type DoorOptions struct {
	Logger *zap.Logger // nil: none
	// Relay has the clients of a standby served by the master, through this node.
	Relay bool
	// Brokers are the addresses that a client is told of when it is refused, as in the header brokers of CONNECTED.
	Brokers func() []string
	// Patience is how long a connection waits for a master before it is refused; 0: 10 s.
	Patience time.Duration
	// MaxConnections bounds those that wait and those that are relayed, together; 0: 10,000.
	MaxConnections int
	// MaxConnectionsPerIP bounds those of one host; 0: 1,000. The master does not count what is relayed to it.
	MaxConnectionsPerIP int
}

// A Door owns the listener for clients for as long as the process lives: it sends each connection to who serves it now.
// That is the broker of this process, through the listener of Serve; the master, by way of Relay; or nobody yet, after
// Wait, which a Door begins with. A change ends what was relayed, for the master that it led to is none any more. While that
// is Silent, who comes waits too.
type Door struct {
	opt      DoorOptions
	listener net.Listener
	places   chan struct{} // has one for each connection that waits or is relayed
	inside   sync.WaitGroup

	mu    sync.Mutex
	way   *way
	perIP map[string]int // connections that wait or are relayed, by their host
}

// A way is where connections go until over ends.
type way struct {
	over    context.Context
	end     context.CancelFunc
	inward  chan net.Conn // to the broker of this process; nil: not there
	address string        // of the master; empty: nobody is known
	back    atomic.Bool   // it leads to this very Door
	speaks  chan struct{} // closed when a silent master has spoken; nil: it is not silent. The door's lock guards it
}

// NewDoor makes a Door of a listener, which Run closes.
func NewDoor(listener net.Listener, o DoorOptions) *Door {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = 10_000
	}
	if o.Brokers == nil {
		o.Brokers = func() []string { return nil }
	}
	if o.MaxConnectionsPerIP == 0 {
		o.MaxConnectionsPerIP = 1000
	}
	d := &Door{opt: o, listener: listener, places: make(chan struct{}, o.MaxConnections), perIP: make(map[string]int)}
	d.Wait()
	return d
}

// Run lets clients in until ctx ends, which is no error. It closes the listener, and returns when every connection that was
// not handed to the broker is closed. Where somebody else has closed the listener before, nobody comes in any more, and who is
// inside stays.
func (d *Door) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		_ = d.listener.Close()
		d.lead(&way{})
		d.current().end()
	})
	defer stop()
	defer d.inside.Wait()
	const longest = time.Second
	pause := time.Duration(0)
	for {
		conn, err := d.listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed): // nobody comes any more; who is inside stays
			<-ctx.Done()
			return nil
		case err != nil:
			// Out of file descriptors, most likely: others will close theirs.
			pause = min(max(2*pause, 5*time.Millisecond), longest)
			d.opt.Logger.Warn("accepting a connection failed", zap.Error(err), zap.Duration("pause", pause))
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		pause = 0
		d.enter(ctx, conn)
	}
}

// Serve leads connections to the broker of this process from now on, until the listener is closed.
func (d *Door) Serve() net.Listener {
	w := &way{inward: make(chan net.Conn)}
	d.lead(w)
	return &inwardListener{door: d, way: w}
}

// Relay leads connections to the master with this address from now on, or has them refused.
func (d *Door) Relay(address string) { d.lead(&way{address: address}) }

// Wait has connections wait until it is known who serves them.
func (d *Door) Wait() { d.lead(&way{}) }

// Silent says whether nothing is heard of the master that Relay leads to. As long as that is so, who comes waits, and who is
// there stays, but for those to whom the master has answered nothing for 10 s.
func (d *Door) Silent(silent bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.way.fallSilent(silent)
}

func (w *way) fallSilent(silent bool) {
	switch {
	case silent && w.speaks == nil:
		w.speaks = make(chan struct{})
	case !silent && w.speaks != nil:
		close(w.speaks)
		w.speaks = nil
	}
}

// lead makes w the way, unless it already leads to the same master.
func (d *Door) lead(w *way) {
	w.over, w.end = context.WithCancel(context.Background())
	d.mu.Lock()
	old := d.way
	if old != nil && old.over.Err() == nil && w.address != "" && old.address == w.address {
		old.fallSilent(false)
		d.mu.Unlock()
		w.end()
		return
	}
	d.way = w
	d.mu.Unlock()
	if old != nil {
		old.end()
	}
}

func (d *Door) current() *way {
	way, _ := d.look()
	return way
}

// look is the way, and when a silent master there has spoken; nil: it is not silent.
func (d *Door) look() (w *way, speaks <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.way, d.way.speaks
}

// enter sees to a connection in a goroutine of its own, if there is a place.
func (d *Door) enter(ctx context.Context, conn net.Conn) {
	if w := d.current(); w.inward != nil && w.take(conn) {
		return
	}
	select {
	case d.places <- struct{}{}:
	default:
		_ = conn.Close()
		return
	}
	host := hostOf(conn)
	d.mu.Lock()
	d.perIP[host]++
	tooMany := d.perIP[host] > d.opt.MaxConnectionsPerIP
	d.mu.Unlock()
	d.inside.Go(func() {
		defer d.leave(host)
		if tooMany {
			d.refuse(conn, "too many connections from this address")
			return
		}
		ctx, cancel := context.WithTimeout(ctx, d.opt.Patience)
		defer cancel()
		for d.guide(ctx, conn) {
		}
	})
}

func (d *Door) leave(host string) {
	d.mu.Lock()
	if d.perIP[host]--; d.perIP[host] == 0 {
		delete(d.perIP, host)
	}
	d.mu.Unlock()
	<-d.places
}

// hostOf is the address at the other end, without its port.
func hostOf(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	return host
}

// take hands conn to the broker, and says whether that is still there to take it.
func (w *way) take(conn net.Conn) bool {
	select {
	case w.inward <- conn:
		return true
	case <-w.over.Done():
		return false
	}
}

// retryRelay is after what time a master that cannot be reached is tried again.
const retryRelay = 100 * time.Millisecond

// guide brings conn where the way leads now, and says whether it is to be tried again because that led nowhere. The end
// of ctx is that of the client's patience, not of what is relayed.
func (d *Door) guide(ctx context.Context, conn net.Conn) (again bool) {
	w, speaks := d.look()
	switch {
	case ctx.Err() != nil:
		d.refuse(conn, "no master was found in time")
		return false
	case w.inward != nil:
		return !w.take(conn)
	case w.address == "":
		await(ctx, w, d.opt.Patience)
		return true
	case !d.opt.Relay:
		d.refuse(conn, "this broker is the standby")
		return false
	case speaks != nil:
		select {
		case <-speaks:
		case <-w.over.Done():
		case <-ctx.Done():
		}
		return true
	case w.back.Load(): // what was relayed would come in here again
		d.refuse(conn, "the way to the master leads back here")
		return false
	}
	dialer := net.Dialer{Timeout: time.Second}
	onward, err := dialer.DialContext(w.over, "tcp", w.address)
	if err != nil {
		await(ctx, w, retryRelay)
		return true
	}
	if d.isHere(onward) {
		_ = onward.Close()
		if !w.back.Swap(true) {
			d.opt.Logger.Error("the master says that clients reach it where this node listens: each node needs an address of its own",
				zap.String("advertised", w.address))
		}
		return true
	}
	relay(w.over, conn, onward.(*net.TCPConn))
	return false
}

// isHere says that a connection was made to the very listener of this Door.
func (d *Door) isHere(conn net.Conn) bool {
	to, ok := conn.RemoteAddr().(*net.TCPAddr)
	from, okFrom := conn.LocalAddr().(*net.TCPAddr)
	here, okHere := d.listener.Addr().(*net.TCPAddr)
	if !ok || !okFrom || !okHere || to.Port != here.Port {
		return false
	}
	if here.IP.IsUnspecified() {
		return to.IP.Equal(from.IP) // of this machine
	}
	return to.IP.Equal(here.IP)
}

// await waits for at most d, until ctx or the way ends.
func await(ctx context.Context, w *way, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-w.over.Done():
	case <-timer.C:
	}
}

// relay passes on what a client and the master say until both have ended or ctx has, or the master is silent: it may be that the way
// to it has fallen silent, and a client without heart-beats would wait for ever.
func relay(ctx context.Context, client net.Conn, master *net.TCPConn) {
	noticeLoss(master)
	ctx, giveUp := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		awaitSilence(ctx, silence/silenceLooks, func() bool { return isUnanswered(master) })
		giveUp()
	})
	splice(ctx, client, master)
	giveUp()
	watch.Wait()
}

// silenceLooks is how many times in a row nothing must have been answered: what is on its way at one moment is not yet lost.
const silenceLooks = 5

// awaitSilence looks again and again, and returns when nothing was answered so often in a row, or ctx has ended.
func awaitSilence(ctx context.Context, every time.Duration, unanswered func() bool) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for looks := 0; looks < silenceLooks; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if looks++; !unanswered() {
			looks = 0
		}
	}
}

// splice passes on what a and b say until both have ended or ctx has, and closes them.
func splice(ctx context.Context, a, b net.Conn) {
	closed := context.AfterFunc(ctx, func() {
		_ = a.Close()
		_ = b.Close()
	})
	var ways sync.WaitGroup
	pass := func(to, from net.Conn) {
		_, err := io.Copy(to, from)
		half, ok := to.(interface{ CloseWrite() error })
		if err != nil || !ok || half.CloseWrite() != nil {
			_ = from.Close()
			_ = to.Close()
		}
	}
	ways.Go(func() { pass(a, b) })
	ways.Go(func() { pass(b, a) })
	ways.Wait()
	closed()
	_ = a.Close()
	_ = b.Close()
}

// farewell is how long a client that is refused has to take the reason.
const farewell = time.Second

// refuse says goodbye with an ERROR frame, whose header brokers names where to go (STOMP 1.2, "ERROR").
func (d *Door) refuse(conn net.Conn, why string) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(farewell))
	if _, err := io.WriteString(conn, errorFrame(why, d.opt.Brokers())); err != nil {
		return
	}
	// A connection that is closed with something unread loses what was written to it.
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(conn, 64<<10))
	}
}

// errorFrame is for a client of which nothing was read, so of any version: why must need no escape. Addresses have colons,
// which are read as they are in the value of a header wherever a client looks for the first.
func errorFrame(why string, brokers []string) string {
	frame, body := "ERROR\nmessage:"+why+"\ncode:failover\n", why+"\n"
	if len(brokers) > 0 {
		list := strings.Join(brokers, ",")
		frame += "brokers:" + list + "\n"
		body += "brokers: " + list + "\n"
	}
	return fmt.Sprintf("%scontent-type:text/plain\ncontent-length:%d\n\n%s\x00", frame, len(body), body)
}

// An inwardListener is how a Server gets the connections of a Door. Its methods are those of net.Listener.
type inwardListener struct {
	door *Door
	way  *way
}

func (l *inwardListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.way.inward:
		return conn, nil
	case <-l.way.over.Done():
		return nil, net.ErrClosed
	}
}

// Close has those who come wait, unless the door leads elsewhere by now.
func (l *inwardListener) Close() error {
	l.way.end()
	l.door.mu.Lock()
	here := l.door.way == l.way
	l.door.mu.Unlock()
	if here {
		l.door.Wait()
	}
	return nil
}

func (l *inwardListener) Addr() net.Addr { return l.door.listener.Addr() }
