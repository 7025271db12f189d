package network

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"baton/destinations"
)

// A peer that hears with the end of a transfer that there is no room hears when there
// is room again, though that is what all were told before.
func TestRoomThatComesBackIsTold(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	x := newExchange(Settings{Member: "b", Incarnation: "1"}.WithDefaults())
	at := func(free, ready int) []demand {
		var out actions
		now = now.Add(time.Second)
		x.wants(now, []destinations.Demand{{Queue: "q", Consumers: 1, Window: 10, Free: free, Ready: ready, Wanted: ready}}, &out)
		var told []demand
		for _, f := range out.frames {
			told = append(told, f.Demand...)
		}
		return told
	}
	if told := at(10, 0); len(told) != 1 || told[0].Free != 10 {
		t.Fatalf("of the consumer is told %+v", told)
	}
	var out actions
	x.local["q"].now.Free, x.local["q"].now.Wanted = 0, 10
	x.held["t"] = &holding{name: "t", from: "a", queue: "q"}
	x.takes(now, &destinations.Output{Kind: destinations.Receipt, ReceiptID: tagGive + "t"}, &out)
	if f := out.frames; len(f) != 1 || f[0].Kind != frameReleased || f[0].to != "a" || f[0].Demand[0].room(true) != 0 {
		t.Fatalf("the transfer ends with %+v", f)
	}
	if told := at(10, 0); len(told) != 1 || told[0].Free != 10 {
		t.Errorf("of the room is told %+v", told)
	}
}

// A peer that has lost its data knows of no decision. What it had offered is not
// dropped then, for it may have decided, and nobody else has it; and it is said that
// somebody may have had it.
func TestBatchOfALostLifeIsGiven(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for _, test := range []struct {
		life  string // of who says that there was no decision
		given bool
	}{{"1", false}, {"2", true}} {
		x := newExchange(Settings{Member: "b", Incarnation: "1"}.WithDefaults())
		own := noteHead{transfer: "t", peer: "a", queue: "q", life: "1"}
		content, head := own.append(nil)
		m := &destinations.Message{Content: []byte("\nbody"), HeaderBytes: 0}
		content = appendMessage(content, "a", "b", "", &destinations.Delivery{Message: m, Deliveries: 1})
		held := destinations.Output{Kind: destinations.Deliver, Delivery: destinations.Delivery{
			Label: &destinations.Label{Subscription: subHeld, Sub: 7}, Tag: 1, Message: &destinations.Message{Content: content, HeaderBytes: int32(head)},
		}}
		var out actions
		x.takes(now, &held, &out)
		out = actions{}
		x.hears(now, &frame{Kind: frameDrop, From: "c", Incarnation: "1", Transfer: "t", Life: "2"}, &out)
		if len(out.commands) > 0 || len(x.held) != 1 {
			t.Fatalf("what is held of a is settled by c: %+v", out.commands)
		}
		x.hears(now, &frame{Kind: frameDrop, From: "a", Incarnation: "9", Transfer: "t", Life: test.life}, &out)
		var sends []destinations.Outgoing
		for _, c := range out.commands {
			sends = append(sends, c.Outgoing()...)
		}
		if given := len(sends) == 1 && sends[0].Returned && sends[0].Destination == destinations.Queue("q"); given != test.given {
			t.Errorf("when a peer of life %s says that there was no decision of life 1, these are given: %+v", test.life, sends)
		}
	}
}

