package bridge

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"
)

// A Bridge moves messages while Run runs.
type Bridge struct {
	o        Options
	answered *memory // names of messages that the target has
	doubtful *memory // names of messages that it may have

	mu     sync.Mutex
	status Status // guarded by mu
}

// New makes a bridge, which does nothing before it runs.
func New(o Options) *Bridge {
	o = o.withDefaults()
	return &Bridge{
		o: o, answered: newMemory(remembered(o)), doubtful: newMemory(remembered(o)),
		status: Status{Name: o.Name, State: Stopped, Since: time.Now()},
	}
}

// remembered is how many names are: a source that was killed may have forgotten more acknowledgements than a window of them.
func remembered(o Options) int { return max(20_000, 2*o.Window) }

// Run runs a bridge until ctx ends.
func Run(ctx context.Context, o Options) { New(o).Run(ctx) }

// Run moves messages until ctx ends, through whatever fails. What is under way then is brought to its end first, for up to
// Options.Timeout. It must not be called twice at a time.
func (b *Bridge) Run(ctx context.Context) {
	defer b.enter(Stopped)
	wait := b.o.RetryLeast
	for {
		before := b.Status().Moved
		err := b.connectAndMove(ctx)
		if ctx.Err() != nil {
			return
		}
		if b.Status().Moved > before {
			wait = b.o.RetryLeast
		}
		b.failed(err, wait)
		select {
		case <-time.After(wait/2 + rand.N(wait/2+1)):
		case <-ctx.Done():
			return
		}
		wait = min(2*wait, b.o.RetryMost)
	}
}

// failed notes why the bridge is Waiting. A reason that was told is not told again until something has changed.
func (b *Bridge) failed(err error, wait time.Duration) {
	b.mu.Lock()
	known := b.status.LastError == err.Error()
	b.status.LastError = err.Error()
	b.mu.Unlock()
	log := b.o.Logger.Warn
	if known {
		log = b.o.Logger.Debug
	}
	log("the bridge is interrupted and connects anew", zap.Error(err), zap.Duration("wait", wait))
	b.enter(Waiting)
}

// connectAndMove goes once through all states, until something fails or ctx ends.
func (b *Bridge) connectAndMove(ctx context.Context) error {
	b.enter(ConnectingSource)
	source, err := b.open(ctx, "source", b.o.Source)
	if err != nil {
		return err
	}
	defer source.Close()
	b.enter(ConnectingTarget)
	target, err := b.open(ctx, "target", b.o.Target)
	if err != nil {
		return err
	}
	defer target.Close()
	b.enter(Subscribing)
	return newMove(b, source, target).run(ctx)
}

// A memory holds the newest names, as many as it has room for. The lock of the move that runs guards it.
type memory struct {
	names map[string]bool
	order []string // a ring, once there are as many as room
	room  int
	next  int
}

func newMemory(room int) *memory {
	return &memory{names: make(map[string]bool), room: room}
}

// add remembers a name; an empty one is none.
func (m *memory) add(name string) {
	if name == "" || m.names[name] {
		return
	}
	m.names[name] = true
	if len(m.order) < m.room {
		m.order = append(m.order, name)
		return
	}
	delete(m.names, m.order[m.next])
	m.order[m.next] = name
	m.next = (m.next + 1) % m.room
}

func (m *memory) has(name string) bool { return m.names[name] }
