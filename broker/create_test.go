package broker

import (
	"testing"
	"testing/synctest"

	"baton/destinations"
)

// Nobody makes a queue by mistake who says that it must exist, in Baton's words
// or in RabbitMQ's.
func TestExistingQueueOnly(t *testing.T) {
	t.Parallel()
	for _, frame := range []string{
		"SEND\ndestination:/queue/q\ncreate:false\nreceipt:r\n\nx",
		"SEND\ndestination:/amq/queue/q\nreceipt:r\n\nx",
		"SEND\ndestination:/amq/queue/q\ncreate:true\nreceipt:r\n\nx",
		"SUBSCRIBE\nid:s\ndestination:/queue/q\ncreate:false\nreceipt:r\n\n",
		"SUBSCRIBE\nid:s\ndestination:/amq/queue/q\nreceipt:r\n\n",
		"SUBSCRIBE\nid:s\ndestination:/amq/queue/q\ndurable:true\nauto-delete:false\nreceipt:r\n\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			h := servePipes(t, Options{})
			c := h.connect("1.2")
			c.say(frame)
			if f := c.refused(destinations.CodeNoDestination); f.header("receipt-id") != "r" {
				t.Errorf("%q: got %s", frame, f)
			}
			c = h.connect("1.2")
			c.do("SEND\ndestination:/queue/q", "there")
			c.say(frame)
			if frame[1] == 'E' {
				c.want("RECEIPT", "receipt-id:r")
				c.subscribe("s", "/amq/queue/q", "auto")
				if f := c.message("there"); f.header("create") != "" {
					t.Errorf("%q: got %s", frame, f)
				}
				c.message("x")
				return
			}
			c.want("RECEIPT", "receipt-id:r")
			if f := c.message("there"); f.header("destination") != "/queue/q" {
				t.Errorf("%q: got %s", frame, f)
			}
		})
	}
}

// Neither in a transaction: its COMMIT is refused, and nothing of it is sent.
func TestExistingQueueOnlyInTransaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect("1.2")
		c.do("BEGIN\ntransaction:t")
		c.do("SEND\ndestination:/queue/other\ntransaction:t", "x")
		c.do("SEND\ndestination:/amq/queue/q\ntransaction:t", "x")
		c.say("COMMIT\ntransaction:t\nreceipt:r\n\n")
		c.refused(destinations.CodeNoDestination)
		if n := h.stored(); n != 0 {
			t.Errorf("%d messages were sent", n)
		}
	})
}
