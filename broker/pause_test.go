package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest/observer"

	"baton/destinations"
	"baton/journal"
	"baton/journal/memfs"
)

var errMoved = errors.New("the peer takes over")

// paused pauses the broker.
func (h *host) paused() (last uint64) {
	h.t.Helper()
	last, err := h.Pause(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	return last
}

// While the broker is paused what is committed goes out and heart-beats do, and nothing
// else happens: nothing is appended, and nothing that is due; who sends or comes waits.
func TestPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{HeartBeat: HeartBeat{Send: time.Second}, MailboxBytes: 1000})
		c, consumer := h.connect("1.2", "heart-beat:0,1000"), h.connect("1.2")
		consumer.subscribe("s", "/queue/q", "auto")
		c.do("SEND\ndestination:/queue/q\nAMQ_SCHEDULED_DELAY:5000", "late")
		h.gate.shut()
		c.say("SEND\ndestination:/queue/p\nreceipt:a\n\na")
		synctest.Wait()
		last := h.paused()
		if got := h.journal.Last(); last != got {
			t.Errorf("it says that %d is the last, which is %d", last, got)
		}
		h.gate.open()
		c.want("RECEIPT", "receipt-id:a")
		c.say("SEND\ndestination:/queue/p\nreceipt:b\n\nb")
		stranger := h.dial()
		go stranger.offer("CONNECT\naccept-version:1.2\n\n\x00")
		beats := len(c.tape.times())
		time.Sleep(time.Minute)
		c.still()
		consumer.still()
		stranger.still()
		if n := len(c.tape.times()) - beats; n < 60 {
			t.Errorf("in a minute came %d heart-beats", n)
		}
		go c.offer(strings.Repeat("SEND\ndestination:/queue/p\n\nmany\x00", 1000))
		synctest.Wait()
		if h.engine.box.mu.Lock(); h.engine.box.bytes > 1<<20 {
			t.Errorf("%d octets wait in the mailbox", h.engine.box.bytes)
		}
		h.engine.box.mu.Unlock()
		if got := h.journal.Last(); got != last {
			t.Errorf("%d entries were appended in a pause", got-last)
		}

		resumed := time.Now()
		h.Resume()
		c.want("RECEIPT", "receipt-id:b")
		stranger.want("CONNECTED")
		consumer.message("late")
		if passed := time.Since(resumed); passed != 0 {
			t.Errorf("it took %v to go on", passed)
		}
	})
}

// A pause makes durable what nobody has asked to sync.
func TestPauseSyncs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect("1.2")
		c.subscribe("s", "/queue/q", "client-individual")
		h.send("/queue/q", "x")
		c.say(ackHead("ACK", "1.2", c.message("x")) + "\n\n")
		synctest.Wait()
		last := h.paused()
		synctest.Wait()
		if durable := h.engine.durable.Load(); durable != last {
			t.Errorf("%d is durable, %d the last", durable, last)
		}
		h.Resume()
	})
}

// A pause may be ended before the broker rests: Pause returns, and the broker goes on.
func TestPauseEndedTooSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &hangingLog{}
		h := servePipesOn(t, memfs.New(), Options{}, log.over)
		c := h.connect("1.2")
		log.hang = make(chan struct{})
		c.say("SEND\ndestination:/queue/q\nreceipt:r\n\nx")
		synctest.Wait()
		ended := make(chan error, 1)
		go func() {
			_, err := h.Pause(context.Background())
			ended <- err
		}()
		synctest.Wait()
		h.Resume()
		if err := <-ended; err == nil {
			t.Error("it is paused, and was told to go on")
		}
		close(log.hang)
		c.want("RECEIPT", "receipt-id:r")
		c.do("SEND\ndestination:/queue/q", "y")
	})
}

