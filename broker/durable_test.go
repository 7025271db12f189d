package broker

import (
	"strings"
	"testing"
	"testing/synctest"
)

// The three spellings of a durable subscription: it keeps what comes while its
// client is away, and what it lets go is gone.
func TestDurableSpellings(t *testing.T) {
	t.Parallel()
	for name, spelling := range map[string]struct{ connect, subscribe []string }{
		"ActiveMQ":        {[]string{"client-id:paper"}, []string{"activemq.subscriptionName:mine"}},
		"Artemis":         {[]string{"client-id:paper"}, []string{"durable-subscription-name:mine"}},
		"Artemis's alias": {[]string{"client-id:paper"}, []string{"durable-subscriber-name:mine"}},
		"RabbitMQ":        {nil, []string{"durable:true", "auto-delete:false"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := servePipes(t, Options{})
				c := h.connect("1.2", spelling.connect...)
				c.subscribe("s", "/topic/news", "client-individual", spelling.subscribe...)
				h.send("/topic/news", "one")
				first := c.message("one", "destination:/topic/news", "subscription:s")
				c.do("UNSUBSCRIBE\nid:s") // only lets go
				h.send("/topic/news", "two")
				c.close()
				if err := h.stop(); err != nil {
					t.Fatal(err)
				}

				h = servePipesOn(t, h.disk, Options{}, nil)
				h.send("/topic/news", "three")
				c = h.connect("1.2", spelling.connect...)
				c.subscribe("s", "/topic/news", "client-individual", spelling.subscribe...)
				again := c.message("one", "redelivered:true")
				if again.header("message-id") != first.header("message-id") {
					t.Errorf("the message was %s and is %s", first.header("message-id"), again.header("message-id"))
				}
				c.message("two")
				c.message("three")
				c.ack("ACK", "1.2", again)
				c.do("UNSUBSCRIBE\nid:s\n" + strings.Join(spelling.subscribe, "\n")) // deletes
				h.send("/topic/news", "four")
				c.subscribe("s", "/topic/news", "client-individual", spelling.subscribe...)
				c.still()
				c.close()
			})
		})
	}
}

// ActiveMQ's clients delete a durable subscription when they have none of it.
func TestDurableDeletedFromAfar(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect("1.2", "client-id:paper")
		c.subscribe("s", "/topic/news", "auto", "activemq.subscriptionName:mine")
		c.do("DISCONNECT")
		c = h.connect("1.2", "client-id:paper")
		c.do("UNSUBSCRIBE\nid:any\nactivemq.subscriptionName:mine")
		c.say("UNSUBSCRIBE\nid:any\nactivemq.subscriptionName:mine\n\n")
		c.refused("no-such-subscription")

		c = h.connect("1.2")
		c.subscribe("s", "/topic/news", "auto", "durable:true", "auto-delete:false")
		c.do("DISCONNECT")
		c = h.connect("1.2")
		c.do("UNSUBSCRIBE\nid:s\ndestination:/topic/news\ndurable:true\nauto-delete:false")
		c.subscribe("q", "/queue/q", "auto", "durable:true", "auto-delete:false") // what RabbitMQ's clients say of a queue
		c.do("UNSUBSCRIBE\nid:q\ndurable:true\nauto-delete:false")
		c.close()
	})
}

