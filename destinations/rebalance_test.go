package destinations

import (
	"fmt"
	"testing"
)

// BenchmarkRebalance has a consumer come to a queue with 30,000 groups, of which
// another one owns all and has a message of 4,000 in flight.
func BenchmarkRebalance(b *testing.B) {
	const groups, flying = 30_000, 4_000
	policies := NewPolicies([]Rule{{Match: Pattern{Queue(">")}, Set: func(p *Policy) { p.RebalanceGroups = true }}})
	for b.Loop() {
		b.StopTimer()
		r := newRig(b, Options{Policies: policies})
		r.subscribe(1, Queue("q"), Consumer{Ack: AckIndividual, Prefetch: flying})
		for n := range groups {
			msg := newMessage("m", false)
			msg.Props = &Props{Priority: DefaultPriority, Group: fmt.Sprint(n)}
			r.send(Queue("q"), msg)
			if n < groups-flying {
				r.step(Command{Op: Ack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: uint64(n + 1)}})
			}
		}
		b.StartTimer()
		r.subscribe(2, Queue("q"), Consumer{Ack: AckIndividual})
		b.StopTimer()
		if n := r.m.find("q").members.places[1].groups.len(); n != groups/2 {
			b.Fatalf("%d groups have moved, want %d", n, groups/2)
		}
		b.StartTimer()
	}
}
