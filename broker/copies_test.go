package broker

import (
	"fmt"
	"math"
	"slices"
	"strings"
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
		h := servePipes(t, Options{Brokers: 2, Copies: func() int { return int(copies.Load()) }})
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
			"SEND\ndestination:/queue/q\nmin-copies:3":                        "bad-header",
			"SEND\ndestination:/queue/q\nmin-copies:2\npersistent:false":      "bad-header",
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
		c.refused("bad-header")
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

// A broker without a pair keeps one copy, and will not keep more later.
func TestMinCopiesAlone(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	c := h.connect("1.2")
	c.do("SEND\ndestination:/queue/q\nmin-copies:1", "x")
	c.say("SEND\ndestination:/queue/q\nmin-copies:2\n\nx")
	c.refused("bad-header")
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

// A pairing is what a pair says of its copies.
type pairing struct {
	can  atomic.Int64  // brokers that will keep what is stored now
	both atomic.Uint64 // up to here two brokers do
}

func (p *pairing) options(least int) Options {
	p.can.Store(2)
	p.both.Store(math.MaxUint64)
	return Options{MinCopies: least, Brokers: 2, Copies: func() int { return int(p.can.Load()) }, Kept: func(seq uint64) int {
		if seq <= p.both.Load() {
			return 2
		}
		return 1
	}}
}

// What counts is how many brokers have it once it is durable: who asked for more gets
// an ERROR and no RECEIPT, with or without asking for one. It is stored all the same,
// and the ERROR says so. What came before it is answered, what comes after is not.
func TestMinCopiesOfWhatIsDurable(t *testing.T) {
	t.Parallel()
	for name, asked := range map[string]string{
		"SEND":                "SEND\ndestination:/queue/q\nmin-copies:2\nreceipt:r\n\nalone",
		"SEND, no receipt":    "SEND\ndestination:/queue/q\nmin-copies:2\n\nalone",
		"COMMIT":              "BEGIN\ntransaction:t\n\n\x00SEND\ndestination:/queue/q\ntransaction:t\n\nalone\x00COMMIT\ntransaction:t\nmin-copies:2\nreceipt:r\n\n",
		"SEND in transaction": "BEGIN\ntransaction:t\n\n\x00SEND\ndestination:/queue/q\ntransaction:t\nmin-copies:2\n\nalone\x00COMMIT\ntransaction:t\nreceipt:r\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var pair pairing
				h := servePipes(t, pair.options(0))
				c, consumer := h.connect("1.2"), h.connect("1.2")
				consumer.subscribe("s", "/queue/q", "auto")
				c.do("SEND\ndestination:/queue/q\nmin-copies:2", "both")
				pair.both.Store(h.journal.Last())
				h.gate.shut()
				c.say("SEND\ndestination:/queue/q\nreceipt:any\n\nwhatever")
				c.say(asked)
				c.say("SEND\ndestination:/queue/q\nreceipt:late\n\nlate")
				synctest.Wait()
				h.gate.open()
				c.want("RECEIPT", "receipt-id:any")
				f := c.want("ERROR", "code:not-replicated", "copies:1")
				if id := f.header("receipt-id"); id != "r" && !strings.Contains(name, "no receipt") {
					t.Errorf("got %s", f)
				}
				c.end()
				for _, body := range []string{"both", "whatever", "alone", "late"} {
					consumer.message(body)
				}
			})
		})
	}
}

// What two brokers have is answered though one of them is gone by then.
func TestMinCopiesThatAreThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var pair pairing
		h := servePipes(t, pair.options(0))
		c := h.connect("1.2")
		h.gate.shut()
		c.say("SEND\ndestination:/queue/q\nmin-copies:2\nreceipt:r\n\nx")
		synctest.Wait()
		pair.both.Store(h.journal.Last())
		pair.can.Store(1)
		h.gate.open()
		c.want("RECEIPT", "receipt-id:r")
		c.do("SEND\ndestination:/topic/nobody\npersistent:false", "x")
		c.do("SEND\ndestination:/queue/q", "y")
	})
}

