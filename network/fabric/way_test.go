package fabric_test

import (
	"net"
	"sync"
	"testing"
)

// way is a link between two fabrics that can become silent: it takes nothing, and stays open.
type way struct {
	listener net.Listener
	to       string
	work     sync.WaitGroup

	mu     sync.Mutex // guards what follows
	silent bool
	ended  bool
	ends   []net.Conn
	loud   sync.Cond // when silent or ended change
}

func newWay(t *testing.T, to string) *way {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{listener: l, to: to}
	w.loud.L = &w.mu
	w.work.Go(w.accept)
	t.Cleanup(w.close)
	return w
}

func (w *way) address() string { return w.listener.Addr().String() }

func (w *way) silence() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = true
}

func (w *way) close() {
	w.listener.Close()
	w.mu.Lock()
	w.ended = true
	for _, end := range w.ends {
		end.Close()
	}
	w.loud.Broadcast()
	w.mu.Unlock()
	w.work.Wait()
}

func (w *way) accept() {
	for {
		from, err := w.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", w.to)
		if err != nil {
			from.Close()
			continue
		}
		w.mu.Lock()
		w.ends = append(w.ends, from, to)
		if w.ended {
			from.Close()
			to.Close()
		}
		w.mu.Unlock()
		w.work.Go(func() { w.copy(from, to) })
		w.work.Go(func() { w.copy(to, from) })
	}
}

// copy passes on what comes, as long as the way is not silent.
func (w *way) copy(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if !w.waitUntilLoud() || err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (w *way) waitUntilLoud() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.silent && !w.ended {
		w.loud.Wait()
	}
	return !w.ended
}
