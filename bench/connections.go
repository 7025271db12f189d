package bench

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
)

// Connections are idle clients, each with a subscription to a queue of its own.
type Connections struct {
	Rate float64 // connects a second, each to the receipt of its SUBSCRIBE

	all    []*conn
	cancel context.CancelFunc
}

// Connect makes n connections, some at the same time.
func Connect(ctx context.Context, server Server, n int) (*Connections, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &Connections{all: make([]*conn, n), cancel: cancel}
	var dialing errgroup.Group
	dialing.SetLimit(16 * runtime.GOMAXPROCS(0))
	begin := time.Now()
	for i := range c.all {
		dialing.Go(func() (err error) {
			if c.all[i], err = server.dial(ctx); err != nil {
				return err
			}
			return c.all[i].confirm("SUBSCRIBE", "destination", fmt.Sprintf("/queue/bench-idle.%d", i), "id", "0", "ack", "client-individual")
		})
	}
	if err := dialing.Wait(); err != nil {
		cancel()
		return nil, err
	}
	c.Rate = float64(n) / time.Since(begin).Seconds()
	for _, idle := range c.all {
		idle.in.Release() // the clients need no buffers to be idle
		idle.out = nil
	}
	return c, nil
}

// Close ends all of them.
func (c *Connections) Close() {
	for _, idle := range c.all {
		_ = idle.Close()
	}
	c.cancel()
}
