package main

import (
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// result is one measurement.
type result struct {
	count   int
	elapsed time.Duration
	latency *hdrhistogram.Histogram // in nanoseconds
}

func (r result) rate() float64 { return float64(r.count) / r.elapsed.Seconds() }

// newLatency holds 100 ns to a minute with an error below 0.1 %.
func newLatency() *hdrhistogram.Histogram {
	return hdrhistogram.New(100, time.Minute.Nanoseconds(), 3)
}

// against is the property of the machine that bounds a workload.
type against int

const (
	againstDisk against = iota
	againstLoopback
)

var againstNames = [...]string{againstDisk: "fdatasync", againstLoopback: "round trip"}

type table struct {
	out     io.Writer
	machine [2]float64 // the machine's rates, by against
}

func newTable(out io.Writer) *table {
	fmt.Fprintf(out, "%-50s %12s %10s %10s   %s\n", "", "a second", "p50", "p99", "compared")
	return &table{out: out}
}

func (t *table) row(name string, r result, a against) {
	fmt.Fprintf(t.out, "%-50s %12.0f %10v %10v   %.2f × %s\n", name, r.rate(),
		quantile(r.latency, 50), quantile(r.latency, 99), r.rate()/t.machine[a], againstNames[a])
}

func quantile(h *hdrhistogram.Histogram, q float64) time.Duration {
	return time.Duration(h.ValueAtQuantile(q)).Round(time.Microsecond)
}
