package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"baton/destinations"
	"baton/journal"
	"baton/journal/memfs"
)

func TestMaxConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{MaxConnections: 2})
		first, second := h.connect("1.2"), h.connect("1.2")
		h.dial().refused(codeConnections)
		second.close()
		synctest.Wait()
		h.connect("1.2").nothing()
		h.dial().refused(codeConnections)
		first.nothing()
	})
}

// A namedConn comes from an address of its own.
type namedConn struct {
	net.Conn
	address string
}

func (c namedConn) RemoteAddr() net.Addr {
	a, _ := net.ResolveTCPAddr("tcp", c.address)
	return a
}

func TestMaxConnectionsPerIP(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{MaxConnectionsPerIP: 2})
		from := func(address string) *client {
			c := &client{t: t}
			c.conn, _ = h.pipes.dial(func(far net.Conn) net.Conn { return namedConn{far, address} })
			c.listen()
			return c
		}
		first := from("10.0.0.1:1001")
		first.hello("1.2")
		from("10.0.0.1:1002").hello("1.2")
		from("10.0.0.1:1003").refused(codeConnections)
		from("10.0.0.2:1001").hello("1.2")
		from("[2001:db8::1]:1001").hello("1.2")
		first.close()
		synctest.Wait()
		from("10.0.0.1:1004").hello("1.2")
		from("10.0.0.1:1005").refused(codeConnections)
	})
	synctest.Test(t, func(t *testing.T) { // but of who relays for many
		h := servePipes(t, Options{MaxConnectionsPerIP: 1, Relays: func(host string) bool { return host == "10.0.0.1" }})
		for range 3 {
			c := &client{t: t}
			c.conn, _ = h.pipes.dial(func(far net.Conn) net.Conn { return namedConn{far, "10.0.0.1:1001"} })
			c.listen()
			c.hello("1.2")
		}
	})
}

// TestSlowTopicSubscriber holds what becomes of copies beyond credit and limit.
func TestSlowTopicSubscriber(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		policy destinations.PendingPolicy
		then   []string
	}{
		"drop oldest": {destinations.DropOldest, []string{"4", "5"}},
		"drop new":    {destinations.DropNew, []string{"2", "3"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := serve(t, Options{Machine: destinations.Options{Pending: destinations.Pending{Messages: 2, Policy: c.policy}}})
			slow, fast := h.connect("1.2"), h.connect("1.2")
			slow.subscribe("1", "/topic/a", "client", "prefetch-count:1")
			fast.subscribe("1", "/topic/a", "auto")
			h.send("/topic/a", "1", "2", "3", "4", "5")
			slow.ack("ACK", "1.2", slow.message("1"))
			for _, body := range c.then {
				slow.ack("ACK", "1.2", slow.message(body))
			}
			slow.nothing()
			for i := range 5 {
				fast.message(fmt.Sprint(i + 1))
			}
		})
	}
}

// TestDeafConsumer holds that a consumer that takes no octet delays nobody, is
// cut after WriteTimeout, and that its messages go to others.
func TestDeafConsumer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const timeout = 5 * time.Second
		h := servePipes(t, Options{WriteTimeout: timeout})
		deaf := &client{t: t}
		deaf.conn, _ = h.pipes.dial(nil)
		t.Cleanup(deaf.close)
		begin := time.Now()
		deaf.write("CONNECT\naccept-version:1.2\n\n\x00")
		deaf.write("SUBSCRIBE\nid:q\ndestination:/queue/a\nack:client\n\n\x00SUBSCRIBE\nid:t\ndestination:/topic/a\n\n\x00")
		synctest.Wait()
		good := h.connect("1.2")
		good.subscribe("t", "/topic/a", "auto")
		h.send("/queue/a", "one", "two") // they are given to the deaf one
		good.subscribe("q", "/queue/a", "auto")
		for i := range 1000 {
			h.send("/topic/a", fmt.Sprint(i))
			good.message(fmt.Sprint(i))
		}
		if passed := time.Since(begin); passed != 0 {
			t.Errorf("the others waited for %v", passed)
		}
		good.message("one", "redelivered:true")
		good.message("two", "redelivered:true")
		if passed := time.Since(begin); passed != timeout {
			t.Errorf("cut after %v, want %v", passed, timeout)
		}
	})
}

