package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"baton/integration/process"
)

func main() {
	if isRelay(os.Args) {
		if err := serveRelay(os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "relay:", err)
			os.Exit(1)
		}
		return
	}
	p := plan{progress: os.Stderr}
	against := flag.String("against", "baton,relay,activemq,rabbitmq", "who is measured, in this order")
	out := flag.String("out", "-", "the file that is written; - is standard output")
	flag.IntVar(&p.rounds, "rounds", 3, "how often all is measured")
	flag.DurationVar(&p.duration, "duration", 10*time.Second, "how long each workload takes")
	flag.Float64Var(&p.scale, "scale", 1, "of the messages of a backlog, the queues and the connections")
	flag.StringVar(&p.dir, "dir", "", "where the brokers' data goes for the time of the run (default the system's temporary directory)")
	flag.Parse()
	p.against = strings.Split(*against, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &p, *out); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, p *plan, out string) (err error) {
	for _, name := range p.against {
		if starters[name] == nil {
			return fmt.Errorf("-against: %q is not baton, relay, activemq or rabbitmq", name)
		}
	}
	if p.dir, err = os.MkdirTemp(p.dir, "bench-peers-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(p.dir)) }()
	if slices.Contains(p.against, "baton") {
		if p.binary, err = process.Build(ctx, p.dir); err != nil {
			return err
		}
	}
	all, err := p.measure(ctx)
	if err != nil {
		return err
	}
	var text strings.Builder
	p.report(&text, all)
	if out == "-" {
		_, err = io.WriteString(os.Stdout, text.String())
		return err
	}
	return os.WriteFile(out, []byte("# Performance\n\n"+text.String()), 0o644)
}