// A broker that keeps all in two copies takes and gives nothing while it cannot: it
// stores nothing, and says so to who sends, commits, acknowledges or connects.
func TestCopiesOfAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var pair pairing
		h := servePipes(t, pair.options(2))
		consumer := h.connect("1.2")
		consumer.subscribe("s", "/queue/q", "client-individual")
		h.send("/queue/q", "one", "two", "three")
		one, two := consumer.message("one"), consumer.message("two")
		consumer.message("three")
		consumer.do("BEGIN\ntransaction:t")
		consumer.do(ackHead("ACK", "1.2", two) + "\ntransaction:t")
		asked := []string{
			"SEND\ndestination:/queue/q\n\nfour",
			"SEND\ndestination:/queue/q\nreceipt:r\n\nfour",
			"BEGIN\ntransaction:t\n\n\x00SEND\ndestination:/queue/q\ntransaction:t\n\nfive\x00COMMIT\ntransaction:t\n\n",
		}
		var others []*client
		for range asked {
			others = append(others, h.connect("1.2"))
		}
		last := h.journal.Last()
		pair.can.Store(1)
		for i, head := range asked {
			others[i].say(head)
			if f := others[i].refused("not-replicated"); f.header("copies") != "0" {
				t.Errorf("got %s", f)
			}
		}
		stranger := h.dial()
		stranger.say("CONNECT\naccept-version:1.2\n\n")
		stranger.refused("not-replicated")
		if got := h.journal.Last(); got != last {
			t.Errorf("%d entries were appended", got-last)
		}
		consumer.say(ackHead("ACK", "1.2", one) + "\nreceipt:a\n\n")
		consumer.say("COMMIT\ntransaction:t\nreceipt:t\n\n")
		if f := consumer.refused("not-replicated"); f.header("receipt-id") != "a" {
			t.Errorf("got %s", f)
		}
		pair.can.Store(2)
		h.wantLeft("/queue/q", "one", "two", "three")
	})
}

// Of a broker that keeps all in two copies no receipt says that something is safe which one has alone.
func TestEveryReceiptIsForAllCopies(t *testing.T) {
	t.Parallel()
	for _, asked := range []string{
		"DISCONNECT\nreceipt:r\n\n",
		"SUBSCRIBE\nid:s\ndestination:/topic/t\ndurable:true\nauto-delete:false\nreceipt:r\n\n",
		"BEGIN\ntransaction:t\n\n\x00COMMIT\ntransaction:t\nreceipt:r\n\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			var pair pairing
			h := servePipes(t, pair.options(2))
			c := h.connect("1.2")
			pair.both.Store(0)
			c.say("BEGIN\ntransaction:any\nreceipt:any\n\n") // that is stored nowhere
			c.want("RECEIPT", "receipt-id:any")
			c.say(asked)
			if f := c.want("ERROR", "code:not-replicated", "copies:1"); f.header("receipt-id") != "r" {
				t.Errorf("%q is answered with %s", asked, f)
			}
			c.end()
		})
	}
}

