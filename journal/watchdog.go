package journal

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// watchdog knows the calls of the file system that are in progress and reports those that take too long: once while they
// last and once when they end. A nil one knows nothing.
type watchdog struct {
	log   *zap.Logger
	limit time.Duration
	quit  chan struct{}
	done  sync.WaitGroup

	mu    sync.Mutex
	calls []call // in progress, and free places with no op; as many as there ever were at a time
}

// call is one call in progress.
type call struct {
	op, name string
	since    time.Time
	reported bool
}

// newWatchdog starts one that watches until it is stopped.
func newWatchdog(log *zap.Logger, limit time.Duration) *watchdog {
	w := &watchdog{log: log, limit: limit, quit: make(chan struct{})}
	w.done.Go(w.watch)
	return w
}

// begin notes a call; the place that it returns is for end.
func (w *watchdog) begin(op, name string) (place int) {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for place < len(w.calls) && w.calls[place].op != "" {
		place++
	}
	if place == len(w.calls) {
		w.calls = append(w.calls, call{})
	}
	w.calls[place] = call{op: op, name: name, since: time.Now()}
	return place
}

func (w *watchdog) end(place int) {
	if w == nil {
		return
	}
	w.mu.Lock()
	c := w.calls[place]
	w.calls[place] = call{}
	w.mu.Unlock()
	if c.reported {
		w.log.Warn("the disk answers again", c.fields()...)
	}
}

// report logs the calls that have become too long.
func (w *watchdog) report() {
	w.mu.Lock()
	var long []call
	for i := range w.calls {
		if c := &w.calls[i]; w.stalled(c) && !c.reported {
			c.reported = true
			long = append(long, *c)
		}
	}
	w.mu.Unlock()
	for _, c := range long {
		w.log.Error("the disk does not answer; what waits for it is not acknowledged", c.fields()...)
	}
}

func (c *call) fields() []zap.Field {
	return []zap.Field{zap.String("call", c.op), zap.String("file", c.name), zap.Duration("took", time.Since(c.since))}
}

func (w *watchdog) stalled(c *call) bool { return c.op != "" && time.Since(c.since) >= w.limit }

// stalledSince is when the oldest call began that takes too long; zero when there is none.
func (w *watchdog) stalledSince() (oldest time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.calls {
		if c := &w.calls[i]; w.stalled(c) && (oldest.IsZero() || c.since.Before(oldest)) {
			oldest = c.since
		}
	}
	return oldest
}

// watch looks for calls that take too long until the watchdog is stopped.
func (w *watchdog) watch() {
	tick := time.NewTicker(max(w.limit/10, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.report()
		case <-w.quit:
			return
		}
	}
}

func (w *watchdog) stop() {
	close(w.quit)
	w.done.Wait()
}
