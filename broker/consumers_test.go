package broker

import (
	"fmt"
	"strings"
	"testing"
)

// Each header of a consumer, by all of its names, does what it says: that shows
// in where messages go.
func TestConsumerHeaders(t *testing.T) {
	t.Parallel()
	for _, version := range everyVersion {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			consumerHeaders(t, version)
		})
	}
}

func consumerHeaders(t *testing.T, version string) {
	h := serve(t, Options{})
	for i, header := range []string{"consumer-priority:1", "activemq.priority:1", "x-priority:1", "exclusive:true", "activemq.exclusive:true", "x-single-active-consumer:true"} {
		queue := fmt.Sprint("/queue/", i)
		plain, first := h.connect(version), h.connect(version)
		plain.subscribe("1", queue, "client")
		first.subscribe("1", queue, "client", header)
		h.send(queue, "one", "two")
		first.message("one")
		first.message("two")
		plain.nothing()
	}
	for i, header := range []string{"no-local:true", "activemq.noLocal:true"} {
		topic := fmt.Sprint("/topic/", i)
		c := h.connect(version)
		c.subscribe("1", "/topic/*", "auto", header)
		c.say("SEND\ndestination:" + topic + "\n\nown")
		c.nothing()
		h.send(topic, "other")
		c.message("other", "destination:"+topic)
		c.do("UNSUBSCRIBE\nid:1\ndestination:/topic/*")
	}
	one := h.connect(version)
	one.subscribe("1", "/queue/one", "client", "consumer-window-size:0")
	h.send("/queue/one", "one", "two")
	first := one.message("one")
	one.nothing()
	one.ack("ACK", version, first)
	one.message("two")
}

// A selector reads the headers as the client meant them, escaped or not.
func TestSelector(t *testing.T) {
	t.Parallel()
	for _, version := range everyVersion {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			h := serve(t, Options{})
			c := h.connect(version)
			colon := map[bool]string{true: ":", false: `\c`}[version == "1.0"]
			for i, destination := range []string{"/queue/a", "/topic/a"} {
				c.subscribe(fmt.Sprint(i), destination, "client", "selector:kind = 'a"+colon+"b' AND size > 5")
				for _, headers := range []string{"kind:a\nsize:9", "kind:a" + colon + "b\nsize:5", "kind:a" + colon + "b\nsize:6", "size:9"} {
					c.say("SEND\ndestination:" + destination + "\n" + headers + "\n\n" + headers[len(headers)-1:])
				}
				c.message("6", "destination:"+destination)
				c.nothing()
			}
		})
	}
}

// What has no room in memory is read from the journal, to be examined and to be
// delivered.
func TestSelectorReadsTheJournal(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{MemoryBytes: 1 << 20})
	c := h.connect("1.2")
	const messages, every = 3000, 500
	body := strings.Repeat("x", 1000)
	for i := range messages {
		c.say(fmt.Sprintf("SEND\ndestination:/queue/a\nn:%d\n\n%d %s", i%every, i, body))
	}
	c.do("SEND\ndestination:/queue/b", "end")
	c.subscribe("s", "/queue/a", "client-individual", "selector:n = 7", "prefetch-count:1")
	for i := 7; i < messages; i += every {
		c.ack("ACK", "1.2", c.message(fmt.Sprintf("%d %s", i, body)))
	}
	c.nothing()
	other := h.connect("1.2")
	other.subscribe("all", "/queue/a", "client-individual", "prefetch-count:1")
	other.message("0 " + body)
}

// A browser sees what is there, takes nothing, and is told the end.
func TestBrowser(t *testing.T) {
	t.Parallel()
	for _, version := range everyVersion {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			h := serve(t, Options{MemoryBytes: 64 << 10})
			h.send("/queue/a", "one", strings.Repeat("x", 50_000), "three")
			worker, c := h.connect(version), h.connect(version)
			worker.subscribe("w", "/queue/a", "client", "prefetch-count:1")
			one := worker.message("one")
			c.subscribe("b", "/queue/a", "client", "browser:true", "prefetch-count:1")
			for _, body := range []string{"one", strings.Repeat("x", 50_000), "three"} {
				if _, ok := c.message(body, "subscription:b").lookup("ack"); ok {
					t.Error("a browser is asked to acknowledge")
				}
			}
			c.message("", "subscription:b", "browser:end", "message-id:0", "destination:/queue/a")
			c.do("UNSUBSCRIBE\nid:b")
			worker.ack("ACK", version, one)
			worker.message(strings.Repeat("x", 50_000))
		})
	}
}

// With a selector it sees what matches, in memory and in the log.
func TestBrowserSelects(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{MemoryBytes: 256 << 10})
	c := h.connect("1.2")
	large := strings.Repeat("x", 30_000)
	for i := range 12 {
		c.do(fmt.Sprintf("SEND\ndestination:/queue/a\nn:%d", i%3), fmt.Sprint(i, large))
	}
	c.subscribe("b", "/queue/a", "auto", "browser:true", "selector:n = 1")
	for i := 1; i < 12; i += 3 {
		c.message(fmt.Sprint(i, large), "subscription:b")
	}
	c.message("", "subscription:b", "browser:end")
}
