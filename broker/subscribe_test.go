package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"baton/destinations"
)

var subscribing = []rule{
	{"U1", everyVersion, "SUBSCRIBE needs a destination", subscribeDestination},
	{"U2", since11, "SUBSCRIBE needs an id, new on this connection", subscriptionIDs},
	{"U3", only10, "the id may be missing; UNSUBSCRIBE names it or the destination", subscriptionsWithoutID},
	{"U4", everyVersion, "ack is auto, client or client-individual", ackModes},
	{"U5", everyVersion, "a subscription that cannot be made is answered with ERROR and the end", subscribeRefused},
	{"U6", since11, "UNSUBSCRIBE needs the id of a subscription", unsubscribeID},
	{"U7", everyVersion, "after UNSUBSCRIBE no message follows; what was unacknowledged returns at once", unsubscribeReturns},
	{"U8", everyVersion, "the receipt of SUBSCRIBE comes before its first message", receiptBeforeMessages},
	{"U9", everyVersion, "receipts may repeat, and be the id of a subscription", repeatedReceipts},
}

func subscribeDestination(t *testing.T, version string) {
	h := serve(t, Options{})
	refuses(t, h, version, "SUBSCRIBE\nid:1\n\n\x00", codeHeader)
	for _, bad := range []string{"", "a", "/queue/", "/exchange/a", "/topic/a*", "/topic/>.a", "/queue/a,b", "/queue/$temp.x,/queue/a", "/topic/$temp.>"} {
		refuses(t, h, version, "SUBSCRIBE\nid:1\ndestination:"+bad+"\n\n\x00", destinations.CodeBadDestination)
	}
}

func subscriptionIDs(t *testing.T, version string) {
	h := serve(t, Options{})
	refuses(t, h, version, "SUBSCRIBE\ndestination:/queue/a\n\n\x00", codeHeader)
	c, other := h.connect(version), h.connect(version)
	c.subscribe("1", "/queue/a", "auto")
	other.subscribe("1", "/queue/a", "auto")
	c.subscribe("2", "/queue/a", "auto")
	c.do("UNSUBSCRIBE\nid:1")
	c.subscribe("1", "/topic/a", "auto") // free again
	c.say("SUBSCRIBE\nid:1\ndestination:/queue/b\nreceipt:9\n\n")
	if f := c.refused(destinations.CodeSubscriptionExists); f.header("receipt-id") != "9" {
		t.Errorf("got %s", f)
	}
}

func subscriptionsWithoutID(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.do("SUBSCRIBE\ndestination:/queue/a")
	c.do("SUBSCRIBE\ndestination:/queue/b\nid:b")
	h.send("/queue/a", "a")
	if _, ok := c.message("a").lookup("subscription"); ok {
		t.Error("a subscription without id was named")
	}
	h.send("/queue/b", "b")
	c.message("b", "subscription:b")
	c.do("UNSUBSCRIBE\ndestination:/queue/a")
	c.do("UNSUBSCRIBE\ndestination:/queue/b") // it has an id, and this is a way to name it
	h.send("/queue/a", "a")
	h.send("/queue/b", "b")
	c.nothing()
	c.do("SUBSCRIBE\ndestination:/queue/b\nid:b")
	c.message("b", "subscription:b")
	c.do("UNSUBSCRIBE\nid:b")
	h.send("/queue/b", "b")
	c.nothing()
	refuses(t, h, version, "UNSUBSCRIBE\ndestination:/queue/a\n\n\x00", destinations.CodeNoSubscription)
	refuses(t, h, version, "UNSUBSCRIBE\nid:9\n\n\x00", destinations.CodeNoSubscription)
	refuses(t, h, version, "UNSUBSCRIBE\n\n\x00", codeHeader)
	endedSubscriptions(t, version)
}

