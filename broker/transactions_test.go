package broker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"baton/destinations"
	"baton/journal/memfs"
)

var transactions = []rule{
	{"T1", everyVersion, "BEGIN, COMMIT and ABORT need a transaction", transactionHeader},
	{"T2", everyVersion, "an open id cannot be begun again; it is free afterwards, and on other connections", transactionIDs},
	{"T3", everyVersion, "COMMIT and ABORT of what is not open are refused", unknownTransactions},
	{"T4", everyVersion, "SENDs are seen at COMMIT, all or none, whatever a crash leaves", atomicTransaction},
	{"T5", everyVersion, "ACK and NACK take effect at COMMIT; ABORT leaves the messages to be acknowledged again", acksInTransaction},
	{"T6", everyVersion, "a cumulative ACK covers what was sent when it came", cumulativeAckInTransaction},
	{"T7", everyVersion, "the end of the connection aborts", endAborts},
	{"T8", everyVersion, "the order in a transaction is kept, over several destinations", transactionOrder},
	{"T9", everyVersion, "open transactions, their frames, octets and idleness are limited", transactionLimits},
	{"T10", everyVersion, "the receipt of COMMIT waits until it is durable", commitReceipt},
	{"T11", everyVersion, "the receipt of a SEND in a transaction says that it was taken", sendReceiptInTransaction},
}

func transactionHeader(t *testing.T, version string) {
	h := serve(t, Options{})
	for _, command := range []string{"BEGIN", "COMMIT", "ABORT"} {
		f := refuses(t, h, version, command+"\nreceipt:9\n\n\x00", codeHeader)
		if f.header("receipt-id") != "9" || !strings.Contains(f.header("message"), "transaction") {
			t.Errorf("got %s", f)
		}
	}
}

func transactionIDs(t *testing.T, version string) {
	h := serve(t, Options{})
	c, other := h.connect(version), h.connect(version)
	for _, end := range []string{"COMMIT", "ABORT"} {
		c.do("BEGIN\ntransaction:t")
		other.do("BEGIN\ntransaction:t")
		c.do("BEGIN\ntransaction:u")
		c.do(end + "\ntransaction:t")
		c.do(end + "\ntransaction:u")
		other.do(end + "\ntransaction:t")
	}
	refuses(t, h, version, "BEGIN\ntransaction:t\n\n\x00BEGIN\ntransaction:t\n\n\x00", codeTransactionNew)
}

func unknownTransactions(t *testing.T, version string) {
	h := serve(t, Options{})
	h.connect(version).do("BEGIN\ntransaction:t") // another's
	for _, command := range []string{"COMMIT", "ABORT"} {
		refuses(t, h, version, command+"\ntransaction:t\n\n\x00", codeTransaction)
		for _, end := range []string{"COMMIT", "ABORT"} {
			refuses(t, h, version, "BEGIN\ntransaction:t\n\n\x00"+end+"\ntransaction:t\n\n\x00"+command+"\ntransaction:t\n\n\x00", codeTransaction)
		}
	}
	c := h.connect(version)
	c.subscribe("1", "/queue/a", "client")
	h.send("/queue/a", "body")
	c.say(ackHead("ACK", version, c.message("body")) + "\ntransaction:t\n\n")
	c.refused(codeTransaction)
}

