package integration

import "strconv"

// ranked messages come by priority, among those that are ready.
var ranked = feature{"priorities", []func(worker) error{worker.rank, worker.takeRanked}}

func (w worker) rank() error {
	return w.produce(func(p *producing) error {
		priority := uint8(w.rng.IntN(10))
		return p.send(sending{
			producer: ranker, places: []uint32{queueRanked}, priority: priority,
			headers: []string{"priority", strconv.Itoa(int(priority))},
		})
	})
}

// takeRanked takes one message at a time. One in ten it refuses, and gets it again.
func (w worker) takeRanked() error {
	return w.consume("client-individual", []uint32{queueRanked}, func(s *consuming, m held) error {
		if w.rng.IntN(10) == 0 {
			return s.nack(m)
		}
		return s.ack(m.id.N%3 == 0, m)
	})
}
