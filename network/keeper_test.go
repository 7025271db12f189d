package network

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"baton/destinations"
	"baton/network/fabric"
)

// A frailBroker ends the session of its agent when it is told to.
type frailBroker struct{ end <-chan error }

func (frailBroker) Submit(...destinations.Command) error { return nil }

func (b frailBroker) Run(ctx context.Context, _ func([]destinations.Output), _ func([]destinations.Demand)) error {
	select {
	case err := <-b.end:
		return err
	case <-ctx.Done():
		return nil
	}
}

// A node that has ended with an error is followed by another one, which takes part in
// what an operator has said, and of which others hear.
func TestKeeperRunsAnotherNode(t *testing.T) {
	t.Parallel()
	f, err := fabric.Open(fabric.Options{Name: "a", Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	hellos := make(chan string, 1000)
	if _, err := f.Conn().Subscribe(subjectAll, func(m *nats.Msg) {
		if got, err := decodeFrame(m.Data); err == nil && got.Kind == frameHello {
			hellos <- fmt.Sprint(got.Incarnation, " ", got.Mode)
		}
	}); err != nil {
		t.Fatal(err)
	}
	end := make(chan error)
	k := &Keeper{Logger: zap.NewNop(), NewNode: func(number int, mode Mode) *Node {
		return NewNode(Options{
			Settings: Settings{Member: "a", Incarnation: fmt.Sprint(number), Mode: mode, Hello: 10 * time.Millisecond},
			Conn:     f.Conn(), Broker: frailBroker{end},
		})
	}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { k.Run(ctx); close(ended) }()
	await := func(want string) {
		t.Helper()
		patience := time.After(30 * time.Second)
		for {
			select {
			case got := <-hellos:
				if got == want {
					return
				}
			case <-patience:
				t.Fatalf("nothing is heard of %s", want)
			}
		}
	}
	await("0 running")
	if err := k.SetMode(ctx, Draining); err != nil {
		t.Fatal(err)
	}
	end <- errors.New("there is no memory")
	await("1 draining")
	s, err := k.Status(ctx)
	if err != nil || s.Restarts != 1 || s.LastError != "the network ends with its broker: there is no memory" {
		t.Errorf("the status is %+v, %v", s, err)
	}
	cancel()
	<-ended
	if _, err := k.Status(t.Context()); !errors.Is(err, errEnded) {
		t.Errorf("of one that has ended is said %v", err)
	}
}
