package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"baton/integration/process"
)

// backlog enqueues messages that nobody takes, far more than memory may hold, and then drains them.
type backlog struct {
	count    int
	budget   int64    // memory.budget, bytes
	overhead int64    // bytes that may be resident above the budget and 64 B a message
	disk     int64    // bytes that may be on disk afterwards
	env      []string // more settings of the broker
}

// returned is how long the disk may take to come back.
const returned = time.Minute

func (p *backlog) flags(f *flag.FlagSet) {
	f.IntVar(&p.count, "count", 5_000_000, "messages of 1 KiB")
	f.Int64Var(&p.budget, "budget", 512<<20, "memory.budget of the broker, in bytes")
	f.Int64Var(&p.disk, "disk", 256<<20, "bytes that may be on disk a minute after the drain")
}

const backlogQueue = "/queue/backlog"

func (p *backlog) run(ctx context.Context, s *stage) error {
	env := append([]string{fmt.Sprintf("BATON_MEMORY_BUDGET=%d", p.budget)}, p.env...)
	b, err := s.start(ctx, env...)
	if err != nil {
		return err
	}
	defer b.Kill()
	s.printf("%d messages of %d B, memory.budget %s", p.count, messageBytes, mebibytes(p.budget))
	in := s.tenths("enqueued", b, p.count)
	if err := produce(ctx, b.Addr, backlogQueue, 0, uint64(p.count), in.count); err != nil {
		return explain(err, b)
	}
	out := s.tenths("drained", b, p.count)
	if err := drain(ctx, b.Addr, backlogQueue, 0, uint64(p.count), out.count); err != nil {
		return explain(err, b)
	}
	drained := time.Now()
	_, peak, err := b.Memory()
	if err != nil {
		return err
	}
	use, err := s.awaitDiskUse(ctx, p.disk, returned)
	if err != nil {
		return err
	}
	after := time.Since(drained).Round(time.Second)
	p.judge(s, in, out, peak, use, after)
	return b.Terminate(ctx)
}

func (p *backlog) judge(s *stage, in, out *tenths, peak, use int64, after time.Duration) {
	s.printf("")
	last := in.rate(9) / in.rate(0)
	s.judge(verdict{
		criterion: "enqueue rate, the last tenth to the first", timed: true,
		measured: fmt.Sprintf("%.2f", last), wanted: "at least 0.90", holds: last >= 0.9,
	})
	most := p.budget + p.overhead + 64*int64(p.count)
	s.judge(verdict{
		criterion: "most memory resident", holds: peak <= most,
		measured: mebibytes(peak), wanted: "at most " + mebibytes(most) + ", the budget and 64 B a message",
	})
	s.judge(verdict{
		criterion: "drained in order, every body whole", holds: true, // drain returns an error otherwise
		measured: fmt.Sprint(p.count), wanted: fmt.Sprint(p.count),
	})
	speed := out.overall() / in.overall()
	s.judge(verdict{
		criterion: "drain rate to enqueue rate", timed: true,
		measured: fmt.Sprintf("%.2f", speed), wanted: "at least 0.50", holds: speed >= 0.5,
	})
	s.judge(verdict{
		criterion: fmt.Sprintf("disk use, %v after the drain", after), holds: use <= p.disk,
		measured: mebibytes(use), wanted: fmt.Sprintf("at most %s within %v", mebibytes(p.disk), returned),
	})
}

// tenths notes when each tenth of a long work was done, and prints a line for it.
type tenths struct {
	*stage
	what   string
	broker *process.Broker
	total  int
	done   int
	begin  time.Time
	ends   [10]time.Time
}

func (s *stage) tenths(what string, b *process.Broker, total int) *tenths {
	s.printf("\n%10s %12s %14s %14s", what, "a second", "resident", "on disk")
	return &tenths{stage: s, what: what, broker: b, total: total, begin: time.Now()}
}

// count is called once a message.
func (t *tenths) count(uint64) {
	t.done++
	if t.done*10/t.total == (t.done-1)*10/t.total {
		return
	}
	n := t.done*10/t.total - 1
	t.ends[n] = time.Now()
	resident, _, _ := t.broker.Memory() // for the reader of the table; what is judged is read elsewhere
	use, _ := diskUse(t.dir)
	t.printf("%10d %12.0f %14s %14s", t.done, t.rate(n), mebibytes(resident), mebibytes(use))
}

// rate is messages a second in a tenth, 0 to 9.
func (t *tenths) rate(n int) float64 {
	from := t.begin
	if n > 0 {
		from = t.ends[n-1]
	}
	return float64(t.total) / 10 / t.ends[n].Sub(from).Seconds()
}

func (t *tenths) overall() float64 {
	return float64(t.total) / t.ends[9].Sub(t.begin).Seconds()
}
