package broker

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"baton/journal"
	"baton/journal/memfs"
)

// A getLog answers Get with what the test says, if that is not nil.
type getLog struct {
	Log
	gets   atomic.Int64
	answer func(seq uint64) error
}

func (l *getLog) Get(seq uint64) (journal.Record, error) {
	l.gets.Add(1)
	if l.answer != nil {
		if err := l.answer(seq); err != nil {
			return journal.Record{}, err
		}
	}
	return l.Log.Get(seq)
}

// inLittleMemory runs a test in a bubble, with a server that has memory for a
// few dozen KiB of messages and whose Gets are answered by the test, until it
// says nil.
func inLittleMemory(t *testing.T, answer func(seq uint64) error, test func(t *testing.T, h *host, log *getLog, logged *observer.ObservedLogs)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zapcore.WarnLevel)
		log := &getLog{answer: answer}
		h := servePipesOn(t, memfs.New(), littleMemory(core), func(l Log) Log {
			log.Log = l
			return log
		})
		test(t, h, log, logged)
	})
}

func littleMemory(core zapcore.Core) Options {
	return Options{MemoryBytes: 64 << 10, Logger: zap.New(core)}
}

// A backlog much larger than memory is delivered whole, in order and as it
// came, by the broker that took it and by the next.
func TestBacklogBeyondMemory(t *testing.T) {
	inLittleMemory(t, nil, func(t *testing.T, h *host, log *getLog, _ *observer.ObservedLogs) {
		const messages = 1000
		body := func(i int) string { return fmt.Sprint(i, strings.Repeat(string(rune('a'+i%26)), 1000+i%7)) }
		c := h.connect("1.2")
		for i := range messages {
			c.do(fmt.Sprintf("SEND\ndestination:/queue/a\npersistent:%t\nnumber:%d\nodd:a\\c\\n%d", i%3 > 0, i, i), body(i))
		}
		synctest.Wait()
		if held := h.engine.machine.Bytes(); held > 64<<10 {
			t.Errorf("%d octets are held", held)
		}
		take := func(c *client, from, to int) {
			for i := from; i < to; i++ {
				m := c.message(body(i), fmt.Sprint("number:", i), fmt.Sprintf("odd:a\\c\\n%d", i))
				if i%2 == 0 {
					c.ack("ACK", "1.2", m)
				} else {
					c.say(ackHead("ACK", "1.2", m) + "\n\n")
				}
			}
		}
		c.subscribe("s", "/queue/a", "client-individual", "prefetch-count:1")
		take(c, 0, messages/2)
		c.close()
		synctest.Wait()
		if log.gets.Load() < messages/4 {
			t.Errorf("only %d messages were read from the log: the test has too much memory", log.gets.Load())
		}
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
		h = servePipesOn(t, h.disk, littleMemory(zapcore.NewNopCore()), nil)
		c = h.connect("1.2")
		c.subscribe("s", "/queue/a", "client-individual", "prefetch-count:1")
		// The last of them may have been on its way to being acknowledged.
		take(c, messages/2, messages)
		c.nothing()
	})
}

