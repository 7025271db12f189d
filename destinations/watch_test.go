package destinations

import (
	"fmt"
	"testing"
)

// A consumer with a wildcard that has no credit keeps nothing of queues that
// have come and gone.
func TestQueuesComeAndGoWithoutCredit(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.step(Command{Op: Subscribe, Session: 1, Subscription: "all", More: &More{Sources: []Pattern{{Queue("a.>")}}}, Consumer: &Consumer{Ack: AckIndividual, Prefetch: 1}})
	r.send(Queue("a.first"), newMessage("kept", true))
	for i := range 1000 {
		r.subscribe(2, Queue(fmt.Sprint("a.", i)), Consumer{})
		r.step(Command{Op: Unsubscribe, Session: 2, Subscription: "s"})
	}
	s := r.m.sessions[1].named("all")
	if len(s.sources) != 1 || len(s.idle) > 2 {
		t.Errorf("of 1 queue it has %d sources, of which %d idle", len(s.sources), len(s.idle))
	}
	r.subscribe(2, Queue("a.last"), Consumer{})
	r.step(Command{Op: Unsubscribe, Session: 2, Subscription: "s"})
	r.send(Queue("a.second"), newMessage("later", true))
	r.ack(1)
	if n := len(r.out.Outputs); n != 1 {
		t.Errorf("with credit again it gets %d messages", n)
	}
}
