package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"time"

	"baton/integration/process"
)

// A pair is two brokers and their arbiter.
type pair struct {
	binary  string
	arbiter *process.Broker
	options [2]process.Options
	nodes   [2]*process.Broker
}

func name(node int) string { return string(rune('a' + node)) }

// startPair starts the three. What it has started before an error is in the pair.
func startPair(ctx context.Context, binary, dir string) (*pair, error) {
	p := &pair{binary: binary}
	var err error
	if p.arbiter, err = process.Start(ctx, process.Options{Binary: binary, Command: "arbiter", Data: filepath.Join(dir, "arbiter")}); err != nil {
		return p, err
	}
	addresses, err := freeAddresses(4)
	if err != nil {
		return p, err
	}
	links := addresses[2:]
	for i := range p.nodes {
		p.options[i] = process.Options{Binary: binary, Data: filepath.Join(dir, name(i)), Listen: addresses[i], Env: []string{
			"BATON_FAILOVER_MODE=pair",
			"BATON_FAILOVER_NODE=" + name(i),
			"BATON_FAILOVER_LISTEN=" + links[i],
			"BATON_FAILOVER_PEER=" + links[1-i],
			"BATON_FAILOVER_REGISTER_URLS=[nats://" + p.arbiter.Addr + "]",
			"BATON_FAILOVER_REGISTER_TOKEN_FILE=" + filepath.Join(dir, "arbiter", "token"),
		}}
		if err := p.start(ctx, i); err != nil {
			return p, err
		}
	}
	return p, nil
}

// freeAddresses are for who must be named before it listens.
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

func (p *pair) start(ctx context.Context, node int) (err error) {
	p.nodes[node], err = process.Start(ctx, p.options[node])
	return err
}

func (p *pair) stop() {
	for _, b := range []*process.Broker{p.nodes[0], p.nodes[1], p.arbiter} {
		if b != nil {
			b.Kill()
		}
	}
}

// url is what clients connect to.
func (p *pair) url() string {
	return fmt.Sprintf("failover:(tcp://%s,tcp://%s)", p.options[0].Listen, p.options[1].Listen)
}

// awaitSync waits until there is a master whose standby can take over, and says who it is.
func (p *pair) awaitSync(ctx context.Context) (master int, err error) {
	for {
		for i := range p.nodes {
			out, err := exec.CommandContext(ctx, p.binary, "failover", "status", "--json", "--data", p.options[i].Data).Output()
			var status struct {
				Role    string
				Serving bool
			}
			if err == nil && json.Unmarshal(out, &status) == nil && status.Role == "duplex" && status.Serving {
				return i, nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, errors.New("there is no master with a standby in sync")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *pair) switchover(ctx context.Context, master int) error {
	out, err := exec.CommandContext(ctx, p.binary, "failover", "switchover", "--data", p.options[master].Data).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