// A message whose record is damaged is set aside and the others flow, whatever
// the ack mode; one line of the log says so.
func TestUnreadableMessage(t *testing.T) {
	const messages, bad = 200, 150
	for _, mode := range []string{"auto", "client", "client-individual"} {
		t.Run(mode, func(t *testing.T) {
			damaged := &journal.CorruptError{File: "0000000001.seg", Offset: 4711, Reason: "test"}
			var seq atomic.Uint64
			answer := func(s uint64) error {
				if s == seq.Load() {
					return damaged
				}
				return nil
			}
			inLittleMemory(t, answer, func(t *testing.T, h *host, _ *getLog, logged *observer.ObservedLogs) {
				seq.Store(h.engine.machine.Last() + 1 + bad)
				body := strings.Repeat("x", 1000)
				c := h.connect("1.2")
				for i := range messages {
					c.do("SEND\ndestination:/queue/a", fmt.Sprint(i, body))
				}
				c.subscribe("s", "/queue/a", mode, "prefetch-count:2")
				for i := range messages {
					if i == bad {
						continue
					}
					m := c.message(fmt.Sprint(i, body))
					if mode != "auto" {
						c.say(ackHead("ACK", "1.2", m) + "\n\n")
					}
				}
				c.nothing()
				synctest.Wait()
				lines := logged.All()
				if len(lines) != 1 || lines[0].Level != zapcore.ErrorLevel {
					t.Fatalf("the log says %v", lines)
				}
				fields := fmt.Sprint(lines[0].ContextMap())
				for _, part := range []string{"/queue/a", damaged.File, "4711"} {
					if !strings.Contains(fields, part) {
						t.Errorf("the log does not say %s: %s", part, fields)
					}
				}
				c.close()
				if err := h.stop(); err != nil {
					t.Fatal(err)
				}
				// What was set aside is not lost: the next broker tries again.
				servePipesOn(t, h.disk, Options{}, nil).wantLeft("/queue/a", fmt.Sprint(bad, body))
			})
		})
	}
}

// deaf makes a connection that says something and takes nothing of what follows
// CONNECTED.
func (h *host) deaf(says ...string) *client {
	h.t.Helper()
	c := &client{t: h.t}
	c.conn, _ = h.pipes.dial(nil)
	h.t.Cleanup(c.close)
	c.say("CONNECT\naccept-version:1.2\n\n")
	c.takeFrame()
	for _, frame := range says {
		c.say(frame)
	}
	return c
}

// takeFrame reads as far as the next NUL.
func (c *client) takeFrame() {
	c.t.Helper()
	for octet := []byte{1}; octet[0] != 0; {
		if _, err := c.conn.Read(octet); err != nil {
			c.t.Fatal(err)
		}
	}
}

// take reads so many octets.
func (c *client) take(octets int) {
	c.t.Helper()
	if _, err := io.CopyN(io.Discard, c.conn, int64(octets)); err != nil {
		c.t.Fatal(err)
	}
}

// What a writer has read from the log it writes before it reads much more.
func TestWriterHoldsLittle(t *testing.T) {
	inLittleMemory(t, nil, func(t *testing.T, h *host, log *getLog, _ *observer.ObservedLogs) {
		const messages, size = 100, 12 << 10
		c := h.connect("1.2")
		for range messages {
			c.do("SEND\ndestination:/queue/a", strings.Repeat("x", size))
		}
		deaf := h.deaf("SUBSCRIBE\nid:s\ndestination:/queue/a\nprefetch-count:1000\n\n")
		synctest.Wait()
		for octets := 0; octets < 20*size; {
			n, err := deaf.conn.Read(make([]byte, size))
			if err != nil {
				t.Fatal(err)
			}
			octets += n
			synctest.Wait()
			if ahead := log.gets.Load()*size - int64(octets); ahead > writeBytes+2*size {
				t.Fatalf("%d octets were read from the log for a client that has taken %d", log.gets.Load()*size, octets)
			}
		}
	})
}