// endedSubscriptions holds that a session remembers nothing of them.
func endedSubscriptions(t *testing.T, version string) {
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect(version)
		for i := range 100 {
			subscribe := fmt.Sprintf("SUBSCRIBE\ndestination:/queue/%d", i)
			unsubscribe := fmt.Sprintf("UNSUBSCRIBE\ndestination:/queue/%d", i)
			if i%2 == 0 {
				subscribe += "\nid:1"
				unsubscribe = "UNSUBSCRIBE\nid:1"
			}
			c.do(subscribe)
			c.do(unsubscribe)
		}
		synctest.Wait()
		for s := range h.sessions {
			if len(s.unnamed) > 0 {
				t.Errorf("%d destinations are remembered", len(s.unnamed))
			}
		}
	})
}

func ackModes(t *testing.T, version string) {
	h := serve(t, Options{})
	for _, bad := range []string{"", "Auto", "client ack", "none"} {
		refuses(t, h, version, "SUBSCRIBE\nid:1\ndestination:/queue/a\nack:"+bad+"\n\n\x00", codeHeader)
	}
	for i, mode := range []struct {
		header string
		keeps  bool
	}{{"", false}, {"\nack:auto", false}, {"\nack:client", true}, {"\nack:client-individual", true}} {
		if version == "1.0" && strings.HasSuffix(mode.header, "individual") {
			continue // understood and not promised
		}
		queue := fmt.Sprint("/queue/", i)
		producer, c := h.connect(version), h.connect(version)
		h.send(queue, "body")
		c.do("SUBSCRIBE\nid:1\ndestination:" + queue + mode.header)
		c.message("body")
		c.say("DISCONNECT\nreceipt:bye\n\n")
		c.want("RECEIPT")
		producer.subscribe("1", queue, "auto")
		if mode.keeps {
			producer.message("body", "redelivered:true")
		}
		producer.nothing()
	}
}

func subscribeRefused(t *testing.T, version string) {
	h := serve(t, Options{Machine: destinations.Options{MaxSubscriptions: 2}})
	const subscribe = "SUBSCRIBE\nid:1\ndestination:/queue/a\nreceipt:9\n"
	for _, header := range []string{
		"prefetch-count:0", "prefetch-count:-1", "prefetch-count:x", "prefetch-count:65536", "activemq.prefetchSize:0",
		"consumer-window-size:-2", "selector:a =", "requeue:no", "durable:yes", "exclusive:yes", "no-local:1", "x-priority:high",
		"activemq.retroactive:yes", "x-retroactive-messages:5", "x-retroactive-since:5",
		"activemq.priority:2147483648", "activemq.maximumPendingMessageLimit:-2",
	} {
		refuses(t, h, version, subscribe+header+"\n\n\x00", codeHeader)
	}
	for header, want := range map[string]string{
		"consumer-window-size:-2":                      "from 1 to 268435456, or 0: one message at a time, or -1: no limit",
		"consumer-window-size:268435457":               "from 1 to 268435456, or 0: one message at a time, or -1: no limit",
		"activemq.maximumPendingMessageLimit:-2":       "from 1 to 10000000, or -1: no limit of its own",
		"activemq.maximumPendingMessageLimit:10000001": "from 1 to 10000000, or -1: no limit of its own",
	} {
		f := refuses(t, h, version, subscribe+header+"\n\n\x00", codeHeader)
		if text := strings.ReplaceAll(f.header("message"), `\c`, ":"); !strings.HasSuffix(text, want) {
			t.Errorf("%s is refused with %q, want %q at its end", header, text, want)
		}
	}
	c := h.connect(version)
	c.subscribe("1", "/queue/a", "auto", "selector:", "durable:false", "prefetch-count:65535")
	c.subscribe("2", "/queue/b", "auto")
	c.say("SUBSCRIBE\nid:3\ndestination:/queue/c\n\n")
	c.refused(destinations.CodeTooManySubscription)
}

