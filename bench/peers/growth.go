package main

import (
	"context"
	"fmt"

	"baton/bench"
)

// A curve is how the cost of a message changes as there is more of something.
type curve struct {
	of     string
	about  string
	points []int64
	run    func(ctx context.Context, p *plan, c *contender, w bench.Workload, n int64) (figure, error)
}

// All begin with the workload persistent, and change one thing of it.
var curves = []curve{
	{
		"queues", "the messages of 8 producers take turns in so many queues, which 8 consumers share",
		[]int64{1, 10, 100, 1000, 10_000}, growQueues,
	},
	{
		"connections at work", "half of them send to a queue, half receive from it; together, 2,048 SENDs wait for their receipts, however many they are",
		[]int64{2, 10, 100, 1000}, growWorking,
	},
	{
		"idle connections", "beside 8 producers and 8 consumers at work, each with a subscription to a queue of its own",
		[]int64{1, 10, 100, 1000}, growIdle,
	},
	{
		"backlog", "8 producers and 8 consumers at work beside another queue, in which so many messages of 1 KiB wait",
		[]int64{0, 5000, 50_000, 500_000, 5_000_000}, growBacklog,
	},
}

// point names a figure.
func (c *curve) point(n int64) string { return fmt.Sprintf("%s %s", number(float64(n)), c.of) }

// grow measures all curves. Each point is measured on a broker that has had nothing before.
func (p *plan) grow(ctx context.Context, all figures) error {
	if !p.wants(figureGrowth) {
		return nil
	}
	w, err := bench.PresetOf("persistent")
	if err != nil {
		return err
	}
	w.Duration = p.duration / 2
	for _, name := range p.growth {
		fmt.Fprintf(p.progress, "growth of %s\n", name)
		for _, curve := range curves {
			for _, n := range curve.points {
				err := p.with(ctx, name, nil, func(c *contender) error {
					f, err := curve.run(ctx, p, c, w, p.atLeastOne(n))
					p.note(all, name, curve.point(n), f, err)
					return ctx.Err()
				})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// atLeastOne is a number to the scale, and only what is nothing becomes nothing.
func (p *plan) atLeastOne(n int64) int64 { return max(p.count(n), min(n, 1)) }

func growQueues(ctx context.Context, p *plan, c *contender, w bench.Workload, n int64) (figure, error) {
	w.Destinations = int(n)
	return p.run(ctx, c, w)
}

func growWorking(ctx context.Context, p *plan, c *contender, w bench.Workload, n int64) (figure, error) {
	waiting := w.Producers * w.Window
	w.Producers = max(int(n/2), 1)
	w.Consumers, w.Window = w.Producers, max(waiting/w.Producers, 1)
	return p.run(ctx, c, w)
}

func growIdle(ctx context.Context, p *plan, c *contender, w bench.Workload, n int64) (figure, error) {
	idle, err := bench.Connect(ctx, c.server, int(n))
	if err != nil {
		return figure{}, err
	}
	defer idle.Close()
	return p.run(ctx, c, w)
}

func growBacklog(ctx context.Context, p *plan, c *contender, w bench.Workload, n int64) (figure, error) {
	if n > 0 {
		fill := w
		fill.Consumers, fill.Backlog = 0, n
		if _, err := bench.Run(ctx, c.server, fill, nil); err != nil {
			return figure{}, err
		}
	}
	return p.run(ctx, c, w)
}

// growthLimit is how many times the cost of the first point another may have.
const growthLimit = 1.15

// goals are those of all curves.
func growthGoals() (goals []goal) {
	for i := range curves {
		c := &curves[i]
		first, last := c.points[0], c.points[len(c.points)-1]
		text := fmt.Sprintf("from %s to %s: nanoseconds of CPU time a message at the worst point", number(float64(first)), c.point(last))
		goals = append(goals, goal{text, c.worst, []part{{"the first point", c.first, growthLimit, true}}})
	}
	return goals
}

func (c *curve) first(all figures) (float64, bool) {
	s, ok := all.of("baton", c.point(c.points[0]), costOf)
	return s.median, ok
}

// worst is the point with the largest median.
func (c *curve) worst(all figures) (worst spread, ok bool) {
	for _, n := range c.points {
		s, ok := all.of("baton", c.point(n), costOf)
		if !ok {
			return spread{}, false
		}
		if s.median > worst.median {
			worst = s
		}
	}
	return worst, true
}
