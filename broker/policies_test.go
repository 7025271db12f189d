package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"baton/destinations"
)

// What a SEND does not say of its persistence the policy says; of a composite
// one, that of the first destination.
func TestDefaultPersistent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := policyOf(t, "/queue/fast.>", func(p *destinations.Policy) { p.DefaultPersistent = false })
		h := servePipes(t, o)
		c := h.connect("1.2")
		c.do("SEND\ndestination:/queue/fast.a", "gone")
		c.do("SEND\ndestination:/queue/slow", "kept")
		c.do("SEND\ndestination:/queue/fast.a\npersistent:true", "kept")
		c.do("SEND\ndestination:/queue/fast.a,/queue/slow", "gone")
		c.do("SEND\ndestination:/queue/slow\npersistent:false", "gone")
		c.do("BEGIN\ntransaction:t")
		c.do("SEND\ndestination:/queue/fast.a\ntransaction:t", "gone")
		c.do("COMMIT\ntransaction:t")
		c.do("DISCONNECT")
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
		h = servePipesOn(t, h.disk, o, nil)
		h.wantLeft("/queue/fast.a", "kept")
		h.wantLeft("/queue/slow", "kept")
	})
}

// A queue may have one consumer at work though none of them asks for it.
func TestExclusiveQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, policyOf(t, "/queue/>", func(p *destinations.Policy) { p.Exclusive = true }))
		a, b := h.connect("1.2"), h.connect("1.2")
		a.subscribe("s", "/queue/q", "auto")
		b.subscribe("s", "/queue/q", "auto")
		h.send("/queue/q", "1", "2")
		a.message("1")
		a.message("2")
		b.nothing()
		a.do("DISCONNECT")
		h.send("/queue/q", "3")
		b.message("3")
	})
}

// A durable subscription that nobody uses for too long is deleted, and the log
// says so.
func TestOfflineTTL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := policyOf(t, "/topic/>", func(p *destinations.Policy) { p.Durable.TTL = time.Hour })
		core, logs := observer.New(zap.InfoLevel)
		o.Logger = zap.New(core)
		h := servePipes(t, o)
		back := func() *client {
			c := h.connect("1.2", "client-id:c")
			c.subscribe("s", "/topic/t", "client", "activemq.subscriptionName:n")
			return c
		}
		back().do("DISCONNECT")
		h.send("/topic/t", "1")
		time.Sleep(59 * time.Minute)
		c := back()
		c.message("1")
		c.do("DISCONNECT")
		time.Sleep(61 * time.Minute)
		back().nothing()
		if n := logs.FilterMessageSnippet("a durable subscription was deleted").FilterField(zap.Stringer("subscription", destinations.DurableID{Client: "c", Name: "n"})).Len(); n != 1 {
			t.Errorf("the log says %d times that the subscription was deleted", n)
		}
	})
}
