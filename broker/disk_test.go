package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"baton/destinations"
	"baton/journal/memfs"
)

const (
	diskFull = true
	diskFree = false
)

// inLowDisk runs a test in a bubble, with a server whose disk has room until
// the test says otherwise.
func inLowDisk(t *testing.T, policy DiskFullPolicy, test func(t *testing.T, h *host)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		test(t, servePipes(t, Options{
			OnDiskFull: policy, HeartBeat: HeartBeat{Send: time.Second}, MemoryBytes: 32 << 20,
		}))
	})
}

// While the disk is low only what would be stored is refused, and when there is
// room nothing is.
func TestDiskLowRefuses(t *testing.T) {
	inLowDisk(t, RefuseSends, func(t *testing.T, h *host) {
		h.send("/queue/a", "1", "2")
		h.DiskLow(diskFull, 4711)
		c := h.connect("1.2")
		c.do("SEND\ndestination:/queue/b\npersistent:false", "not stored")
		c.do("SEND\ndestination:/topic/t", "to nobody")
		c.subscribe("s", "/queue/a", "client-individual")
		first, second := c.message("1"), c.message("2")
		c.ack("ACK", "1.2", first)

		for _, refused := range []string{
			"SEND\ndestination:/queue/a\nreceipt:no\n\n3\x00",
			"BEGIN\ntransaction:t\n\n\x00SEND\ntransaction:t\ndestination:/topic/t\n\n\x00" +
				"SEND\ntransaction:t\ndestination:/queue/a\n\n\x00COMMIT\ntransaction:t\nreceipt:no\n\n\x00",
		} {
			other := h.connect("1.2")
			other.offer(refused)
			f := other.refused("disk-full")
			if f.header("receipt-id") != "no" || !strings.Contains(f.body, "4711 octets are free") {
				t.Errorf("refused with %s", f)
			}
		}
		c.ack("ACK", "1.2", second)
		h.DiskLow(diskFree, 1<<40)
		h.send("/queue/a", "4")
		c.message("4")
	})
}

// What is too large for the disk is refused before that is low, alone or together
// with what is under way; the reserve stays for acknowledgements.
func TestTooLargeForTheDisk(t *testing.T) {
	inLowDisk(t, RefuseSends, func(t *testing.T, h *host) {
		h.send("/queue/a", "1")
		h.shrinkDisk(1 << 20)
		body := strings.Repeat("x", 200<<10)
		for _, refused := range []string{
			"SEND\ndestination:/queue/b\nreceipt:no\n\n" + strings.Repeat(body, 6) + "\x00",
			"BEGIN\ntransaction:t\n\n\x00" + strings.Repeat("SEND\ntransaction:t\ndestination:/queue/b\n\n"+body+"\x00", 6) +
				"COMMIT\ntransaction:t\nreceipt:no\n\n\x00",
		} {
			c := h.connect("1.2")
			c.offer(refused)
			f := c.refused("disk-full")
			if f.header("receipt-id") != "no" || !strings.Contains(f.body, "has no room for these") {
				t.Errorf("refused with %s", f)
			}
		}
		c := h.connect("1.2")
		c.offer(strings.Repeat("SEND\ndestination:/queue/b\n\n"+body+"\x00", 20)) // in one batch, or some
		c.refused("disk-full")
		if n := h.stored(); n < 2 || n > 6 {
			t.Errorf("%d messages are stored", n)
		}
		other := h.connect("1.2")
		other.subscribe("s", "/queue/a", "client")
		other.ack("ACK", "1.2", other.message("1"))
		h.shrinkDisk(100 << 20)
		h.send("/queue/a", strings.Repeat(body, 6))
	})
}

// What the engine takes at a time is measured one by one.
func TestTooMuchForTheDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newStubbornLog()
		h := servePipesOn(t, memfs.New(), Options{MemoryBytes: 32 << 20}, log.over)
		h.shrinkDisk(1 << 20)
		release := log.hold(t)
		h.connect("1.2").say("SEND\ndestination:/queue/a\n\nwith the engine")
		synctest.Wait()
		for range 10 {
			c := h.connect("1.2")
			c.say("SEND\ndestination:/queue/a\n\n" + strings.Repeat("x", 200<<10))
		}
		synctest.Wait()
		release()
		if n := h.stored(); n < 2 || n > 6 {
			t.Errorf("%d messages are stored, one small one and ten of 200 KiB were sent, and there is 1 MiB", n)
		}
	})
}

