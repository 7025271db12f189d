package destinations

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// sampleRecords has one of each shape of entry, with values at their edges.
func sampleRecords() []record {
	dead := func() *DeadLetter {
		return &DeadLetter{
			Reason: ReasonRejected, Deliveries: maxAttempts, Time: time.UnixMilli(1_767_323_045_678).UTC(),
			Destination: Topic("news"), ID: MessageID{Seq: math.MaxUint64, N: 7},
		}
	}
	urgent := &Message{Content: []byte("priority:9\n\n"), HeaderBytes: 11, Persistent: true, Props: &Props{
		Priority: 9, Expires: math.MaxInt64, Deliver: 1_767_323_045_678, Period: 1, Repeat: -1, Cron: "* * * * *",
		Group: "g", GroupSeq: math.MinInt32, DedupID: "d", Key: "k",
		Job: MessageID{Seq: math.MaxInt64, N: 1}, Sent: math.MaxInt64, Client: "c",
	}}
	least := &Message{Content: []byte("\n"), Persistent: true, Props: &Props{Priority: 0}}
	msg := &Message{Content: []byte("a:b\nc:\n\nbody\x00\xff"), HeaderBytes: 7, Form: 255, Persistent: true}
	bare := &Message{Content: []byte("\n"), Persistent: true}
	return []record{
		{seq: 1, kind: KindStart},
		{seq: 2, kind: KindEnqueue, queue: "orders.eu", msg: msg},
		{seq: 3, kind: KindEnqueue, queue: "é", msg: bare},
		{seq: 4, kind: KindEnqueue, queue: "DLQ.news", msg: msg, dead: dead()},
		{seq: 5, kind: KindSettle, queue: "a", seqs: []uint64{2}},
		{seq: 6, kind: KindSettle, queue: "a", seqs: []uint64{9, 3, 4, 4, math.MaxUint64, 0, 1}},
		{seq: 7, kind: KindMove, queue: "a", seqs: []uint64{3}, target: "DLQ.a", dead: dead(), content: 2, size: math.MaxUint32},
		{seq: 8, kind: KindEnqueue, queue: "a", msg: urgent},
		{seq: 9, kind: KindEnqueue, queue: "DLQ.news", msg: least, dead: dead()},
		{seq: 90, kind: KindAttempt, queue: "a", seqs: []uint64{4}, attempts: 1, until: math.MaxInt64},
		{seq: 91, kind: KindSchedule, queue: "a", seqs: []uint64{4}, next: math.MaxInt64, left: -1},
		{seq: 92, kind: KindSchedule, queue: "a", seqs: []uint64{4}},
		{seq: 140, kind: KindPublish, topic: "news", queues: []string{"a", "é"}, msg: msg},
		{seq: 141, kind: KindPublish, topic: "news", msg: msg, chosen: true, seqs: []uint64{3, 9, math.MaxUint64}},
		{seq: 142, kind: KindPublish, queues: []string{"a", "b"}, msg: bare},
		{seq: 143, kind: KindDurable, queue: DurableID{"c", "x"}.key(), topic: "news.>", selector: "a = 1", noLocal: true},
		{seq: 144, kind: KindForgo, queue: DurableID{"c", "x"}.key(), seqs: []uint64{143}},
		{seq: 145, kind: KindSettle, queue: "a", seqs: []uint64{3, 4}, again: 144},
		{seq: 146, kind: KindDurable, queue: DurableID{"c", "y"}.key(), topic: "news", selector: "a = 1", retroactive: true},
		{seq: 147, kind: KindTake, queue: DurableID{"c", "y"}.key(), content: 140, size: math.MaxUint32, props: &Props{Priority: 9, Key: "k"}},
		{seq: 148, kind: KindSpill, topic: "news", msg: msg},
		{seq: 149, kind: KindSpill, topic: "é", msg: urgent},
		{seq: math.MaxUint64, kind: KindAttempt, queue: "a", seqs: []uint64{4}, attempts: maxAttempts},
	}
}

// entry is r as the machine puts it out.
func (r *record) entry() Entry {
	e := Entry{Seq: r.seq, Kind: r.kind, Head: r.encode(nil)}
	if r.msg != nil {
		e.Body = r.msg.Content
	}
	return e
}

func TestEntryRoundTrip(t *testing.T) {
	t.Parallel()
	for _, want := range sampleRecords() {
		for form, e := range map[string]Entry{"as made": want.entry(), "as read back": readBack(want.entry())} {
			got, err := e.decode()
			if err != nil {
				t.Errorf("entry %d %s: %v", want.seq, form, err)
			} else if !reflect.DeepEqual(got, want) {
				t.Errorf("entry %d %s is\n%+v, want\n%+v", want.seq, form, got, want)
			}
		}
	}
}

