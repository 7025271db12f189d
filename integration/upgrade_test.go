package integration

import (
	"strings"
	"testing"

	"baton/integration/client"
	"baton/integration/process"
)

// newVersion is that of another build than the one under test.
const newVersion = "v99.0.0-next"

// The steps of "Upgrading" in docs/failover.md, under load and between two builds, and back again: nothing is lost and nothing
// is doubled, and at each step the version that ought to serve does.
func TestPairUpgrade(t *testing.T) {
	t.Parallel()
	next, err := process.Build(within(t), t.TempDir(), append([]string{"-ldflags=-X main.release=" + newVersion}, raceFlags...)...)
	must(t, "build", err)
	p := newPair(t)
	tr := startTraffic(t, p, "ids")
	var times durations
	upgrade := func(binary, version string) {
		p.replace(1-p.awaitDuplex(), binary) // the standby
		master := p.awaitDuplex()
		tr.progress()
		times = append(times, tr.interrupt(func() { p.switchover(master) })[0].pause)
		if got := versionOf(t, p); got != version {
			t.Errorf("%s serves, want %s", got, version)
		}
	}
	old := versionOf(t, p)
	for range 2 {
		upgrade(next, newVersion)
	}
	for range 2 {
		upgrade(binary, old)
	}
	tr.stop()
	t.Logf("the longest time between two receipts, at a step of an upgrade: %v", times)
}

// replace stops a node in peace and starts it with another binary.
func (p *pair) replace(node int, binary string) {
	p.t.Helper()
	terminate(p.t, p.nodes[node].Broker)
	p.nodes[node].options.Binary = binary
	p.start(node)
}

// versionOf is the one that the master tells a client.
func versionOf(t *testing.T, p *pair) string {
	t.Helper()
	c := dial(t, p.nodes[p.awaitDuplex()].Broker, client.Options{})
	defer c.Close()
	server := c.Connected.Header("server")
	return strings.TrimPrefix(server, "Baton/")
}