// atomicTransaction commits a transaction that takes a message from one queue
// and puts some into others, and starts a broker on what each instant of a
// power cut would leave on the disk.
func atomicTransaction(t *testing.T, version string) {
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c, other := h.connect(version), h.connect(version)
		c.subscribe("1", "/queue/in", "client")
		other.subscribe("1", "/queue/out", "auto")
		h.send("/queue/in", "in")
		in := c.message("in")
		c.do("BEGIN\ntransaction:t")
		c.ack("ACK", version, in, "transaction:t")
		for _, queue := range []string{"a", "out", "b", "a"} {
			c.do("SEND\ndestination:/queue/"+queue+"\ntransaction:t", strings.Repeat("x", 2000))
		}
		other.still()
		var found []*memfs.FS
		h.disk.OnCall(func(memfs.Call) error {
			for _, keep := range []memfs.Keep{memfs.None, memfs.All, memfs.Random(1), memfs.Random(2)} {
				found = append(found, h.disk.CrashClone(keep))
			}
			return nil
		})
		c.do("COMMIT\ntransaction:t")
		h.disk.OnCall(nil)
		found = append(found, h.disk.CrashClone(memfs.None))
		other.message(strings.Repeat("x", 2000))

		seen := map[string]int{}
		for i, disk := range found {
			h := servePipesOn(t, disk, Options{}, nil)
			state := fmt.Sprintf("in %d, a %d, b %d, out %d",
				len(h.left("/queue/in")), len(h.left("/queue/a")), len(h.left("/queue/b")), len(h.left("/queue/out")))
			seen[state]++
			if i == len(found)-1 && state != "in 0, a 2, b 1, out 1" {
				t.Errorf("after the receipt: %s", state)
			}
			if err := h.stop(); err != nil {
				t.Error(err)
			}
		}
		want := []string{"in 0, a 2, b 1, out 1", "in 1, a 0, b 0, out 0"}
		if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, want) {
			t.Errorf("crashes left %v", seen)
		}
	})
}

func acksInTransaction(t *testing.T, version string) {
	h := serve(t, Options{Machine: destinations.Options{MaxDeliveries: 1}})
	commands := []string{"ACK", "NACK"}
	if version == "1.0" {
		commands = commands[:1]
	}
	for _, command := range commands {
		c := h.connect(version)
		c.subscribe("1", "/queue/a", "client")
		h.send("/queue/a", "body")
		m := c.message("body")
		c.do("BEGIN\ntransaction:t")
		c.ack(command, version, m, "transaction:t")
		h.wantLeft("/queue/a")
		h.wantLeft("/queue/DLQ.a")
		c.do("ABORT\ntransaction:t")
		c.nothing() // it is still delivered here
		c.do("BEGIN\ntransaction:t")
		c.ack(command, version, m, "transaction:t")
		c.do("COMMIT\ntransaction:t")
		c.leave()
		h.wantLeft("/queue/a")
		if command == "NACK" {
			h.wantLeft("/queue/DLQ.a", "body")
		}
	}
	// After ABORT an ACK outside of any transaction settles, and none does not.
	for _, acknowledged := range []bool{true, false} {
		c := h.connect(version)
		c.subscribe("1", "/queue/b", "client")
		h.send("/queue/b", "body")
		m := c.message("body")
		c.do("BEGIN\ntransaction:t")
		c.ack("ACK", version, m, "transaction:t")
		c.do("ABORT\ntransaction:t")
		if acknowledged {
			c.ack("ACK", version, m)
		}
		c.leave()
		if acknowledged {
			h.wantLeft("/queue/b")
		} else {
			h.wantLeft("/queue/b", "body")
		}
	}
	manyInTransaction(t, h, version)
}

// manyInTransaction takes more in a transaction than the prefetch.
func manyInTransaction(t *testing.T, h *host, version string) {
	c := h.connect(version)
	c.subscribe("1", "/queue/c", "client", "prefetch-count:2")
	h.send("/queue/c", "1", "2", "3", "4", "5", "6")
	c.say("BEGIN\ntransaction:t\n\n")
	for i := range 6 {
		c.say(ackHead("ACK", version, c.message(fmt.Sprint(i+1))) + "\ntransaction:t\n\n")
	}
	c.do("COMMIT\ntransaction:t")
	c.leave()
	h.wantLeft("/queue/c")
}

func cumulativeAckInTransaction(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.subscribe("1", "/queue/a", "client")
	h.send("/queue/a", "1", "2", "3")
	c.message("1")
	second := c.message("2")
	c.message("3")
	c.do("BEGIN\ntransaction:t")
	c.ack("ACK", version, second, "transaction:t")
	h.send("/queue/a", "4")
	c.message("4")
	c.do("COMMIT\ntransaction:t")
	c.leave()
	h.wantLeft("/queue/a", "3", "4")
}

