package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"baton/integration/process"
)

func main() {
	var o options
	flag.DurationVar(&o.duration, "duration", 5*time.Second, "how long each of the five measurements takes")
	flag.StringVar(&o.dir, "dir", "", "where the broker's data goes for the time of the run (default the system's temporary directory)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	duration time.Duration // of each measurement
	dir      string        // "": the system's temporary directory
}

const messageBytes = 1 << 10

// workloads are what the broker is asked to do, one after the other, each with queues of its own.
var workloads = []workload{
	{name: "persistent, 1 producer, window 1", against: againstDisk, persistent: true, producers: 1, window: 1},
	{name: "persistent, 8 producers, 8 consumers, window 256", against: againstDisk, persistent: true, producers: 8, consumers: 8,
		window: 256, ack: "client-individual"},
	{name: "non-persistent, 4 producers, 4 consumers, auto", against: againstLoopback, producers: 4, consumers: 4,
		window: 256, ack: "auto"},
}

func run(ctx context.Context, out io.Writer, o options) error {
	dir, err := os.MkdirTemp(o.dir, "baton-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := process.Build(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d B a message, %v a measurement, data in %s\n\n", messageBytes, o.duration, filepath.Dir(dir))
	t := newTable(out)
	if err := t.measureMachine(ctx, dir, o.duration); err != nil {
		return err
	}
	b, err := process.Start(ctx, process.Options{Binary: binary, Data: filepath.Join(dir, "data"), Env: []string{"BATON_LOG_LEVEL=warn"}})
	if err != nil {
		return err
	}
	defer b.Kill()
	for i, w := range workloads {
		w.queue = fmt.Sprintf("/queue/bench.%d", i)
		r, err := w.run(ctx, b.Addr, o.duration)
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", w.name, err, b.Log())
		}
		t.row(w.name, r, w.against)
	}
	return b.Terminate(ctx)
}

func (t *table) measureMachine(ctx context.Context, dir string, duration time.Duration) error {
	disk, err := measureDisk(ctx, filepath.Join(dir, "disk"), duration)
	if err != nil {
		return fmt.Errorf("measure fdatasync: %w", err)
	}
	t.machine[againstDisk] = disk.rate()
	t.row("fdatasync of 1 KiB appends", disk, againstDisk)
	loopback, err := measureLoopback(ctx, duration)
	if err != nil {
		return fmt.Errorf("measure loopback: %w", err)
	}
	t.machine[againstLoopback] = loopback.rate()
	t.row("loopback round trips of 1 KiB", loopback, againstLoopback)
	return nil
}
