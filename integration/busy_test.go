package integration

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
)

// A busyPair is a pair with a load and a probe, which find the master by themselves.
type busyPair struct {
	*pair
	load  *load
	probe *probe
	stop  func() error
}

// newBusyPair puts a pair to work.
func newBusyPair(p *pair, rng *rand.Rand) *busyPair {
	p.t.Helper()
	b := &busyPair{pair: p, load: newLoad()}
	b.load.reach = p.site.reach
	p.t.Cleanup(func() { keepEvidence(p.t, filepath.Join(p.dir, "evidence"), b.load.history) })
	p.awaitSync()
	b.probe = p.probe()
	b.stop = b.load.roam(p.t.Context(), p, rng, roamers(rng))
	return b
}

// roamers are the clients of a pair whose parts lose one another: the plain ones, and some features. Groups are not among them: who
// owns one at a master that is cut off learns of it later than the next owner.
func roamers(rng *rand.Rand) mix {
	return mix{plain, []feature{scheduled, deduplicated, copied, expiring}[rng.IntN(4)]}
}

// work waits until the clients have noted so many operations more.
func (b *busyPair) work(ops int) {
	b.t.Helper()
	if err := b.load.history.Await(within(b.t), b.load.history.Len()+ops); err != nil {
		b.showLogs()
		b.t.Fatalf("%v", err)
	}
}

// kill ends a node that is the master.
func (b *busyPair) kill(master int) {
	b.t.Helper()
	b.load.part(b.nodes[master].Kill)
}

// refusing is for pairs whose standby is killed or cut off. Of clients that it hands on the master would learn too early that they
// are gone, and give what they had to others before they have noted it; or too late, long after the queues were drained.
const refusing = "BATON_FAILOVER_STANDBY=refuse"

// rest ends the load.
func (b *busyPair) rest() {
	b.t.Helper()
	b.probe.end(b.t)
	if err := b.stop(); err != nil {
		b.showLogs()
		b.t.Errorf("%v", err)
	}
}

// judge looks at what the load saw.
func (b *busyPair) judge() {
	b.t.Helper()
	drainFrom(b.t, b.nodes[b.awaitSync()].Broker, b.load)
	judge(b.t, b.load)
}

// showLogs reports what both nodes logged, but for the coming and going of clients. It is called before what failed is reported: the
// reason stands last, where a report that is cut short has it.
func (p *pair) showLogs() {
	p.t.Helper()
	for i, n := range p.nodes {
		var kept []string
		for line := range strings.Lines(n.Log()) {
			if !strings.Contains(line, "connection accepted") && !strings.Contains(line, "connection lost") && !strings.Contains(line, "connection ended") {
				kept = append(kept, line)
			}
		}
		p.t.Logf("node %d:\n%s", i, strings.Join(kept, ""))
	}
}
