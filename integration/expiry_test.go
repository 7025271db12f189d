package integration

import (
	"strconv"
	"time"
)

// expiring messages are in the expiry queue when their time is over, not before it, and once. They do not expire there.
var expiring = feature{"expiry", []func(worker) error{
	worker.expire,
	func(w worker) error { return w.individual(queueExpired) },
}}

// expiryPolicy is what a broker's environment must say for it.
const expiryPolicy = "BATON_DESTINATIONS=[{match: /queue/expiring, expiry_queue: /queue/expired}]"

func (w worker) expire() error {
	return w.produce(func(p *producing) error {
		if w.rng.IntN(20) == 0 {
			return p.transaction(p.sendExpiring)
		}
		return p.sendExpiring(0)
	})
}

func (p *producing) sendExpiring(tx uint32) error {
	life := time.Millisecond + p.delay() // 0 would be for ever
	return p.send(sending{
		producer: expirer, places: []uint32{queueExpired}, tx: tx, delay: life,
		headers: []string{"expiration", strconv.FormatInt(life.Milliseconds(), 10)},
	})
}
