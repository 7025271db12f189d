package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"time"
)

// A Pair is two nodes and their arbiter, on loopback addresses.
type Pair struct {
	Arbiter *Broker
	Options [2]Options // of the nodes, which are called a and b
	Nodes   [2]*Broker
}

// NodeName is the name of a node of a Pair.
func NodeName(node int) string { return string(rune('a' + node)) }

// StartPair runs an arbiter and two nodes, with their data below dir and more settings, and waits until the standby is in
// sync. Stop ends what it has begun, also when it fails.
func StartPair(ctx context.Context, binary, dir string, env ...string) (*Pair, error) {
	p := &Pair{}
	addresses, err := freeAddresses(4)
	if err != nil {
		return p, err
	}
	p.Arbiter, err = Start(ctx, Options{Binary: binary, Command: "arbiter", Data: filepath.Join(dir, "arbiter")})
	if err != nil {
		return p, err
	}
	links := addresses[2:]
	for i := range p.Nodes {
		name := NodeName(i)
		p.Options[i] = Options{Binary: binary, Data: filepath.Join(dir, name), Listen: addresses[i], Env: append([]string{
			"BATON_FAILOVER_MODE=pair",
			"BATON_FAILOVER_NODE=" + name,
			"BATON_FAILOVER_LISTEN=" + links[i],
			"BATON_FAILOVER_PEER=" + links[1-i],
			"BATON_FAILOVER_REGISTER_URLS=[nats://" + p.Arbiter.Addr + "]",
			"BATON_FAILOVER_REGISTER_TOKEN_FILE=" + filepath.Join(dir, "arbiter", "token"),
		}, env...)}
		if err := p.Start(ctx, i); err != nil {
			return p, err
		}
	}
	_, err = p.AwaitSync(ctx)
	return p, err
}

// freeAddresses are for those who must be named before they listen.
func freeAddresses(n int) (free []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		free = append(free, l.Addr().String())
	}
	return free, nil
}

// Start runs a node again.
func (p *Pair) Start(ctx context.Context, node int) (err error) {
	p.Nodes[node], err = Start(ctx, p.Options[node])
	return err
}

// Stop kills all three.
func (p *Pair) Stop() {
	for _, b := range []*Broker{p.Nodes[0], p.Nodes[1], p.Arbiter} {
		if b != nil {
			b.Kill()
		}
	}
}

// URL is what clients connect to.
func (p *Pair) URL() string {
	return fmt.Sprintf("failover:(tcp://%s,tcp://%s)", p.Options[0].Listen, p.Options[1].Listen)
}

// AwaitSync waits until there is a master whose standby can take over, and says who it is.
func (p *Pair) AwaitSync(ctx context.Context) (master int, err error) {
	for {
		if master, ok := p.InSync(ctx); ok {
			return master, nil
		}
		select {
		case <-ctx.Done():
			return 0, errors.New("there is no master with a standby in sync")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// InSync says whether there is a master whose standby can take over, and who it is.
func (p *Pair) InSync(ctx context.Context) (master int, ok bool) {
	for i := range p.Nodes {
		out, err := p.command(ctx, i, "status", "--json").Output()
		var status struct {
			Role    string
			Serving bool
		}
		if err == nil && json.Unmarshal(out, &status) == nil && status.Role == "duplex" && status.Serving {
			return i, true
		}
	}
	return 0, false
}

// Switchover has the standby become the master.
func (p *Pair) Switchover(ctx context.Context, master int) error {
	out, err := p.command(ctx, master, "switchover").CombinedOutput()
	if err != nil {
		return fmt.Errorf("switchover: %w: %s", err, out)
	}
	return nil
}

func (p *Pair) command(ctx context.Context, node int, args ...string) *exec.Cmd {
	args = append(append([]string{"failover"}, args...), "--data", p.Options[node].Data)
	return exec.CommandContext(ctx, p.Options[node].Binary, args...)
}
