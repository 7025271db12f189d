package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"baton/config"
	"baton/failover"
	"baton/journal"

	"go.uber.org/zap"
)

// lookForLock is how often a broker that waits looks whether the directory is free.
const lookForLock = 100 * time.Millisecond

// serveShared waits until no other process has the data directory, and then serves until ctx ends or the journal fails.
func serveShared(ctx context.Context, cfg config.Config, stdout, stderr io.Writer) error {
	logger := newLogger(cfg.Log, stderr)
	if err := makeData(cfg.Data.Dir); err != nil {
		return err
	}
	var serving atomic.Bool
	if cfg.Failover.Health != "" {
		health, err := listen("failover.health", cfg.Failover.Health)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = failover.ServeHealth(ctx, health, func() failover.Status { return sharedStatus(serving.Load()) }, logger)
		}()
		defer func() {
			cancel()
			<-ended
		}()
	}
	told := false
	for {
		err := journal.InUse(nil, journalDir(cfg.Data.Dir))
		if err == nil {
			err = serveAlone(ctx, cfg, stdout, stderr, func() { serving.Store(true) })
			serving.Store(false)
		}
		if !errors.Is(err, journal.ErrLocked) {
			return err
		}
		if !told {
			told = true
			logger.Info("waiting: this broker takes over when the other one ends", zap.Error(err))
			fmt.Fprintf(stdout, "baton waits: %v\n", err)
		}
		select {
		case <-time.After(lookForLock):
		case <-ctx.Done():
			return nil
		}
	}
}

// sharedStatus is what load balancers are told.
func sharedStatus(serving bool) failover.Status {
	if serving {
		return failover.Status{Role: "master", Serving: true}
	}
	return failover.Status{Role: "waiting"}
}
