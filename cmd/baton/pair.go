package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"baton/broker"
	"baton/config"
	"baton/failover"
	"baton/failover/natskv"
	"baton/journal"

	"go.uber.org/zap"
)

// A pairNode is a broker that is one of a pair: package failover says when package broker follows, serves or ends.
type pairNode struct {
	network  *member
	cfg      config.Config
	logger   *zap.Logger
	stdout   io.Writer
	progress *progress
	clients  net.Addr
	node     *failover.Node
	server   atomic.Pointer[broker.Server] // of the term that there is
}

// servePair runs a node of a pair until ctx ends, or until its journal fails.
func servePair(ctx context.Context, cfg config.Config, stdout, stderr io.Writer) error {
	logger := newLogger(cfg.Log, stderr)
	// The doors before the house: an address in use must not cost a recovery.
	clients, err := listen("stomp.listen", cfg.STOMP.Listen)
	if err != nil {
		return err
	}
	defer clients.Close()
	defer context.AfterFunc(ctx, func() { _ = clients.Close() })() // who comes then is better served elsewhere
	peer, err := listen("failover.listen", cfg.Failover.Listen)
	if err != nil {
		return err
	}
	defer peer.Close()
	if err := makeData(cfg.Data.Dir); err != nil {
		return err
	}
	secret, err := cfg.Failover.ReadSecret()
	if err != nil {
		return err
	}
	register, err := dialRegister(cfg, logger)
	if err != nil {
		return err
	}
	defer register.Close()
	paceCollector(int64(memoryBudget(cfg, availableMemory())) / 32)
	membership, err := joinNetwork(cfg, logger)
	if err != nil {
		return err
	}
	defer membership.close()
	p := &pairNode{network: membership, cfg: cfg, logger: logger, stdout: stdout, progress: newProgress(stderr), clients: clients.Addr()}
	doors := doorOptions(cfg, logger)
	doors.Brokers = func() []string { return p.node.Brokers() }
	door := failover.NewDoor(clients, doors)
	o := nodeOptions(cfg, secret, p.journalOptions(), logger)
	if o.Advertise == "" {
		o.Advertise = clients.Addr().String()
	}
	o.Listener, o.Register, o.Door, o.NewBroker = peer, register, door, p.newBroker
	p.node = failover.NewNode(o)
	return advise(o.Journal.Dir, p.run(ctx, door))
}

// doorOptions says the configuration in the words of package failover, as the next two do.
func doorOptions(cfg config.Config, logger *zap.Logger) failover.DoorOptions {
	return failover.DoorOptions{
		Logger: logger, Relay: cfg.Failover.Standby == "proxy", MaxConnections: maxConnections(cfg.STOMP.MaxConnections, openFiles()),
		MaxConnectionsPerIP: cfg.STOMP.MaxConnectionsPerIP,
	}
}

func nodeOptions(cfg config.Config, secret config.Secret, log journal.Options, logger *zap.Logger) failover.NodeOptions {
	f := cfg.Failover
	return failover.NodeOptions{
		Terms: terms(f), Pair: f.Name, Secret: []byte(secret.Reveal()), Data: cfg.Data.Dir, Journal: log, Retain: int64(f.Retain), SyncRate: int64(f.SyncRate),
		Address: f.Peer, Advertise: f.Advertise, HandOver: min(f.HoldTimeout, cfg.Shutdown.Timeout), Logger: logger,
	}
}

func terms(f config.Failover) failover.Terms {
	return failover.Terms{
		Node: f.Node, Block: f.OnStandbyLoss == "block",
		DegradeAfter: f.DegradeAfter, HoldTimeout: f.HoldTimeout, FenceAfter: f.FenceAfter, Lease: f.Lease, Beacon: f.Beacon,
		// The clocks of both may differ by a tenth.
		Guard: f.Lease / 10, Bias: f.Lease / 3, Retry: 250 * time.Millisecond, Refresh: 5 * time.Second, Bootstrap: 3 * time.Second,
	}
}

func dialRegister(cfg config.Config, logger *zap.Logger) (*natskv.Register, error) {
	token, err := cfg.Failover.Register.ReadToken()
	if err != nil {
		return nil, err
	}
	pair, _, err := failover.LoadPair(nil, cfg.Data.Dir, cfg.Failover.Node)
	if err != nil {
		return nil, err
	}
	return natskv.Open(registerOptions(cfg.Failover, token, !pair.Member(), logger))
}

