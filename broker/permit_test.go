package broker

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A permission is a permit that comes and goes.
type permission struct {
	mu      sync.Mutex
	valid   bool
	renewed chan struct{}
	asked   int
}

func newPermission() *permission { return &permission{valid: true, renewed: make(chan struct{})} }

func (l *permission) Valid() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	return l.valid
}

func (l *permission) Renewed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.renewed
}

func (l *permission) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.valid, l.asked = false, 0
}

func (l *permission) renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.valid = true
	close(l.renewed)
	l.renewed = make(chan struct{})
}

func (l *permission) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// Without a permit no message is handed out, and nobody is let in, however long it
// takes; receipts and heart-beats go on. Nobody asks all the time whether it is back;
// when it is, everything goes at once.
func TestPermit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		permit := newPermission()
		h := servePipes(t, Options{Permit: permit, HeartBeat: HeartBeat{Send: time.Second}})
		consumer, producer, leaver := h.connect("1.2"), h.connect("1.2"), h.connect("1.2")
		beaten := h.connect("1.2", "heart-beat:0,1000")
		consumer.subscribe("s", "/queue/q", "client")
		consumer.subscribe("t", "/topic/t", "auto")
		leaver.subscribe("s", "/queue/other", "client")

		permit.end()
		producer.say("SEND\ndestination:/queue/q\nreceipt:r\n\nbody")
		producer.say("SEND\ndestination:/topic/t\nreceipt:s\n\ncopy")
		producer.say("SEND\ndestination:/queue/other\n\nreturned")
		producer.want("RECEIPT", "receipt-id:r")
		producer.want("RECEIPT", "receipt-id:s")
		synctest.Wait()
		leaver.say("UNSUBSCRIBE\nid:s\n\n")
		late := h.dial()
		late.say("CONNECT\naccept-version:1.2\n\n")
		synctest.Wait()
		before, beats := permit.count(), len(beaten.tape.times())
		time.Sleep(time.Hour)
		for _, c := range []*client{consumer, producer, leaver, late} {
			c.still()
		}
		if n := len(beaten.tape.times()) - beats; n < 3600 {
			t.Errorf("in an hour came %d heart-beats", n)
		}
		if n := permit.count() - before; n > 4*2*3600 { // of one with heart-beats, each 750 ms
			t.Errorf("it was asked %d times for a permit while there was none", n)
		}
		if stored := h.stored(); stored != 2 {
			t.Errorf("%d messages are stored: the engine does not go on", stored)
		}

		renewed := time.Now()
		permit.renew()
		late.want("CONNECTED")
		consumer.message("body")
		consumer.message("copy")
		leaver.nothing() // what it was not sent has gone with its subscription
		if passed := time.Since(renewed); passed != 0 {
			t.Errorf("it took %v", passed)
		}
		h.wantLeft("/queue/other", "returned")
	})
}

// One with nothing to say does not ask for a permit at all.
func TestPermitOfTheIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		permit := newPermission()
		h := servePipes(t, Options{Permit: permit})
		for range 10 {
			h.connect("1.2").subscribe("s", "/queue/q", "auto")
		}
		synctest.Wait()
		permit.end()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := permit.count(); n != 0 {
			t.Errorf("it was asked %d times", n)
		}
		permit.renew()
	})
}

// A permit that is renewed while a writer finds that there is none is not missed.
func TestPermitIsRenewedMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{Permit: &fleeting{}})
		c := h.dial()
		time.Sleep(time.Second)
		c.hello("1.2")
		time.Sleep(time.Second)
		c.nothing()
	})
}

// A fleeting permit is renewed when somebody is about to wait for it, for this moment.
type fleeting struct {
	mu    sync.Mutex
	until time.Time
}

func (p *fleeting) Valid() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.until.Equal(time.Now())
}

func (p *fleeting) Renewed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Now()
	return nil
}

// What is being written when the permit ends is written, and no more than that.
func TestPermitEndsInAWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		permit := newPermission()
		h := servePipes(t, Options{Permit: permit, WriteTimeout: time.Hour})
		const messages = 20
		body := strings.Repeat("x", 40<<10)
		for i := range messages {
			h.send("/queue/q", fmt.Sprint(i, body))
		}
		c := &client{t: t}
		c.conn, _ = h.pipes.dial(nil) // it reads nothing for now
		c.write("CONNECT\naccept-version:1.2\n\n\x00SUBSCRIBE\nid:1\ndestination:/queue/q\nack:client\n\n\x00")
		var some [10]byte
		if _, err := c.conn.Read(some[:]); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		permit.end()
		c.listen()
		synctest.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		whole := strings.Count(c.tape.unread(), body)
		if whole > 2 {
			t.Errorf("%d messages came after the permit had ended, more than one write holds", whole)
		}
		if n := strings.Count(c.tape.unread(), "MESSAGE\n"); n != whole {
			t.Errorf("%d messages were begun and %d came whole", n, whole)
		}
		permit.renew()
		synctest.Wait()
		if whole := strings.Count(c.tape.unread(), body); whole != messages {
			t.Errorf("%d messages came in all", whole)
		}
	})
}

// Before each write a permit is asked for, however much longer messages are on the wire than they seem.
func TestPermitForEachWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		permit := newPermission()
		h := servePipes(t, Options{Permit: permit, WriteTimeout: time.Hour})
		const messages = 200
		for i := range messages {
			h.send("/queue/q", fmt.Sprint(i))
		}
		c, asked := &client{t: t}, -1
		c.conn, _ = h.pipes.dial(func(conn net.Conn) net.Conn {
			return writes{conn, func(octets int) {
				if before := asked; permit.count() == before {
					t.Errorf("%d octets are written without asking for a permit", octets)
				}
				asked = permit.count()
			}}
		})
		c.write("CONNECT\naccept-version:1.2\n\n\x00SUBSCRIBE\nid:" + strings.Repeat("s", 2000) + "\ndestination:/queue/q\nack:client\nprefetch-count:1000\n\n\x00")
		synctest.Wait() // all of them wait behind CONNECTED, which nobody reads
		c.listen()
		c.want("CONNECTED")
		for i := range messages {
			c.message(fmt.Sprint(i))
		}
	})
}

// A writes is a connection of which each write is told.
type writes struct {
	net.Conn
	told func(octets int)
}

func (w writes) Write(p []byte) (int, error) {
	w.told(len(p))
	return w.Conn.Write(p)
}

// A client that goes while there is no permit gives back what it was to get, and its
// session ends.
func TestSessionEndsWithoutAPermit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		permit := newPermission()
		h := servePipes(t, Options{Permit: permit, Linger: 3 * time.Second})
		c, idle := h.connect("1.2"), h.connect("1.2")
		c.subscribe("s", "/queue/q", "client")
		permit.end()
		c.say("SEND\ndestination:/queue/q\nreceipt:r\n\nbody")
		left := func() int {
			synctest.Wait()
			h.mu.Lock()
			defer h.mu.Unlock()
			return len(h.sessions)
		}
		if left() != 2 {
			t.Fatalf("there are %d sessions", left())
		}
		idle.close()
		if left() != 1 {
			t.Error("one to whom nothing is to be written waits for a permit")
		}
		c.close()
		time.Sleep(4 * time.Second)
		if left() != 0 {
			t.Errorf("%d sessions are left", left())
		}
		permit.renew()
		other := h.connect("1.2")
		other.subscribe("s", "/queue/q", "client")
		other.message("body", "delivery-count:1") // it was never sent
	})
}
