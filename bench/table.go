package bench

import (
	"fmt"
	"io"
	"strconv"
	"time"
)

// Print writes r as a small table.
func (r *Result) Print(out io.Writer) {
	fmt.Fprintf(out, "%s\n", r.Workload)
	fmt.Fprintf(out, "  %-22s %12s %12s %10s %10s %10s %10s\n", "", "messages", "a second", "p50", "p99", "p99.9", "max")
	line := func(name string, n int64, rate float64, l Latency) {
		fmt.Fprintf(out, "  %-22s %12d %12.0f", name, n, rate)
		for _, us := range []float64{l.P50, l.P99, l.P999, l.Worst} {
			fmt.Fprintf(out, " %10s", duration(us))
		}
		fmt.Fprintln(out)
	}
	name := "sent"
	if r.Workload.Window > 0 {
		name = "sent, to the receipt"
	}
	line(name, r.Sent, r.SendRate, r.Receipts)
	if r.Workload.Consumers > 0 {
		line("received", r.Received, r.Rate, r.Latencies)
	}
	if f := r.Failover; f != nil {
		fmt.Fprintf(out, "  %d connections lost, %d messages sent again, %d flagged ones received again; longest time without a receipt %s\n",
			f.Lost, f.Resent, f.Flagged, duration(f.Gap*1e6))
	}
	verdict := "nothing lost, doubled, out of order or corrupt"
	if r.Workload.Consumers == 0 {
		verdict = "nobody received and checked it"
	}
	if err := r.Checks.Err(); err != nil {
		verdict = err.Error()
	}
	fmt.Fprintf(out, "  %s\n", verdict)
}

// Print writes l as a line.
func (l Limit) Print(out io.Writer) {
	fmt.Fprintf(out, "%-48s %12.0f %s a second", l.Name, l.Rate, l.Unit)
	if l.Latency != (Latency{}) {
		fmt.Fprintf(out, ", p50 %s, p99 %s", duration(l.Latency.P50), duration(l.Latency.P99))
	}
	fmt.Fprintln(out)
}

// duration writes microseconds with three digits; none is a dash.
func duration(us float64) string {
	d := time.Duration(us * 1e3)
	switch {
	case d == 0:
		return "-"
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(10 * time.Millisecond).String()
	}
}

func octets(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + " KiB"
	}
	return strconv.Itoa(n) + " B"
}