// With the policy to wait it waits until it fits, and so does what its client
// sends behind it. Others go on.
func TestTooLargeForTheDiskWaits(t *testing.T) {
	inLowDisk(t, HoldSends, func(t *testing.T, h *host) {
		h.shrinkDisk(1 << 20)
		c := h.connect("1.2")
		c.say("SEND\ndestination:/queue/a\nreceipt:1\n\n" + strings.Repeat("x", 2<<20))
		c.say("SEND\ndestination:/queue/a\nreceipt:2\n\nbehind")
		h.send("/queue/b", "other")
		time.Sleep(time.Minute)
		c.still()
		h.shrinkDisk(100 << 20)
		c.want("RECEIPT", "receipt-id:1")
		c.want("RECEIPT", "receipt-id:2")
	})
}

// shrinkDisk leaves so many octets of the disk free, and waits until that is
// known.
func (h *host) shrinkDisk(free int64) {
	h.disk.SetSize(h.disk.Used() + free)
	time.Sleep(1100 * time.Millisecond)
}

// Receipts come when there is room, in order; what is acknowledged and consumed
// meanwhile does not wait.
func TestDiskLowHoldsSends(t *testing.T) {
	inLowDisk(t, HoldSends, func(t *testing.T, h *host) {
		h.send("/queue/a", "1", "2")
		h.DiskLow(diskFull, 4711)
		c, consumer := h.connect("1.2"), h.connect("1.2")
		consumer.subscribe("s", "/queue/b", "auto")
		c.do("SEND\ndestination:/queue/b\npersistent:false", "before")
		consumer.message("before")
		for i := range 3 {
			c.say(fmt.Sprintf("SEND\ndestination:/queue/b\nreceipt:%d\n\n%d", i, i))
		}
		c.say("SEND\ndestination:/queue/b\nreceipt:3\npersistent:false\n\n3")
		c.say("BEGIN\ntransaction:t\n\n")
		c.say("SEND\ndestination:/queue/b\ntransaction:t\npersistent:false\n\n4")
		c.say("COMMIT\ntransaction:t\nreceipt:4\n\n")
		c.subscribe("s", "/queue/a", "client-individual")
		first, second := c.message("1"), c.message("2")
		c.ack("ACK", "1.2", first)
		c.ack("ACK", "1.2", second)
		c.still()
		consumer.still()

		h.DiskLow(diskFree, 1<<40)
		for i := range 5 {
			c.want("RECEIPT", fmt.Sprintf("receipt-id:%d", i))
			consumer.message(fmt.Sprint(i))
		}
	})
}

// A commit that is parked is not mixed with the next transaction of its name,
// and acknowledgements in a transaction do not wait.
func TestDiskLowHoldsCommit(t *testing.T) {
	inLowDisk(t, HoldSends, func(t *testing.T, h *host) {
		h.send("/queue/a", "1", "2")
		h.DiskLow(diskFull, 0)
		c := h.connect("1.2")
		c.subscribe("s", "/queue/a", "client-individual")
		first, second := c.message("1"), c.message("2")
		c.do("BEGIN\ntransaction:t")
		c.do(ackHead("ACK", "1.2", first) + "\ntransaction:t")
		c.do("SEND\ndestination:/queue/b\ntransaction:t", "out")
		c.say("COMMIT\ntransaction:t\nreceipt:first\n\n")
		c.do("BEGIN\ntransaction:t")
		c.do(ackHead("ACK", "1.2", second) + "\ntransaction:t")
		c.do("COMMIT\ntransaction:t")
		if got := h.stored(); got != 1 {
			t.Errorf("%d messages are in queues, want the one whose commit waits", got)
		}
		h.DiskLow(diskFree, 1<<40)
		c.want("RECEIPT", "receipt-id:first")
		if got := h.stored(); got != 1 {
			t.Errorf("%d messages are in queues, want the one that was sent", got)
		}
	})
}

// stored is how many messages are in queues, once nothing is under way.
func (h *host) stored() int {
	synctest.Wait()
	messages := h.engine.machine.Stats().Messages
	h.engine.box.signal() // the engine goes on from here, whatever wakes it next: it is idle, but the race detector cannot know
	synctest.Wait()
	return messages
}

