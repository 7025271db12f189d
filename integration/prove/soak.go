package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// soak lets messages come and go on many queues while one message stays in a dead-letter queue, and watches the disk.
type soak struct {
	duration time.Duration
	rate     int           // messages a second
	every    time.Duration // between two looks at the disk
	segment  int64         // journal.segment, bytes
	disk     int64         // bytes that may be on disk when the traffic has ended
}

const (
	soakQueues  = 100
	poisonQueue = "/queue/poison"
	deadQueue   = "/queue/DLQ.poison"
)

func (p *soak) flags(f *flag.FlagSet) {
	f.DurationVar(&p.duration, "duration", 30*time.Minute, "how long there is traffic")
	f.IntVar(&p.rate, "rate", 2000, "messages of 1 KiB a second, over 100 queues")
	f.DurationVar(&p.every, "every", 10*time.Second, "time between two looks at the disk")
	f.Int64Var(&p.segment, "segment", 64<<20, "journal.segment of the broker, in bytes")
	f.Int64Var(&p.disk, "disk", 256<<20, "bytes that may be on disk a minute after the traffic")
}

func (p *soak) run(ctx context.Context, s *stage) error {
	b, err := s.start(ctx, fmt.Sprintf("BATON_JOURNAL_SEGMENT=%d", p.segment), "BATON_QUEUES_MAX_DELIVERIES=1")
	if err != nil {
		return err
	}
	defer b.Kill()
	if err := bury(ctx, b.Addr); err != nil {
		return explain(err, b)
	}
	looks, err := p.watch(ctx, s, b.Addr)
	if err != nil {
		return explain(err, b)
	}
	use, err := s.awaitDiskUse(ctx, p.disk, returned)
	if err != nil {
		return err
	}
	if err := drain(ctx, b.Addr, deadQueue, 0, 1, nil); err != nil {
		return explain(fmt.Errorf("the message in the dead-letter queue: %w", err), b)
	}
	p.judge(s, looks, use)
	return b.Terminate(ctx)
}

// messages is how many pass in all.
func (p *soak) messages() uint64 { return uint64(p.duration.Seconds() * float64(p.rate)) }

// bury sends message 0 and refuses it, so that it goes to the dead-letter queue and stays there.
func bury(ctx context.Context, addr string) error {
	if err := produce(ctx, addr, poisonQueue, 0, 1, nil); err != nil {
		return err
	}
	c, hangUp, err := attend(ctx, addr, poisonQueue)
	if err != nil {
		return err
	}
	defer hangUp()
	f, err := c.Receive()
	if err != nil {
		return err
	}
	return c.Call("NACK", nil, "id", f.Header("ack"))
}

// watch lets all messages pass, and looks at the disk meanwhile.
func (p *soak) watch(ctx context.Context, s *stage, addr string) (looks []look, err error) {
	traffic, stop := context.WithCancel(ctx)
	defer stop()
	var eye errgroup.Group
	eye.Go(func() (err error) {
		looks, err = s.lookAtDisk(traffic, p.every)
		return err
	})
	err = p.pass(traffic, addr)
	stop()
	return looks, errors.Join(err, eye.Wait())
}

// pass sends to all queues in turn, and receives from all of them.
func (p *soak) pass(ctx context.Context, addr string) error {
	clients, ctx := errgroup.WithContext(ctx)
	begin := time.Now()
	clients.Go(func() error {
		return producing{
			queue: func(number uint64) string { return soakQueue(number % soakQueues) },
			due: func(number uint64) time.Time {
				return begin.Add(time.Duration(number) * time.Second / time.Duration(p.rate))
			},
		}.run(ctx, addr, 0, p.messages())
	})
	clients.Go(func() error { return receiveFromAll(ctx, addr, p.messages()) })
	return clients.Wait()
}

func soakQueue(n uint64) string { return "/queue/soak." + strconv.FormatUint(n, 10) }

// receiveFromAll takes so many messages from all queues, in the order of each queue, and acknowledges each by itself.
func receiveFromAll(ctx context.Context, addr string, count uint64) error {
	c, hangUp, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer hangUp()
	var due [soakQueues]uint64 // the number that comes next, by queue
	for n := range uint64(soakQueues) {
		due[n] = n
		if err := subscribe(c, soakQueue(n), strconv.FormatUint(n, 10)); err != nil {
			return err
		}
	}
	for taken := range count {
		f, err := c.Receive()
		if err != nil {
			return fmt.Errorf("after %d messages: %w", taken, err)
		}
		n, err := strconv.ParseUint(f.Header("subscription"), 10, 64)
		if err != nil || n >= soakQueues {
			return fmt.Errorf("message %d of a subscription that there is not: %s", taken, f)
		}
		if err := checkBody(f.Body, due[n]); err != nil {
			return fmt.Errorf("%s: %w", soakQueue(n), err)
		}
		due[n] += soakQueues
		if err := c.Write("ACK", nil, "id", f.Header("ack")); err != nil {
			return err
		}
		patiently(c, taken)
	}
	return c.Call("DISCONNECT", nil)
}

func (p *soak) judge(s *stage, looks []look, use int64) {
	passed := int64(p.messages()) * messageBytes
	s.printf("\n%d messages, %s, passed", p.messages(), mebibytes(passed))
	grown, flat := growth(looks[len(looks)/6:]), passed/50
	s.judge(verdict{
		criterion: "growth of disk use, after the first sixth", timed: true, holds: grown <= flat,
		measured: mebibytes(grown), wanted: fmt.Sprintf("at most 2 %% of what passed, %s", mebibytes(flat)),
	})
	s.judge(verdict{
		criterion: "disk use after the traffic", holds: use <= p.disk,
		measured: mebibytes(use), wanted: fmt.Sprintf("at most %s within %v", mebibytes(p.disk), returned),
	})
}
