package destinations

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// drip carries out Ticks until nothing is due, and returns what each of them did:
// messages that came, expired or were given back.
func drip(t *testing.T, m *Machine, now time.Time) (work []int, bodies []string) {
	t.Helper()
	for {
		next, ok := m.NextTick()
		if !ok || next.After(now) {
			return work, bodies
		}
		var out Effects
		if err := m.Step(now, &Command{Op: Tick}, &out); err != nil {
			t.Fatal(err)
		}
		came := 0
		for _, o := range out.Outputs {
			if o.Kind == Deliver {
				came++
				bodies = append(bodies, bodyText(o.Delivery.Message))
			}
		}
		work = append(work, came+out.Expired)
		if len(work) > 100 {
			t.Fatalf("the Ticks do not end: %v", work)
		}
	}
}

// When very much is due at once, a Tick does a part of it, and the next goes on at
// once where it ended: nothing is late behind what was due later, or lost.
func TestTicksAreBounded(t *testing.T) {
	t.Parallel()
	const each = tickWork*3/2 + 1
	for _, persistent := range []bool{true, false} {
		s := newStepper(t, Options{Prefetch: 65_535})
		var want []string
		send := func(d Destination, p Props, body string) {
			msg := newMessage(body, persistent)
			msg.Props = &p
			s.step(Command{Op: Send, Session: 2, Destination: d, Message: msg})
		}
		for i, name := range []string{"a", "b"} {
			s.step(Command{Op: Subscribe, Session: 1, Subscription: name, Destination: Queue(name), Consumer: &Consumer{Ack: AckIndividual}})
			for n := range each {
				body := fmt.Sprintf("%s%d", name, n)
				send(Queue(name), Props{Priority: 4, Delay: int64(1000 + i)}, body)
				want = append(want, body)
			}
		}
		for range each {
			send(Queue("c"), Props{Priority: 4, TTL: 1002}, "expires")
		}
		work, bodies := drip(t, s.m, scriptTime.Add(time.Hour))
		if !slices.Equal(bodies, want) {
			t.Errorf("%d messages came, want %d, those of the first queue first, in their order", len(bodies), len(want))
		}
		total := 0
		for _, n := range work {
			if total += n; n > tickWork || n == 0 {
				t.Errorf("a Tick does %d of %v", n, work)
			}
		}
		if total != 3*each || len(work) > 3*each/tickWork+1 {
			t.Errorf("Ticks do %v, want %d in all", work, 3*each)
		}
		if got := s.m.Stats().Messages; got != 2*each {
			t.Errorf("%d messages are left, want the %d that consumers have", got, 2*each)
		}
	}
}

// A Tick unpacks no more of a backlog than it works on.
func TestExpiryUnpacksOnlyWhatItTakes(t *testing.T) {
	t.Parallel()
	s := newStepper(t, Options{MemoryBytes: 4096})
	const messages = 20 * tickWork
	for range messages {
		msg := newMessage("expires", true)
		msg.Props = &Props{Priority: 4, TTL: 1000}
		s.step(Command{Op: Send, Session: 2, Destination: Queue("q"), Message: msg})
	}
	var out Effects
	if err := s.m.Step(scriptTime.Add(time.Minute), &Command{Op: Tick}, &out); err != nil || out.Expired > tickWork || out.Expired < tickWork/2 {
		t.Fatalf("%d have expired, %v", out.Expired, err)
	}
	unpacked := 0
	for _, c := range s.m.find("q").levels[0].chunks {
		if c.live > 0 && !c.packed() {
			unpacked += len(c.slots)
		}
	}
	if unpacked > 3*chunkSlots {
		t.Errorf("%d slots are unpacked", unpacked)
	}
	drip(t, s.m, scriptTime.Add(time.Minute))
	if got := s.m.Stats().Messages; got != 0 {
		t.Errorf("%d messages are left", got)
	}
}

// What has gone does not wait on for a redelivery that is far away.
func TestWaitsOfWhatHasGone(t *testing.T) {
	t.Parallel()
	s := newStepper(t, Options{})
	s.step(Command{Op: Subscribe, Session: 1, Subscription: "s", Destination: Queue("q"), Consumer: &Consumer{Ack: AckIndividual}})
	now, tag := scriptTime, uint64(0)
	step := func(c Command) {
		t.Helper()
		s.out.Reset()
		if err := s.m.Step(now, &c, &s.out); err != nil {
			t.Fatal(err)
		}
	}
	send := func(body string, ttl int64) {
		msg := newMessage(body, true)
		msg.Props = &Props{Priority: 4, TTL: ttl}
		step(Command{Op: Send, Session: 2, Destination: Queue("q"), Message: msg})
	}
	refuse := func(delay time.Duration) {
		tag++
		step(Command{Op: Nack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: tag}, More: &More{Refusal: Refusal{Delay: delay}}})
	}
	send("stays", 0)
	refuse(2 * time.Hour)
	for range 10 * fewWaits {
		send("goes", 5)
		refuse(time.Hour)
		now = now.Add(10 * time.Millisecond)
		step(Command{Op: Tick})
	}
	q := s.m.find("q")
	if q.live != 1 || len(q.waits) > 2*q.live+fewWaits {
		t.Errorf("%d messages are left and %d wait", q.live, len(q.waits))
	}
	if _, bodies := drip(t, s.m, now.Add(3*time.Hour)); !slices.Equal(bodies, []string{"stays"}) {
		t.Errorf("delivered again are %q", bodies)
	}
}
