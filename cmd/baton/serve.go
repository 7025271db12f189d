package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"time"

	"baton/broker"
	"baton/broker/stomp"
	"baton/config"
	"baton/destinations"
	"baton/failover"
	"baton/journal"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

func serveCommand() *cobra.Command {
	var file, cpuProfile string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a broker until SIGTERM or SIGINT",
		Long: `Run a broker until SIGTERM or SIGINT; a second signal kills it. Without a file and flags it keeps its data in
./baton-data and listens on 127.0.0.1:61613, for clients on this machine, without a login.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(config.Sources{File: file, Env: os.Environ(), Flags: givenFlags(cmd, serveFlags), Check: checkDestinations})
			if err != nil {
				return err
			}
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			run := serve
			switch cfg.Failover.Mode {
			case "pair":
				run = servePair
			case "shared":
				run = serveShared
			}
			return profiled(cpuProfile, func() error { return run(ctx, cfg, cmd.OutOrStdout(), cmd.ErrOrStderr()) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "config", "", "configuration `FILE`")
	flags.StringVar(&cpuProfile, "cpu-profile", "", "for developers: write a CPU profile to `FILE`, for go tool pprof, until the broker ends")
	addKeyFlags(cmd, serveFlags)
	return cmd
}

// serveFlags are the flags of serve that stand for a key of the configuration.
var serveFlags = []keyFlag{
	{"listen", "stomp.listen", "listen for STOMP clients on `ADDR` (default 127.0.0.1:61613)"},
	{"data", "data.dir", "keep data in `DIR` (default ./baton-data)"},
	logLevelFlag,
}

// profiled runs fn and writes a CPU profile of it to a file, unless that has no name.
func profiled(name string, fn func() error) (err error) {
	if name == "" {
		return fn()
	}
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("--cpu-profile: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := pprof.StartCPUProfile(file); err != nil {
		return fmt.Errorf("--cpu-profile: %w", err)
	}
	defer pprof.StopCPUProfile()
	return fn()
}

// serve runs a broker until ctx ends, or until its journal fails.
func serve(ctx context.Context, cfg config.Config, stdout, stderr io.Writer) error {
	return serveAlone(ctx, cfg, stdout, stderr, func() {})
}

// serveAlone is serve, and calls ready when the broker is about to let clients in.
func serveAlone(ctx context.Context, cfg config.Config, stdout, stderr io.Writer, ready func()) error {
	logger := newLogger(cfg.Log, stderr)
	if err := makeData(cfg.Data.Dir); err != nil {
		return err
	}
	if err := refusePair(cfg.Data.Dir); err != nil {
		return err
	}
	// The door before the house: an address in use must not cost a recovery. Who knocks meanwhile waits.
	listener, err := listen("stomp.listen", cfg.STOMP.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	membership, err := joinNetwork(cfg, logger)
	if err != nil {
		return err
	}
	defer membership.close()
	paceCollector(int64(memoryBudget(cfg, availableMemory())) / 32)
	p := newProgress(stderr)
	server := broker.New(brokerOptions(cfg, logger, p))
	o := journalOptions(cfg, logger, p)
	o.OnDurable, o.OnFatal, o.OnSpace = server.Durable, server.Fail, server.DiskLow
	log, err := journal.Open(o)
	if err != nil {
		p.done()
		return err
	}
	epoch := log.LastEpoch() + 1
	err = server.Recover(ctx, log, brokerName(log.ID()), epoch)
	p.done()
	switch {
	case err == nil:
		ready()
		err = membership.during(ctx, server, log.ID(), log.ID(), epoch, func() error { return letIn(ctx, listener, server, cfg, logger, stdout) })
	case ctx.Err() != nil:
		err = nil // told to stop before it began
	}
	if closed := log.Close(); err == nil {
		err = closed
	}
	if err == nil {
		logger.Info("baton stopped")
	}
	return err
}

// refusePair keeps the data of a node of a pair from being served as that of a broker alone: the other node would not know.
func refusePair(data string) error {
	paired, err := failover.Paired(data)
	if err == nil && paired {
		err = fmt.Errorf("%s belongs to a node of a pair: set failover.mode to pair, or, to take it out of its pair for good, "+
			"remove the file %s", data, filepath.Join(data, failover.PairFile))
	}
	return err
}

// letIn says that the broker is ready, and serves who comes.
func letIn(ctx context.Context, listener net.Listener, server *broker.Server, cfg config.Config, logger *zap.Logger, stdout io.Writer) error {
	ready := readyLine(listener.Addr(), cfg)
	logger.Info(ready)
	fmt.Fprintln(stdout, ready)
	return withBridges(ctx, cfg, logger, listener.Addr(), partingTime, func(ctx context.Context) error { return server.Serve(ctx, listener) })
}

// brokerName begins the message ids of this broker: what tells its journal from others.
func brokerName(journalID [16]byte) string { return hex.EncodeToString(journalID[:4]) }

func readyLine(address net.Addr, cfg config.Config) string {
	who := "loopback only"
	if cfg.STOMP.AllowAnonymous == "anywhere" {
		who = "of anybody who can reach it"
	}
	return fmt.Sprintf("baton ready: STOMP on %s, data in %s, no login asked (%s)", address, cfg.Data.Dir, who)
}

// journalOptions says the configuration in the words of package journal.
func journalOptions(cfg config.Config, logger *zap.Logger, p *progress) journal.Options {
	return journal.Options{
		Dir:           journalDir(cfg.Data.Dir),
		SegmentBytes:  int64(cfg.Journal.Segment),
		BufferBytes:   int(cfg.Journal.Buffer),
		CacheBytes:    int64(cfg.Journal.Cache),
		LazySync:      cfg.Journal.LazySync,
		CleanRate:     int64(cfg.Journal.CleanRate),
		Amplification: cfg.Journal.Amplification,
		ScrubEvery:    zeroIsNever(cfg.Journal.ScrubEvery),
		LowWater:      int64(lowWater(cfg.Journal.LowWater, config.Bytes(diskSize(cfg.Data.Dir)))),
		Stall:         cfg.IO.Stall,
		Shared:        cfg.Failover.Mode == "shared",
		Progress:      p.reading,
		Logger:        logger,
	}
}

// brokerOptions says the configuration in the words of package broker.
func brokerOptions(cfg config.Config, logger *zap.Logger, p *progress) broker.Options {
	budget := memoryBudget(cfg, availableMemory())
	return broker.Options{
		Logger:              logger,
		Version:             version(),
		HideServer:          cfg.STOMP.HideServer,
		Machine:             machineOptions(cfg),
		MemoryBytes:         int64(cfg.MessageMemory(budget)),
		OnStored:            limitMemory(budget),
		ConnectTimeout:      cfg.STOMP.ConnectTimeout,
		WriteTimeout:        cfg.STOMP.WriteTimeout,
		Linger:              cfg.STOMP.Linger,
		IdleTimeout:         cfg.STOMP.IdleTimeout,
		ShutdownTimeout:     cfg.Shutdown.Timeout,
		MaxConnections:      maxConnections(cfg.STOMP.MaxConnections, openFiles()),
		MaxConnectionsPerIP: cfg.STOMP.MaxConnectionsPerIP,
		HeartBeat:           broker.HeartBeat(cfg.STOMP.Heartbeat),
		ConnectLimits: stomp.Limits{
			HeaderLineBytes: int(min(cfg.Limits.HeaderLine, cfg.Limits.ConnectBytes)),
			Headers:         cfg.Limits.Headers,
			HeaderBytes:     int(cfg.Limits.ConnectBytes),
		},
		FrameLimits: stomp.Limits{
			HeaderLineBytes: int(cfg.Limits.HeaderLine),
			Headers:         cfg.Limits.Headers,
			HeaderBytes:     int(cfg.Limits.HeaderBytes),
			BodyBytes:       int(cfg.Limits.Body),
		},
		FrameGrace:   zeroIsNever(cfg.Limits.FrameGrace),
		MinRate:      int(cfg.Limits.MinRate),
		MaxNameBytes: cfg.Limits.DestinationName,
		MailboxBytes: int(cfg.Limits.Mailbox),
		OnDiskFull:   diskFullPolicies[cfg.Journal.OnDiskFull],
		Transactions: broker.Transactions{
			MaxOpen:     cfg.Transactions.MaxOpen,
			MaxFrames:   cfg.Transactions.MaxFrames,
			MaxBytes:    int(cfg.Transactions.MaxBytes),
			IdleTimeout: cfg.Transactions.IdleTimeout,
		},
		CheckpointEvery: cfg.Journal.CheckpointEvery,
		Progress:        p.replaying,
	}
}

// zeroIsNever says "never" as broker and journal do, to whom 0 is their default.
func zeroIsNever(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func machineOptions(cfg config.Config) destinations.Options {
	return destinations.Options{
		Prefetch:         cfg.Queues.Prefetch,
		PrefetchBytes:    int64(cfg.Queues.PrefetchBytes),
		MaxDeliveries:    cfg.Queues.MaxDeliveries,
		DeadLetterPrefix: cfg.Queues.DeadLetterPrefix,
		Pending: destinations.Pending{
			Messages:   cfg.Topics.PendingMessages,
			Bytes:      int64(cfg.Topics.PendingBytes),
			Policy:     pendingPolicies[cfg.Topics.PendingPolicy],
			SpillBytes: int64(cfg.Topics.PendingSpillBytes),
		},
		Member:           cfg.Network.Name,
		Policies:         policies(cfg),
		Routes:           routes(cfg),
		MaxSubscriptions: cfg.Limits.Subscriptions,
	}
}

var diskFullPolicies = map[string]broker.DiskFullPolicy{
	"refuse": broker.RefuseSends,
	"wait":   broker.HoldSends,
}

// maxConnections is the number asked for or, when none is, what the limit of open files leaves beside the journal, at
// most 20,000.
func maxConnections(asked int, files uint64) int {
	if asked > 0 {
		return asked
	}
	reserve := min(max(files/10, 64), 2000)
	if files <= reserve {
		return 1
	}
	return int(min(files-reserve, 20_000))
}

// version is what clients are told.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
