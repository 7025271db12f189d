package bridge

import (
	"time"

	"go.uber.org/zap"
)

// State is what a bridge does at present.
type State string

// The states of a bridge, in the order in which it goes through them; after a failure it is Waiting and begins anew.
const (
	ConnectingSource State = "connecting source"
	ConnectingTarget State = "connecting target"
	Subscribing      State = "subscribing"
	Moving           State = "moving"
	Waiting          State = "waiting to retry"
	Stopped          State = "stopped"
)

// Status is what a bridge has done so far, and does.
type Status struct {
	Name      string
	State     State
	Since     time.Time // of State
	Moved     uint64    // messages that the target has answered
	Repeated  uint64    // of those that were sent, how many may have been sent before
	LastError string    // empty: none so far
}

// Status tells how the bridge is.
func (b *Bridge) Status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

func (b *Bridge) enter(s State) {
	b.mu.Lock()
	was := b.status.State
	b.status.State, b.status.Since = s, time.Now()
	moved, repeated := b.status.Moved, b.status.Repeated
	b.mu.Unlock()
	if s != was {
		b.o.Logger.Info(string(s), zap.Uint64("moved", moved), zap.Uint64("repeated", repeated))
	}
}

func (b *Bridge) count(moved, repeated uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.Moved += moved
	b.status.Repeated += repeated
}
