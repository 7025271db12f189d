package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"baton/bench"
)

// TestMain makes this program the relay that a test has started.
func TestMain(m *testing.M) {
	if isRelay(os.Args) {
		main()
		return
	}
	m.Run()
}

// A short run with the real broker measures all of it, and cleans up.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out := dir + "/performance.md"
	var said strings.Builder
	p := &plan{against: []string{"baton", "relay"}, rounds: 2, duration: 60 * time.Millisecond, scale: 0.001, dir: dir, progress: &said}
	if err := run(t.Context(), p, out); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, preset := range bench.Presets() {
		row := "\n| " + preset.Name + ": "
		_, rest, found := strings.Cut(string(page), row)
		line, _, _ := strings.Cut(rest, "\n")
		cells := strings.Split(line, " | ")
		if !found || len(cells) != 3 || strings.Contains(line, "failed") || cells[1] == "–" {
			t.Errorf("%s: %q in\n%s", preset.Name, line, page)
		}
	}
	for _, g := range goals {
		if !strings.Contains(string(page), "\n| "+g.text+" | ") {
			t.Errorf("no goal %q in\n%s", g.text, page)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestUnknownContender(t *testing.T) {
	t.Parallel()
	err := run(t.Context(), &plan{against: []string{"kafka"}}, "-")
	if err == nil || !strings.Contains(err.Error(), `"kafka"`) {
		t.Error(err)
	}
}

// Goals are met from their bounds on, and not below.
func TestGoals(t *testing.T) {
	t.Parallel()
	all := figures{
		{"baton", "persistent"}:     {{deliveries: 10}, {deliveries: 50}, {deliveries: 90}},
		{"relay", "persistent"}:     {{deliveries: 100}},
		{"activemq", "persistent"}:  {{deliveries: 2.01}},
		{"baton", "steady"}:         {{latencies: bench.Latency{P50: 250, P99: 300}}},
		{"relay", "steady"}:         {{latencies: bench.Latency{P99: 199}}},
		{"baton", "receipts"}:       {{sends: 800}},
		{"machine", figureSync}:     {{sends: 2000}},
		{"machine", figureLoopback}: {{sends: 2000}},
		{"activemq", "receipts"}:    {{wrong: "it fell over"}},
	}
	var text strings.Builder
	for _, g := range goals {
		g.report(&text, all)
	}
	for _, want := range []string{
		"| 50 (10–90) | the relay with a synced log: 100 | 0.50 | ≥ 0.5 | reached |",
		"| 50 (10–90) | ActiveMQ: 2 | 24.88 | ≥ 25 | **missed** |",
		"p50 in µs | 250 | 250 µs: 250 | 1.00 | ≤ 1 | reached |",
		"p99 in µs | 300 | the relay's: 199 | 1.51 | ≤ 1.5 | **missed** |",
		"| 800 | a sync and a round trip, one after the other: 1,000 | 0.80 | ≥ 0.8 | reached |",
		"| – | ActiveMQ | – | | not measured |",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
}
