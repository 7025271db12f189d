package integration

import "baton/integration/history"

// deduplicated messages are sent again after each crash, and are in their queue once.
var deduplicated = feature{"deduplication", []func(worker) error{
	worker.sendAgain,
	func(w worker) error { return w.individual(queueDeduplicated) },
}}

const (
	repeated   = window + 20 // so many of the last messages are sent again: all that may have had no receipt, and some that had one
	remembered = 1000        // of these some are, whose messages the journal may have given up
)

// identified is a message with a deduplication-id, which is its own.
type identified struct {
	id   history.ID
	body []byte
}

func (w worker) sendAgain() error {
	var again []identified
	for i, m := range w.last {
		if i >= len(w.last)-repeated || w.rng.IntN(20) == 0 {
			again = append(again, m)
		}
	}
	return w.produce(func(p *producing) error {
		if len(again) > 0 {
			m := again[0]
			again = again[1:]
			return p.write(m)
		}
		m := identified{p.number(deduplicator), randomBody(p.rng)}
		if w.last = append(w.last, m); len(w.last) > remembered {
			w.last = w.last[1:]
		}
		p.history.Add(history.Op{Kind: history.Sent, Client: p.client, Message: m.id, Queue: queueDeduplicated, Lingers: p.roams, Hash: history.Hash(m.body)})
		return p.write(m)
	})
}

func (p *producing) write(m identified) error {
	return p.c.Write("SEND", m.body, "destination", places[queueDeduplicated].destination, "x-id", m.id.String(),
		"deduplication-id", m.id.String(), "receipt", "s"+m.id.String())
}
