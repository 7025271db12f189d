package broker

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gostomp "github.com/go-stomp/stomp/v3"
)

// They run in bubbles, where hours pass at once: every figure is exact.
var heartBeats = []rule{
	{"H1", since11, "heart-beat is two numbers; missing means none", heartBeatHeader},
	{"H2", since11, "each side beats at the larger of what it can and the other wants, if both are not 0", heartBeatCorners},
	{"H3", since11, "the promised interval is kept whatever the session is busy with", heartBeatPromise},
	{"H4", since11, "every octet is life, even of half a frame", octetsAreLife},
	{"H5", since11, "a silent client is cut after twice its interval and not before", heartBeatGrace},
	{"H6", since11, "a floor and a ceiling: the numbers answered are ours", heartBeatBounds},
	{"H7", everyVersion, "without heart-beats a client may be idle for ever, or for IdleTimeout", idleClients},
	{"H8", since11, "go-stomp takes any heart-beat header for a promise: an idle one lives", goStompIdle},
	{"H9", since11, "go-stomp beats without a margin: it is not cut", goStompWithoutMargin},
	{"H10", since11, "an idle session does nothing between its heart-beats", idleSessions},
}

// beat writes a line end every so often until stopped.
func (c *client) beat(every time.Duration) (stop func()) {
	done := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				c.offer("\n")
			}
		}
	})
	return func() {
		close(done)
		beating.Wait()
	}
}

// longestGap is the longest time from begin to now in which nothing came.
func (c *client) longestGap(begin time.Time) time.Duration {
	longest := time.Duration(0)
	for _, at := range c.tape.times() {
		if at.After(begin) {
			longest, begin = max(longest, at.Sub(begin)), at
		}
	}
	return max(longest, time.Since(begin))
}

func heartBeatHeader(t *testing.T, version string) {
	h := serve(t, Options{HeartBeat: HeartBeat{Send: time.Second, Receive: time.Second}})
	for _, bad := range []string{
		"", ",", "1000", "1000,", ",1000", "a,b", "-1,0", "0,-1", "+1,1", "1,2,3", "1.5,1", " 1,1", "1, 1", "1;1", "9999999999999999999,1",
	} {
		c := h.dial()
		c.say("CONNECT\naccept-version:" + version + "\nhost:h\nheart-beat:" + bad + "\n\n")
		c.refused(codeHeader)
	}
	c := h.dial()
	if f := c.hello(version); f.header("heart-beat") != "" {
		t.Errorf("none were asked for: %s", f)
	}
}

func heartBeatCorners(t *testing.T, version string) {
	const s = time.Second
	for _, c := range []struct {
		ours          HeartBeat
		theirs        string
		answer        string
		interval, cut time.Duration // 0: none
	}{
		{HeartBeat{Send: s, Receive: s}, "0,0", "", 0, 0},
		{HeartBeat{Send: s, Receive: s}, "2000,0", "0,1000", 0, 4 * s},
		{HeartBeat{Send: s, Receive: s}, "500,0", "0,1000", 0, 2 * s},
		{HeartBeat{Send: s, Receive: s}, "0,2000", "1000,0", 2 * s, 0},
		{HeartBeat{Send: s, Receive: s}, "0,500", "1000,0", s, 0},
		{HeartBeat{Send: s, Receive: s}, "3000,2000", "1000,1000", 2 * s, 6 * s},
		{HeartBeat{Send: 4 * s, Receive: 5 * s}, "3000,2000", "4000,5000", 4 * s, 10 * s},
		{HeartBeat{Send: s}, "3000,2000", "1000,0", 2 * s, 0},
		{HeartBeat{Receive: s}, "3000,2000", "", 0, 0},
		{HeartBeat{}, "3000,2000", "", 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := servePipes(t, Options{HeartBeat: c.ours}).dial()
			f := client.hello(version, "heart-beat:"+c.theirs)
			if f.header("heart-beat") != c.answer {
				t.Fatalf("%s: got %s, want %q", c.theirs, f, c.answer)
			}
			begin := time.Now()
			stop := client.beat(s / 4)
			time.Sleep(time.Minute)
			stop()
			silent := time.Now()
			client.gap(begin, c.interval)
			client.cut(silent, c.cut)
		})
	}
}

// gap holds that something came in each interval since begin, and not much
// more often; nothing if it is 0.
func (c *client) gap(begin time.Time, interval time.Duration) {
	c.t.Helper()
	passed := time.Since(begin)
	if interval == 0 {
		if longest := c.longestGap(begin); longest != passed {
			c.t.Errorf("something came after %v, want silence", longest)
		}
		return
	}
	if longest := c.longestGap(begin); longest > interval {
		c.t.Errorf("nothing came for %v, promised was %v", longest, interval)
	}
	if n := len(c.tape.times()); n > int(2*passed/interval) {
		c.t.Errorf("something came %d times in %v, promised was %v", n, passed, interval)
	}
}

