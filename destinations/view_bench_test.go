package destinations

import (
	"fmt"
	"testing"

	"baton/destinations/selector"
)

// BenchmarkSelectorDeepBacklog finds 1 in 10,000 of a million messages: the time to
// the first match, and to all of them.
func BenchmarkSelectorDeepBacklog(b *testing.B) {
	const messages, every = 1_000_000, 10_000
	sel, err := selector.Parse("n = 9999")
	if err != nil {
		b.Fatal(err)
	}
	r := newRig(b, Options{MemoryBytes: 1 << 40, Fields: bodyFields})
	for i := range messages {
		r.send(Queue("q"), newMessage(fmt.Sprintf("n:%d", i%every), true))
	}
	b.ResetTimer()
	for session := uint64(1); b.Loop(); session++ {
		began := b.Elapsed()
		found := 0
		r.step(Command{Op: Subscribe, Session: session, Subscription: "s", Destination: Queue("q"),
			Consumer: &Consumer{Ack: AckIndividual, Prefetch: messages, Selector: sel}})
		for done := false; !done; {
			done = true
			var next Command
			for _, o := range r.out.Outputs {
				switch o.Kind {
				case Deliver:
					if found++; found == 1 {
						b.ReportMetric(float64((b.Elapsed()-began).Microseconds())/1000, "ms/first")
					}
				case Examine:
					done, next = false, Command{Op: Examined, More: &More{Examination: o.Examination}}
				}
			}
			if !done {
				r.step(next)
			}
		}
		if found != messages/every {
			b.Fatalf("found %d", found)
		}
		r.step(Command{Op: Disconnect, Session: session, Clean: true})
	}
}

// BenchmarkWildcardSubscriptions sends to a topic while so many subscriptions have
// wildcards, one of which matches.
func BenchmarkWildcardSubscriptions(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := newRig(b, Options{MaxSubscriptions: 1 << 20})
			for i := range n {
				r.step(Command{Op: Subscribe, Session: 1, Subscription: fmt.Sprint(i),
					More:     &More{Sources: []Pattern{{Topic(fmt.Sprintf("prices.%d.*", i))}}},
					Consumer: &Consumer{Ack: AckAuto}})
			}
			msg := func() *Message { return newMessage("x", false) }
			tag := uint64(0)
			for b.Loop() {
				r.send(Topic("prices.0.gold"), msg())
				tag++
				r.step(Command{Op: Sent, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: tag}})
			}
		})
	}
}
