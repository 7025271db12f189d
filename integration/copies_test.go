package integration

import (
	"baton/integration/client"
	"baton/integration/history"
)

// copied messages are in several places, or in none: queues, durable subscriptions, queues of a virtual topic.
var copied = feature{"copies", []func(worker) error{
	worker.copy,
	func(w worker) error { return w.individual(queueLeft) },
	func(w worker) error { return w.individual(virtualA) },
	func(w worker) error { return w.individual(durableActiveMQ) },
	func(w worker) error { return w.individual(durableArtemis) },
	func(w worker) error { return w.erratic(queueRight, virtualB, durableRabbitMQ) },
}}

// copies are destinations and where the messages sent to them arrive.
var copies = []sending{
	{to: "/queue/left,/queue/right", places: []uint32{queueLeft, queueRight}},
	{to: "/topic/VirtualTopic.copied", places: []uint32{virtualA, virtualB}},
	{to: "/topic/copied", places: []uint32{durableActiveMQ, durableArtemis, durableRabbitMQ}},
	{to: "/queue/right,/topic/copied,/topic/VirtualTopic.copied",
		places: []uint32{queueRight, virtualA, virtualB, durableActiveMQ, durableArtemis, durableRabbitMQ}},
}

// copyOf is how the history names the copy of a message in a place.
func copyOf(id history.ID, place uint32) history.ID {
	if id.Producer == copier {
		id.Producer += place
	}
	return id
}

// copy sends one message to several places, or in a transaction several of them.
func (w worker) copy() error {
	return w.produce(func(p *producing) error {
		if w.rng.IntN(5) == 0 {
			return p.transaction(p.sendCopies)
		}
		return p.sendCopies(0)
	})
}

func (p *producing) sendCopies(tx uint32) error {
	s := copies[p.rng.IntN(len(copies))]
	s.producer, s.tx = copier, tx
	return p.send(s)
}

// subscribeAll begins the durable subscriptions, and the queues of virtual topics.
func (w worker) subscribeAll() error {
	for number := range places {
		c, _, err := w.dial(client.Options{ClientID: places[number].client})
		if err != nil {
			return err
		}
		err = subscribeTo(c, "client-individual", uint32(number))
		if err == nil {
			err = c.Call("DISCONNECT", nil)
		}
		c.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