// A message that is acknowledged while it is read, and whose record is gone
// then, is nobody's trouble.
func TestAcknowledgedWhileItIsRead(t *testing.T) {
	var reading, read chan struct{} // of the bubble
	var seq atomic.Uint64
	answer := func(s uint64) error {
		if s != seq.Load() {
			return nil
		}
		close(reading)
		<-read
		return fmt.Errorf("get: %w", journal.ErrNotFound)
	}
	inLittleMemory(t, answer, func(t *testing.T, h *host, _ *getLog, logged *observer.ObservedLogs) {
		reading, read = make(chan struct{}), make(chan struct{})
		const messages, bad = 100, 90
		seq.Store(h.engine.machine.Last() + 1 + bad)
		body := strings.Repeat("x", 1000)
		c := h.connect("1.2")
		for i := range messages {
			c.do("SEND\ndestination:/queue/a", fmt.Sprint(i, body))
		}
		c.say("SUBSCRIBE\nid:s\ndestination:/queue/a\nack:client-individual\nprefetch-count:1000\n\n")
		<-reading
		c.say(fmt.Sprintf("ACK\nid:1-%d\n\n", bad+1))
		synctest.Wait()
		close(read)
		for i := range messages {
			if i != bad {
				c.message(fmt.Sprint(i, body))
			}
		}
		c.nothing()
		synctest.Wait()
		if lines := logged.All(); len(lines) > 0 {
			t.Errorf("the log says %v", lines)
		}
		if got := h.stored(); got != messages-1 {
			t.Errorf("%d messages are in the queue, want %d", got, messages-1)
		}
	})
}

// What an auto subscription was given when it ends is written, even if the
// client reads on only when its record is gone from the log; the rest is left.
func TestEndOfASlowAutoSubscription(t *testing.T) {
	for name, end := range map[string]string{"unsubscribe": "UNSUBSCRIBE\nid:s\n\n", "disconnect": "DISCONNECT\nreceipt:end\n\n"} {
		t.Run(name, func(t *testing.T) {
			inLittleMemory(t, nil, func(t *testing.T, h *host, _ *getLog, _ *observer.ObservedLogs) {
				const messages = 200
				c := h.connect("1.2")
				body := func(i int) string { return fmt.Sprint(i, strings.Repeat("x", 12<<10)) }
				for i := range messages {
					c.do("SEND\ndestination:/queue/a", body(i))
				}
				slow := &client{t: t}
				slow.conn, _ = h.pipes.dial(nil)
				slow.write("CONNECT\naccept-version:1.2\n\n\x00")
				slow.in = bufio.NewReaderSize(slow.conn, 16)
				slow.want("CONNECTED")
				slow.write("SUBSCRIBE\nid:s\ndestination:/queue/a\nprefetch-count:1000\n\n\x00")
				synctest.Wait() // the writer waits for the client
				slow.say(end)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				left := h.stored()
				for i := range messages - left {
					slow.message(body(i))
				}
				if left == messages || left == 0 {
					t.Errorf("%d of %d messages are left: the test has another rhythm", left, messages)
				}
				go func() { _, _ = io.Copy(io.Discard, slow.conn) }()
				slow.close()
			})
		})
	}
}

// fill puts n messages into a queue that are only in the log, behind others
// that were consumed, and returns their bodies.
func (h *host) fill(queue string, n, size int) (bodies []string) {
	h.t.Helper()
	c := h.connect("1.2")
	body := func(i int) string { return fmt.Sprint(i, strings.Repeat(string(rune('a'+i%26)), size)) }
	for i := range 2 * n {
		c.do("SEND\ndestination:"+queue, body(i))
	}
	c.subscribe("s", queue, "client-individual", "prefetch-count:1")
	for i := range n {
		c.say(ackHead("ACK", "1.2", c.message(body(i))) + "\n\n")
	}
	c.say("DISCONNECT\n\n")
	for i := range n {
		bodies = append(bodies, body(n+i))
	}
	synctest.Wait()
	c.close()
	return bodies
}

