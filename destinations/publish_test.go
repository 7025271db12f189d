package destinations

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestPublishProperty runs random programs that publish to durable subscriptions,
// virtual topics and queues at once, against lists of what each must hold; with
// a standby, a disk that is cleaned, checkpoints, and restarts from each.
func TestPublishProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		p := newPublishing(rt)
		for range oneOf(p.program, "commands", []int{5, 20, 60, 150}) {
			switch p.pick("op", 12) {
			case 0:
				p.restart()
			case 1, 2:
				p.subscribe()
			case 3:
				p.unsubscribe()
			case 4, 5, 6:
				p.consume()
			default:
				p.send()
			}
			p.compare()
		}
		p.drain()
	})
}

// publishing is a program with what each of its queues must hold.
type publishing struct {
	*program
	held     map[string][]string // bodies by queue, oldest first; one that is not stored ends with "?"
	durables map[string]record
}

func newPublishing(t *rapid.T) *publishing {
	p := &publishing{program: &program{t: t, now: scriptTime}, held: map[string][]string{}, durables: map[string]record{}}
	p.opts = Options{MemoryBytes: oneOf(p.program, "memory", []int64{1 << 20, 6000}), MaxDeliveries: 2, gatherAfter: 1 + p.pick("gather after", 4)}
	p.m, p.standby, p.disk = New(p.opts), New(p.opts), newDisk(p.program)
	p.do(Command{Op: Start})
	return p
}

// do carries out c; nil says that there was no memory for it.
func (p *publishing) do(c Command) *Effects {
	out := &Effects{}
	p.now = p.now.Add(time.Millisecond)
	if err := p.m.Step(p.now, &c, out); err != nil {
		if err.(*Error).Code != CodeMemoryFull {
			p.t.Fatalf("%+v: %v", c, err)
		}
		return nil
	}
	p.log(out.Entries)
	return out
}

var (
	publishTopics = []string{"news", "news.eu", "VirtualTopic.x"}
	publishQueues = []string{"q", "Consumer.A.VirtualTopic.x", "Consumer.B.VirtualTopic.x"}
)

func (p *publishing) send() {
	p.sent++
	persistent := p.pick("persistent", 4) > 0
	body := fmt.Sprint("m", p.sent)
	c := Command{Op: Send, Session: 9, Message: newMessage(body+strings.Repeat("_", 100*p.pick("size", 3)), persistent)}
	c.saying().Client = oneOf(p.program, "client", []string{"", "c"})
	var parts []Destination
	for range 1 + p.pick("parts", 4) {
		d := Topic(oneOf(p.program, "topic", publishTopics))
		if p.pick("queue", 3) == 0 {
			d = Queue(oneOf(p.program, "queue", publishQueues))
		}
		if !slices.Contains(parts, d) {
			parts = append(parts, d)
		}
	}
	c.Destination, c.saying().Also = parts[0], parts[1:]
	if p.do(c) == nil {
		return
	}
	p.expect(body, c.saying().Client, parts)
	if !persistent {
		p.markUnstored()
	}
}

// markUnstored marks what is not stored: of a message that need not be, that is
// the machine's to say, by the room that it has.
func (p *publishing) markUnstored() {
	for name, bodies := range p.held {
		i := 0
		p.m.queues[name].each(func(at ref) bool {
			if i < len(bodies) && !at.slot().stored() {
				bodies[i] = strings.TrimSuffix(bodies[i], "?") + "?"
			}
			i++
			return true
		})
	}
}

// expect puts body where it must be: once into each queue that is named, and
// once for each topic into what is durable there.
func (p *publishing) expect(body, client string, parts []Destination) {
	for _, d := range parts {
		if !d.Topic {
			p.establish(d.Name)
			p.held[d.Name] = append(p.held[d.Name], body)
		}
	}
	for _, d := range parts {
		for _, name := range p.takers(d, client) {
			if !slices.Contains(parts, Queue(name)) {
				p.held[name] = append(p.held[name], body)
			}
		}
	}
}

func (p *publishing) takers(topic Destination, client string) (names []string) {
	for name, d := range p.durables {
		if (Pattern{Topic(d.topic)}).Matches(topic) && !(d.noLocal && client == "c") {
			names = append(names, name)
		}
	}
	return names
}

