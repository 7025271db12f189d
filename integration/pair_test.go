package integration

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"baton/integration/client"
	"baton/integration/process"
)

var takeovers = flag.Int("takeovers", 30, "how often TestPairKill9 kills the master")

// A pair is two nodes and their arbiter, each a process.
type pair struct {
	t       *testing.T
	dir     string
	site    *site
	arbiter *pairProcess
	nodes   [2]*pairProcess
}

type pairProcess struct {
	*process.Broker
	options process.Options
}

// A site is where the processes of a pair run.
type site struct {
	clients [2]string                                                // addresses of the nodes, for clients
	links   [2]string                                                // and for each other
	health  [2]string                                                // and for load balancers; empty: for none
	arbiter string                                                   // its address
	enter   [3][]string                                              // begins the commands of the nodes and of the arbiter; nil: they run here
	from    []string                                                 // and those of programs that run where the clients are
	reach   func(ctx context.Context, addr string) (net.Conn, error) // how clients connect; nil: over TCP
}

// pairHosts gives each pair a loopback address of its own, so that nobody else takes the ports that are named before they
// are listened on.
var pairHosts atomic.Uint32

func pairHost() string {
	n := pairHosts.Add(1)
	return fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()%64, os.Getpid()/64%256, 1+n%254)
}

func freeAddress(t *testing.T, host string) string {
	t.Helper()
	return freeAddresses(t, host, 1)[0]
}

