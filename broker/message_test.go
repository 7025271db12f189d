package broker

import (
	"fmt"
	"regexp"
	"slices"
	"testing"

	"baton/destinations"
)

var messages = []rule{
	{"M1", everyVersion, "destination, a message-id of its own, and the subscription", messageHeaders},
	{"M2", everyVersion, "destination is as the SEND wrote it", sameDestination},
	{"M3", everyVersion, "ack is there in 1.2 where an ACK is wanted, and nowhere else", ackHeader},
	{"M4", everyVersion, "content-type and content-length are kept", contentHeaders},
	{"M5", everyVersion, "the headers have an order, and none is there twice", headerOrder},
	{"M6", everyVersion, "ids are letters, digits, dot, underscore and hyphen", idAlphabet},
}

func messageHeaders(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	seen := map[string]bool{}
	for _, destination := range []string{"/queue/a", "/topic/a"} {
		id := destination[1:] + " x"
		c.subscribe(id, destination, "auto")
		for _, persistent := range []string{"true", "false"} {
			for range 3 {
				c.say("SEND\ndestination:" + destination + "\npersistent:" + persistent + "\n\nbody")
				m := c.message("body", "destination:"+destination, "subscription:"+id)
				if id := m.header("message-id"); id == "" || seen[id] {
					t.Errorf("message-id %q is not unique", id)
				} else {
					seen[id] = true
				}
			}
		}
	}
	if version == "1.0" {
		return
	}
	// An id may be of any characters that the version can write.
	c.subscribe(`\n\c\\`, "/queue/b", "auto")
	c.say("SEND\ndestination:/queue/b\n\nbody")
	c.message("body", `subscription:\n\c\\`)
}

func sameDestination(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	for i, name := range []string{"/queue/a", "/topic/a.b.c", "/queue/Ä b", "/queue/a/b", `/queue/a\b`, "/topic/a:b"} {
		if version != "1.0" {
			name = map[string]string{`/queue/a\b`: `/queue/a\\b`, "/topic/a:b": `/topic/a\cb`}[name] + map[bool]string{true: name}[i < 4]
		}
		c.subscribe(name, name, "auto")
		c.say("SEND\ndestination:" + name + "\n\nbody")
		c.message("body", "destination:"+name)
	}
	c.subscribe("wild", "/topic/w.*", "auto")
	c.say("SEND\ndestination:/topic/w.x\n\nbody")
	c.message("body", "destination:/topic/w.x")
	for _, queue := range []string{"/queue/1", "/queue/2"} {
		c.subscribe(queue, queue, "auto")
	}
	c.say("SEND\ndestination:/queue/1,/queue/2\n\nbody")
	c.message("body", "destination:/queue/1")
	c.message("body", "destination:/queue/2")
	c.subscribe("virtual", "/queue/Consumer.a.VirtualTopic.x", "auto")
	c.say("SEND\ndestination:/topic/VirtualTopic.x\n\nbody")
	c.message("body", "destination:/queue/Consumer.a.VirtualTopic.x", "original-destination:/topic/VirtualTopic.x")
}

func ackHeader(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	for _, mode := range []string{"auto", "client", "client-individual"} {
		for _, destination := range []string{"/queue/", "/topic/"} {
			name := destination + mode
			c.subscribe(name, name, mode)
			c.say("SEND\ndestination:" + name + "\n\nbody")
			_, got := c.message("body").lookup("ack")
			if want := version == "1.2" && mode != "auto"; got != want {
				t.Errorf("%s: an ack header is %v, want %v", name, got, want)
			}
		}
	}
}

func contentHeaders(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.subscribe("1", "/queue/a", "auto")
	for _, headers := range []string{"content-type:text/plain;charset=utf-8\ncontent-length:4\n", "content-type:text/plain;charset=utf-8\n"} {
		c.say("SEND\ndestination:/queue/a\n" + headers + "\nbody")
		c.message("body", "content-type:text/plain;charset=utf-8", "content-length:4")
	}
	c.say("SEND\ndestination:/queue/a\n\n")
	c.message("", "content-length:0")
}

func headerOrder(t *testing.T, version string) {
	h := serve(t, Options{Machine: destinations.Options{MaxDeliveries: 1}})
	c := h.connect(version)
	c.subscribe("1", "/queue/a", "client")
	c.subscribe("d", "/queue/DLQ.a", "client")
	c.say("SEND\nfoo:1\nsubscription:x\ndestination:/queue/a\nbar:2\nfoo:3\ncontent-length:4\nack:x\ncontent-type:text/plain\n\nbody")
	m := c.message("body")
	want := []string{"destination", "message-id", "subscription"}
	if version == "1.2" {
		want = append(want, "ack")
	}
	if got := m.names(); !slices.Equal(got, append(slices.Clone(want), "content-length", "foo", "bar", "content-type", "timestamp")) {
		t.Errorf("got %q", got)
	}
	c.do("UNSUBSCRIBE\nid:1")
	c.subscribe("1", "/queue/a", "client", "requeue:false")
	again := c.message("body")
	check := func(f frame) {
		seen := map[string]bool{}
		for _, name := range f.names() {
			if seen[name] {
				t.Errorf("%s is there twice in %s", name, f)
			}
			seen[name] = true
		}
		if !slices.Equal(f.names()[:len(want)], want) {
			t.Errorf("got %s", f)
		}
	}
	check(again)
	if version != "1.0" { // which has no NACK
		c.ack("NACK", version, again)
		check(c.message("body", "destination:/queue/DLQ.a"))
	}
}

func idAlphabet(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	f := h.dial().hello(version)
	alphabet := regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	if session := f.header("session"); !alphabet.MatchString(session) {
		t.Errorf("session %q", session)
	}
	for i, destination := range []string{"/queue/a", "/topic/a"} {
		c.subscribe(fmt.Sprint(i), destination, "client")
		for _, persistent := range []string{"true", "false"} {
			c.say("SEND\ndestination:" + destination + "\npersistent:" + persistent + "\n\nbody")
			m := c.message("body")
			if id := m.header("message-id"); !alphabet.MatchString(id) {
				t.Errorf("message-id %q", id)
			}
			if id := m.header("ack"); version == "1.2" && !alphabet.MatchString(id) {
				t.Errorf("ack %q", id)
			}
		}
	}
}
