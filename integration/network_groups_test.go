package integration

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"baton/integration/client"
)

// TestNetworkGroups has producers at three brokers send messages of the same groups, and consumers at two of them, of which one
// leaves and comes back meanwhile. Each group is with one consumer, the same for all producers, as long as the consumers
// stay; it comes back with its consumer. Messages of one producer come in their order within a group, but for those that say
// that they were returned; nothing is lost, and nothing is returned while the consumers stay.
func TestNetworkGroups(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	g := &groupTrial{t: t, f: f, last: map[string]int{}, owners: map[string]map[string]bool{}, seen: map[string]bool{}, came: make(chan struct{}, 1)}
	leaveA, leaveB := g.consume(0), g.consume(1)
	defer leaveA()
	g.awaitConsumers(1, 1)
	g.produce(100)
	g.settle()
	first := g.calm()
	if got := slices.Sorted(maps.Values(first)); got[0] != "a" || got[len(got)-1] != "b" {
		t.Errorf("the groups are with %q", first)
	}

	ended := g.produceSoon(200)
	g.await(func() bool { return len(g.seen) > 400 })
	leaveB()
	g.await(func() bool { return len(g.seen) > 550 })
	leaveB = g.consume(1)
	defer leaveB()
	<-ended
	g.settle()
	g.awaitConsumers(1, 1)

	g.forget()
	g.produce(100)
	g.settle()
	if got := g.calm(); !maps.Equal(got, first) {
		t.Errorf("the groups were with %q, and are with %q when both consumers are there again", first, got)
	}
	f.awaitRest(t, "/queue/grouped", nil, nil, nil)
}

const groupsOfAll = 16

// A groupTrial is what has come of the groups of a queue.
type groupTrial struct {
	t *testing.T
	f *fleet

	sync.Mutex
	serial   int                        // messages that were sent, or are being sent
	last     map[string]int             // the newest message that has come, by producer and group
	owners   map[string]map[string]bool // members where a group has come to, since that was forgotten
	returned int                        // messages that have come and say so, since that was forgotten
	seen     map[string]bool            // bodies that have come
	came     chan struct{}              // something has
}

// consume has a consumer at a member, until leave is called.
func (g *groupTrial) consume(at int) (leave func()) {
	c := g.f.consumer(g.t, at, "/queue/grouped", "prefetch-count", "20")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			m, err := c.Receive()
			if err != nil {
				return // it leaves
			}
			g.note(g.f.members[at].name, m)
			if c.Write("ACK", nil, "id", m.Header("ack")) != nil || c.Flush() != nil {
				return
			}
		}
	}()
	return func() { c.Close(); <-ended }
}

// note notes what has come.
func (g *groupTrial) note(member string, m *client.Frame) {
	var producer string
	var number int
	if _, err := fmt.Sscanf(string(m.Body), "%s %d", &producer, &number); err != nil {
		g.t.Errorf("%q came: %v", m.Body, err)
	}
	g.Lock()
	defer g.Unlock()
	group := m.Header("JMSXGroupID")
	if g.owners[group] == nil {
		g.owners[group] = map[string]bool{}
	}
	g.owners[group][member] = true
	g.seen[string(m.Body)] = true
	select {
	case g.came <- struct{}{}:
	default:
	}
	if m.Header("redelivered") == "true" {
		g.returned++
		return
	}
	key := producer + " " + group
	if g.last[key] > number {
		g.t.Errorf("of producer and group %s, %d comes after %d, at %s by way of %q", key, number, g.last[key], member, m.Header("x-broker-path"))
	}
	g.last[key] = number
}

// calm is where each group was, at one broker and with nothing returned, for the consumers have stayed. It forgets that.
func (g *groupTrial) calm() map[string]string {
	g.Lock()
	defer g.Unlock()
	where := map[string]string{}
	for group, members := range g.owners {
		if len(members) > 1 {
			g.t.Errorf("%s is consumed at %q", group, slices.Collect(maps.Keys(members)))
		}
		for member := range members {
			where[group] = member
		}
	}
	if g.returned > 0 {
		g.t.Errorf("%d messages were returned", g.returned)
	}
	g.owners = map[string]map[string]bool{}
	return where
}

// forget forgets where groups were and what was returned.
func (g *groupTrial) forget() {
	g.Lock()
	defer g.Unlock()
	g.owners, g.returned = map[string]map[string]bool{}, 0
}

// produce has each broker's producer send so many messages, and waits until they are stored.
func (g *groupTrial) produce(each int) { <-g.produceSoon(each) }

func (g *groupTrial) produceSoon(each int) (ended chan struct{}) {
	var all sync.WaitGroup
	for i := range g.f.members {
		c := g.f.connect(g.t, i)
		all.Go(func() {
			defer c.Close()
			for range each {
				g.Lock()
				g.serial++
				body, group := fmt.Sprintf("%s %d", g.f.members[i].name, g.serial), fmt.Sprint("group-", g.serial%groupsOfAll)
				g.Unlock()
				if err := c.Call("SEND", []byte(body), "destination", "/queue/grouped", "JMSXGroupID", group); err != nil {
					g.t.Errorf("producer: %v", err)
					return
				}
			}
		})
	}
	ended = make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	return ended
}

// settle waits until all that was sent has come.
func (g *groupTrial) settle() {
	g.t.Helper()
	g.await(func() bool { return len(g.seen) == g.serial })
}

// await waits for something that is so once enough has come.
func (g *groupTrial) await(so func() bool) {
	g.t.Helper()
	for deadline := within(g.t); ; {
		g.Lock()
		ended, came := so(), len(g.seen)
		g.Unlock()
		if ended {
			return
		}
		select {
		case <-g.came:
		case <-deadline.Done():
			g.t.Fatalf("%d messages have come; %s", came, g.f.members[0].explain(g.t, "grouped"))
		}
	}
}

// awaitConsumers waits until all know that A and B have so many consumers.
func (g *groupTrial) awaitConsumers(a, b int) {
	g.t.Helper()
	for i := range g.f.members {
		g.f.await(i, "told of the consumers", func(s memberStatus) bool {
			return (i == 0 || s.link("a", "grouped") == a) && (i == 1 || s.link("b", "grouped") == b)
		})
	}
}