// TestSlowConsumerLives holds that WriteTimeout is about silence, not about
// how long a message takes.
func TestSlowConsumerLives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{WriteTimeout: time.Second})
		body := strings.Repeat("x", 20_000) // is written as a vector of its own
		c := &client{t: t, tape: newTape()}
		c.conn, _ = h.pipes.dial(nil)
		var recording sync.WaitGroup
		recording.Go(func() { c.tape.record(&slowReader{c.conn, 1000, 900 * time.Millisecond}) })
		c.write("CONNECT\naccept-version:1.2\n\n\x00SUBSCRIBE\nid:1\ndestination:/queue/a\n\n\x00")
		h.send("/queue/a", body, body)
		time.Sleep(time.Minute)
		if got := strings.Count(c.tape.unread(), body); got != 2 {
			t.Errorf("%d messages came whole", got)
		}
		c.close()
		recording.Wait()
	})
}

// TestFrameGrace holds that a frame that was begun must be completed, and that
// one that comes fast enough may take its time.
func TestFrameGrace(t *testing.T) {
	t.Parallel()
	options := Options{FrameGrace: 5 * time.Second, MinRate: 10, IdleTimeout: time.Hour}
	for name, c := range map[string]struct {
		burst    int           // octets at once
		pause    time.Duration // between those after them
		from, to time.Duration // when it is cut
	}{
		"half a frame": {0, time.Hour, 5 * time.Second, 5500 * time.Millisecond},
		"too slow":     {0, 200 * time.Millisecond, 5 * time.Second, 5500 * time.Millisecond},
		"fast enough":  {0, 50 * time.Millisecond, 0, 0},
		// Haste in the beginning buys no time later.
		"then silent": {900, time.Hour, 5 * time.Second, 5500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client := servePipes(t, options).connect("1.2")
				time.Sleep(time.Minute) // idle; no frame is in progress
				begin := time.Now()
				done := make(chan struct{})
				var writing sync.WaitGroup
				writing.Go(func() {
					text := "SEND\ndestination:/queue/a\nreceipt:r\n\n" + strings.Repeat("x", 1000) + "\x00"
					client.offer(text[:c.burst])
					for _, octet := range text[c.burst:] {
						client.offer(string(octet))
						select {
						case <-done:
							return
						case <-time.After(c.pause):
						}
					}
				})
				f := client.read()
				cut := time.Since(begin)
				close(done)
				writing.Wait()
				switch {
				case c.to == 0:
					if f.command != "RECEIPT" {
						t.Errorf("got %s after %v", f, cut)
					}
				case f.header("code") != codeTimeout || cut < c.from || cut > c.to:
					t.Errorf("got %s after %v, want it cut after %v to %v", f, cut, c.from, c.to)
				}
			})
		})
	}
}

// TestShutdown holds that what was received is carried out, receipts that are
// due are sent however long the log takes, and clients are told.
func TestShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c, idle, consumer := h.connect("1.2"), h.connect("1.1"), h.connect("1.2")
		h.send("/queue/b", "kept")
		consumer.subscribe("1", "/queue/b", "client")
		consumer.message("kept")
		h.gate.shut()
		c.say("SEND\ndestination:/queue/a\nreceipt:r\n\nbody")
		synctest.Wait()
		h.cancel()
		time.Sleep(time.Second)
		c.still()
		idle.want("ERROR", "code:"+codeShutdown)
		if _, err := h.pipes.dial(nil); !errors.Is(err, errNoServer) {
			t.Errorf("a connection was made: %v", err)
		}
		h.gate.open()
		c.want("RECEIPT", "receipt-id:r")
		c.refused(codeShutdown)
		if err := h.ended(); err != nil {
			t.Errorf("Serve: %v", err)
		}
		next := servePipesOn(t, h.disk, Options{}, nil)
		next.wantLeft("/queue/a", "body")
		c = next.connect("1.2")
		c.subscribe("1", "/queue/b", "client")
		c.message("kept", "redelivered:true", "delivery-count:1") // it was not the consumer's fault
	})
}

