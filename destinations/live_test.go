package destinations

import "testing"

// TestLiveKeep asks of entries, one rule a case, when some others are gone.
func TestLiveKeep(t *testing.T) {
	t.Parallel()
	// Message 3 waits in q; 4, settled, was there too; 5 was moved as 6; the
	// machine started with 1 and again with 2.
	var set liveSet
	for _, seq := range []uint64{3, 5, 6} {
		set.add(seq, 100)
	}
	var spilled liveSet // a subscriber has a copy of 8
	spilled.add(8, 50)
	l := &Live{asOf: 20, start: 2, stretches: set.picture(), spilled: spilled.picture()}
	if l.Count() != 4 || l.Bytes(3, 8) != 350 || l.Bytes(7, 8) != 50 {
		t.Errorf("there are %d entries; %d octets of them, and %d of 7 and 8", l.Count(), l.Bytes(3, 8), l.Bytes(7, 8))
	}
	if copies := (&Live{asOf: 20, spilled: l.spilled}); copies.Oldest() != 8 {
		t.Errorf("without messages, the oldest is %d", copies.Oldest())
	}
	if l.AsOf() != 20 || l.Oldest() != 3 || (&Live{asOf: 20}).Oldest() != 21 {
		t.Errorf("as of %d, the oldest is %d; and of nothing %d", l.AsOf(), l.Oldest(), (&Live{asOf: 20}).Oldest())
	}
	msg, dead := newMessage("m", true), &DeadLetter{Reason: ReasonRejected}
	settle := func(seqs ...uint64) record { return record{seq: 10, kind: KindSettle, queue: "q", seqs: seqs} }
	move := func(seq, from uint64) record {
		return record{seq: seq, kind: KindMove, queue: "q", seqs: []uint64{from}, target: "DLQ.q", dead: dead}
	}
	claim := func(seq, before uint64) record {
		return record{seq: seq, kind: KindDurable, queue: "d", topic: "t", claim: Claim{Number: 1}, instead: before}
	}
	for _, test := range []struct {
		name string
		r    record
		gone []uint64
		keep bool
	}{
		{"an older start", record{seq: 1, kind: KindStart}, nil, false},
		{"the newest start", record{seq: 2, kind: KindStart}, nil, true},
		{"a message that waits", record{seq: 3, kind: KindEnqueue, queue: "q", msg: msg}, nil, true},
		{"a message that is settled", record{seq: 4, kind: KindEnqueue, queue: "q", msg: msg}, nil, false},
		{"the content of a dead letter", record{seq: 5, kind: KindEnqueue, queue: "q", msg: msg}, nil, true},
		{"a move that counts", move(6, 5), nil, true},
		{"a move that counts, of what is gone", move(6, 5), []uint64{5}, true},
		{"a move that counts no more", move(7, 4), []uint64{4}, false},
		{"a move that counts no more, of what is there", move(7, 4), nil, true},
		{"a settlement of what is gone", settle(4, 8), []uint64{4, 8}, false},
		{"a settlement of what is gone in part", settle(4, 8), []uint64{4}, true},
		{"a settlement of what is there", settle(4), nil, true},
		{"an attempt of what waits", record{seq: 9, kind: KindAttempt, queue: "q", seqs: []uint64{3}, attempts: 1}, nil, true},
		{"an attempt of what is settled", record{seq: 9, kind: KindAttempt, queue: "q", seqs: []uint64{4}, attempts: 1}, nil, false},
		{"a published message that somebody holds", record{seq: 3, kind: KindPublish, topic: "t", msg: msg}, nil, true},
		{"a published message that all have settled", record{seq: 4, kind: KindPublish, topic: "t", msg: msg}, nil, false},
		{"a durable subscription", record{seq: 5, kind: KindDurable, queue: "d", topic: "t"}, nil, true},
		{"a durable subscription that was deleted", record{seq: 4, kind: KindDurable, queue: "d", topic: "t"}, nil, false},
		{"its deletion, while the log has it", record{seq: 9, kind: KindForgo, queue: "d", seqs: []uint64{4}}, nil, true},
		{"its deletion, when that is gone", record{seq: 9, kind: KindForgo, queue: "d", seqs: []uint64{4}}, []uint64{4}, false},
		{"a claim that counts no more, while the log has the one before", claim(9, 4), nil, true},
		{"a claim that counts no more, when that is gone", claim(9, 4), []uint64{4}, false},
		{"a claim that counts", claim(5, 4), []uint64{4}, true},
		{"a spilled message of which somebody has a copy", record{seq: 8, kind: KindSpill, topic: "t", msg: msg}, nil, true},
		{"a spilled message that all have settled", record{seq: 4, kind: KindSpill, topic: "t", msg: msg}, nil, false},
		{"a message after the picture", record{seq: 21, kind: KindEnqueue, queue: "q", msg: msg}, nil, true},
		{"a settlement after the picture", record{seq: 21, kind: KindSettle, queue: "q", seqs: []uint64{4}}, []uint64{4}, true},
	} {
		gone := func(seq uint64) bool {
			for _, g := range test.gone {
				if g == seq {
					return true
				}
			}
			return false
		}
		if keep, err := l.Keep(readBack(test.r.entry()), gone); err != nil || keep != test.keep {
			t.Errorf("%s: keep is %v, %v; want %v", test.name, keep, err, test.keep)
		}
	}
	for _, e := range []Entry{{Seq: 9, Kind: 99, Body: []byte{0}}, {Seq: 9, Kind: KindSettle, Body: []byte{7}}} {
		if keep, err := l.Keep(e, func(uint64) bool { return true }); !keep || err == nil {
			t.Errorf("%v, which cannot be read: keep is %v, %v", e, keep, err)
		}
	}
}

// A picture does not change with the machine.
func TestLiveIsAPicture(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	for range 3000 {
		r.send(Queue("q"), newMessage("m", true))
	}
	l := r.m.Live()
	all := l.Bytes(0, maxSeq)
	r.subscribe(1, Queue("q"), Consumer{Ack: AckClient, Prefetch: 3000, PrefetchBytes: 1 << 30})
	r.ack(3000)
	if l.Oldest() != 2 || l.AsOf() != 3001 || l.Bytes(0, maxSeq) != all || all != 3000*int64(slotSize(newMessage("m", true))) {
		t.Errorf("the picture of 2 to 3001 is now of %d to %d, %d octets of %d", l.Oldest(), l.AsOf(), l.Bytes(0, maxSeq), all)
	}
	if now := r.m.Live(); now.Oldest() != r.m.Last()+1 || now.Bytes(0, maxSeq) != 0 {
		t.Errorf("all is settled, and live from %d on are %d octets", now.Oldest(), now.Bytes(0, maxSeq))
	}
}
