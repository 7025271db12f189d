package destinations

import "testing"

// Whoever looks after the disk asks beforehand what will be stored.
func TestStores(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.subscribe(1, Topic("kept"), Consumer{Ack: AckClient, Durable: DurableID{Client: "c", Name: "d"}})
	later := &Props{Priority: DefaultPriority, Delay: 1000}
	for _, test := range []struct {
		name   string
		to     Destination
		props  *Props
		stored bool
	}{
		{"for a queue", Queue("q"), nil, true},
		{"for a topic that nobody keeps", Topic("t"), nil, false},
		{"for a durable subscription", Topic("kept"), nil, true},
		{"for a topic, later", Topic("t"), later, true},
		{"for a temporary queue", Temporary(Queue("q"), "token"), nil, false},
		{"for a temporary topic, later", Temporary(Topic("t"), "token"), later, false},
	} {
		msg := newMessage("m", true)
		msg.Props = test.props
		if got := r.m.Stores(Outgoing{Destination: test.to, Message: msg}); got != test.stored {
			t.Errorf("%s: stored is %v beforehand, want %v", test.name, got, test.stored)
		}
		r.send(test.to, msg)
		if got := len(r.out.Entries) > 0; got != test.stored {
			t.Errorf("%s: stored is %v, want %v", test.name, got, test.stored)
		}
	}
}
