package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"baton/integration/client"
)

// TestNetworkWildcards has consumers take from queues by wildcards, of which most are at another broker.
func TestNetworkWildcards(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, "BATON_NETWORK_EXCLUDE=[/queue/orders.secret]")
	t.Run("wildcards", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, *fleet){
			"ComeFromQueuesElsewhere": wildcardsReachElsewhere,
			"Selectors":               wildcardsSelect,
			"BesideAName":             wildcardsBesideAName,
			"VirtualTopics":           wildcardsOfVirtualTopics,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, f)
			})
		}
	})
}

// Queues that only A has are consumed at B by a wildcard, each message from its own queue, then at C; what may not leave A, and its dead
// letters, stay.
func wildcardsReachElsewhere(t *testing.T, f *fleet) {
	producer := f.connect(t, 0)
	var sent []string
	for _, queue := range []string{"orders.eu", "orders.us.west", "orders.us.east", "orders"} {
		all := numbered(queue, 0, 50)
		send(t, producer, "/queue/"+queue, all, "persistent", "true")
		sent = append(sent, all...)
	}
	for _, queue := range []string{"/queue/orders.secret", "/queue/DLQ.orders.eu"} {
		send(t, producer, queue, []string{"stays"})
	}
	var got []string
	for i, at := range []int{1, 2, 0, 1} {
		c := f.consumer(t, at, "/queue/orders.>", "prefetch-count", "20")
		if at == 0 {
			leave(t, c) // what is excluded, it would have
			continue
		}
		for _, m := range takeAll(t, c, []int{50, 50, 0, 100}[i]) {
			queue, _, _ := strings.Cut(string(m.Body), "-")
			if m.Header("destination") != "/queue/"+queue {
				t.Errorf("%s came from %s", m.Body, m.Header("destination"))
			}
			got = append(got, string(m.Body))
		}
		leave(t, c)
	}
	once(t, got, sent)
	for _, queue := range []string{"orders.eu", "orders.us.west", "orders.us.east", "orders"} {
		f.awaitRest(t, "/queue/"+queue, nil, nil, nil)
	}
	f.awaitRest(t, "/queue/orders.secret", []string{"stays"}, nil, nil)
	f.awaitRest(t, "/queue/DLQ.orders.eu", []string{"stays"}, nil, nil)
}

// A consumer by wildcard with a selector gets its kind from queues at two other brokers; the rest stays.
func wildcardsSelect(t *testing.T, f *fleet) {
	a, b := f.connect(t, 0), f.connect(t, 1)
	var want []string
	for i := range 60 {
		for kind, c := range map[string]*client.Conn{"x": a, "y": b} {
			body := fmt.Sprint(kind, i)
			must(t, "send", c.Call("SEND", []byte(body), "destination", "/queue/kinds."+kind, "odd", fmt.Sprint(i%2)))
			if i%2 == 1 {
				want = append(want, body)
			}
		}
	}
	c := f.consumer(t, 2, "/queue/kinds.*", "selector", "odd = '1'", "prefetch-count", "10")
	once(t, bodies(takeAll(t, c, 60)), want)
	rest := f.left(t, "/queue/kinds.x")
	if len(rest[0]) != 30 || len(rest[1])+len(rest[2]) > 0 {
		t.Errorf("of what nobody selects is left %q", rest)
	}
}

// At B one consumer names the queue and another takes it by a wildcard: each gets what it has credit for, which is not counted twice:
// at most one window of each is moved ahead of that.
func wildcardsBesideAName(t *testing.T, f *fleet) {
	const queue = "/queue/beside.name"
	a := f.consumer(t, 0, queue, "prefetch-count", "10") // so that the others get what they have room for, and no more
	named, wild := f.consumer(t, 1, queue, "prefetch-count", "20"), f.consumer(t, 1, "/queue/beside.>", "prefetch-count", "30")
	f.await(0, "told of both consumers at B", func(s memberStatus) bool {
		return s.link("b", "beside.name") == 1 && s.link("b", "beside.>") == 1
	})
	sent := numbered("n", 0, 200)
	send(t, f.connect(t, 0), queue, sent)
	got := slices.Concat(bodies(read(t, a, 10)), bodies(read(t, named, 20)), bodies(read(t, wild, 30)))
	once(t, got, sent[:60])
	if moved := len(f.left(t, queue)[1]); moved > 110 {
		t.Errorf("B has %d messages for windows of 50", moved)
	}
	if s, err := f.members[0].status(); err != nil || s.link("b", "beside.name") != 1 || s.link("b", "beside.>") != 1 {
		t.Errorf("A knows of B: %+v, %v", s, err)
	}
}

// A consumer of the queue of many virtual topics, at B, gets what is published at A, once.
func wildcardsOfVirtualTopics(t *testing.T, f *fleet) {
	const queue = "/queue/Consumer.W.VirtualTopic.wild.>"
	c := f.consumer(t, 1, queue)
	f.await(0, "told of the consumer at B", func(s memberStatus) bool { return s.link("b", strings.TrimPrefix(queue, "/queue/")) > 0 })
	f.await(2, "told of the consumer at B", func(s memberStatus) bool { return s.link("b", strings.TrimPrefix(queue, "/queue/")) > 0 })
	a, b, d := numbered("a", 0, 50), numbered("b", 0, 50), numbered("c", 0, 50)
	for i, all := range [][]string{a, b, d} {
		send(t, f.connect(t, i), fmt.Sprint("/topic/VirtualTopic.wild.", i), all, "persistent", "true")
	}
	once(t, bodies(takeAll(t, c, 150)), slices.Concat(a, b, d))
	f.awaitRest(t, queue, nil, nil, nil)
}