// A peer that answers nothing keeps no more messages from their queues than its bound,
// however many queues it wants; and when it answers, all of them have their turn.
func TestSlowPeerHoldsABoundedBuffer(t *testing.T) {
	t.Parallel()
	const queues, size = 100, 100 << 10
	now := time.Unix(1_800_000_000, 0)
	x := newExchange(Settings{Member: "a", Life: "0", Incarnation: "1", Timeout: time.Hour}.WithDefaults())
	var out actions
	x.begin(now, &out)
	x.takes(now, &destinations.Output{Kind: destinations.Receipt, ReceiptID: tagReady}, &out)
	var wanted []demand
	for i := range queues {
		wanted = append(wanted, demand{Queue: fmt.Sprint("q", i), Consumers: 1, Window: 10, Free: 10})
	}
	left := map[string]int{} // messages by queue
	for _, d := range wanted {
		left[d.Queue] = 3
	}
	queueOf := map[string]string{} // by subscription
	transfers, most := map[string]bool{}, 0
	// carryOut is what a broker with these messages does, and notes what is offered.
	carryOut := func() {
		for len(out.commands)+len(out.frames) > 0 {
			all := out
			out = actions{}
			for _, f := range all.frames {
				if f.Kind == frameHold && f.Part == 0 {
					transfers[f.Transfer] = true
					left[f.Queue] -= f.Messages
				}
			}
			for _, c := range all.commands {
				switch c.Op {
				case destinations.Subscribe:
					queueOf[c.Subscription] = c.Destination.Name
				case destinations.Unsubscribe:
					delete(queueOf, c.Subscription)
				case destinations.Grant:
					q := queueOf[c.Subscription]
					for tag := range min(c.More.Grant, left[q]) {
						if queueOf[c.Subscription] == "" {
							break
						}
						x.takes(now, &destinations.Output{Kind: destinations.Deliver, Delivery: destinations.Delivery{
							Label: &destinations.Label{Subscription: c.Subscription, Sub: 1}, Tag: uint64(tag + 1), Deliveries: 1,
							Message: &destinations.Message{Content: make([]byte, size)},
						}}, &out)
						most = max(most, x.peers["b"].pending)
					}
				}
			}
			x.flush(now, &out)
		}
	}
	x.hears(now, &frame{Kind: frameDemand, From: "b", Incarnation: "1", Version: 1, Full: true, Done: true, Demand: wanted}, &out)
	carryOut()
	if most > maxPending+size || len(transfers) != maxTransfers || len(x.peers["b"].turned) == 0 {
		t.Fatalf("the peer keeps %d octets beside %d transfers, %d links were turned away", most, len(transfers), len(x.peers["b"].turned))
	}
	for rounds := 0; len(transfers) > 0; rounds++ {
		if rounds > 10*queues {
			t.Fatal("it does not end")
		}
		for _, name := range sortedKeys(transfers) {
			delete(transfers, name)
			x.sent[name].state = decided
			x.hears(now, &frame{Kind: frameReleased, From: "b", Incarnation: "1", Transfer: name}, &out)
		}
		carryOut()
		now = now.Add(time.Second)
		x.hears(now, &frame{Kind: frameHello, From: "b", Incarnation: "1", Version: 1}, &out)
		x.tick(now, &out)
		carryOut()
	}
	for queue, n := range left {
		if n != 0 {
			t.Errorf("%d messages are left in %s", n, queue)
		}
	}
	if x.peers["b"].pending != 0 {
		t.Errorf("%d octets are counted, and nothing is there", x.peers["b"].pending)
	}
}

// No frame is larger than what any NATS server takes, however large the messages and
// however many the demands, and nothing of them is lost.
func TestFramesAreBounded(t *testing.T) {
	t.Parallel()
	const most = 1 << 20 // what a server takes by default
	now := time.Unix(1_800_000_000, 0)
	stage := func(member string) (*exchange, *actions) {
		x, out := newExchange(Settings{Member: member, Incarnation: "1"}.WithDefaults()), &actions{}
		x.begin(now, out)
		return x, out
	}
	a, told := stage("a")
	b, heard := stage("b")
	var demands []destinations.Demand
	for i := range 3000 {
		name := fmt.Sprintf("%s.%d", strings.Repeat("q", 200), i)
		demands = append(demands, destinations.Demand{Queue: name, Consumers: 1, Window: 10, Free: 10, Selectors: []string{strings.Repeat("s", 20<<10)}})
	}
	demands = append(demands, destinations.Demand{Topic: "t", Consumers: 1})
	// pass has what one has said come to the other.
	pass := func(to *exchange, out, from *actions) {
		for len(from.frames) > 0 {
			f := from.frames[0]
			from.frames = from.frames[1:]
			octets := f.encode()
			if len(octets) > most {
				t.Fatalf("a frame of kind %s has %d octets", f.Kind, len(octets))
			}
			got, err := decodeFrame(octets)
			if err != nil {
				t.Fatal(err)
			}
			to.hears(now, &got, out)
		}
	}
	b.wants(now, demands, heard)
	for range 3 { // a asks for all of it
		pass(a, told, heard)
		pass(b, heard, told)
	}
	if p := a.peers["b"]; len(p.demands) != 3000 || len(p.topics) != 1 {
		t.Fatalf("of 3000 queues and a topic a knows %d and %d", len(p.demands), len(p.topics))
	}
	body := make([]byte, 5<<20)
	*heard = actions{}
	a.takes(now, &destinations.Output{Kind: destinations.Deliver, Delivery: destinations.Delivery{
		Label: &destinations.Label{Subscription: subTopic + "t", Sub: 1, Destination: destinations.Topic("t")}, Tag: 1, Deliveries: 1,
		Message: &destinations.Message{Content: append([]byte("\n"), body...)},
	}}, told)
	a.flush(now, told)
	pass(b, heard, told)
	for _, c := range heard.commands {
		if sends := c.Outgoing(); len(sends) == 1 && len(sends[0].Message.Content) > len(body) {
			return
		}
	}
	t.Error("a long message of a topic has not come")
}
