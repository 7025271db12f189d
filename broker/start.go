package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"baton/destinations"
	"baton/journal"
)

// restore brings the machine to the state of the log and starts it.
func (e *engine) restore(ctx context.Context, log Log, epoch uint32) error {
	e.log, e.checkpoints.log, e.epoch = log, log, epoch
	if err := e.rebuild(ctx); err != nil {
		return fmt.Errorf("recover the destinations: %w", err)
	}
	now := time.Now()
	if err := e.machine.Step(now, &destinations.Command{Op: destinations.Start}, &e.effects); err != nil {
		return err
	}
	e.budget.held.Store(e.machine.Bytes())
	if err := e.append(now); err != nil {
		return err
	}
	e.tend(now) // what the last process had no time for
	return nil
}

// rebuild reads the checkpoint and what came after it in the log. Without one,
// or with one that does not fit, it reads all of the log: that only takes
// longer.
func (e *engine) rebuild(ctx context.Context) error {
	from, _, parts, ok := e.log.Checkpoint()
	if !ok {
		return e.replay(ctx, 0)
	}
	err := e.restoreParts(parts)
	if err == nil {
		err = e.replay(ctx, from)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	e.logger.Warn("the checkpoint cannot be used: the whole log is read", zap.Error(err))
	e.machine = destinations.New(e.options)
	e.checkpoints.size, e.checkpoints.appended = 0, 0
	return e.replay(ctx, 0)
}

func (e *engine) restoreParts(parts [][]byte) error {
	if len(parts) == 0 {
		return errors.New("it is empty")
	}
	for i, part := range parts {
		if err := e.machine.Restore(part); err != nil {
			return fmt.Errorf("part %d: %w", i, err)
		}
		e.checkpoints.size += int64(len(part))
	}
	return nil
}

// progressEvery is after how many records a start says how far it has come, and
// looks whether it shall end.
const progressEvery = 1024

// replay gives the machine what is in the log after a Seq; 0: all there is.
func (e *engine) replay(ctx context.Context, after uint64) error {
	begin, total := uint64(0), e.log.Last()-after
	if after > 0 {
		begin = after + 1
	}
	n := 0
	err := e.log.Read(begin, func(r journal.Record) error {
		if n++; n%progressEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			e.progress(r.Seq-after, total)
		}
		e.checkpoints.replayed(len(r.Body))
		return e.machine.Replay(EntryOf(r))
	})
	if err != nil {
		return err
	}
	return e.machine.Resume(e.log.Last())
}