// cut holds that a client that has been silent since then is cut at this time,
// or up to an eighth of it earlier; never if it is 0.
func (c *client) cut(silent time.Time, after time.Duration) {
	c.t.Helper()
	if after == 0 {
		time.Sleep(time.Hour)
		c.nothing()
		return
	}
	c.want("ERROR", "code:"+codeHeartBeat)
	if waited := time.Since(silent); waited > after || waited < after*7/8-time.Second/4 {
		c.t.Errorf("cut after %v, want %v", waited, after)
	}
	c.end()
}

func heartBeatPromise(t *testing.T, version string) {
	const interval = 100 * time.Millisecond
	options := Options{HeartBeat: HeartBeat{Send: interval}}
	synctest.Test(t, func(t *testing.T) { // a log that does not sync
		h := servePipes(t, options)
		c := h.connect(version, "heart-beat:0,100")
		begin := time.Now()
		h.gate.shut()
		c.say("SEND\ndestination:/queue/a\nreceipt:r\n\nbody")
		time.Sleep(10 * time.Second)
		c.still()
		c.gap(begin, interval)
		h.gate.open()
		c.want("RECEIPT", "receipt-id:r")
	})
	synctest.Test(t, func(t *testing.T) { // a body that comes slowly
		h := servePipes(t, options)
		c := h.connect(version, "heart-beat:0,100")
		begin := time.Now()
		trickle(c, "SEND\ndestination:/queue/a\nreceipt:r\n\nbody\x00")
		c.want("RECEIPT", "receipt-id:r")
		c.gap(begin, interval)
	})
	synctest.Test(t, func(t *testing.T) { // a message that is taken slowly
		h := servePipes(t, options)
		c := &client{t: t}
		c.conn, _ = h.pipes.dial(nil)
		c.tape = newTape()
		var recording sync.WaitGroup
		recording.Go(func() { c.tape.record(&slowReader{c.conn, 100, 50 * time.Millisecond}) })
		c.write("CONNECT\naccept-version:" + version + "\nheart-beat:0,100\n\n\x00SUBSCRIBE\nid:1\ndestination:/topic/a\n\n\x00")
		time.Sleep(time.Second)
		begin := time.Now()
		h.send("/topic/a", strings.Repeat("x", 10_000))
		time.Sleep(20 * time.Second)
		if longest := c.longestGap(begin); longest > interval+50*time.Millisecond { // the reader's own
			t.Errorf("nothing came for %v", longest)
		}
		c.close()
		recording.Wait()
	})
}

// A slowReader reads so many octets at a time, and pauses after each.
type slowReader struct {
	net.Conn
	octets int
	pause  time.Duration
}

func (r *slowReader) Read(p []byte) (int, error) {
	time.Sleep(r.pause)
	return r.Conn.Read(p[:min(r.octets, len(p))])
}

func octetsAreLife(t *testing.T, version string) {
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{HeartBeat: HeartBeat{Receive: time.Second}, FrameGrace: time.Hour})
		c := h.connect(version, "heart-beat:1000,0")
		c.write("SEND\ndestination:/queue/a\nreceipt:r\ncontent-length:100\n\n")
		for range 100 {
			time.Sleep(1700 * time.Millisecond)
			c.write("x")
		}
		c.write("\x00")
		c.want("RECEIPT", "receipt-id:r")
	})
}

func heartBeatGrace(t *testing.T, version string) {
	for grace, want := range map[float64]time.Duration{0: 2 * time.Second, 3: 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			h := servePipes(t, Options{HeartBeat: HeartBeat{Receive: time.Second, Grace: grace}})
			c := h.connect(version, "heart-beat:1000,0")
			begin := time.Now()
			stop := c.beat(want * 85 / 100)
			time.Sleep(time.Minute)
			stop()
			if n := len(c.tape.times()); n != 1 || time.Since(begin) < time.Minute {
				t.Fatalf("got %q", c.tape.unread())
			}
			c.offer("\n")
			c.cut(time.Now(), want)
		})
		synctest.Test(t, func(t *testing.T) { // nothing at all after CONNECT
			h := servePipes(t, Options{HeartBeat: HeartBeat{Receive: time.Second, Grace: grace}})
			c := h.connect(version, "heart-beat:1000,0")
			begin := time.Now()
			c.want("ERROR", "code:"+codeHeartBeat)
			if waited := time.Since(begin); waited != want {
				t.Errorf("cut after %v, want %v", waited, want)
			}
			c.end()
		})
	}
}

func heartBeatBounds(t *testing.T, version string) {
	synctest.Test(t, func(t *testing.T) {
		const floor = 500 * time.Millisecond
		h := servePipes(t, Options{HeartBeat: HeartBeat{Send: floor, Receive: floor}})
		c := h.dial()
		if f := c.hello(version, "heart-beat:1,1"); f.header("heart-beat") != "500,500" {
			t.Errorf("got %s", f)
		}
		begin := time.Now()
		stop := c.beat(floor)
		time.Sleep(time.Minute)
		stop()
		c.gap(begin, floor)
	})
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{HeartBeat: HeartBeat{Send: time.Second, Receive: time.Second}})
		c := h.dial()
		if f := c.hello(version, "heart-beat:0,999999999999999999"); f.header("heart-beat") != "1000,0" {
			t.Errorf("got %s", f)
		}
		begin := time.Now()
		time.Sleep(2 * time.Hour)
		c.gap(begin, maxHeartBeat)
	})
}

