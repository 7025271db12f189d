package failover

import (
	"context"
	"errors"

	"baton/journal"
)

// verifySlice is how many octets are read while a cut of the journal has to wait.
const verifySlice = 4 << 20

// Verify reads what a broker reads that begins with this log: all that is durable by now, after the checkpoint. The error says
// what cannot be read; damage is a *journal.CorruptError. It may run beside everything else.
func (l *Log) Verify(ctx context.Context) error {
	upto, from := l.Durable(), uint64(0)
	if known, _, _, ok := l.Checkpoint(); ok {
		from = known + 1
	}
	for ctx.Err() == nil {
		next, err := l.verifySlice(from, upto)
		switch {
		case errors.Is(err, journal.ErrTrimmed):
			next = 0 // where the log begins by now
		case err != nil:
			return err
		case next == from || next > upto:
			return nil
		}
		from = next
	}
	return ctx.Err()
}

// verifySlice reads some records from a Seq on, and returns with which to go on: the same where there are none.
func (l *Log) verifySlice(from, upto uint64) (next uint64, err error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	next = from
	octets := 0
	err = l.Read(from, func(r journal.Record) error {
		if r.Seq > upto || octets >= verifySlice {
			return errFull
		}
		next = r.Seq + 1
		octets += len(r.Body)
		return nil
	})
	return next, notFull(err)
}
