package broker

import (
	"time"

	"go.uber.org/zap"
)

// dropsQuiet is how long after drops were logged further ones are only counted.
const dropsQuiet = 10 * time.Second

// A dropLog logs how many messages were dropped, without flooding the log.
type dropLog struct {
	text  string
	count int       // not logged
	total int       // since the start
	next  time.Time // nothing is logged before
}

func (d *dropLog) add(n int) {
	d.count += n
	d.total += n
}

// tell logs what was not, unless something was a moment ago.
func (d *dropLog) tell(logger *zap.Logger, now time.Time) {
	if d.count == 0 || now.Before(d.next) {
		return
	}
	logger.Warn(d.text, zap.Int("messages", d.count), zap.Int("total", d.total))
	d.count, d.next = 0, now.Add(dropsQuiet)
}

// countDrops notes what the batch has dropped.
func (e *engine) countDrops() {
	e.dropped.add(e.effects.Dropped)
	e.unclaimed.add(e.effects.Unclaimed)
	e.overflowed.add(e.effects.Overflowed)
}

// tellDrops is called in each batch, and now and then: the last drops are logged though nothing follows them.
func (e *engine) tellDrops(now time.Time) {
	for _, d := range [...]*dropLog{&e.dropped, &e.unclaimed, &e.overflowed} {
		d.tell(e.logger, now)
	}
}
