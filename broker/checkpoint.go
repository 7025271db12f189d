package broker

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"baton/destinations"
)

const (
	// sliceSteps is how much is pictured between two batches, each step taking
	// about a microsecond.
	sliceSteps = 500
	// checkpointBytes is how much the log grows before a checkpoint is due, and
	// checkpointShare how much in sizes of the last one: what a start has to read
	// beside the checkpoint, and how much of all that is written are checkpoints.
	checkpointBytes = 64 << 20
	checkpointShare = 8
)

// A checkpointer writes down now and then what a start needs, so that it has to
// read only the end of the log. The machine is pictured in slices, between
// batches; a goroutine writes the picture when all of it is durable. Fields
// belong to the engine.
type checkpointer struct {
	log     Log
	logger  *zap.Logger
	every   time.Duration // a checkpoint is due when the log is at rest for so long
	running sync.WaitGroup

	appended int64     // octets, to the log
	changed  time.Time // when something last was
	covered  int64     // appended as of the newest checkpoint
	pictured int64     // appended as of the newest picture
	size     int64     // of the newest checkpoint
	retry    time.Time // not before, after one failed

	picture *destinations.Checkpoint // in the making, or made and not written
	whole   bool                     // it is made
	parts   []destinations.Part      // of it, so far
	written chan outcome             // has one when writing has ended
	writing bool
	hurried atomic.Bool // what is being written shall end without success
}

// An outcome is how the writing of a checkpoint ended.
type outcome struct {
	size int64
	err  error
}

var errAbandoned = errors.New("the checkpoint is not needed any more")

// grew notes that so many octets were appended to the log.
func (c *checkpointer) grew(now time.Time, octets int) {
	if octets > 0 {
		c.appended += int64(octets)
		c.changed = now
	}
}

// replayed notes an entry that a start read behind the checkpoint, or without
// one. The next start reads it too, unless a checkpoint covers it by then.
func (c *checkpointer) replayed(octets int) { c.appended += int64(recordOverhead + octets) }

// busy says whether a checkpoint is under way. Until it is written the log must
// keep what came after its picture was begun.
func (c *checkpointer) busy() bool { return c.picture != nil }

func (c *checkpointer) due(now time.Time) bool {
	grown := c.appended - c.covered
	switch {
	case c.busy() || grown == 0 || now.Before(c.retry):
		return false
	case grown >= max(checkpointBytes, checkpointShare*c.size):
		return true
	}
	return now.Sub(c.changed) >= c.every
}

func (c *checkpointer) begin(m *destinations.Machine) {
	c.pictured = c.appended
	c.picture, c.whole = m.BeginCheckpoint(), false
}

// always is a channel on which nobody has to wait.
var always = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// turn is ready as long as there is something to picture.
func (c *checkpointer) turn() <-chan struct{} {
	if c.picture == nil || c.whole {
		return nil
	}
	return always
}

// slice pictures a little more.
func (c *checkpointer) slice() {
	parts, done := c.picture.Next(sliceSteps)
	c.parts = append(c.parts, parts...)
	c.whole = done
}

// write begins to write a picture that is made, once all that it shows is
// durable.
func (c *checkpointer) write(durable uint64) {
	if !c.whole || c.writing || durable < c.picture.Upto() {
		return
	}
	c.writing = true
	from, upto, parts := c.picture.From(), c.picture.Upto(), c.parts
	c.parts = nil
	c.running.Go(func() {
		var o outcome
		var buf []byte
		o.err = c.log.WriteCheckpoint(from, upto, func(yield func(part []byte) error) error {
			for i := range parts {
				if c.hurried.Load() {
					return errAbandoned
				}
				buf = parts[i].AppendTo(buf[:0])
				parts[i] = destinations.Part{} // it holds memory
				o.size += int64(len(buf))
				if err := yield(buf); err != nil {
					return err
				}
			}
			return nil
		})
		c.written <- o
	})
}

// end notes how the writing ended. That it failed costs the next start some
// time, and the log some space.
func (c *checkpointer) end(now time.Time, o outcome) {
	from, upto := c.picture.From(), c.picture.Upto()
	c.picture, c.whole, c.writing = nil, false, false
	switch {
	case errors.Is(o.err, errAbandoned):
		return
	case o.err != nil:
		c.retry = now.Add(c.every)
		c.logger.Warn("a checkpoint could not be written: the next start will take longer", zap.Error(o.err))
		return
	}
	c.covered, c.size = c.pictured, o.size
	c.logger.Debug("checkpoint written", zap.Uint64("from", from), zap.Uint64("upto", upto), zap.Int64("octets", o.size))
}

// abandon ends one that is under way, without success if that is quicker.
func (c *checkpointer) abandon() {
	if c.writing {
		c.hurried.Store(true)
		c.end(time.Now(), <-c.written)
		c.hurried.Store(false)
	}
	c.picture, c.whole, c.parts = nil, false, nil
}

// forget says that the machine starts over.
func (c *checkpointer) forget() {
	c.appended, c.covered, c.pictured, c.size = 0, 0, 0, 0
}

// last writes a checkpoint of all that there is. The engine has ended, and
// everything is durable.
func (c *checkpointer) last(m *destinations.Machine, durable uint64) {
	if c.writing {
		c.end(time.Now(), <-c.written)
	}
	if c.appended == c.covered && !c.busy() {
		return
	}
	c.parts = nil
	for c.begin(m); !c.whole; {
		c.slice()
	}
	c.write(durable)
	c.end(time.Now(), <-c.written)
}
