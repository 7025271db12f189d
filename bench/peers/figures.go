package main

import (
	"errors"
	"fmt"
	"slices"

	"baton/bench"
)

// A figure is what was measured of a contender in one round.
type figure struct {
	sends      float64 // a second
	deliveries float64
	receipts   bench.Latency
	latencies  bench.Latency
	resident   float64 // octets for each connection or queue
	peak       float64 // octets: the most that was resident
	cost       float64 // nanoseconds of the contender's CPU time for a delivery
	wrong      string  // why there is none
}

func sendsOf(f figure) float64      { return f.sends }
func deliveriesOf(f figure) float64 { return f.deliveries }
func p50Of(f figure) float64        { return f.latencies.P50 }
func p99Of(f figure) float64        { return f.latencies.P99 }
func residentOf(f figure) float64   { return f.resident }
func peakOf(f figure) float64       { return f.peak / (1 << 20) } // in MiB
func costOf(f figure) float64       { return f.cost }

// A key says of what a figure is.
type key struct{ contender, what string }

// figures are those of all rounds.
type figures map[key][]figure

func (all figures) add(contender, what string, f figure) {
	k := key{contender, what}
	all[k] = append(all[k], f)
}

// of picks one number of each round's figure; ok is false when there is none, or something was wrong in a round.
func (all figures) of(contender, what string, pick func(figure) float64) (s spread, ok bool) {
	rounds := all[key{contender, what}]
	if len(rounds) == 0 || all.wrong(contender, what) != nil {
		return s, false
	}
	var values []float64
	for _, f := range rounds {
		values = append(values, pick(f))
	}
	return spreadOf(values), true
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

// A spread is the median of the rounds, the least and the most.
type spread struct{ median, least, most float64 }

// spreadOf sorts values, of which there is one.
func spreadOf(values []float64) spread {
	slices.Sort(values)
	n := len(values)
	return spread{(values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1]}
}

func (s spread) String() string {
	if s.least == s.most {
		return number(s.median)
	}
	return fmt.Sprintf("%s (%s–%s)", number(s.median), number(s.least), number(s.most))
}

// number writes with commas.
func number(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