// TestShutdownTimeout holds that a client that does not listen does not hold
// the broker back.
func TestShutdownTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const timeout = 3 * time.Second
		h := servePipes(t, Options{ShutdownTimeout: timeout, WriteTimeout: time.Hour, Linger: time.Hour})
		deaf := &client{t: t}
		deaf.conn, _ = h.pipes.dial(nil)
		t.Cleanup(deaf.close)
		deaf.write("CONNECT\naccept-version:1.2\n\n\x00")
		synctest.Wait()
		begin := time.Now()
		if err := h.stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
		if passed := time.Since(begin); passed != timeout {
			t.Errorf("it took %v, want %v", passed, timeout)
		}
	})
}

// TestShutdownOnAFullDisk holds that a broker whose journal waits for room ends
// when it is told to, whether its engine has something for the journal still or
// not, says why, and has lost nothing that a receipt was sent for.
func TestShutdownOnAFullDisk(t *testing.T) {
	t.Parallel()
	for name, waiting := range map[string]int{"one message waits": 1, "the buffer is full as well": 100} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const timeout = 3 * time.Second
				core, logged := observer.New(zap.ErrorLevel)
				h := servePipes(t, Options{ShutdownTimeout: timeout, Logger: zap.New(core)})
				h.send("/queue/a", "kept")
				h.disk.OnCall(func(c memfs.Call) error {
					if c.Op == "Create" {
						return syscall.ENOSPC
					}
					return nil
				})
				c := h.connect("1.2")
				body := strings.Repeat("x", 300<<10)
				go func() {
					for range waiting {
						c.offer("SEND\ndestination:/queue/b\nreceipt:r\n\n" + body + "\x00")
					}
				}()
				time.Sleep(time.Second)
				begin := time.Now()
				if err := h.stop(); !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, journal.ErrClosed) {
					t.Errorf("Serve: %v", err)
				}
				if passed := time.Since(begin); passed > 2*timeout {
					t.Errorf("it took %v, want %v at most", passed, 2*timeout)
				}
				if logged.FilterMessageSnippet("the journal did not become durable in time").Len() != 1 {
					t.Errorf("it says %v", logged.All())
				}
				h.disk.OnCall(nil)
				next := servePipesOn(t, h.disk, Options{}, nil)
				next.wantLeft("/queue/a", "kept")
				next.wantLeft("/queue/b")
			})
		})
	}
}

// TestShutdownOfABusyEngine holds that a broker whose engine is busy for long ends
// when it is told to all the same, also when a client waits for room in the mailbox,
// that it says why, and has lost nothing that a receipt was sent for.
func TestShutdownOfABusyEngine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const timeout = 3 * time.Second
		var busy atomic.Bool
		ready := make(chan struct{})
		core, logged := observer.New(zap.ErrorLevel)
		h := servePipes(t, Options{ShutdownTimeout: timeout, MailboxBytes: 1000, Logger: zap.New(core), OnStored: func(int) {
			if busy.Load() {
				<-ready
			}
		}})
		c := h.connect("1.2")
		h.send("/queue/a", "kept")
		busy.Store(true)
		time.Sleep(2 * tendInterval)
		go c.offer(strings.Repeat("SEND\ndestination:/queue/b\nreceipt:r\n\nbody\x00", 10_000))
		synctest.Wait()
		begin := time.Now()
		if err := h.stop(); !errors.Is(err, errBusy) {
			t.Errorf("Serve: %v", err)
		}
		if passed := time.Since(begin); passed > 2*timeout+engineGrace {
			t.Errorf("it took %v, want %v at most", passed, 2*timeout+engineGrace)
		}
		if busy := logged.FilterMessageSnippet("still busy"); busy.Len() != 1 || logged.Len() != 1 {
			t.Errorf("it says %v", logged.All())
		}
		close(ready)
		next := servePipesOn(t, h.disk, Options{}, nil)
		next.wantLeft("/queue/a", "kept")
		next.wantLeft("/queue/b")
	})
}

