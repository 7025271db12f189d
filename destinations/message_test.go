package destinations

import "testing"

// A message counts only so many holders; there may be more subscribers of a
// topic, and what they hold is counted and given back all the same.
func TestMessageWithVeryManyHolders(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	const subscribers = 1<<16 + 3
	for session := range uint64(subscribers) {
		r.subscribe(session, Topic("t"), Consumer{Ack: AckIndividual})
	}
	before := r.m.Bytes()
	msg := newMessage("m", false)
	r.send(Topic("t"), msg)
	first := r.out.Outputs[0].Delivery.ID
	for _, o := range r.out.Outputs {
		if o.Delivery.ID != first || string(o.Delivery.Message.Content) != string(msg.Content) {
			t.Fatalf("a subscriber got %v, %q", o.Delivery.ID, o.Delivery.Message.Content)
		}
	}
	if n := len(r.out.Outputs); n != subscribers {
		t.Fatalf("%d of %d subscribers got the message", n, subscribers)
	}
	for session := range uint64(subscribers) {
		if r.m.Bytes() <= before {
			t.Fatalf("%d subscribers have the message, which is not counted", subscribers-session)
		}
		r.step(Command{Op: Ack, Session: session, Delivery: DeliveryID{Sub: 1, Tag: 1}})
	}
	if n := r.m.Bytes(); n != before {
		t.Errorf("%d octets are in memory when all have acknowledged, %d before", n, before)
	}
}

// One message for several topics: each subscriber sees the one that it listens
// to, whichever of them has a durable subscription.
func TestMessageForSeveralTopicsNamesEach(t *testing.T) {
	t.Parallel()
	for _, durable := range []string{"a", "b"} {
		r := newRig(t, Options{})
		r.subscribe(1, Topic("a"), Consumer{})
		r.subscribe(2, Topic("b"), Consumer{})
		r.subscribe(3, Topic(durable), Consumer{Durable: DurableID{"c", "d"}})
		for range 2 {
			r.step(Command{Op: Send, Session: 4, Destination: Topic("a"), More: &More{Also: []Destination{Topic("b")}}, Message: newMessage("m", true)})
			for _, o := range r.out.Outputs {
				want := map[uint64]Destination{1: Topic("a"), 2: Topic("b"), 3: Topic(durable)}[o.Session]
				if o.Delivery.Destination != want {
					t.Errorf("session %d, with /topic/%s durable: it comes from %v, want %v", o.Session, durable, o.Delivery.Destination, want)
				}
			}
			if n := len(r.out.Outputs); n != 3 {
				t.Errorf("%d deliveries, want 3", n)
			}
		}
	}
}
