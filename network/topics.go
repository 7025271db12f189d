package network

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"baton/destinations"
)

// What is published on a topic goes to each peer with subscribers of it, once, for
// those that are there: no peer stores it. To publish something here, a peer's
// subscribers need the topic, and so this broker subscribes to what they name, once
// for each name, however many peers name it. A message that matches several names
// comes as often, and leaves for a peer with the first of those that it has named.

// subTopic begins the ids of such subscriptions.
const subTopic = "topic "

// maxTopicBatch bounds the octets of messages in one frame.
const maxTopicBatch = 256 << 10

// A relay is what peers listen to.
type relay struct {
	topic string
	peers int
}

// key tells demands apart.
func (d demand) key() string {
	if d.Topic != "" {
		return "t" + d.Topic
	}
	return "q" + d.Queue
}

// demandOf is no demand for what has this key.
func demandOf(key string) *demand {
	if key[0] == 't' {
		return &demand{Topic: key[1:]}
	}
	return &demand{Queue: key[1:]}
}

// listens notes that consumers here listen to a topic, or none do any more.
func (x *exchange) listens(topic string, listens bool) {
	if listens {
		x.topics[topic] = true
	} else {
		delete(x.topics, topic)
	}
	x.freshTopic[topic] = true
}

// freshTopics are the demands that peers do not know of.
func (x *exchange) freshTopics() (changed []demand) {
	for _, topic := range sortedKeys(x.freshTopic) {
		d := demand{Topic: topic}
		if x.topics[topic] && x.mode == Running {
			d.Consumers = 1
		}
		changed = append(changed, d)
	}
	clear(x.freshTopic)
	return changed
}

// allTopics are the demands that there are.
func (x *exchange) allTopics() (all []demand) {
	clear(x.freshTopic)
	if x.mode != Running {
		return nil
	}
	for _, topic := range sortedKeys(x.topics) {
		all = append(all, demand{Topic: topic, Consumers: 1})
	}
	return all
}

// learnTopic notes that a peer listens to a topic, or does not any more.
func (x *exchange) learnTopic(p *peer, d *demand) {
	if d.Consumers == 0 {
		x.unlisten(p, d.Topic)
		return
	}
	if _, known := p.topics[d.Topic]; known {
		return
	}
	pattern, err := destinations.Names{MaxBytes: math.MaxInt}.ParsePattern(destinations.Topic(d.Topic).String())
	if err != nil {
		return
	}
	p.topics[d.Topic] = pattern
	r := x.relays[d.Topic]
	if r == nil {
		r = &relay{topic: d.Topic}
		x.relays[d.Topic] = r
		c := destinations.Command{
			Op: destinations.Subscribe, Subscription: subTopic + d.Topic, Destination: destinations.Topic(d.Topic),
			Consumer: &destinations.Consumer{Ack: destinations.AckAuto, Network: true, NoLocal: true, Prefetch: grantLimit, PrefetchBytes: 4 * batchBytes},
		}
		if pattern.Wild() {
			c.Destination, c.More = destinations.Destination{}, &destinations.More{Sources: []destinations.Pattern{pattern}}
		}
		x.do(c)
	}
	r.peers++
}

func (x *exchange) unlisten(p *peer, topic string) {
	if _, known := p.topics[topic]; !known {
		return
	}
	delete(p.topics, topic)
	r := x.relays[topic]
	if r.peers--; r.peers == 0 {
		delete(x.relays, topic)
		x.do(destinations.Command{Op: destinations.Unsubscribe, Subscription: subTopic + topic})
	}
}

// relayOf is whose delivery it is; nil: of no topic.
func (x *exchange) relayOf(d *destinations.Delivery) *relay {
	if topic, ok := strings.CutPrefix(d.Subscription, subTopic); ok {
		return x.relays[topic]
	}
	return nil
}

// relay has a message leave for all peers of which the name of r is the first that
// matches it.
func (x *exchange) relay(r *relay, d *destinations.Delivery) {
	x.relayed[d.Sub] = d.Tag
	topic := d.Destination
	if x.mode == Stopped || !x.Forwards(topic) {
		return
	}
	for _, p := range x.sortedPeers() {
		if p.first(topic) == r.topic {
			x.relayTo(p, topic.Name, d)
		}
	}
}

// first is the first of the names of a peer that matches a topic.
func (p *peer) first(topic destinations.Destination) (name string) {
	if _, exact := p.topics[topic.Name]; exact {
		return topic.Name
	}
	for candidate, pattern := range p.topics {
		if pattern.Matches(topic) && (name == "" || candidate < name) {
			name = candidate
		}
	}
	return name
}

// relayTo adds a message to the last frame for a peer, or begins one.
func (x *exchange) relayTo(p *peer, topic string, d *destinations.Delivery) {
	if f := p.publish; f == nil || f.Topic != topic || len(f.body) >= maxTopicBatch {
		x.publishTo(p)
		p.publish = &frame{Kind: framePublish, Topic: topic}
		x.publishing = append(x.publishing, p)
	}
	p.publish.Messages++
	p.record.counts.Published++
	p.publish.body = appendMessage(p.publish.body, x.Member, p.member, "", d)
}

func (x *exchange) publishTo(p *peer) {
	if p.publish == nil {
		return
	}
	f := *p.publish
	p.publish = nil
	x.serial++
	f.Transfer = fmt.Sprintf("%s.%d", x.Incarnation, x.serial)
	x.sayInParts(p.member, f, f.body)
}

// publish has leave what was relayed, and says so.
func (x *exchange) publish() {
	for _, p := range x.publishing {
		x.publishTo(p)
	}
	x.publishing = x.publishing[:0]
	for _, sub := range slices.Sorted(maps.Keys(x.relayed)) {
		tag := x.relayed[sub]
		x.do(destinations.Command{Op: destinations.Sent, Delivery: destinations.DeliveryID{Sub: sub, Tag: tag}})
	}
	clear(x.relayed)
}

// shows gives the subscribers here what was published at a peer.
func (x *exchange) shows(part *frame) {
	f := x.gather(part)
	if f == nil {
		return
	}
	sends, err := readBatch(destinations.Topic(f.Topic), min(f.Messages, batchMessages), f.batch)
	if err != nil {
		return
	}
	x.recordOf(f.From).counts.Shown += int64(len(sends))
	x.do(destinations.Command{Op: destinations.Commit, More: &destinations.More{Sends: sends}})
}
