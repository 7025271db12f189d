package broker

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Who asks for more copies than are kept gets an ERROR that says so, and nothing is
// stored; who asks for as many is served, and the message does not say it.
func TestMinCopies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var copies atomic.Int64
		h := servePipes(t, Options{Copies: func() int { return int(copies.Load()) }})
		copies.Store(2)
		c := h.connect("1.2")
		c.do("SEND\ndestination:/queue/q\nmin-copies:1", "one")
		c.do("SEND\ndestination:/queue/q\nmin-copies:2", "two")
		c.do("BEGIN\ntransaction:t")
		c.do("SEND\ndestination:/queue/q\ntransaction:t\nmin-copies:2", "three")
		c.do("COMMIT\ntransaction:t\nmin-copies:2")
		c.do("BEGIN\ntransaction:t")
		c.do("SEND\ndestination:/queue/q\ntransaction:t\nmin-copies:2", "late")
		copies.Store(1)
		c.say("COMMIT\ntransaction:t\nreceipt:r\n\n")
		if f := c.refused("not-replicated"); f.header("receipt-id") != "r" {
			t.Errorf("got %s", f)
		}
		for head, code := range map[string]string{
			"SEND\ndestination:/queue/q\nmin-copies:2":                        "not-replicated",
			"SEND\ndestination:/queue/q\nmin-copies:0":                        "bad-header",
			"SEND\ndestination:/queue/q\nmin-copies:two":                      "bad-header",
			"SEND\ndestination:/queue/q\nmin-copies:-2":                       "bad-header",
			"SEND\ndestination:/queue/q\nmin-copies:":                         "bad-header",
			"SEND\ndestination:/queue/q\nmin-copies:101":                      "bad-header",
			"SEND\ndestination:/queue/q\nmin-copies:2\npersistent:false":      "not-replicated",
			"BEGIN\ntransaction:t\n\n\x00COMMIT\ntransaction:t\nmin-copies:2": "not-replicated",
			"BEGIN\ntransaction:t\n\n\x00COMMIT\ntransaction:t\nmin-copies:x": "bad-header",
		} {
			c := h.connect("1.2")
			c.say(head + "\n\n")
			c.refused(code)
		}
		copies.Store(2)
		c = h.connect("1.2")
		c.say("SEND\ndestination:/queue/q\nmin-copies:2\npersistent:false\n\nx")
		c.refused("not-replicated")
		if coming := h.budget.coming.Load(); coming != 0 {
			t.Errorf("%d octets are still counted", coming)
		}
		c = h.connect("1.2")
		c.subscribe("s", "/queue/q", "auto")
		for _, body := range []string{"one", "two", "three"} {
			if _, told := c.message(body).lookup("min-copies"); told {
				t.Error("the consumer is told of min-copies")
			}
		}
		c.nothing()
	})
}

// A broker without a pair keeps one copy.
func TestMinCopiesAlone(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	c := h.connect("1.2")
	c.do("SEND\ndestination:/queue/q\nmin-copies:1", "x")
	c.say("SEND\ndestination:/queue/q\nmin-copies:2\n\nx")
	c.refused("not-replicated")
}

// What the owner of the broker adds to CONNECTED is as it is at that moment, and
// CONNECTED has no escapes, so what would need them is left out.
func TestConnectedHeaders(t *testing.T) {
	t.Parallel()
	for _, version := range everyVersion {
		synctest.Test(t, func(t *testing.T) {
			epoch := "1"
			h := servePipes(t, Options{Connected: func() []Header {
				return []Header{{"brokers", "tcp://a:1,tcp://b:2"}, {"epoch", epoch}, {"role", "mas\nter\x00\r"}}
			}})
			h.dial().wantConnected(version, "brokers:tcp://a:1,tcp://b:2", "epoch:1", "role:master")
			synctest.Wait()
			epoch = "2"
			h.dial().wantConnected(version, "epoch:2")
		})
	}
}

func (c *client) wantConnected(version string, headers ...string) {
	c.t.Helper()
	c.say("CONNECT\naccept-version:" + version + "\n\n")
	c.want("CONNECTED", headers...)
}

// A broker that keeps all in two copies refuses what is persistent while it cannot, and nothing else.
func TestCopiesOfAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var copies atomic.Int64
		h := servePipes(t, Options{MinCopies: 2, Copies: func() int { return int(copies.Load()) }})
		copies.Store(2)
		c := h.connect("1.2")
		c.subscribe("s", "/queue/q", "client-individual")
		c.do("SEND\ndestination:/queue/q", "one")
		m := c.message("one")
		copies.Store(1)
		id, _ := m.lookup("ack")
		c.do("ACK\nid:" + id) // what is settled needs no copy
		c.do("SEND\ndestination:/queue/q\npersistent:false", "two")
		c.message("two")
		c.do("BEGIN\ntransaction:t")
		c.do("SEND\ndestination:/queue/q\ntransaction:t\npersistent:false", "three")
		c.do("COMMIT\ntransaction:t")
		c.message("three")
		for _, head := range []string{
			"SEND\ndestination:/queue/q\n\nfour",
			"BEGIN\ntransaction:t\n\n\x00SEND\ndestination:/queue/q\ntransaction:t\n\nfive\x00COMMIT\ntransaction:t\n\n",
		} {
			c := h.connect("1.2")
			c.say(head)
			c.refused("not-replicated")
		}
		c.nothing()
	})
}
