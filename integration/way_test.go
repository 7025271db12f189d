package integration

import (
	"net"
	"sync"
	"testing"
)

// A way is a relay of our own on the way to an address. It can be cut, fall silent, or end each connection after so many octets.
type way struct {
	listener net.Listener
	to       string
	all      sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	state   wayState          // guarded by mu
	allow   int               // octets of each connection, both directions; negative: any number; guarded by mu
	spent   int               // connections that ended because of allow; guarded by mu
	conns   map[net.Conn]bool // guarded by mu
}

type wayState string

const (
	wayOpen   wayState = "open"
	waySilent wayState = "silent" // nothing passes, and nobody is told
	wayCut    wayState = "cut"    // connections end, and new ones too
)

// newWay is a way that is open, until the test ends.
func newWay(t *testing.T, host, to string) *way {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	must(t, "listen", err)
	w := &way{listener: l, to: to, state: wayOpen, allow: -1, conns: map[net.Conn]bool{}}
	w.changed = sync.NewCond(&w.mu)
	w.all.Go(w.accept)
	t.Cleanup(func() {
		l.Close()
		w.set(wayCut)
		w.all.Wait()
	})
	return w
}

func (w *way) addr() string { return w.listener.Addr().String() }

func (w *way) set(s wayState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = s
	if s == wayCut {
		for c := range w.conns {
			c.Close()
		}
	}
	w.changed.Broadcast()
}

// limit ends each connection after so many octets, those that there are too; negative: after none.
func (w *way) limit(octets int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.allow = octets
}

// ended is how many connections have ended because of the limit.
func (w *way) ended() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.spent
}

func (w *way) accept() {
	for {
		c, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.all.Go(func() { w.relay(c) })
	}
}

func (w *way) relay(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer to.Close()
	if !w.enter(from, to) {
		return
	}
	passed := 0 // guarded by mu
	var both sync.WaitGroup
	for _, side := range [][2]net.Conn{{from, to}, {to, from}} {
		both.Go(func() { w.copy(side[1], side[0], &passed) })
	}
	both.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, from)
	delete(w.conns, to)
}

func (w *way) enter(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == wayCut {
		return false
	}
	for _, c := range conns {
		w.conns[c] = true
	}
	return true
}

func (w *way) copy(to, from net.Conn, passed *int) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		n, last := w.pass(n, passed)
		if _, failed := to.Write(b[:n]); failed != nil || err != nil || last {
			return
		}
	}
}

// pass waits while the way is silent, and says how many of n octets go on, and whether they are the last ones.
func (w *way) pass(n int, passed *int) (octets int, last bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.state == waySilent {
		w.changed.Wait()
	}
	if w.state == wayCut {
		return 0, true
	}
	if w.allow >= 0 && *passed+n >= w.allow {
		if *passed <= w.allow {
			w.spent++
		}
		n, last = max(0, w.allow-*passed), true
		*passed = w.allow + 1
		return n, last
	}
	*passed += n
	return n, false
}
