package network

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"baton/destinations"
)

// A stage is one exchange, whose peer b is played by the test.
type stage struct {
	t   *testing.T
	x   *exchange
	now time.Time
	out actions
	tag uint64
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, now: time.Unix(1_800_000_000, 0), x: newExchange(Settings{Member: "a", Life: "0", Incarnation: "1"}.WithDefaults())}
	s.x.begin(s.now, &s.out)
	s.receipt(tagReady)
	return s
}

func (s *stage) receipt(id string) {
	s.x.takes(s.now, &destinations.Output{Kind: destinations.Receipt, ReceiptID: id}, &s.out)
}

// hears has a frame of b come.
func (s *stage) hears(f frame) {
	f.From, f.Incarnation = "b", "1"
	s.x.hears(s.now, &f, &s.out)
}

func (s *stage) passes(d time.Duration) {
	s.now = s.now.Add(d)
	s.x.tick(s.now, &s.out)
}

// wanted has a consumer of queue q be at b.
func (s *stage) wanted() {
	s.hears(frame{Kind: frameDemand, Version: 1, Full: true, Done: true, Demand: []demand{{Queue: "q", Consumers: 1, Window: 10, Free: 10}}})
}

// offers has messages of ten octets be offered to b, and says what the transfer is called.
func (s *stage) offers(messages int) string {
	l := s.x.peers["b"].demands["q"]
	for range messages {
		s.tag++
		s.x.takes(s.now, &destinations.Output{Kind: destinations.Deliver, Delivery: destinations.Delivery{
			Label: &destinations.Label{Subscription: l.id, Sub: 7, Destination: destinations.Queue("q")}, Tag: s.tag, Deliveries: 1,
			Message: &destinations.Message{Content: []byte("k:v\n\n12345"), HeaderBytes: 4},
		}}, &s.out)
	}
	s.x.flush(s.now, &s.out)
	for name, t := range s.x.sent {
		if t.state == offered {
			return name
		}
	}
	s.t.Fatal("nothing is offered")
	return ""
}

// decides has the decision of a transfer be durable.
func (s *stage) decides(name string) {
	s.x.takes(s.now, &destinations.Output{Kind: destinations.Deliver, Delivery: destinations.Delivery{
		Label: &destinations.Label{Subscription: subSent, Sub: 8}, Tag: 1, Message: note(noteHead{transfer: name, peer: "b"}, true),
	}}, &s.out)
}

// is checks what the status says of peer b and its link, in short.
func (s *stage) is(want string) {
	s.t.Helper()
	got := "no peer"
	if all := s.x.status(s.now); len(all.Peers) == 1 {
		p := all.Peers[0]
		got = fmt.Sprintf("known %t since %ds, %d offered %d deciding %d decided", p.Known, s.now.Sub(p.Learned)/time.Second, p.Batches.Offered, p.Batches.Deciding, p.Batches.Decided)
		if p.Batches.Oldest != "" {
			got += ", oldest " + p.Batches.Oldest
		}
		for _, l := range p.Links {
			got += fmt.Sprintf("; %s %s granted %d", l.Queue, l.State, l.Granted)
			if l.Rests != "" {
				got += " rests " + l.Rests + " because " + l.Why
			}
		}
	}
	if got != want {
		s.t.Errorf("the status is\n%s, want\n%s", got, want)
	}
}

