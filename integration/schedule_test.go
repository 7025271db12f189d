package integration

import (
	"strconv"
	"time"
)

// maxDelay is how long a message may have to wait for its time: longer than most brokers live.
const maxDelay = time.Second

// scheduled messages come at their time, not before it, and once. So do those that were refused until then.
var scheduled = feature{"scheduled", []func(worker) error{worker.schedule, worker.takeScheduled}}

// takeScheduled refuses every second message for a while: a broker often dies before the receipt comes.
func (w worker) takeScheduled() error {
	return w.consume("client-individual", []uint32{queueScheduled}, func(s *consuming, m held) error {
		if w.rng.IntN(2) == 0 {
			return s.refuse(m, s.delay())
		}
		return s.ack(m.id.N%3 == 0, m)
	})
}

// delay is a random one, in whole milliseconds.
func (w worker) delay() time.Duration {
	return time.Duration(w.rng.Int64N(maxDelay.Milliseconds())) * time.Millisecond
}

func (w worker) schedule() error {
	return w.produce(func(p *producing) error {
		if w.rng.IntN(20) == 0 {
			return p.transaction(p.sendScheduled)
		}
		return p.sendScheduled(0)
	})
}

func (p *producing) sendScheduled(tx uint32) error {
	delay := p.delay()
	return p.send(sending{
		producer: scheduler, places: []uint32{queueScheduled}, tx: tx, delay: delay,
		headers: []string{"AMQ_SCHEDULED_DELAY", strconv.FormatInt(delay.Milliseconds(), 10)},
	})
}
