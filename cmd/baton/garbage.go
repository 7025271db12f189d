package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// A pacer has the garbage collector wait for more garbage than it would. By itself it runs whenever there is as much of it as
// live memory: hundreds of times a second in a broker that holds a few MiB and passes on a gigabyte a second, which takes a
// third of its time.
type pacer struct {
	octets  int64 // of garbage, beyond as much as is live
	percent int   // as the collector was told last
}

// paceCollector starts a pacer for the life of the process. GOGC still holds where somebody has set it.
func paceCollector(octets int64) {
	if os.Getenv("GOGC") == "" {
		p := &pacer{octets: octets, percent: 100}
		p.pace()
	}
}

// pace sets the pace, and again after each collection.
func (p *pacer) pace() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	// To tell the collector stops the process for a moment.
	if percent := p.percentFor(int64(live[0].Value.Uint64())); percent > p.percent+p.percent/8 || percent < p.percent-p.percent/8 {
		p.percent = percent
		debug.SetGCPercent(percent)
	}
	runtime.AddCleanup(&collected{}, func(p *pacer) { p.pace() }, p)
}

// A collected is gone after the next collection. It has a pointer, for what has none may share its memory with others.
type collected struct{ _ *int }

// percentFor is how much garbage there may be in proportion to what was live when the collector last ran, which counts stacks
// and globals as well: the more that is, the less beyond as much, for then it is seldom anyway.
func (p *pacer) percentFor(live int64) int {
	const least = 1 << 20 // of live memory: nothing was collected yet, or there is next to nothing
	return int(100 + 100*max(0, p.octets-live/8)/max(live, least))
}