// Each state of a peer, of a link and of a transfer is in the status, with how long it has lasted and how long it will.
func TestStatusSaysEachState(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.is("no peer")
	s.hears(frame{Kind: frameHello, Version: 1})
	s.is("known false since 0s, 0 offered 0 deciding 0 decided")
	s.passes(time.Second)
	s.wanted()
	s.is("known true since 0s, 0 offered 0 deciding 0 decided; q open granted 20")
	name := s.offers(3)
	s.passes(time.Second)
	s.is("known true since 1s, 1 offered 0 deciding 0 decided, oldest 1s; q moving granted 17")
	s.hears(frame{Kind: frameHeld, Transfer: name})
	s.is("known true since 1s, 0 offered 1 deciding 0 decided, oldest 1s; q moving granted 17")
	s.decides(name)
	s.is("known true since 1s, 0 offered 0 deciding 1 decided, oldest 1s; q moving granted 17")
	s.hears(frame{Kind: frameReleased, Transfer: name, Version: 1, Demand: []demand{{Queue: "q", Consumers: 1, Window: 10, Free: 0, Ready: 10}}})
	s.is("known true since 1s, 0 offered 0 deciding 0 decided; q full granted 0")
	s.hears(frame{Kind: frameDemand, Version: 2, Demand: []demand{{Queue: "q", Consumers: 1, Window: 10, Free: 10}}})
	s.offers(1)
	s.passes(2 * time.Second)
	s.is("known true since 3s, 0 offered 0 deciding 0 decided; q resting granted 0 rests 250ms because it was not held in time")
	s.passes(250 * time.Millisecond)
	s.is("known true since 3s, 0 offered 0 deciding 0 decided; q open granted 20")
	if err := s.x.setMode(Stopped, &s.out); err != nil {
		t.Fatal(err)
	}
	s.is("known true since 3s, 0 offered 0 deciding 0 decided; q stopped granted 0")
}

// What passed is counted, whatever became of it, and stays counted when the peer is lost and comes back.
func TestStatusCounts(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.wanted()
	name := s.offers(3)
	s.hears(frame{Kind: frameHeld, Transfer: name})
	s.decides(name)
	s.passes(250 * time.Millisecond) // the release is said again
	s.hears(frame{Kind: frameReleased, Transfer: name})
	s.hears(frame{Kind: frameRefused, Transfer: s.offers(1), Reason: "full"})
	s.passes(time.Second)
	s.offers(1)
	s.wanted()
	s.passes(time.Second)
	s.passes(2 * time.Second) // it is not held, and nothing was heard for 3 s
	s.is("no peer")

	s.x.held["h"] = &holding{name: "h", from: "b", queue: "q", batch: make([]byte, 50), messages: 2, since: s.now}
	want := Counts{Forwarded: 3, ForwardedOctets: 30, TakenBack: 2, Refused: 1, Resent: 1}
	lost := s.x.status(s.now).Lost
	if len(lost) != 1 || lost[0].Member != "b" || lost[0].Counts != want || lost[0].Why != "nothing was heard of it for 3s" || lost[0].Batches.Held != 1 {
		t.Errorf("lost are %+v, want b with %+v", lost, want)
	}
	s.receipt(tagGive + "h")
	s.hears(frame{Kind: frameHello, Version: 1})
	want.Received, want.ReceivedOctets = 2, 50
	all := s.x.status(s.now)
	if len(all.Lost) != 0 || len(all.Peers) != 1 || all.Peers[0].Counts != want || !all.Peers[0].Since.Equal(s.now) {
		t.Errorf("the status is %+v, want %+v", all, want)
	}
}

// A batch that this broker's own journal refuses to settle is taken back, and is no refusal of the peer.
func TestStatusCountsWhatIsRefusedHere(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.wanted()
	name := s.offers(1)
	s.hears(frame{Kind: frameHeld, Transfer: name})
	s.x.takes(s.now, &destinations.Output{Kind: destinations.Refused, ReceiptID: tagDecide + name, Err: errors.New("the disk is full")}, &s.out)
	s.is("known true since 0s, 0 offered 0 deciding 0 decided; q resting granted 0 rests 250ms because the disk is full")
	if got, want := s.x.peers["b"].record.counts, (Counts{TakenBack: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// Records of peers that come and go are bounded, and those that are there stay.
func TestRecordsAreBounded(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.wanted()
	for i := range 2 * maxRecords {
		s.now = s.now.Add(time.Millisecond)
		for _, kind := range []frameKind{frameHello, frameBye} {
			s.x.hears(s.now, &frame{Kind: kind, From: fmt.Sprint("x", i), Incarnation: "1"}, &s.out)
		}
	}
	last := fmt.Sprint("x", 2*maxRecords-1)
	if n := len(s.x.records); n != maxRecords || s.x.records["b"] == nil || s.x.records[last] == nil || s.x.records["x0"] != nil {
		t.Errorf("%d records, b %v, the last %v, the first %v", n, s.x.records["b"], s.x.records[last], s.x.records["x0"])
	}
}