// What waits for who could keep it is answered with an ERROR when the broker is told
// not to wait any more, and so is what comes later; nobody has to hold a permit for
// that. It is stored, and goes out when it has become durable after all.
func TestRefuse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var pair pairing
		permit := newPermission()
		o := pair.options(2)
		o.Permit = permit
		h := servePipes(t, o)
		idle, acker, both, behind := h.connect("1.2"), h.connect("1.2"), h.connect("1.2"), h.connect("1.2")
		acker.subscribe("s", "/queue/q", "client")
		h.send("/queue/q", "settled")
		m := acker.message("settled")
		idle.subscribe("s", "/queue/p", "auto")
		both.subscribe("s", "/queue/both", "auto")
		behind.subscribe("s", "/queue/behind", "auto")
		asked := []string{
			"SEND\ndestination:/queue/p\nreceipt:r\n\none",
			"SEND\ndestination:/queue/behind\n\ntwo",
			"BEGIN\ntransaction:t\n\n\x00SEND\ndestination:/queue/p\ntransaction:t\n\nthree\x00COMMIT\ntransaction:t\nreceipt:r\n\n",
			"DISCONNECT\nreceipt:r\n\n", // for what came before, of whomever
			"SEND\ndestination:/queue/both\nreceipt:r\n\nx",
			ackHead("ACK", "1.2", m) + "\nreceipt:r\n\n",
			"BEGIN\ntransaction:t\nreceipt:r\n\n", // it has a message ahead of it
		}
		waiting := []*client{h.connect("1.2"), h.connect("1.2"), h.connect("1.2"), h.connect("1.2"), both, acker, behind}
		late, later := h.connect("1.2"), h.connect("1.2")
		h.gate.shut()
		permit.end()
		for i, c := range waiting {
			c.say(asked[i])
			synctest.Wait()
		}
		for _, c := range waiting {
			c.still()
		}
		h.Refuse(true)
		for i, c := range waiting {
			f := c.want("ERROR", "code:not-replicated", "copies:1")
			if asks := strings.Contains(asked[i], "receipt:r"); asks != (f.header("receipt-id") == "r") {
				t.Errorf("%q is answered with %s", asked[i], f)
			}
			c.end()
		}
		late.say("SEND\ndestination:/queue/p\nreceipt:r\n\nfour") // it was on its way
		late.want("ERROR", "code:not-replicated", "copies:1", "receipt-id:r")
		pair.can.Store(1)
		later.say("SEND\ndestination:/queue/p\nreceipt:r\n\nnever")
		later.want("ERROR", "code:not-replicated", "copies:0", "receipt-id:r")
		idle.still()

		h.Refuse(false)
		pair.can.Store(2)
		h.gate.open()
		permit.renew()
		var got []string
		for range 3 {
			got = append(got, idle.want("MESSAGE").body)
		}
		slices.Sort(got)
		if fmt.Sprint(got) != "[four one three]" {
			t.Errorf("the consumer has got %v", got)
		}
		idle.do("SEND\ndestination:/queue/other", "as ever")
		h.wantLeft("/queue/q")
		h.wantLeft("/queue/behind", "two")
	})
}

// Who is refused for another reason is told so, though what it waits for cannot come.
func TestRefuseAnythingElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var pair pairing
		permit := newPermission()
		o := pair.options(2)
		o.Permit = permit
		h := servePipes(t, o)
		c, other := h.connect("1.2"), h.connect("1.2")
		c.subscribe("s", "/queue/q", "client")
		h.gate.shut()
		permit.end()
		other.say("SEND\ndestination:/queue/q\n\nuncommitted")
		synctest.Wait()
		h.Refuse(true)
		other.refused("not-replicated")
		c.say("ABORT\ntransaction:none\nreceipt:r\n\n")
		if f := c.refused("no-such-transaction"); f.header("receipt-id") != "r" {
			t.Errorf("got %s", f)
		}
	})
}

// An ERROR does not wait for a permit, nor for messages that do.
func TestErrorNeedsNoPermit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		permit := newPermission()
		h := servePipes(t, Options{Permit: permit})
		c := h.connect("1.2")
		c.subscribe("s", "/queue/q", "client")
		producer := h.connect("1.2")
		permit.end()
		producer.say("SEND\ndestination:/queue/q\n\nheld")
		synctest.Wait()
		c.still()
		c.say("ACK\nid:none\n\n")
		c.want("ERROR")
		c.end()
		permit.renew()
		other := h.connect("1.2")
		other.subscribe("s", "/queue/q", "client")
		other.message("held", "delivery-count:1") // it was never sent
	})
}