// Early versions wrote moves without where the content is.
func TestEntryMoveOfAnEarlyVersion(t *testing.T) {
	t.Parallel()
	put := record{seq: 1, kind: KindEnqueue, queue: "q", msg: newMessage("one", true)}
	dead := &DeadLetter{Reason: ReasonRejected, Deliveries: 1, Destination: Queue("q"), ID: MessageID{Seq: 1}}
	early := func(seq, from uint64, queue, target string) Entry {
		r := record{seq: seq, kind: KindMove, queue: queue, seqs: []uint64{from}, target: target, dead: dead}
		e := r.entry()
		e.Head = e.Head[:len(e.Head)-2]
		return e
	}
	m := replayed(t, Options{}, []Entry{put.entry(), early(2, 1, "q", "DLQ.q"), early(3, 2, "DLQ.q", "D.DLQ.q")})
	if at, ok := m.queues["D.DLQ.q"].find(3, 0); !ok || at.content() != 1 || at.slot().size != slotSize(put.msg) {
		t.Errorf("after the replay:\n%s", describeAll(m))
	}
}

// What Delivery.Content leads to is read without a copy, and nothing else is
// taken for a message.
func TestEntryMessage(t *testing.T) {
	t.Parallel()
	for _, r := range sampleRecords() {
		e := readBack(r.entry())
		got, err := e.Message()
		if !e.holdsMessage() {
			if err == nil || !strings.Contains(err.Error(), fmt.Sprint("entry ", e.Seq)) {
				t.Errorf("entry %d of kind %d gives the error %v", e.Seq, e.Kind, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if topic := got.Topic(); topic != r.topic {
			t.Errorf("entry %d holds a message that was published on %q", e.Seq, topic)
		}
		if got.Props = got.Props.unpublished(); !reflect.DeepEqual(got, r.msg) {
			t.Errorf("entry %d holds %+v, want %+v", e.Seq, got, r.msg)
		}
		if &got.Content[len(got.Content)-1] != &e.Body[len(e.Body)-1] {
			t.Errorf("the content of entry %d was copied", e.Seq)
		}
		e.Body = e.Body[:3]
		if _, err := e.Message(); err == nil {
			t.Errorf("entry %d cut short gives no error", e.Seq)
		}
	}
}

// A journal shares its read buffer between entries.
func TestEntryDecodeKeepsNoMemory(t *testing.T) {
	t.Parallel()
	for _, want := range sampleRecords() {
		e := readBack(want.entry())
		got, err := e.decode()
		if err != nil {
			t.Fatal(err)
		}
		if got.msg != nil { // which is the caller's to copy, or not
			got.msg.Content = slices.Clone(got.msg.Content)
		}
		for i := range e.Body {
			e.Body[i] = 0xaa
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("entry %d changed with the buffer that it was read from: %+v", want.seq, got)
		}
	}
}

// A payload that is cut, or has octets after its end, is an error and names
// the entry. Only a message's content may end anywhere.
func TestEntryDecodeRefusesWrongLengths(t *testing.T) {
	t.Parallel()
	for _, r := range sampleRecords() {
		e := readBack(r.entry())
		contentStart := len(e.Body)
		if r.msg != nil {
			contentStart -= len(r.msg.Content) - int(r.msg.HeaderBytes) - 1
		}
		for n := range contentStart {
			cut := Entry{Seq: e.Seq, Kind: e.Kind, Body: e.Body[:n]}
			if r.kind == KindMove && n == len(e.Body)-6 || r.until != 0 && n == len(e.Body)-9 || r.again != 0 && n == len(e.Body)-2 {
				continue // as early versions wrote it, or without what may follow
			}
			if _, err := cut.decode(); err == nil || !strings.Contains(err.Error(), fmt.Sprint("entry ", e.Seq)) {
				t.Errorf("entry %d cut to %d of %d octets gives the error %v", e.Seq, n, len(e.Body), err)
			}
		}
		if r.msg != nil {
			continue
		}
		long := Entry{Seq: e.Seq, Kind: e.Kind, Body: append(slices.Clone(e.Body), 0)}
		if _, err := long.decode(); err == nil {
			t.Errorf("entry %d with an octet more gives no error", e.Seq)
		}
	}
}

func TestEntryDecodeRefuses(t *testing.T) {
	t.Parallel()
	head := func(queue string, values ...uint64) []byte {
		b := appendString(nil, queue)
		for _, v := range values {
			b = binary.AppendUvarint(b, v)
		}
		return b
	}
	tests := []struct {
		name string
		e    Entry
	}{
		{"kind 0", Entry{Seq: 1}},
		{"an unknown kind", Entry{Seq: 1, Kind: 6, Body: head("q")}},
		{"a body behind the head of a settle", Entry{Seq: 1, Kind: KindSettle, Head: head("q", 0), Body: []byte("x")}},
		{"unknown flags", Entry{Seq: 1, Kind: KindEnqueue, Head: head("q", 4, 0, 0), Body: []byte("\n")}},
		{"unknown properties", Entry{Seq: 1, Kind: KindEnqueue, Head: head("q", 2, 0, 0, propsEnd), Body: []byte("\n")}},
		{"a priority above the highest", Entry{Seq: 1, Kind: KindEnqueue, Head: head("q", 2, 0, 0, propPriority, 20), Body: []byte("\n")}},
		{"a time before 1970", Entry{Seq: 1, Kind: KindEnqueue, Head: head("q", 2, 0, 0, propExpires, 1), Body: []byte("\n")}},
		{"a group too long", Entry{Seq: 1, Kind: KindEnqueue, Head: append(head("q", 2, 0, 0, propGroup), appendString(nil, strings.Repeat("x", MaxPropBytes+1))...), Body: []byte("\n")}},
		{"a form above 255", Entry{Seq: 1, Kind: KindEnqueue, Head: head("q", 0, 256, 0), Body: []byte("\n")}},
		{"header lines beyond the content", Entry{Seq: 1, Kind: KindEnqueue, Head: head("q", 0, 0, 1), Body: []byte("\n")}},
		{"header lines without their end", Entry{Seq: 1, Kind: KindEnqueue, Head: head("q", 0, 0, 1), Body: []byte("\nx")}},
		{"huge header lines", Entry{Seq: 1, Kind: KindEnqueue, Head: head("q", 0, 0, math.MaxUint64), Body: []byte("\n")}},
		{"octets between head and content", Entry{Seq: 1, Kind: KindEnqueue, Head: head("q", 0, 0, 0, 9), Body: []byte("\n")}},
		{"a settle of more than it holds", Entry{Seq: 1, Kind: KindSettle, Head: head("q", 3, 1, 1)}},
		{"a settle that says again what comes later", Entry{Seq: 5, Kind: KindSettle, Head: head("q", 1, 1, 5)}},
		{"a settle with something behind it", Entry{Seq: 5, Kind: KindSettle, Head: head("q", 1, 1, 4, 1)}},
		{"a settle of 2^64-1", Entry{Seq: 1, Kind: KindSettle, Head: head("q", math.MaxUint64, 1)}},
		{"a name of 2^64-1 octets", Entry{Seq: 1, Kind: KindAttempt, Head: binary.AppendUvarint(nil, math.MaxUint64)}},
		{"a number of 11 octets", Entry{Seq: 1, Kind: KindAttempt, Head: slices.Concat(head("q"), slices.Repeat([]byte{0xff}, 11))}},
	}
	for _, test := range tests {
		if r, err := test.e.decode(); err == nil {
			t.Errorf("%s is read as %+v", test.name, r)
		}
	}
}

// An attempt beyond the greatest count is that count, as when it was made.
func TestEntryDecodeBoundsAttempts(t *testing.T) {
	t.Parallel()
	r := record{seq: 1, kind: KindAttempt, queue: "q", seqs: []uint64{1}, attempts: math.MaxInt}
	if got, err := r.entry().decode(); err != nil || got.attempts != maxAttempts {
		t.Errorf("attempts %d, %v", got.attempts, err)
	}
}

// FuzzEntry gives decode any payload. It must not panic nor take more memory
// than the payload explains, and what it reads must be written and read alike.
func FuzzEntry(f *testing.F) {
	for _, r := range sampleRecords() {
		e := readBack(r.entry())
		f.Add(uint8(e.Kind), e.Body)
	}
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte) {
		e := Entry{Seq: 9, Kind: EntryKind(kind), Body: payload}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := e.decode()
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 64<<10+32*uint64(len(payload)) {
			t.Errorf("%d octets take %d of memory", len(payload), took)
		}
		_ = e.String()
		if err != nil {
			return
		}
		again, err := readBack(r.entry()).decode()
		if err != nil {
			t.Fatalf("%+v is written and cannot be read: %v", r, err)
		}
		if !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v is read again as %+v", r, again)
		}
		replayed(t, Options{}, []Entry{{Seq: 1, Kind: KindStart}, e})
	})
}