// The engine may look at a pause between two others, and lose by that what told it to look at its mail: the end of the pause
// tells it again.
func TestResumeTellsOfMail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &hangingLog{}
		h := servePipesOn(t, memfs.New(), Options{}, log.over)
		c, d := h.connect("1.2"), h.connect("1.2")
		log.hang = make(chan struct{})
		c.say("SEND\ndestination:/queue/q\nreceipt:c\n\nx")
		synctest.Wait()
		d.say("SEND\ndestination:/queue/q\nreceipt:d\n\ny")
		synctest.Wait()
		h.engine.halt.Store(&halt{over: make(chan struct{})})
		<-h.engine.box.wake
		h.Resume()
		close(log.hang)
		c.want("RECEIPT", "receipt-id:c")
		d.want("RECEIPT", "receipt-id:d")
	})
}

// A pause that is not reached in time is none, and there is one at a time.
func TestPauseInVain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &hangingLog{}
		h := servePipesOn(t, memfs.New(), Options{}, log.over)
		c := h.connect("1.2")
		log.hang = make(chan struct{})
		c.say("SEND\ndestination:/queue/q\nreceipt:r\n\nx")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := h.Pause(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(log.hang)
		c.want("RECEIPT", "receipt-id:r")
		c.do("SEND\ndestination:/queue/q", "y")
		h.paused()
		if _, err := h.Pause(context.Background()); err == nil {
			t.Error("it was paused twice")
		}
		h.Resume()
		h.Resume()
		c.do("SEND\ndestination:/queue/q", "z")
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Pause(context.Background()); err == nil {
			t.Error("a broker was paused that has ended")
		}
	})
}

// A hangingLog does not return from Append until hang is closed, if it is not nil.
type hangingLog struct {
	Log
	hang chan struct{}
}

func (l *hangingLog) over(log Log) Log {
	l.Log = log
	return l
}

func (l *hangingLog) Append(records []journal.Record) error {
	if l.hang != nil {
		<-l.hang
	}
	return l.Log.Append(records)
}

// Who leaves writes what is committed, though there is no permit any more, tells each
// client where to go, and appends and acknowledges nothing.
func TestLeave(t *testing.T) {
	t.Parallel()
	for version, brokers := range map[string]string{"1.0": "tcp://b:1,tcp://a:1", "1.1": `tcp\c//b\c1,tcp\c//a\c1`, "1.2": `tcp\c//b\c1,tcp\c//a\c1`} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				permit := newPermission()
				h := servePipes(t, Options{Permit: permit, Connected: func() []Header {
					return []Header{{"brokers", "tcp://b:1,tcp://a:1"}, {"role", "master"}}
				}})
				c, consumer := h.connect(version), h.connect(version)
				consumer.subscribe("q", "/queue/q", "client")
				consumer.subscribe("t", "/topic/t", "client")
				permit.end()
				c.say("SEND\ndestination:/queue/q\nreceipt:committed\n\nstored")
				c.say("SEND\ndestination:/topic/t\n\ncopy")
				synctest.Wait()
				h.gate.shut()
				c.say("SEND\ndestination:/queue/q\nreceipt:not committed\n\nstored too")
				synctest.Wait()
				last := h.paused()
				c.say("SEND\ndestination:/queue/q\nreceipt:not carried out\n\nz")
				stranger := h.dial()
				synctest.Wait()

				h.Leave(errMoved)
				c.want("RECEIPT", "receipt-id:committed")
				consumer.message("copy")
				for _, each := range []*client{c, consumer} {
					each.want("ERROR", "code:failover", "brokers:"+brokers)
					each.end()
				}
				stranger.refused("failover")
				if err := h.ended(); !errors.Is(err, errMoved) {
					t.Errorf("Serve: %v", err)
				}
				h.Resume()
				if got := h.journal.Last(); got != last {
					t.Errorf("%d entries were appended", got-last)
				}
				next := servePipesOn(t, h.disk, Options{}, nil)
				next.wantLeft("/queue/q", "stored", "stored too")
			})
		})
	}
}

