package broker

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"baton/destinations"
	"baton/journal/memfs"
)

var acknowledging = []rule{
	{"A1", everyVersion, "auto: settled once sent; an ACK is ignored", autoMode},
	{"A2", everyVersion, "client: an ACK covers all that was sent before on that subscription, and no other", cumulativeAck},
	{"A3", since11, "client-individual: an ACK covers its message alone", individualAck},
	{"A4", only12, "1.2 acknowledges by the ack header, which auto has not", ackByID},
	{"A5", only11, "1.1 needs message-id and subscription", ackByMessageAndSubscription},
	{"A6", only10, "1.0 needs message-id alone, and has no NACK", ackByMessage},
	{"A7", since11, "NACK covers what an ACK would", nacks},
	{"A8", since11, "NACK redelivers and counts, up to the dead-letter queue; requeue:false goes there at once", nackRedelivers},
	{"A9", everyVersion, "an id never given out is refused by name; one that is settled or given back is ignored", unknownAcks},
	{"A10", everyVersion, "what a lost connection had goes to another, redelivered", lostConsumer},
	{"A11", everyVersion, "what returns goes to the front in its order", returnsInOrder},
	{"A12", everyVersion, "the receipt of an ACK waits until the ACK is durable", ackReceipt},
}

// left returns the bodies that are in a queue and held by nobody, in order. It
// takes them.
func (h *host) left(queue string) []string {
	h.t.Helper()
	c := h.connect("1.2")
	c.subscribe("1", queue, "auto")
	c.say("BEGIN\ntransaction:end\nreceipt:end\n\n")
	var bodies []string
	for {
		f := c.read()
		if f.command == "RECEIPT" {
			c.do("UNSUBSCRIBE\nid:1") // nothing that comes later is for it
			c.close()
			return bodies
		}
		bodies = append(bodies, f.body)
	}
}

func (h *host) wantLeft(queue string, want ...string) {
	h.t.Helper()
	if got := h.left(queue); fmt.Sprint(got) != fmt.Sprint(want) {
		h.t.Errorf("%s holds %q, want %q", queue, got, want)
	}
}

// leave disconnects and returns when that was carried out.
func (c *client) leave() {
	c.t.Helper()
	c.say("DISCONNECT\nreceipt:bye\n\n")
	c.want("RECEIPT", "receipt-id:bye")
	c.end()
}

func autoMode(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.subscribe("1", "/queue/a", "auto", "prefetch-count:1")
	h.send("/queue/a", "one")
	m := c.message("one")
	h.send("/queue/a", "two")
	c.message("two")
	if version != "1.2" { // there it has no id to be named by
		c.ack("ACK", version, m)
		c.nothing()
	} else {
		c.do("ACK\nid:1-1")
	}
	c.leave()
	h.wantLeft("/queue/a")
	unwrittenAuto(t, version)
}

// unwrittenAuto holds that a message is taken as consumed when it was written,
// and not when it could not be.
func unwrittenAuto(t *testing.T, version string) {
	for name, end := range map[string]func(c *client){
		"gone": func(c *client) { c.close() },
		"refused, and listening": func(c *client) {
			c.say("FOO\n\n")
			synctest.Wait() // the session ends while it writes
			c.tape = newTape()
			go c.tape.record(c.conn)
			c.in = bufio.NewReader(c.tape)
			c.message("one")
			c.want("ERROR")
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := servePipes(t, Options{})
			c := &client{t: t}
			c.conn, _ = h.pipes.dial(nil)
			t.Cleanup(c.close)
			c.write("CONNECT\naccept-version:" + version + "\n\n\x00")
			if f, err := parse(bufio.NewReader(c.conn)); err != nil {
				t.Fatal(f, err)
			}
			c.write("SUBSCRIBE\nid:1\ndestination:/queue/a\n\n\x00") // and it reads nothing more
			h.send("/queue/a", "one")
			synctest.Wait()
			end(c)
			synctest.Wait()
			other := h.connect(version)
			other.subscribe("1", "/queue/a", "auto")
			if name == "gone" {
				other.message("one", "redelivered:true")
			}
			other.nothing()
		})
	}
}

