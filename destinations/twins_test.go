package destinations

import (
	"fmt"
	"strings"
	"testing"
)

// stepper steps a machine that has been started, and keeps what the last Step gave.
type stepper struct {
	*testing.T
	m   *Machine
	out Effects
}

func newStepper(t *testing.T, o Options) *stepper {
	s := &stepper{T: t, m: New(o)}
	s.step(Command{Op: Start})
	return s
}

func (s *stepper) step(c Command) {
	s.Helper()
	s.out.Reset()
	if err := s.m.Step(scriptTime, &c, &s.out); err != nil {
		s.Fatalf("%+v: %v", c, err)
	}
}

// TestCopiesWithOneMessageID consumes two queues with one subscription that acknowledges by message id, and gets a composite
// message from both.
func TestCopiesWithOneMessageID(t *testing.T) {
	t.Parallel()
	s := newStepper(t, Options{})
	s.step(Command{Op: Subscribe, Session: 1, Subscription: "s", More: &More{Sources: []Pattern{{Queue("a")}, {Queue("b")}}},
		Consumer: &Consumer{Ack: AckIndividual, ByMessageID: true}})
	for range 3 {
		s.step(Command{Op: Send, Session: 2, Destination: Queue("a"), More: &More{Also: []Destination{Queue("b")}}, Message: newMessage("x", true)})
		var ids []MessageID
		for _, o := range s.out.Outputs {
			ids = append(ids, o.Delivery.ID)
		}
		for left := len(ids) - 1; left >= 0; left-- {
			s.step(Command{Op: Ack, Session: 1, Delivery: DeliveryID{ByMessage: true, ID: ids[left]}})
			if n := s.m.Stats().Messages; n != left || len(ids) != 2 {
				t.Errorf("ids %v: %d messages are left, want %d", ids, n, left)
			}
		}
	}
}

// TestFullQueueDropsTheLeast has messages of several priorities in a queue that drops the oldest.
func TestFullQueueDropsTheLeast(t *testing.T) {
	t.Parallel()
	s := newStepper(t, Options{Policies: NewPolicies([]Rule{{
		Match: Pattern{Queue("q")}, Set: func(p *Policy) { p.MaxMessages, p.OnFull = 2, FullDropOldest },
	}})})
	for _, priority := range []uint8{9, 0, 4} {
		msg := newMessage("x", true)
		msg.Props = &Props{Priority: priority}
		s.step(Command{Op: Send, Session: 2, Destination: Queue("q"), Message: msg})
	}
	var left []uint8
	s.m.find("q").each(func(at ref) bool { left = append(left, uint8(at.c.priority)); return true })
	if fmt.Sprint(left) != "[9 4]" {
		t.Errorf("priorities %v are left", left)
	}
}

// TestCommitFitsIntoABatch commits sends that each make place in many durable subscriptions.
func TestCommitFitsIntoABatch(t *testing.T) {
	t.Parallel()
	s := newStepper(t, Options{Policies: NewPolicies([]Rule{{
		Match: Pattern{Topic("t")}, Set: func(p *Policy) { p.Durable.Messages = 1 },
	}})})
	client := strings.Repeat("c", 480)
	for i := range 50 {
		s.step(Command{Op: Subscribe, Session: 1, Subscription: "d", Destination: Topic("t"),
			Consumer: &Consumer{Durable: DurableID{client, fmt.Sprint("n", i)}}})
		s.step(Command{Op: Unsubscribe, Session: 1, Subscription: "d"})
	}
	c := Command{Op: Commit, Session: 2, More: &More{Tx: "x"}}
	var bound, size int64
	for range 100 {
		c.saying().Sends = append(c.saying().Sends, Outgoing{Destination: Topic("t"), Message: newMessage("x", true)})
		bound += s.m.logBytes(&c.saying().Sends[len(c.saying().Sends)-1], nil)
	}
	s.step(c)
	for _, e := range s.out.Entries {
		size += int64(len(e.Head) + len(e.Body))
	}
	if size > bound || bound > 100*size {
		t.Errorf("%d entries take %d octets, bounded by %d", len(s.out.Entries), size, bound)
	}
}

func TestCronThatNeverComesIsRefused(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{"0 0 30 2 *": false, "0 0 29 2 *": true, "*/5 * * * *": true, "nonsense": false} {
		if err := CheckCron(text); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}
