package history_test

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "baton/integration/history"
)

func id(n uint32) ID { return ID{Producer: 1, N: n} }

// The steps of the hand-made histories: producer 1, queue 9, a body whose hash is 7.

func sent(n uint32) Op        { return Op{Kind: Sent, Message: id(n), Queue: 9, Hash: 7} }
func receipted(n uint32) Op   { return Op{Kind: SendReceipted, Message: id(n)} }
func acked(n uint32) Op       { return Op{Kind: Acked, Message: id(n), Queue: 9} }
func settled(n uint32) Op     { return Op{Kind: AckReceipted, Message: id(n), Queue: 9} }
func committing(tx uint32) Op { return Op{Kind: Committing, Tx: tx} }
func committed(tx uint32) Op  { return Op{Kind: Committed, Tx: tx} }
func aborting(tx uint32) Op   { return Op{Kind: Aborting, Tx: tx} }

func got(client, n uint32) Op {
	return Op{Kind: Delivered, Client: client, Message: id(n), Queue: 9, Hash: 7}
}

func again(client, n uint32) Op {
	op := got(client, n)
	op.Redelivered = true
	return op
}

func in(tx uint32, op Op) Op {
	op.Tx = tx
	return op
}

func grouped(op Op) Op {
	op.Group = 3
	return op
}

func nacked(client, n uint32) Op { return Op{Kind: Nacked, Client: client, Message: id(n), Queue: 9} }

func refused(n uint32) Op { return Op{Kind: NackReceipted, Message: id(n), Queue: 9} }

func by(client uint32, op Op) Op {
	op.Client = client
	return op
}

func ranked(priority uint8, n uint32) Op {
	op := sent(n)
	op.Priority = priority
	return op
}

func counted(count uint32, op Op) Op {
	op.Count = count
	return op
}

func named(name uint64, op Op) Op {
	op.Name = name
	return op
}

func lingering(client uint32, op Op) Op {
	op.Client, op.Lingers = client, true
	return op
}

func delayed(op Op) Op {
	op.Delay = time.Second
	return op
}

func at(after time.Duration, op Op) Op {
	op.At = after
	return op
}

func auto(op Op) Op {
	op.Auto = true
	return op
}