func cumulativeAck(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.subscribe("1", "/queue/a", "client")
	c.subscribe("2", "/queue/b", "client")
	h.send("/queue/b", "other 1")
	c.message("other 1")
	h.send("/queue/a", "1", "2", "3")
	c.message("1")
	second := c.message("2")
	c.message("3")
	h.send("/queue/b", "other 2")
	c.message("other 2")
	c.ack("ACK", version, second)
	c.leave()
	h.wantLeft("/queue/a", "3")
	h.wantLeft("/queue/b", "other 1", "other 2")
}

func individualAck(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.subscribe("1", "/queue/a", "client-individual")
	h.send("/queue/a", "1", "2", "3")
	c.message("1")
	second := c.message("2")
	c.message("3")
	c.ack("ACK", version, second)
	c.leave()
	h.wantLeft("/queue/a", "1", "3")
}

func ackByID(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	seen := map[string]bool{}
	for i, mode := range []string{"client", "client-individual"} {
		queue := fmt.Sprint("/queue/", i)
		c.subscribe(mode, queue, mode)
		h.send(queue, "one", "two")
		for _, m := range []frame{c.message("one"), c.message("two")} {
			id := m.header("ack")
			if id == "" || seen[id] {
				t.Errorf("no ack of its own in %s", m)
			}
			seen[id] = true
		}
		for id := range seen {
			c.do("ACK\nid:" + id) // also those of an ended subscription
		}
		c.do("UNSUBSCRIBE\nid:" + mode)
		h.wantLeft(queue)
	}
	c.subscribe("auto", "/queue/a", "auto")
	h.send("/queue/a", "one")
	if m := c.message("one"); contains(m, "ack:"+m.header("ack")) {
		t.Errorf("auto has an ack header: %s", m)
	}
	c.subscribe("3", "/queue/b", "client")
	h.send("/queue/b", "one")
	m := c.message("one")
	c.say("ACK\nmessage-id:" + m.header("message-id") + "\nsubscription:3\n\n")
	c.refused(codeHeader)
	for _, command := range []string{"ACK", "NACK"} {
		refuses(t, h, version, command+"\nreceipt:9\n\n\x00", codeHeader)
	}
}

func ackByMessageAndSubscription(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.subscribe("1", "/queue/a", "client-individual")
	h.send("/queue/a", "one", "two")
	one, two := c.message("one"), c.message("two")
	if one.header("ack") != "" {
		t.Errorf("1.1 has no ack header: %s", one)
	}
	// Under the name of another subscription it is not this message.
	c.do("ACK\nmessage-id:" + one.header("message-id") + "\nsubscription:2")
	c.ack("ACK", version, two)
	c.leave()
	h.wantLeft("/queue/a", "one")
	for _, command := range []string{"ACK", "NACK"} {
		refuses(t, h, version, command+"\nmessage-id:"+one.header("message-id")+"\n\n\x00", codeHeader)
		refuses(t, h, version, command+"\nsubscription:1\n\n\x00", codeHeader)
	}
}

func ackByMessage(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.subscribe("1", "/queue/a", "client")
	c.do("SUBSCRIBE\ndestination:/queue/b\nack:client")
	h.send("/queue/a", "one", "two")
	one, two := c.message("one"), c.message("two")
	c.do(ackHead("ACK", version, one))
	c.do(ackHead("ACK", version, two) + "\nsubscription:1")
	h.send("/queue/b", "three")
	c.do(ackHead("ACK", version, c.message("three")))
	// Two copies of one message on one connection are two messages.
	c.subscribe("3", "/topic/a", "client")
	c.subscribe("4", "/topic/a", "client")
	h.send("/topic/a", "copy")
	if a, b := c.message("copy"), c.message("copy"); a.header("message-id") == b.header("message-id") {
		t.Errorf("%s and %s have one id", a, b)
	}
	refuses(t, h, version, "ACK\nsubscription:1\n\n\x00", codeHeader)
	refuses(t, h, version, "NACK\nmessage-id:"+one.header("message-id")+"\n\n\x00", codeProtocol)
	c.leave()
	h.wantLeft("/queue/a")
	h.wantLeft("/queue/b")
}

