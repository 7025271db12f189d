package main

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A cost is that of the time between the first reading and the last, or of all when there are no two.
func TestMeter(t *testing.T) {
	t.Parallel()
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	m := meter{whole: reading{ms(50), 10_000}}
	if got := m.cost(); got != 5000 {
		t.Errorf("of a short run: %v ns, want 5000", got)
	}
	m.first = reading{ms(20), 1000}
	m.last = m.first
	if got := m.cost(); got != 5000 {
		t.Errorf("of a run with one reading: %v ns, want 5000", got)
	}
	m.last = reading{ms(29), 10_000}
	if got := m.cost(); got != 1000 {
		t.Errorf("%v ns, want 1000", got)
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		want   spread
		text   string
	}{
		{[]float64{1234}, spread{1234, 1234, 1234}, "1,234"},
		{[]float64{30, 10}, spread{20, 10, 30}, "20 (10–30)"},
		{[]float64{30, 1000, 10}, spread{30, 10, 1000}, "30 (10–1,000)"},
		{[]float64{4, 1, 3, 2}, spread{2.5, 1, 4}, "2 (1–4)"},
	} {
		if got := spreadOf(slices.Clone(c.values)); got != c.want || got.String() != c.text {
			t.Errorf("%v: %+v, %s; want %+v, %s", c.values, got, got, c.want, c.text)
		}
	}
}

// grown are figures of all curves: each point costs 1000 ns, save one.
func grown(of string, n int64, costs ...float64) figures {
	all := figures{}
	for i := range curves {
		for _, point := range curves[i].points {
			all.add("baton", curves[i].point(point), figure{cost: 1000, deliveries: 500})
		}
	}
	k := key{"baton", (&curve{of: of}).point(n)}
	all[k] = nil
	for _, cost := range costs {
		all[k] = append(all[k], figure{cost: cost, deliveries: 250})
	}
	return all
}

// with gives a point of queues other costs.
func (all figures) with(n int64, costs ...float64) figures {
	k := key{"baton", (&curve{of: "queues"}).point(n)}
	all[k] = grown("queues", n, costs...)[k]
	return all
}

// One point is enough to miss a goal of growth, by its median.
func TestGrowthGoals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		all  figures
		want string
	}{
		"flat":    {grown("queues", 100, 1150, 100, 9000), "| 1,150 (100–9,000) | the first point: 1,000 | 1.15 | ≤ 1.15 | reached |"},
		"noisy":   {grown("queues", 10, 1160).with(100, 1000, 1000, 9000), "| 1,160 | the first point: 1,000 | 1.16 | ≤ 1.15 | **missed** |"},
		"steep":   {grown("queues", 100, 1160), "| 1,160 | the first point: 1,000 | 1.16 | ≤ 1.15 | **missed** |"},
		"missing": {grown("queues", 100), "| – | the first point | – | | not measured |"},
	} {
		var text strings.Builder
		for _, g := range growthGoals() {
			g.report(&text, c.all)
		}
		lines := strings.Split(strings.TrimSpace(text.String()), "\n")
		if len(lines) != len(curves) || !strings.HasSuffix(lines[0], c.want) {
			t.Errorf("%s: no %q in\n%s", name, c.want, &text)
		}
		for _, line := range lines[1:] {
			if !strings.Contains(line, " 1.00 | ≤ 1.15 | reached") {
				t.Errorf("%s: the other curves are flat: %s", name, line)
			}
		}
	}
}

// Each curve has a line for the cost and one for the rate, with all its points, within the picture.
func TestDrawGrowth(t *testing.T) {
	t.Parallel()
	if drawGrowth(grown("backlog", 0), "baton") != nil {
		t.Error("a picture without all points")
	}
	picture := drawGrowth(grown("backlog", 5000, 40_000), "baton")
	var lines [][][2]float64
	bounds := map[string]float64{}
	for decoder := xml.NewDecoder(strings.NewReader(string(picture))); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := token.(xml.StartElement)
		for _, a := range e.Attr {
			switch {
			case ok && e.Name.Local == "svg":
				bounds[a.Name.Local], _ = strconv.ParseFloat(a.Value, 64)
			case ok && e.Name.Local == "polyline" && a.Name.Local == "points":
				lines = append(lines, pointsOf(t, a.Value))
			}
		}
	}
	if len(lines) != 2*len(curves) {
		t.Fatalf("%d lines, want 2 for each of %d curves", len(lines), len(curves))
	}
	for i, line := range lines {
		if len(line) != len(curves[i/2].points) {
			t.Errorf("line %d has %d points, want %d", i, len(line), len(curves[i/2].points))
		}
		for k, at := range line {
			if at[0] < 0 || at[0] > bounds["width"] || at[1] < 0 || at[1] > bounds["height"] || k > 0 && at[0] <= line[k-1][0] {
				t.Errorf("line %d, point %d is at %v of %v", i, k, at, bounds)
			}
		}
	}
	rates, costs := lines[6], lines[7] // of backlog
	if rates[1][1] <= rates[0][1] || costs[1][1] >= costs[0][1] {
		t.Errorf("half the rate and 40 times the cost are drawn at %v and %v", rates[1], costs[1])
	}
}

func pointsOf(t *testing.T, text string) (points [][2]float64) {
	t.Helper()
	for _, pair := range strings.Fields(text) {
		xs, ys, _ := strings.Cut(pair, ",")
		x, err1 := strconv.ParseFloat(xs, 64)
		y, err2 := strconv.ParseFloat(ys, 64)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		points = append(points, [2]float64{x, y})
	}
	return points
}
