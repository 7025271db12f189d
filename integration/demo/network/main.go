package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"baton/integration/process"
)

func main() {
	binary := flag.String("baton", "", "the `PROGRAM` to show (default: it is built)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := demo(ctx, *binary, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// patience bounds the whole show, without building: something is wrong with one that takes longer.
const patience = time.Minute

func demo(ctx context.Context, binary string, out io.Writer) error {
	dir, err := os.MkdirTemp("", "baton-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if binary == "" {
		if binary, err = process.Build(ctx, dir); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n, err := process.StartNetwork(ctx, binary, dir, 3)
	defer n.Stop()
	if err != nil {
		return err
	}
	return show(ctx, n, out)
}

// The members, as the play calls them.
const (
	a = iota
	b
	c
)

// show is the play in four acts, with a producer at a that sends all the time.
func show(ctx context.Context, n *process.Network, out io.Writer) error {
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	say("broker a on %s, b on %s, c on %s: one network", n.Members[a].Addr, n.Members[b].Addr, n.Members[c].Addr)
	l, err := startLoad(ctx, n.Members[a].Addr)
	if err != nil {
		return err
	}
	defer l.stop()
	say("a producer is at work at a")

	visit := func(where int, slow time.Duration, what string) error {
		if err := l.visit(ctx, n.Members[where].Addr, slow); err != nil {
			return err
		}
		say("the consumer %s", what)
		if err := l.await(ctx, act); err != nil {
			return err
		}
		say("    %d messages have come", l.count().visit)
		return nil
	}
	if err := visit(b, 0, "is at b"); err != nil {
		return err
	}
	if err := visit(c, 2*pace, "goes to c, and is slow: some messages wait at c, the others at a"); err != nil {
		return err
	}
	say("kill -9 c")
	n.Members[c].Kill()
	if err := visit(a, 0, "goes to a, which has what c had no room for"); err != nil {
		return err
	}
	if err := n.Start(ctx, c); err != nil {
		return err
	}
	say("c is back, with what it had on its disk")
	before := l.count()
	tally, err := l.end(ctx)
	if err != nil {
		return err
	}
	say("    %d messages have come back to a (x-broker-path:a,c)", tally.returned-before.returned)
	say("%s", tally)
	if tally.lost() != 0 || tally.twice != 0 {
		return errors.New("this must not be")
	}
	return nil
}
