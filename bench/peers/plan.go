package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"baton/bench"
	"baton/integration/process"
)

// A plan is what one call of the command does.
type plan struct {
	against  []string
	growth   []string // of whom it is measured, too
	only     []string // what is measured; none: all
	rounds   int
	duration time.Duration // of a workload
	scale    float64       // of what is counted: messages of a backlog, queues, connections
	fill     float64       // of the backlog, for those who are slow to take it
	dir      string
	binary   string
	machine  []string // on what it is measured
	pictures map[string][]byte
	progress io.Writer
}

// The figures that are no bench.Workload.
const (
	figureSync     = "fdatasync" // of 1 KiB in a preallocated file, a second
	figureLoopback = "loopback"  // round trips of 1 KiB a second
	figureConnect  = "connections"
	figureQueues   = "queue-memory"
	figureBacklog  = "backlog"
	figureGrowth   = "growth"
	figureProfile  = "profile"
)

// connections is how many idle ones are made.
const connections = 5000

// allFigures names what can be measured of a contender.
func allFigures() []string {
	names := []string{figureQueues, figureConnect}
	for _, preset := range bench.Presets() {
		names = append(names, preset.Name)
	}
	return append(names, figureGrowth, figureProfile)
}

// check says what is wrong with p.
func (p *plan) check() error {
	for _, name := range slices.Concat(p.against, p.growth) {
		if _, known := kinds[name]; !known {
			return fmt.Errorf("%q is not baton, relay, activemq or rabbitmq", name)
		}
	}
	for _, name := range p.only {
		if !slices.Contains(allFigures(), name) {
			return fmt.Errorf("-only: there is no %q; there are %s", name, strings.Join(allFigures(), ", "))
		}
	}
	if p.rounds < 1 || p.duration <= 0 || p.scale <= 0 || p.fill <= 0 {
		return fmt.Errorf("%d rounds of %v at the scale %v, and %v of a backlog: nothing would be measured", p.rounds, p.duration, p.scale, p.fill)
	}
	return nil
}

func (p *plan) wants(what string) bool { return len(p.only) == 0 || slices.Contains(p.only, what) }

// round measures all contenders once.
func (p *plan) round(ctx context.Context, all figures) error {
	if err := p.limits(ctx, all); err != nil {
		return err
	}
	for _, name := range p.against {
		fmt.Fprintf(p.progress, "%s\n", name)
		if err := p.queueMemory(ctx, name, all); err != nil {
			return err
		}
		if err := p.connections(ctx, name, all); err != nil {
			return err
		}
		if err := p.with(ctx, name, nil, func(c *contender) error { return p.workloads(ctx, name, c, all) }); err != nil {
			return err
		}
		if err := p.backlog(ctx, name, all); err != nil {
			return err
		}
	}
	return p.grow(ctx, all)
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
		all.add("machine", what, figure{sends: l.Rate, receipts: l.Latency})
	}
	return nil
}

// queueMemory measures, on a broker that has had nothing before, what queues with a message each take.
func (p *plan) queueMemory(ctx context.Context, name string, all figures) error {
	if name == "relay" || !p.wants(figureQueues) {
		return nil
	}
	return p.with(ctx, name, nil, func(c *contender) error {
		w, err := bench.PresetOf("queues")
		if err != nil {
			return err
		}
		w = p.scaled(w)
		w.Consumers = 0 // the messages stay
		var f figure
		f.resident, err = residentEach(c, w.Backlog, func() error {
			r, err := bench.Run(ctx, c.server, w, nil)
			if r != nil {
				f.sends = r.SendRate
			}
			return err
		})
		p.note(all, name, figureQueues, f, err)
		return ctx.Err()
	})
}

// connections measures idle ones, on a broker that has had nothing before, and that has nothing after: one that takes long to
// forget them would be slow at all else.
func (p *plan) connections(ctx context.Context, name string, all figures) error {
	if !p.wants(figureConnect) {
		return nil
	}
	return p.with(ctx, name, nil, func(c *contender) error {
		f, err := p.connect(ctx, c)
		p.note(all, name, figureConnect, f, err)
		return ctx.Err()
	})
}