func TestCheck(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		ops  []Op
		want map[Finding]int // everything that is not here must be zero
	}{
		{"sent, receipted, delivered, acknowledged",
			[]Op{sent(1), receipted(1), got(1, 1), acked(1), settled(1)}, nil},
		{"auto settles by delivery",
			[]Op{sent(1), receipted(1), auto(got(1, 1))}, nil},
		{"a second delivery with its flag",
			[]Op{sent(1), receipted(1), got(1, 1), again(2, 1), acked(1), settled(1)}, map[Finding]int{DupFlagged: 1}},
		{"an ACK without receipt may count or not",
			[]Op{sent(1), receipted(1), got(1, 1), acked(1), again(2, 1), acked(1), settled(1)}, map[Finding]int{DupFlagged: 1}},
		{"an ACK without receipt may be the last",
			[]Op{sent(1), receipted(1), got(1, 1), acked(1)}, nil},
		{"no receipt, not delivered",
			[]Op{sent(1)}, nil},
		{"no receipt, delivered",
			[]Op{sent(1), got(1, 1), acked(1), settled(1)}, map[Finding]int{Recovered: 1}},
		{"connections that linger have no order",
			[]Op{lingering(1, sent(1)), lingering(2, sent(2)), got(1, 2), got(1, 1), acked(1), acked(2)}, map[Finding]int{Recovered: 2}},
		{"within one that lingers there is",
			[]Op{lingering(1, sent(1)), lingering(1, sent(2)), got(1, 2), got(1, 1), acked(1), acked(2)},
			map[Finding]int{Recovered: 2, OrderInversion: 1}},
		{"flagged messages may come out of order",
			[]Op{sent(1), sent(2), got(1, 2), again(1, 1), acked(1), acked(2)}, map[Finding]int{Recovered: 2}},
		{"two clients may record in any order",
			[]Op{sent(1), sent(2), got(1, 2), got(2, 1), acked(1), acked(2)}, map[Finding]int{Recovered: 2}},
		{"a committed transaction",
			[]Op{in(1, sent(1)), in(1, sent(2)), committing(1), committed(1), got(1, 1), got(1, 2), acked(1), acked(2)}, nil},
		{"an aborted transaction",
			[]Op{in(1, sent(1)), aborting(1)}, nil},
		{"a transaction in doubt that did not happen gives its acknowledgements back",
			[]Op{sent(1), receipted(1), got(1, 1), in(1, acked(1)), in(1, sent(2)), committing(1), again(2, 1), acked(1)},
			map[Finding]int{DupFlagged: 1}},
		{"a transaction in doubt that happened keeps them",
			[]Op{sent(1), receipted(1), got(1, 1), in(1, acked(1)), in(1, sent(2)), committing(1), got(2, 2), acked(2)},
			map[Finding]int{Recovered: 1}},
		{"a transaction of acknowledgements in doubt may have happened",
			[]Op{sent(1), receipted(1), got(1, 1), in(1, acked(1)), committing(1)}, nil},
		{"acknowledged in an aborted transaction, then outside",
			[]Op{sent(1), receipted(1), got(1, 1), in(1, acked(1)), aborting(1), acked(1), settled(1)}, nil},

		{"lost before the first delivered",
			[]Op{sent(1), receipted(1), sent(2), got(1, 2), acked(2)}, map[Finding]int{LostPrefix: 1, Recovered: 1}},
		{"lost when nothing was delivered",
			[]Op{sent(1), receipted(1)}, map[Finding]int{LostPrefix: 1}},
		{"lost between",
			[]Op{sent(1), sent(2), receipted(2), sent(3), got(1, 1), got(1, 3), acked(1), acked(3)},
			map[Finding]int{LostMiddle: 1, Recovered: 2}},
		{"lost after the last delivered",
			[]Op{sent(1), sent(2), receipted(2), got(1, 1), acked(1)}, map[Finding]int{LostPostfix: 1, Recovered: 1}},
		{"lost after a delivery that nobody acknowledged",
			[]Op{sent(1), receipted(1), got(1, 1)}, map[Finding]int{LostMiddle: 1}},
		{"lost after an acknowledgement in an aborted transaction",
			[]Op{sent(1), receipted(1), got(1, 1), in(1, acked(1)), aborting(1)}, map[Finding]int{LostMiddle: 1}},
		{"lost with a committed transaction",
			[]Op{in(1, sent(1)), committing(1), committed(1)}, map[Finding]int{LostPrefix: 1}},
		{"delivered, never sent",
			[]Op{got(1, 1)}, map[Finding]int{Unexpected: 1}},
		{"delivered, with a number far outside",
			[]Op{got(1, 1<<31)}, map[Finding]int{Unexpected: 1}},
		{"a second delivery without its flag",
			[]Op{sent(1), receipted(1), got(1, 1), got(2, 1), acked(1)}, map[Finding]int{DupUnflagged: 1}},
		{"delivered after its ACK was receipted",
			[]Op{sent(1), receipted(1), got(1, 1), acked(1), settled(1), again(2, 1)},
			map[Finding]int{Resurrected: 1, DupFlagged: 1}},
		{"delivered after the commit of its ACK was receipted",
			[]Op{sent(1), receipted(1), got(1, 1), in(1, acked(1)), committing(1), committed(1), again(2, 1)},
			map[Finding]int{Resurrected: 1, DupFlagged: 1}},
		{"the receipt of an ACK in a transaction settles nothing",
			[]Op{sent(1), receipted(1), got(1, 1), in(1, acked(1)), in(1, settled(1)), aborting(1), again(2, 1), acked(1)},
			map[Finding]int{DupFlagged: 1}},
		{"delivered from an aborted transaction",
			[]Op{in(1, sent(1)), aborting(1), got(1, 1), acked(1)}, map[Finding]int{AbortedVisible: 1, Recovered: 1}},
		{"delivered from a transaction without COMMIT",
			[]Op{in(1, sent(1)), got(1, 1), acked(1)}, map[Finding]int{AbortedVisible: 1, Recovered: 1}},
		{"half of the messages of a transaction in doubt",
			[]Op{in(1, sent(1)), in(1, sent(2)), committing(1), got(1, 1), acked(1)},
			map[Finding]int{TornTx: 1, Recovered: 1}},
		{"the messages of a transaction without its acknowledgements",
			[]Op{sent(1), receipted(1), got(1, 1), in(1, acked(1)), in(1, sent(2)), committing(1), got(2, 2), acked(2), again(2, 1), acked(1)},
			map[Finding]int{TornTx: 1, Recovered: 1, DupFlagged: 1}},
		{"the acknowledgements of a transaction without its messages",
			[]Op{sent(1), receipted(1), got(1, 1), in(1, acked(1)), in(1, sent(2)), committing(1)},
			map[Finding]int{LostMiddle: 1}},
		{"delivered without a promise, then gone",
			[]Op{sent(1), got(1, 1)}, map[Finding]int{Phantom: 1, Recovered: 1}},
		{"out of order for one client",
			[]Op{sent(1), sent(2), got(1, 2), got(1, 1), acked(1), acked(2)}, map[Finding]int{OrderInversion: 1, Recovered: 2}},
		{"another body",
			[]Op{sent(1), {Kind: Delivered, Message: id(1), Queue: 9, Hash: 8}, acked(1)}, map[Finding]int{Altered: 1, Recovered: 1}},
		{"another queue",
			[]Op{sent(1), {Kind: Delivered, Message: id(1), Queue: 8, Hash: 7}, acked(1)}, map[Finding]int{Altered: 1, Recovered: 1}},
		{"a delayed message at its time, and another out of order",
			[]Op{delayed(sent(1)), sent(2), got(1, 2), at(time.Second, got(1, 1)), acked(1), acked(2)}, map[Finding]int{Recovered: 2}},
		{"a delayed message too early",
			[]Op{delayed(sent(1)), at(999*time.Millisecond, got(1, 1)), acked(1)}, map[Finding]int{Early: 1, Recovered: 1}},
		{"a refused message at its time",
			[]Op{sent(1), got(1, 1), delayed(nacked(1, 1)), refused(1), at(time.Second, again(1, 1)), acked(1)},
			map[Finding]int{Recovered: 1, DupFlagged: 1}},
		{"a refused message too early",
			[]Op{sent(1), got(1, 1), delayed(nacked(1, 1)), refused(1), at(999*time.Millisecond, again(1, 1)), acked(1)},
			map[Finding]int{Early: 1, Recovered: 1, DupFlagged: 1}},
		{"a refused message too early, as a NACK without receipt or another one said",
			[]Op{sent(1), got(1, 1), delayed(nacked(1, 1)), again(1, 1), delayed(counted(2, nacked(1, 1))), refused(1), again(1, 1), acked(1)},
			map[Finding]int{Recovered: 1, DupFlagged: 2}},
		{"twice in the queue",
			[]Op{sent(1), named(5, got(1, 1)), named(6, again(2, 1)), acked(1)}, map[Finding]int{Doubled: 1, Recovered: 1, DupFlagged: 1}},
		{"a count that rises above that of a receipted NACK",
			[]Op{sent(1), counted(2, got(1, 1)), counted(2, refused(1)), counted(3, again(2, 1)), acked(1)},
			map[Finding]int{Recovered: 1, DupFlagged: 1}},
		{"a count that fell",
			[]Op{sent(1), counted(2, got(1, 1)), counted(2, refused(1)), counted(2, again(2, 1)), acked(1)},
			map[Finding]int{CountFell: 1, Recovered: 1, DupFlagged: 1}},
		{"a group moves when its owner has acknowledged all",
			[]Op{grouped(sent(1)), grouped(sent(2)), got(1, 1), acked(1), got(2, 2), acked(2)}, map[Finding]int{Recovered: 2}},
		{"a group moves when its owner leaves",
			[]Op{grouped(sent(1)), grouped(sent(2)), got(1, 1), {Kind: Leaving, Client: 1}, again(2, 1), got(2, 2), acked(1), acked(2)},
			map[Finding]int{Recovered: 2, DupFlagged: 1}},
		{"a group with two owners",
			[]Op{grouped(sent(1)), grouped(sent(2)), got(1, 1), got(2, 2), acked(1), acked(2)}, map[Finding]int{TwoOwners: 1, Recovered: 2}},
		{"two clients without a group",
			[]Op{sent(1), sent(2), got(1, 1), got(2, 2), acked(1), acked(2)}, map[Finding]int{Recovered: 2}},
		{"a message of a group was under way when one before it was refused",
			[]Op{grouped(sent(1)), grouped(sent(2)), got(1, 1), nacked(1, 1), got(1, 2), again(1, 1), acked(1), acked(2)},
			map[Finding]int{Recovered: 2, DupFlagged: 1}},
		{"a message of a group was under way when one before it was refused a second time",
			[]Op{grouped(sent(1)), grouped(sent(2)), counted(1, got(1, 1)), counted(1, nacked(1, 1)), counted(2, again(1, 1)),
				counted(2, nacked(1, 1)), counted(1, refused(1)), counted(1, got(1, 2)), counted(3, again(1, 1)), acked(1), acked(2)},
			map[Finding]int{Recovered: 2, DupFlagged: 2}},
		{"a message of a group overtakes one given back",
			[]Op{grouped(sent(1)), grouped(sent(2)), got(1, 1), nacked(1, 1), refused(1), got(1, 2), again(1, 1), acked(1), acked(2)},
			map[Finding]int{GroupInversion: 1, Recovered: 2, DupFlagged: 1}},
		{"a message of a group overtakes one whose owner left",
			[]Op{grouped(sent(1)), grouped(sent(2)), got(1, 1), {Kind: Leaving, Client: 1}, got(2, 2), again(2, 1), acked(1), acked(2)},
			map[Finding]int{GroupInversion: 1, Recovered: 2, DupFlagged: 1}},
		{"a group out of order over two clients",
			[]Op{grouped(sent(1)), grouped(sent(2)), got(1, 2), acked(2), got(2, 1), acked(1)}, map[Finding]int{OrderInversion: 1, Recovered: 2}},
		{"priorities out of order, of which one was not promised when the other was chosen",
			[]Op{ranked(1, 1), ranked(9, 2), ranked(0, 3), receipted(1), receipted(3), got(1, 3), by(1, acked(3)), receipted(2), got(1, 1),
				by(1, acked(1)), got(1, 2), acked(2)}, nil},
		{"a message while one of higher priority is ready",
			[]Op{ranked(1, 1), ranked(9, 2), ranked(0, 3), receipted(1), receipted(2), receipted(3), got(1, 3), by(1, acked(3)), got(1, 1),
				by(1, acked(1)), got(1, 2), acked(2)}, map[Finding]int{PriorityInversion: 1}},
		{"out of order in a priority",
			[]Op{ranked(1, 1), ranked(1, 2), ranked(5, 3), got(1, 3), got(1, 2), got(1, 1), acked(1), acked(2), acked(3)},
			map[Finding]int{OrderInversion: 1, Recovered: 3}},
		{"left after the drain",
			[]Op{{Kind: Left, Message: id(1)}}, map[Finding]int{NotEmptyAtEnd: 1}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			assertFound(t, Check(c.ops), c.want)
		})
	}
}

