package main

import (
	"context"
	"flag"
	"fmt"

	"golang.org/x/sync/errgroup"

	"baton/integration/client"
	"baton/integration/process"
)

// durable publishes on a topic with many durable subscriptions, kills the broker, lets all subscribers but one take all, then
// that one, and watches the disk.
type durable struct {
	count       int
	subscribers int
	segment     int64 // journal.segment, bytes
	disk        int64 // bytes that may be on disk when all have taken all
}

const (
	durableTopic = "/topic/durable"
	durableName  = "durable" // of each client's subscription
	copiesMost   = 1.5       // times the bodies may be on disk when all are published
	copiesKept   = 2.0       // and when all but one have acknowledged them
	atOnce       = 10        // subscribers
)

func (p *durable) flags(f *flag.FlagSet) {
	f.IntVar(&p.count, "count", 100_000, "messages of 1 KiB")
	f.IntVar(&p.subscribers, "subscribers", 100, "durable subscriptions of the topic")
	f.Int64Var(&p.segment, "segment", 8<<20, "journal.segment of the broker, in bytes")
	f.Int64Var(&p.disk, "disk", 64<<20, "bytes that may be on disk a minute after the last subscriber")
}

func (p *durable) run(ctx context.Context, s *stage) error {
	b, err := p.start(ctx, s)
	if err != nil {
		return err
	}
	defer func() { b.Kill() }()
	if err := p.each(ctx, 0, p.subscribers, func(ctx context.Context, client string) error { return attach(ctx, b.Addr, client) }); err != nil {
		return explain(err, b)
	}
	if err := produce(ctx, b.Addr, durableTopic, 0, uint64(p.count), nil); err != nil {
		return explain(err, b)
	}
	published, err := diskUse(s.data())
	if err != nil {
		return err
	}
	b.Kill()
	if b, err = p.start(ctx, s); err != nil {
		return err
	}
	take := func(ctx context.Context, client string) error { return p.takeAll(ctx, b.Addr, client) }
	if err := p.each(ctx, 1, p.subscribers, take); err != nil {
		return explain(err, b)
	}
	kept, err := s.awaitDiskUse(ctx, p.mostKept(), returned)
	if err != nil {
		return err
	}
	if err := p.each(ctx, 0, 1, take); err != nil {
		return explain(err, b)
	}
	left, err := s.awaitDiskUse(ctx, p.disk, returned)
	if err != nil {
		return err
	}
	p.judge(s, published, kept, left)
	return b.Terminate(ctx)
}

func (p *durable) start(ctx context.Context, s *stage) (*process.Broker, error) {
	return s.start(ctx, fmt.Sprintf("BATON_JOURNAL_SEGMENT=%d", p.segment))
}

// each does the work of the subscribers from, from+1 … to-1, some at a time.
func (p *durable) each(ctx context.Context, from, to int, work func(ctx context.Context, client string) error) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(atOnce)
	for n := from; n < to; n++ {
		all.Go(func() error {
			client := fmt.Sprintf("subscriber-%d", n)
			if err := work(ctx, client); err != nil {
				return fmt.Errorf("%s: %w", client, err)
			}
			return nil
		})
	}
	return all.Wait()
}

// subscribeDurably subscribes a client to the topic.
func subscribeDurably(ctx context.Context, addr, clientID string) (c *client.Conn, hangUp func(), err error) {
	c, hangUp, err = dialAs(ctx, addr, clientID)
	if err != nil {
		return nil, nil, err
	}
	err = c.Call("SUBSCRIBE", nil, "destination", durableTopic, "id", "0", "activemq.subscriptionName", durableName,
		"ack", "client-individual", "prefetch-count", "1000")
	if err != nil {
		hangUp()
		return nil, nil, err
	}
	return c, hangUp, nil
}

// attach begins a durable subscription and leaves.
func attach(ctx context.Context, addr, clientID string) error {
	c, hangUp, err := subscribeDurably(ctx, addr, clientID)
	if err != nil {
		return err
	}
	defer hangUp()
	return c.Call("DISCONNECT", nil)
}

// takeAll takes all messages, which must come in order and whole, and acknowledges each by itself.
func (p *durable) takeAll(ctx context.Context, addr, clientID string) error {
	c, hangUp, err := subscribeDurably(ctx, addr, clientID)
	if err != nil {
		return err
	}
	defer hangUp()
	for number := range uint64(p.count) {
		if err := takeNext(c, number); err != nil {
			return err
		}
		patiently(c, number)
	}
	return c.Call("DISCONNECT", nil)
}

// mostKept is what may be on disk when all but one have taken all.
func (p *durable) mostKept() int64 { return int64(copiesKept * float64(p.count*messageBytes)) }

func (p *durable) judge(s *stage, published, kept, left int64) {
	bodies := int64(p.count * messageBytes)
	s.printf("%d subscribers, %d messages, %s", p.subscribers, p.count, mebibytes(bodies))
	most := int64(copiesMost * float64(bodies))
	s.judge(verdict{
		criterion: fmt.Sprintf("disk use for %d durable subscriptions", p.subscribers), holds: published < most,
		measured: mebibytes(published), wanted: fmt.Sprintf("less than %s, %.1f times the bodies", mebibytes(most), copiesMost),
	})
	s.judge(verdict{
		criterion: "taken by each after kill -9, in order, every body whole", holds: true, // takeAll returns an error otherwise
		measured: fmt.Sprint(p.count), wanted: fmt.Sprint(p.count),
	})
	s.judge(verdict{
		criterion: "disk use when all but one have acknowledged each", holds: kept <= p.mostKept(),
		measured: mebibytes(kept), wanted: fmt.Sprintf("at most %s, %.1f times the bodies, within %v", mebibytes(p.mostKept()), copiesKept, returned),
	})
	s.judge(verdict{
		criterion: "disk use when the last has", holds: left <= p.disk,
		measured: mebibytes(left), wanted: fmt.Sprintf("at most %s within %v", mebibytes(p.disk), returned),
	})
}