// workloads measures those that have names.
func (p *plan) workloads(ctx context.Context, name string, c *contender, all figures) error {
	if err := p.warmUp(ctx, c); err != nil {
		return err
	}
	for _, preset := range bench.Presets() {
		if kinds[name].cannot[preset.Name] != "" || !p.wants(preset.Name) || preset.Name == figureBacklog {
			continue
		}
		f, err := p.run(ctx, c, p.scaled(preset.Workload))
		p.note(all, name, preset.Name, f, err)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// warmUp lets a broker do what it does, for twice as long as a workload takes: a virtual machine has to compile it first.
func (p *plan) warmUp(ctx context.Context, c *contender) error {
	w, err := bench.PresetOf("persistent")
	if err != nil {
		return err
	}
	w.Duration = 2 * p.duration
	_, _ = p.run(ctx, c, w) // what is wrong with it shows when it is measured
	return ctx.Err()
}

// backlog measures that workload on a broker that has had nothing before: what others left in its memory would count.
func (p *plan) backlog(ctx context.Context, name string, all figures) error {
	if kinds[name].cannot[figureBacklog] != "" || !p.wants(figureBacklog) {
		return nil
	}
	w, err := bench.PresetOf(figureBacklog)
	if err != nil {
		return err
	}
	return p.with(ctx, name, nil, func(c *contender) error {
		f, err := p.run(ctx, c, p.scaledFor(name, w))
		p.note(all, name, figureBacklog, f, err)
		return ctx.Err()
	})
}

// note keeps a figure, or why there is none.
func (p *plan) note(all figures, contender, what string, f figure, err error) {
	if err != nil {
		f.wrong = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	all.add(contender, what, f)
	fmt.Fprintf(p.progress, "  %-28s", what)
	for _, said := range []struct {
		value float64
		as    string
	}{
		{f.sends, "%.0f sent a second"}, {f.deliveries, "%.0f received"}, {f.resident / 1024, "%.1f KiB each"}, {f.peak / (1 << 20), "at most %.0f MiB"},
		{f.cost, "%.0f ns a message"},
	} {
		if said.value > 0 {
			fmt.Fprintf(p.progress, " "+said.as+",", said.value)
		}
	}
	fmt.Fprintln(p.progress, "", f.wrong)
}

func (p *plan) scaled(w bench.Workload) bench.Workload {
	w.Duration = p.duration
	if w.Backlog > 0 {
		w.Backlog = max(p.count(w.Backlog), 100)
	}
	if w.Destinations > 1 {
		w.Destinations = int(max(p.count(int64(w.Destinations)), 100))
	}
	return w
}

// scaledFor is scaled with fewer messages for those who would take very long.
func (p *plan) scaledFor(name string, w bench.Workload) bench.Workload {
	if kinds[name].slow && w.Name == figureBacklog {
		w.Backlog = int64(float64(w.Backlog) * p.fill)
	}
	return p.scaled(w)
}

// count is a number to the scale.
func (p *plan) count(n int64) int64 { return int64(float64(n) * p.scale) }

// run measures a workload.
func (p *plan) run(ctx context.Context, c *contender, w bench.Workload) (f figure, err error) {
	if err := process.ResetPeak(c.pid); err != nil {
		return f, err
	}
	m := meter{pid: c.pid}
	r, err := m.run(ctx, c.server, w)
	if err != nil {
		return f, err
	}
	f.sends, f.deliveries, f.receipts, f.latencies, f.cost = r.SendRate, r.Rate, r.Receipts, r.Latencies, m.cost()
	_, peak, err := process.Memory(c.pid)
	f.peak = float64(peak)
	return f, err
}

// connect measures idle connections.
func (p *plan) connect(ctx context.Context, c *contender) (f figure, err error) {
	n := max(p.count(connections), 10)
	var idle *bench.Connections
	f.resident, err = residentEach(c, n, func() (err error) {
		idle, err = bench.Connect(ctx, c.server, int(n))
		return err
	})
	if idle != nil {
		f.sends = idle.Rate
		idle.Close()
	}
	return f, err
}

// residentEach has fn make n things, and says how much more memory a contender has of each, in octets.
func residentEach(c *contender, n int64, fn func() error) (float64, error) {
	before, _, err := process.Memory(c.pid)
	if err != nil {
		return 0, err
	}
	if err := fn(); err != nil {
		return 0, err
	}
	after, _, err := process.Memory(c.pid)
	return float64(after-before) / float64(n), err
}
