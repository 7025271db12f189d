package bench

import (
	"bytes"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestLedger(t *testing.T) {
	t.Parallel()
	take := func(l *ledger, numbers ...uint32) *ledger {
		for _, n := range numbers {
			l.take(stamp{producer: 1, number: n}, false)
		}
		return l
	}
	for name, c := range map[string]struct {
		ledgers []*ledger
		want    Checks
	}{
		"all":                   {[]*ledger{take(newLedger(2, 1), 0, 1, 2, 3)}, Checks{}},
		"shared":                {[]*ledger{take(newLedger(2, 1), 0, 3), take(newLedger(2, 1), 1, 2)}, Checks{}},
		"lost":                  {[]*ledger{take(newLedger(2, 1), 0, 3)}, Checks{Lost: 2}},
		"doubled":               {[]*ledger{take(newLedger(2, 1), 0, 1, 1, 2, 3)}, Checks{Doubled: 1}},
		"doubled by another":    {[]*ledger{take(newLedger(2, 1), 0, 1, 2, 3), take(newLedger(2, 1), 2)}, Checks{Doubled: 1}},
		"out of order":          {[]*ledger{take(newLedger(2, 1), 0, 2, 1, 3)}, Checks{Disordered: 1}},
		"of other destinations": {[]*ledger{take(newLedger(2, 4), 1, 0, 3, 2)}, Checks{}},
		"wrong at another":      {[]*ledger{take(newLedger(2, 1), 0, 3), take(newLedger(2, 1), 2, 1)}, Checks{Disordered: 1}},
		"of one of them":        {[]*ledger{take(newLedger(2, 4), 2, 0, 1, 3)}, Checks{Disordered: 1}},
		"never sent":            {[]*ledger{take(newLedger(2, 1), 0, 1, 2, 3, 4, 200)}, Checks{Foreign: 2}},
	} {
		all := c.ledgers[0]
		for _, l := range c.ledgers[1:] {
			all.merge(l)
		}
		if got := all.settle([]int64{0, 4}); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	l := take(newLedger(2, 1), 1, 3)
	l.take(stamp{producer: 1, number: 0}, true)
	l.take(stamp{producer: 1, number: 2}, true)
	l.take(stamp{producer: 9}, false)
	if got := l.settle([]int64{0, 4}); got != (Checks{Foreign: 1}) {
		t.Errorf("redelivered ones may be out of order: %+v", got)
	}
}

// Whatever is wrong with a message adds up, and is said.
func TestChecksAddUp(t *testing.T) {
	t.Parallel()
	for i := range reflect.TypeFor[Checks]().NumField() {
		var c, sum Checks
		reflect.ValueOf(&c).Elem().Field(i).SetInt(7)
		sum.add(c)
		if err := sum.Err(); sum != c || err == nil || !strings.Contains(err.Error(), "7 ") {
			t.Errorf("%+v of %+v: %v", sum, c, err)
		}
	}
}

// Each subscriber of a topic must have all.
func TestTopicsSettleEachSubscriber(t *testing.T) {
	t.Parallel()
	r := &run{w: Workload{Topic: true}}
	for _, numbers := range [][]uint32{{0}, {0, 1, 2, 2}, {0, 1}} {
		c := &consumer{ledger: newLedger(1, 1)}
		for _, n := range numbers {
			c.ledger.take(stamp{number: n}, false)
		}
		r.consumers = append(r.consumers, c)
	}
	if got, want := r.settle([]int64{3}), (Checks{Lost: 3, Doubled: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Latencies of several recorders are those of all, and the intervals add up.
func TestRecordersAddUp(t *testing.T) {
	t.Parallel()
	recorders := newRecorders(3)
	const n = 9000
	for i := range n {
		at := time.Duration(i) * 3 * Interval / n
		recorders[i%3].noteAll([]took{{at + time.Duration(1+i%100)*time.Millisecond, at + 1}}) // 1 to 100 ms
	}
	l := latencyOf(recorders)
	for q, want := range map[float64]float64{l.P50: 50_000, l.P90: 90_000, l.P99: 99_000, l.Worst: 100_000} {
		if q < want*0.99 || q > want*1.01 {
			t.Errorf("%v, want %v µs of %+v", q, want, l)
		}
	}
	sum := 0.0
	all := points(recorders)
	for i, p := range all {
		sum += p.Rate * Interval.Seconds()
		if p.At != float64(i+1)*Interval.Seconds() {
			t.Errorf("point %d is at %v", i, p.At)
		}
	}
	if sum < n-0.5 || sum > n+0.5 {
		t.Errorf("the intervals have %v, want %d", sum, n)
	}
}

// A point is what happened in its interval, of all recorders.
func TestPoints(t *testing.T) {
	t.Parallel()
	recorders := newRecorders(2)
	note := func(r *recorder, at, latency time.Duration) { r.noteAll([]took{{at, at - latency}}) }
	for range 3 {
		note(recorders[1], 100*time.Millisecond, time.Millisecond)
	}
	note(recorders[0], 200*time.Millisecond, 5*time.Millisecond)
	note(recorders[1], 2*Interval, 20*time.Millisecond)
	got := points(recorders)
	want := []Point{
		{At: 0.5, Rate: 8, P50: 2000, P99: 5000, Worst: 5000},
		{At: 1},
		{At: 1.5, Rate: 2, P50: 20000, P99: 20000, Worst: 20000},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v, want %+v", got, want)
	}
	near := func(a, b float64) bool { return a >= b*0.98 && a <= b*1.02 } // two digits are held
	for i, p := range got {
		if w := want[i]; p.At != w.At || p.Rate != w.Rate || !near(p.P50, w.P50) || !near(p.P99, w.P99) || !near(p.Worst, w.Worst) {
			t.Errorf("%+v, want %+v", p, w)
		}
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	r := &Result{
		Workload: Workload{Name: "a<b", Producers: 1, Consumers: 2, Size: 100, Window: 1, Ack: "auto"}, Sent: 10, Received: 10,
		SendRate: 1234, Rate: 4321, Receipts: Latency{P50: 12, P99: 3456}, Latencies: Latency{P50: 1, P99: 2_345_678},
	}
	for i := range 20 {
		p := Point{At: float64(i+1) * Interval.Seconds(), Rate: rand.Float64() * 1e6, P50: 10, P99: 1000, Worst: 1e5}
		r.Sending, r.Receiving = append(r.Sending, p), append(r.Receiving, p)
	}
	var table bytes.Buffer
	r.Print(&table)
	for _, want := range []string{"1234", "4321", "12µs", "3.46ms", "2.35s", "nothing lost"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, &table)
		}
	}
	for name, r := range map[string]*Result{"full": r, "empty": {}} {
		lines := polylines(t, r)
		for _, line := range lines {
			if points := strings.Fields(line); len(points) != len(r.Sending) {
				t.Errorf("%s: a line of %d points, want %d", name, len(points), len(r.Sending))
			}
			if strings.Contains(line, "NaN") || strings.Contains(line, "Inf") {
				t.Errorf("%s: %s", name, line)
			}
		}
		if len(lines) != 5 {
			t.Errorf("%s: %d lines, want 5", name, len(lines))
		}
	}
	r.Workload.Consumers = 0
	table.Reset()
	r.Print(&table)
	if strings.Contains(table.String(), "nothing lost") {
		t.Errorf("nobody has checked it, but\n%s", &table)
	}
	r.Workload.Consumers = 2
	r.Checks.Lost = 3
	table.Reset()
	r.Print(&table)
	if !strings.Contains(table.String(), "3 lost") {
		t.Errorf("nothing of what was lost in\n%s", &table)
	}
}

// Each limit is measured, and no file is left.
func TestLimits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	limits, err := DiskLimits(t.Context(), dir, []int{1024}, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	loopback, err := LoopbackLimit(t.Context(), 1024, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range append(limits, loopback) {
		if l.Rate <= 0 {
			t.Errorf("%+v", l)
		}
		var line bytes.Buffer
		l.Print(&line)
		if !strings.HasPrefix(line.String(), l.Name) || strings.Count(line.String(), "\n") != 1 {
			t.Errorf("%q", line.String())
		}
	}
	r, err := RelayLimit(t.Context(), dir, Workload{Producers: 1, Consumers: 1, Size: 100, Window: 1, Persistent: true, Duration: briefly})
	if err != nil || r.Received == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
