package failover

import (
	"context"
	"sync"
)

// A rest keeps somebody from working while others want that. The one who works is told to stop, and they wait until it has.
type rest struct {
	mu      *sync.Mutex
	changed *sync.Cond
	wanted  int
	working bool
	stop    context.CancelFunc
}

func newRest() rest {
	mu := new(sync.Mutex)
	return rest{mu: mu, changed: sync.NewCond(mu), stop: func() {}}
}

// work returns when nobody wants rest, with a context that ends when somebody does or ctx ends. end is called when the work
// is done.
func (r *rest) work(ctx context.Context) (_ context.Context, end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.wanted > 0 {
		r.changed.Wait()
	}
	ctx, r.stop = context.WithCancel(ctx)
	r.working = true
	stop := r.stop
	return ctx, func() {
		stop()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.working = false
		r.changed.Broadcast()
	}
}

// interrupt ends the work that goes on.
func (r *rest) interrupt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stop()
}

// begin waits until nobody works, and keeps it so until resume is called.
func (r *rest) begin() (resume func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted++
	r.stop()
	for r.working {
		r.changed.Wait()
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.wanted--
		r.changed.Broadcast()
	}
}
