package network

import (
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
