package destinations

import "testing"

// What expires while its queue is dispatched is at once with who waits for it in
// the expiry queue.
func TestExpiredOnTheWayIsDispatched(t *testing.T) {
	t.Parallel()
	toExpired := func(p *Policy) { p.ExpiryQueue = Queue("expired") }
	r := newRig(t, Options{Policies: NewPolicies([]Rule{{Match: Pattern{Queue("q")}, Set: toExpired}})})
	msg := newMessage("late", true)
	msg.Props = &Props{Priority: DefaultPriority, Expires: scriptTime.UnixMilli() - 1}
	r.send(Queue("q"), msg)
	r.subscribe(1, Queue("expired"), Consumer{})
	r.subscribe(2, Queue("q"), Consumer{})
	if n := len(r.out.Outputs); n != 1 || r.out.Outputs[0].Session != 1 || r.out.Outputs[0].Delivery.Dead == nil {
		t.Errorf("the consumer of the expiry queue gets %+v", r.out.Outputs)
	}
}
