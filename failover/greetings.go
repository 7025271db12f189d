package failover

import (
	"net"
	"slices"
	"sync"
)

// maxGreetings bounds the connections that have not proved yet whose they are.
const maxGreetings = 128

// Greetings are those connections. The oldest makes way for one too many: the other node needs two round trips, so that strangers
// keep it out only where more than maxGreetings of them come in that time.
type greetings struct {
	mu    sync.Mutex
	conns []net.Conn // the oldest first
}

func (g *greetings) add(conn net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.conns) == maxGreetings {
		_ = g.conns[0].Close()
		g.conns = slices.Delete(g.conns, 0, 1)
	}
	g.conns = append(g.conns, conn)
}

// remove is for one that has proved itself, or is closed.
func (g *greetings) remove(conn net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = slices.DeleteFunc(g.conns, func(c net.Conn) bool { return c == conn })
}
