package bench

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// The plot: two panels above one another with a common time axis.
const (
	plotWidth   = 900
	plotLeft    = 80
	plotRight   = 20
	plotTop     = 50
	panelHeight = 200
	panelGap    = 50
	plotHeight  = plotTop + 2*panelHeight + 2*panelGap
)

// Plot writes an SVG picture of r: above the rates of sending and receiving over time, below the latencies of the
// deliveries, or of the receipts where there were none, on a logarithmic scale.
func (r *Result) Plot(out io.Writer) error {
	latencies, of := r.Receiving, "delivery"
	if r.Latencies == (Latency{}) {
		latencies, of = r.Sending, "receipt"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="24" font-size="15">%s</text>`+"\n",
		plotLeft, html.EscapeString(strings.TrimPrefix(r.Workload.Name+": "+r.Workload.String(), ": ")))
	seconds := Interval.Seconds()
	for _, points := range [][]Point{r.Sending, r.Receiving} {
		if n := len(points); n > 0 {
			seconds = max(seconds, points[n-1].At)
		}
	}
	rates := panel{title: "messages a second", top: plotTop, seconds: seconds}
	rates.line("sent", "#1f77b4", r.Sending, func(p Point) float64 { return p.Rate })
	rates.line("received", "#d62728", r.Receiving, func(p Point) float64 { return p.Rate })
	rates.draw(&b)
	times := panel{title: "latency of a " + of + ", µs", top: plotTop + panelHeight + panelGap, seconds: seconds, logarithmic: true}
	times.line("p50", "#2ca02c", latencies, func(p Point) float64 { return p.P50 })
	times.line("p99", "#ff7f0e", latencies, func(p Point) float64 { return p.P99 })
	times.line("max", "#7f7f7f", latencies, func(p Point) float64 { return p.Worst })
	times.draw(&b)
	b.WriteString("</svg>\n")
	_, err := io.WriteString(out, b.String())
	return err
}

// A panel is one diagram.
type panel struct {
	title       string
	top         int
	seconds     float64
	logarithmic bool
	lines       []plotLine
}

type plotLine struct {
	name, colour string
	at, value    []float64
}

func (p *panel) line(name, colour string, points []Point, value func(Point) float64) {
	l := plotLine{name: name, colour: colour}
	for _, point := range points {
		if v := value(point); v > 0 || !p.logarithmic {
			l.at, l.value = append(l.at, point.At), append(l.value, v)
		}
	}
	p.lines = append(p.lines, l)
}

func (p *panel) draw(b *strings.Builder) {
	low, high := p.bounds()
	x := func(at float64) float64 { return plotLeft + at/p.seconds*(plotWidth-plotLeft-plotRight) }
	y := func(v float64) float64 {
		share := (v - low) / (high - low)
		if p.logarithmic {
			share = math.Log(max(v, low)/low) / math.Log(high/low)
		}
		return float64(p.top+panelHeight) - share*panelHeight
	}
	fmt.Fprintf(b, `<text x="%d" y="%d">%s</text>`+"\n", plotLeft, p.top-6, html.EscapeString(p.title))
	for _, v := range p.ticks(low, high) {
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			plotLeft, y(v), plotWidth-plotRight, y(v), plotLeft-6, y(v)+4, short(v))
	}
	for _, at := range []float64{0, p.seconds / 4, p.seconds / 2, p.seconds * 3 / 4, p.seconds} {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%.3g s</text>`+"\n", x(at), p.top+panelHeight+16, at)
	}
	for i, l := range p.lines {
		var path strings.Builder
		for k, v := range l.value {
			fmt.Fprintf(&path, " %.1f,%.1f", x(l.at[k]), y(v))
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.TrimSpace(path.String()), l.colour)
		fmt.Fprintf(b, `<text x="%d" y="%d" fill="%s" text-anchor="end">%s</text>`+"\n",
			plotWidth-plotRight-80*i, p.top-6, l.colour, html.EscapeString(l.name))
	}
}

// bounds are those of the values' axis.
func (p *panel) bounds() (low, high float64) {
	low, high = math.Inf(1), 1
	for _, l := range p.lines {
		for _, v := range l.value {
			low, high = min(low, v), max(high, v)
		}
	}
	if !p.logarithmic {
		return 0, high * 1.05
	}
	if math.IsInf(low, 1) {
		low = 1
	}
	low = math.Pow(10, math.Floor(math.Log10(max(low, 0.1))))
	return low, max(math.Pow(10, math.Ceil(math.Log10(high))), low*10)
}

func (p *panel) ticks(low, high float64) (all []float64) {
	if p.logarithmic {
		for v := low; v <= high*1.001; v *= 10 {
			all = append(all, v)
		}
		return all
	}
	step := math.Pow(10, math.Floor(math.Log10(high)))
	for high/step < 4 {
		step /= 2
	}
	for v := 0.0; v <= high; v += step {
		all = append(all, v)
	}
	return all
}

// short writes a number with a suffix: 12k, 1.5M.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.3gk", v/1e3)
	}
	return fmt.Sprintf("%.3g", v)
}
