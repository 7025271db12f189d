package broker

import (
	"fmt"
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
