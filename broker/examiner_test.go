package broker

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/zap/zaptest/observer"
)

// While the log cannot be read, a consumer with a selector waits, and holds no memory that others could read with.
func TestExaminerWaitsWithNothing(t *testing.T) {
	var fails atomic.Bool
	answer := func(uint64) error {
		if fails.Load() {
			return errors.New("too many open files")
		}
		return nil
	}
	inLittleMemory(t, answer, func(t *testing.T, h *host, _ *getLog, logged *observer.ObservedLogs) {
		c, body := h.connect("1.2"), strings.Repeat("x", 1000)
		for i := range 200 {
			c.do(fmt.Sprintf("SEND\ndestination:/queue/a\nn:%d", i), body)
		}
		fails.Store(true)
		c.subscribe("s", "/queue/a", "client-individual", "selector:n = 150")
		synctest.Wait()
		if held := h.fetches.portion() < min(fetchBytes, h.fetches.limit/16); held {
			t.Error("it holds its share of what may be read")
		}
		if logged.FilterMessageSnippet("consumers with selectors wait").Len() == 0 {
			t.Error("nobody is told that it waits")
		}
		fails.Store(false)
		c.message(body, "n:150")
	})
}