// assertFound also holds Valid to its meaning: only recovered messages and flagged duplicates are legal.
func assertFound(t *testing.T, report *Report, want map[Finding]int) {
	t.Helper()
	valid := true
	for f := LostPrefix; f <= NotEmptyAtEnd; f++ {
		if report.Count(f) != want[f] {
			t.Errorf("%v: found %d, want %d\n%v", f, report.Count(f), want[f], report)
		}
		if want[f] > 0 && f != Recovered && f != DupFlagged {
			valid = false
			if !strings.Contains(report.String(), f.String()) {
				t.Errorf("the report does not name %v:\n%v", f, report)
			}
		}
	}
	if report.Valid() != valid {
		t.Errorf("valid: %v, want %v\n%v", report.Valid(), valid, report)
	}
}

// A long history is judged completely: one message lost among a million is found, and nothing else.
func TestCheckMillions(t *testing.T) {
	t.Parallel()
	const messages, lost = 500_000, 123_456
	ops := make([]Op, 0, 5*messages)
	for n := uint32(1); n <= messages; n++ {
		ops = append(ops, sent(n), receipted(n))
		if n != lost {
			ops = append(ops, got(n%4, n), acked(n), settled(n))
		}
	}
	report := Check(ops)
	assertFound(t, report, map[Finding]int{LostMiddle: 1})
	if report.Messages != messages || report.Promised != messages || report.Deliveries != messages-1 {
		t.Errorf("totals: %v", report)
	}
}

