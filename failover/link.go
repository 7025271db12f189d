package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// LinkOptions are what both ends of a connection between the nodes of a pair need.
type LinkOptions struct {
	Node   string // this node's name
	Pair   string // the pair's name, the same on both nodes
	Secret []byte // the same on both nodes; empty: only loopback addresses are allowed
	// Greet bounds the time in which the connection is made and both have said HELLO. 0: 2 s.
	Greet time.Duration
	// Silence is after what time without a frame the peer counts as silent, and the longest that a write may take. 0: 10 s.
	Silence time.Duration
	Logger  *zap.Logger // nil: none

	// Nil: the system's.
	lookup func(ctx context.Context, host string) (addresses []string, err error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

// silence is after what time without a word the other end of a connection counts as silent.
const silence = 10 * time.Second

func (o *LinkOptions) setDefaults() {
	if o.lookup == nil {
		o.lookup = net.DefaultResolver.LookupHost
	}
	if o.dial == nil {
		o.dial = new(net.Dialer).DialContext
	}
	if o.Greet <= 0 {
		o.Greet = 2 * time.Second
	}
	if o.Silence <= 0 {
		o.Silence = silence
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
}

// An Ending says how a connection ended.
type Ending uint8

// The ways. Of R13, only Closed is the first half.
const (
	Ended   Ending = iota // its context did
	Closed                // by the peer: FIN or RST
	Silent                // no frame, or no progress of a write, for LinkOptions.Silence; or the network says so
	Invalid               // one side does not go on with what the other said
)

// Broken is how a connection ended.
type Broken struct {
	Ending Ending
	Err    error
}

func (b *Broken) Error() string { return b.Err.Error() }
func (b *Broken) Unwrap() error { return b.Err }

func broken(err error) *Broken {
	var network *net.OpError // a syscall.Errno of the disk is a net.Error too
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, net.ErrClosed):
		return &Broken{Ended, err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &Broken{Closed, fmt.Errorf("the peer closed the connection: %w", err)}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network):
		return &Broken{Silent, fmt.Errorf("the peer is silent: %w", err)}
	}
	return &Broken{Invalid, err}
}

// proofTime is how long who connects may take to prove that it has the secret. That needs one round trip.
const proofTime = time.Second

// A Link is a connection to the other node, after both have proved who they are and said HELLO. Run drives it.
type Link struct {
	opt   LinkOptions
	conn  net.Conn
	peer  Hello
	seeds seeds
	wake  chan struct{}

	mu      sync.Mutex // a leaf
	signals []Signal   // to be sent
}

// Dial connects to the other node and exchanges HELLOs. mine makes this node's. Where nobody listens, at none of the
// addresses of a name that there are, the error wraps syscall.ECONNREFUSED (R13); others wrap ErrSecret or ErrStranger.
func Dial(ctx context.Context, address string, opt LinkOptions, mine func(peer Hello) Hello) (*Link, error) {
	opt.setDefaults()
	ctx, cancel := context.WithTimeout(ctx, opt.Greet)
	defer cancel()
	conn, err := opt.dial(ctx, "tcp", address)
	if err != nil {
		return nil, opt.undialled(ctx, address, err)
	}
	return meet(ctx, conn, opt, true, mine)
}

// undialled is the error for an address that could not be dialled, where the Dialer has told of one address of its name.
func (o *LinkOptions) undialled(ctx context.Context, address string, err error) error {
	refused := errors.Is(err, syscall.ECONNREFUSED)
	switch {
	case !refused && !isMissing(err):
	case !o.refusedByAll(ctx, address, refused):
		return fmt.Errorf("not every address of the name refuses: %v", err) // no reason for R13
	case !refused:
		return fmt.Errorf("%w: %v", syscall.ECONNREFUSED, err)
	}
	return err
}

// refusedByAll says whether an address refuses and, where a name has several of them, all others do, too, or are loopback
// addresses that this host does not have, so that no process here listens there. refused is what the first one that was tried has done.
func (o *LinkOptions) refusedByAll(ctx context.Context, address string, refused bool) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	addresses, err := o.lookup(ctx, host)
	if err != nil || len(addresses) == 1 {
		return err == nil && refused
	}
	refused = false
	for _, a := range addresses {
		conn, err := o.dial(ctx, "tcp", net.JoinHostPort(a, port))
		switch {
		case err == nil:
			_ = conn.Close()
			return false
		case errors.Is(err, syscall.ECONNREFUSED):
			refused = true
		case !isMissing(err):
			return false
		}
	}
	return refused
}