// A session is read until it has a little parked, and then waits with the rest.
func TestDiskLowStopsReading(t *testing.T) {
	inLowDisk(t, HoldSends, func(t *testing.T, h *host) {
		h.DiskLow(diskFull, 0)
		c := h.connect("1.2")
		const messages = 64
		body := strings.Repeat("x", 100<<10)
		written := make(chan struct{})
		sent := 0
		go func() {
			defer close(written)
			for i := range messages {
				c.say(fmt.Sprintf("SEND\ndestination:/queue/a\nreceipt:%d\n\n%d %s", i, i, body))
				sent++
			}
		}()
		synctest.Wait()
		// What was read before the engine came to park it was in the mailbox, which is full with one more than it has
		// room for, or in the batch before, or is the one with which the reader found that out.
		most := maxParked + 2*h.opts.MailboxBytes + 3*len(body)
		if octets := sent * len(body); octets < maxParked || octets > most {
			t.Errorf("%d octets were taken from the connection, want %d to %d", octets, maxParked, most)
		}
		time.Sleep(time.Hour)
		h.DiskLow(diskFree, 1<<40)
		<-written
		for i := range messages {
			c.want("RECEIPT", fmt.Sprintf("receipt-id:%d", i))
		}
		consumer := h.connect("1.2")
		consumer.subscribe("s", "/queue/a", "auto")
		for i := range messages {
			consumer.message(fmt.Sprintf("%d %s", i, body))
		}
	})
}

// All sessions together have only so much parked; those that have none are read.
func TestDiskLowStopsAll(t *testing.T) {
	inLowDisk(t, HoldSends, func(t *testing.T, h *host) {
		h.engine.lot.limit = 500 << 10
		h.send("/queue/a", "1")
		h.DiskLow(diskFull, 0)
		// Where second is not read any more, a heart-beat finds out that it has gone.
		first, second, third := h.connect("1.2"), h.connect("1.2", "heart-beat:0,1000"), h.connect("1.2")
		say := "SEND\ndestination:/queue/a\nreceipt:r\n\n" + strings.Repeat("x", 100<<10)
		first.say(say)
		synctest.Wait() // it is read on: there is room yet
		for range 4 {
			second.say(say)
		}
		synctest.Wait()
		first.say(say) // its reader was waiting for it
		read := make(chan struct{})
		go func() {
			first.say(say)
			close(read)
		}()
		synctest.Wait()
		select {
		case <-read:
			t.Error("more was read when all that may be parked was")
		default:
		}
		third.subscribe("s", "/queue/a", "client-individual", "prefetch-count:1")
		third.ack("ACK", "1.2", third.message("1"))
		second.close() // makes room
		<-read
		synctest.Wait()
		h.DiskLow(diskFree, 1<<40)
		for range 3 {
			first.want("RECEIPT")
		}
	})
}

// A client that says goodbye gets its receipts before it goes.
func TestDiskLowDisconnect(t *testing.T) {
	inLowDisk(t, HoldSends, func(t *testing.T, h *host) {
		h.DiskLow(diskFull, 0)
		c := h.connect("1.2")
		c.say("SEND\ndestination:/queue/a\nreceipt:1\n\n1")
		c.say("SEND\ndestination:/queue/a\n\n2")
		c.say("DISCONNECT\nreceipt:bye\n\n")
		c.still()
		h.DiskLow(diskFree, 1<<40)
		c.want("RECEIPT", "receipt-id:1")
		c.want("RECEIPT", "receipt-id:bye")
		c.end()
		consumer := h.connect("1.2")
		consumer.subscribe("s", "/queue/a", "auto")
		consumer.message("1")
		consumer.message("2")
	})
}

