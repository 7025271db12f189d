package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"baton/integration/process"
)

// startUp measures the time from the start of the process to the first MESSAGE, with many messages on disk.
type startUp struct {
	count  int
	factor int
	tail   int
	rounds int
	cold   bool
}

const (
	cleanMost   = 500 * time.Millisecond
	killedMost  = 1500 * time.Millisecond
	largerMost  = 2.0
	startQueue  = "/queue/start"
	tailQueue   = "/queue/tail"
	uncountable = "BATON_QUEUES_MAX_DELIVERIES=65535" // the first message is delivered in each round, and must stay
)

func (p *startUp) flags(f *flag.FlagSet) {
	f.IntVar(&p.count, "count", 1_000_000, "messages of 1 KiB on disk")
	f.IntVar(&p.factor, "factor", 10, "how many times more there are the second time")
	f.IntVar(&p.tail, "tail", 50_000, "messages that pass through another queue before each kill -9")
	f.IntVar(&p.rounds, "rounds", 5, "starts of each kind; their median counts")
	f.BoolVar(&p.cold, "cold", false, "let the system forget the files' content before each start")
}

func (p *startUp) run(ctx context.Context, s *stage) error {
	few, err := p.measure(ctx, s, 0, p.count)
	if err != nil {
		return err
	}
	many, err := p.measure(ctx, s, p.count, p.count*p.factor)
	if err != nil {
		return err
	}
	s.printf("")
	s.judge(atMost(fmt.Sprintf("first MESSAGE after a clean stop, %d messages", p.count), few.clean, cleanMost))
	s.judge(atMost(fmt.Sprintf("first MESSAGE after kill -9, %d messages", p.count), few.killed, killedMost))
	larger := many.clean.Seconds() / few.clean.Seconds()
	s.judge(verdict{
		criterion: fmt.Sprintf("clean start with %d times more messages", p.factor), timed: true,
		measured: fmt.Sprintf("%.2f times", larger), wanted: fmt.Sprintf("less than %.0f times", largerMost), holds: larger < largerMost,
	})
	return nil
}

func atMost(criterion string, measured, most time.Duration) verdict {
	return verdict{
		criterion: criterion, timed: true, holds: measured <= most,
		measured: measured.Round(time.Millisecond).String(), wanted: "within " + most.String(),
	}
}

// medians are what one number of messages gave.
type medians struct{ clean, killed time.Duration }

// measure adds messages until there are so many, and starts the broker on them again and again.
func (p *startUp) measure(ctx context.Context, s *stage, have, count int) (m medians, err error) {
	if err := p.fill(ctx, s, have, count); err != nil {
		return m, err
	}
	if err := p.cat(ctx, s, count); err != nil {
		return m, err
	}
	if m.clean, err = p.repeat(ctx, s, count, "clean stop", p.stopped); err != nil {
		return m, err
	}
	m.killed, err = p.repeat(ctx, s, count, "kill -9", p.killed)
	return m, err
}

func (p *startUp) fill(ctx context.Context, s *stage, have, count int) error {
	b, err := s.start(ctx, uncountable)
	if err != nil {
		return err
	}
	defer b.Kill()
	if err := produce(ctx, b.Addr, startQueue, uint64(have), uint64(count), nil); err != nil {
		return explain(err, b)
	}
	return b.Terminate(ctx)
}

// repeat measures rounds starts, each after prepare has left the data as it shall be found.
func (p *startUp) repeat(ctx context.Context, s *stage, count int, what string, prepare func(context.Context, *stage) error) (time.Duration, error) {
	var times []time.Duration
	for range p.rounds {
		if err := prepare(ctx, s); err != nil {
			return 0, err
		}
		if err := p.forget(s); err != nil {
			return 0, err
		}
		took, err := firstMessage(ctx, s)
		if err != nil {
			return 0, err
		}
		times = append(times, took.Round(time.Millisecond))
	}
	slices.Sort(times)
	median := times[len(times)/2]
	s.printf("%10d messages, start after %-10s  median %8v of %v", count, what, median, times)
	return median, nil
}

// stopped leaves the data of a broker that was stopped: firstMessage did.
func (p *startUp) stopped(context.Context, *stage) error { return nil }

// killed leaves the data of a broker that was killed at work: messages came and went through another queue until then, and
// as many are still in it.
func (p *startUp) killed(ctx context.Context, s *stage) error {
	b, err := s.start(ctx, uncountable)
	if err != nil {
		return err
	}
	defer b.Kill()
	if err := empty(ctx, b.Addr, tailQueue); err != nil {
		return explain(err, b)
	}
	half := uint64(p.tail / 2)
	if err := produce(ctx, b.Addr, tailQueue, 0, half, nil); err != nil {
		return explain(err, b)
	}
	if err := drain(ctx, b.Addr, tailQueue, 0, half, nil); err != nil {
		return explain(err, b)
	}
	if err := produce(ctx, b.Addr, tailQueue, half, uint64(p.tail), nil); err != nil {
		return explain(err, b)
	}
	return nil
}

// firstMessage starts a broker, and says how long it takes until the first message of the queue has come. The broker is
// stopped properly afterwards, and keeps the message.
func firstMessage(ctx context.Context, s *stage) (time.Duration, error) {
	begin := time.Now()
	b, err := s.start(ctx, uncountable)
	if err != nil {
		return 0, err
	}
	defer b.Kill()
	if err := receiveFirst(ctx, b); err != nil {
		return 0, explain(err, b)
	}
	took := time.Since(begin)
	return took, b.Terminate(ctx)
}

func receiveFirst(ctx context.Context, b *process.Broker) error {
	c, hangUp, err := attend(ctx, b.Addr, startQueue)
	if err != nil {
		return err
	}
	defer hangUp()
	f, err := c.Receive()
	if err != nil {
		return err
	}
	return checkBody(f.Body, 0)
}

// cat measures how long the same bytes take a program that does nothing with them.
func (p *startUp) cat(ctx context.Context, s *stage, count int) error {
	if err := p.forget(s); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(s.data(), "*", "*.seg"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("segments below %s: %d, %w", s.data(), len(files), err)
	}
	use, err := diskUse(s.data())
	if err != nil {
		return err
	}
	cat := exec.CommandContext(ctx, "cat", files...) // to the null device
	begin := time.Now()
	if err := cat.Run(); err != nil {
		return fmt.Errorf("cat: %w", err)
	}
	s.printf("%10d messages, cat of %d segments, %s: %v", count, len(files), mebibytes(use), time.Since(begin).Round(time.Millisecond))
	return nil
}

// forget empties the system's cache of the data's files, where that was asked for.
func (p *startUp) forget(s *stage) error {
	if !p.cold {
		return nil
	}
	return filepath.WalkDir(s.data(), func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasSuffix(path, "LOCK") {
			return err
		}
		return forget(path)
	})
}
