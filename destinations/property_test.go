package destinations

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Programs of each property, for they take long with the race detector, which has nothing to find in them: a Machine has no goroutine.
// make test gives each thousands without it. A long campaign: make programs
const defaultChecks = "50"

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", defaultChecks); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// TestProperty runs random programs of all commands against the model, with a
// standby that replays each entry as it is made, a disk that is cleaned and has
// checkpoints, restarts from each of them, and a last consumer of everything,
// after whom nothing may be left, on the disk neither.
func TestProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		p := newProgram(rt)
		for range oneOf(p, "commands", []int{5, 20, 60, 150}) {
			if p.pick("restart", 60) == 59 {
				p.restart()
				continue
			}
			p.step(p.draw())
		}
		p.drain()
	})
}

const (
	modelSessions = 2 // draw commands
	lastSession   = 0 // drains
)

// A program is a machine, the model that it is compared with, and a standby.
type program struct {
	t       *rapid.T
	opts    Options
	m       *Machine
	w       *model
	standby *Machine
	entries []Entry // as a log gives them back that is never cleaned
	disk    *disk
	now     time.Time
	sent    int // messages
}

func newProgram(t *rapid.T) *program {
	p := &program{t: t, now: scriptTime}
	p.opts = Options{
		Prefetch:         1 + p.pick("prefetch", 4),
		PrefetchBytes:    oneOf(p, "prefetch bytes", []int64{1, 300, 1 << 20}),
		MaxDeliveries:    1 + p.pick("max deliveries", 3),
		MemoryBytes:      oneOf(p, "memory", []int64{1 << 20, 1 << 20, 2400, 4000}),
		MaxSubscriptions: 2 + p.pick("max subscriptions", 2),
		Pending: Pending{
			Messages: 1 + p.pick("pending", 3),
			Bytes:    oneOf(p, "pending bytes", []int64{1 << 20, 150, 400}),
			Policy:   PendingPolicy(p.pick("policy", 3)),
		},
	}
	redelivery := Redelivery{
		MaxDeliveries: p.opts.MaxDeliveries,
		Delay:         oneOf(p, "redelivery delay", []time.Duration{0, 0, 3 * time.Millisecond, 20 * time.Millisecond}),
		Multiplier:    2,
		MaxDelay:      30 * time.Millisecond,
		KeepOrder:     p.pick("keep order", 3) == 0,
	}
	p.opts.Policies = NewPolicies([]Rule{{Match: Pattern{Queue(">")}, Set: func(policy *Policy) { policy.Redelivery = redelivery }}})
	p.m, p.w, p.standby, p.disk = New(p.opts), newModel(t, p.opts), New(p.opts), newDisk(p)
	p.skip()
	p.step(Command{Op: Start})
	return p
}

// pick draws a number below n, at most 64. Each is as likely as the others:
// rapid's own ranges prefer the low ones so much that rare commands never meet.
func (p *program) pick(label string, n int) int {
	return rapid.Custom(func(t *rapid.T) int {
		v := 0
		for range 8 {
			v *= 2
			if rapid.Bool().Draw(t, "bit") {
				v++
			}
		}
		return v % n
	}).Draw(p.t, label)
}

func oneOf[T any](p *program, label string, values []T) T { return values[p.pick(label, len(values))] }

// step carries out c and checks everything.
func (p *program) step(c Command) {
	p.now = p.now.Add(oneOf(p, "pass", []time.Duration{time.Millisecond, time.Millisecond, 10 * time.Millisecond}))
	if c.Op != Start {
		p.tick()
		p.w.compare(p.m)
	}
	p.carryOut(c)
	p.tick()
	p.w.compare(p.m)
}

func (p *program) tick() { tickAll(p.m, p.now, p.carryOut) }

// tickAll does what is due, as often as it takes.
func tickAll(m *Machine, now time.Time, carryOut func(Command)) {
	for {
		next, ok := m.NextTick()
		if !ok || next.After(now) {
			return
		}
		carryOut(Command{Op: Tick})
	}
}

func (p *program) carryOut(c Command) {
	var out Effects
	own := c.forModel()
	err := p.m.Step(p.now, &c, &out)
	code := p.w.step(p.now, own, &out)
	c = own
	switch {
	case err == nil && code == "":
		p.w.judge(c, &out)
	case err == nil || err.(*Error).Code != code:
		p.t.Fatalf("%+v gives the error %v, want %q", c, err, code)
	case len(out.Entries)+len(out.Outputs)+out.Dropped+out.SetAside > 0:
		p.t.Fatalf("%+v is refused and has effects: %+v", c, out)
	}
	p.checkSync(&out)
	p.log(out.Entries)
}