// Nobody holds up who leaves: neither a client that does not read, which has its time for the goodbye beside, nor a log that
// does not answer; nothing comes of what is under way then.
func TestLeaveInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &hangingLog{}
		h := servePipesOn(t, memfs.New(), Options{ShutdownTimeout: 3 * time.Second, WriteTimeout: time.Hour}, log.over)
		deaf := &client{t: t}
		deaf.conn, _ = h.pipes.dial(nil)
		t.Cleanup(deaf.close)
		deaf.write("CONNECT\naccept-version:1.2\n\n\x00")
		c, waits := h.connect("1.2"), h.connect("1.2")
		last := h.journal.Last()
		log.hang = make(chan struct{})
		c.say("SEND\ndestination:/queue/q\nreceipt:r\n\nx")
		synctest.Wait()
		waits.say("SEND\ndestination:/queue/q\nreceipt:r\n\ny")
		synctest.Wait()
		begin := time.Now()
		h.Leave(errMoved)
		<-h.served
		if passed := time.Since(begin); passed > 2*engineGrace {
			t.Errorf("it took %v", passed)
		}
		c.refused("failover")
		close(log.hang)
		<-h.engine.ended
		if appended := h.journal.Last() - last; appended != 1 {
			t.Errorf("%d entries were appended, want what the log had already", appended)
		}
		if err := h.ended(); !errors.Is(err, errMoved) {
			t.Errorf("Serve: %v", err)
		}
		h.Wait()
		if passed := time.Since(begin); passed < 3*time.Second || passed > 3*time.Second+2*engineGrace {
			t.Errorf("who does not read was cut after %v", passed)
		}
		if n := len(h.sessions); n > 0 {
			t.Errorf("%d clients are still there", n)
		}
	})
}

// A client that is slow to read gets its goodbye when the log is closed already, and nothing that only that had.
func TestLeaveWithoutTheLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := policyOf(t, "/topic/>", func(p *destinations.Policy) { p.Keep.Messages = 20 })
		o.Machine.MemoryBytes = 1000
		h := servePipes(t, o)
		c := h.connect("1.2")
		for range 20 {
			c.do("SEND\ndestination:/topic/t", strings.Repeat("x", 10_000))
		}
		slow := h.deaf("SUBSCRIBE\ndestination:/topic/t\nid:s\nretroactive:true\n\n")
		synctest.Wait()
		h.paused()
		h.Leave(errMoved)
		c.refused("failover")
		if err := h.ended(); !errors.Is(err, errMoved) { // the journal is closed by then
			t.Errorf("Serve: %v", err)
		}
		time.Sleep(time.Second)
		slow.listen()
		messages := 0
		f := slow.read()
		for ; f.command == "MESSAGE"; f = slow.read() {
			messages++
		}
		if f.command != "ERROR" || messages == 0 || messages == 20 {
			t.Errorf("after %d messages came %s", messages, f)
		}
		slow.end()
		h.Wait()
	})
}

// Who is being read something for when the log is closed gets the goodbye, and nobody is told of a log that fails.
func TestLeaveWhileTheLogIsRead(t *testing.T) {
	over := make(chan struct{})
	inLittleMemory(t, func(uint64) error {
		<-over
		return journal.ErrClosed
	}, func(t *testing.T, h *host, log *getLog, logged *observer.ObservedLogs) {
		over = make(chan struct{}) // of this bubble
		c, consumer := h.connect("1.2"), h.connect("1.2")
		for range 20 {
			c.do("SEND\ndestination:/queue/q", strings.Repeat("x", 12<<10))
		}
		consumer.do("SUBSCRIBE\nid:s\ndestination:/queue/q\nack:client\nprefetch-count:20")
		synctest.Wait()
		h.paused()
		h.Leave(errMoved)
		if err := h.ended(); !errors.Is(err, errMoved) {
			t.Errorf("Serve: %v", err)
		}
		close(over)
		f := consumer.read()
		for ; f.command == "MESSAGE"; f = consumer.read() {
		}
		if f.command != "ERROR" {
			t.Errorf("got %s", f)
		}
		h.Wait()
		if all := logged.FilterMessageSnippet("cannot be read").All(); len(all) > 0 {
			t.Errorf("it was logged: %v", all)
		}
	})
}