func TestHistoryKeepsOrderOfManyGoroutines(t *testing.T) {
	t.Parallel()
	const goroutines, each = 4, 1000
	h := New()
	var all sync.WaitGroup
	for g := range uint32(goroutines) {
		all.Go(func() {
			for n := uint32(1); n <= each; n++ {
				h.Add(Op{Kind: Sent, Message: ID{Producer: g, N: n}})
			}
		})
	}
	if err := h.Await(context.Background(), goroutines*each); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	last := map[uint32]uint32{}
	for i, op := range h.Ops() {
		if op.Message.N != last[op.Message.Producer]+1 {
			t.Fatalf("op %d is %v after %d", i, op, last[op.Message.Producer])
		}
		last[op.Message.Producer]++
	}
	var text bytes.Buffer
	if n, err := h.WriteTo(&text); err != nil || n != int64(text.Len()) {
		t.Fatalf("WriteTo: %d, %v for %d bytes", n, err, text.Len())
	}
	if lines := strings.Count(text.String(), "\n"); lines != goroutines*each {
		t.Errorf("%d lines for %d ops", lines, goroutines*each)
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		h := New()
		result := make(chan error)
		go func() { result <- h.Await(ctx, 1) }()
		synctest.Wait()
		cancel()
		if err := <-result; err == nil || !strings.Contains(err.Error(), "0 of 1 ops") {
			t.Errorf("Await: %v", err)
		}
		h.Add(Op{}) // nobody waits any more
	})
}

func TestParseID(t *testing.T) {
	t.Parallel()
	want := ID{Producer: 12, N: 345}
	if got, err := ParseID(want.String()); err != nil || got != want {
		t.Errorf("ParseID(%q) = %v, %v", want.String(), got, err)
	}
	if _, err := ParseID("12"); err == nil || !strings.Contains(err.Error(), `"12"`) {
		t.Errorf("ParseID(12): %v", err)
	}
}

// Two futures of one past do not see each other.
func TestClone(t *testing.T) {
	t.Parallel()
	past := New()
	past.Add(Op{Kind: Sent, Message: ID{1, 1}})
	future := past.Clone()
	past.Add(Op{Kind: Sent, Message: ID{1, 2}})
	future.Add(Op{Kind: Sent, Message: ID{1, 3}})
	for h, want := range map[*History]uint32{past: 2, future: 3} {
		if ops := h.Ops(); len(ops) != 2 || ops[0].Message.N != 1 || ops[1].Message.N != want || ops[1].At < ops[0].At {
			t.Errorf("want 1 and %d, got %v", want, ops)
		}
	}
}
