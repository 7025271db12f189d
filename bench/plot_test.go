package bench

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// polylines are the points of the lines in a picture of r.
func polylines(t *testing.T, r *Result) (lines []string) {
	t.Helper()
	var picture strings.Builder
	if err := r.Plot(&picture); err != nil {
		t.Fatal(err)
	}
	for decoder := xml.NewDecoder(strings.NewReader(picture.String())); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "polyline" {
			lines = append(lines, e.Attr[0].Value)
		}
	}
}

// Each point is where its axes say: rates from 0 to somewhat above the highest, latencies from a power of ten to another.
func TestPlotDrawsEachPointInItsPlace(t *testing.T) {
	t.Parallel()
	r := &Result{
		Latencies: Latency{P50: 10},
		Sending:   []Point{{At: 0.5, Rate: 1000, P50: 10, P99: 10, Worst: 10}, {At: 1, Rate: 2000, P50: 10, P99: 10, Worst: 10}},
		Receiving: []Point{{At: 0.5, Rate: 500, P50: 10, P99: 100, Worst: 1000}, {At: 1, Rate: 0, P50: 100, P99: 1000, Worst: 100_000}},
	}
	const middle, right = (plotLeft + plotWidth - plotRight) / 2, plotWidth - plotRight
	rate := func(perSecond float64) float64 { return plotTop + panelHeight*(1-perSecond/2100) }
	const bottom, decade = plotTop + 2*panelHeight + panelGap, panelHeight / 4 // from 10 to 100,000 µs
	line := func(first, last float64) string {
		return fmt.Sprintf("%.1f,%.1f %.1f,%.1f", float64(middle), first, float64(right), last)
	}
	want := []string{
		line(rate(1000), rate(2000)), line(rate(500), rate(0)),
		line(bottom, bottom-decade), line(bottom-decade, bottom-2*decade), line(bottom-2*decade, bottom-4*decade),
	}
	if got := polylines(t, r); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	r.Latencies = Latency{}
	if got, want := polylines(t, r)[4], line(bottom, bottom); got != want {
		t.Errorf("without deliveries: %s, want %s, of the receipts", got, want)
	}
}