// A server that is told that its log has failed ends at once, though the engine waits
// for that log, a writer for a permit, and a producer for room in the mailbox.
func TestFailIsPrompt(t *testing.T) {
	t.Parallel()
	for _, pausing := range []bool{false, true} {
		t.Run(fmt.Sprint("paused=", pausing), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log, permit := &hangingLog{}, newPermission()
				h := servePipesOn(t, memfs.New(), Options{Permit: permit, MailboxBytes: 1000}, log.over)
				c, waits := h.connect("1.2"), h.connect("1.2")
				waits.subscribe("s", "/queue/q", "client")
				permit.end()
				waits.say("SEND\ndestination:/queue/q\n\nx")
				synctest.Wait()
				if log.hang = make(chan struct{}); pausing {
					h.paused()
				}
				go c.offer(strings.Repeat("SEND\ndestination:/queue/q\n\nx\x00", 10_000))
				synctest.Wait()
				begin := time.Now()
				h.Fail(errDisk)
				for _, each := range []*client{c, waits} {
					if f, err := each.next(); err == nil {
						t.Errorf("got %s", f)
					}
				}
				<-h.served
				if passed := time.Since(begin); passed > engineGrace {
					t.Errorf("it took %v", passed)
				}
				close(log.hang)
				<-h.engine.ended
				if err := h.ended(); !errors.Is(err, errDisk) {
					t.Errorf("Serve: %v", err)
				}
			})
		})
	}
}

// A broker that is told to stop in a pause says goodbye and appends nothing.
func TestShutdownInAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect("1.2")
		c.subscribe("s", "/queue/q", "client")
		last := h.paused()
		c.say("SEND\ndestination:/queue/q\nreceipt:r\n\nx")
		synctest.Wait()
		begin := time.Now()
		h.cancel()
		c.want("ERROR", "code:"+codeShutdown)
		c.close()
		if err := h.stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
		if passed := time.Since(begin); passed != 0 {
			t.Errorf("it took %v", passed)
		}
		if got := h.journal.Last(); got != last {
			t.Errorf("%d entries were appended", got-last)
		}
	})
}

// A broker that is told to stop while what it has stored cannot become durable, for who must have it is away, ends in time:
// in a pause, and else.
func TestShutdownWithoutTheOther(t *testing.T) {
	t.Parallel()
	for _, pausing := range []bool{false, true} {
		t.Run(fmt.Sprint("paused=", pausing), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := servePipes(t, Options{ShutdownTimeout: 3 * time.Second})
				c := h.connect("1.2")
				h.gate.shut()
				c.say("SEND\ndestination:/queue/q\nreceipt:r\n\nx")
				synctest.Wait()
				if pausing {
					h.paused()
				}
				begin := time.Now()
				h.cancel()
				if pausing { // else it comes behind the receipt
					c.want("ERROR", "code:"+codeShutdown)
				}
				c.close()
				if err := h.ended(); err != nil {
					t.Errorf("Serve: %v", err)
				}
				if passed := time.Since(begin); passed > 2*3*time.Second+engineGrace {
					t.Errorf("it took %v", passed)
				}
			})
		})
	}
}

// Who has left by the time it would serve, or leaves and is told to end at once, has left: that is no shutdown in peace.
func TestLeaveBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for range 20 { // of two channels that are ready, select takes any
		s := New(Options{})
		log, err := journal.Open(journal.Options{Dir: "journal", FS: memfs.New(), SegmentBytes: 256 << 10, OnDurable: s.Durable, OnFatal: s.Fail})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Recover(t.Context(), log, "b1", 1); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		s.Leave(errMoved)
		cancel()
		if err := s.Serve(ctx, newPipes()); !errors.Is(err, errMoved) {
			t.Errorf("Serve: %v", err)
		}
		s.Wait()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}
}
