package integration

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"

	"baton/integration/process"
)

// forEachVersion runs a go-stomp client of every version against a broker of its own.
func forEachVersion(t *testing.T, test func(t *testing.T, b *process.Broker, c *stomp.Conn)) {
	t.Helper()
	for _, version := range []stomp.Version{stomp.V10, stomp.V11, stomp.V12} {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			b := start(t, options(t))
			c := dialGoStomp(t, b, stomp.ConnOpt.AcceptVersion(version))
			if c.Version() != version {
				t.Fatalf("asked for %s, speaks %s", version, c.Version())
			}
			test(t, b, c)
			if err := c.Disconnect(); err != nil {
				t.Errorf("disconnect: %v", err)
			}
		})
	}
}

// dialGoStomp bounds every wait: the connection breaks after the test's patience.
func dialGoStomp(t *testing.T, b *process.Broker, opts ...func(*stomp.Conn) error) *stomp.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	c, err := stomp.Connect(conn, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.MustDisconnect() })
	return c
}

func sendGoStomp(t *testing.T, c *stomp.Conn, destination, body string, opts ...func(*frame.Frame) error) {
	t.Helper()
	if err := c.Send(destination, "text/plain", []byte(body), append(opts, stomp.SendOpt.Receipt)...); err != nil {
		t.Fatalf("send %q: %v", body, err)
	}
}

func subscribe(t *testing.T, c *stomp.Conn, destination string, mode stomp.AckMode) *stomp.Subscription {
	t.Helper()
	s, err := c.Subscribe(destination, mode)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// receive expects a message with that body, flagged as redelivered or not.
func receive(t *testing.T, s *stomp.Subscription, body string, redelivered bool) *stomp.Message {
	t.Helper()
	m, err := s.Read()
	if err != nil {
		t.Fatalf("want %q: %v", body, err)
	}
	if string(m.Body) != body {
		t.Fatalf("got %q, want %q", m.Body, body)
	}
	if got := m.Header.Get("redelivered") == "true"; got != redelivered {
		t.Errorf("%q: redelivered %v, want %v", body, got, redelivered)
	}
	return m
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// unsubscribe ends a subscription whose channel nobody reads any more. The channel closes when the RECEIPT has come.
// Unsubscribe itself may miss that, for it looks at the state and then waits without a lock over both.
func unsubscribe(t *testing.T, s *stomp.Subscription) {
	t.Helper()
	go s.Unsubscribe()
	for m := range s.C {
		must(t, "unsubscribe", m.Err)
	}
}

func TestGoStompAutoAck(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(t *testing.T, b *process.Broker, c *stomp.Conn) {
		s := subscribe(t, c, "/queue/a", stomp.AckAuto)
		for i := range 10 {
			sendGoStomp(t, c, "/queue/a", fmt.Sprint(i), stomp.SendOpt.Header("colour", "green"))
			m := receive(t, s, fmt.Sprint(i), false)
			if m.ContentType != "text/plain" || m.Header.Get("colour") != "green" || m.Destination != "/queue/a" {
				t.Errorf("headers did not come through: %v", m.Header)
			}
		}
	})
}

// Escapes of every kind come through unchanged where the version has them.
func TestGoStompEscapes(t *testing.T) {
	t.Parallel()
	b := start(t, options(t))
	c := dialGoStomp(t, b)
	s := subscribe(t, c, "/queue/a", stomp.AckAuto)
	value := "a:b\\c\nd\re"
	sendGoStomp(t, c, "/queue/a", "x", stomp.SendOpt.Header("na:me", value))
	if got := receive(t, s, "x", false).Header.Get("na:me"); got != value {
		t.Errorf("got %q, want %q", got, value)
	}
}

func TestGoStompClientAckIsCumulative(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(t *testing.T, b *process.Broker, c *stomp.Conn) {
		for i := range 5 {
			sendGoStomp(t, c, "/queue/a", fmt.Sprint(i))
		}
		holder := dialGoStomp(t, b, stomp.ConnOpt.AcceptVersion(c.Version()))
		s := subscribe(t, holder, "/queue/a", stomp.AckClient)
		var third *stomp.Message
		for i := range 5 {
			if m := receive(t, s, fmt.Sprint(i), false); i == 2 {
				third = m
			}
		}
		must(t, "ack", holder.Ack(third))
		must(t, "disconnect", holder.Disconnect())
		rest := subscribe(t, c, "/queue/a", stomp.AckAuto)
		receive(t, rest, "3", true)
		receive(t, rest, "4", true)
	})
}

