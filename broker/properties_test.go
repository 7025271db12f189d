package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"baton/destinations"
)

// What makes no sense in a header is refused, and the ERROR names the header.
func TestPropertiesRefused(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	long := strings.Repeat("x", destinations.MaxPropBytes+1)
	send, subscribe := "SEND\ndestination:/queue/a\n", "SUBSCRIBE\nid:1\ndestination:/queue/a\n"
	for _, test := range []struct{ head, header, value string }{
		{send, "priority", "high"},
		{send, "expires", "soon"},
		{send, "expires", "-1"},
		{send, "expiration", "-1"},
		{send, "x-message-ttl", "1s"},
		{send, "AMQ_SCHEDULED_DELAY", "-5"},
		{send, "AMQ_SCHEDULED_DELAY", "9007199254740993"},
		{send, "AMQ_SCHEDULED_TIME", "tomorrow"},
		{send, "AMQ_SCHEDULED_PERIOD", "1.5"},
		{send, "AMQ_SCHEDULED_REPEAT", "-2"},
		{send, "AMQ_SCHEDULED_CRON", "* * * *"},
		{send, "AMQ_SCHEDULED_CRON", "61 * * * *"},
		{send, "AMQ_SCHEDULED_CRON", "TZ=Asia/Tokyo * * * * *"},
		{send, "JMSXGroupID", long},
		{send, "JMSXGroupSeq", "4294967296"},
		{send, "deduplication-id", long},
		{subscribe, "x-redelivery-delay", "-1"},
		{subscribe, "x-redelivery-multiplier", "0.5"},
		{subscribe, "x-redelivery-multiplier", "NaN"},
		{subscribe, "x-max-redelivery-delay", "0"},
		{subscribe, "x-max-deliveries", "65536"},
	} {
		f := refuses(t, h, "1.2", test.head+test.header+":"+test.value+"\n\n\x00", codeHeader)
		if !strings.Contains(f.header("message"), test.header) {
			t.Errorf("%s:%s is refused with %s", test.header, test.value, f)
		}
	}
}

// Messages leave by priority; one beyond the ends has that of the end.
func TestPriorityHeader(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	c := h.connect("1.2")
	for body, priority := range map[string]string{"lowest": "-3", "low": "1", "highest": "12", "high": "8"} {
		c.do("SEND\ndestination:/queue/a\npriority:"+priority, body)
	}
	c.do("SEND\ndestination:/queue/a", "plain")
	c.subscribe("1", "/queue/a", "client")
	for _, body := range []string{"highest", "high", "plain", "low", "lowest"} {
		c.message(body)
	}
}

// A message that the broker took has its time, the same at each delivery; a
// client's own is left as it is.
func TestTimestamp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect("1.2")
		sent := fmt.Sprint("timestamp:", time.Now().UnixMilli())
		c.do("SEND\ndestination:/queue/a", "body")
		c.do("SEND\ndestination:/queue/a\ntimestamp:7", "own")
		time.Sleep(time.Minute)
		c.subscribe("1", "/queue/a", "client-individual")
		m := c.message("body", sent)
		c.message("own", "timestamp:7")
		c.ack("NACK", "1.2", m)
		c.message("body", sent, "redelivered:true", "delivery-count:2", "JMSXDeliveryCount:2")
	})
}

// The clock expires messages, without anything that comes from a client.
func TestExpiryByTheClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect("1.2")
		for _, header := range []string{
			"expiration:1000", "x-message-ttl:1000", fmt.Sprint("expires:", time.Now().UnixMilli()+1000),
		} {
			c.do("SEND\ndestination:/queue/a\n"+header, header)
		}
		c.do("SEND\ndestination:/queue/a\nexpiration:0", "for ever")
		c.do("SEND\ndestination:/queue/a\nexpiration:60000", "long")
		time.Sleep(time.Second + tickInterval)
		synctest.Wait()
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
		if n := h.engine.machine.Stats().Messages; n != 2 { // which nobody else looks at now
			t.Errorf("%d messages are left, want 2", n)
		}
	})
}

// A message says when it expires, however its client said so.
func TestExpiresHeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect("1.2")
		c.do("SEND\ndestination:/queue/a\nexpiration:1000", "short")
		c.do("SEND\ndestination:/queue/a\nexpiration:0", "for ever")
		c.do("SEND\ndestination:/queue/a\nexpiration:60000", "long")
		expires := fmt.Sprint("expires:", time.Now().UnixMilli()+60_000)
		time.Sleep(time.Second + tickInterval)
		c.subscribe("1", "/queue/a", "client")
		if m := c.message("for ever"); m.header("expires") != "" {
			t.Errorf("got %s", m)
		}
		c.message("long", expires)
	})
}

// Scheduled messages come at their time, also after a restart, and not sooner.
func TestScheduledHeaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect("1.2")
		begin := time.Now()
		c.do("SEND\ndestination:/queue/a\nAMQ_SCHEDULED_DELAY:5000", "delay")
		c.do("SEND\ndestination:/queue/a\nx-delay:6000", "x-delay")
		c.do(fmt.Sprint("SEND\ndestination:/queue/a\nAMQ_SCHEDULED_TIME:", begin.UnixMilli()+7000), "time")
		c.do("SEND\ndestination:/queue/a\nAMQ_SCHEDULED_DELAY:8000\nAMQ_SCHEDULED_PERIOD:1000\nAMQ_SCHEDULED_REPEAT:1", "twice")
		c.do("SEND\ndestination:/queue/a\nAMQ_SCHEDULED_CRON:1 * * * *", "cron")
		c.do("SEND\ndestination:/topic/t\nAMQ_SCHEDULED_DELAY:20000", "topic")
		c.subscribe("1", "/queue/a", "client")
		c.subscribe("t", "/topic/t", "auto")
		for _, next := range []struct {
			body string
			at   time.Duration
		}{{"delay", 5 * time.Second}, {"x-delay", 6 * time.Second}, {"time", 7 * time.Second},
			{"twice", 8 * time.Second}, {"twice", 9 * time.Second}, {"topic", 20 * time.Second}, {"cron", time.Minute}} {
			m := c.message(next.body)
			if took := time.Since(begin); took < next.at || took > next.at+2*tickInterval {
				t.Errorf("%s comes after %v, want %v", next.body, took, next.at)
			}
			if m.header("AMQ_SCHEDULED_DELAY") != "" {
				t.Errorf("%s would be scheduled again when it is sent on: %s", next.body, m)
			}
		}
	})
}

// A refused message comes again when NACK, SUBSCRIBE or the policy says.
func TestRedeliveryHeaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect("1.2")
		c.subscribe("1", "/queue/a", "client", "x-redelivery-delay:1000", "x-redelivery-multiplier:4", "x-max-redelivery-delay:3000", "x-max-deliveries:5")
		c.do("SEND\ndestination:/queue/a", "body")
		m := c.message("body")
		for _, again := range []struct {
			after   time.Duration
			headers []string
		}{{time.Second, nil}, {3 * time.Second, nil}, {time.Minute, []string{"delay:60000"}}, {0, []string{"delay:0"}}} {
			begin := time.Now()
			c.ack("NACK", "1.2", m, again.headers...)
			m = c.message("body")
			if took := time.Since(begin); took < again.after || took > again.after+2*tickInterval {
				t.Errorf("it comes again after %v, want %v", took, again.after)
			}
		}
		c.ack("NACK", "1.2", m)
		c.subscribe("d", "/queue/DLQ.a", "client")
		c.message("body", "dlq-reason:max-deliveries", "dlq-count:5")
	})
}