// run runs the node, the door, and what operators and load balancers ask.
func (p *pairNode) run(ctx context.Context, door *failover.Door) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Who is behind the door stays until the node has taken leave of them.
	open, shut := context.WithCancel(context.WithoutCancel(ctx))
	defer shut()
	ended := make(chan error, 4)
	tasks := []func() error{
		func() error {
			defer shut()
			return p.node.Run(ctx)
		},
		func() error { return door.Run(open) },
	}
	if p.cfg.Failover.Health != "" {
		listener, err := listen("failover.health", p.cfg.Failover.Health)
		if err != nil {
			return err
		}
		tasks = append(tasks, func() error { return failover.ServeHealth(ctx, listener, p.node.Status, p.logger) })
	}
	tasks = append(tasks, func() error { return p.control(ctx) })
	for _, task := range tasks {
		go func() { ended <- task() }()
	}
	var err error
	for range tasks {
		err = errors.Join(err, <-ended)
		cancel() // one without the others is of no use
	}
	if err == nil {
		p.logger.Info("baton stopped")
	}
	return err
}

// control says that the node is there, once it has its data directory to itself, and answers operators.
func (p *pairNode) control(ctx context.Context) error {
	select {
	case <-p.node.Opened():
	case <-ctx.Done():
		return nil
	}
	listener, err := failover.ListenControl(p.cfg.Data.Dir)
	if err != nil {
		return fmt.Errorf("data.dir: %w", err)
	}
	ready := fmt.Sprintf("baton ready: STOMP on %s, data in %s, node %s of the pair %s",
		p.clients, p.cfg.Data.Dir, p.cfg.Failover.Node, p.cfg.Failover.Name)
	p.logger.Info(ready)
	fmt.Fprintln(p.stdout, ready)
	return failover.ServeControl(ctx, listener, p.node, p.logger)
}

func (p *pairNode) journalOptions() journal.Options {
	o := journalOptions(p.cfg, p.logger, p.progress)
	o.OnSpace = func(low bool, free int64) {
		if server := p.server.Load(); server != nil {
			server.DiskLow(low, free)
		}
	}
	return o
}

// newBroker makes the broker of a term.
func (p *pairNode) newBroker(t *failover.Term) failover.Broker {
	o := brokerOptions(p.cfg, p.logger, p.progress)
	o.Permit, o.Brokers, o.Copies, o.Kept = t, 2, t.Copies, t.Kept
	if p.cfg.Failover.Standby == "proxy" {
		o.Relays = p.node.Relays
	}
	if p.cfg.Failover.OnStandbyLoss == "block" {
		o.MinCopies = 2
	}
	o.Connected = func() []broker.Header {
		return []broker.Header{
			{Name: "brokers", Value: strings.Join(p.node.Brokers(), ",")},
			{Name: "role", Value: "master"},
			{Name: "epoch", Value: strconv.FormatUint(uint64(t.Epoch()), 10)},
		}
	}
	server := broker.New(o)
	p.server.Store(server)
	return &pairBroker{Server: server, p: p}
}

// pairBroker is a broker.Server in the words of package failover, and in its network while it serves.
type pairBroker struct {
	*broker.Server
	p     *pairNode
	life  [16]byte // the id of the pair: that of the first master's journal
	logID [16]byte
	epoch uint32
}

func (b *pairBroker) Follow(ctx context.Context, log *failover.Log) error {
	return b.Server.Follow(ctx, log)
}

func (b *pairBroker) Recover(ctx context.Context, log *failover.Log, name string, epoch uint32) error {
	b.logID, b.epoch = log.ID(), epoch
	if b.life = log.Pair().Cluster; b.life == (failover.ID{}) {
		b.life = log.ID() // as it will be
	}
	return b.Server.Recover(ctx, log, name, epoch)
}

// Serve has the bridges run on the node that serves, and nowhere else.
func (b *pairBroker) Serve(ctx context.Context, clients net.Listener) error {
	return b.p.network.during(ctx, b.Server, b.life, b.logID, b.epoch, func() error {
		return withBridges(ctx, b.p.cfg, b.p.logger, b.p.clients, 0, func(ctx context.Context) error { return b.Server.Serve(ctx, clients) })
	})
}
