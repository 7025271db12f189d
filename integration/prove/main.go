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

	"baton/integration/process"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := prove(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "prove:", err)
		os.Exit(1)
	}
}

// proof is one of the promises that take a while to show.
type proof interface {
	flags(*flag.FlagSet)
	run(context.Context, *stage) error
}

var errFailed = errors.New("a criterion does not hold")

// prove runs the proof that the first argument names, on a data directory that it removes afterwards.
func prove(ctx context.Context, args []string, out io.Writer) error {
	proofs := map[string]proof{"backlog": &backlog{}, "start": &startUp{}, "soak": &soak{}, "durable": &durable{}, "selective": &selective{}, "pair": &pair{}, "network": &network{}}
	if len(args) == 0 || proofs[args[0]] == nil {
		return errors.New("name one of the proofs: backlog, start, soak, durable, selective, pair, network")
	}
	p := proofs[args[0]]
	f := flag.NewFlagSet(args[0], flag.ExitOnError)
	parent := f.String("dir", "", "where the broker's data goes for the time of the run (default the system's temporary directory)")
	p.flags(f)
	f.Parse(args[1:])
	dir, err := os.MkdirTemp(*parent, "baton-"+args[0]+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := process.Build(ctx, dir)
	if err != nil {
		return err
	}
	s := &stage{binary: binary, dir: dir, out: out}
	if err := p.run(ctx, s); ctx.Err() != nil {
		return ctx.Err() // what broke then says nothing
	} else if err != nil {
		return err
	}
	if !s.holds() {
		return errFailed
	}
	return nil
}
