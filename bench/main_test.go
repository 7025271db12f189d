package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

// A short run against the real broker prints a line for each measurement, finds nothing lost, and cleans up.
func TestRun(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	dir := t.TempDir()
	if err := run(t.Context(), &out, options{duration: 200 * time.Millisecond, dir: dir}); err != nil {
		t.Fatal(err)
	}
	names := []string{"fdatasync of 1 KiB appends", "loopback round trips of 1 KiB"}
	for _, w := range workloads {
		names = append(names, w.name)
	}
	for _, name := range names {
		if !strings.Contains(out.String(), "\n"+name) {
			t.Errorf("no line %q in\n%s", name, &out)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestTableCompares(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	table := newTable(&out)
	table.machine[againstDisk] = 100
	latency := newLatency()
	latency.RecordValue((2 * time.Millisecond).Nanoseconds())
	table.row("some work", result{count: 500, elapsed: 2 * time.Second, latency: latency}, againstDisk)
	for _, want := range []string{"some work", " 250 ", "2.50 × fdatasync", "2.00"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}
