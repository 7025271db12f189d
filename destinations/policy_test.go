package destinations

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// rules are Rules of patterns and what they set.
func rules(tb testing.TB, list ...any) *Policies {
	var made []Rule
	for i := 0; i < len(list); i += 2 {
		made = append(made, Rule{pattern(tb, list[i].(string)), list[i+1].(func(*Policy))})
	}
	return NewPolicies(made)
}

func maxDeliveries(n int) func(*Policy) { return func(p *Policy) { p.Redelivery.MaxDeliveries = n } }

// Field by field the most specific rule wins, wherever it stands in the list.
func TestMostSpecificRuleWins(t *testing.T) {
	t.Parallel()
	policies := rules(t,
		"/queue/orders.eu", func(p *Policy) { p.MaxMessages, p.Exclusive = 1, true },
		"/queue/>", func(p *Policy) { p.MaxMessages, p.MaxBytes, p.MessageTTL, p.AutoCreate = 4, 4, 4, false },
		"/queue/orders.*", func(p *Policy) { p.MaxMessages, p.MaxBytes = 2, 2 },
		"/queue/orders.>", func(p *Policy) { p.MaxMessages, p.MaxBytes, p.MessageTTL = 3, 3, 3 },
		"/topic/orders.eu", func(p *Policy) { p.MaxMessages = 9 },
	)
	defaults := Options{}.DefaultPolicy()
	want := defaults
	want.MaxMessages, want.MaxBytes, want.MessageTTL, want.AutoCreate, want.Exclusive = 1, 2, 3, false, true
	if got := policies.For(Queue("orders.eu"), defaults); got != want {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if got := policies.Rules(Queue("orders.eu")); !slices.Equal(got, []int{1, 3, 2, 0}) {
		t.Errorf("the rules are %v", got)
	}
	if got := policies.For(Topic("orders.us"), defaults); got != defaults {
		t.Errorf("without a rule: %+v", got)
	}
	var none *Policies
	if got := none.For(Queue("orders.eu"), defaults); got != defaults || none.Rules(Queue("a")) != nil {
		t.Errorf("without policies: %+v", got)
	}
}

// Without rules a destination is as it was before there were policies.
func TestDefaultPolicy(t *testing.T) {
	t.Parallel()
	want := Policy{
		DefaultPersistent: true, AutoCreate: true, Priorities: true,
		Redelivery: Redelivery{MaxDeliveries: 10, Multiplier: 1},
		DeadLetter: DeadLetterTo{Prefix: "DLQ."},
		Prefetch:   100, PrefetchBytes: 8 << 20,
		Pending:    Pending{Messages: 10_000, Bytes: 16 << 20, Policy: DropOldest, SpillBytes: 1 << 30},
		DedupCount: 20_000, DedupWindow: 10 * time.Minute,
	}
	if got := (Options{}).Policy(Queue("a")); got != want {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	want.Redelivery.MaxDeliveries, want.DeadLetter.Prefix, want.Prefetch, want.PrefetchBytes = 3, "X.", 5, 6
	want.Pending = Pending{Messages: 7, Bytes: 8, Policy: DropNew, SpillBytes: 9}
	got := Options{MaxDeliveries: 3, DeadLetterPrefix: "X.", Prefetch: 5, PrefetchBytes: 6, Pending: want.Pending}.DefaultPolicy()
	if got != want {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// Each queue has the maximum of deliveries and the dead-letter queue of its own
// policy.
func TestPolicyOfRedelivery(t *testing.T) {
	t.Parallel()
	policies := rules(t,
		"/queue/once.>", maxDeliveries(1),
		"/queue/once.shared", func(p *Policy) { p.DeadLetter.Shared = Queue("dead") },
		"/queue/once.own", func(p *Policy) { p.DeadLetter.Prefix = "X." },
	)
	for _, test := range []struct {
		queue, letters string
		deliveries     int
	}{
		{"plain", "DLQ.plain", 2},
		{"once.a", "DLQ.once.a", 1},
		{"once.shared", "dead", 1},
		{"once.own", "X.once.own", 1},
	} {
		r := newRig(t, Options{MaxDeliveries: 2, Policies: policies})
		r.subscribe(1, Queue(test.queue), Consumer{Ack: AckIndividual})
		r.send(Queue(test.queue), newMessage("m", true))
		for i := range test.deliveries {
			if r.m.find(test.letters) != nil {
				t.Errorf("%s: dead after %d deliveries, want %d", test.queue, i, test.deliveries)
			}
			r.nack(uint64(i + 1))
		}
		if q := r.m.find(test.letters); q == nil || q.live != 1 {
			t.Errorf("%s: no dead letter in %s after %d deliveries", test.queue, test.letters, test.deliveries)
		}
	}
}

func (r *rig) nack(tag uint64) {
	r.step(Command{Op: Nack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: tag}})
}

// What a consumer refuses in a dead-letter queue stays there, whichever rule
// makes it one.
func TestDeadLettersStayInEveryDeadLetterQueue(t *testing.T) {
	t.Parallel()
	policies := rules(t,
		"/queue/>", maxDeliveries(1),
		"/queue/a", func(p *Policy) { p.DeadLetter.Shared = Queue("dead") },
		"/queue/b", func(p *Policy) { p.DeadLetter.Prefix = "X." },
		"/queue/d", func(p *Policy) { p.DeadLetter = DeadLetterTo{Shared: Queue("dead")} },
	)
	for name, stays := range map[string]bool{"dead": true, "X.b": true, "DLQ.c": true, "dead.a": false, "c": false} {
		r := newRig(t, Options{Policies: policies})
		r.subscribe(1, Queue(name), Consumer{Ack: AckIndividual})
		r.send(Queue(name), newMessage("m", true))
		r.nack(1)
		if got := r.m.find(name).live == 1; got != stays {
			t.Errorf("%s: stays: %v, want %v", name, got, stays)
		}
	}
	got := Options{Policies: policies}.DeadLetterPrefixes()
	if !slices.Equal(got, []string{"DLQ.", "X."}) {
		t.Errorf("prefixes: %q", got)
	}
}

// A dead letter that was refused more often than a new policy counts keeps its
// count: nothing is logged.
func TestDeadLettersKeepTheirCount(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxDeliveries: 3})
	r.subscribe(1, Queue("DLQ.a"), Consumer{Ack: AckIndividual})
	r.send(Queue("DLQ.a"), newMessage("m", true))
	for tag := range uint64(3) {
		r.nack(tag + 1)
	}
	fewer := *r.m.find("DLQ.a").policy
	fewer.Redelivery.MaxDeliveries = 1
	r.m.find("DLQ.a").policy = &fewer
	r.nack(4)
	if n, d := len(r.out.Entries), r.out.Outputs[0].Delivery; n != 0 || d.Deliveries != 4 {
		t.Errorf("%d entries, delivery %d; want none and the fourth", n, d.Deliveries)
	}
}

func TestPolicyOfPending(t *testing.T) {
	t.Parallel()
	policies := rules(t,
		"/topic/few", func(p *Policy) { p.Pending.Messages = 1 },
		"/topic/new", func(p *Policy) { p.Pending = Pending{Messages: 1, Bytes: 1 << 20, Policy: DropNew} },
	)
	for _, test := range []struct{ topic, waits string }{{"plain", "b c"}, {"few", "c"}, {"new", "b"}} {
		r := newRig(t, Options{Pending: Pending{Messages: 2}, Policies: policies})
		r.subscribe(1, Topic(test.topic), Consumer{Ack: AckIndividual, Prefetch: 1})
		for _, body := range []string{"a", "b", "c"} {
			r.send(Topic(test.topic), newMessage(body, false))
		}
		waits := ""
		q := r.m.sessions[1].subs[0].sources[0].queue
		for q.ready > 0 {
			waits += " " + string(q.take().slot().msg.Content[1:])
		}
		if waits != " "+test.waits {
			t.Errorf("%s: %q waits, want %q", test.topic, waits, test.waits)
		}
	}
}

func TestPolicyOfPrefetch(t *testing.T) {
	t.Parallel()
	policies := rules(t,
		"/queue/one", func(p *Policy) { p.Prefetch = 1 },
		"/queue/small", func(p *Policy) { p.PrefetchBytes = 1 },
		"/topic/one", func(p *Policy) { p.Prefetch = 1 },
	)
	for _, test := range []struct {
		d     Destination
		asked int
		want  int
	}{{Queue("plain"), 0, 3}, {Queue("one"), 0, 1}, {Queue("one"), 2, 2}, {Queue("small"), 0, 1}, {Topic("one"), 0, 1}, {Topic("plain"), 0, 3}} {
		r := newRig(t, Options{Policies: policies})
		r.subscribe(1, test.d, Consumer{Ack: AckIndividual, Prefetch: test.asked})
		for range 3 {
			r.send(test.d, newMessage("m", true))
		}
		if got := r.m.sessions[1].subs[0].out; got != test.want {
			t.Errorf("%s asking for %d: %d in flight, want %d", test.d, test.asked, got, test.want)
		}
	}
}

// Queues with equal policies share one, so that many queues take little memory.
func TestEqualPoliciesAreShared(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Policies: rules(t, "/queue/a.>", maxDeliveries(3), "/queue/b.>", maxDeliveries(3))})
	for i := range 10 {
		r.send(Queue(fmt.Sprint("a.", i)), newMessage("m", true))
		r.send(Queue(fmt.Sprint("b.", i)), newMessage("m", true))
		r.send(Queue(fmt.Sprint("c.", i)), newMessage("m", true))
	}
	policies := map[*Policy]bool{}
	for _, q := range r.m.queues {
		policies[q.policy] = true
	}
	if len(policies) != 2 {
		t.Errorf("%d policies for 30 queues, want 2", len(policies))
	}
}
