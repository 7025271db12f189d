package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"baton/destinations"
)

// request sends a message that wants an answer, and returns the address that a
// worker on another connection got with it.
func (h *host) request(c *client, replyTo string) (address string) {
	h.t.Helper()
	worker := h.connect("1.2")
	worker.subscribe("w", "/queue/work", "auto")
	c.do("SEND\ndestination:/queue/work\nreply-to:"+replyTo+"\ncorrelation-id:7", "question")
	address = worker.message("question", "correlation-id:7").header("reply-to")
	worker.do("DISCONNECT")
	return address
}

// As with ActiveMQ: the client subscribes, and others get an address of it.
func TestTempQueueSubscribed(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.0", "1.1", "1.2"} {
		h := serve(t, Options{})
		c := h.connect(version)
		c.subscribe("mine", "/temp-queue/replies.a", "client")
		address := h.request(c, "/temp-queue/replies.a")
		if !strings.HasPrefix(address, "/remote-temp-queue/") {
			t.Fatalf("got the address %q", address)
		}
		h.send(address, "answer", "another")
		first := c.message("answer", "destination:/temp-queue/replies.a", "subscription:mine")
		second := c.message("another")
		c.ack("ACK", version, first)
		c.ack("ACK", version, second)
	}
}

// As with RabbitMQ: the reply-to alone subscribes, and only once.
func TestTempQueueAutomatic(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.0", "1.1", "1.2"} {
		h := serve(t, Options{})
		c, other := h.connect(version), h.connect(version)
		address := h.request(c, "/temp-queue/x")
		if again := h.request(c, "/temp-queue/x"); again != address {
			t.Errorf("the address was %q and is %q", address, again)
		}
		if !strings.HasPrefix(address, "/reply-queue/") {
			t.Errorf("got the address %q", address)
		}
		if others := h.request(other, "/temp-queue/x"); others == address {
			t.Errorf("two connections have the same address %q", address)
		}
		h.send(address, "answer")
		c.message("answer", "destination:/temp-queue/x", "subscription:/temp-queue/x")
		other.nothing()

		// What the client subscribes to itself takes the place of that.
		c.subscribe("mine", "/temp-queue/x", "auto")
		h.send(address, "second")
		c.message("second", "subscription:mine")
		c.nothing()
		if now := h.request(c, "/temp-queue/x"); !strings.HasPrefix(now, "/remote-temp-queue/") {
			t.Errorf("got the address %q", now)
		}
		c.nothing()
	}
}

// The subscription that the broker made can be ended, and is made again by the
// next request.
func TestTempQueueAutomaticEnds(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	c := h.connect("1.2")
	address := h.request(c, "/temp-queue/x")
	c.do("UNSUBSCRIBE\nid:/temp-queue/x")
	h.send(address, "answer")
	c.nothing()
	c.say("SEND\ndestination:/queue/work\nreply-to:/temp-queue/x\n\n")
	c.message("answer", "subscription:/temp-queue/x")
}

// A request in a transaction is answered once it is committed.
func TestTempQueueInTransaction(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	c, worker := h.connect("1.2"), h.connect("1.2")
	worker.subscribe("w", "/queue/work", "auto")
	c.do("BEGIN\ntransaction:t")
	c.do("SEND\ntransaction:t\ndestination:/queue/work\nreply-to:/temp-topic/x", "question")
	c.do("COMMIT\ntransaction:t")
	address := worker.message("question").header("reply-to")
	h.send(address, "answer")
	c.message("answer", "destination:/temp-topic/x", "subscription:/temp-topic/x")
}

// Only its owner consumes from it, and it goes with its owner. Whoever answers
// too late keeps the connection and gets the receipt.
func TestTempQueueOwner(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	c, other := h.connect("1.2"), h.connect("1.2")
	c.subscribe("mine", "/temp-queue/x", "client", "prefetch-count:1")
	address := h.request(c, "/temp-queue/x")
	other.say("SUBSCRIBE\nid:1\ndestination:" + address + "\n\n")
	other.refused(destinations.CodeNotOwner)
	h.send(address, "1", "2", "3")
	c.message("1")
	c.do("DISCONNECT")
	c.end()
	h.send(address, "late")
	again := h.connect("1.2")
	again.subscribe("mine", "/temp-queue/x", "auto")
	h.send(address, "later")
	again.nothing()
	h.stop()
	if got := h.engine.unclaimed.total; got != 5 {
		t.Errorf("%d replies were counted as dropped, want 3 that waited and 2 that came too late", got)
	}
}

// What is in temporary queues is never stored, low disk or not.
func TestTempQueueNotStored(t *testing.T) {
	inLowDisk(t, HoldSends, func(t *testing.T, h *host) {
		c := h.connect("1.2")
		c.subscribe("mine", "/temp-queue/x", "client")
		address := h.request(c, "/temp-queue/x")
		h.DiskLow(diskFull, 0)
		synctest.Wait()
		last := h.journal.Last()
		h.send(address, "1")
		c.ack("ACK", "1.2", c.message("1"))
		if now := h.journal.Last(); now != last {
			t.Errorf("the journal went on from %d to %d", last, now)
		}
		h.DiskLow(diskFree, 1<<40)
	})
}

func TestTempQueueRefused(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{Machine: destinations.Options{MaxSubscriptions: 2}})
	for _, f := range []struct{ frame, code string }{
		{"SEND\ndestination:/temp-queue/x\n\n", destinations.CodeBadDestination},
		{"SEND\ndestination:/temp-queue/\n\n", destinations.CodeBadDestination},
		{"SEND\ndestination:/remote-temp-queue/\n\n", destinations.CodeBadDestination},
		{"SEND\ndestination:/reply-queue/" + strings.Repeat("x", 129) + ".y\n\n", destinations.CodeBadDestination},
		{"SEND\ndestination:/queue/a\nreply-to:/temp-queue/a,b\n\n", destinations.CodeBadDestination},
		{"SUBSCRIBE\nid:1\ndestination:/temp-queue/\n\n", destinations.CodeBadDestination},
	} {
		c := h.connect("1.2")
		c.say(f.frame)
		if got := c.want("ERROR"); got.header("code") != f.code {
			t.Errorf("%q got %s, want %s", f.frame, got, f.code)
		}
	}
	c := h.connect("1.2")
	for i := range 3 {
		c.say(fmt.Sprintf("SEND\ndestination:/queue/a\nreply-to:/temp-queue/%d\n\n", i))
	}
	c.refused(codeTempLimit)
}

// Any other reply-to is passed on as it came.
func TestReplyToElsewhere(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	c := h.connect("1.2")
	for _, to := range []string{"/queue/replies", "/temp", "/remote-temp-queue/b-1.x", "any\\cthing"} {
		if got := h.request(c, to); got != to {
			t.Errorf("%q became %q", to, got)
		}
	}
	c.nothing()
}
