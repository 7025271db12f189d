package destinations

import (
	"strings"
	"testing"
	"time"
)

// Copies of one message for several topics are told apart, so that each comes
// again when its time has come.
func TestCopiesOfSeveralTopicsReturn(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.subscribe(1, Topic("b"), Consumer{Durable: DurableID{Client: "c", Name: "n"}})
	r.step(Command{Op: Subscribe, Session: 2, Subscription: "s", More: &More{Sources: []Pattern{{Topic("a")}, {Topic("b")}}}, Consumer: &Consumer{Ack: AckIndividual}})
	r.step(Command{Op: Send, Session: 3, Destination: Topic("a"), More: &More{Also: []Destination{Topic("b")}}, Message: newMessage("both", true)})
	for tag := range uint64(2) {
		r.step(Command{Op: Nack, Session: 2, More: &More{Refusal: Refusal{Delay: time.Second}}, Delivery: DeliveryID{Sub: 1, Tag: tag + 1}})
	}
	r.out.Reset()
	if err := r.m.Step(scriptTime.Add(time.Second), &Command{Op: Tick}, &r.out); err != nil {
		t.Fatal(err)
	}
	if n := len(r.out.Outputs); n != 2 {
		t.Errorf("%d of 2 come again", n)
	}
}

// A message that is not stored and is in several queues is a dead letter of each
// that has it refused.
func TestDeadLettersOfSeveralQueues(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.step(Command{Op: Send, Session: 1, Destination: Queue("a"), More: &More{Also: []Destination{Queue("b")}}, Message: newMessage("both", false)})
	for session, name := range map[uint64]string{1: "a", 2: "b"} {
		r.subscribe(session, Queue(name), Consumer{Ack: AckIndividual})
		r.step(Command{Op: Nack, Session: session, More: &More{Refusal: Refusal{Reject: true}}, Delivery: DeliveryID{Sub: 1, Tag: 1}})
		if q := r.m.find("DLQ." + name); q == nil || q.ready != 1 {
			t.Errorf("the dead letter of %s is not there", name)
		}
	}
}

// A message for several destinations may need an entry for each, all in one batch
// of the log.
func TestCompositeFitsIntoOneBatch(t *testing.T) {
	t.Parallel()
	const most = 10_000
	r := newRig(t, Options{MaxCommitBytes: most})
	c := Command{Op: Send, Session: 1, Destination: Queue("a"), More: &More{Also: []Destination{Queue("b")}}}
	c.Message = newMessage(strings.Repeat("x", most/2), true)
	c.Message.Props = &Props{Priority: DefaultPriority, Delay: 1000}
	var out Effects
	if err, ok := r.m.Step(scriptTime, &c, &out).(*Error); !ok || err.Code != CodeTransactionTooBig {
		t.Errorf("the error is %v, and logged are %d entries", err, len(out.Entries))
	}
	c.Message = newMessage("small", true)
	r.step(c)
	if n := len(r.out.Entries); n != 1 {
		t.Errorf("a small one makes %d entries", n)
	}
}