// isMissing says that a connection to a loopback address was impossible, because this host does not have it.
func isMissing(err error) bool {
	var op *net.OpError
	if !errors.As(err, &op) {
		return false
	}
	to, ok := op.Addr.(*net.TCPAddr)
	return ok && to.IP.IsLoopback() && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.ENETUNREACH) ||
		errors.Is(err, syscall.EAFNOSUPPORT))
}

// Accept exchanges HELLOs on a connection that the other node made; mine makes this node's answer, to a peer that has proved
// itself. It closes the connection where it fails.
func Accept(ctx context.Context, conn net.Conn, opt LinkOptions, mine func(peer Hello) Hello) (*Link, error) {
	opt.setDefaults()
	ctx, cancel := context.WithTimeout(ctx, opt.Greet)
	defer cancel()
	return meet(ctx, conn, opt, false, mine)
}

func meet(ctx context.Context, conn net.Conn, opt LinkOptions, dialled bool, mine func(peer Hello) Hello) (*Link, error) {
	tune(conn)
	late := func() { _ = conn.SetDeadline(time.Unix(1, 0)) }
	end := context.AfterFunc(ctx, late)
	defer end()
	limit := opt.Greet
	if !dialled {
		limit = min(limit, proofTime)
	}
	hurry := time.AfterFunc(limit, late)
	node, s, err := handshake(conn, &opt, dialled)
	hurry.Stop()
	var peer Hello
	if err == nil {
		peer, err = exchange(conn, s, node, dialled, mine)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("greet the node at %s: %w", conn.RemoteAddr(), err)
	}
	return &Link{opt: opt, conn: conn, peer: peer, seeds: s, wake: make(chan struct{}, 1)}, nil
}

// tune has small frames go at once and not wait long behind large ones, and the system notice a peer that is gone.
func tune(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		limitUnsent(tcp)
		_ = tcp.SetNoDelay(true)
		noticeLoss(tcp)
	}
}

// noticeLoss has the system end a connection on which nothing is said when the other end has been gone for silence.
func noticeLoss(conn *net.TCPConn) {
	_ = conn.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: silence / 2, Interval: silence / 10, Count: 5})
}

// Peer is what the other node said of itself.
func (l *Link) Peer() Hello { return l.peer }

// Host is the address that the peer has spoken from, without its port.
func (l *Link) Host() string { return hostOf(l.conn) }

// Close ends a Link that is not run.
func (l *Link) Close() { _ = l.conn.Close() }

// maxSignals bounds what waits to be sent. It is less than an octet counts (partBytes).
const maxSignals = 64

// Send has a signal sent as soon as possible, before any records. Of BEACON and BEACON_ACK only the newest that waits goes.
// It does not block. What waits when the context of Run ends is still sent, if the peer takes it.
func (l *Link) Send(s Signal) {
	l.mu.Lock()
	if i := len(l.signals) - 1; i >= 0 && l.signals[i].Kind == s.Kind && (s.Kind == Beacon || s.Kind == BeaconAck) {
		l.signals[i] = s
	} else if len(l.signals) < maxSignals {
		l.signals = append(l.signals, s)
	}
	l.mu.Unlock()
	l.awake()
}

func (l *Link) awake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// A Stream is one end of what goes over a Link: a Sender or a Receiver.
type Stream interface {
	// Next returns the next frame to write, nil when there is none for now. It is valid until Next is called again.
	Next() ([]byte, error)
	// Accept takes a whole frame of the peer, which stays as it is until settled says so.
	Accept(frame []byte) error
	// Close waits for what goes on and gives back what the Stream holds.
	Close()

	// coming is called when a part of a long frame has come, which goes on (partBytes).
	coming()
	// rest is how long to wait from when the last frame was asked for until Next is called again. It is asked once for each frame,
	// whose parts are spread over that time.
	rest(asked time.Time) time.Duration
	bind(s seeds, wake func())
	// mark stands for all that was accepted so far; what lies behind it may be overwritten once it is settled.
	mark() uint64
	settled(mark uint64) bool
}

// maxPartRest is how long signals wait at the most for the next part of a frame that is held to a rate.
const maxPartRest = 50 * time.Millisecond

