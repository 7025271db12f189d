package integration

import (
	"strings"
	"testing"
)

// A message that was forwarded as often as network.max_hops says stays where it is until it is consumed there; others pass it.
func TestNetworkMaxHops(t *testing.T) {
	t.Parallel()
	const queue = "/queue/hops"
	f := newFleet(t, 2, "BATON_NETWORK_MAX_HOPS=1")
	send(t, f.connect(t, 0), queue, []string{"far"})
	b := f.consumer(t, 1, queue)
	if m := next(t, b); string(m.Body) != "far" || m.Header("x-broker-path") != "a" {
		t.Fatalf("the consumer at b gets %s", m)
	}
	leave(t, b)
	a := f.consumer(t, 0, queue)
	send(t, f.connect(t, 1), queue, []string{"near"})
	if got := bodies(takeAll(t, a, 1)); got[0] != "near" {
		t.Errorf("the consumer at a gets %q", got)
	}
	f.awaitRest(t, queue, nil, []string{"far"})
	if said := f.members[1].explain(t, queue); !strings.Contains(said, "max_hops") {
		t.Errorf("why it waits at b is explained so: %s", said)
	}
	if got := bodies(takeAll(t, f.consumer(t, 1, queue), 1)); got[0] != "far" {
		t.Errorf("the next consumer at b gets %q", got)
	}
}
