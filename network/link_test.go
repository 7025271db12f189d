package network

import (
	"testing"

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