// However many consumers take nothing of what was read from the log for them,
// all of it together is bounded. Who has to wait for it can acknowledge, gets
// heart-beats, and gets his messages in the end; those that were not written to
// the others count no failed delivery.
func TestFetchesOfAllAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &getLog{}
		h := servePipesOn(t, memfs.New(), Options{MemoryBytes: 1 << 20, HeartBeat: HeartBeat{Send: time.Second}}, func(l Log) Log {
			log.Log = l
			return log
		})
		const messages, size, deaf = 200, 4 << 10, 39
		bodies := h.fill("/queue/a", messages, size)
		read := log.gets.Load()
		var all []*client
		for range deaf {
			all = append(all, h.deaf("SUBSCRIBE\nid:s\ndestination:/queue/a\nack:client-individual\nprefetch-count:5\n\n"))
			synctest.Wait()
		}
		c := h.connect("1.2", "heart-beat:0,1000")
		c.subscribe("b", "/queue/b", "client-individual")
		h.send("/queue/b", "body")
		b := c.message("body")
		c.say("SUBSCRIBE\nid:a\ndestination:/queue/a\nack:client-individual\nprefetch-count:1000\n\n")
		c.say(ackHead("ACK", "1.2", b) + "\n\n")
		begin := time.Now()
		time.Sleep(8 * time.Second)
		synctest.Wait()
		limit := h.opts.MemoryBytes / fetchShare
		if octets := (log.gets.Load() - read) * size; octets > limit || octets < limit/2 {
			t.Errorf("%d octets were read for consumers that took nothing, of %d that may be", octets, limit)
		}
		if got := h.stored(); got != messages {
			t.Errorf("%d messages are stored, want %d: the acknowledgement waits", got, messages)
		}
		if gap := c.longestGap(begin); gap > time.Second {
			t.Errorf("no heart-beat came for %v", gap)
		}
		got := map[string]bool{}
		for range messages {
			m := c.want("MESSAGE")
			if count, ok := m.lookup("delivery-count"); ok && count != "1" {
				t.Fatalf("a message that nobody was given has failed: %s", m)
			}
			got[m.body] = true
			c.say(ackHead("ACK", "1.2", m) + "\n\n")
		}
		for _, body := range bodies {
			if !got[body] {
				t.Fatalf("%.10s... did not come", body)
			}
		}
		for _, deaf := range all {
			deaf.close()
		}
		synctest.Wait()
		if held, waiting := h.fetches.held, len(h.fetches.waiting); held != 0 || waiting != 0 {
			t.Errorf("%d octets are still held, %d wait", held, waiting)
		}
	})
}

// A client may take all the time it needs for a large message from the log, as
// long as it takes something. But when others wait for what that needs of
// memory, it may not take longer than maxHold write timeouts.
func TestOneSlowConsumerDoesNotHoldOthersUp(t *testing.T) {
	inLittleMemory(t, nil, func(t *testing.T, h *host, _ *getLog, _ *observer.ObservedLogs) {
		const size = 12 << 10
		bodies := h.fill("/queue/a", 10, size)
		h.fill("/queue/b", 10, size)
		slow := h.deaf("SUBSCRIBE\nid:s\ndestination:/queue/b\nack:client\nprefetch-count:1\n\n")
		drip := func(for_ time.Duration) (cut error) {
			for end := time.Now().Add(for_); time.Now().Before(end) && cut == nil; time.Sleep(time.Second) {
				_, cut = slow.conn.Read(make([]byte, 1))
			}
			return cut
		}
		if err := drip(10 * time.Minute); err != nil {
			t.Fatalf("a slow client was cut while nobody waited: %v", err)
		}
		gone := h.connect("1.2") // while it waits
		gone.say("SUBSCRIBE\nid:s\ndestination:/queue/a\n\n")
		synctest.Wait()
		gone.close()
		c := h.connect("1.2")
		c.say("SUBSCRIBE\nid:s\ndestination:/queue/a\n\n")
		begin := time.Now()
		if drip(time.Minute) == nil {
			t.Fatal("a slow client was not cut though others waited")
		}
		if took := time.Since(begin); took > 2*h.opts.WriteTimeout {
			t.Errorf("it was cut after %v", took)
		}
		for _, body := range bodies {
			c.message(body)
		}
	})
}

