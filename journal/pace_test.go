package journal

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPaceHoldsItsRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := pace{rate: 1 << 20, quit: make(chan struct{})}
		for _, pause := range []time.Duration{0, time.Hour} { // nothing is saved up in a pause but a burst
			time.Sleep(pause)
			begun := time.Now()
			for range 1024 {
				if !p.spend(10 << 10) {
					t.Fatal("stopped")
				}
			}
			if took := time.Since(begun); took < 10*time.Second-paceBurst || took > 10*time.Second {
				t.Errorf("10 MiB at 1 MiB/s took %v", took)
			}
		}
	})
}

func TestPaceEndsWithTheJournal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		quit := make(chan struct{})
		p := pace{rate: 1, quit: quit}
		begun := time.Now()
		time.AfterFunc(time.Second, func() { close(quit) })
		if p.spend(1 << 30) {
			t.Error("waited for a thousand years")
		}
		if took := time.Since(begun); took != time.Second {
			t.Errorf("stopped after %v", took)
		}
		if p.spend(0) {
			t.Error("goes on although the journal is stopping")
		}
	})
}
