package integration

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"baton/integration/hosts"
)

var (
	states      = flag.Int("states", 64, "how many of the 64 states TestPartitions sets; chosen by the seed")
	transitions = flag.Int("transitions", 0, "how many of the 4032 ordered pairs of states TestPartitions sets, instead")
	silences    = flag.Int("silences", 2, "how often TestSilentHost silences the master")
)

// Hosts of a pair, by their numbers in its network.
const (
	hostA = iota
	hostB
	hostArbiter
	hostClients
)

// An islandPair is a pair under load whose nodes, arbiter and clients have a host each.
type islandPair struct {
	*busyPair
	network *hosts.Network
}

func newIslandPair(t *testing.T, rng *rand.Rand) *islandPair {
	t.Helper()
	p, n := newPairOnHosts(t, expiryPolicy, refusing)
	return &islandPair{network: n, busyPair: newBusyPair(p, rng)}
}

// newPairOnHosts starts an arbiter and two nodes with a host each; another one is for clients.
func newPairOnHosts(t *testing.T, env ...string) (*pair, *hosts.Network) {
	t.Helper()
	n, err := hosts.New(within(t), 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	at := func(host, port int) string { return fmt.Sprintf("%s:%d", n.Hosts[host].Address, port) }
	s := &site{
		clients: [2]string{at(hostA, 61613), at(hostB, 61613)},
		links:   [2]string{at(hostA, 61623), at(hostB, 61623)},
		arbiter: at(hostArbiter, 61622),
		enter:   [3][]string{n.Hosts[hostA].Enter, n.Hosts[hostB].Enter, n.Hosts[hostArbiter].Enter},
		from:    n.Hosts[hostClients].Enter,
		reach:   n.Hosts[hostClients].Dial,
	}
	return newPairAt(t, s, append(env, "BATON_STOMP_ALLOW_ANONYMOUS=anywhere", "BATON_FAILOVER_SECRET=a secret that nobody would guess")...), n
}

// A partition is which of the six ways between the hosts of a pair are cut, seen from who was master before: a bit each.
type partition uint8

const (
	masterToStandby partition = 1 << iota
	standbyToMaster
	masterToArbiter
	arbiterToMaster
	standbyToArbiter
	arbiterToStandby
	allPartitions
)

func (c partition) String() string {
	names := []string{"master>standby", "standby>master", "master>arbiter", "arbiter>master", "standby>arbiter", "arbiter>standby"}
	var cut []string
	for i, name := range names {
		if c&(1<<i) != 0 {
			cut = append(cut, name)
		}
	}
	return "[" + strings.Join(cut, " ") + "]"
}

func (c partition) ways(master int) (ways []hosts.Way) {
	standby := 1 - master
	for i, w := range []hosts.Way{{From: master, To: standby}, {From: standby, To: master}, {From: master, To: hostArbiter},
		{From: hostArbiter, To: master}, {From: standby, To: hostArbiter}, {From: hostArbiter, To: standby}} {
		if c&(1<<i) != 0 {
			ways = append(ways, w)
		}
	}
	return ways
}

// whole says that none of these is cut. A connection needs both directions.
func (c partition) whole(ways partition) bool { return c&ways == 0 }

// kind is what the protocol makes of a partition, and within what time a SEND must have its receipt: 0 if it may be that nobody serves.
// That is so too where the arbiter hears the master, but not the other way round: the master has the standby taken out of those in
// sync, and never learns that this is done (R5).
func (c partition) kind() (kind string, bound time.Duration) {
	switch {
	case c.whole(masterToStandby | standbyToMaster):
		return "connected", 15 * time.Second // as alone: on a machine that has too much to do they lose one another for a moment
	case c.whole(masterToArbiter | arbiterToMaster):
		return "alone", 15 * time.Second // five times the 3 s in which a master degrades
	case !c.whole(masterToArbiter) && c.whole(standbyToArbiter|arbiterToStandby):
		return "taken over", 20 * time.Second // and the 4 s of a takeover
	}
	return "nobody", 0
}

// judgeEvery is how many plans a pair goes through before another one takes its place: a long campaign is judged while it goes on.
const judgeEvery = 25

// everyEffect is how long a partition lasts at least: the longest time that the protocol knows, failover.fence_after, is over.
const everyEffect = 5 * time.Second

// Each of the 64 states in which ways between master, standby and arbiter can be cut, under load: nothing receipted is lost,
// nothing acknowledged with a receipt comes back, every second delivery is flagged. Where one node can reach the arbiter, or
// the other one, clients are served, but for one case of doubt; and when the cuts have healed there is a master with a standby in sync again.
func TestPartitions(t *testing.T) {
	t.Parallel()
	if err := hosts.Unavailable(within(t)); err != nil {
		t.Logf("NOTHING IS SHOWN HERE, networks cannot be cut on this machine: %v", err)
		return
	}
	t.Logf("-seed %d", *seed)
	plans := plannedPartitions(rand.New(rand.NewPCG(*seed, 2)))
	var all pauses
	sideBySide(t, len(plans), 4, 2, func(t *testing.T, from, to int, rng *rand.Rand) {
		for plans := range slices.Chunk(plans[from:to], judgeEvery) {
			t.Run("", func(t *testing.T) {
				p := newIslandPair(t, rng)
				for _, plan := range plans {
					p.cutOff(plan, &all)
				}
				p.rest()
				p.judge()
			})
		}
	})
	all.report(t, "until the first receipt")
}

// plannedPartitions are the states to be set, one after the other before all is healed.
func plannedPartitions(rng *rand.Rand) (plans [][]partition) {
	if *transitions == 0 {
		for _, c := range rng.Perm(int(allPartitions))[:*states] {
			plans = append(plans, []partition{partition(c)})
		}
		return plans
	}
	for c := range allPartitions {
		for next := range allPartitions {
			if c != next {
				plans = append(plans, []partition{c, next})
			}
		}
	}
	rng.Shuffle(len(plans), func(i, j int) { plans[i], plans[j] = plans[j], plans[i] })
	return plans[:min(*transitions, len(plans))]
}

// cutOff sets these states, one after the other, and heals all.
func (p *islandPair) cutOff(plan []partition, all *pauses) {
	p.t.Helper()
	master := p.awaitSync()
	for step, c := range plan {
		cut := p.cut(c.ways(master)...)
		if step == 0 {
			p.awaitService(c, cut, all)
		}
		time.Sleep(time.Until(cut.Add(everyEffect)))
	}
	healed := p.cut()
	p.t.Logf("%v: master %d, then %d, in sync %v after the end", plan, master, p.awaitSync(), time.Since(healed).Round(time.Millisecond))
}

// cut cuts these ways, heals all others, and says when.
func (p *islandPair) cut(ways ...hosts.Way) time.Time {
	p.t.Helper()
	if err := p.network.Cut(within(p.t), ways...); err != nil {
		p.t.Fatal(err)
	}
	return time.Now()
}

// awaitService waits until a SEND has its receipt during a partition, if that is promised.
func (p *islandPair) awaitService(c partition, cut time.Time, all *pauses) {
	p.t.Helper()
	kind, bound := c.kind()
	if bound == 0 {
		return
	}
	ctx, cancel := context.WithDeadline(p.t.Context(), cut.Add(bound))
	defer cancel()
	took, err := p.probe.since(ctx, cut)
	if err != nil {
		p.showLogs()
		p.t.Errorf("%v, %s: %v within %v", c, kind, err, bound)
	}
	all.add(kind, took)
}

// A master whose whole host falls silent, or stands still, again and again: the standby takes over, and clients of
// failover/client find it.
func TestSilentHost(t *testing.T) {
	t.Parallel()
	if err := hosts.Unavailable(within(t)); err != nil {
		t.Logf("NOTHING IS SHOWN HERE, networks cannot be cut on this machine: %v", err)
		return
	}
	t.Logf("-seed %d", *seed)
	var all pauses
	sideBySide(t, *silences, 1, 3, func(t *testing.T, from, to int, rng *rand.Rand) {
		p := newIslandPair(t, rng)
		for range to - from {
			master := p.awaitSync()
			p.timeSilence("silent", &all, p.cut(p.network.Silence(master)...))
			p.cut()
			master = p.awaitSync()
			signalTo(t, p.nodes[master], syscall.SIGSTOP)
			p.timeSilence("stopped", &all, time.Now())
			signalTo(t, p.nodes[master], syscall.SIGCONT)
		}
		p.rest()
		p.judge()
	})
	all.report(t, "until the first receipt")
}

// timeSilence waits for the first receipt after the master has fallen silent.
func (p *islandPair) timeSilence(kind string, all *pauses, began time.Time) {
	p.t.Helper()
	ctx, cancel := context.WithDeadline(p.t.Context(), began.Add(20*time.Second)) // five times what 99 of 100 may take
	defer cancel()
	took, err := p.probe.since(ctx, began)
	if err != nil {
		p.showLogs()
		p.t.Fatalf("%s: %v", kind, err)
	}
	all.add(kind, took)
}
