package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"baton/bench"
	"baton/integration/process"
)

// A plan is what one call of the command does.
type plan struct {
	against  []string
	rounds   int
	duration time.Duration // of a workload
	scale    float64       // of what is counted: messages of a backlog, queues, connections
	dir      string
	binary   string
	progress io.Writer
}

// The figures that are no bench.Workload.
const (
	figureSync     = "fdatasync" // of 1 KiB in a preallocated file, a second
	figureLoopback = "loopback"  // round trips of 1 KiB a second
	figureConnect  = "connections"
)

// connections is how many idle ones are made.
const connections = 5000

// A figure is what was measured of a contender in one round.
type figure struct {
	sends      float64 // a second
	deliveries float64
	receipts   bench.Latency
	latencies  bench.Latency
	resident   float64 // octets for each connection; 0: not measured
	wrong      string  // why there is none
}

// A key says of what a figure is.
type key struct{ contender, what string }

// figures are those of all rounds.
type figures map[key][]figure

// measure carries out all rounds.
func (p *plan) measure(ctx context.Context) (figures, error) {
	all := figures{}
	for round := range p.rounds {
		if err := p.limits(ctx, all); err != nil {
			return nil, err
		}
		for _, name := range p.against {
			fmt.Fprintf(p.progress, "round %d of %d: %s\n", round+1, p.rounds, name)
			if err := p.with(ctx, name, func(c *contender) error { return p.measureOne(ctx, name, c, all) }); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

func (p *plan) limits(ctx context.Context, all figures) error {
	disk, err := bench.DiskLimits(ctx, p.dir, []int{1 << 10}, p.duration/4)
	if err != nil {
		return err
	}
	loopback, err := bench.LoopbackLimit(ctx, 1<<10, p.duration/4)
	if err != nil {
		return err
	}
	for what, l := range map[string]bench.Limit{figureSync: disk[1], figureLoopback: loopback} {
		k := key{"machine", what}
		all[k] = append(all[k], figure{sends: l.Rate, receipts: l.Latency})
	}
	return nil
}

// relays says whether a relay can do it: it keeps nothing, and selects nothing.
func relays(w bench.Workload) bool { return w.Backlog == 0 && !w.Selectors && !w.Durable }

func (p *plan) measureOne(ctx context.Context, name string, c *contender, all figures) error {
	f := p.connect(ctx, c) // first: later there may be memory that the broker has and does not use
	fmt.Fprintf(p.progress, "  %-16s %10.0f a second, %.1f KiB each %s\n", figureConnect, f.sends, f.resident/1024, f.wrong)
	k := key{name, figureConnect}
	all[k] = append(all[k], f)
	for _, preset := range bench.Presets() {
		w := p.scaled(preset.Workload)
		if name == "relay" && !relays(w) {
			continue
		}
		f := p.run(ctx, c, w)
		fmt.Fprintf(p.progress, "  %-16s %10.0f sent a second, %10.0f received %s\n", w.Name, f.sends, f.deliveries, f.wrong)
		k := key{name, w.Name}
		all[k] = append(all[k], f)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (p *plan) scaled(w bench.Workload) bench.Workload {
	w.Duration = p.duration
	scale := func(n int64) int64 { return max(int64(float64(n)*p.scale), 100) }
	if w.Backlog > 0 {
		w.Backlog = scale(w.Backlog)
	}
	if w.Destinations > 1 {
		w.Destinations = int(scale(int64(w.Destinations)))
	}
	return w
}

// run measures a workload.
func (p *plan) run(ctx context.Context, c *contender, w bench.Workload) (f figure) {
	r, err := bench.Run(ctx, c.server, w, nil)
	if err != nil {
		f.wrong = err.Error()
	}
	if r != nil && err == nil {
		f.sends, f.deliveries, f.receipts, f.latencies = r.SendRate, r.Rate, r.Receipts, r.Latencies
	}
	return f
}

// connect measures idle connections.
func (p *plan) connect(ctx context.Context, c *contender) (f figure) {
	before, err := resident(c)
	if err != nil {
		return figure{wrong: err.Error()}
	}
	n := int(max(connections*p.scale, 10))
	idle, err := bench.Connect(ctx, c.server, n)
	if err != nil {
		return figure{wrong: err.Error()}
	}
	defer idle.Close()
	after, err := resident(c)
	if err != nil {
		return figure{wrong: err.Error()}
	}
	f.sends = idle.Rate
	if c.pid != 0 {
		f.resident = float64(after-before) / float64(n)
	}
	return f
}

func resident(c *contender) (int64, error) {
	if c.pid == 0 {
		return 0, nil
	}
	now, _, err := process.Memory(c.pid)
	return now, err
}

// A spread is the median of the rounds, the least and the most.
type spread struct{ median, least, most float64 }

// of picks one number of each round's figure; ok is false when there is none, or something was wrong in a round.
func (all figures) of(contender, what string, pick func(figure) float64) (s spread, ok bool) {
	var values []float64
	for _, f := range all[key{contender, what}] {
		if f.wrong != "" {
			return s, false
		}
		values = append(values, pick(f))
	}
	if len(values) == 0 {
		return s, false
	}
	slices.Sort(values)
	return spread{values[len(values)/2], values[0], values[len(values)-1]}, true
}

// wrong is what was wrong, in any round.
func (all figures) wrong(contender, what string) error {
	for _, f := range all[key{contender, what}] {
		if f.wrong != "" {
			return errors.New(f.wrong)
		}
	}
	return nil
}

func sendsOf(f figure) float64      { return f.sends }
func deliveriesOf(f figure) float64 { return f.deliveries }
