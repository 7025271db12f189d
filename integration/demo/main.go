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

// patience bounds the whole show: something is wrong with one that takes longer.
const patience = 2 * time.Minute

func demo(ctx context.Context, binary string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
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
	p, err := process.StartPair(ctx, binary, dir)
	defer p.Stop()
	if err != nil {
		return err
	}
	return show(ctx, p, out)
}

// show is the play in three acts, with a load that runs all the time.
func show(ctx context.Context, p *process.Pair, out io.Writer) error {
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	master, err := p.AwaitSync(ctx)
	if err != nil {
		return err
	}
	standby := 1 - master
	say("arbiter on %s, broker a on %s, broker b on %s", p.Arbiter.Addr, p.Nodes[0].Addr, p.Nodes[1].Addr)
	say("%s is the master, %s stands by", process.NodeName(master), process.NodeName(standby))
	l, err := startLoad(ctx, p.URL())
	if err != nil {
		return err
	}
	defer l.stop()
	if err := l.await(ctx, warmUp); err != nil {
		return err
	}
	say("two producers and a consumer are at work at %s", p.URL())

	say("kill -9 %s", process.NodeName(master))
	gap, err := l.gap(ctx, func() error { p.Nodes[master].Kill(); return nil })
	if err != nil {
		return err
	}
	say("    %s has taken over: no receipt for %d ms", process.NodeName(standby), gap.Milliseconds())
	if err := p.Start(ctx, master); err != nil {
		return err
	}
	if _, err := p.AwaitSync(ctx); err != nil {
		return err
	}
	say("    %s is back and stands by, in sync", process.NodeName(master))

	say("baton failover switchover")
	gap, err = l.gap(ctx, func() error { return p.Switchover(ctx, standby) })
	if err != nil {
		return err
	}
	say("    %s is the master again: no receipt for %d ms", process.NodeName(master), gap.Milliseconds())

	tally, err := l.end(ctx)
	if err != nil {
		return err
	}
	say("%s", tally)
	if tally.lost() != 0 || tally.doubled != 0 {
		return errors.New("this must not be")
	}
	return nil
}
