package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"baton/destinations"
)

// Each drop is in the log in the end, though not with a line of its own.
func TestDropsAreLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.WarnLevel)
		h := servePipes(t, Options{Logger: zap.New(core), Machine: destinations.Options{
			Pending: destinations.Pending{Messages: 1, Policy: destinations.DropNew},
		}})
		slow := h.connect("1.2")
		slow.subscribe("s", "/topic/t", "client", "prefetch-count:1")
		const flight, pending, drops = 1, 1, 50
		for range flight + pending + drops {
			h.send("/topic/t", "x")
		}
		time.Sleep(2 * dropsQuiet)
		synctest.Wait()
		lines := logs.FilterMessageSnippet("copies were dropped").All()
		if len(lines) != 2 {
			t.Fatalf("%d lines in the log: %v", len(lines), lines)
		}
		if total := lines[1].ContextMap()["total"]; total != int64(drops) {
			t.Errorf("the log says that %v were dropped, want %d", total, drops)
		}
	})
}
