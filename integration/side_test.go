package integration

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

var pairs = flag.Int("pairs", 0, "how many pairs share the work of a test of pairs; 0: each test has as many as it thinks best")

// sideBySide divides so much work among some pairs, at most as many as -pairs says or the test's own number, that work at the same
// time, each as a test of its own: they mostly wait for timers, so that more of them than this machine has cores can do so. Each gets
// the numbers of its part, up to but without the last, and what it draws is decided by the seed, the test's number and its own.
func sideBySide(t *testing.T, work, own int, test uint64, share func(t *testing.T, from, to int, rng *rand.Rand)) {
	t.Helper()
	count := min(cmp.Or(*pairs, own), work)
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				share(t, work*i/count, work*(i+1)/count, rand.New(rand.NewPCG(*seed, test<<32|uint64(i))))
			})
		})
	}
	all.Wait()
}

// pauses are how long it took until clients were served again, by what was done. Pairs that work side by side share them.
type pauses struct {
	mu   sync.Mutex
	took map[string]durations // guarded by mu
}

func (p *pauses) add(kind string, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.took == nil {
		p.took = map[string]durations{}
	}
	p.took[kind] = append(p.took[kind], took)
}

// report tells what was measured.
func (p *pauses) report(t *testing.T, what string) {
	t.Helper()
	for _, kind := range slices.Sorted(maps.Keys(p.took)) {
		t.Logf("%s, %s: %v", kind, what, p.took[kind])
	}
}