func idleClients(t *testing.T, version string) {
	synctest.Test(t, func(t *testing.T) {
		c := servePipes(t, Options{}).connect(version)
		time.Sleep(12 * time.Hour)
		c.nothing()
	})
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{IdleTimeout: time.Minute, HeartBeat: HeartBeat{Receive: 10 * time.Minute}})
		c := h.connect(version)
		for range 10 {
			time.Sleep(59 * time.Second)
			c.write("\n")
		}
		begin := time.Now()
		c.want("ERROR", "code:"+codeTimeout)
		if waited := time.Since(begin); waited != time.Minute {
			t.Errorf("cut after %v", waited)
		}
		c.end()
		if version == "1.0" {
			return
		}
		c = h.connect(version, "heart-beat:1000,0")
		begin = time.Now()
		c.want("ERROR", "code:"+codeHeartBeat)
		if waited := time.Since(begin); waited != 20*time.Minute {
			t.Errorf("a client with heart-beats was cut after %v", waited)
		}
		c.end()
	})
}

// goStomp connects the real library over a pipe.
func goStomp(t *testing.T, h *host, version string, options ...func(*gostomp.Conn) error) *gostomp.Conn {
	t.Helper()
	conn, err := h.pipes.dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c, err := gostomp.Connect(conn, append(options, gostomp.ConnOpt.AcceptVersion(gostomp.Version(version)))...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// outlives holds that the library's connection works after so long.
func outlives(t *testing.T, c *gostomp.Conn, idle time.Duration) {
	t.Helper()
	time.Sleep(idle)
	if err := c.Send("/queue/a", "text/plain", []byte("body"), gostomp.SendOpt.Receipt); err != nil {
		t.Errorf("after %v: %v", idle, err)
	}
	if err := c.Disconnect(); err != nil {
		t.Errorf("disconnect after %v: %v", idle, err)
	}
}

func goStompIdle(t *testing.T, version string) {
	const s = time.Second
	for _, c := range []struct {
		ours   HeartBeat
		theirs func(*gostomp.Conn) error
	}{
		{HeartBeat{Send: 10 * s, Receive: 10 * s}, nil}, // a minute each way is its default
		{HeartBeat{}, nil},
		{HeartBeat{Send: 10 * s}, nil},
		{HeartBeat{Receive: 10 * s}, nil},
		{HeartBeat{Send: s, Receive: s}, gostomp.ConnOpt.HeartBeat(2*s, 2*s)},
		{HeartBeat{Send: s, Receive: s}, gostomp.ConnOpt.HeartBeat(0, 2*s)},
		{HeartBeat{Receive: s}, gostomp.ConnOpt.HeartBeat(2*s, 2*s)},
		{HeartBeat{}, gostomp.ConnOpt.HeartBeat(2*s, 2*s)},
		{HeartBeat{Send: s, Receive: s}, gostomp.ConnOpt.HeartBeat(0, 0)},
		{HeartBeat{Send: s, Receive: s}, gostomp.ConnOpt.HeartBeat(2*s, 0)},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := servePipes(t, Options{HeartBeat: c.ours})
			outlives(t, goStomp(t, h, version, c.theirs), 10*time.Minute)
		})
	}
}

func goStompWithoutMargin(t *testing.T, version string) {
	for _, interval := range []time.Duration{500 * time.Millisecond, time.Second, 5 * time.Second, 6 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			h := servePipes(t, Options{HeartBeat: HeartBeat{Send: interval, Receive: interval}})
			outlives(t, goStomp(t, h, version, gostomp.ConnOpt.HeartBeat(interval, interval)), 10*time.Minute)
		})
	}
}

// A countingConn counts what a session does with its connection.
type countingConn struct {
	net.Conn
	calls *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) { c.calls.Add(1); return c.Conn.Write(p) }
func (c countingConn) SetReadDeadline(t time.Time) error {
	c.calls.Add(1)
	return c.Conn.SetReadDeadline(t)
}

func idleSessions(t *testing.T, version string) {
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{HeartBeat: HeartBeat{Send: 10 * time.Second, Receive: 10 * time.Second}})
		var calls atomic.Int64
		const clients = 50
		for range clients {
			c := &client{t: t}
			c.conn, _ = h.pipes.dial(func(far net.Conn) net.Conn { return countingConn{far, &calls} })
			c.listen()
			c.hello(version, "heart-beat:10000,10000")
			t.Cleanup(c.beat(10 * time.Second))
		}
		calls.Store(0)
		time.Sleep(20 * time.Minute)
		// A beat is written each 7.5 s, and a deadline moved each 10 s.
		if n := calls.Load(); n > clients*(160+120) {
			t.Errorf("%d calls by %d idle sessions in 20 minutes", n, clients)
		}
	})
}
