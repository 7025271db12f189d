package integration

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"baton/integration/client"
	"baton/integration/process"
)

// binary is the broker under test, built once. Under -race it is built with -race too.
var binary string

func TestMain(m *testing.M) {
	if url := os.Getenv(probeURL); url != "" {
		os.Exit(playProbe(url))
	}
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "baton-integration-")
	if err == nil {
		defer os.RemoveAll(dir)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		binary, err = process.Build(ctx, dir, raceFlags...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		return 1
	}
	return m.Run()
}

// patience bounds everything that a test waits for. No test measures time against it: it only ends one that hangs.
const patience = 2 * time.Minute

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// options of a broker with a fresh data directory and small segments, so that short tests meet their boundaries too.
func options(t *testing.T, env ...string) process.Options {
	t.Helper()
	return process.Options{
		Binary: binary,
		Data:   t.TempDir(),
		Env:    append([]string{"BATON_JOURNAL_SEGMENT=1MiB"}, env...),
	}
}

// start runs a broker that ends with the test. Where the broker itself has found a defect, the test fails.
func start(t *testing.T, o process.Options) *process.Broker {
	t.Helper()
	b, err := process.Start(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Kill()
		checkLog(t, b.Log())
	})
	return b
}

func terminate(t *testing.T, b *process.Broker) {
	t.Helper()
	if err := b.Terminate(within(t)); err != nil {
		t.Fatal(err)
	}
}

// dial connects the raw client, which then waits at most patience for anything.
func dial(t *testing.T, b *process.Broker, o client.Options) *client.Conn {
	t.Helper()
	c, err := client.Dial(within(t), b.Addr, o)
	if err != nil {
		t.Fatalf("%v\n%s", err, b.Log())
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c
}