// freeAddresses are so many different ones of a host.
func freeAddresses(t *testing.T, host string, count int) (addresses []string) {
	t.Helper()
	for range count {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

// newPair starts an arbiter and two nodes, and waits until they are in sync.
func newPair(t *testing.T, env ...string) *pair {
	t.Helper()
	host := pairHost()
	at := freeAddresses(t, host, 7)
	s := &site{clients: [2]string(at[0:2]), links: [2]string(at[2:4]), health: [2]string(at[4:6]), arbiter: at[6]}
	p := newPairAt(t, s, env...)
	p.awaitSync()
	return p
}

// newPairAt starts an arbiter and two nodes.
func newPairAt(t *testing.T, s *site, env ...string) *pair {
	t.Helper()
	dir, err := os.MkdirTemp("", "baton-pair-")
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{t: t, dir: dir, site: s}
	t.Cleanup(func() {
		if !t.Failed() {
			os.RemoveAll(dir)
			return
		}
		t.Logf("data kept in %s", dir)
		for _, n := range p.nodes {
			if n != nil && n.Broker != nil {
				t.Logf("node %s:\n%s", n.options.Data, n.Log())
			}
		}
	})
	p.arbiter = &pairProcess{options: process.Options{
		Command: "arbiter", Binary: binary, Data: filepath.Join(dir, "arbiter"), Listen: s.arbiter, Enter: s.enter[2],
		Env: []string{"BATON_ARBITER_TOKEN=" + pairToken},
	}}
	p.arbiter.start(t)
	for i := range p.nodes {
		name := string(rune('a' + i))
		p.nodes[i] = &pairProcess{options: process.Options{
			Binary: binary, Data: filepath.Join(dir, name), Listen: s.clients[i], Enter: s.enter[i],
			Env: append([]string{
				"BATON_JOURNAL_SEGMENT=256KiB", "BATON_JOURNAL_CHECKPOINT_EVERY=100ms", "BATON_QUEUES_MAX_DELIVERIES=65535",
				"BATON_FAILOVER_MODE=pair", "BATON_FAILOVER_NODE=" + name, "BATON_FAILOVER_LISTEN=" + s.links[i], "BATON_FAILOVER_PEER=" + s.links[1-i],
				"BATON_FAILOVER_REGISTER_URLS=[nats://" + s.arbiter + "]", "BATON_FAILOVER_REGISTER_TOKEN=" + pairToken,
				"BATON_FAILOVER_HEALTH=" + s.health[i],
			}, env...),
		}}
		p.start(i)
	}
	return p
}

const pairToken = "a token that nobody would guess"

func (p *pair) start(i int) {
	p.t.Helper()
	p.nodes[i].start(p.t)
}

func (p *pairProcess) start(t *testing.T) {
	t.Helper()
	p.Broker = start(t, p.options)
}

// A pairStatus is of what baton failover status --json prints what tests look at.
type pairStatus struct {
	Role    string   `json:"role"`
	Serving bool     `json:"serving"`
	Epoch   uint32   `json:"epoch"`
	InSync  []string `json:"insync"`
	Journal string   `json:"journal"`
	Last    uint64   `json:"last"`
	Alarms  []string `json:"alarms"`
	Reason  string   `json:"reason"`
	Waits   string   `json:"waits"`

	Divergent []string `json:"divergent"`
	Surplus   []string `json:"surplus"`

	Register struct {
		State string `json:"state"`
	} `json:"register"`
}

// status asks a node that runs; ok is false when it does not answer. It asks as the command does, which would take a tenth of
// a second each time.
func (p *pair) status(i int) (s pairStatus, ok bool) { return p.nodes[i].status() }

func (p *pairProcess) status() (s pairStatus, ok bool) {
	socket := filepath.Join(p.options.Data, "failover.sock")
	asking := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
	answer, err := asking.Get("http://node/status")
	if err != nil {
		return s, false
	}
	defer answer.Body.Close()
	err = json.NewDecoder(answer.Body).Decode(&s)
	return s, err == nil
}

// askEvery is how often tests ask for what nobody tells them of by itself.
const askEvery = 25 * time.Millisecond

// await asks the nodes again and again, until one of them is as it is wanted.
func (p *pair) await(what string, wanted func(pairStatus) bool) (node int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		for i := range p.nodes {
			if s, ok := p.status(i); ok && wanted(s) {
				return i
			}
		}
		time.Sleep(askEvery)
	}
	for i := range p.nodes {
		s, ok := p.status(i)
		p.t.Logf("node %d: %+v, %v", i, s, ok)
	}
	p.t.Fatalf("no node %s", what)
	return 0
}

// awaitSync waits until there is a master whose standby can take over, and knows that it can, and says who it is. A master calls
// itself duplex as soon as it has asked the register for that.
func (p *pair) awaitSync() (master int) {
	p.t.Helper()
	return 1 - p.await("is a standby in sync", func(s pairStatus) bool {
		return s.Role == "standby" && slices.ContainsFunc(p.nodes[:], func(n *pairProcess) bool {
			m, ok := n.status()
			return ok && m.Role == "duplex" && m.Serving && m.Epoch == s.Epoch && len(m.InSync) == 2
		})
	})
}

func (p *pair) awaitMaster() (master int) {
	p.t.Helper()
	return p.await("serves", func(s pairStatus) bool { return s.Serving })
}

// kill -9 of the master under load, again and again, the roles changing each time: nothing receipted is lost, nothing
// acknowledged with a receipt comes back, every second delivery is flagged, transactions happen entirely or not at all.
func TestPairKill9(t *testing.T) {
	t.Parallel()
	t.Logf("%d failovers, -seed %d", *takeovers, *seed)
	rng := rand.New(rand.NewPCG(*seed, 0))
	p := newPair(t, expiryPolicy)
	l := newLoad()
	defer keepEvidence(t, p.dir, l.history)
	for cycle := range *takeovers {
		master := p.awaitSync()
		chosen := chooseMix(rng)
		t.Logf("cycle %d: master %d: %v", cycle, master, chosen)
		// Not at the standby's door: clients must die with their master, and some come back.
		wait := l.start(t.Context(), p.nodes[master].Addr, rng, chosen)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		stalled := l.history.Await(ctx, l.history.Len()+1+rng.IntN(4000))
		cancel()
		p.nodes[master].Kill()
		if err := wait(); err != nil || stalled != nil {
			t.Fatalf("cycle %d: %v, %v", cycle, stalled, err)
		}
		if got := p.awaitMaster(); got != 1-master {
			t.Fatalf("cycle %d: node %d serves, and is dead", cycle, got)
		}
		rest(rng)
		p.start(master)
	}
	drainFrom(t, p.nodes[p.awaitSync()].Broker, l)
	judge(t, l)
	for i := range p.nodes {
		if s, ok := p.status(i); !ok || len(s.Alarms) > 0 || len(s.Divergent) > 0 || len(s.Surplus) > 3 {
			t.Errorf("node %d: %+v: ordinary takeovers are no cause for alarm, and the disk is given back", i, s)
		}
	}
}

// The clients of a broker that is not one of a pair are told nothing about one, and those of a pair who is master.
func TestPairGreets(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	master := p.awaitSync()
	s, _ := p.status(master)
	for i, n := range p.nodes {
		c := dial(t, n.Broker, client.Options{})
		want := map[string]string{
			"role": "master", "epoch": fmt.Sprint(s.Epoch),
			"brokers": "tcp://" + p.nodes[master].Addr + ",tcp://" + p.nodes[1-master].Addr,
		}
		for name, value := range want {
			if got := c.Connected.Header(name); got != value {
				t.Errorf("node %d: CONNECTED says %s:%s, want %s", i, name, got, value)
			}
		}
	}
}