// What a client that is lost had parked is lost with it, and what it had taken
// goes to others. Where nothing is read any more, a heart-beat finds out.
func TestDiskLowLostConnection(t *testing.T) {
	for name, sends := range map[string]int{"read": 2, "not read": 20} {
		t.Run(name, func(t *testing.T) {
			inLowDisk(t, HoldSends, func(t *testing.T, h *host) {
				h.send("/queue/a", "1")
				h.DiskLow(diskFull, 0)
				c, other := h.connect("1.2", "heart-beat:0,1000"), h.connect("1.2")
				c.subscribe("s", "/queue/a", "client-individual")
				c.message("1")
				other.subscribe("s", "/queue/a", "client-individual")
				go c.offer(strings.Repeat("SEND\ndestination:/queue/b\n\n"+strings.Repeat("x", 100<<10)+"\x00", sends))
				synctest.Wait()
				c.close()
				time.Sleep(time.Second)
				other.message("1", "redelivered:true")
				synctest.Wait()
				if coming := h.budget.coming.Load(); coming != 0 || h.engine.lot.bytes != 0 || len(h.engine.parked) != 0 {
					t.Errorf("%d octets are counted, %d as parked, for a session that has ended", coming, h.engine.lot.bytes)
				}
				h.DiskLow(diskFree, 1<<40)
				if got := h.stored(); got != 1 {
					t.Errorf("%d messages are in queues, want the one that the other has", got)
				}
			})
		})
	}
}

// A broker that stops does not wait for the disk, not for those either that have
// said goodbye.
func TestDiskLowShutdown(t *testing.T) {
	for name, goodbye := range map[string]string{"there": "", "leaving": "DISCONNECT\nreceipt:bye\n\n\x00"} {
		t.Run(name, func(t *testing.T) {
			inLowDisk(t, HoldSends, func(t *testing.T, h *host) {
				h.DiskLow(diskFull, 0)
				c := h.connect("1.2")
				c.write("SEND\ndestination:/queue/a\nreceipt:1\n\n1\x00" + goodbye)
				synctest.Wait()
				begun := time.Now()
				if err := h.stop(); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); took >= h.opts.ShutdownTimeout {
					t.Errorf("the end took %s", took)
				}
				if f := c.want("ERROR"); f.header("code") != codeDiskFull && f.header("code") != codeShutdown {
					t.Errorf("the client was told %s", f)
				}
			})
		})
	}
}

// A message that need not be stored is, when memory has no room for it and the
// disk has.
func TestDiskLowAndLittleMemory(t *testing.T) {
	t.Parallel()
	for policy, low := range map[DiskFullPolicy]func(t *testing.T, h *host, c *client){
		RefuseSends: func(_ *testing.T, _ *host, c *client) { c.refused(destinations.CodeMemoryFull) },
		HoldSends: func(_ *testing.T, h *host, c *client) {
			c.still()
			h.DiskLow(diskFree, -1)
			c.want("RECEIPT", "receipt-id:small")
			c.want("RECEIPT", "receipt-id:large")
		},
	} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := servePipes(t, Options{OnDiskFull: policy, MemoryBytes: 64 << 10})
				c := h.connect("1.2")
				for range 40 {
					c.do("SEND\ndestination:/queue/a", strings.Repeat("x", 1000))
				}
				large := "SEND\ndestination:/queue/b\npersistent:false\nreceipt:large\n\n" + strings.Repeat("x", 30_000)
				c.say(large)
				c.want("RECEIPT")
				h.DiskLow(diskFull, -1)
				if policy == HoldSends {
					c.say("SEND\ndestination:/queue/b\nreceipt:small\n\n")
				}
				c.say(large)
				low(t, h, c)
			})
		})
	}
}

// A transaction that could not be used because nothing was read is not idle.
func TestDiskLowAndOpenTransaction(t *testing.T) {
	inLowDisk(t, HoldSends, func(t *testing.T, h *host) {
		c := h.connect("1.2")
		c.do("BEGIN\ntransaction:t")
		h.DiskLow(diskFull, 0)
		c.say("SEND\ndestination:/queue/a\nreceipt:r\n\n" + strings.Repeat("x", maxParked))
		synctest.Wait()
		go func() {
			c.offer("SEND\ndestination:/queue/a\n\n\x00") // if this is read yet, nothing after it is
			c.offer("SEND\ndestination:/queue/a\ntransaction:t\n\n\x00COMMIT\ntransaction:t\nreceipt:t\n\n\x00")
		}()
		time.Sleep(2 * h.opts.Transactions.IdleTimeout)
		h.DiskLow(diskFree, 0)
		c.want("RECEIPT", "receipt-id:r")
		c.want("RECEIPT", "receipt-id:t")
	})
}
