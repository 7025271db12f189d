package destinations

import (
	"fmt"
	"testing"
	"time"
)

// Queues of virtual topics stay, so a flood of SUBSCRIBEs that name new ones meets
// the limit of memory.
func TestVirtualTopicsMeetTheLimitOfMemory(t *testing.T) {
	t.Parallel()
	const most = 20
	r := newRig(t, Options{MemoryBytes: most * queueBytes})
	subscribe := func(i int, c Command) error {
		var out Effects
		c.Op, c.Session, c.Subscription = Subscribe, 1, fmt.Sprint(i)
		return r.m.Step(scriptTime, &c, &out)
	}
	for i := range most {
		name := fmt.Sprintf("Consumer.C%d.VirtualTopic.X", i)
		if err := subscribe(i, Command{Destination: Queue(name)}); err != nil {
			t.Fatalf("queue %d is refused: %v", i, err)
		}
		r.step(Command{Op: Unsubscribe, Session: 1, Subscription: fmt.Sprint(i)})
	}
	more := Queue("Consumer.D.VirtualTopic.X")
	for _, c := range []Command{{Destination: more}, {More: &More{Sources: []Pattern{{Topic("t")}, {more}}}}} {
		err, ok := subscribe(most, c).(*Error)
		if !ok || err.Code != CodeMemoryFull || r.m.find(more.Name) != nil {
			t.Errorf("one more gives the error %v", err)
		}
	}
	if err := subscribe(most, Command{Destination: Queue("Consumer.C0.VirtualTopic.X")}); err != nil {
		t.Errorf("one that is there is refused: %v", err)
	}
}

// A standby lets no queue go by the clock: it has none.
func TestStandbyHasNoTimerForAnIdleQueue(t *testing.T) {
	t.Parallel()
	o := Options{Policies: NewPolicies([]Rule{{Match: Pattern{Queue(">")}, Set: func(p *Policy) { p.GCAfter = time.Hour }}})}
	s, standby := newStepper(t, o), New(o)
	for _, c := range []Command{
		{Op: Subscribe, Session: 1, Subscription: "s", Destination: Queue("Consumer.A.VirtualTopic.t"), Consumer: &Consumer{Ack: AckIndividual}},
		{Op: Send, Session: 2, Destination: Topic("VirtualTopic.t"), Message: newMessage("x", true)},
		{Op: Ack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: 1}},
	} {
		s.step(c)
		for _, e := range s.out.Entries {
			if err := standby.Replay(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if at, ok := standby.NextTick(); ok {
		t.Errorf("a standby is to tick at %s", at)
	}
	if q := standby.find("Consumer.A.VirtualTopic.t"); q == nil || !q.unneeded() {
		t.Errorf("the standby's queue is %+v, want one that is idle", q)
	}
}
