package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

const (
	// followPause is for how long the log is left alone after it was read: to find
	// the place and to check its surroundings takes as long as reading some hundred
	// messages there.
	followPause = 20 * time.Millisecond
	// followRecords is how many are replayed at most before something else has its
	// turn.
	followRecords = 16 << 10
)

// Follow keeps the destinations in the state of a log that somebody else appends
// to, until ctx ends: up to the newest Seq that Durable was called with, and not
// beyond. That must be there in the log, and stay for ever; what comes after it may
// be cut off and give way to other records. A checkpoint is used once all that it
// knows is durable in this sense. Meanwhile the log is told what is not needed any more,
// and gets checkpoints, as by a broker that serves.
//
// Follow returns nil when ctx ends, and an error when the log fails. Then it uses the
// log no longer, which may be cut, closed and opened again. A later Follow, or Recover,
// goes on from where the destinations are, unless its log has another ID: then, and
// only then, it reads all of that. Serve must not have been called.
func (s *Server) Follow(ctx context.Context, log Log) error {
	err := s.follow(ctx, log)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

func (s *Server) follow(ctx context.Context, log Log) error {
	e := s.engine
	if err := e.adopt(log); err != nil {
		return fmt.Errorf("follow the journal: %w", err)
	}
	if !e.rebuilt {
		if err := s.rebuildDurable(ctx); err != nil {
			return err
		}
	}
	defer e.leaveLog()
	tick := time.NewTicker(tendInterval)
	defer tick.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	gate := newOutbox()
	for {
		e.checkpoints.write(e.durable.Load())
		select {
		case <-ctx.Done():
			return nil
		case <-s.failed:
			return s.cause
		case <-gate.wake:
			pause.Reset(followPause)
		case <-pause.C:
			seen, err := e.advance(ctx)
			if err != nil {
				return fmt.Errorf("follow the journal: %w", err)
			}
			e.fresh = append(e.fresh, waiter{seen + 1, gate})
			e.await()
		case now := <-tick.C:
			e.machine.Forget(now)
			e.tend(now)
		case <-e.checkpoints.turn():
			e.checkpoints.slice()
		case o := <-e.checkpoints.written:
			e.checkpoints.end(time.Now(), o)
		}
	}
}

// rebuildDurable makes a machine of what is durable in the log, when that is all
// that the checkpoint knows.
func (s *Server) rebuildDurable(ctx context.Context) error {
	e := s.engine
	_, known, _, _ := e.log.Checkpoint()
	if err := s.awaitDurable(ctx, known); err != nil {
		return err
	}
	begun := time.Now()
	if err := e.rebuild(ctx, e.durable.Load()); err != nil {
		return fmt.Errorf("follow the journal: %w", err)
	}
	stats := e.machine.Stats()
	e.logger.Info("following the journal", zap.Uint64("from", e.machine.Last()), zap.Int("queues", stats.Queues),
		zap.Int("messages", stats.Messages), zap.Duration("took", time.Since(begun)))
	return nil
}

// advance replays what has become durable, as far as it may at once, and returns up to
// where the log was read.
func (e *engine) advance(ctx context.Context) (upto uint64, err error) {
	upto, before := e.durable.Load(), e.checkpoints.appended
	more, err := e.replay(ctx, upto, followRecords, func(uint64, uint64) {})
	if err != nil {
		return 0, err
	}
	if more {
		upto = e.machine.Last()
	}
	now, grown := time.Now(), int(e.checkpoints.appended-before)
	if grown > 0 {
		e.checkpoints.changed = now
	}
	if e.grown += grown; e.grown >= relieveBytes {
		e.relieve(now)
	}
	return upto, nil
}

// leaveLog leaves the log alone.
func (e *engine) leaveLog() {
	e.checkpoints.abandon()
	e.mu.Lock()
	e.waiting = nil
	e.mu.Unlock()
}