var errDisk = errors.New("the disk is on fire")

// TestLogFails holds that nothing is acknowledged when the log cannot keep it,
// and that Serve says why.
func TestLogFails(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"WriteVectors", "Datasync"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := servePipes(t, Options{})
				c, consumer := h.connect("1.2"), h.connect("1.2")
				consumer.subscribe("1", "/queue/a", "auto")
				h.send("/queue/b", "safe")
				h.disk.OnCall(func(call memfs.Call) error {
					if call.Op == op {
						return errDisk
					}
					return nil
				})
				c.say("SEND\ndestination:/queue/a\nreceipt:r\n\nbody")
				for _, c := range []*client{c, consumer} {
					if f, err := c.next(); err == nil {
						t.Errorf("got %s", f)
					}
				}
				if err := h.ended(); !errors.Is(err, errDisk) {
					t.Errorf("Serve: %v", err)
				}
				h.disk.OnCall(nil)
				servePipesOn(t, h.disk.CrashClone(memfs.None), Options{}, nil).wantLeft("/queue/b", "safe")
			})
		})
	}
}

// A refusingLog refuses batches once it is told to.
type refusingLog struct {
	Log
	refuses *atomic.Bool
}

func (l refusingLog) Append(records []journal.Record) error {
	if l.refuses.Load() {
		return errDisk
	}
	return l.Log.Append(records)
}

func TestLogRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var refuses atomic.Bool
		h := servePipesOn(t, memfs.New(), Options{}, func(l Log) Log { return refusingLog{l, &refuses} })
		c := h.connect("1.2")
		refuses.Store(true)
		c.say("SEND\ndestination:/queue/a\nreceipt:r\n\nbody")
		if f, err := c.next(); err == nil {
			t.Errorf("got %s", f)
		}
		if err := h.ended(); !errors.Is(err, errDisk) {
			t.Errorf("Serve: %v", err)
		}
	})
}

// TestLogFailsAtShutdown holds that a log that fails while the broker stops ends it, though the mailbox is full and
// sessions wait to put more into it.
func TestLogFailsAtShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var refuses atomic.Bool
		log := newStubbornLog()
		h := servePipesOn(t, memfs.New(), Options{MailboxBytes: 1}, func(l Log) Log { return log.over(refusingLog{l, &refuses}) })
		release := log.hold(t)
		for range 3 { // one is with the engine, one in the mailbox, one waits
			h.connect("1.2").say("SEND\ndestination:/queue/a\n\nbody")
			synctest.Wait()
		}
		h.cancel()
		synctest.Wait()
		refuses.Store(true)
		release()
		if err := h.ended(); !errors.Is(err, errDisk) {
			t.Errorf("Serve: %v", err)
		}
	})
}

// TestRecoverFails holds that a server that cannot have its log does not come
// up.
func TestRecoverFails(t *testing.T) {
	t.Parallel()
	for name, log := range map[string]Log{
		"not read":     brokenLog{read: errDisk},
		"not appended": brokenLog{append: errDisk},
		"no entry":     brokenLog{record: journal.Record{Seq: 1, Type: 99, Body: []byte("nonsense")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := New(Options{}).Recover(context.Background(), log, "b", 1); err == nil {
				t.Error("it came up")
			}
		})
	}
	t.Run("never durable", func(t *testing.T) {
		t.Parallel()
		s := New(Options{})
		s.Fail(errDisk)
		if err := s.Recover(context.Background(), brokenLog{}, "b", 1); !errors.Is(err, errDisk) {
			t.Errorf("got %v", err)
		}
	})
}

