package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"time"

	"baton/integration/process"
)

// selective takes the few messages that a selector wants from the middle of a backlog that lies on disk, far above what
// memory may hold.
type selective struct {
	count  int
	every  int      // one message in so many is wanted
	budget int64    // memory.budget, bytes
	env    []string // more settings of the broker
}

const (
	selectiveQueue = "/queue/selective"
	wantedKind     = "wanted"
	firstMost      = 50 * time.Millisecond
	beyondMost     = 2 * time.Second // of all that are wanted beyond a plain scan
)

func (p *selective) flags(f *flag.FlagSet) {
	f.IntVar(&p.count, "count", 1_000_000, "messages of 1 KiB")
	f.IntVar(&p.every, "every", 10_000, "one message in so many is wanted")
	f.Int64Var(&p.budget, "budget", 256<<20, "memory.budget of the broker, in bytes")
}

func (p *selective) run(ctx context.Context, s *stage) error {
	env := append([]string{fmt.Sprintf("BATON_MEMORY_BUDGET=%d", p.budget)}, p.env...)
	b, err := s.start(ctx, env...)
	if err != nil {
		return err
	}
	defer func() { b.Kill() }()
	queue := func(uint64) string { return selectiveQueue }
	if err := (producing{queue: queue, header: p.kind}).run(ctx, b.Addr, 0, uint64(p.count)); err != nil {
		return explain(err, b)
	}
	if err := b.Terminate(ctx); err != nil { // so that nothing is in memory
		return err
	}
	if b, err = s.start(ctx, env...); err != nil {
		return err
	}
	first, all, err := p.take(ctx, b)
	if err != nil {
		return explain(err, b)
	}
	if err := b.Terminate(ctx); err != nil {
		return err
	}
	scan, err := scanJournal(ctx, s)
	if err != nil {
		return err
	}
	s.printf("%d messages on disk, %d wanted: the first after %v, all after %v; a plain scan of the journal takes %v",
		p.count, p.count/p.every, first.Round(time.Microsecond), all.Round(time.Millisecond), scan.Round(time.Millisecond))
	s.judge(verdict{
		criterion: "wanted messages taken, in order, every body whole", holds: true, // take returns an error otherwise
		measured: fmt.Sprint(p.count / p.every), wanted: fmt.Sprint(p.count / p.every),
	})
	s.judge(atMost("the first that is wanted", first, firstMost))
	s.judge(atMost("all that are wanted, beyond a plain scan", all-scan, beyondMost))
	return nil
}

// kind is the header by which the selector finds what is wanted.
func (p *selective) kind(number uint64) (name, value string) {
	if p.wanted(number) {
		return "kind", wantedKind
	}
	return "kind", "other"
}

func (p *selective) wanted(number uint64) bool { return (number+1)%uint64(p.every) == 0 }

// take subscribes with the selector, and says how long the first and all that it wants took. Nothing else may come.
func (p *selective) take(ctx context.Context, b *process.Broker) (first, all time.Duration, err error) {
	c, hangUp, err := dial(ctx, b.Addr)
	if err != nil {
		return 0, 0, err
	}
	defer hangUp()
	begun := time.Now()
	err = c.Write("SUBSCRIBE", nil, "destination", selectiveQueue, "id", "0", "ack", "client-individual",
		"prefetch-count", "1000", "selector", fmt.Sprintf("kind = '%s'", wantedKind))
	if err != nil {
		return 0, 0, err
	}
	for number := range uint64(p.count) {
		if !p.wanted(number) {
			continue
		}
		if err := takeNext(c, number); err != nil {
			return 0, 0, err
		}
		if first == 0 {
			first = time.Since(begun)
		}
	}
	all = time.Since(begun)
	return first, all, c.Call("DISCONNECT", nil)
}

// scanJournal says how long it takes to read the whole journal of a stopped broker and to check every octet of it.
func scanJournal(ctx context.Context, s *stage) (time.Duration, error) {
	verify := exec.CommandContext(ctx, s.binary, "journal", "verify")
	verify.Env = append(os.Environ(), "BATON_DATA_DIR="+s.data())
	begun := time.Now()
	out, err := verify.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("baton journal verify: %w: %s", err, out)
	}
	return time.Since(begun), nil
}
