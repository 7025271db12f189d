package destinations

import (
	"testing"
	"time"
)

// What waits for a topic and is only in the log is asked for when it is time, and
// again when it could not be read; then it is published.
func TestScheduleBringsWhatIsInTheLog(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	msg := newMessage("later", true)
	msg.Props = &Props{Priority: DefaultPriority, Delay: 1000}
	r.send(Topic("t"), msg)
	parts, _ := capture(r.m)
	m := restored(t, Options{}, parts)
	resume(t, m, r.m.Last())
	now := time.Unix(0, 0).UTC()
	step := func(after time.Duration, c Command) []Output {
		t.Helper()
		var out Effects
		if err := m.Step(now.Add(after), &c, &out); err != nil {
			t.Fatal(err)
		}
		return out.Outputs
	}
	step(0, Command{Op: Start})
	step(0, Command{Op: Subscribe, Session: 1, Subscription: "s", Destination: Topic("t")})
	due, ok := m.NextTick()
	if !ok {
		t.Fatal("nothing is due")
	}
	at := due.Sub(now)
	var asked *Examination
	for range 2 {
		outputs := step(at, Command{Op: Tick})
		if len(outputs) != 1 || outputs[0].Kind != Examine || outputs[0].Examination.Contents[0] != r.m.Last() {
			t.Fatalf("at its time there is %+v", outputs)
		}
		if asked == nil {
			asked = outputs[0].Examination
			step(at, Command{Op: Examined, More: &More{Examination: asked}})
			at += broughtPause
		}
	}
	asked.Messages = []*Message{msg}
	outputs := step(at, Command{Op: Examined, More: &More{Examination: asked}})
	if len(outputs) != 1 || outputs[0].Kind != Deliver || outputs[0].Delivery.Destination != Topic("t") {
		t.Fatalf("brought, it gives %+v", outputs)
	}
	if s := m.Stats(); s.Messages != 0 || m.Oldest() != m.Last()+1 {
		t.Errorf("left are %+v, and entries from %d of %d on", s, m.Oldest(), m.Last())
	}
	if outputs := step(at, Command{Op: Examined, More: &More{Examination: asked}}); len(outputs) > 0 {
		t.Errorf("brought twice, it gives %+v", outputs)
	}
}

// A log may give back that a message came, when it comes again and that copy of it
// was moved: the move says what there is to put.
func TestReplayOfAMovedCopy(t *testing.T) {
	t.Parallel()
	msg := newMessage("one", true)
	msg.Props = &Props{Priority: DefaultPriority, Deliver: 1, Period: 1, Repeat: 9}
	put := record{seq: 1, kind: KindEnqueue, queue: "q", msg: msg}
	came := record{seq: 2, kind: KindSchedule, queue: "q", seqs: []uint64{1}, next: 2, left: 8}
	moved := record{seq: 3, kind: KindMove, queue: "q", seqs: []uint64{2}, target: "DLQ.q", dead: &DeadLetter{Reason: ReasonRejected}, content: 1, size: slotSize(msg)}
	again := record{seq: 4, kind: KindSchedule, queue: "q", seqs: []uint64{1}, next: 3, left: 7}
	all := replayed(t, Options{}, []Entry{put.entry(), came.entry(), moved.entry(), again.entry()})
	if keep, err := all.Live().Keep(readBack(came.entry()), func(uint64) bool { return false }); keep || err != nil {
		t.Errorf("that it came, and was moved, is kept: %t, %v", keep, err)
	}
	cleaned := replayed(t, Options{}, []Entry{put.entry(), moved.entry(), again.entry()})
	if got, want := describeAll(cleaned), describeAll(all); got != want {
		t.Errorf("after the cleaning there is\n%s\nwant\n%s", got, want)
	}
}

// On a standby nothing is left of the queue in which a message waited for a topic.
func TestReplayOfScheduleForgetsTheQueue(t *testing.T) {
	t.Parallel()
	delayed := newMessage("later", true)
	delayed.Props = &Props{Priority: DefaultPriority, Deliver: 1000}
	put := record{seq: 1, kind: KindEnqueue, queue: schedulePrefix + "t", msg: delayed}
	came := record{seq: 2, kind: KindSchedule, queue: put.queue, seqs: []uint64{1}}
	m := replayed(t, Options{}, []Entry{put.entry(), came.entry()})
	if s := m.Stats(); s.Queues != 0 || s.Bytes != 0 {
		t.Errorf("left are %+v", s)
	}
}