func nacks(t *testing.T, version string) {
	for mode, want := range map[string][2]string{"client-individual": {"[1 3]", "[2]"}, "client": {"[3]", "[1 2]"}} {
		h := serve(t, Options{Machine: destinations.Options{MaxDeliveries: 1}}) // in vain once is enough
		c := h.connect(version)
		c.subscribe("1", "/queue/a", mode)
		c.subscribe("2", "/queue/b", mode)
		h.send("/queue/b", "other")
		c.message("other")
		h.send("/queue/a", "1", "2", "3")
		c.message("1")
		second := c.message("2")
		c.message("3")
		c.ack("NACK", version, second)
		c.leave()
		if got := fmt.Sprint(h.left("/queue/a")); got != want[0] {
			t.Errorf("%s: the queue holds %s, want %s", mode, got, want[0])
		}
		if got := fmt.Sprint(h.left("/queue/DLQ.a")); got != want[1] {
			t.Errorf("%s: the dead-letter queue holds %s, want %s", mode, got, want[1])
		}
		h.wantLeft("/queue/b", "other")
		h.wantLeft("/queue/DLQ.b")
	}
}

func nackRedelivers(t *testing.T, version string) {
	h := serve(t, Options{Machine: destinations.Options{MaxDeliveries: 3}})
	c := h.connect(version)
	c.subscribe("1", "/queue/a", "client-individual")
	c.subscribe("d", "/queue/DLQ.a", "client")
	h.send("/queue/a", "poison")
	m := c.message("poison")
	if m.header("redelivered") != "" || m.header("delivery-count") != "" {
		t.Errorf("the first delivery is %s", m)
	}
	c.ack("NACK", version, m)
	m = c.message("poison", "redelivered:true", "delivery-count:2")
	c.ack("NACK", version, m)
	m = c.message("poison", "redelivered:true", "delivery-count:3")
	c.ack("NACK", version, m)
	dead := c.message("poison", "subscription:d", "destination:/queue/DLQ.a", "original-destination:/queue/a",
		"dlq-reason:"+destinations.ReasonMaxDeliveries, "dlq-count:3", "original-message-id:"+m.header("message-id"))
	c.ack("ACK", version, dead)
	h.send("/queue/a", "rejected")
	c.ack("NACK", version, c.message("rejected"), "requeue:false")
	c.ack("ACK", version, c.message("rejected", "subscription:d", "dlq-reason:"+destinations.ReasonRejected))
	c.do("UNSUBSCRIBE\nid:1")
	c.subscribe("2", "/queue/a", "client", "requeue:false")
	h.send("/queue/a", "again")
	c.ack("NACK", version, c.message("again"))
	c.ack("ACK", version, c.message("again", "subscription:d", "dlq-reason:"+destinations.ReasonRejected))
	h.send("/queue/a", "kept")
	c.ack("ACK", version, c.message("kept"), "requeue:true")
	c.leave()
	h.wantLeft("/queue/a")
	h.wantLeft("/queue/DLQ.a")
}

func unknownAcks(t *testing.T, version string) {
	h := serve(t, Options{})
	never := map[string][]string{
		"1.0": {"message-id:b1-9999", "message-id:other-1", "message-id:", "message-id:b1-1.99"},
		"1.1": {"subscription:1\nmessage-id:b1-9999", "subscription:1\nmessage-id:nonsense", "subscription:1\nmessage-id:b1-01"},
		"1.2": {"id:1-99", "id:2-1", "id:0-1", "id:1-0", "id:1", "id:", "id:x", "id:1-1-1", "id:99999999999-1", "id:+1-1"},
	}
	for _, headers := range never[version] {
		c := h.connect(version)
		c.subscribe("1", "/queue/a", "client")
		c.say("ACK\nreceipt:9\n" + headers + "\n\n")
		f := c.refused(destinations.CodeUnknownAck)
		if f.header("receipt-id") != "9" {
			t.Errorf("got %s", f)
		}
	}
	c := h.connect(version)
	c.subscribe("1", "/queue/a", "client")
	c.say(map[string]string{
		"1.0": "ACK\nmessage-id:b1-7777\n\n", "1.1": "ACK\nmessage-id:b1-7777\nsubscription:1\n\n", "1.2": "ACK\nid:1-7777\n\n",
	}[version])
	if f := c.refused(destinations.CodeUnknownAck); !strings.Contains(f.header("message"), "7777") {
		t.Errorf("the ERROR does not name the id: %s", f)
	}
	// What another connection was given is not to be acknowledged here.
	c, thief := h.connect(version), h.connect(version)
	c.subscribe("1", "/queue/b", "client")
	h.send("/queue/b", "body")
	m := c.message("body")
	if version == "1.2" {
		thief.say(ackHead("ACK", version, m) + "\n\n")
		thief.refused(destinations.CodeUnknownAck)
	} else {
		thief.do(ackHead("ACK", version, m))
	}
	c.leave()
	c = h.connect(version)
	c.subscribe("1", "/queue/b", "client")
	m = c.message("body", "redelivered:true")
	c.ack("ACK", version, m)
	c.ack("ACK", version, m) // settled
	if version != "1.0" {
		c.ack("NACK", version, m)
	}
	c.do("UNSUBSCRIBE\nid:1")
	c.ack("ACK", version, m) // the subscription has ended
	h.wantLeft("/queue/b")
}

