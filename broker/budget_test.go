package broker

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"baton/destinations"
	"baton/journal"
	"baton/journal/memfs"
)

// A tallyLog notes the batches that are appended.
type tallyLog struct {
	Log
	batches [][]journal.Record
}

func (l *tallyLog) Append(records []journal.Record) error {
	l.batches = append(l.batches, append([]journal.Record(nil), records...))
	return l.Log.Append(records)
}

// largest is the number of records and octets of the largest batch.
func (l *tallyLog) largest() (records, octets int) {
	for _, b := range l.batches {
		size := 0
		for _, r := range b {
			size += len(r.Head) + len(r.Body)
		}
		records, octets = max(records, len(b)), max(octets, size)
	}
	return records, octets
}

func serveTallied(t *testing.T) (*host, *tallyLog) {
	log := &tallyLog{}
	return servePipesOn(t, memfs.New(), Options{}, func(l Log) Log {
		log.Log = l
		return log
	}), log
}

const mebibyte = 1 << 20

// What one command makes can be more than the log takes at once: it goes in
// parts.
func TestOneCommandOfManyBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, log := serveTallied(t)
		producer, consumer := h.connect("1.2"), h.connect("1.2")
		consumer.subscribe("s", "/queue/a", "client", "consumer-window-size:100000000")
		const messages, size = 100, 16 << 10
		body := strings.Repeat("x", size)
		var last frame
		for range messages {
			producer.do("SEND\npersistent:false\ndestination:/queue/a", body)
			last = consumer.message(body)
		}
		consumer.ack("NACK", "1.2", last, "requeue:false")
		if _, octets := log.largest(); octets < 64<<10 || octets > 64<<10+2*size {
			t.Errorf("the log was given %d octets at once, want about 64 KiB", octets)
		}
		consumer.subscribe("d", "/queue/DLQ.a", "auto")
		for range messages {
			consumer.message(body, "dlq-reason:rejected")
		}
	})
}

// A transaction is never parted.
func TestTransactionIsOneBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, log := serveTallied(t)
		c := h.connect("1.2")
		c.do("BEGIN\ntransaction:t")
		const messages = 12
		for range messages {
			c.do("SEND\ntransaction:t\ndestination:/queue/a", strings.Repeat("x", mebibyte))
		}
		c.do("COMMIT\ntransaction:t")
		if records, octets := log.largest(); records != messages || octets < messages*mebibyte {
			t.Errorf("the largest batch has %d records of %d octets", records, octets)
		}
	})
}

// Memory is one budget: what transactions and frames in progress hold counts
// like what is in queues, and is given back.
func TestMemoryIsOneBudget(t *testing.T) {
	t.Parallel()
	part := strings.Repeat("x", 300<<10)
	for name, hold := range map[string]func(c *client){
		"transaction": func(c *client) {
			c.do("BEGIN\ntransaction:t")
			c.do("SEND\ntransaction:t\ndestination:/queue/b", part+part)
		},
		"half a frame": func(c *client) {
			c.write(fmt.Sprintf("SEND\ndestination:/queue/b\ncontent-length:%d\n\n%s%s", 700<<10, part, part))
		},
		"queue": func(c *client) { c.do("SEND\ndestination:/queue/b\npersistent:false", part+part[:200<<10]) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := servePipes(t, Options{MemoryBytes: 1 << 20})
				first := h.connect("1.2")
				hold(first)
				synctest.Wait()
				for _, refused := range []func(c *client){
					func(c *client) {
						c.do("BEGIN\ntransaction:u")
						c.offer("SEND\ntransaction:u\ndestination:/queue/c\n\n" + part + part + "\x00")
					},
					func(c *client) { c.offer("SEND\ndestination:/queue/c\n\n" + part + part + "\x00") },
				} {
					c := h.connect("1.2")
					refused(c)
					c.refused(destinations.CodeMemoryFull)
				}
				first.close()
				synctest.Wait()
				if coming := h.budget.coming.Load(); coming != 0 {
					t.Errorf("%d octets are counted for sessions that have ended", coming)
				}
			})
		})
	}
}

