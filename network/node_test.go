package network

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"baton/destinations"
	"baton/network/fabric"
)

// A restlessBroker has something to tell all the time, more often than anything is due.
type restlessBroker struct{}

func (restlessBroker) Submit(...destinations.Command) error { return nil }

func (restlessBroker) Run(ctx context.Context, _ func([]destinations.Output), demands func([]destinations.Demand)) error {
	for n := 0; ctx.Err() == nil; n++ {
		demands([]destinations.Demand{{Queue: "q", Consumers: 1, Window: 100, Free: n % 100}})
	}
	return nil
}

// However much its broker tells, a node says again and again that it is there.
func TestBusyNodeIsHeardOf(t *testing.T) {
	t.Parallel()
	f, err := fabric.Open(fabric.Options{Name: "a", Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	hellos := make(chan struct{}, 100)
	if _, err := f.Conn().Subscribe(subjectAll, func(m *nats.Msg) {
		if got, err := decodeFrame(m.Data); err == nil && got.Kind == frameHello {
			hellos <- struct{}{}
		}
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	node := NewNode(Options{Settings: Settings{Member: "a", Incarnation: "1", Hello: 20 * time.Millisecond}, Conn: f.Conn(), Broker: restlessBroker{}})
	go func() { ended <- node.Run(ctx) }()
	patience := time.After(30 * time.Second)
	for range 5 {
		select {
		case <-hellos:
		case <-patience:
			t.Fatal("it has fallen silent")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
