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
		exit(serveRelay(os.Args[2], os.Stdin, os.Stdout))
	}
	p := plan{progress: os.Stderr}
	against := flag.String("against", "baton,relay,activemq,rabbitmq", "who is measured, in this order")
	growth := flag.String("growth", "baton", "whose growth is measured")
	only := flag.String("only", "", "what is measured: "+strings.Join(allFigures(), ", ")+" (default all)")
	out := flag.String("out", "-", "the page whose measured part is written, with pictures beside it; - is standard output, without pictures")
	flag.IntVar(&p.rounds, "rounds", 3, "how often all is measured")
	flag.DurationVar(&p.duration, "duration", 8*time.Second, "how long each workload takes")
	flag.Float64Var(&p.fill, "fill", 1, "of the 1,000,000 messages of the backlog, for ActiveMQ and RabbitMQ, which they take many minutes for")
	flag.Float64Var(&p.scale, "scale", 1, "of the messages of a backlog, the queues and the connections")
	flag.StringVar(&p.dir, "dir", "", "where the brokers' data goes for the time of the run (default the system's temporary directory)")
	flag.Parse()
	p.against, p.growth, p.only = list(*against), list(*growth), list(*only)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, &p, *out))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// list reads words with commas between them.
func list(words string) []string {
	return strings.FieldsFunc(words, func(c rune) bool { return c == ',' || c == ' ' })
}

func run(ctx context.Context, p *plan, out string) (err error) {
	to := page{out}
	if err := p.check(); err != nil {
		return err
	}
	if out != "-" { // before an hour's work
		if err := to.check(); err != nil {
			return err
		}
	}
	if p.dir, err = os.MkdirTemp(p.dir, "bench-peers-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(p.dir)) }()
	if slices.Contains(slices.Concat(p.against, p.growth), "baton") {
		if p.binary, err = process.Build(ctx, p.dir); err != nil {
			return err
		}
	}
	p.machine, p.pictures = machine(p.dir), map[string][]byte{}
	return p.measure(ctx, to)
}

// measure carries out all rounds, and writes the page after each: what was measured is not lost when the next is interrupted.
func (p *plan) measure(ctx context.Context, to page) error {
	all := figures{}
	for round := 1; round <= p.rounds; round++ {
		fmt.Fprintf(p.progress, "round %d of %d\n", round, p.rounds)
		if err := p.round(ctx, all); err != nil {
			return err
		}
		if round == 1 && p.wants(figureProfile) && slices.Contains(p.against, "baton") {
			if err := p.profile(ctx); err != nil {
				return err
			}
		}
		if to.file == "-" && round < p.rounds {
			continue
		}
		if err := p.publish(all, to, round); err != nil {
			return err
		}
	}
	return nil
}

// publish writes what the rounds so far have measured.
func (p *plan) publish(all figures, to page, rounds int) error {
	for _, name := range p.growth {
		if picture := drawGrowth(all, name); picture != nil {
			p.pictures[growthPicture(name)] = picture
		}
	}
	var text strings.Builder
	p.report(&text, all, to, rounds)
	if to.file == "-" {
		_, err := io.WriteString(os.Stdout, text.String())
		return err
	}
	return to.write(text.String(), p.pictures)
}

// growthPicture names the picture of a contender's growth.
func growthPicture(name string) string {
	if name == "baton" {
		return figureGrowth
	}
	return figureGrowth + "-" + name
}
