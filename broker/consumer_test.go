package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"baton/destinations"
)

// A SUBSCRIBE that contradicts itself gets an ERROR that names both headers.
func TestSubscribeContradictions(t *testing.T) {
	t.Parallel()
	for _, headers := range []string{
		"ack:auto\nx-ack-timeout:1000",
		"ack:auto\nx-redelivery-delay:10",
		"ack:auto\nx-redelivery-multiplier:2",
		"ack:auto\nx-max-redelivery-delay:10",
		"ack:auto\nx-max-deliveries:3",
		"browser:true\nexclusive:true",
		"browser:true\nactivemq.exclusive:true",
		"browser:true\nno-local:true",
		"browser:true\nactivemq.noLocal:true",
		"browser:true\nx-expires:1000",
	} {
		synctest.Test(t, func(t *testing.T) {
			c := servePipes(t, Options{}).connect("1.2")
			c.say("SUBSCRIBE\nid:s\ndestination:/queue/q\n" + headers + "\nreceipt:r\n\n")
			f := c.refused(codeHeader)
			one, other, _ := strings.Cut(headers, "\n")
			other, _, _ = strings.Cut(other, ":")
			if text := f.header("message"); !strings.Contains(strings.ReplaceAll(text, `\c`, ":"), "headers "+one+" and "+other+" ") {
				t.Errorf("%q: got %q", headers, text)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // what says no contradicts nothing
		c := servePipes(t, Options{}).connect("1.2")
		c.subscribe("s", "/queue/q", "auto", "browser:true", "exclusive:false", "no-local:false")
		c.message("", "browser:end")
	})
}

// Aliases that say different things get an ERROR that names two of them, in either
// order; those that say the same are one.
func TestAliasesDiffer(t *testing.T) {
	t.Parallel()
	for _, s := range []struct {
		aliases  []string
		one, two string
	}{
		{[]string{headerPrefetchCount, headerPrefetchSize}, "5", "6"},
		{[]string{headerConsumerPriority, headerActiveMQPriority, headerXPriority}, "1", "-1"},
		{[]string{headerExclusive, headerActiveMQExclusive, headerSingleActive}, "true", "false"},
		{[]string{headerNoLocal, headerActiveMQNoLocal}, "true", "false"},
		{[]string{headerRetroactive, headerActiveMQRetroactive}, "true", "false"},
	} {
		t.Run(s.aliases[0], func(t *testing.T) {
			t.Parallel()
			h := serve(t, Options{})
			for i, first := range s.aliases {
				for _, second := range s.aliases[i+1:] {
					for _, values := range [][2]string{{s.one, s.two}, {s.two, s.one}} {
						f := refuses(t, h, "1.2", fmt.Sprintf("SUBSCRIBE\nid:s\ndestination:/topic/t\n%s:%s\n%s:%s\n\n\x00",
							first, values[0], second, values[1]), codeHeader)
						if want := "headers " + first + " and " + second + " "; !strings.Contains(f.header("message"), want) {
							t.Errorf("got %s, want one with %q", f, want)
						}
					}
					h.connect("1.2").subscribe("s", "/topic/t", "client", first+":"+s.one, second+":"+s.one)
				}
			}
		})
	}
}

// Of expires and expiration the first counts: a message that is sent on as it came
// may have both.
func TestExpiresBeforeExpiration(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	c := h.connect("1.2")
	c.do("SEND\ndestination:/queue/q\nexpires:253402300799999\nexpiration:60000", "body")
	c.subscribe("s", "/queue/q", "client")
	c.message("body", "expires:253402300799999", "expiration:60000")
}

// x-expires says how long a queue outlives its use, and a durable subscription.
func TestQueueExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect("1.2")
		c.subscribe("q", "/queue/q", "auto", "x-expires:60000")
		c.subscribe("d", "/topic/t", "auto", "x-expires:60000", "durable:true", "auto-delete:false")
		c.do("UNSUBSCRIBE\nid:q")
		c.do("UNSUBSCRIBE\nid:d")
		time.Sleep(50 * time.Second)
		c.do("SEND\ndestination:/queue/q\ncreate:false", "in time")
		c.subscribe("q", "/queue/q", "auto")
		c.message("in time")
		c.do("UNSUBSCRIBE\nid:q")
		h.send("/topic/t", "kept")
		if n := h.stored(); n != 1 {
			t.Errorf("the durable subscription has %d messages", n)
		}
		time.Sleep(61 * time.Second)
		if n := h.stored(); n != 0 {
			t.Errorf("there are %d messages", n)
		}
		c.say("SEND\ndestination:/queue/q\ncreate:false\nreceipt:r\n\ntoo late")
		c.refused(destinations.CodeNoDestination)
	})
}
