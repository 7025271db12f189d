package failover

import (
	"sync/atomic"
	"time"
)

// A permit says until when clients may be given messages (R8). It is asked before each write to one.
type permit struct {
	now     func() time.Duration
	until   atomic.Int64 // on that clock
	renewed atomic.Pointer[chan struct{}]
}

func newPermit(now func() time.Duration) *permit {
	p := &permit{now: now}
	renewed := make(chan struct{})
	p.renewed.Store(&renewed)
	return p
}

// Valid says whether something may be given now.
func (p *permit) Valid() bool {
	until := p.until.Load()
	return until == int64(forever) || int64(p.now()) < until
}

// Renewed is closed when the permit is extended the next time.
func (p *permit) Renewed() <-chan struct{} { return *p.renewed.Load() }

// extend makes the permit valid until then, or ends it.
func (p *permit) extend(until time.Duration) {
	p.until.Store(int64(until))
	renewed := make(chan struct{})
	close(*p.renewed.Swap(&renewed))
}

// left is for how long the permit is valid; -1: for ever.
func (p *permit) left() time.Duration {
	until := time.Duration(p.until.Load())
	if until == forever {
		return -1
	}
	return max(0, until-p.now())
}
