package destinations

import (
	"slices"
	"strings"
)

// Virtual topics are ActiveMQ's way to share a subscription: what is published
// on the topic VirtualTopic.X goes, beside the subscribers of the topic, into
// each queue Consumer.NAME.VirtualTopic.X, for any NAME of one part. Such a queue
// is there, with or without consumers, from the first SUBSCRIBE or SEND that
// names it.
//
// X may have wildcards in a SUBSCRIBE: Consumer.NAME.VirtualTopic.orders.> is one
// queue, of this name, for what is published on all those topics.
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
	return topic, ok && name != "" && !strings.ContainsAny(name, wildcards) && strings.HasPrefix(topic, virtualTopic) && len(topic) > len(virtualTopic)
}

// establish makes the queue of this name take what its virtual topic gets, if it
// has one and does not yet.
func (m *Machine) establish(queue string, out *Effects) {
	topic, ok := virtualTopicOf(queue)
	if !ok {
		return
	}
	if q := m.find(queue); q == nil || q.durable == nil {
		m.record(&record{kind: KindDurable, queue: queue, topic: topic}, out)
	}
}

// selected says whether q, which takes what is published, has to take msg: not where
// the policy looks at its consumers, and none of them selects it.
func (m *Machine) selected(q *queue, msg *Message) bool {
	if !q.policy.SelectorAware || q.members.empty() || q.hidden() {
		return true
	}
	return slices.ContainsFunc(q.members.places, func(src *source) bool {
		return src != nil && m.selects(src.sub.consumer.Selector, msg)
	})
}

// idle sees to it that the queue of a virtual topic is deleted if nothing is in it
// and nobody consumes it, and that stays so for as long as it may. What the time
// was before a restart is not known: it begins again.
func (m *Machine) idle(q *queue) {
	after := q.unusedFor()
	if after == 0 || !m.started || q.hidden() || !q.unneeded() {
		return
	}
	if q.unused == 0 {
		q.unused = m.millis
	}
	m.setTimer(&q.durable.timer, q.durable, q.unused+after)
}

// unneeded says that nothing is in q, and that nobody consumes it.
func (q *queue) unneeded() bool { return q.live == 0 && q.members.empty() }

// lasting is the memory that a SUBSCRIBE takes for as long as the broker runs: of
// the queues of virtual topics that it makes.
func (m *Machine) lasting(c *Command) (need int64) {
	count := func(d Destination) {
		if d.virtual() && m.find(d.Name) == nil {
			need += queueBytes
		}
	}
	count(c.Destination)
	for _, p := range c.more().Sources {
		count(p.named)
	}
	return need
}

// virtual says that d is the queue of a virtual topic, or of several.
func (d Destination) virtual() bool {
	_, ok := virtualTopicOf(d.Name)
	return ok && !d.Topic
}
