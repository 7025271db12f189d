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
	send, subscribe, nack := "SEND\ndestination:/queue/a\n", "SUBSCRIBE\nid:1\ndestination:/queue/a\n", "NACK\nid:1-1\n"
	for _, test := range []struct{ head, header, value string }{
		{send, "priority", "high"},
		{send, "expires", "soon"},
		{send, "expires", "-1"},
		{send, "expiration", "-1"},
		{send, "x-message-ttl", "1s"},
		{send, "AMQ_SCHEDULED_DELAY", "-5"},
		{send, "AMQ_SCHEDULED_DELAY", "315360000001"},
		{send, "x-delay", "1767323045678"},
		{send, "expiration", "99999999999999999999"},
		{send, "expires", "1767323045678000"},
		{send, "AMQ_SCHEDULED_TIME", "253402300800000"},
		{send, "AMQ_SCHEDULED_PERIOD", "315360000001"},
		{send, "AMQ_SCHEDULED_REPEAT", "2147483648"},
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
		{subscribe, "x-redelivery-delay", "315360000001"},
		{subscribe, "x-ack-timeout", "315360000001"},
		{subscribe, "x-ack-timeout", "0"},
		{nack, "delay", "315360000001"},
		{nack, "x-extend", "315360000001"},
		{nack, "x-extend", "0"},
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

// A header that goes too far is told how far it may go, alike in all frames.
func TestLongestWait(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	for head, want := range map[string]string{
		"SEND\ndestination:/queue/a\nexpiration:315360000001":                               `the header expiration is "315360000001": it must be ms, from 0 to 315360000000 (10 years)`,
		"SEND\ndestination:/queue/a\nAMQ_SCHEDULED_TIME:253402300800000":                    `the header AMQ_SCHEDULED_TIME is "253402300800000": it must be ms since 1970, from 0 to 253402300799999 (the year 9999)`,
		"NACK\nid:1-1\ndelay:315360000001":                                                  `the header delay is "315360000001": it must be ms, from 0 to 315360000000 (10 years)`,
		"NACK\nid:1-1\nx-extend:315360000001":                                               `the header x-extend is "315360000001": it must be ms, from 1 to 315360000000 (10 years)`,
		"SUBSCRIBE\nid:1\ndestination:/queue/a\nx-ack-timeout:1" + strings.Repeat("0", 100): `the header x-ack-timeout is "1` + strings.Repeat("0", 63) + `...": it must be ms, from 1 to 315360000000 (10 years)`,
	} {
		f := refuses(t, h, "1.2", head+"\n\n\x00", codeHeader)
		if got := f.header("message"); strings.ReplaceAll(got, `\c`, ":") != want {
			t.Errorf("%s is refused with\n %s, want\n %s", head, got, want)
		}
	}
	c := h.connect("1.2")
	c.do("SEND\ndestination:/queue/a\nexpiration:315360000000", "longest")
	c.do("SEND\ndestination:/queue/a\nexpires:253402300799999", "last")
	c.subscribe("1", "/queue/a", "client", "x-ack-timeout:315360000000")
	m := c.message("longest")
	c.message("last")
	c.ack("NACK", "1.2", m, "x-extend:315360000000")
	c.ack("NACK", "1.2", m, "delay:315360000000")
	c.nothing()
}

// Headers of which one says the opposite of the other are refused, and the ERROR
// names both.
func TestContradictionsRefused(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	send, nack := "SEND\ndestination:/queue/a\n", "NACK\nid:1-1\n"
	for _, test := range []struct{ headers, first, second string }{
		{nack + "x-extend:1000\nrequeue:false", "x-extend", "requeue"},
		{nack + "x-extend:1000\nrequeue:true", "x-extend", "requeue"},
		{nack + "x-extend:1000\ndelay:0", "x-extend", "delay"},
		{nack + "requeue:false\ndelay:1000", "requeue:false", "delay"},
		{nack + "requeue:false\ndelay:0", "requeue:false", "delay"},
		{send + "AMQ_SCHEDULED_REPEAT:2", "AMQ_SCHEDULED_REPEAT", "AMQ_SCHEDULED_PERIOD"},
		{send + "AMQ_SCHEDULED_DELAY:5\nAMQ_SCHEDULED_REPEAT:-1", "AMQ_SCHEDULED_REPEAT", "AMQ_SCHEDULED_PERIOD"},
		{send + "AMQ_SCHEDULED_CRON:* * * * *\nAMQ_SCHEDULED_REPEAT:2\nAMQ_SCHEDULED_PERIOD:0", "AMQ_SCHEDULED_REPEAT", "AMQ_SCHEDULED_PERIOD"},
		{send + "AMQ_SCHEDULED_CRON:* * * * *\nAMQ_SCHEDULED_TIME:1767323045678", "AMQ_SCHEDULED_CRON", "AMQ_SCHEDULED_TIME"},
	} {
		f := refuses(t, h, "1.2", test.headers+"\n\n\x00", codeHeader)
		if text := strings.ReplaceAll(f.header("message"), `\c`, ":"); !strings.Contains(text, test.first) || !strings.Contains(text, test.second) {
			t.Errorf("%q is refused with %s", test.headers, f)
		}
	}
}

// In a dead-letter or expiry queue the time of a message is over: it stays, and
// says when it expired or would have, whether it was stored before or not, and
// after a restart too.
func TestOriginalExpiration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := policyOf(t, "/queue/>", func(p *destinations.Policy) { p.ExpiryQueue = destinations.Queue("late") })
		h := servePipes(t, o)
		c := h.connect("1.2")
		expires := time.Now().UnixMilli() + 60_000
		for _, persistent := range []string{"true", "false"} {
			head := fmt.Sprintf("SEND\noriginalExpiration:7\npersistent:%s\nexpires:%d\ndestination:/queue/", persistent, expires)
			c.do(head+"a", "refused")
			c.subscribe("1", "/queue/a", "client-individual")
			c.ack("NACK", "1.2", c.message("refused", fmt.Sprint("expires:", expires)), "requeue:false")
			c.do("UNSUBSCRIBE\nid:1")
			c.do(head+"b", "late")
		}
		time.Sleep(2 * time.Minute)
		c.do("DISCONNECT")
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
		h = servePipesOn(t, h.disk, o, nil)
		c = h.connect("1.2")
		for queue, body := range map[string]string{"/queue/DLQ.a": "refused", "/queue/late": "late"} {
			c.subscribe(body, queue, "auto")
			for range 2 {
				if m := c.message(body, fmt.Sprint("originalExpiration:", expires)); m.header("expires") != "" {
					t.Errorf("got %s", m)
				}
			}
		}
	})
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

