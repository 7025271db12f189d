package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"baton/journal"
	"baton/journal/memfs"
)

// A host is a running server with a real journal on a disk in memory.
type host struct {
	*Server
	t       *testing.T
	disk    *memfs.FS
	journal *journal.Journal
	gate    *gate
	pipes   *pipes       // nil: it listens on TCP
	tcp     net.Listener // nil: it listens on pipes
	cancel  context.CancelFunc
	served  chan struct{} // closed when Serve has returned
	err     error         // by Serve
	closing sync.Once
}

// serve runs a server on a TCP port of its own.
func serve(t *testing.T, o Options) *host {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, disk: memfs.New(), tcp: listener}
	h.start(o, listener, nil)
	return h
}

// servePipes runs a server whose connections are pipes: in a bubble of
// testing/synctest its time is the bubble's.
func servePipes(t *testing.T, o Options) *host {
	t.Helper()
	return servePipesOn(t, memfs.New(), o, nil)
}

// servePipesOn does it on a disk that may hold a journal already. The log, if
// not nil, wraps the journal.
func servePipesOn(t *testing.T, disk *memfs.FS, o Options, wrap func(Log) Log) *host {
	t.Helper()
	h := &host{t: t, disk: disk, pipes: newPipes()}
	h.start(o, h.pipes, wrap)
	return h
}

func (h *host) start(o Options, listener net.Listener, wrap func(Log) Log) {
	h.t.Helper()
	h.Server = New(o)
	h.gate = &gate{to: h.Durable}
	var err error
	h.journal, err = journal.Open(journal.Options{
		Dir: "journal", FS: h.disk, SegmentBytes: 256 << 10, OnDurable: h.gate.durable, OnFatal: h.Fail, OnSpace: h.DiskLow,
		CacheBytes: 1, // what is read is read from the disk
	})
	if err != nil {
		h.t.Fatal(err)
	}
	var log Log = h.journal
	if wrap != nil {
		log = wrap(log)
	}
	if err := h.Recover(context.Background(), log, "b1", h.journal.LastEpoch()+1); err != nil {
		h.t.Fatal(err)
	}
	h.serveOn(listener)
}

// serveOn serves, until the test ends at the latest.
func (h *host) serveOn(listener net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel, h.served = cancel, make(chan struct{})
	go func() {
		defer close(h.served)
		h.err = h.Serve(ctx, listener)
	}()
	h.t.Cleanup(func() {
		if err := h.stop(); err != nil {
			h.t.Errorf("Serve: %v", err)
		}
	})
}

// stop ends the server and says what Serve returned. A second call does
// nothing.
func (h *host) stop() error {
	h.gate.open()
	h.cancel()
	return h.ended()
}

// ended waits until Serve has returned by itself and says what, the first time.
func (h *host) ended() (err error) {
	select {
	case <-h.served:
	case <-time.After(pipePatience):
		debug.SetTraceback("all") // a failed test would wait for these goroutines too
		panic("Serve does not return")
	}
	h.closing.Do(func() {
		err = h.err
		if closed := h.journal.Close(); err == nil && closed != nil {
			err = fmt.Errorf("close the journal: %w", closed)
		}
	})
	return err
}

// A gate stands between the journal and the server: while it is shut, nothing
// becomes durable as far as the server knows.
type gate struct {
	to func(uint64)

	mu   sync.Mutex
	held bool
	seq  uint64
}

func (g *gate) durable(seq uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seq = seq
	if !g.held {
		g.to(seq)
	}
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = true
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held {
		g.held = false
		g.to(g.seq)
	}
}

// pipes is a listener whose connections are made by dial.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

var errNoServer = errors.New("nobody listens")

// dial returns the client's end of a new connection. The server's end is what
// wrap makes of it, if it is not nil.
func (p *pipes) dial(wrap func(net.Conn) net.Conn) (net.Conn, error) {
	near, far := net.Pipe()
	if wrap != nil {
		far = wrap(far)
	}
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, errNoServer
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