// checkSync checks that the caller is told to sync when somebody waits.
func (p *program) checkSync(out *Effects) {
	want := false
	for _, e := range out.Entries {
		want = want || e.Kind != KindSettle && e.Kind != KindAttempt
	}
	for _, o := range out.Outputs {
		want = want || o.Kind == Receipt && o.After > 0
	}
	if out.Sync != want {
		p.t.Fatalf("sync is %v, want %v, for %+v", out.Sync, want, out)
	}
}

// log appends a batch to the log, and checks all ways to replay it.
func (p *program) log(batch []Entry) {
	for _, e := range batch {
		e = readBack(e)
		p.entries = append(p.entries, e)
		if err := p.standby.Replay(e); err != nil {
			p.t.Fatalf("replay: %v", err)
		}
	}
	p.disk.append(batch)
	want := describeAll(p.m)
	p.same("the standby", p.standby, want)
	if len(batch) > 0 && p.pick("replay", 4) == 0 {
		p.same("a recovery", replayed(p.t, p.opts, p.entries), want)
		p.same("a recovery from the disk", p.disk.replay(), want)
		p.same("a recovery from the oldest entry needed", p.disk.replayNeeded(), want)
		p.same("a recovery from the checkpoint", p.disk.restore(), want)
	}
	p.disk.change()
}

func (p *program) same(who string, m *Machine, want string) {
	p.t.Helper()
	if got := describeAll(m); got != want {
		p.t.Fatalf("%s has\n%s\nwant\n%s", who, got, want)
	}
}

// restart goes on with a machine from the disk, or with the standby.
func (p *program) restart() {
	p.m = p.disk.successor(p.pick("failover", 3), p.standby)
	p.disk.taking = nil
	p.standby = replayed(p.t, p.opts, p.entries)
	p.skip()
	p.w.restart(p.m)
	p.step(Command{Op: Start})
}

// skip goes on as a log does of which the end was given back: with Seqs that lie
// far apart, though no program makes thousands of entries.
func (p *program) skip() {
	last := p.m.Last() + oneOf(p, "skip", []uint64{0, 10, 500, 1000, 3000})
	resume(p.t, p.m, last)
	resume(p.t, p.standby, last)
	p.w.last = last
}

// drain ends all sessions, then consumes every queue: nothing may be left.
func (p *program) drain() {
	for id := range uint64(modelSessions) {
		p.step(Command{Op: Disconnect, Session: id + 1, Clean: true})
	}
	if p.m.Stats().Unreadable > 0 {
		p.restart()
	}
	for len(p.w.queues) > 0 {
		q := p.w.queues[0]
		p.step(Command{Op: Subscribe, Session: lastSession, Subscription: "all", Destination: q.destination})
		for len(q.messages) > 0 {
			p.now = p.now.Add(50 * time.Millisecond) // for what is to come
			s := q.subs[0]
			p.step(Command{Op: Sent, Session: lastSession, Delivery: DeliveryID{Sub: s.number, Tag: s.lastTag}})
		}
		p.step(Command{Op: Unsubscribe, Session: lastSession, Subscription: "all"})
		p.w.queues = p.w.queues[1:]
	}
	p.step(Command{Op: Disconnect, Session: lastSession})
	m := p.m
	if len(m.queues)+len(m.topics)+len(m.sessions) > 0 || m.bytes != 0 || m.Oldest() != m.Last()+1 {
		p.t.Fatalf("left: %+v, oldest %d of %d", m.Stats(), m.Oldest(), m.Last())
	}
	p.disk.empty()
}

// draw makes a random command.
func (p *program) draw() Command {
	c := Command{Session: 1 + uint64(p.pick("session", modelSessions)), DiskLow: p.pick("disk low", 8) == 0}
	c.Op = oneOf(p, "op", []Op{
		Send, Send, Send, Send, Send, Send, Send, Send, Subscribe, Subscribe, Subscribe, Subscribe, Unsubscribe,
		Ack, Ack, Ack, Ack, Ack, Ack, Ack, Nack, Nack, Nack, Commit, Commit, Commit, Abort, Disconnect,
		Sent, Sent, Unreadable, Note,
	})
	if c.Op != Sent && c.Op != Unreadable && p.pick("receipt", 2) == 1 {
		c.WantReceipt, c.Receipt = true, fmt.Sprint("r", p.sent)
	}
	switch c.Op {
	case Send:
		o := p.drawSend()
		c.Destination, c.Message = o.Destination, o.Message
	case Subscribe:
		c.Subscription, c.Destination, c.Consumer = p.drawSubscription(), p.drawDestination(), p.drawConsumer()
	case Unsubscribe:
		c.Subscription = p.drawSubscription()
	case Ack, Nack, Sent, Unreadable:
		p.drawDelivery(&c)
	case Commit, Abort:
		c.saying().Tx = oneOf(p, "tx", []string{"x", "x", "x", "y"})
		c.saying().Sends = p.drawSends(c.Op)
	case Disconnect:
		c.Clean = p.pick("clean", 2) == 1
	}
	return c
}

