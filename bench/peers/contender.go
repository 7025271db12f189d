package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"baton/bench"
	"baton/integration/peers"
	"baton/integration/process"
)

// A contender is a broker that is measured.
type contender struct {
	server bench.Server
	pid    int
	stop   func() error
}

// A kind is what is known of a contender by its name.
type kind struct {
	start   func(ctx context.Context, p *plan, dir string, flags []string) (*contender, error) // with data in a directory that is empty
	runs    string                                                                             // how it is configured
	promise string                                                                             // what a receipt of a persistent SEND means
	slow    bool                                                                               // a million messages take it many minutes
	cannot  map[string]string                                                                  // workloads, and why
}

var kinds = map[string]kind{
	"baton": {
		start:   startBaton,
		runs:    "with its defaults, save that it takes 20,000 connections of one address and 2,000 subscriptions of one connection",
		promise: "The message is written to the journal, and the journal is synced (`fdatasync`).",
	},
	"relay": {
		start: startRelay,
		runs: "a process that parses STOMP and forwards what comes to who has subscribed; it keeps nothing, decides nothing, and ignores " +
			"acknowledgements, selectors and limits",
		promise: "What is persistent is written to a log that was allocated before, and synced; but the log is written again and again from its " +
			"begin, and nobody could read it.",
		cannot: map[string]string{
			"selectors": nothingKept, "durable": nothingKept, "backlog": nothingKept, "queues": nothingKept,
		},
	},
	"activemq": {
		start: startActiveMQ,
		slow:  true,
		runs: "Debian's package with 1 GiB of heap, KahaDB with its defaults (`enableJournalDiskSyncs`, `concurrentStoreAndDispatchQueues`), the " +
			"scheduler, expired messages looked for each second, and no JMX",
		promise: "The message is written to KahaDB's journal, and that is synced; or a consumer has acknowledged it before that, then it is never " +
			"written.",
	},
	"rabbitmq": {
		start: startRabbitMQ,
		slow:  true,
		runs:  "Debian's package with its STOMP plugin and defaults: classic queues, durable, without a mirror",
		promise: "The message is written and synced, with others when there are many; or a consumer has acknowledged it before that, which is so for " +
			"most where consumers keep up: it syncs some times a second then.",
		cannot: map[string]string{"selectors": "it ignores the header `selector`, and gives each consumer what comes"},
	},
}

const nothingKept = "it keeps nothing, and selects nothing"

func startBaton(ctx context.Context, p *plan, dir string, flags []string) (*contender, error) {
	b, err := process.Start(ctx, process.Options{
		Binary: p.binary, Data: filepath.Join(dir, "data"), Flags: flags,
		Env: []string{"BATON_LOG_LEVEL=warn", "BATON_STOMP_MAX_CONNECTIONS_PER_IP=20000", "BATON_LIMITS_SUBSCRIPTIONS=2000"},
	})
	if err != nil {
		return nil, err
	}
	dialect, err := bench.DialectOf("baton")
	return &contender{bench.Server{Addr: b.Addr, Dialect: dialect}, b.Pid(), func() error { return b.Terminate(ctx) }}, err
}

func startActiveMQ(ctx context.Context, _ *plan, dir string, _ []string) (*contender, error) {
	p, err := peers.StartActiveMQ(ctx, dir, "-Xms1g", "-Xmx1g")
	return peerOf("activemq", bench.Server{}, p, err)
}

func startRabbitMQ(ctx context.Context, _ *plan, dir string, _ []string) (*contender, error) {
	p, err := peers.StartRabbitMQ(ctx, dir)
	return peerOf("rabbitmq", bench.Server{Login: "guest", Passcode: "guest"}, p, err)
}

func peerOf(dialect string, server bench.Server, p *peers.Peer, err error) (*contender, error) {
	if err != nil {
		return nil, err
	}
	server.Addr = p.Addr
	server.Dialect, err = bench.DialectOf(dialect)
	return &contender{server, p.Pid(), func() error { p.Stop(); return nil }}, err
}

// with starts a contender, with more flags, has fn use it, and stops it.
func (p *plan) with(ctx context.Context, name string, flags []string, fn func(c *contender) error) (err error) {
	dir, err := os.MkdirTemp(p.dir, "bench-"+name+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c, err := kinds[name].start(ctx, p, dir, flags)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	return fn(c)
}
