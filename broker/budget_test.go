package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

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
		const messages = 12
		body := strings.Repeat("x", mebibyte)
		var last frame
		for range messages {
			producer.do("SEND\npersistent:false\ndestination:/queue/a", body)
			last = consumer.message(body)
		}
		consumer.ack("NACK", "1.2", last, "requeue:false")
		if _, octets := log.largest(); octets > appendBytes+2*mebibyte {
			t.Errorf("the log was given %d octets at once", octets)
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
		"queue": func(c *client) { c.do("SEND\ndestination:/queue/b\npersistent:false", part+part) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := servePipes(t, Options{Machine: destinations.Options{MaxBytes: 1 << 20}})
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
