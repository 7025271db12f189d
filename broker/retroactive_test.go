package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"baton/destinations"
)

// Each header gets what its topic has kept, before and after a restart, from
// memory and from the log.
func TestRetroactive(t *testing.T) {
	t.Parallel()
	for _, memory := range []int64{1 << 20, 1000} {
		synctest.Test(t, func(t *testing.T) {
			o := policyOf(t, "/topic/>", func(p *destinations.Policy) { p.Keep.Messages = 3 })
			o.Machine.MemoryBytes = memory
			h := servePipes(t, o)
			c := h.connect("1.2")
			for _, body := range []string{"one", "two", "three", "four"} {
				c.do("SEND\ndestination:/topic/t", body)
				time.Sleep(time.Second)
			}
			retroactiveHeaders(t, h.connect("1.2"))
			c.do("DISCONNECT")
			if err := h.stop(); err != nil {
				t.Fatal(err)
			}
			h = servePipesOn(t, h.disk, o, nil)
			c = h.connect("1.2")
			retroactiveHeaders(t, c)
			c.do("SUBSCRIBE\nid:all\ndestination:/topic/t\nretroactive:true")
			for _, body := range []string{"two", "three", "four"} {
				c.message(body, "destination:/topic/t", "subscription:all")
			}
			h.connect("1.2").do("SEND\ndestination:/topic/t", "five")
			c.message("five")
			c.nothing()
		})
	}
}

// retroactiveHeaders expects that the topic has kept two, three and four, a second
// from one to the next.
func retroactiveHeaders(t *testing.T, c *client) {
	t.Helper()
	since := ""
	for i, s := range []struct{ header, bodies string }{
		{"activemq.retroactive:true", "two three four"},
		{"x-retroactive-messages:2", "three four"},
		{"SINCE", "three four"},
		{"SINCE\nx-retroactive-messages:1", "four"},
		{"retroactive:false", ""},
	} {
		header := strings.ReplaceAll(s.header, "SINCE", "x-retroactive-since:"+since)
		c.do(fmt.Sprintf("SUBSCRIBE\nid:%d\ndestination:/topic/t\n%s", i, header))
		for _, body := range strings.Fields(s.bodies) {
			if f := c.message(body); body == "three" {
				since = f.header("timestamp")
			}
		}
		c.nothing()
		c.do(fmt.Sprintf("UNSUBSCRIBE\nid:%d", i))
	}
}

// A durable subscription gets what was kept when it is made, once.
func TestRetroactiveDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, policyOf(t, "/topic/>", func(p *destinations.Policy) { p.Keep.Messages = 3 }))
		producer := h.connect("1.2")
		producer.do("SEND\ndestination:/topic/t\ncolor:red", "one")
		producer.do("SEND\ndestination:/topic/t\ncolor:blue", "two")
		for range 2 {
			c := h.connect("1.2", "client-id:c")
			c.do("SUBSCRIBE\nid:1\ndestination:/topic/t\nack:client\nactivemq.subscriptionName:x\nactivemq.retroactive:true\nselector:color = 'red'")
			c.message("one")
			c.nothing()
			c.do("DISCONNECT")
		}
		c := h.connect("1.2", "client-id:c")
		c.do("SUBSCRIBE\nid:1\ndestination:/topic/t\nack:client\nactivemq.subscriptionName:x\nretroactive:true\nselector:color = 'red'")
		c.ack("ACK", "1.2", c.message("one", "redelivered:true"))
		c.do("DISCONNECT")
		c = h.connect("1.2", "client-id:c")
		c.do("SUBSCRIBE\nid:1\ndestination:/topic/t\nack:client\nactivemq.subscriptionName:x\nretroactive:true\nselector:color = 'red'")
		c.nothing()
	})
}

// What cannot be is refused, with the headers by their names. On a queue,
// retroactive:true is what is so anyway.
func TestRetroactiveRefused(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	for _, s := range []struct{ destination, headers, names string }{
		{"/queue/q", "x-retroactive-messages:5", "x-retroactive-messages"},
		{"/queue/q,/queue/r", "x-retroactive-since:5", "x-retroactive-since"},
		{"/topic/t", "x-retroactive-messages:0", "x-retroactive-messages"},
		{"/topic/t", "x-retroactive-since:-1", "x-retroactive-since"},
		{"/topic/t", "x-retroactive-since:yesterday", "x-retroactive-since"},
		{"/topic/t", "x-retroactive-since:253402300800000", "x-retroactive-since 253402300799999"},
		{"/topic/t", "x-retroactive-messages:100000001", "x-retroactive-messages 100000000"},
		{"/topic/t", "retroactive:1", "retroactive"},
		{"/topic/t", "retroactive:false\nx-retroactive-messages:5", "retroactive false x-retroactive-messages"},
		{"/topic/t", "activemq.retroactive:false\nx-retroactive-since:5", "activemq.retroactive false x-retroactive-since"},
		{"/topic/t", "retroactive:true\nactivemq.retroactive:false", "retroactive activemq.retroactive"},
	} {
		f := refuses(t, h, "1.2", "SUBSCRIBE\nid:1\ndestination:"+s.destination+"\n"+s.headers+"\n\n\x00", codeHeader)
		for _, name := range strings.Fields(s.names) {
			if !strings.Contains(f.header("message"), name) {
				t.Errorf("%s on %s is answered by %s", s.headers, s.destination, f)
			}
		}
	}
	c := h.connect("1.2")
	h.send("/queue/q", "one")
	c.do("SUBSCRIBE\nid:1\ndestination:/queue/q\nactivemq.retroactive:true")
	c.message("one")
}
