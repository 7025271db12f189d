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

// starters start a contender with its data in a directory that is empty.
var starters = map[string]func(ctx context.Context, p *plan, dir string) (*contender, error){
	"baton":    startBaton,
	"relay":    startRelay,
	"activemq": startActiveMQ,
	"rabbitmq": startRabbitMQ,
}

func startBaton(ctx context.Context, p *plan, dir string) (*contender, error) {
	b, err := process.Start(ctx, process.Options{
		Binary: p.binary, Data: filepath.Join(dir, "data"), Env: []string{"BATON_LOG_LEVEL=warn", "BATON_STOMP_MAX_CONNECTIONS_PER_IP=20000"},
	})
	if err != nil {
		return nil, err
	}
	dialect, err := bench.DialectOf("baton")
	return &contender{bench.Server{Addr: b.Addr, Dialect: dialect}, b.Pid(), func() error { return b.Terminate(ctx) }}, err
}

func startActiveMQ(ctx context.Context, _ *plan, dir string) (*contender, error) {
	p, err := peers.StartActiveMQ(ctx, dir, "-Xms1g", "-Xmx1g")
	return peerOf("activemq", bench.Server{}, p, err)
}

func startRabbitMQ(ctx context.Context, _ *plan, dir string) (*contender, error) {
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

// with starts a contender, has fn use it, and stops it.
func (p *plan) with(ctx context.Context, name string, fn func(c *contender) error) (err error) {
	dir, err := os.MkdirTemp(p.dir, "bench-"+name+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c, err := starters[name](ctx, p, dir)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	return fn(c)
}