func lostConsumer(t *testing.T, version string) {
	h := serve(t, Options{})
	for i, end := range []func(c *client){
		func(c *client) { c.close() },
		func(c *client) { c.leave() },
		func(c *client) { c.say("FOO\n\n"); c.refused(codeProtocol) },
		func(c *client) { c.write("SEND\ndest"); c.close() },
	} {
		queue := fmt.Sprint("/queue/", i)
		c, other := h.connect(version), h.connect(version)
		c.subscribe("1", queue, "client")
		h.send(queue, "one", "two")
		c.message("one")
		c.message("two")
		other.subscribe("1", queue, "client")
		end(c)
		one := other.message("one", "redelivered:true")
		two := other.message("two", "redelivered:true")
		lost := i == 0 || i == 2 || i == 3 // it counts for the oldest message only
		if got := one.header("delivery-count") == "2"; got != lost {
			t.Errorf("case %d: the oldest is %s", i, one)
		}
		if two.header("delivery-count") != "1" {
			t.Errorf("case %d: the next is %s", i, two)
		}
	}
}

func returnsInOrder(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.subscribe("1", "/queue/a", "client", "prefetch-count:3")
	h.send("/queue/a", "1", "2", "3", "4", "5")
	for i := range 3 {
		c.message(fmt.Sprint(i + 1))
	}
	c.do("UNSUBSCRIBE\nid:1")
	c.subscribe("1", "/queue/a", "client", "prefetch-count:2")
	c.message("1", "redelivered:true")
	c.message("2", "redelivered:true")
	c.leave()
	h.wantLeft("/queue/a", "1", "2", "3", "4", "5")
}

func ackReceipt(t *testing.T, version string) {
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect(version)
		c.subscribe("1", "/queue/a", "client")
		h.send("/queue/a", "one", "two")
		one, two := c.message("one"), c.message("two")
		h.gate.shut()
		c.say(ackHead("ACK", version, one) + "\nreceipt:1\n\n")
		c.still()
		h.gate.open()
		c.want("RECEIPT", "receipt-id:1")
		after := h.disk.CrashClone(memfs.None)
		// An ACK that nobody waits for is not synced by itself, but a receipt
		// for it later means that it is.
		h.gate.shut()
		c.say(ackHead("ACK", version, two) + "\n\n")
		c.say(ackHead("ACK", version, two) + "\nreceipt:2\n\n")
		c.still()
		time.Sleep(time.Minute)
		c.still()
		h.gate.open()
		c.want("RECEIPT", "receipt-id:2")
		servePipesOn(t, after, Options{}, nil).wantLeft("/queue/a", "two")
		servePipesOn(t, h.disk.CrashClone(memfs.None), Options{}, nil).wantLeft("/queue/a")
	})
}

// What was delivered on one connection cannot be acknowledged on another, by whatever
// comes late: its id names nothing there, with the same broker or the next.
func TestAckOfAnotherConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		h.send("/queue/q", "one")
		c := h.connect("1.2")
		c.subscribe("s", "/queue/q", "client")
		old := c.message("one")
		c.close()
		synctest.Wait()
		for range 2 {
			c = h.connect("1.2")
			c.subscribe("s", "/queue/q", "client")
			if m := c.message("one"); m.header("ack") == old.header("ack") {
				t.Errorf("both have the ack %s", m.header("ack"))
			}
			c.say(ackHead("ACK", "1.2", old) + "\n\n")
			c.refused(destinations.CodeUnknownAck)
			if err := h.stop(); err != nil {
				t.Fatal(err)
			}
			h = servePipesOn(t, h.disk, Options{}, nil)
		}
		h.wantLeft("/queue/q", "one")
	})
}
