package destinations

import (
	"strings"
	"testing"
	"time"
)

// What a session has sent to come later is not for its subscription with no-local,
// also when very many wait whose contents are only in the log, but it is after a
// restart from a checkpoint, when the session of that number is another.
func TestNoLocalOfWhatOnlyTheLogHas(t *testing.T) {
	t.Parallel()
	const messages = 3 * chunkSlots
	o := Options{MemoryBytes: 40_000, Prefetch: messages}
	s := newStepper(t, o)
	for _, session := range []uint64{1, 2} {
		s.step(Command{Op: Subscribe, Session: session, Subscription: "s", Destination: Topic("t"), Consumer: &Consumer{NoLocal: true}})
	}
	var log []Entry
	for range messages {
		msg := newMessage(strings.Repeat("x", 1000), true)
		msg.Props = &Props{Priority: DefaultPriority, Delay: 1000}
		s.step(Command{Op: Send, Session: 1, Destination: Topic("t"), Message: msg})
		log = append(log, s.out.Entries...)
	}
	parts, _ := capture(s.m)
	if got := comeLater(t, s.m, log); got[1] != 0 || got[2] != messages {
		t.Errorf("session 1, which sent them, got %d of %d messages, session 2 %d", got[1], messages, got[2])
	}
	m := restored(t, o, parts)
	resume(t, m, log[len(log)-1].Seq)
	s = &stepper{T: t, m: m}
	s.step(Command{Op: Start})
	s.step(Command{Op: Subscribe, Session: 1, Subscription: "s", Destination: Topic("t"), Consumer: &Consumer{NoLocal: true}})
	if got := comeLater(t, m, log); got[1] != messages {
		t.Errorf("a session 1 that sent none got %d of %d messages", got[1], messages)
	}
}

// comeLater lets all that waits come, and counts what each session gets.
func comeLater(t *testing.T, m *Machine, log []Entry) map[uint64]int {
	t.Helper()
	got := map[uint64]int{}
	now := scriptTime.Add(time.Hour)
	var step func(c Command)
	step = func(c Command) {
		var out Effects
		if err := m.Step(now, &c, &out); err != nil {
			t.Fatal(err)
		}
		for _, o := range out.Outputs {
			switch o.Kind {
			case Deliver:
				got[o.Session]++
				step(Command{Op: Sent, Session: o.Session, Delivery: DeliveryID{Sub: o.Delivery.Sub, Tag: o.Delivery.Tag}})
			case Examine:
				o.Examination.Messages = contents(t, log, o.Examination)
				step(Command{Op: Examined, More: &More{Examination: o.Examination}})
			}
		}
	}
	tickAll(m, now, step)
	return got
}

// A client-id of any length can be stored with what a topic keeps, or publishes
// later: one that is too long for a durable subscription is left out.
func TestLongClientIDs(t *testing.T) {
	t.Parallel()
	for _, props := range []*Props{nil, {Priority: DefaultPriority, Delay: 1000}} {
		o := Options{Policies: NewPolicies([]Rule{{Match: Pattern{Topic(">")}, Set: func(p *Policy) { p.Keep.Messages = 1 }}})}
		s := newStepper(t, o)
		msg := newMessage("x", true)
		msg.Props = props
		s.step(Command{Op: Send, Session: 1, Destination: Topic("t"), Message: msg, More: &More{Client: strings.Repeat("c", 5000)}})
		if len(s.out.Entries) != 1 {
			t.Fatalf("there are %d entries", len(s.out.Entries))
		}
		replayed(t, o, s.out.Entries)
	}
}
