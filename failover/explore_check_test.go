package failover

import "testing"

// Several workers visit the same worlds as one does, to the end of the bounds. The race detector sees them here alone: it would take
// too long with the other explorations.
func TestWorkersVisitTheSame(t *testing.T) {
	t.Parallel()
	var states [2]int64
	for i, workers := range []int{1, 4} {
		l := &limits{epochs: 2, writes: 1, crashes: unlimited, stale: 1, window: 1}
		x := explore(l, &mutant{}, 1_000_000)
		x.workers = workers
		x.run(settledPair(t, l, &mutant{}))
		if states[i] = x.states.Load(); !x.ended || x.found != "" {
			t.Fatalf("%d workers: %d states, to the end: %v; %s", workers, states[i], x.ended, x.found)
		}
	}
	if states[0] != states[1] {
		t.Errorf("one worker visits %d worlds, several %d", states[0], states[1])
	}
}
