package integration

import (
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"testing"

	"baton/integration/process"
)

// Two processes share a directory: the second serves when the first is killed, and has everything that was receipted.
func TestSharedTakesOver(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(*seed, 1))
	host := pairHost()
	data := t.TempDir()
	options, health := [2]process.Options{}, [2]string{}
	for i := range options {
		health[i] = freeAddress(t, host)
		options[i] = process.Options{
			Binary: binary, Data: filepath.Join(data, "shared"), Listen: freeAddress(t, host),
			Env: []string{"BATON_FAILOVER_MODE=shared", "BATON_JOURNAL_SEGMENT=256KiB", "BATON_QUEUES_MAX_DELIVERIES=65535", expiryPolicy,
				"BATON_FAILOVER_HEALTH=" + health[i]},
		}
	}
	l := newLoad()
	first := start(t, options[0])
	for cycle := range 3 {
		// It is ready when the first is dead, and not before.
		next, err := process.Begin(options[1-cycle%2])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(next.Kill)
		if err := next.Waits(within(t)); err != nil {
			t.Fatal(err)
		}
		wantHealth(t, health[cycle%2], http.StatusOK)
		wantHealth(t, health[1-cycle%2], http.StatusServiceUnavailable)
		wait := l.start(t.Context(), first.Addr, rng, mix{plain, deduplicated})
		if err := l.history.Await(within(t), l.history.Len()+1+rng.IntN(2000)); err != nil {
			t.Fatal(err)
		}
		first.Kill()
		if err := wait(); err != nil {
			t.Fatal(err)
		}
		if err := next.Ready(within(t)); err != nil {
			t.Fatal(err)
		}
		first = next
	}
	drainFrom(t, first, l)
	judge(t, l)
}

// wantHealth asks as a load balancer does.
func wantHealth(t *testing.T, address string, want int) {
	t.Helper()
	r, err := http.Get("http://" + address + "/health")
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	if r.StatusCode != want {
		t.Errorf("the health of %s is %d, want %d", address, r.StatusCode, want)
	}
}