func TestGoStompClientIndividualAck(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(t *testing.T, b *process.Broker, c *stomp.Conn) {
		if c.Version() == stomp.V10 {
			return // STOMP 1.0 has no client-individual
		}
		for i := range 3 {
			sendGoStomp(t, c, "/queue/a", fmt.Sprint(i))
		}
		holder := dialGoStomp(t, b, stomp.ConnOpt.AcceptVersion(c.Version()))
		s := subscribe(t, holder, "/queue/a", stomp.AckClientIndividual)
		receive(t, s, "0", false)
		must(t, "ack", holder.Ack(receive(t, s, "1", false)))
		receive(t, s, "2", false)
		must(t, "disconnect", holder.Disconnect())
		rest := subscribe(t, c, "/queue/a", stomp.AckAuto)
		receive(t, rest, "0", true)
		receive(t, rest, "2", true)
	})
}

func TestGoStompNackRedelivers(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(t *testing.T, b *process.Broker, c *stomp.Conn) {
		if c.Version() == stomp.V10 {
			return // STOMP 1.0 has no NACK
		}
		sendGoStomp(t, c, "/queue/a", "again")
		s := subscribe(t, c, "/queue/a", stomp.AckClientIndividual)
		must(t, "nack", c.Nack(receive(t, s, "again", false)))
		must(t, "ack", c.Ack(receive(t, s, "again", true)))
	})
}

func TestGoStompTransactions(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(t *testing.T, b *process.Broker, c *stomp.Conn) {
		sendGoStomp(t, c, "/queue/in", "work")

		// Acknowledgements of a transaction that was not committed are void: by ABORT, and by the end of the connection.
		for i, end := range []func(*stomp.Transaction) error{(*stomp.Transaction).AbortWithReceipt, nil} {
			holder := dialGoStomp(t, b, stomp.ConnOpt.AcceptVersion(c.Version()))
			tx := holder.Begin()
			must(t, "ack in transaction", tx.Ack(receive(t, subscribe(t, holder, "/queue/in", stomp.AckClient), "work", i > 0)))
			if end != nil {
				must(t, "abort", end(tx))
			}
			must(t, "disconnect", holder.Disconnect())
		}

		in := subscribe(t, c, "/queue/in", stomp.AckClient)
		work := receive(t, in, "work", true)

		aborted := c.Begin()
		must(t, "ack in transaction", aborted.Ack(work))
		must(t, "send in transaction", aborted.Send("/queue/out", "text/plain", []byte("never")))
		must(t, "abort", aborted.AbortWithReceipt())

		// The message is still held after the abort, and may be acknowledged again.
		tx := c.Begin()
		must(t, "ack in transaction", tx.Ack(work))
		for i := range 3 {
			must(t, "send in transaction", tx.Send("/queue/out", "text/plain", []byte(fmt.Sprint(i))))
		}
		must(t, "commit", tx.CommitWithReceipt())

		out := subscribe(t, c, "/queue/out", stomp.AckAuto)
		for i := range 3 {
			receive(t, out, fmt.Sprint(i), false)
		}
		unsubscribe(t, in)
		sendGoStomp(t, c, "/queue/in", "next")
		receive(t, subscribe(t, c, "/queue/in", stomp.AckAuto), "next", false)
	})
}

func TestGoStompTopic(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(t *testing.T, b *process.Broker, c *stomp.Conn) {
		sendGoStomp(t, c, "/topic/news", "nobody hears this")
		other := dialGoStomp(t, b)
		first := subscribe(t, c, "/topic/news", stomp.AckAuto)
		second := subscribe(t, other, "/topic/news", stomp.AckAuto)
		// A confirmed SEND on the same connection shows that the SUBSCRIBE before it has been worked off.
		sendGoStomp(t, other, "/queue/done", "")
		sendGoStomp(t, c, "/topic/news", "heard")
		receive(t, first, "heard", false)
		receive(t, second, "heard", false)
	})
}

