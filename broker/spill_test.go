package broker

import (
	"testing"
	"testing/synctest"

	"baton/destinations"
)

// spillOptions let all but one of the messages wait on disk that a subscriber has no credit for.
func spillOptions(t *testing.T) Options {
	return policyOf(t, "/topic/>", func(p *destinations.Policy) {
		p.Pending = destinations.Pending{Messages: 1, Bytes: 1 << 20, SpillBytes: 1 << 30, Policy: destinations.Spill}
	})
}

// Two subscriptions of one connection have copies with ids of their own, also of
// what waited on disk, so that a client of any version can say which it means.
func TestSpillIDs(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.0", "1.1", "1.2"} {
		synctest.Test(t, func(t *testing.T) {
			h := servePipes(t, spillOptions(t))
			c := h.connect(version)
			c.subscribe("1", "/topic/t", "client-individual", "prefetch-count:1")
			c.subscribe("2", "/topic/>", "client-individual", "prefetch-count:1")
			h.send("/topic/t", "one", "two", "three", "four")
			for _, body := range []string{"one", "two", "three", "four"} {
				copies := map[string]frame{}
				for range 2 {
					f := c.message(body, "destination:/topic/t")
					copies[f.header("subscription")] = f
				}
				c.nothing()
				if id := copies["1"].header("message-id"); id == copies["2"].header("message-id") {
					t.Errorf("%s: both copies of %s are called %s", version, body, id)
				}
				c.say(ackHead("ACK", version, copies["2"]) + "\n\n")
				c.say(ackHead("ACK", version, copies["1"]) + "\n\n")
			}
			c.nothing()
		})
	}
}

// What is refused for good goes to the dead-letter queue of the topic that it was
// on, and stays there after a restart. What waited on disk then is gone.
func TestSpillDeadLetter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := spillOptions(t)
		h := servePipes(t, o)
		c := h.connect("1.2")
		c.subscribe("1", "/topic/>", "client-individual", "prefetch-count:1")
		h.send("/topic/t", "one", "two", "three", "four")
		c.ack("ACK", "1.2", c.message("one"))
		c.ack("ACK", "1.2", c.message("two"))
		c.ack("NACK", "1.2", c.message("three"), "requeue:false")
		c.message("four")
		synctest.Wait()
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
		h = servePipesOn(t, h.disk, o, nil)
		c = h.connect("1.2")
		c.subscribe("1", "/queue/DLQ.t", "client")
		c.message("three", "original-destination:/topic/t", "dlq-reason:rejected")
		c.subscribe("2", "/topic/>", "client")
		c.nothing()
		if live := h.engine.machine.Live(); live.Count() != 1 {
			t.Errorf("%d entries are needed, want the dead letter", live.Count())
		}
	})
}

// While the disk is low nothing is written for slow subscribers, whoever publishes.
func TestSpillOnLowDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, spillOptions(t))
		c := h.connect("1.2")
		c.subscribe("1", "/topic/t", "client-individual", "prefetch-count:1")
		h.send("/topic/t", "one", "two", "three")
		h.DiskLow(diskFull, 0)
		h.send("/topic/t", "lost")
		h.DiskLow(diskFree, 1<<40)
		h.send("/topic/t", "four")
		for _, body := range []string{"one", "two", "three", "four"} {
			c.ack("ACK", "1.2", c.message(body))
		}
		c.nothing()
	})
}