func unsubscribeID(t *testing.T, version string) {
	h := serve(t, Options{})
	refuses(t, h, version, "UNSUBSCRIBE\n\n\x00", codeHeader)
	refuses(t, h, version, "UNSUBSCRIBE\nid:1\n\n\x00", destinations.CodeNoSubscription)
	refuses(t, h, version, "SUBSCRIBE\nid:1\ndestination:/queue/a\n\n\x00UNSUBSCRIBE\ndestination:/queue/a\n\n\x00", codeHeader)
	h.connect(version).subscribe("1", "/queue/a", "auto")
	refuses(t, h, version, "UNSUBSCRIBE\nid:1\n\n\x00", destinations.CodeNoSubscription) // it is another's
}

func unsubscribeReturns(t *testing.T, version string) {
	h := serve(t, Options{})
	c, other := h.connect(version), h.connect(version)
	c.subscribe("1", "/queue/a", "client")
	h.send("/queue/a", "one", "two", "three")
	one := c.message("one")
	c.message("two")
	c.message("three")
	c.ack("ACK", version, one)
	other.subscribe("9", "/queue/a", "client", "prefetch-count:1")
	other.nothing()
	c.do("UNSUBSCRIBE\nid:1")
	two := other.message("two", "redelivered:true")
	h.send("/queue/a", "four")
	c.ack("ACK", version, one) // comes too late and is ignored
	c.nothing()
	other.ack("ACK", version, two)
	three := other.message("three", "redelivered:true")
	other.ack("ACK", version, three)
	if four := other.message("four"); four.header("redelivered") != "" {
		t.Errorf("got %s", four)
	}
	// A subscription of the same id does not get what the old one had.
	c.subscribe("1", "/queue/a", "client")
	c.ack("ACK", version, one)
	c.nothing()
	unsubscribeForgets(t, version)
}

// unsubscribeForgets holds that what waited to be written when UNSUBSCRIBE
// came is not written after its receipt.
func unsubscribeForgets(t *testing.T, version string) {
	for _, destination := range []string{"/queue/a", "/topic/a"} {
		synctest.Test(t, func(t *testing.T) {
			h := servePipes(t, Options{})
			producer, c := h.connect(version), h.connect(version)
			c.subscribe("1", destination, "auto")
			h.gate.shut()
			// Behind this one, which is not durable, all that follows waits.
			c.say("SEND\ndestination:/queue/other\nreceipt:held\n\nbody")
			synctest.Wait()
			for i := range 10 {
				producer.say(fmt.Sprintf("SEND\ndestination:%s\n\n%d", destination, i))
			}
			synctest.Wait()
			c.say("UNSUBSCRIBE\nid:1\nreceipt:gone\n\n")
			c.still()
			h.gate.open()
			c.want("RECEIPT", "receipt-id:held")
			c.want("RECEIPT", "receipt-id:gone")
			c.still()
		})
	}
}

func receiptBeforeMessages(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	for i := range 20 {
		h.send("/queue/a", fmt.Sprint(i))
	}
	c.say("SUBSCRIBE\nid:1\ndestination:/queue/a\nreceipt:r\n\n")
	c.want("RECEIPT", "receipt-id:r")
	for i := range 20 {
		c.message(fmt.Sprint(i))
	}
}

// repeatedReceipts speaks as go-stomp does, which asks for the receipt of
// UNSUBSCRIBE by the id of the subscription. The library itself now and then
// misses that receipt though it came.
func repeatedReceipts(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	for range 3 {
		c.say("SUBSCRIBE\nid:1\ndestination:/queue/a\nreceipt:1\n\n")
		c.want("RECEIPT", "receipt-id:1")
		c.say("SEND\ndestination:/queue/b\nreceipt:1\n\nbody")
		c.want("RECEIPT", "receipt-id:1")
		c.say("UNSUBSCRIBE\nid:1\nreceipt:1\n\n")
		c.want("RECEIPT", "receipt-id:1")
	}
}
