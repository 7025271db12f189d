package integration

import (
	"strconv"
	"time"
)

// maxDelay is how long a message may have to wait for its time: longer than most brokers live.
const maxDelay = time.Second

// scheduled messages come at their time, not before it, and once.
var scheduled = feature{"scheduled", []func(worker) error{
	worker.schedule,
	func(w worker) error { return w.individual(queueScheduled) },
}}

func (w worker) schedule() error {
	return w.produce(func(p *producing) error {
		if w.rng.IntN(20) == 0 {
			return p.transaction(p.sendScheduled)
		}
		return p.sendScheduled(0)
	})
}

func (p *producing) sendScheduled(tx uint32) error {
	delay := time.Duration(p.rng.Int64N(maxDelay.Milliseconds())) * time.Millisecond
	return p.send(sending{
		producer: scheduler, places: []uint32{queueScheduled}, tx: tx, delay: delay,
		headers: []string{"AMQ_SCHEDULED_DELAY", strconv.FormatInt(delay.Milliseconds(), 10)},
	})
}