// What waits for its time is called off under the id that the RECEIPT of its
// SEND or a MESSAGE of it tells, after a restart too.
func TestScheduleCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect("1.2")
		job := func(head string) string {
			c.say("SEND\nreceipt:r\n" + head + "\n\nbeat")
			return c.want("RECEIPT", "receipt-id:r").header("scheduledJobId")
		}
		beat := job("destination:/queue/a\nAMQ_SCHEDULED_PERIOD:60000\nAMQ_SCHEDULED_REPEAT:-1")
		topic := job("destination:/topic/t\nAMQ_SCHEDULED_PERIOD:60000\nAMQ_SCHEDULED_REPEAT:-1")
		unstored := job("destination:/queue/b\nAMQ_SCHEDULED_DELAY:500\npersistent:false\nscheduledJobId:forged")
		later := job("destination:/queue/a\nAMQ_SCHEDULED_DELAY:600000")
		if now := job("destination:/queue/c"); now != "" || beat == "" || later == "" || unstored == "" || topic == "" {
			t.Fatalf("the jobs are %q, %q, %q, %q, and %q", beat, topic, unstored, later, now)
		}
		c.subscribe("a", "/queue/a", "client-individual")
		c.subscribe("b", "/queue/b", "auto")
		c.subscribe("t", "/topic/t", "auto")
		c.message("beat", "subscription:b", "scheduledJobId:"+unstored)
		for range 2 { // in the order of their timers
			switch m := c.message("beat"); m.header("subscription") {
			case "a":
				if m.header("scheduledJobId") != beat {
					t.Errorf("got %s", m)
				}
				c.ack("NACK", "1.2", m, "requeue:false")
			case "t":
				if m.header("scheduledJobId") != topic {
					t.Errorf("got %s", m)
				}
			}
		}
		c.do("SEND\ndestination:/topic/ActiveMQ.Scheduler.Management\nAMQ_SCHEDULER_ACTION:REMOVE\nscheduledJobId:" + topic)
		c.do("DISCONNECT")
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
		h = servePipesOn(t, h.disk, Options{}, nil)
		c = h.connect("1.2")
		for range 2 { // the second time there is nothing
			c.do("SEND\ndestination:/topic/ActiveMQ.Scheduler.Management\nAMQ_SCHEDULER_ACTION:REMOVE\nscheduledJobId:" + beat)
		}
		c.subscribe("d", "/queue/DLQ.a", "auto")
		c.message("beat", "scheduledJobId:"+beat)
		c.subscribe("t", "/topic/t", "auto")
		c.subscribe("a", "/queue/a", "auto")
		c.message("beat", "scheduledJobId:"+later)
		c.nothing()
	})
}

// An order about what is scheduled that cannot be carried out is refused.
func TestScheduleManagementRefused(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	send := "SEND\ndestination:/topic/ActiveMQ.Scheduler.Management\n"
	for _, test := range []struct{ headers, code, text string }{
		{"", codeHeader, "AMQ_SCHEDULER_ACTION"},
		{"AMQ_SCHEDULER_ACTION:REMOVEALL\n", codeUnsupported, "REMOVEALL"},
		{"AMQ_SCHEDULER_ACTION:BROWSE\n", codeUnsupported, "BROWSE"},
		{"AMQ_SCHEDULER_ACTION:REMOVE\n", codeHeader, "scheduledJobId"},
		{"AMQ_SCHEDULER_ACTION:REMOVE\nscheduledJobId:b2-1\n", codeHeader, "b2-1"},
		{"AMQ_SCHEDULER_ACTION:REMOVE\nscheduledJobId:b1-1\ntransaction:t\n", codeUnsupported, "transaction"},
	} {
		f := refuses(t, h, "1.2", send+test.headers+"\n\x00", test.code)
		if !strings.Contains(f.header("message"), test.text) {
			t.Errorf("%q is refused with %s", test.headers, f)
		}
	}
}
