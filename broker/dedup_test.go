package broker

import (
	"testing"
	"testing/synctest"
)

// A message that is sent again after the broker was down is not there twice,
// though it was consumed; under any name of the header.
func TestDeduplicationID(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"deduplication-id", "_AMQ_DUPL_ID", "x-deduplication-id"} {
		synctest.Test(t, func(t *testing.T) {
			h := servePipes(t, Options{})
			c := h.connect("1.2")
			c.do("SEND\ndestination:/queue/q\n"+header+":a", "once")
			c.do("SEND\ndestination:/queue/q\n"+header+":a", "again")
			c.do("SEND\ndestination:/queue/q\n"+header+":b", "other")
			c.subscribe("s", "/queue/q", "client")
			c.message("once")
			c.ack("ACK", "1.2", c.message("other"))
			c.nothing()
			c.do("DISCONNECT")
			if err := h.stop(); err != nil {
				t.Fatal(err)
			}
			h = servePipesOn(t, h.disk, Options{}, nil)
			c = h.connect("1.2")
			c.do("SEND\ndestination:/queue/q\n"+header+":a", "again")
			c.do("SEND\ndestination:/queue/q\n"+header+":c", "new")
			c.subscribe("s", "/queue/q", "client")
			c.message("new")
			c.nothing()
		})
	}
}