// Who says half of what a durable subscription needs is told what is missing.
func TestDurableHalfAsked(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		connect, subscribe []string
		destination, want  string
	}{
		"no client-id":                {nil, []string{"activemq.subscriptionName:mine"}, "/topic/t", "client-id"},
		"no name":                     {[]string{"client-id:c"}, []string{"activemq.subscriptionName:"}, "/topic/t", "is empty"},
		"two names":                   {[]string{"client-id:c"}, []string{"activemq.subscriptionName:a", "durable-subscription-name:b"}, "/topic/t", "different"},
		"a queue":                     {[]string{"client-id:c"}, []string{"activemq.subscriptionName:a"}, "/queue/q", "/queue/q is a queue"},
		"no auto-delete":              {nil, []string{"durable:true"}, "/topic/t", "auto-delete:false"},
		"auto-delete:true":            {nil, []string{"durable:true", "auto-delete:true"}, "/topic/t", "auto-delete:false"},
		"no durable":                  {nil, []string{"auto-delete:false"}, "/topic/t", "durable:true"},
		"shared, not durable":         {nil, []string{"shared:true"}, "/topic/t", "shared:true is for durable"},
		"a queue and a topic":         {nil, []string{"durable:true", "auto-delete:false"}, "/queue/a,/topic/b", "durable"},
		"a topic and a queue":         {nil, []string{"durable:true", "auto-delete:false"}, "/topic/b,/queue/a", "durable"},
		"queues and a topic":          {nil, []string{"durable:true", "auto-delete:false"}, "/queue/*,/topic/b", "durable"},
		"shared, a queue and a topic": {nil, []string{"shared:true"}, "/queue/a,/topic/b", "shared:true is for durable"},
		"a long name":                 {[]string{"client-id:c"}, []string{"activemq.subscriptionName:" + strings.Repeat("x", 500)}, "/topic/t", "501 octets"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := servePipes(t, Options{})
				c := h.connect("1.2", test.connect...)
				c.say("SUBSCRIBE\nid:s\ndestination:" + test.destination + "\n" + strings.Join(test.subscribe, "\n") + "\n\n")
				if f := c.want("ERROR"); !strings.Contains(f.body, test.want) {
					t.Errorf("the error is %q, want one with %q", f.body, test.want)
				}
				c.end()
			})
		})
	}
}

// A durable subscription has one consumer; RabbitMQ's have as many as come.
func TestDurableInUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		a := h.connect("1.2", "client-id:paper")
		a.subscribe("s", "/topic/news", "auto", "activemq.subscriptionName:mine")
		b := h.connect("1.2", "client-id:paper")
		b.say("SUBSCRIBE\nid:s\ndestination:/topic/news\nactivemq.subscriptionName:mine\n\n")
		b.refused("durable-subscription-in-use")
		a.close()

		a, b = h.connect("1.2"), h.connect("1.2")
		for _, c := range []*client{a, b} {
			c.subscribe("work", "/topic/jobs", "client-individual", "durable:true", "auto-delete:false", "prefetch-count:1")
		}
		h.send("/topic/jobs", "one", "two")
		a.message("one")
		two := b.message("two")
		a.close()
		b.ack("ACK", "1.2", two)
		b.message("one", "redelivered:true")
		b.close()
	})
}

// One SEND may go to several destinations, in a transaction too.
func TestCompositeSend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect("1.2")
		for _, d := range []string{"/queue/a", "/topic/b", "/queue/c"} {
			c.subscribe(d, d, "auto")
		}
		took := func() {
			t.Helper()
			got := map[string]bool{}
			for range 3 {
				f := c.message("one")
				if f.header("destination") != f.header("subscription") {
					t.Errorf("%s got a message of %s", f.header("subscription"), f.header("destination"))
				}
				got[f.header("subscription")] = true
			}
			if len(got) != 3 {
				t.Errorf("only %v got it", got)
			}
		}
		c.say("SEND\ndestination:/queue/a,/topic/b, /queue/c,/queue/a\n\none")
		took()
		c.do("BEGIN\ntransaction:t")
		c.do("SEND\ntransaction:t\ndestination:/queue/a,/topic/b,/queue/c", "one")
		c.still()
		c.say("COMMIT\ntransaction:t\n\n")
		took()
		for destination, text := range map[string]string{
			"/queue/a,":           "empty",
			"/queue/a,/topic/b.*": "wildcards",
			strings.Repeat("/queue/a,", 16) + "/queue/b": "17 parts",
		} {
			c := h.connect("1.2")
			c.say("SEND\ndestination:" + destination + "\n\none")
			if f := c.refused("bad-destination"); !strings.Contains(f.body, text) {
				t.Errorf("%s: %s", destination, f.body)
			}
		}
		c.close()
	})
}

// What is published on a virtual topic says so in the queues that get it.
func TestVirtualTopic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect("1.2")
		c.subscribe("a", "/queue/Consumer.A.VirtualTopic.news", "auto")
		h.send("/topic/VirtualTopic.news", "one")
		c.message("one", "destination:/queue/Consumer.A.VirtualTopic.news", "original-destination:/topic/VirtualTopic.news")
		h.send("/queue/Consumer.A.VirtualTopic.news", "two")
		if f := c.message("two"); f.header("original-destination") != "" {
			t.Errorf("it came from %s", f.header("original-destination"))
		}
		c.close()
	})
}