func endAborts(t *testing.T, version string) {
	for _, end := range []func(*client){(*client).leave, (*client).close} {
		h := serve(t, Options{})
		c, other := h.connect(version), h.connect(version)
		c.subscribe("1", "/queue/a", "client")
		h.send("/queue/a", "body")
		m := c.message("body")
		c.do("BEGIN\ntransaction:t")
		c.ack("ACK", version, m, "transaction:t")
		c.do("SEND\ndestination:/queue/b\ntransaction:t", "never")
		other.subscribe("b", "/queue/b", "auto")
		other.subscribe("a", "/queue/a", "auto")
		end(c)
		other.message("body", "redelivered:true")
		other.nothing()
	}
}

func transactionOrder(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	for _, tx := range []string{"t", "u"} {
		c.say("BEGIN\ntransaction:" + tx + "\n\n")
	}
	for i := range 10 {
		for _, tx := range []string{"t", "u"} {
			for _, queue := range []string{"a", "b"} {
				c.say(fmt.Sprintf("SEND\ndestination:/queue/%s\ntransaction:%s\n\n%s%d", queue, tx, tx, i))
			}
		}
	}
	c.do("COMMIT\ntransaction:u")
	c.do("COMMIT\ntransaction:t")
	want := []string{"u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "u9", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"}
	h.wantLeft("/queue/a", want...)
	h.wantLeft("/queue/b", want...)
}

func transactionLimits(t *testing.T, version string) {
	limits := Transactions{MaxOpen: 2, MaxFrames: 3, MaxBytes: 100, IdleTimeout: time.Minute}
	h := serve(t, Options{Transactions: limits})
	begin := func() *client {
		c := h.connect(version)
		c.do("BEGIN\ntransaction:t")
		return c
	}
	c := begin()
	c.do("BEGIN\ntransaction:u")
	c.say("BEGIN\ntransaction:v\nreceipt:9\n\n")
	c.refused(codeTxLimit)
	c = begin()
	const send = "SEND\ndestination:/queue/a\ntransaction:t"
	for range 3 {
		c.do(send)
	}
	c.say(send + "\n\n")
	c.refused(codeTxLimit)
	c = begin()
	c.do(send, strings.Repeat("x", 99-stampBytes)) // and the timestamp, and the line end behind the headers
	c.say(send + "\n\n")
	c.refused(codeTxLimit)
	c = begin()
	c.subscribe("1", "/queue/b", "client")
	h.send("/queue/b", "body")
	m := c.message("body")
	for range 3 {
		c.ack("ACK", version, m, "transaction:t")
	}
	c.say(ackHead("ACK", version, m) + "\ntransaction:t\n\n")
	c.refused(codeTxLimit)
	h.wantLeft("/queue/a")

	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{Transactions: Transactions{IdleTimeout: time.Minute}})
		c := h.connect(version)
		c.do("BEGIN\ntransaction:t")
		for range 5 {
			time.Sleep(50 * time.Second)
			c.do("SEND\ndestination:/queue/a\ntransaction:t", "body")
		}
		used := time.Now()
		time.Sleep(50 * time.Second)
		c.write("\n") // alive, and the transaction is not used
		c.want("ERROR", "code:"+codeTxIdle)
		if idle := time.Since(used); idle != time.Minute {
			t.Errorf("cut after %v", idle)
		}
		c.end()
	})
}

func commitReceipt(t *testing.T, version string) {
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c, consumer := h.connect(version), h.connect(version)
		consumer.subscribe("1", "/queue/a", "auto")
		c.do("BEGIN\ntransaction:t")
		c.do("SEND\ndestination:/queue/a\ntransaction:t", "body")
		h.gate.shut()
		c.say("COMMIT\ntransaction:t\nreceipt:r\n\n")
		time.Sleep(time.Minute)
		c.still()
		consumer.still()
		h.gate.open()
		c.want("RECEIPT", "receipt-id:r")
		consumer.message("body")
	})
}

func sendReceiptInTransaction(t *testing.T, version string) {
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect(version)
		h.gate.shut()
		c.do("BEGIN\ntransaction:t")
		c.do("SEND\ndestination:/queue/a\ntransaction:t", "body")
		c.do("ABORT\ntransaction:t")
		h.gate.open()
		h.wantLeft("/queue/a")
	})
}
