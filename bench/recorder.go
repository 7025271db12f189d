package bench

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Interval is how long a Point lasts.
const Interval = 500 * time.Millisecond

// A Point is what happened in one Interval of a run.
type Point struct {
	At    float64 `json:"at_s"`   // its end, in seconds since the run began
	Rate  float64 `json:"rate"`   // a second
	P50   float64 `json:"p50_us"` // latencies in microseconds
	P99   float64 `json:"p99_us"`
	Worst float64 `json:"max_us"`
}

// A Latency is a distribution, in microseconds.
type Latency struct {
	Mean  float64 `json:"mean_us"`
	P50   float64 `json:"p50_us"`
	P90   float64 `json:"p90_us"`
	P99   float64 `json:"p99_us"`
	P999  float64 `json:"p999_us"`
	Worst float64 `json:"max_us"`
}

// Latencies are held from 100 ns to 10 minutes; three digits in all, and two in each interval.
const (
	leastLatency = 100
	mostLatency  = int64(10 * time.Minute)
)

// A recorder counts what happens, and how long it took. Several goroutines may share it: each locks it once for a batch.
type recorder struct {
	mu       sync.Mutex
	all      *hdrhistogram.Histogram
	interval *hdrhistogram.Histogram // of the one under way
	counts   []intervalCount
	at       int // the number of that interval
	last     time.Duration
}

type intervalCount struct {
	n               int64
	p50, p99, worst int64
}

func newRecorder() *recorder {
	return &recorder{all: hdrhistogram.New(leastLatency, mostLatency, 3), interval: hdrhistogram.New(leastLatency, mostLatency, 2)}
}

// A took is when something happened, and when it was due; both since the run began.
type took struct{ now, due time.Duration }

func (r *recorder) noteAll(batch []took) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range batch {
		r.note(t.now, t.due)
	}
}

func (r *recorder) note(now, due time.Duration) {
	took := min(max(int64(now-due), leastLatency), mostLatency)
	if at := int(now / Interval); at > r.at {
		r.endInterval()
		r.at = at
	}
	_ = r.all.RecordValue(took)
	_ = r.interval.RecordValue(took)
	r.last = max(r.last, now)
}

func (r *recorder) endInterval() {
	for len(r.counts) <= r.at {
		r.counts = append(r.counts, intervalCount{})
	}
	h := r.interval
	r.counts[r.at] = intervalCount{h.TotalCount(), h.ValueAtQuantile(50), h.ValueAtQuantile(99), h.Max()}
	h.Reset()
}

// points merges the intervals of recorders, which are over: rates add up, of the medians the mean counts, weighed by the
// rates, and of the other latencies the worst.
func points(recorders []*recorder) []Point {
	var all []Point
	for _, r := range recorders {
		r.endInterval()
		for i, c := range r.counts {
			if i == len(all) {
				all = append(all, Point{At: float64(i+1) * Interval.Seconds()})
			}
			p := &all[i]
			before := p.Rate
			p.Rate += float64(c.n) / Interval.Seconds()
			if p.Rate > 0 { // weighed by their shares
				share := float64(c.n) / Interval.Seconds() / p.Rate
				p.P50 = p.P50*(before/p.Rate) + micros(c.p50)*share
			}
			p.P99, p.Worst = max(p.P99, micros(c.p99)), max(p.Worst, micros(c.worst))
		}
	}
	return all
}

func latencyOf(recorders []*recorder) Latency {
	all := hdrhistogram.New(leastLatency, mostLatency, 3)
	for _, r := range recorders {
		all.Merge(r.all)
	}
	if all.TotalCount() == 0 {
		return Latency{}
	}
	at := func(q float64) float64 { return micros(all.ValueAtQuantile(q)) }
	return Latency{Mean: all.Mean() / 1e3, P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Worst: micros(all.Max())}
}

func micros(ns int64) float64 { return float64(ns) / 1e3 }

// lastOf is when the last of what the recorders noted happened.
func lastOf(recorders []*recorder) (last time.Duration) {
	for _, r := range recorders {
		last = max(last, r.last)
	}
	return last
}
