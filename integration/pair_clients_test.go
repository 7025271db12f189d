package integration

import (
	"context"
	"flag"
	"io"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var (
	kills       = flag.Int("failovers", 30, "how often TestPairClients kills the master")
	switchovers = flag.Int("switchovers", 10, "how often TestPairSwitchover swaps the roles")
)

// role asks a node as a load balancer does; empty: it does not answer.
func (p *pair) role(node int, query string) (role string, status int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.site.health[node]+"/health"+query, nil)
	must(p.t, "request", err)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", 0
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return strings.TrimSpace(string(body)), answer.StatusCode
}

// awaitDuplex is awaitSync that costs the machine less.
func (p *pair) awaitDuplex() (master int) {
	p.t.Helper()
	ctx := within(p.t)
	for ctx.Err() == nil {
		for i := range p.nodes {
			if role, status := p.role(i, ""); role == "duplex" && status == http.StatusOK {
				return i
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	p.t.Fatal("there is no master with a standby in sync")
	return 0
}

// The master is killed again and again while clients in three languages work, who find the other broker by themselves: nothing
// receipted is lost, nothing comes back, and with deduplication ids nothing is in a queue twice.
func TestPairClients(t *testing.T) {
	t.Parallel()
	python.require(t)
	ruby.require(t)
	var all pauses
	sideBySide(t, *kills, 1, 7, func(t *testing.T, from, to int, _ *rand.Rand) {
		p := newPair(t)
		tr := startTraffic(t, p, "ids", "python", "ruby")
		for range to - from {
			master := p.awaitDuplex()
			tr.progress()
			noticed := tr.interrupt(func() { p.nodes[master].Kill() })
			all.add("kill -9", noticed[0].after)
			p.start(master)
		}
		p.awaitDuplex()
		tr.progress()
		tr.stop()
	})
	all.report(t, "until the first receipt of a SEND")
}

// An operator swaps the roles under load, both ways: nothing is lost and nothing is doubled, with deduplication ids and
// without.
func TestPairSwitchover(t *testing.T) {
	t.Parallel()
	var all pauses
	sideBySide(t, *switchovers, 1, 8, func(t *testing.T, from, to int, _ *rand.Rand) {
		p := newPair(t)
		tr := startTraffic(t, p, "ids", "plain")
		for range to - from {
			master := p.awaitDuplex()
			tr.progress()
			for _, noticed := range tr.interrupt(func() { p.switchover(master) }) {
				all.add("switchover", noticed.pause)
			}
			if now := p.awaitDuplex(); now == master {
				t.Fatalf("node %d is still the master", master)
			}
		}
		tr.stop()
	})
	all.report(t, "the longest time between two receipts")
}

func (p *pair) switchover(master int) {
	p.t.Helper()
	if out, err := p.tool("switchover", master); err != nil {
		p.t.Errorf("%v: %s", err, out)
	}
}

// tool runs a command of baton failover on the data of a node.
func (p *pair) tool(command string, node int, flags ...string) (output string, err error) {
	p.t.Helper()
	args := append([]string{"failover", command, "--data", p.nodes[node].options.Data}, flags...)
	out, err := exec.CommandContext(within(p.t), binary, args...).CombinedOutput()
	return string(out), err
}

// SIGTERM at the master is as good as a switchover: its standby takes over at once.
func TestPairTerminates(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	tr := startTraffic(t, p, "ids", "plain")
	var times durations
	for range 4 {
		master := p.awaitDuplex()
		tr.progress()
		for _, noticed := range tr.interrupt(func() { terminate(t, p.nodes[master].Broker) }) {
			times = append(times, noticed.pause)
		}
		p.start(master)
	}
	p.awaitDuplex()
	tr.stop()
	t.Logf("the longest time between two receipts, at a SIGTERM: %v", times)
}
