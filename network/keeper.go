package network

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// A Keeper keeps a broker in its network: it runs a Node, and another one after a
// while when that has ended with an error, such as that the broker had no memory for
// what the network sends. What was under way is taken up by the next one, as after a
// start.
type Keeper struct {
	// NewNode makes a node, which is run once; the first is number 0. Each needs an
	// Incarnation after those before, and takes part in what Mode says.
	NewNode func(number int, mode Mode) *Node
	Logger  *zap.Logger

	mu       sync.Mutex
	node     *Node  // guarded by mu; nil: none runs
	mode     Mode   // guarded by mu
	restarts int    // guarded by mu
	why      string // guarded by mu: the last one ended
}

// Pauses between two nodes: each twice as long as the last, until one has run for the
// longest.
const (
	leastPause = 100 * time.Millisecond
	mostPause  = 10 * time.Second
)

// Run keeps the broker in its network until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	k.mu.Lock()
	k.mode = Running
	k.mu.Unlock()
	pause := leastPause
	for number := 0; ; number++ {
		began := time.Now()
		err := k.runOne(ctx, number)
		if time.Since(began) > mostPause {
			pause = leastPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		// Not before: a broker that ends has its network end with it.
		k.Logger.Warn("the network: this broker took no part for a moment, and takes part again", zap.Error(err), zap.Duration("after", pause))
		pause = min(2*pause, mostPause)
	}
}

func (k *Keeper) runOne(ctx context.Context, number int) error {
	k.mu.Lock()
	node := k.NewNode(number, k.mode)
	k.node, k.restarts = node, number
	k.mu.Unlock()
	err := node.Run(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.node = nil
	if err != nil {
		k.why = err.Error()
	}
	return err
}

// current is the node that runs.
func (k *Keeper) current() (*Node, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.node != nil:
		return k.node, nil
	case k.why != "":
		return nil, fmt.Errorf("%w: %s", errEnded, k.why)
	}
	return nil, errEnded
}

// Status says what this broker knows of its network.
func (k *Keeper) Status(ctx context.Context) (Status, error) {
	node, err := k.current()
	if err != nil {
		return Status{}, err
	}
	s, err := node.Status(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	s.Restarts, s.LastError = k.restarts, k.why
	return s, err
}

// Explain is that of the node that runs.
func (k *Keeper) Explain(ctx context.Context, queue string) ([]Explanation, error) {
	node, err := k.current()
	if err != nil {
		return nil, err
	}
	return node.Explain(ctx, queue)
}

// SetMode changes what this broker takes part in, until it ends.
func (k *Keeper) SetMode(ctx context.Context, m Mode) error {
	node, err := k.current()
	if err != nil {
		return err
	}
	if err := node.SetMode(ctx, m); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mode = m
	return nil
}