func (p *publishing) establish(queue string) {
	if topic, ok := virtualTopicOf(queue); ok {
		p.durables[queue] = record{topic: topic}
	}
}

func (p *publishing) drawDurable() DurableID {
	return DurableID{Client: "c", Name: oneOf(p.program, "durable", []string{"a", "b", "d"})}
}

// subscribe makes a durable subscription, or changes it, and lets go.
func (p *publishing) subscribe() {
	c := Command{Op: Subscribe, Session: 1, Subscription: "s", Consumer: &Consumer{Ack: AckIndividual}}
	if p.pick("virtual", 4) == 0 {
		c.Destination = Queue(oneOf(p.program, "queue", publishQueues))
		p.do(c)
		p.establish(c.Destination.Name)
	} else {
		c.Consumer.Durable = p.drawDurable()
		c.Consumer.NoLocal = p.pick("no-local", 4) == 0
		topic := oneOf(p.program, "pattern", []string{"news", "news.>", "news.*", "VirtualTopic.x", ">"})
		c.saying().Sources = []Pattern{{Topic(topic)}}
		if p.do(c) == nil {
			return
		}
		p.define(c.Consumer.Durable.key(), record{topic: topic, noLocal: c.Consumer.NoLocal})
	}
	p.do(Command{Op: Disconnect, Session: 1, Clean: true})
}

// define makes a durable subscription what it is now. If it was another, what it
// held is gone.
func (p *publishing) define(key string, want record) {
	if was := p.durables[key]; was.topic != want.topic || was.noLocal != want.noLocal {
		delete(p.held, key)
	}
	p.durables[key] = want
}

func (p *publishing) unsubscribe() {
	c := Command{Op: Unsubscribe, Session: 1, Delete: true, Consumer: &Consumer{Durable: p.drawDurable()}}
	if key := c.Consumer.Durable.key(); p.durables[key].topic != "" {
		p.do(c)
		delete(p.durables, key)
		delete(p.held, key)
	}
}

// consume takes some of a queue: each is acknowledged, refused for good or left.
func (p *publishing) consume() {
	var names []string
	for name := range p.held {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return
	}
	name := oneOf(p.program, "of", names)
	p.take(name, func() int {
		what := p.pick("what", 4)
		if what == 2 && strings.HasPrefix(name, "DLQ.") {
			return 0 // there is nowhere to refuse it to
		}
		return what
	})
}

// take consumes the queue called name; what says of each message: 0 and 1 it is
// acknowledged, 2 it is refused for good, 3 it stays.
func (p *publishing) take(name string, what func() int) {
	c := Command{Op: Subscribe, Session: 1, Subscription: "s", Destination: Queue(name), Consumer: &Consumer{Ack: AckIndividual, Prefetch: 1000}}
	if id, durable := durableID(Queue(name)); durable {
		d := p.durables[name]
		c.Destination, c.Consumer.Durable, c.Consumer.NoLocal = Topic(d.topic), id, d.noLocal
	}
	out := p.do(c)
	var kept []string
	for i, o := range out.Outputs {
		if i >= len(p.held[name]) || p.body(o.Delivery) != p.held[name][i] {
			p.t.Fatalf("%q gives message %d, %q, and must give %q", name, i, p.body(o.Delivery), p.held[name])
		}
		ack := Command{Op: Ack, Session: 1, Delivery: DeliveryID{Sub: o.Delivery.Sub, Tag: o.Delivery.Tag}}
		switch what() {
		case 2:
			ack.Op, ack.saying().Refusal.Reject = Nack, true
			p.bury(name, o.Delivery, strings.TrimSuffix(p.held[name][i], "?"))
		case 3:
			kept = append(kept, p.held[name][i])
			continue
		}
		p.do(ack)
	}
	if len(out.Outputs) != len(p.held[name]) {
		p.t.Fatalf("%q gives %d messages, want %q", name, len(out.Outputs), p.held[name])
	}
	if p.held[name] = kept; len(kept) == 0 {
		delete(p.held, name)
	}
	p.do(Command{Op: Disconnect, Session: 1, Clean: true})
}