// A confirmed message survives a clean restart and a crash.
func TestGoStompDurable(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *process.Broker){
		"SIGTERM": terminate,
		"SIGKILL": func(_ *testing.T, b *process.Broker) { b.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			b := start(t, o)
			c := dialGoStomp(t, b)
			for i := range 3 {
				sendGoStomp(t, c, "/queue/a", fmt.Sprint(i))
			}
			end(t, b)
			c = dialGoStomp(t, start(t, o))
			s := subscribe(t, c, "/queue/a", stomp.AckClient)
			for i := range 3 {
				m, err := s.Read()
				if err != nil || string(m.Body) != fmt.Sprint(i) {
					t.Fatalf("got %q, %v, want %d", m.Body, err, i)
				}
				must(t, "ack", c.Ack(m))
			}
		})
	}
}

// go-stomp closes an idle connection unless the broker beats in time, and beats itself exactly at the interval that the
// broker asks for.
func TestGoStompIdle(t *testing.T) {
	t.Parallel()
	beat := stomp.ConnOpt.HeartBeat
	second := []string{"BATON_STOMP_HEARTBEAT_SEND=1s", "BATON_STOMP_HEARTBEAT_RECEIVE=1s"}
	for _, c := range []struct {
		name string
		env  []string
		opts []func(*stomp.Conn) error
		idle time.Duration
	}{
		// The client gives up after 60 s + 5 s of silence.
		{"defaults", nil, nil, 70 * time.Second},
		// Here after 1 s + 1 s.
		{"both beat", second, []func(*stomp.Conn) error{beat(time.Second, time.Second), stomp.ConnOpt.HeartBeatError(time.Second)}, 7 * time.Second},
		// A client that does not want our beats must still live longer than its own 60 s without them would say.
		{"only the client beats", second, []func(*stomp.Conn) error{beat(time.Second, 0), stomp.ConnOpt.HeartBeatError(time.Second)}, 7 * time.Second},
		{"only the broker beats", second, []func(*stomp.Conn) error{beat(0, time.Second), stomp.ConnOpt.HeartBeatError(time.Second)}, 7 * time.Second},
		{"nobody beats", second, []func(*stomp.Conn) error{beat(0, 0), stomp.ConnOpt.HeartBeatError(time.Second)}, 7 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := dialGoStomp(t, start(t, options(t, c.env...)), c.opts...)
			s := subscribe(t, conn, "/queue/a", stomp.AckAuto)
			select {
			case m := <-s.C:
				t.Fatalf("an idle connection ended or got something: %+v", m)
			case <-time.After(c.idle): // the time is the point: nothing may happen in it
			}
			sendGoStomp(t, conn, "/queue/a", "still here")
			receive(t, s, "still here", false)
		})
	}
}

// An ERROR frame reaches the client and names what was wrong.
func TestGoStompSeesTheError(t *testing.T) {
	t.Parallel()
	c := dialGoStomp(t, start(t, options(t)))
	err := c.Send("/nowhere/a", "text/plain", []byte("x"), stomp.SendOpt.Receipt)
	var answered *stomp.Error
	var value stomp.Error
	switch {
	case errors.As(err, &answered):
		value = *answered
	case !errors.As(err, &value):
		t.Fatalf("send to /nowhere: %v", err)
	}
	if value.Frame == nil || value.Frame.Header.Get("receipt-id") == "" {
		t.Errorf("the ERROR does not name the receipt: %+v", value)
	}
}

// Request and reply as go-stomp does it: a Subscribe with a reply-to header sends
// nothing, and the SEND of the request subscribes.
func TestGoStompReplyTo(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(t *testing.T, b *process.Broker, c *stomp.Conn) {
		const replies = "/temp-queue/replies"
		answers, err := c.Subscribe(replies, stomp.AckAuto, stomp.SubscribeOpt.Header(stomp.ReplyToHeader, replies))
		if err != nil {
			t.Fatal(err)
		}
		worker := dialGoStomp(t, b)
		work := subscribe(t, worker, "/queue/work", stomp.AckAuto)
		for i := range 3 {
			sendGoStomp(t, c, "/queue/work", fmt.Sprint("question ", i), stomp.SendOpt.Header(stomp.ReplyToHeader, replies))
			question := receive(t, work, fmt.Sprint("question ", i), false)
			sendGoStomp(t, worker, question.Header.Get(stomp.ReplyToHeader), fmt.Sprint("answer ", i))
			receive(t, answers, fmt.Sprint("answer ", i), false)
		}
	})
}