type brokenLog struct {
	bareLog
	read, append error
	record       journal.Record
}

func (l brokenLog) Read(_ uint64, fn func(journal.Record) error) error {
	if l.record.Seq > 0 {
		return fn(l.record)
	}
	return l.read
}
func (l brokenLog) Append([]journal.Record) error { return l.append }
func (l brokenLog) Sync()                         {}
func (l brokenLog) Last() uint64                  { return 0 }

// A writePanickingConn panics in the write that has this number.
type writePanickingConn struct {
	net.Conn
	countdown *atomic.Int32
}

func (c writePanickingConn) Write(p []byte) (int, error) {
	if c.countdown.Add(-1) == 0 {
		panic(secret)
	}
	return c.Conn.Write(p)
}

// TestPanic holds that a panic closes its own session and no other, that it is
// logged, and that the session's messages go to others.
func TestPanic(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(net.Conn, *atomic.Int32) net.Conn{
		"reading": func(c net.Conn, n *atomic.Int32) net.Conn { return panickingConn{c, n} },
		"writing": func(c net.Conn, n *atomic.Int32) net.Conn { return writePanickingConn{c, n} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				core, logged := observer.New(zapcore.ErrorLevel)
				h := servePipes(t, Options{Logger: zap.New(core)})
				other := h.connect("1.2")
				var countdown atomic.Int32
				c := &client{t: t}
				c.conn, _ = h.pipes.dial(func(far net.Conn) net.Conn { return wrap(far, &countdown) })
				c.listen()
				c.hello("1.2")
				c.subscribe("1", "/queue/a", "client")
				h.send("/queue/a", "body")
				c.message("body")
				other.subscribe("1", "/queue/a", "auto")
				countdown.Store(2) // a read is under way already
				if name == "writing" {
					countdown.Store(1)
				}
				c.offer("BEGIN\ntransaction:t\nreceipt:r\n\n\x00")
				c.offer("\n")
				for {
					if _, err := c.next(); err != nil {
						break
					}
				}
				other.message("body", "redelivered:true")
				if logged.FilterMessageSnippet("BUG").Len() != 1 {
					t.Errorf("logged: %v", logged.All())
				}
			})
		})
	}
}

// TestPanicKeepsOctets holds that what a session had encoded when its writer
// panicked does not go back to the pool: it would go out on another session.
func TestPanicKeepsOctets(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	var countdown atomic.Int32
	countdown.Store(1)
	s := newSession(New(Options{}), 1, writePanickingConn{far, &countdown})
	s.out.push(receipt("r", 0))
	w := frameWriter{s: s}
	func() {
		defer func() { _ = recover() }()
		_, _ = w.drain()
	}()
	if w.scratch == nil || len(w.buf) == 0 {
		t.Error("its memory went back to the pool, or it did not panic")
	}
}

// TestFullMailbox holds that a connection that sends much more than the
// mailbox takes, and consumes it too, comes to an end: its ACKs get through.
func TestFullMailbox(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{MailboxBytes: 1})
	c := h.connect("1.2")
	c.subscribe("1", "/queue/a", "client-individual", "prefetch-count:2")
	const n = 500
	var writing sync.Mutex // a frame is written whole
	write := func(octets string) {
		writing.Lock()
		defer writing.Unlock()
		c.offer(octets)
	}
	var sending sync.WaitGroup
	for p := range 2 {
		sending.Go(func() {
			for i := range n {
				write(fmt.Sprintf("SEND\ndestination:/queue/a\n\n%d %d\x00", p, i))
			}
		})
	}
	next := [2]int{}
	for range 2 * n {
		m := c.want("MESSAGE")
		write("ACK\nid:" + m.header("ack") + "\n\n\x00")
		var p, i int
		if _, err := fmt.Sscanf(m.body, "%d %d", &p, &i); err != nil || i != next[p] {
			t.Fatalf("got %q, want number %d", m.body, next[p])
		}
		next[p]++
	}
	sending.Wait()
	c.nothing()
	c.leave()
	h.wantLeft("/queue/a")
}