// bury expects a message that is refused in its dead-letter queue.
func (p *publishing) bury(name string, d Delivery, body string) {
	target := "DLQ." + name
	if def, durable := p.durables[name]; durable && strings.HasPrefix(name, durablePrefix) {
		target = "DLQ." + map[string]string{"news.>": "news", "news.*": "news", ">": "topics"}[def.topic]
		if target == "DLQ." {
			target += def.topic
		}
	}
	p.held[target] = append(p.held[target], body)
}

// body is that of a delivery, with "?" if it is not stored.
func (p *publishing) body(d Delivery) string {
	if d.ID.N > 0 {
		return bodyText(d.Message) + "?"
	}
	return p.storedBody(d.Content)
}

func (p *publishing) storedBody(seq uint64) string {
	i, ok := slices.BinarySearchFunc(p.entries, seq, func(e Entry, seq uint64) int { return int(e.Seq) - int(seq) })
	if !ok {
		p.t.Fatalf("there is no entry %d", seq)
	}
	msg, err := p.entries[i].Message()
	if err != nil {
		p.t.Fatalf("%v", err)
	}
	return bodyText(msg)
}

// compare looks into every queue.
func (p *publishing) compare() {
	got := map[string][]string{}
	for name, q := range p.m.queues {
		q.each(func(at ref) bool {
			body := ""
			if s := at.slot(); s.stored() {
				body = p.storedBody(at.content())
			} else {
				body = bodyText(s.msg) + "?"
			}
			got[name] = append(got[name], body)
			return true
		})
	}
	if len(got) != len(p.held) {
		p.t.Fatalf("the machine holds %q, want %q", got, p.held)
	}
	for name, want := range p.held {
		if !slices.Equal(got[name], want) {
			p.t.Fatalf("%q holds %q, want %q", name, got[name], want)
		}
	}
	durables := 0
	for name, q := range p.m.queues {
		if q.durable == nil {
			continue
		}
		durables++
		if want := p.durables[name]; q.durable.topic != want.topic || q.durable.noLocal != want.noLocal {
			p.t.Fatalf("%q takes what is sent to %s, want %+v", name, q.durable.topic, want)
		}
	}
	if durables != len(p.durables) {
		p.t.Fatalf("%d durables, want %d", durables, len(p.durables))
	}
}

func (p *publishing) restart() {
	p.m = p.disk.successor(p.pick("failover", 3), p.standby)
	p.disk.taking = nil
	p.standby = replayed(p.t, p.opts, p.entries)
	for name, bodies := range p.held {
		bodies = slices.DeleteFunc(slices.Clone(bodies), func(body string) bool { return strings.HasSuffix(body, "?") })
		if p.held[name] = bodies; len(bodies) == 0 {
			delete(p.held, name)
		}
	}
	p.do(Command{Op: Start})
}

// drain consumes all and deletes what can be: nothing may be left but the
// queues of virtual topics, which stay.
func (p *publishing) drain() {
	for len(p.held) > 0 {
		for _, name := range slices.Sorted(func(yield func(string) bool) {
			for name := range p.held {
				if !yield(name) {
					return
				}
			}
		}) {
			p.take(name, func() int { return 0 })
		}
	}
	for key := range p.durables {
		if id, hidden := durableID(Queue(key)); hidden {
			p.do(Command{Op: Unsubscribe, Session: 1, Delete: true, Consumer: &Consumer{Durable: id}})
			delete(p.durables, key)
		}
	}
	p.compare()
	bytes := int64(0)
	for _, q := range p.m.queues {
		bytes += q.baseBytes()
	}
	if n, live := len(p.durables), p.m.Live().Count(); n != live || len(p.m.queues) != n || p.m.bytes != bytes {
		p.t.Fatalf("%d queues of virtual topics are left, and %d live entries, %d queues, %d octets", n, live, len(p.m.queues), p.m.bytes)
	}
	for i := range p.m.live.stretches {
		if s := &p.m.live.stretches[i]; len(s.shares) > 0 {
			p.t.Fatalf("nothing has two holders, and shared are %v", s.shares)
		}
	}
}
