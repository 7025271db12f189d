package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"baton/integration/process"
)

// pair measures what a hot standby costs: two nodes and an arbiter beside a broker alone, in turns, all on this machine; and
// what the master's clients notice when a standby that was away comes back.
type pair struct {
	rounds   int
	duration time.Duration // of each run
	behind   int64         // bytes that the standby lacks when it comes back
	rate     int           // messages a second while it does
}

func (p *pair) flags(f *flag.FlagSet) {
	f.IntVar(&p.rounds, "rounds", 5, "how often each is measured, in turns; 0: only the standby that comes back")
	f.DurationVar(&p.duration, "duration", 5*time.Second, "of each measurement, and of each window while the standby comes back")
	f.Int64Var(&p.behind, "behind", 1<<30, "bytes that the standby lacks when it comes back")
	f.IntVar(&p.rate, "rate", 2000, "messages a second while it comes back")
}

// A benched is of what baton bench --json prints what is judged here.
type benched struct {
	SendRate float64 `json:"send_rate"`
	Rate     float64 `json:"rate"`
	Receipts struct {
		P50 float64 `json:"p50_us"`
		P99 float64 `json:"p99_us"`
	} `json:"receipts"`
}

func (s *stage) bench(ctx context.Context, server string, args ...string) (b benched, err error) {
	args = append([]string{"bench", "--server", server, "--json", "-"}, args...)
	cmd := exec.CommandContext(ctx, s.binary, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &b)
	}
	if err != nil {
		return b, fmt.Errorf("baton %v: %w: %s", args, err, said.Bytes())
	}
	return b, nil
}

func (p *pair) run(ctx context.Context, s *stage) error {
	if p.rounds > 0 {
		if err := p.costs(ctx, s); err != nil {
			return err
		}
	}
	return p.rejoins(ctx, s)
}

// startPair starts a pair, and says which node is the master.
func (s *stage) startPair(ctx context.Context, name string, env ...string) (*process.Pair, int, error) {
	ctx, cancel := context.WithTimeout(ctx, stall)
	defer cancel()
	both, err := process.StartPair(ctx, s.binary, filepath.Join(s.dir, name), append([]string{"BATON_LOG_LEVEL=warn"}, env...)...)
	if err != nil {
		return both, 0, err
	}
	master, err := both.AwaitSync(ctx)
	return both, master, err
}

// costs measures throughput and latency, each time of a broker alone and then of a pair.
func (p *pair) costs(ctx context.Context, s *stage) error {
	alone, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer alone.Kill()
	both, master, err := s.startPair(ctx, "pair")
	defer both.Stop()
	if err != nil {
		return err
	}
	var rates, waits []float64
	for range p.rounds {
		rate, err := p.compare(ctx, s, alone.Addr, both.Nodes[master].Addr, func(b benched) float64 { return b.SendRate }, "persistent")
		if err != nil {
			return err
		}
		wait, err := p.compare(ctx, s, alone.Addr, both.Nodes[master].Addr, func(b benched) float64 { return b.Receipts.P50 }, "receipts", "--consumers", "0")
		if err != nil {
			return err
		}
		rates, waits = append(rates, rate), append(waits, wait)
	}
	rate, wait := median(rates), median(waits)
	s.judge(verdict{"persistent messages a second, to those of a broker alone", fmt.Sprintf("%.2f (%.2f to %.2f)", rate, slices.Min(rates), slices.Max(rates)), "at least 0.45", rate >= 0.45, true})
	s.judge(verdict{"median time to a receipt, window 1, to that of one alone", fmt.Sprintf("%.2f (%.2f to %.2f)", wait, slices.Min(waits), slices.Max(waits)), "at most 2.2", wait <= 2.2, true})
	return nil
}

// compare runs a workload on a broker alone and on a pair's master, and returns the pair's share of a figure.
func (p *pair) compare(ctx context.Context, s *stage, alone, master string, of func(benched) float64, workload ...string) (float64, error) {
	args := append(workload, "--duration", p.duration.String())
	one, err := s.bench(ctx, alone, args...)
	if err != nil {
		return 0, err
	}
	two, err := s.bench(ctx, master, args...)
	if err != nil {
		return 0, err
	}
	s.printf("%-12s alone %10.0f   pair %10.0f   %.2f", workload[0], of(one), of(two), of(two)/of(one))
	return of(two) / of(one), nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// rejoins lets a standby come back that lacks much, beside a steady load.
func (p *pair) rejoins(ctx context.Context, s *stage) error {
	retain := fmt.Sprintf("BATON_FAILOVER_RETAIN=%d", 2*p.behind)
	both, master, err := s.startPair(ctx, "rejoin", retain)
	defer both.Stop()
	if err != nil {
		return err
	}
	away := 1 - master
	both.Nodes[away].Kill()
	const size = 16 << 10
	backlog := fmt.Sprint(p.behind / size)
	if err := produce(ctx, both.Nodes[master].Addr, "/queue/behind", 0, 1, nil); err != nil {
		return err
	}
	if _, err := s.bench(ctx, both.Nodes[master].Addr, "--size", fmt.Sprint(size), "--producers", "4", "--consumers", "0", "--backlog", backlog, "--duration", "1s"); err != nil {
		return err
	}
	steady := []string{"--producers", "4", "--consumers", "4", "--rate", fmt.Sprint(p.rate), "--duration", p.duration.String()}
	p99 := func() (float64, error) {
		b, err := s.bench(ctx, both.Nodes[master].Addr, steady...)
		return b.Receipts.P99, err
	}
	var quiet, busy []float64
	for range quietWindows {
		one, err := p99()
		if err != nil {
			return err
		}
		quiet = append(quiet, one)
	}
	begun := time.Now()
	if err := both.Start(ctx, away); err != nil {
		return err
	}
	for ok := false; !ok; _, ok = both.InSync(ctx) {
		one, err := p99()
		if err != nil {
			return err
		}
		busy = append(busy, one)
	}
	s.printf("a standby that lacked %s was in sync within %s", mebibytes(p.behind), time.Since(begun).Round(100*time.Millisecond))
	times := median(busy) / median(quiet)
	s.printf("p99 to a receipt, µs, before: %.0f; while it caught up: %.0f", quiet, busy)
	s.judge(verdict{"p99 to a receipt while a standby catches up, to that before (medians)", fmt.Sprintf("%.2f (%.0f µs, %.0f µs)", times, median(busy), median(quiet)), "at most 2", times <= 2, true})
	return nil
}

// quietWindows is how many measurements the load is judged by before the standby comes back.
const quietWindows = 5
