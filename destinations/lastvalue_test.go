package destinations

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// lastValueOptions are those of a machine in which all is last-value.
func lastValueOptions() Options {
	var rules []Rule
	for _, d := range []Destination{Queue(">"), Topic(">")} {
		rules = append(rules, Rule{Match: Pattern{d}, Set: func(p *Policy) { p.LastValue = true }})
	}
	return Options{Policies: NewPolicies(rules)}
}

func keyed(body, key string, persistent bool) *Message {
	msg := newMessage(body, persistent)
	msg.Props = &Props{Priority: DefaultPriority, Key: key}
	return msg
}

// The log has a message and the end of the one before it, or neither; the end is
// not bound to what others sent.
func TestLastValueIsJoined(t *testing.T) {
	t.Parallel()
	m, now := New(lastValueOptions()), scriptTime
	step := func(c Command) (joined []bool) {
		t.Helper()
		var out Effects
		if err := m.Step(now, &c, &out); err != nil {
			t.Fatal(err)
		}
		for _, e := range out.Entries {
			joined = append(joined, e.Joined)
		}
		return joined
	}
	step(Command{Op: Start})
	for i, want := range []struct {
		persistent bool
		joined     []bool
	}{{true, []bool{false}}, {true, []bool{false, true}}, {false, []bool{false}}, {true, []bool{false}}} {
		got := step(Command{Op: Send, Session: 1, Destination: Queue("q"), Message: keyed("x", "k", want.persistent)})
		if fmt.Sprint(got) != fmt.Sprint(want.joined) {
			t.Errorf("message %d: joined %v, want %v", i, got, want.joined)
		}
	}
}

// Whatever consumers do, at most one message of a key waits, a replay finds the
// same, and in the end nothing is left, nor counted.
func TestLastValueAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 25))
		o := lastValueOptions()
		m, now := New(o), scriptTime
		var log []Entry
		step := func(c Command) {
			var out Effects
			_ = m.Step(now, &c, &out) // an acknowledgement of something that is gone is refused
			for _, e := range out.Entries {
				log = append(log, readBack(e))
			}
		}
		step(Command{Op: Start})
		for i := range 100 {
			now = now.Add(time.Second)
			session := 1 + random.Uint64N(2)
			delivery := DeliveryID{Sub: 1, Tag: 1 + random.Uint64N(20)}
			switch random.IntN(8) {
			case 0, 1, 2, 3:
				key := fmt.Sprint("k", random.IntN(3))
				msg := keyed(fmt.Sprint(i), key, random.IntN(4) > 0)
				msg.Props.Priority = uint8(4 + random.IntN(2))
				step(Command{Op: Send, Session: 9, Destination: Queue("q"), Message: msg})
			case 4:
				step(Command{Op: Subscribe, Session: session, Subscription: "s", Destination: Queue("q"),
					Consumer: &Consumer{Ack: AckIndividual, Prefetch: 1 + random.IntN(2)}})
			case 5:
				step(Command{Op: Ack, Session: session, Delivery: delivery})
			case 6:
				step(Command{Op: Nack, Session: session, Delivery: delivery})
			case 7:
				step(Command{Op: Disconnect, Session: session, Clean: true})
			}
			wantNewest(t, seed, m)
		}
		step(Command{Op: Disconnect, Session: 1, Clean: true})
		step(Command{Op: Disconnect, Session: 2, Clean: true})
		step(Command{Op: Subscribe, Session: 3, Subscription: "s", Destination: Queue("q"), Consumer: &Consumer{Ack: AckClient, Prefetch: 1000}})
		wantNewest(t, seed, m)
		step(Command{Op: Ack, Session: 3, Delivery: DeliveryID{Sub: 1, Tag: m.sessions[3].subs[0].flights.last()}})
		step(Command{Op: Disconnect, Session: 3, Clean: true})
		if m.Bytes() != 0 || len(m.superseded) != 0 {
			t.Fatalf("seed %d: %d octets are counted, and %d are superseded, when all is gone", seed, m.Bytes(), len(m.superseded))
		}
		if again := replayed(t, o, log); describe(again) != describe(m) {
			t.Fatalf("seed %d: a replay has %s", seed, describe(again))
		}
	}
}

// wantNewest checks that of no key more than one message waits for a consumer,
// unless it was given back and nobody has come for it.
func wantNewest(t *testing.T, seed uint64, m *Machine) {
	t.Helper()
	q := m.queues["q"]
	if q == nil {
		return
	}
	newest := map[string]place{}
	q.each(func(at ref) bool {
		if key, p := at.props().Key, placeOf(at); newest[key].older(p) {
			newest[key] = p
		}
		return true
	})
	q.each(func(at ref) bool {
		s := at.slot()
		if key := at.props().Key; s.state == slotReady && !s.returned() && placeOf(at).older(newest[key]) {
			t.Fatalf("seed %d: an older message of %s waits", seed, key)
		}
		return true
	})
}
