package destinations

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// ringsOf are rings that hold so many messages, of all queues.
func ringsOf(n int) *Policies {
	return NewPolicies([]Rule{{Match: Pattern{Queue(">")}, Set: func(p *Policy) { p.MaxMessages, p.OnFull = n, FullDropOldest }}})
}

// A transaction that bears no more than what makes place for its messages: of a
// long ring each message goes once.
func TestCommitIntoARing(t *testing.T) {
	t.Parallel()
	const ring, sends = 10_000, 20
	s := newStepper(t, Options{Policies: ringsOf(ring), MaxCommitBytes: ring*maxTakerBytes + sends*3*maxHeadBytes})
	for range ring {
		s.step(Command{Op: Send, Session: 1, Destination: Queue("q"), Message: newMessage("x", true)})
	}
	c := Command{Op: Commit, Session: 1, More: &More{Tx: "x"}}
	for range sends {
		c.saying().Sends = append(c.saying().Sends, Outgoing{Destination: Queue("q"), Message: newMessage("x", true)})
	}
	s.step(c)
	if got := s.out.Overflowed; got != sends {
		t.Errorf("%d messages were dropped, want %d", got, sends)
	}
}

// What a transaction with NACKs takes in the log is bounded with what the
// dead-letter queue drops for them, whose name is long.
func TestNacksFitIntoABatch(t *testing.T) {
	t.Parallel()
	const nacks = 50
	limit := int64(0)
	name := strings.Repeat("n", 200)
	nack := func() (size int64, err error) {
		s := newStepper(t, Options{Policies: ringsOf(1), MaxCommitBytes: limit})
		s.step(Command{Op: Subscribe, Session: 1, Subscription: "s", Destination: Queue(name), Consumer: &Consumer{Ack: AckIndividual, RejectNacks: true}})
		for i := range nacks {
			s.step(Command{Op: Send, Session: 2, Destination: Queue(name), Message: newMessage("x", true)})
			s.step(Command{Op: Nack, Session: 1, More: &More{Tx: "x"}, Delivery: DeliveryID{Sub: 1, Tag: uint64(i + 1)}})
		}
		return s.commitBatch()
	}
	size, err := nack()
	if err != nil || size == 0 {
		t.Fatalf("%d octets, %v", size, err)
	}
	limit = size - 1
	var refused *Error
	if _, err := nack(); !errors.As(err, &refused) || refused.Code != CodeTransactionTooBig {
		t.Errorf("a batch of %d octets may have %d: %v", size, limit, err)
	}
}

// commitBatch commits what session 1 did in the transaction x, and returns how many octets the log gets.
func (s *stepper) commitBatch() (size int64, err error) {
	s.out.Reset()
	err = s.m.Step(scriptTime, &Command{Op: Commit, Session: 1, More: &More{Tx: "x"}}, &s.out)
	for _, e := range s.out.Entries {
		size += int64(len(e.Head) + len(e.Body))
	}
	return size, err
}

