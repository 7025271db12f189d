package broker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"baton/destinations"
)

// inFullQueue runs a test in a bubble, with a server whose queues hold two
// messages each.
func inFullQueue(t *testing.T, full destinations.OnFull, test func(t *testing.T, h *host)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all, err := destinations.Names{MaxBytes: 255}.ParsePattern("/queue/>")
		if err != nil {
			t.Fatal(err)
		}
		test(t, servePipes(t, Options{HeartBeat: HeartBeat{Send: time.Second}, Machine: destinations.Options{
			Policies: destinations.NewPolicies([]destinations.Rule{{Match: all, Set: func(p *destinations.Policy) {
				p.MaxMessages, p.OnFull = 2, full
			}}}),
		}}))
	})
}

// The receipts of a producer wait until there is place, in order; what it
// acknowledges and subscribes to does not, and others are not held up.
func TestFullQueueBlocks(t *testing.T) {
	inFullQueue(t, destinations.FullBlock, func(t *testing.T, h *host) {
		h.send("/queue/other", "x", "y")
		c, other := h.connect("1.2"), h.connect("1.2")
		for i := range 5 {
			c.say(fmt.Sprintf("SEND\ndestination:/queue/q\nreceipt:%d\n\n%d", i, i))
		}
		c.say("SEND\ndestination:/queue/elsewhere\nreceipt:5\n\n5")
		c.want("RECEIPT", "receipt-id:0")
		c.want("RECEIPT", "receipt-id:1")
		c.subscribe("s", "/queue/other", "client-individual")
		x := c.message("x")
		c.message("y")
		c.ack("ACK", "1.2", x)
		other.do("SEND\ndestination:/queue/elsewhere", "others go on")
		c.still()

		consumer := h.connect("1.2")
		consumer.subscribe("s", "/queue/q", "client", "prefetch-count:1")
		first := consumer.message("0")
		c.want("RECEIPT", "receipt-id:2")
		c.still()
		consumer.ack("ACK", "1.2", first)
		c.want("RECEIPT", "receipt-id:3")
		consumer.ack("ACK", "1.2", consumer.message("1"))
		c.want("RECEIPT", "receipt-id:4")
		c.want("RECEIPT", "receipt-id:5")
		for _, body := range []string{"2", "3"} {
			consumer.ack("ACK", "1.2", consumer.message(body))
		}
		consumer.message("4")
	})
}

// What is sent to a virtual topic waits for a place in its queues.
func TestFullVirtualTopicBlocks(t *testing.T) {
	inFullQueue(t, destinations.FullBlock, func(t *testing.T, h *host) {
		consumer := h.connect("1.2")
		consumer.subscribe("s", "/queue/Consumer.A.VirtualTopic.x", "client", "prefetch-count:1")
		c := h.connect("1.2")
		for i := range 4 {
			c.say(fmt.Sprintf("SEND\ndestination:/topic/VirtualTopic.x\nreceipt:%d\n\n%d", i, i))
		}
		for i := range 3 {
			c.want("RECEIPT", fmt.Sprintf("receipt-id:%d", i))
		}
		c.still()
		for i := range 4 {
			consumer.ack("ACK", "1.2", consumer.message(fmt.Sprint(i)))
			if i == 0 {
				c.want("RECEIPT", "receipt-id:3")
			}
		}
	})
}

// A producer that goes away leaves nothing behind.
func TestFullQueueBlocksAndEnds(t *testing.T) {
	inFullQueue(t, destinations.FullBlock, func(t *testing.T, h *host) {
		c := h.connect("1.2")
		for range 3 {
			c.say("SEND\ndestination:/queue/q\n\nmine")
		}
		c.nothing()
		c.close()
		if got := h.stored(); got != 2 {
			t.Errorf("%d messages are in the queue, want the 2 that had a place", got)
		}
		if coming := h.budget.coming.Load(); coming != 0 {
			t.Errorf("%d octets are still counted as coming", coming)
		}
	})
}

func TestFullQueueRejects(t *testing.T) {
	inFullQueue(t, destinations.FullReject, func(t *testing.T, h *host) {
		h.send("/queue/q", "1", "2")
		c := h.connect("1.2")
		c.say("SEND\ndestination:/queue/q\nreceipt:3\n\n3")
		if f := c.refused(destinations.CodeQueueFull); f.header("receipt-id") != "3" {
			t.Errorf("got %s", f)
		}
	})
}

// Who still waits when the broker stops is told that the queue is full.
func TestFullQueueAtShutdown(t *testing.T) {
	inFullQueue(t, destinations.FullBlock, func(t *testing.T, h *host) {
		h.send("/queue/q", "1", "2")
		c := h.connect("1.2")
		c.say("SEND\ndestination:/queue/q\nreceipt:3\n\n3")
		c.nothing()
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
		if f := c.want("ERROR", "code:"+destinations.CodeQueueFull); f.header("receipt-id") != "3" {
			t.Errorf("got %s", f)
		}
	})
}
