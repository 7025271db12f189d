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
		if err := m.Step(now.Add(after), c, &out); err != nil {
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
			step(at, Command{Op: Examined, Examination: asked})
			at += broughtPause
		}
	}
	asked.Message = msg
	outputs := step(at, Command{Op: Examined, Examination: asked})
	if len(outputs) != 1 || outputs[0].Kind != Deliver || outputs[0].Delivery.Destination != Topic("t") {
		t.Fatalf("brought, it gives %+v", outputs)
	}
	if s := m.Stats(); s.Messages != 0 || m.Oldest() != m.Last()+1 {
		t.Errorf("left are %+v, and entries from %d of %d on", s, m.Oldest(), m.Last())
	}
	if outputs := step(at, Command{Op: Examined, Examination: asked}); len(outputs) > 0 {
		t.Errorf("brought twice, it gives %+v", outputs)
	}
}
