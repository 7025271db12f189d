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
	p, err := startPair(ctx, binary, dir)
	defer p.stop()
	if err != nil {
		return err
	}
	return show(ctx, p, out)
}

// show is the play in three acts, with a load that runs all the time.
func show(ctx context.Context, p *pair, out io.Writer) error {
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	master, err := p.awaitSync(ctx)
	if err != nil {
		return err
	}
	standby := 1 - master
	say("arbiter on %s, broker a on %s, broker b on %s", p.arbiter.Addr, p.nodes[0].Addr, p.nodes[1].Addr)
	say("%s is the master, %s stands by", name(master), name(standby))
	l, err := startLoad(ctx, p.url())
	if err != nil {
		return err
	}
	defer l.stop()
	if err := l.await(ctx, warmUp); err != nil {
		return err
	}
	say("two producers and a consumer are at work at %s", p.url())

	say("kill -9 %s", name(master))
	gap, err := l.gap(ctx, func() error { p.nodes[master].Kill(); return nil })
	if err != nil {
		return err
	}
	say("    %s has taken over: no receipt for %d ms", name(standby), gap.Milliseconds())
	if err := p.start(ctx, master); err != nil {
		return err
	}
	if _, err := p.awaitSync(ctx); err != nil {
		return err
	}
	say("    %s is back and stands by, in sync", name(master))

	say("baton failover switchover")
	gap, err = l.gap(ctx, func() error { return p.switchover(ctx, standby) })
	if err != nil {
		return err
	}
	say("    %s is the master again: no receipt for %d ms", name(master), gap.Milliseconds())

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