// A consumer that has much to come gives its share back after each batch: two
// have their messages in turn.
func TestConsumersTakeTurns(t *testing.T) {
	inLittleMemory(t, nil, func(t *testing.T, h *host, _ *getLog, _ *observer.ObservedLogs) {
		const size = 12 << 10 // more than all may take: one message at a time
		h.fill("/queue/a", 10, size)
		h.fill("/queue/b", 10, size)
		a := h.deaf("SUBSCRIBE\nid:s\ndestination:/queue/a\n\n")
		synctest.Wait()
		b := h.deaf("SUBSCRIBE\nid:s\ndestination:/queue/b\n\n")
		a.takeFrame()
		b.takeFrame()
		a.takeFrame()
	})
}

// Small contents that are read together do not get into each other's way.
func TestContentsReadTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{MemoryBytes: 1 << 20})
		bodies := h.fill("/queue/a", 600, 700)
		c := h.connect("1.2")
		c.subscribe("s", "/queue/a", "auto")
		for _, body := range bodies {
			c.message(body)
		}
	})
}

// failReads has reads of the journal's disk fail with what answer holds, until
// that is nil.
func failReads(h *host, answer *atomic.Pointer[error]) {
	h.disk.OnCall(func(c memfs.Call) error {
		if err := answer.Load(); err != nil && c.Op == "ReadAt" {
			return *err
		}
		return nil
	})
}

// When the disk cannot be read for a while, those who need it wait and all
// others go on; then everything comes, in order. The log says it once.
func TestReadsFailForAWhile(t *testing.T) {
	for name, err := range map[string]error{"EMFILE": syscall.EMFILE, "EIO": syscall.EIO, "unknown": errors.New("unknown")} {
		t.Run(name, func(t *testing.T) {
			inLittleMemory(t, nil, func(t *testing.T, h *host, log *getLog, logged *observer.ObservedLogs) {
				bodies := h.fill("/queue/a", 100, 1000)
				var answer atomic.Pointer[error]
				answer.Store(&err)
				failReads(h, &answer)
				before := log.gets.Load()
				first, second := h.connect("1.2"), h.connect("1.2")
				for _, c := range []*client{first, second} {
					c.say("SUBSCRIBE\nid:s\ndestination:/queue/a\nprefetch-count:50\n\n")
					synctest.Wait()
				}
				for range 50 { // each of them wakes the writer
					first.say("SEND\ndestination:/topic/t\nreceipt:r\n\n")
					synctest.Wait()
				}
				time.Sleep(readPatience / 2)
				first.still()
				if held := h.fetches.held; held != 0 {
					t.Errorf("those who wait hold %d octets", held)
				}
				other := h.connect("1.2")
				other.subscribe("s", "/queue/b", "auto")
				h.send("/queue/b", "body")
				other.message("body")
				if tries := log.gets.Load() - before; tries < 8 || tries > 40 {
					t.Errorf("in %v it was tried %d times", readPatience/2, tries)
				}
				answer.Store(nil)
				for i, body := range bodies {
					if i < 50 {
						first.message(body)
					} else {
						second.message(body)
					}
				}
				for range 50 {
					first.want("RECEIPT")
				}
				synctest.Wait()
				if n := h.outage.writers; n != 0 {
					t.Errorf("for %d writers it is not over", n)
				}
				lines := logged.All()
				if len(lines) != 1 || lines[0].Level != zapcore.ErrorLevel || !strings.Contains(fmt.Sprint(lines[0].ContextMap()), err.Error()) {
					t.Errorf("the log says %v", lines)
				}
				if set := h.engine.machine.Stats().Unreadable; set != 0 {
					t.Errorf("%d messages were set aside", set)
				}
			})
		})
	}
}

