package integration

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// A and B give all messages of some queues to C, and C those of one back to A, whether or not anybody consumes them there.
func TestNetworkStatic(t *testing.T) {
	t.Parallel()
	f := newFleetAt(t, 3)
	f.join(func(i int) []string {
		return []string{"BATON_NETWORK_STATIC=" + []string{
			"[{destination: /queue/audit.>, to: c}, {destination: /queue/one, to: c}, {destination: /queue/circle, to: b}]",
			"[{destination: /queue/audit.>, to: c}, {destination: /queue/circle, to: a}]",
			"[]",
		}[i], "BATON_NETWORK_EXCLUDE=[/queue/audit.own]"}
	})
	t.Run("static", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, *fleet){
			"GoesThere":          staticGoesThere,
			"NotWhileConsumed":   staticNotWhileConsumed,
			"NoCircle":           staticNoCircle,
			"ConsumersElsewhere": staticForOthers,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, f)
			})
		}
	})
	t.Run("Drained", func(t *testing.T) { staticNotToWhoIsDrained(t, f) })
}

// What is sent to A and B is at C, with and without a wildcard, though nobody consumes; what is excluded stays.
func staticGoesThere(t *testing.T, f *fleet) {
	a, b := numbered("a", 0, 300), numbered("b", 0, 50)
	send(t, f.connect(t, 0), "/queue/audit.log", a, "persistent", "true")
	send(t, f.connect(t, 1), "/queue/audit.log", b, "persistent", "true")
	f.awaitRest(t, "/queue/audit.log", nil, nil, slices.Concat(a, b))
	send(t, f.connect(t, 0), "/queue/one", a, "persistent", "true")
	f.awaitRest(t, "/queue/one", nil, nil, a)
	send(t, f.connect(t, 0), "/queue/audit.own", b)
	send(t, f.connect(t, 0), "/queue/other", b)
	f.awaitRest(t, "/queue/audit.own", b, nil, nil)
	f.awaitRest(t, "/queue/other", b, nil, nil)
}

// While the queue has a consumer at A, its messages stay, also those for which it has no credit. When that has gone, they go.
func staticNotWhileConsumed(t *testing.T, f *fleet) {
	const queue = "/queue/audit.busy"
	sent := numbered("m", 0, 100)
	c := f.consumer(t, 0, queue, "prefetch-count", "10")
	send(t, f.connect(t, 0), queue, sent)
	once(t, bodies(takeAll(t, c, 10)), sent[:10])
	send(t, f.connect(t, 0), "/queue/audit.marker", []string{"marker"})
	f.awaitRest(t, "/queue/audit.marker", nil, nil, []string{"marker"})
	f.awaitRest(t, queue, sent[10:], nil, nil)
	leave(t, c)
	f.awaitRest(t, queue, nil, nil, sent[10:])
}

// A gives messages to B and B to A: each makes one step, and no more.
func staticNoCircle(t *testing.T, f *fleet) {
	const queue = "/queue/circle"
	a, b := numbered("a", 0, 20), numbered("b", 0, 20)
	send(t, f.connect(t, 0), queue, a)
	f.awaitRest(t, queue, nil, a, nil)
	send(t, f.connect(t, 1), queue, b)
	f.awaitRest(t, queue, b, a, nil)
	c := f.consumer(t, 2, queue)
	for _, m := range takeAll(t, c, 40) {
		if path := m.Header("x-broker-path"); path != "a,b" && path != "b,a" {
			t.Errorf("%s went %s", m.Body, path)
		}
	}
}

// What C was given goes on to a consumer at B, and back to A when that is where it is consumed.
func staticForOthers(t *testing.T, f *fleet) {
	const queue = "/queue/audit.wanted"
	sent := numbered("m", 0, 60)
	send(t, f.connect(t, 0), queue, sent)
	f.awaitRest(t, queue, nil, nil, sent)
	b := f.consumer(t, 1, queue, "prefetch-count", "10")
	got := bodies(takeAll(t, b, 20))
	leave(t, b)
	a := f.consumer(t, 0, queue)
	got = append(got, bodies(takeAll(t, a, 40))...)
	once(t, got, sent)
	f.awaitRest(t, queue, nil, nil, nil)
}

// A broker that an operator drains is given nothing.
func staticNotToWhoIsDrained(t *testing.T, f *fleet) {
	const queue = "/queue/audit.drained"
	granted := func(wanted bool) func(s memberStatus) bool {
		return func(s memberStatus) bool {
			for _, p := range s.Peers {
				for _, l := range p.Links {
					if p.Member == "c" && l.Queue == "audit.>" {
						return (l.Granted > 0) == wanted
					}
				}
			}
			return false
		}
	}
	mode := func(mode string) {
		asking := f.members[2].operator()
		answer, err := asking.Post("http://broker/mode?mode="+mode, "", nil)
		must(t, "mode", err)
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("mode: %s", answer.Status)
		}
	}
	mode("draining")
	f.await(0, "told that C is drained", granted(false))
	sent := numbered("m", 0, 20)
	send(t, f.connect(t, 0), queue, sent)
	f.awaitRest(t, queue, sent, nil, nil)
	text := f.members[0].explain(t, "audit.drained")
	if want := "network.static gives it these messages, but it takes none"; !strings.Contains(text, want) {
		t.Errorf("explain says %s, want %q", text, want)
	}
	mode("running")
	f.awaitRest(t, queue, nil, nil, sent)
	f.kill(2)
	send(t, f.connect(t, 0), queue, sent)
	if text, want := f.members[0].explain(t, "audit.drained"), "c: network.static gives it these messages, but it is not heard of"; !strings.Contains(text, want) {
		f.await(0, fmt.Sprintf("without C (%s)", text), func(s memberStatus) bool { return strings.Contains(f.members[0].explain(t, "audit.drained"), want) })
	}
	f.restart(2)
	f.awaitRest(t, queue, nil, nil, slices.Concat(sent, sent))
}