// lastWords is how long the end of a context waits for the last signals to be taken.
const lastWords = 250 * time.Millisecond

// Run pumps the frames of a Stream until ctx or the connection ends, or one side does not go on, and says which. It closes
// both, and when it returns nothing of it is left.
func (l *Link) Run(ctx context.Context, s Stream) *Broken {
	ctx, cancel := context.WithCancelCause(ctx)
	s.bind(l.seeds, l.awake)
	end := context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(time.Now().Add(lastWords)) })
	var writer sync.WaitGroup
	writer.Go(func() {
		if err := l.write(ctx, s); err != nil {
			cancel(broken(err))
		}
		if half, ok := l.conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // the peer reads all that was written, and closes too
		}
	})
	l.awake()
	err := l.read(ctx, s)
	cancel(broken(err))
	writer.Wait()
	end()
	_ = l.conn.Close()
	s.Close()
	var b *Broken
	if cause := context.Cause(ctx); !errors.As(cause, &b) {
		b = broken(cause)
	}
	return b
}

// write writes signals and frames as they come. It returns nil when ctx ends.
func (l *Link) write(ctx context.Context, s Stream) error {
	var out []byte
	var rested time.Time // until then, only signals are sent
	deadline := renewer{set: l.conn.SetWriteDeadline, span: l.opt.Silence}
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			_, err := l.conn.Write(l.takeSignals(out[:0]))
			return err
		}
		for {
			out = l.takeSignals(out[:0])
			var frame []byte
			asked := time.Now()
			if !asked.Before(rested) {
				var err error
				if frame, err = s.Next(); err != nil {
					return err
				}
			}
			if len(out)+len(frame) == 0 {
				break
			}
			rest, size := s.rest(asked), len(frame)
			for len(frame) > partBytes {
				deadline.renew(ctx)
				if err := writeBoth(l.conn, out, frame[:partBytes]); err != nil {
					return err
				}
				frame = frame[partBytes:]
				if rest > 0 { // evenly: megabytes at once are a burst of work on both sides
					part := float64(size-len(frame)) / float64(size)
					sleep(ctx, min(maxPartRest, time.Until(asked.Add(time.Duration(part*float64(rest))))))
				}
				out = l.takeBetween(out[:0])
			}
			deadline.renew(ctx)
			if err := writeBoth(l.conn, out, frame); err != nil {
				return err
			}
			if rest > 0 {
				rested = asked.Add(rest)
				time.AfterFunc(time.Until(rested), l.awake)
			}
		}
	}
}

func writeBoth(conn net.Conn, a, b []byte) (err error) {
	switch {
	case len(a) == 0:
		_, err = conn.Write(b)
	case len(b) == 0:
		_, err = conn.Write(a)
	default:
		both := net.Buffers{a, b}
		_, err = both.WriteTo(conn)
	}
	return err
}

func (l *Link) takeSignals(out []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.signals {
		out = l.signals[i].appendTo(out, l.seeds.out)
	}
	l.signals = l.signals[:0]
	return out
}

// takeBetween adds the signals that wait as they come within a frame.
func (l *Link) takeBetween(out []byte) []byte {
	at := len(out)
	out = l.takeSignals(append(out, 0))
	out[at] = byte((len(out) - at) / signalFrameBytes)
	return out
}

// read gives s the frames of the peer.
func (l *Link) read(ctx context.Context, s Stream) error {
	in := intake{stream: s}
	deadline := renewer{set: l.conn.SetReadDeadline, span: l.opt.Silence}
	for {
		deadline.renew(ctx)
		n, err := l.conn.Read(in.room())
		if err := in.took(n); err != nil {
			return err
		}
		if err != nil {
			return err
		}
	}
}

// A renewer puts off a deadline, not more often than it must: a peer is silent after span, or a quarter more.
type renewer struct {
	set  func(time.Time) error
	span time.Duration
	last time.Time
}

func (r *renewer) renew(ctx context.Context) {
	now := time.Now()
	if ctx.Err() != nil || now.Sub(r.last) < r.span/4 {
		return
	}
	r.last = now
	_ = r.set(now.Add(r.span + r.span/4))
	if ctx.Err() != nil { // it ended meanwhile, and its own deadline was overwritten
		_ = r.set(now.Add(lastWords))
	}
}
