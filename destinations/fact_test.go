package destinations

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Facts are told only while somebody subscribes to reports, by whatever name and
// until the last has gone.
func TestFactsWhileObserved(t *testing.T) {
	t.Parallel()
	names := Names{MaxBytes: 255}
	for _, topics := range []string{"/topic/$SYS.a", "/topic/$SYS.>", "/queue/a,/topic/$SYS.a", "/topic/$SYS.a,/topic/$SYS.b.*"} {
		for _, end := range []Op{Unsubscribe, Disconnect} {
			m, out := New(Options{}), &Effects{}
			step := func(c Command) {
				t.Helper()
				if err := m.Step(time.Unix(1, 0), &c, out); err != nil {
					t.Fatal(err)
				}
			}
			step(Command{Op: Start})
			step(Command{Op: Subscribe, Session: 2, Subscription: "s", Destination: Queue("x")})
			if m.Observed() || len(out.Facts) > 0 {
				t.Errorf("nobody observes, and there are %v", out.Facts)
			}
			d, sources, err := names.ParseSources(topics)
			if err != nil {
				t.Fatal(err)
			}
			step(Command{Op: Subscribe, Session: 1, Subscription: "r", Destination: d, More: &More{Sources: sources}})
			step(Command{Op: Unsubscribe, Session: 2, Subscription: "s"})
			want := []Fact{
				{Kind: SubscriptionMade, Session: 1, Subscription: "r", Destination: topics},
				{Kind: SubscriptionEnded, Session: 2, Subscription: "s", Destination: "/queue/x"},
				{Kind: DestinationGone, Destination: "/queue/x"},
			}
			got := slices.DeleteFunc(slices.Clone(out.Facts), func(f Fact) bool { return f.Kind == DestinationMade && f.Destination == "/queue/a" })
			if !m.Observed() || !slices.Equal(got, want) {
				t.Errorf("%s: got %v, want %v", topics, got, want)
			}
			step(Command{Op: end, Session: 1, Subscription: "r"})
			out.Reset()
			step(Command{Op: Subscribe, Session: 2, Subscription: "s", Destination: Queue("x")})
			if m.Observed() || len(out.Facts) > 0 {
				t.Errorf("%s: nobody observes any more, and there are %v", topics, out.Facts)
			}
		}
	}
}

// One Effects holds so many; the others are counted, and those in a row that
// differ only in their messages take one place.
func TestFactsAreBounded(t *testing.T) {
	t.Parallel()
	m, out := New(Options{}), &Effects{}
	m.observers, m.out = 1, out
	for range 10 {
		m.note(Expired, Queue("same"), "", 2)
	}
	for i := range maxFacts {
		m.note(Expired, Queue(fmt.Sprint(i)), "", 1)
	}
	if len(out.Facts) != maxFacts || out.Untold != 1 {
		t.Errorf("there are %d facts and %d untold", len(out.Facts), out.Untold)
	}
	if want := (Fact{Kind: Expired, Destination: "/queue/same", Messages: 20}); out.Facts[0] != want {
		t.Errorf("got %v, want %v", out.Facts[0], want)
	}
}
