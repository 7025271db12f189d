package destinations

import (
	"fmt"
	"testing"
	"time"
)

// A group that is to move is not forgotten, also when what its owner has of it is of
// an earlier group of its name: it moves when that is settled.
func TestMovingGroupIsNotForgotten(t *testing.T) {
	t.Parallel()
	s := newStepper(t, Options{Policies: NewPolicies([]Rule{{Match: Pattern{Queue(">")}, Set: func(p *Policy) { p.RebalanceGroups = true }}})})
	subscribe := func(session uint64) {
		s.step(Command{Op: Subscribe, Session: session, Subscription: "s", Destination: Queue("q"), Consumer: &Consumer{Ack: AckIndividual}})
	}
	send := func(group string, seq int32) {
		msg := newMessage("m", false)
		msg.Props = &Props{Priority: DefaultPriority, Group: group, GroupSeq: seq}
		s.step(Command{Op: Send, Session: 9, Destination: Queue("q"), Message: msg})
	}
	tag := uint64(0)
	ack := func() {
		tag++
		s.step(Command{Op: Ack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: tag}})
	}
	subscribe(1)
	send("x", -1)
	tag++ // stays in flight while the next group of this name begins
	send("x", 0)
	ack()
	for n := range manyGroups - 2 {
		send(fmt.Sprint(n), 0)
		ack()
	}
	subscribe(2)
	q := s.m.find("q")
	a, b := q.members.places[0], q.members.places[1]
	if a.going != 1 || b.coming != 1 {
		t.Fatalf("%d groups go and %d come, want the one that is not idle", a.going, b.coming)
	}
	send("last", 0)
	send("new", 0) // the others are forgotten
	g := q.groups["x"]
	if len(q.groups) > 5 || g == nil || g.next != b {
		t.Fatalf("of %d groups, x is %+v", len(q.groups), g)
	}
	s.step(Command{Op: Ack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: 1}})
	if g.owner != b || a.going != 0 || b.coming != 0 {
		t.Errorf("when all is settled, %d groups go and %d come", a.going, b.coming)
	}
}

// What waits for the owner of its group counts as docs/policies.md says, and no more when it
// waits for everybody again.
func TestWaitingForOwnerCounts(t *testing.T) {
	t.Parallel()
	const messages, each = 1000, 48
	r := newRig(t, Options{})
	for range messages {
		msg := newMessage("m", true)
		msg.Props = &Props{Priority: DefaultPriority, Group: "x"}
		r.send(Queue("q"), msg)
	}
	r.subscribe(1, Queue("q"), Consumer{Ack: AckIndividual, Prefetch: 1})
	before := r.m.Bytes()
	r.subscribe(2, Queue("q"), Consumer{Ack: AckIndividual, Prefetch: 1})
	if got := r.m.Bytes() - before; got != (messages-1)*each {
		t.Errorf("%d octets are counted for those that wait, want %d each", got, each)
	}
	r.step(Command{Op: Disconnect, Session: 2, Clean: true})
	r.step(Command{Op: Disconnect, Session: 1, Clean: true})
	if got := r.m.Bytes(); got > before {
		t.Errorf("%d octets are counted when nobody is left, %d before", got, before)
	}
}

// BenchmarkGoOn has 40,000 messages wait behind one of their group that is to be
// delivered again, in front of 80,000 that are parked for the same owner: then its
// time comes, and they go on in one Step.
func BenchmarkGoOn(b *testing.B) {
	const messages = 160_000
	for b.Loop() {
		b.StopTimer()
		r := newRig(b, Options{})
		for i := range messages {
			msg := newMessage("m", false)
			msg.Props = &Props{Priority: DefaultPriority, Group: "xy"[i%2 : i%2+1]}
			r.send(Queue("q"), msg)
		}
		r.subscribe(1, Queue("q"), Consumer{Ack: AckIndividual, Prefetch: 2})
		r.subscribe(2, Queue("q"), Consumer{Ack: AckIndividual, Prefetch: 2})
		r.step(Command{Op: Nack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: 1}, More: &More{Refusal: Refusal{Delay: time.Minute}}})
		for tag := range uint64(messages / 4) {
			r.ack(tag + 2) // of y: what of x is between them comes to be behind
		}
		if g := r.m.find("q").groups["x"]; g.behind.len() < messages/4 {
			b.Fatalf("%d are behind", g.behind.len())
		}
		b.StartTimer()
		r.out.Reset()
		if err := r.m.Step(scriptTime.Add(2*time.Minute), &Command{Op: Tick}, &r.out); err != nil {
			b.Fatal(err)
		}
	}
}