func (p *program) drawSubscription() string {
	return oneOf(p, "subscription", []string{"a", "b", "c"})
}

func (p *program) drawDestination() Destination {
	return oneOf(p, "destination", []Destination{
		Queue("q"), Queue("q"), Queue("r"), Queue("DLQ.q"), Queue("DLQ.q"), Queue("DLQ.t"), Topic("t"), Topic("t"),
	})
}

func (p *program) drawConsumer() *Consumer {
	return &Consumer{
		Ack:         AckMode(p.pick("ack", 3)),
		Prefetch:    p.pick("prefetch", 6),
		RejectNacks: p.pick("reject nacks", 4) == 0,
		ByMessageID: p.pick("by message id", 2) == 1,
	}
}

func (p *program) drawSend() Outgoing {
	p.sent++
	body := fmt.Sprint("m", p.sent, strings.Repeat("_", 50*p.pick("size", 4)))
	o := Outgoing{Destination: p.drawDestination(), Message: newMessage(body, p.pick("persistent", 4) > 0)}
	if p.pick("props", 3) == 0 {
		o.Message.Props = p.drawProps(o)
	}
	return o
}

// drawProps are those of a message. Copies of a topic have a priority only:
// scripts have the rest.
func (p *program) drawProps(o Outgoing) *Props {
	props := &Props{Priority: uint8(oneOf(p, "priority", []int{0, 3, 4, 4, 9}))}
	if o.Destination.Topic {
		return props
	}
	props.TTL = oneOf(p, "ttl", []int64{0, 0, 1, 15, 100})
	if !o.Message.Persistent && o.Destination != Queue("q") {
		return props // what order queues come in is up to the machine
	}
	props.Delay = oneOf(p, "delay", []int64{0, 0, 5, 40})
	props.Period = oneOf(p, "period", []int64{0, 0, 7})
	props.Repeat = int32(p.pick("repeat", 3))
	return props
}

// forModel is c with messages of its own: the machine resolves their Props.
func (c Command) forModel() Command {
	clone := func(msg *Message) *Message {
		if msg == nil {
			return nil
		}
		own := *msg
		return &own
	}
	more := *c.more()
	c.Message, c.More, more.Sends = clone(c.Message), &more, slices.Clone(more.Sends)
	for i := range more.Sends {
		more.Sends[i].Message = clone(more.Sends[i].Message)
	}
	return c
}

// drawSends are the sends of a transaction; now and then more than a chunk of
// a backlog holds.
func (p *program) drawSends(op Op) (sends []Outgoing) {
	if op == Abort {
		return nil
	}
	for range p.pick("sends", 4) {
		sends = append(sends, p.drawSend())
	}
	if len(sends) > 0 && p.pick("burst", 50) == 0 {
		for range chunkSlots {
			p.sent++
			sends = append(sends, Outgoing{Destination: sends[0].Destination, Message: newMessage(fmt.Sprint("m", p.sent), p.sent%3 > 0)})
		}
	}
	return sends
}

// drawDelivery chooses what an ACK or NACK is about: mostly a delivery of the
// session, now and then one that was settled long ago or never made.
func (p *program) drawDelivery(c *Command) {
	var subs []*modelSub
	for _, s := range p.w.allSubs() {
		if s.session.id == c.Session {
			subs = append(subs, s)
		}
	}
	written := c.Op == Sent || c.Op == Unreadable
	if !written && p.pick("in tx", 2) == 0 {
		c.saying().Tx = oneOf(p, "tx", []string{"x", "x", "x", "y"})
	}
	c.saying().Refusal.Reject = c.Op == Nack && p.pick("reject", 4) == 0
	if len(subs) == 0 || p.pick("wild", 20) == 0 {
		c.Delivery.Sub, c.Delivery.Tag = uint32(p.pick("sub", 5)), uint64(p.pick("tag", 10))
		if !written && p.pick("wild id", 2) == 1 {
			c.Delivery = DeliveryID{ByMessage: true, ID: MessageID{Seq: uint64(p.pick("seq", 60)), N: uint64(p.pick("n", 8))}}
		}
		return
	}
	s := oneOf(p, "of", subs)
	tag := s.lastTag - min(s.lastTag, uint64(p.pick("back", 6)))
	if written {
		c.Delivery = DeliveryID{Sub: s.number, Tag: tag}
		return
	}
	if s.consumer.ByMessageID && p.pick("by id", 2) == 1 {
		c.Delivery = DeliveryID{ByMessage: true, ID: s.byTag[tag]}
		if p.pick("name it", 2) == 1 {
			c.Subscription = s.id
		}
		return
	}
	c.Delivery = DeliveryID{Sub: s.number, Tag: tag}
}
