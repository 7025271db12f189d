package process

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A Network is brokers that are one network, on loopback addresses. They are called a, b and so on.
type Network struct {
	Options []Options
	Members []*Broker
}

const networkSecret = "known to whoever reads this, on this machine alone"

// StartNetwork runs so many brokers, with their data below dir, and waits until each knows what the others want. Stop ends
// what it has begun, also when it fails.
func StartNetwork(ctx context.Context, binary, dir string, count int) (*Network, error) {
	n := &Network{Members: make([]*Broker, count)}
	addresses, err := freeAddresses(2 * count)
	if err != nil {
		return n, err
	}
	routes := addresses[count:]
	for i := range count {
		name := NodeName(i)
		n.Options = append(n.Options, Options{Binary: binary, Data: filepath.Join(dir, name), Listen: addresses[i], Env: []string{
			"BATON_NETWORK_NAME=" + name,
			"BATON_NETWORK_LISTEN=" + routes[i],
			"BATON_NETWORK_ROUTES=[" + strings.Join(routes, ",") + "]",
			"BATON_NETWORK_SECRET=" + networkSecret,
		}})
		if err := n.Start(ctx, i); err != nil {
			return n, err
		}
	}
	return n, n.AwaitPeers(ctx)
}

// Start runs a member again.
func (n *Network) Start(ctx context.Context, member int) (err error) {
	n.Members[member], err = Start(ctx, n.Options[member])
	return err
}

// Stop kills all members.
func (n *Network) Stop() {
	for _, b := range n.Members {
		if b != nil {
			b.Kill()
		}
	}
}

// AwaitPeers waits until each member knows what all others want.
func (n *Network) AwaitPeers(ctx context.Context) error {
	for i := range n.Members {
		for !n.inTouch(ctx, i) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("broker %s does not hear of the others: %w", NodeName(i), ctx.Err())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

func (n *Network) inTouch(ctx context.Context, member int) bool {
	o := n.Options[member]
	out, err := exec.CommandContext(ctx, o.Binary, "network", "status", "--json", "--data", o.Data).Output()
	var status struct {
		Ready bool
		Peers []struct{ Known bool }
	}
	if err != nil || json.Unmarshal(out, &status) != nil || !status.Ready || len(status.Peers) < len(n.Members)-1 {
		return false
	}
	for _, p := range status.Peers {
		if !p.Known {
			return false
		}
	}
	return true
}
