package destinations

import (
	"fmt"
	"testing"
)

// A group that is to move is not forgotten, also when what its owner has of it is of
// an earlier group of its name: it moves when that is settled.
func TestMovingGroupIsNotForgotten(t *testing.T) {
	t.Parallel()
	s := newStepper(t, Options{Policies: NewPolicies([]Rule{{Match: Pattern{Queue(">")}, Set: func(p *Policy) { p.RebalanceGroups = true }}})})
	subscribe := func(session uint64) {
		s.step(Command{Op: Subscribe, Session: session, Subscription: "s", Destination: Queue("q"), Consumer: Consumer{Ack: AckIndividual}})
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
