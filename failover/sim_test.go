package failover

import (
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "simulate this seed alone, and print its trace")
	simSeeds = flag.Uint64("sim.seeds", 100, "how many seeds are simulated")
	simFrom  = flag.Uint64("sim.from", 1, "the first of them")
)

// simProgress is after how many seeds a campaign says how far it is.
const simProgress = 10000

func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		r := simulate(t, *simSeed, nil, true)
		t.Logf("seed %d\n%s", *simSeed, r.trace)
		if r.broken != "" {
			t.Fatalf("seed %d: %s", *simSeed, r.broken)
		}
		return
	}
	var (
		next, done atomic.Uint64
		mu         sync.Mutex // guards all
		all        simStats
	)
	next.Store(*simFrom - 1)
	t.Run("seeds", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for seed := next.Add(1); seed < *simFrom+*simSeeds; seed = next.Add(1) {
					r := simulate(t, seed, nil, false)
					if r.broken != "" {
						t.Errorf("seed %d, again with -sim.seed=%d: %s\n%s", seed, seed, r.broken, simulate(t, seed, nil, true).trace)
					}
					mu.Lock()
					all.add(r.stats)
					if n := done.Add(1); n%simProgress == 0 {
						fmt.Printf("%d seeds: %s\n", n, all)
					}
					mu.Unlock()
				}
			})
		}
	})
	t.Log(all)
}

// A seed decides everything: a second run has the same trace, octet by octet.
func TestSimulationReplays(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 8; seed++ {
		first, second := simulate(t, seed, nil, true), simulate(t, seed, nil, true)
		if first.trace != second.trace {
			t.Errorf("seed %d: two traces of %d and %d octets differ", seed, len(first.trace), len(second.trace))
		}
		if untraced := simulate(t, seed, nil, false); untraced.hash != first.hash {
			t.Errorf("seed %d goes another way when nobody looks", seed)
		}
	}
}