// One NACK of a large message may make very many small ones go from a dead-letter
// queue that is bounded by octets: the bound of the batch counts them, each once.
func TestNackOfALargeMessage(t *testing.T) {
	t.Parallel()
	const ring, nacks = 15_000, 2
	nack := func(limit int64) (size int64, err error) {
		policies := NewPolicies([]Rule{{Match: Pattern{Queue("DLQ.q")}, Set: func(p *Policy) { p.MaxBytes, p.OnFull = 1<<20, FullDropOldest }}})
		s := newStepper(t, Options{Policies: policies, MaxCommitBytes: limit})
		s.step(Command{Op: Subscribe, Session: 1, Subscription: "s", Destination: Queue("q"), Consumer: &Consumer{Ack: AckIndividual, RejectNacks: true}})
		for range ring {
			s.step(Command{Op: Send, Session: 2, Destination: Queue("DLQ.q"), Message: newMessage("x", true)})
			s.step(Command{Op: Send, Session: 2, Destination: Queue("other"), Message: newMessage("x", true)})
		}
		for i := range nacks {
			s.step(Command{Op: Send, Session: 2, Destination: Queue("q"), Message: newMessage(strings.Repeat("x", 1<<20), true)})
			s.step(Command{Op: Nack, Session: 1, More: &More{Tx: "x"}, Delivery: DeliveryID{Sub: 1, Tag: uint64(i + 1)}})
		}
		return s.commitBatch()
	}
	size, err := nack(ring*maxTakerBytes + nacks*3*maxHeadBytes)
	if err != nil || size < ring {
		t.Fatalf("%d octets, %v", size, err)
	}
	var refused *Error
	if _, err := nack(size - 1); !errors.As(err, &refused) || refused.Code != CodeTransactionTooBig {
		t.Errorf("a batch of %d octets may have one less: %v", size, err)
	}
}

// A queue that is to be full is said to be so, whatever comes into it, and only
// then.
func TestFactsOfFullQueues(t *testing.T) {
	t.Parallel()
	for _, what := range []OnFull{FullPage, FullBlock, FullReject, FullDropOldest, FullDropNew} {
		s := newStepper(t, Options{Policies: NewPolicies([]Rule{{Match: Pattern{Queue("DLQ.q")}, Set: func(p *Policy) { p.MaxMessages, p.OnFull = 1, what }}})})
		s.step(Command{Op: Subscribe, Session: 9, Subscription: "r", Destination: Topic("$SYS.x")})
		s.step(Command{Op: Subscribe, Session: 1, Subscription: "s", Destination: Queue("q"), Consumer: &Consumer{Ack: AckIndividual, RejectNacks: true}})
		var got []Fact
		for i := range 2 {
			s.step(Command{Op: Send, Session: 2, Destination: Queue("q"), Message: newMessage("x", true)})
			s.step(Command{Op: Nack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: uint64(i + 1)}})
			for _, f := range s.out.Facts {
				if f.Kind != DestinationMade && f.Kind != DestinationGone {
					got = append(got, f)
				}
			}
		}
		want := []Fact{{Kind: DeadLettered, Destination: "/queue/q", Reason: ReasonRejected, Messages: 1}}
		full := Fact{Kind: QueueFull, Destination: "/queue/DLQ.q", Messages: 1}
		dropped := Fact{Kind: Dropped, Destination: "/queue/DLQ.q", Reason: DroppedFull, Messages: 1}
		switch what {
		case FullPage:
			want = append(want, want[0])
		case FullBlock, FullReject:
			want = append(want, full, want[0])
		case FullDropOldest:
			want = append(want, full, dropped, want[0])
		case FullDropNew:
			want = append(want, full, dropped)
		}
		if !slices.Equal(got, want) {
			t.Errorf("on full %d: got %v, want %v", what, got, want)
		}
	}
}

// A ring of one message that nobody consumes is the same queue all the time.
func TestRingStays(t *testing.T) {
	t.Parallel()
	s := newStepper(t, Options{Policies: ringsOf(1)})
	s.step(Command{Op: Subscribe, Session: 9, Subscription: "r", Destination: Topic("$SYS.x")})
	made, dropped := 0, 0
	for range 3 {
		s.step(Command{Op: Send, Session: 1, Destination: Queue("q"), Message: newMessage("x", true)})
		for _, f := range s.out.Facts {
			switch {
			case f.Kind == DestinationMade:
				made++
			case f.Kind == Dropped:
				dropped++
			case f.Kind == DestinationGone:
				t.Errorf("%s is gone", f.Destination)
			}
		}
	}
	if q := s.m.find("q"); made != 1 || dropped != 2 || q.consumers != 0 {
		t.Errorf("it was made %d times, dropped %d messages, and has %d consumers", made, dropped, q.consumers)
	}
}