// A stubbornLog takes nothing, while it is held, until it is let go.
type stubbornLog struct {
	Log
	held atomic.Bool
	let  chan struct{}
}

func newStubbornLog() *stubbornLog { return &stubbornLog{let: make(chan struct{})} }

// over has l take the place of log.
func (l *stubbornLog) over(log Log) Log {
	l.Log = log
	return l
}

func (l *stubbornLog) Append(records []journal.Record) error {
	if l.held.Load() {
		<-l.let
	}
	return l.Log.Append(records)
}

// hold has the log take nothing until what it returns is called, or the test ends.
func (l *stubbornLog) hold(t *testing.T) (release func()) {
	l.held.Store(true)
	release = sync.OnceFunc(func() {
		l.held.Store(false)
		close(l.let)
	})
	t.Cleanup(release)
	return release
}

// TestAckPassesWaitingSends holds that while the engine is busy and the box
// full, SENDs wait at their sessions, and an ACK goes in.
func TestAckPassesWaitingSends(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newStubbornLog()
		h := servePipesOn(t, memfs.New(), Options{MailboxBytes: 1000}, log.over)
		producer, waiting, consumer := h.connect("1.2"), h.connect("1.2"), h.connect("1.2")
		consumer.subscribe("1", "/queue/a", "client")
		h.send("/queue/a", "body")
		m := consumer.message("body")
		holds := func(bytes int) {
			t.Helper()
			synctest.Wait()
			if got := h.engine.box.bytes; got != bytes {
				t.Fatalf("the box holds %d octets, want %d", got, bytes)
			}
		}
		synctest.Wait()
		release := log.hold(t)
		producer.say("SEND\ndestination:/queue/b\nreceipt:1\n\nbusy") // the engine takes it, and is stuck in the log
		holds(0)
		body := strings.Repeat("x", 998-stampBytes) // and the timestamp, that is a digit shorter in a bubble of synctest, the line end before it, the receipt, the name of the queue
		producer.say("SEND\ndestination:/queue/b\nreceipt:2\n\n" + body)
		holds(1000 + mailOverhead)
		waiting.say("SEND\ndestination:/queue/b\nreceipt:3\n\n" + body)
		holds(1000 + mailOverhead)
		consumer.say(ackHead("ACK", "1.2", m) + "\nreceipt:4\n\n")
		holds(1000 + len("4") + 2*mailOverhead)
		release()
		producer.want("RECEIPT", "receipt-id:1")
		producer.want("RECEIPT", "receipt-id:2")
		waiting.want("RECEIPT", "receipt-id:3")
		consumer.want("RECEIPT", "receipt-id:4")
	})
}

// A flakyListener fails now and then before it accepts.
type flakyListener struct {
	*pipes
	failures atomic.Int32
}

func (l *flakyListener) Accept() (net.Conn, error) {
	if l.failures.Add(-1) >= 0 {
		return nil, errors.New("too many open files")
	}
	return l.pipes.Accept()
}

func TestAcceptFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &host{t: t, disk: memfs.New(), pipes: newPipes()}
		listener := &flakyListener{pipes: h.pipes}
		listener.failures.Store(10)
		h.start(Options{}, listener, nil)
		h.connect("1.2").nothing() // it goes on after some time
		_ = h.pipes.Close()
		if err := h.ended(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
}

// TestServeAfterFailure holds that a log that failed before Serve ends it.
func TestServeAfterFailure(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	s.engine.log = brokenLog{}
	s.Fail(errDisk)
	if err := s.Serve(context.Background(), newPipes()); !errors.Is(err, errDisk) {
		t.Errorf("got %v", err)
	}
}
