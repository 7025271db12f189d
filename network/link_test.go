package network

import (
	"strings"
	"testing"
	"time"

	"baton/destinations"
)

// What was at a broker is not given to it again without its asking; names that are part of another's, or match its wildcards, do not
// count.
func TestNotTwice(t *testing.T) {
	t.Parallel()
	selects := notTwice("a_b")
	for path, want := range map[string]bool{
		"": true, "c": true, "a_b": false, "c,a_b": false, "a_b,c": false, "c,a_b,d": false, "axb": true, "c,axb,d": true, "a_b2,xa_b": true,
	} {
		m := &destinations.Message{Content: []byte("\n")}
		if path != "" {
			head := pathHeader + path + "\n"
			m = &destinations.Message{Content: []byte(head + "\n"), HeaderBytes: int32(len(head))}
		}
		if got := selects.Matches(simMessage{m}); got != want {
			t.Errorf("of %q it selects %v", path, got)
		}
	}
}

// Names of queues are told from patterns; a queue may have wildcards in its name where it is for a virtual topic.
func TestPatternsAreTold(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"/queue/orders.>": true, "/queue/>": true, "/queue/*.a": true, "orders.eu": false, "/queue/orders": false, "Consumer.A.VirtualTopic.>": false, "": false,
	} {
		if _, got := patternOf(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// Messages that go to and fro between two brokers do so ever more seldom, to a bound; those that do not hold up nothing.
func TestToAndFroIsSlowedDown(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.wanted()
	send := func(path string) time.Duration {
		t.Helper()
		l := s.x.peers["b"].demands["q"]
		if l.granted == 0 {
			t.Fatalf("the link has nothing granted, rest %v", l.rest.Sub(s.now))
		}
		s.tag++
		head := "k:v\n"
		if path != "" {
			head += pathHeader + path + "\n"
		}
		s.x.takes(s.now, &destinations.Output{Kind: destinations.Deliver, Delivery: destinations.Delivery{
			Label: &destinations.Label{Subscription: l.id, Sub: 7, Destination: destinations.Queue("q")}, Tag: s.tag, Deliveries: 1,
			Message: &destinations.Message{Content: []byte(head + "\n12345"), HeaderBytes: int32(len(head))},
		}}, &s.out)
		s.x.flush(s.now, &s.out)
		rest := max(0, l.rest.Sub(s.now))
		if (rest > 0) != (l.granted == 0) || rest > 0 && !strings.Contains(s.x.explainLink(l, "q"), circling) {
			t.Errorf("after the path %q: rest %v, %d granted, %q", path, rest, l.granted, s.x.explainLink(l, "q"))
		}
		s.passes(rest)
		for name := range s.x.sent {
			s.x.takeBack(s.x.sent[name], "") // else it would be full
		}
		l.rest, l.failed = time.Time{}, 0
		s.passes(0)
		return rest
	}
	for _, step := range []struct {
		path string
		rest time.Duration
	}{
		{"", 0}, {"b", 0}, {"b,a", 0}, {"c,b,c,b", 0}, {"a,b", 0}, {"c,b,a,b", 100 * time.Millisecond}, {"a,b,a,b", 200 * time.Millisecond},
		{"a,b,a,b,a,b", 400 * time.Millisecond}, {"a,b,a,b", 800 * time.Millisecond}, {"a,b,a,b", 800 * time.Millisecond}, {"a,b", 0}, {"a,b,a,b", 100 * time.Millisecond},
	} {
		if got := send(step.path); got != step.rest {
			t.Errorf("a message with the path %q has the link rest for %v, want %v", step.path, got, step.rest)
		}
	}
}
