package broker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"go.uber.org/zap"

	"baton/destinations"
	"baton/journal"
)

// restore brings the machine to the state of the log and starts it.
func (e *engine) restore(ctx context.Context, log Log, epoch uint32) error {
	e.epoch = epoch
	if err := e.catchUp(ctx, log); err != nil {
		return fmt.Errorf("recover the destinations: %w", err)
	}
	e.rebuilt = false // from now on it knows of what may not become durable
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

// catchUp brings the machine to the end of the log: from where it is, or from the
// beginning.
func (e *engine) catchUp(ctx context.Context, log Log) error {
	if err := e.adopt(log); err != nil {
		return err
	}
	var err error
	if e.rebuilt {
		_, err = e.replay(ctx, math.MaxUint64, math.MaxInt, e.progress)
	} else {
		err = e.rebuild(ctx, math.MaxUint64)
	}
	if err != nil {
		return err
	}
	return e.machine.Resume(log.Last())
}

// adopt takes a log. If it is not the one that the machine has followed so far, the
// machine starts over: of what it knows, the other may have given back that it
// was settled.
func (e *engine) adopt(log Log) error {
	id := log.ID()
	if id != e.logID {
		e.rebuilt = false
	}
	e.log, e.logID, e.checkpoints.log = log, id, log
	if known := e.machine.Last(); e.rebuilt && log.Last() < known {
		return fmt.Errorf("the journal ends with entry %d and entry %d was known to be durable: its end is missing", log.Last(), known)
	}
	return nil
}

// rebuild makes a machine of the checkpoint and what came after it in the log, up
// to a Seq that is not before what the checkpoint knows. Without one, or with one
// that does not fit, it reads all of the log: that only takes longer.
func (e *engine) rebuild(ctx context.Context, upto uint64) error {
	_, known, parts, ok := e.log.Checkpoint()
	e.startOver()
	if ok {
		err := e.restoreParts(parts)
		if err == nil {
			_, err = e.replay(ctx, upto, math.MaxInt, e.progress)
		}
		if err == nil {
			err = e.machine.Resume(known)
		}
		if err == nil || ctx.Err() != nil {
			e.rebuilt = err == nil
			return err
		}
		e.logger.Warn("the checkpoint cannot be used: the whole log is read", zap.Error(err))
		e.startOver()
	}
	_, err := e.replay(ctx, upto, math.MaxInt, e.progress)
	e.rebuilt = err == nil
	return err
}

// startOver takes a machine that knows nothing.
func (e *engine) startOver() {
	e.machine = destinations.New(e.options)
	e.checkpoints.forget()
	e.trimmed, e.freed, e.promised, e.grown = 0, 0, 0, 0
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

// errEnough ends a reading of the log.
var errEnough = errors.New("that is enough")

// replay gives the machine what comes next in the log, up to a Seq and at most so
// many records, and says whether it was that many.
func (e *engine) replay(ctx context.Context, upto uint64, most int, progress func(done, total uint64)) (more bool, err error) {
	after := e.machine.Last()
	begin, total := uint64(0), min(upto, e.log.Last())-after
	if after > 0 {
		begin = after + 1
	}
	n := 0
	err = e.log.Read(begin, func(r journal.Record) error {
		if r.Seq > upto || n == most {
			return errEnough
		}
		if n++; n%progressEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			progress(r.Seq-after, total)
		}
		e.checkpoints.replayed(len(r.Body))
		return e.machine.Replay(EntryOf(r))
	})
	if err == errEnough {
		err = nil
	}
	return n == most, err
}
