package broker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
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

// What a writer has read from the log it writes before it reads much more.
func TestWriterHoldsLittle(t *testing.T) {
	inLittleMemory(t, nil, func(t *testing.T, h *host, log *getLog, _ *observer.ObservedLogs) {
		const messages, size = 100, 12 << 10
		c := h.connect("1.2")
		for range messages {
			c.do("SEND\ndestination:/queue/a", strings.Repeat("x", size))
		}
		deaf := &client{t: t}
		deaf.conn, _ = h.pipes.dial(nil)
		t.Cleanup(deaf.close)
		deaf.write("CONNECT\naccept-version:1.2\n\n\x00SUBSCRIBE\nid:s\ndestination:/queue/a\nprefetch-count:1000\n\n\x00")
		buf := make([]byte, 6) // CONNECTED has begun
		if _, err := deaf.conn.Read(buf); err != nil {
			t.Fatal(err)
		}
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
		return errors.New("the record is gone")
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
