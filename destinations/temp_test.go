package destinations

import (
	"fmt"
	"testing"
)

// A connection has as many temporary queues as subscriptions at most: they stay
// after these have ended.
func TestTemporaryQueuesAreBounded(t *testing.T) {
	t.Parallel()
	const most = 5
	r := newRig(t, Options{MaxSubscriptions: most})
	for i := range most {
		r.subscribe(1, Temporary(Queue("r"), fmt.Sprint(i)), Consumer{})
		r.step(Command{Op: Unsubscribe, Session: 1, Subscription: "s"})
	}
	var out Effects
	c := Command{Op: Subscribe, Session: 1, Subscription: "s", Destination: Temporary(Queue("r"), "more")}
	if err, ok := r.m.Step(scriptTime, &c, &out).(*Error); !ok || err.Code != CodeTooManySubscription {
		t.Errorf("one more gives the error %v", err)
	}
	if s := r.m.Stats(); s.Queues != most {
		t.Errorf("there are %d", s.Queues)
	}
	r.subscribe(1, Temporary(Queue("r"), "0"), Consumer{})
	r.step(Command{Op: Disconnect, Session: 1})
	if s := r.m.Stats(); s.Queues+int(s.Bytes) != 0 {
		t.Errorf("left are %+v", s)
	}
}