// A client that leaves while its messages cannot be read leaves at once, and
// they go to the next.
func TestConsumerLeavesWhileReadsFail(t *testing.T) {
	inLittleMemory(t, nil, func(t *testing.T, h *host, _ *getLog, _ *observer.ObservedLogs) {
		bodies := h.fill("/queue/a", 30, 1000)
		var answer atomic.Pointer[error]
		var err error = syscall.EMFILE
		answer.Store(&err)
		failReads(h, &answer)
		for range 2 * h.opts.Machine.MaxDeliveries {
			c := h.connect("1.2")
			c.say("SUBSCRIBE\nid:s\ndestination:/queue/a\nack:client\nprefetch-count:50\n\n")
			synctest.Wait()
			c.close()
			synctest.Wait()
		}
		answer.Store(nil)
		c := h.connect("1.2")
		c.subscribe("s", "/queue/a", "client")
		for _, body := range bodies {
			c.message(body, "delivery-count:1")
		}
	})
}

// What is damaged on disk is set aside at once, and what the disk does not read
// for long as well: one bad sector does not stop a queue.
func TestWhatStaysUnreadableIsSetAside(t *testing.T) {
	const messages, bad = 50, 20
	for name, test := range map[string]struct {
		failed error // of reading that message
		harm   func(t *testing.T, h *host, body string)
		after  time.Duration
	}{
		"damage":     {nil, damage, 0},
		"bad sector": {fmt.Errorf("read: %w", syscall.EIO), nil, readPatience},
	} {
		t.Run(name, func(t *testing.T) {
			var seq atomic.Uint64
			answer := func(s uint64) error {
				if s == seq.Load() {
					return test.failed
				}
				return nil
			}
			inLittleMemory(t, answer, func(t *testing.T, h *host, _ *getLog, _ *observer.ObservedLogs) {
				seq.Store(h.engine.machine.Last() + 1 + messages + bad)
				bodies := h.fill("/queue/a", messages, 1000)
				if test.harm != nil {
					test.harm(t, h, bodies[bad])
				}
				c := h.connect("1.2")
				c.subscribe("s", "/queue/a", "auto")
				begin := time.Now()
				for i, body := range bodies {
					if i != bad {
						c.message(body)
					}
				}
				if took := time.Since(begin); took < test.after || took > test.after+longestPause {
					t.Errorf("it was given up after %v", took)
				}
				c.nothing()
				synctest.Wait()
				if set := h.engine.machine.Stats().Unreadable; set != 1 {
					t.Errorf("%d messages are set aside", set)
				}
			})
		})
	}
}

// damage flips a bit of what lies on disk.
func damage(t *testing.T, h *host, content string) {
	t.Helper()
	for _, name := range h.disk.Names() {
		at := bytes.Index(h.disk.Content(name), []byte(content))
		if at < 0 {
			continue
		}
		f, err := h.disk.Open(name, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{content[0] ^ 1}, int64(at)); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		return
	}
	t.Fatal("the content is on no file of the disk")
}

// A delivery counts as failed when its consumer is lost and has had all of it;
// a message of which it had a part, or nothing, does not.
func TestHalfWrittenIsNotCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		small, large := "small", strings.Repeat("x", 600<<10)
		h.send("/queue/a", small, large, "last")
		lose := func(octets int) {
			c := h.deaf("SUBSCRIBE\nid:s\ndestination:/queue/a\nack:client\n\n")
			c.take(octets)
			c.close()
			synctest.Wait()
		}
		for range 2 * h.opts.Machine.MaxDeliveries {
			lose(50) // of the small one
		}
		lose(200 << 10) // the small one, and a part of the large one
		c := h.connect("1.2")
		c.subscribe("s", "/queue/a", "client-individual")
		c.say(ackHead("ACK", "1.2", c.message(small, "delivery-count:2")) + "\n\n")
		c.message(large, "delivery-count:1")
		c.message("last", "delivery-count:1")
		c.say("DISCONNECT\n\n")
		synctest.Wait()
		c.close()
		for range 2 * h.opts.Machine.MaxDeliveries {
			lose(500 << 10)
		}
		lose(len(large) + 200) // of the last, too
		c = h.connect("1.2")
		c.subscribe("s", "/queue/a", "client")
		c.message(large, "delivery-count:2")
		c.message("last", "delivery-count:1")
	})
}
