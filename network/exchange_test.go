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
