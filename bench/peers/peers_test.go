package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"baton/bench"
	"baton/integration/process"
)

// TestMain makes this program the relay that a test has started.
func TestMain(m *testing.M) {
	if isRelay(os.Args) {
		main()
		return
	}
	m.Run()
}

// A short run with the real broker measures all of it, and cleans up; but one that is not asked for, for it takes long.
func TestRun(t *testing.T) {
	t.Parallel()
	const leftOut = "topic-1000"
	dir := t.TempDir()
	out := filepath.Join(dir, "performance.md")
	write(t, out, "by hand\n"+measuredBegin+"\nold\n"+measuredEnd+"\nby hand, too\n")
	var said strings.Builder
	p := &plan{
		against: []string{"baton", "relay"}, growth: []string{"baton"}, rounds: 1, duration: 40 * time.Millisecond, scale: 0.001, fill: 1, dir: dir,
		only:     slices.DeleteFunc(allFigures(), func(name string) bool { return name == leftOut }),
		progress: &said,
	}
	if err := run(t.Context(), p, out); err != nil {
		t.Fatal(err)
	}
	page := read(t, out)
	for _, preset := range bench.Presets() {
		cells := row(page, preset.Name+": ")
		measured := len(cells) == 3 && !strings.ContainsAny(cells[1]+cells[2], "–") && cells[1] != "cannot"
		if measured == (preset.Name == leftOut) {
			t.Errorf("%s: %q", preset.Name, cells)
		}
	}
	for _, g := range goals {
		cells := row(page, g.text+" ")
		if cells == nil || (cells[1] == "–") != strings.HasPrefix(g.text, "topic, 1 to 1,000") {
			t.Errorf("goal %q: %q", g.text, cells)
		}
	}
	for _, want := range []string{
		"by hand\n", "by hand, too\n", "Measured on ", "1 round of 40ms", "are 0.001 of what is written", "\n- linux/", " go1.",
		"(performance-growth.svg)", "(performance-persistent.svg)", "(performance-non-persistent.svg)", "every message was checked",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	if strings.Contains(page, "old") || t.Failed() {
		t.Errorf("the page is\n%s\nand was said\n%s", page, said.String())
	}
	for _, name := range []string{"growth", "persistent", "non-persistent"} {
		if picture := read(t, filepath.Join(dir, "performance-"+name+".svg")); !strings.HasPrefix(picture, "<svg ") {
			t.Errorf("%s: %q", name, picture)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 4 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What the rounds before have measured is on the page when one is interrupted.
func TestRunIsInterrupted(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "performance.md")
	ctx, interrupt := context.WithCancel(t.Context())
	p := &plan{
		against: []string{"relay"}, only: []string{"persistent"}, rounds: 3, duration: 40 * time.Millisecond, scale: 1, fill: 1, dir: t.TempDir(),
		progress: progressUntil{"round 2 of 3", interrupt},
	}
	if err := run(ctx, p, out); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was interrupted", err)
	}
	page := read(t, out)
	if !strings.Contains(page, "1 round of 40ms a workload (of 3 that were asked for)") || row(page, "persistent: ") == nil {
		t.Errorf("the page is\n%s", page)
	}
}

// progressUntil calls then when a text is written.
type progressUntil struct {
	text string
	then func()
}

func (p progressUntil) Write(line []byte) (int, error) {
	if strings.Contains(string(line), p.text) {
		p.then()
	}
	return len(line), nil
}

// row is the cells of the row of a page that begins with text.
func row(page, text string) []string {
	_, rest, found := strings.Cut(page, "\n| "+text)
	if !found {
		return nil
	}
	line, _, _ := strings.Cut(rest, " |\n")
	return strings.Split(text+line, " | ")
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What a run measures of a process is of that run alone: not the most memory that there has been before.
func TestRunMeasuresItself(t *testing.T) {
	t.Parallel()
	relay, err := bench.NewRelay("")
	if err != nil {
		t.Fatal(err)
	}
	c := &contender{server: bench.Server{Addr: relay.Addr(), Dialect: bench.Dialects[0]}, pid: os.Getpid()}
	const n = 256
	each, err := residentEach(c, n, func() error {
		touched := make([]byte, n<<20)
		for i := 0; i < len(touched); i += 4096 {
			touched[i] = 1
		}
		runtime.KeepAlive(touched)
		return nil
	})
	if err != nil || each < 0.5*(1<<20) || each > 32*(1<<20) { // the race detector adds its own
		t.Errorf("a MiB takes %.0f octets, %v", each, err)
	}
	_, before, err := process.Memory(c.pid)
	if err != nil {
		t.Fatal(err)
	}
	debug.FreeOSMemory()
	p := &plan{}
	f, err := p.run(t.Context(), c, bench.Workload{Producers: 1, Consumers: 1, Size: 100, Duration: 40 * time.Millisecond})
	if err != nil || f.peak >= float64(before) || f.peak < 1<<20 || f.cost <= 0 || f.deliveries <= 0 {
		t.Errorf("%+v, %v; there were %d octets before", f, err, before)
	}
	if err := relay.Close(); err != nil {
		t.Error(err)
	}
}

// What cannot be measured or written is said before anything is measured.
func TestRunIsRefused(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "page.md")
	write(t, out, "all by hand\n")
	good := plan{against: []string{"relay"}, rounds: 1, duration: time.Hour, scale: 1, fill: 1}
	for want, change := range map[string]func(p *plan){
		`"kafka"`:     func(p *plan) { p.against = []string{"relay", "kafka"} },
		`"artemis"`:   func(p *plan) { p.growth = []string{"artemis"} },
		`no "fast"`:   func(p *plan) { p.only = []string{"persistent", "fast"} },
		"0 rounds":    func(p *plan) { p.rounds = 0 },
		"of 0s":       func(p *plan) { p.duration = 0 },
		"scale 0":     func(p *plan) { p.scale = 0 },
		"0 of a":      func(p *plan) { p.fill = 0 },
		measuredBegin: func(*plan) {},
	} {
		p := good
		change(&p)
		if err := run(t.Context(), &p, out); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if page := read(t, out); page != "all by hand\n" {
		t.Errorf("the page is now %q", page)
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

// Only those who are slow to take a backlog get a part of it, and of nothing else.
func TestFill(t *testing.T) {
	t.Parallel()
	p := &plan{scale: 1, fill: 0.1}
	backlog := bench.Workload{Name: "backlog", Backlog: 1000}
	for name, want := range map[string]int64{"baton": 1000, "activemq": 100, "rabbitmq": 100} {
		if w := p.scaledFor(name, backlog); w.Backlog != want {
			t.Errorf("%s gets %d messages, want %d", name, w.Backlog, want)
		}
	}
	if w := p.scaledFor("activemq", bench.Workload{Name: "queues", Backlog: 1000}); w.Backlog != 1000 {
		t.Errorf("ActiveMQ gets %d messages of another workload, want all", w.Backlog)
	}
}
