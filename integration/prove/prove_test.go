package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"baton/integration/process"
)

// built is the broker under test, built once.
var built string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "baton-prove-test-")
	if err == nil {
		defer os.RemoveAll(dir)
		built, err = process.Build(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "prove:", err)
		return 1
	}
	return m.Run()
}

// expect runs a proof and judges all but what depends on the speed of the machine.
func expect(t *testing.T, p proof) *stage {
	t.Helper()
	var table bytes.Buffer
	s := &stage{binary: built, dir: t.TempDir(), out: &table}
	err := p.run(t.Context(), s)
	t.Log("\n" + table.String())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.verdicts) == 0 {
		t.Error("nothing was judged")
	}
	for _, v := range s.verdicts {
		if !v.timed && !v.holds {
			t.Error(v)
		}
	}
	return s
}

// What does not fit into memory waits on disk, comes in order, and leaves the disk.
func TestBacklog(t *testing.T) {
	t.Parallel()
	expect(t, &backlog{
		count: 100_000, budget: 32 << 20, overhead: 24 << 20, disk: 4 << 20,
		env: []string{"BATON_JOURNAL_SEGMENT=1MiB", "BATON_JOURNAL_CACHE=4MiB", "BATON_JOURNAL_BUFFER=4MiB", "BATON_LIMITS_BODY=1MiB",
			"BATON_JOURNAL_CHECKPOINT_EVERY=1s"},
	})
}

// A selector finds what it wants in what lies on disk.
func TestSelective(t *testing.T) {
	t.Parallel()
	expect(t, &selective{count: 20_000, every: 1000, budget: 32 << 20, env: []string{
		"BATON_JOURNAL_CACHE=4MiB", "BATON_JOURNAL_BUFFER=4MiB", "BATON_LIMITS_BODY=1MiB",
	}})
}

// Messages come and go, one stays in a dead-letter queue, and the files of the others go.
func TestSoak(t *testing.T) {
	t.Parallel()
	expect(t, &soak{duration: time.Second, rate: 20_000, every: 100 * time.Millisecond, segment: 64 << 10, disk: 1 << 20})
}

func TestStart(t *testing.T) {
	t.Parallel()
	s := expect(t, &startUp{count: 2_000, factor: 3, tail: 1_000, rounds: 1})
	if len(s.verdicts) != 3 {
		t.Errorf("%d verdicts", len(s.verdicts))
	}
}

// A message of a topic is on disk once, however many durable subscriptions wait for it.
func TestDurable(t *testing.T) {
	t.Parallel()
	expect(t, &durable{count: 2_000, subscribers: 20, segment: 64 << 10, disk: 1 << 20})
}

func TestProveRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"everything"}} {
		if err := prove(t.Context(), args, io.Discard); err == nil || !strings.Contains(err.Error(), "backlog, start, soak, durable") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestHolds(t *testing.T) {
	t.Parallel()
	var table bytes.Buffer
	s := &stage{out: &table}
	if s.holds() {
		t.Error("a stage without a verdict holds")
	}
	s.judge(verdict{criterion: "speed", holds: true})
	if !s.holds() || !strings.HasPrefix(table.String(), "PASS  speed") {
		t.Errorf("one that holds: %q", &table)
	}
	s.judge(verdict{criterion: "time", timed: true})
	if s.holds() || !strings.Contains(table.String(), "\nFAIL  time") {
		t.Errorf("one that does not: %q", &table)
	}
}

func TestCheckBody(t *testing.T) {
	t.Parallel()
	body := make([]byte, messageBytes)
	writeBody(body, 7)
	if err := checkBody(body, 7); err != nil {
		t.Error(err)
	}
	if err := checkBody(body, 8); err == nil || errors.Is(err, errAltered) {
		t.Errorf("another message: %v", err)
	}
	for bit := range len(body) * 8 {
		body[bit/8] ^= 1 << (bit % 8)
		if err := checkBody(body, 7); !errors.Is(err, errAltered) {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
		body[bit/8] ^= 1 << (bit % 8)
	}
	if err := checkBody(body[:messageBytes-1], 7); !errors.Is(err, errAltered) {
		t.Errorf("cut: %v", err)
	}
}

func TestGrowth(t *testing.T) {
	t.Parallel()
	line := func(uses ...int64) (looks []look) {
		for i, use := range uses {
			looks = append(looks, look{time.Duration(i) * 10 * time.Second, use})
		}
		return looks
	}
	for _, c := range []struct {
		looks []look
		want  int64
	}{
		{line(5), 0},
		{line(100, 100, 100), 0},
		{line(100, 300, 100, 300, 100), 0},
		{line(0, 10, 20, 30), 30},
		{line(30, 20, 10, 0), -30},
	} {
		if got := growth(c.looks); got != c.want {
			t.Errorf("%v grows by %d, want %d", c.looks, got, c.want)
		}
	}
}