// A transaction has a name, or frames without one would be in it.
func TestTransactionNeedsAName(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	for _, command := range []string{"BEGIN\ntransaction:", "COMMIT\ntransaction:", "SEND\ndestination:/queue/a\ntransaction:"} {
		c := h.connect("1.2")
		c.say(command + "\n\n")
		if f := c.read(); f.command != "ERROR" {
			t.Errorf("%q gives %s", command, f)
		}
	}
}

// What waits for the engine counts as well.
func TestMemoryOfWhatWaitsForTheEngine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newStubbornLog()
		o := Options{MemoryBytes: 1 << 20}
		h := servePipesOn(t, memfs.New(), o, log.over)
		c := h.connect("1.2")
		others := []*client{h.connect("1.2"), h.connect("1.2"), h.connect("1.2")}
		synctest.Wait()
		release := log.hold(t)
		c.say("SEND\ndestination:/queue/a\nreceipt:r\n\nbusy") // the engine takes it, and is stuck in the log
		synctest.Wait()
		for _, other := range others {
			go other.offer("SEND\ndestination:/queue/a\nreceipt:r\n\n" + strings.Repeat("x", 400<<10) + "\x00")
			synctest.Wait()
		}
		release()
		c.want("RECEIPT")
		others[0].want("RECEIPT")
		others[1].want("RECEIPT")
		others[2].refused(destinations.CodeMemoryFull)
		synctest.Wait()
		if coming := h.budget.coming.Load(); coming != 0 {
			t.Errorf("%d octets are counted for what the machine holds", coming)
		}
	})
}

// Senders wait for an engine that is busy: together they do not fill memory, so
// that none is refused.
func TestSendersWaitForTheEngine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newStubbornLog()
		h := servePipesOn(t, memfs.New(), Options{MemoryBytes: 1 << 20}, log.over)
		clients := []*client{h.connect("1.2"), h.connect("1.2"), h.connect("1.2"), h.connect("1.2")}
		synctest.Wait()
		release := log.hold(t)
		for _, c := range clients {
			body := strings.Repeat("x", 30<<10)
			go c.offer(strings.Repeat("SEND\ndestination:/queue/a\n\n"+body+"\x00", 20) + "SEND\ndestination:/queue/a\nreceipt:r\n\n\x00")
		}
		synctest.Wait()
		release()
		for _, c := range clients {
			c.want("RECEIPT")
		}
	})
}

// Line ends between frames are no frame: they take no memory, and a client that
// sends one in two parts has not begun a frame.
func TestLineEndsAreNoFrame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{FrameGrace: time.Second, MemoryBytes: 1 << 20})
		c, other := h.connect("1.2"), h.connect("1.2")
		c.write(strings.Repeat("\n", 2<<20))
		synctest.Wait()
		other.do("SEND\ndestination:/queue/a", strings.Repeat("x", 600<<10))
		c.write("SEND\ndestination:/queue/a\n\n\x00\r")
		time.Sleep(200 * time.Millisecond)
		c.write("\n")
		time.Sleep(time.Minute)
		c.write("SEND\ndestination:/queue/a\nrec")
		time.Sleep(200 * time.Millisecond)
		c.write("eipt:r\n\n\x00")
		c.want("RECEIPT", "receipt-id:r")
	})
}

// A syncLog counts the calls of Sync.
type syncLog struct {
	Log
	syncs atomic.Int64
}

func (l *syncLog) Sync() {
	l.syncs.Add(1)
	l.Log.Sync()
}

// However long the disk takes, the log is asked once more when everything is
// durable, and then not again.
func TestSyncWhenAllIsDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &syncLog{}
		h := servePipesOn(t, memfs.New(), Options{}, func(l Log) Log {
			log.Log = l
			return log
		})
		h.gate.shut()
		h.connect("1.2").say("SEND\ndestination:/queue/a\n\nbody")
		time.Sleep(10 * tendInterval)
		synctest.Wait()
		before := log.syncs.Load()
		h.gate.open()
		time.Sleep(10 * tendInterval)
		synctest.Wait()
		if after := log.syncs.Load(); after != before+1 {
			t.Errorf("after all was durable the log was asked %d times", after-before)
		}
	})
}
