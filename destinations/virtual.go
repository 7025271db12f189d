package destinations

import "strings"

// Virtual topics are ActiveMQ's way to share a subscription: what is published
// on the topic VirtualTopic.X goes, beside the subscribers of the topic, into
// each queue Consumer.NAME.VirtualTopic.X, for any NAME of one part. Such a queue
// is there, with or without consumers, from the first SUBSCRIBE or SEND that
// names it.
const (
	virtualTopic = "VirtualTopic."
	virtualQueue = "Consumer."
)

// virtualTopicOf is the virtual topic of the queue of this name; ok is false if
// it has none.
func virtualTopicOf(queue string) (topic string, ok bool) {
	rest, ok := strings.CutPrefix(queue, virtualQueue)
	if !ok {
		return "", false
	}
	name, topic, ok := strings.Cut(rest, ".")
	return topic, ok && name != "" && strings.HasPrefix(topic, virtualTopic) && len(topic) > len(virtualTopic)
}

// establish makes the queue of this name take what its virtual topic gets, if it
// has one and does not yet.
func (m *Machine) establish(queue string, out *Effects) {
	topic, ok := virtualTopicOf(queue)
	if !ok {
		return
	}
	if q := m.find(queue); q == nil || q.durable == nil {
		m.record(record{kind: KindDurable, queue: queue, topic: topic}, out)
	}
}

// lasting is the memory that a SUBSCRIBE takes for as long as the broker runs: of
// the queues of virtual topics that it makes.
func (m *Machine) lasting(c *Command) (need int64) {
	count := func(d Destination) {
		if _, ok := virtualTopicOf(d.Name); ok && !d.Topic && m.find(d.Name) == nil {
			need += queueBytes
		}
	}
	count(c.Destination)
	for _, p := range c.Sources {
		if !p.Wild() {
			count(p.named)
		}
	}
	return need
}
