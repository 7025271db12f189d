package main

import (
	"context"
	"time"

	"baton/bench"
	"baton/integration/process"
)

// A meter measures the CPU time of a contender during a workload.
type meter struct {
	pid         int
	whole       reading // from the begin to the end
	first, last reading // each second there is one
	err         error
}

// A reading is how long the contender has computed, and how many deliveries there have been until then.
type reading struct {
	cpu      time.Duration
	received int64
}

// run carries out a workload.
func (m *meter) run(ctx context.Context, server bench.Server, w bench.Workload) (*bench.Result, error) {
	before := m.read(0)
	r, err := bench.Run(ctx, server, w, m.note)
	if err == nil {
		m.whole = m.read(r.Received).since(before)
		err = m.err
	}
	return r, err
}

func (m *meter) note(now bench.Progress) {
	if now.Received == 0 {
		return
	}
	m.last = m.read(now.Received)
	if m.first == (reading{}) {
		m.first = m.last
	}
}

func (m *meter) read(received int64) reading {
	cpu, err := process.CPUTime(m.pid)
	if err != nil {
		m.err = err
	}
	return reading{cpu, received}
}

// cost is the nanoseconds of a delivery from the first second to the last one: what a broker does before and afterwards,
// such as making 10,000 queues, is not in it. Of a run that was too short for that it is all.
func (m *meter) cost() float64 {
	if steady := m.last.since(m.first); steady.received > 0 {
		return steady.each()
	}
	return m.whole.each()
}

func (r reading) since(before reading) reading {
	return reading{r.cpu - before.cpu, r.received - before.received}
}

func (r reading) each() float64 { return float64(r.cpu) / float64(max(r.received, 1)) }
