package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestGarbageInProportionToWhatIsLive(t *testing.T) {
	t.Parallel()
	p := &pacer{octets: 32 << 20}
	for live, want := range map[int64]int{0: 3300, 4 << 20: 887, 32 << 20: 187, 1 << 30: 100} {
		if got := p.percentFor(live); got != want {
			t.Errorf("with %d octets live: %d %%, want %d", live, got, want)
		}
	}
}

// Each collection is followed by the next pace. There is one collector for the process, so this test runs alone.
func TestCollectorIsPacedAgainAndAgain(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	t.Setenv("GOGC", "")
	paceCollector(1 << 30)
	percent := func() int {
		now := debug.SetGCPercent(100)
		debug.SetGCPercent(now)
		return now
	}
	if percent() <= 100 {
		t.Fatal("a GiB of garbage was allowed, and the collector was not told")
	}
	large := make([]byte, 512<<20)
	for deadline := time.Now().Add(time.Minute); percent() > 290; runtime.Gosched() {
		if runtime.GC(); time.Now().After(deadline) {
			t.Fatalf("with half a GiB live, the collector still waits for %d %% of garbage", percent())
		}
	}
	runtime.KeepAlive(large)
}
