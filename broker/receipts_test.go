package broker

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"baton/broker/stomp"
	"baton/destinations"
	"baton/journal/memfs"
)

var receipts = []rule{
	{"R1", everyVersion, "every frame but CONNECT can ask for a receipt, which comes back as it was", receiptOnEveryFrame},
	{"R2", everyVersion, "a receipt means done: for a persistent message, durable; before that no consumer gets it", receiptMeansDurable},
	{"R3", everyVersion, "receipts come in the order of their frames", receiptOrder},
	{"R4", everyVersion, "the receipt of DISCONNECT is the last frame, and reaches the client", disconnectReceipt},
	{"R5", everyVersion, "what comes after DISCONNECT is not done", afterDisconnect},
	{"R6", everyVersion, "after ERROR nothing is done and the connection closes", afterError},
	{"R7", everyVersion, "ERROR says what is wrong, and with which frame", errorHeaders},
	{"R8", everyVersion, "ERROR says nothing about the inside of the broker", errorsKeepSecrets},
	{"R9", everyVersion, "ERROR reaches the client, whatever it is sending", errorArrives},
	{"R10", everyVersion, "when the broker ends the connection, a code says why", codesOfEnds},
}

func receiptOnEveryFrame(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	values := []string{"r", "", "r 1", "r:1", "receipt-id", strings.Repeat("x", 1000)}
	if version != "1.0" {
		values = append(values, `\c\n\\`)
	}
	for i, value := range values {
		want := value
		if version != "1.0" {
			want = strings.ReplaceAll(value, ":", `\c`)
		}
		queue := fmt.Sprint("/queue/", i)
		confirm := func(head string) {
			c.say(head + "\nreceipt:" + value + "\n\n")
			c.want("RECEIPT", "receipt-id:"+want)
		}
		confirm("SEND\ndestination:" + queue)
		confirm("SUBSCRIBE\nid:1\nack:client\ndestination:" + queue)
		m := c.message("")
		confirm("BEGIN\ntransaction:t")
		confirm(ackHead("ACK", version, m) + "\ntransaction:t")
		confirm("ABORT\ntransaction:t")
		confirm("BEGIN\ntransaction:t")
		confirm("COMMIT\ntransaction:t")
		if version != "1.0" {
			confirm(ackHead("NACK", version, m))
			m = c.message("")
		}
		confirm(ackHead("ACK", version, m))
		confirm("UNSUBSCRIBE\nid:1")
	}
	c.say("BEGIN\ntransaction:t\n\n") // without receipt there is none
	c.nothing()
	c.leave()
}

func receiptMeansDurable(t *testing.T, version string) {
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c, consumer, other := h.connect(version), h.connect(version), h.connect(version)
		consumer.subscribe("1", "/queue/a", "auto")
		other.subscribe("1", "/topic/a", "auto")
		h.gate.shut()
		c.say("SEND\ndestination:/queue/a\nreceipt:r\n\nbody")
		time.Sleep(time.Minute)
		c.still()
		consumer.still()
		// What is not stored need not wait, on a connection that does not.
		other.do("SEND\ndestination:/queue/b\npersistent:false", "body")
		other.say("SEND\ndestination:/topic/a\nreceipt:t\n\nbody")
		other.message("body")
		other.want("RECEIPT", "receipt-id:t")
		h.gate.open()
		c.want("RECEIPT", "receipt-id:r")
		consumer.message("body")

		c.say("SEND\ndestination:/queue/c\nreceipt:r\n\nbody")
		c.want("RECEIPT", "receipt-id:r")
		servePipesOn(t, h.disk.CrashClone(memfs.None), Options{}, nil).wantLeft("/queue/c", "body")
	})
}

func receiptOrder(t *testing.T, version string) {
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect(version)
		h.gate.shut()
		for i := range 30 {
			c.say(fmt.Sprintf("SEND\ndestination:/queue/a\nreceipt:%d\npersistent:%v\n\nbody", 3*i, i%2 == 0))
			c.say(fmt.Sprintf("SEND\ndestination:/topic/a\nreceipt:%d\n\nbody", 3*i+1))
			c.say(fmt.Sprintf("SUBSCRIBE\nid:%d\ndestination:/queue/b\nreceipt:%d\n\n", i, 3*i+2))
		}
		c.still()
		h.gate.open()
		for i := range 90 {
			c.want("RECEIPT", fmt.Sprint("receipt-id:", i))
		}
	})
}

// flood is what a client that does not listen goes on to send.
var flood = strings.Repeat("SEND\ndestination:/queue/flood\n\nbody\x00", 50_000)

func disconnectReceipt(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.offer("DISCONNECT\nreceipt:bye\n\n\x00" + flood)
	c.want("RECEIPT", "receipt-id:bye")
	c.end()
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		if err := tcp.CloseWrite(); err != nil {
			t.Errorf("the server has closed before the client: %v", err)
		}
	}
	c = h.connect(version)
	c.say("DISCONNECT\n\n") // without receipt
	c.end()

	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{Linger: 3 * time.Second})
		c := h.connect(version)
		h.gate.shut()
		c.say("SEND\ndestination:/queue/a\n\nbody")
		c.say("DISCONNECT\nreceipt:bye\n\n")
		time.Sleep(time.Minute) // as long as it takes to be safe
		c.still()
		h.gate.open()
		c.want("RECEIPT", "receipt-id:bye")
		begin := time.Now()
		c.end()
		if lingered := time.Since(begin); lingered != 3*time.Second {
			t.Errorf("closed after %v", lingered)
		}
	})
}

func afterDisconnect(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.write("DISCONNECT\nreceipt:bye\n\n\x00SEND\ndestination:/queue/a\nreceipt:no\n\nbody\x00")
	c.want("RECEIPT", "receipt-id:bye")
	c.offer("SEND\ndestination:/queue/a\nreceipt:no\n\nbody\x00FOO\n\n\x00")
	c.end()
	h.wantLeft("/queue/a")
}

func afterError(t *testing.T, version string) {
	h := serve(t, Options{})
	const good = "SEND\ndestination:/queue/a\nreceipt:no\n\nbody\x00"
	for _, bad := range []string{
		"FOO\n\n\x00",               // the codec refuses it
		"SEND\n\nbody\x00",          // the session
		"UNSUBSCRIBE\nid:9\n\n\x00", // the machine
	} {
		c := h.connect(version)
		c.write("SEND\ndestination:/queue/a\nreceipt:yes\n\nbefore\x00" + bad + good)
		c.want("RECEIPT", "receipt-id:yes")
		c.want("ERROR")
		c.offer(good)
		c.end()
		h.wantLeft("/queue/a", "before")
	}
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{Linger: 3 * time.Second})
		c := h.connect(version)
		c.say("FOO\n\n")
		begin := time.Now()
		c.refused(codeProtocol)
		if lingered := time.Since(begin); lingered != 3*time.Second {
			t.Errorf("closed after %v", lingered)
		}
	})
}

func errorHeaders(t *testing.T, version string) {
	h := serve(t, Options{})
	for octets, words := range map[string]string{
		"SEND\nreceipt:9\n\nbody\x00":                                     "destination",
		"SEND\nreceipt:9\ndestination:/foo/a\n\n\x00":                     "/foo/a",
		"SUBSCRIBE\nreceipt:9\nid:1\ndestination:/queue/a\nack:x\n\n\x00": "ack",
		"UNSUBSCRIBE\nreceipt:9\nid:77\n\n\x00":                           "77",
		"COMMIT\nreceipt:9\ntransaction:t\n\n\x00":                        "transaction",
		"CONNECT\nreceipt:9\n\n\x00":                                      "connected",
		"SEND\nreceipt:9\ncontent-length:x\n\nbody\x00":                   "content-length",
	} {
		c := h.connect(version)
		c.offer(octets)
		f := c.want("ERROR", "receipt-id:9", "content-type:text/plain")
		if message := f.header("message"); !strings.Contains(message, words) || !strings.Contains(f.body, words) {
			t.Errorf("%q is answered by %s", octets, f)
		}
		if f.header("content-length") != fmt.Sprint(len(f.body)) {
			t.Errorf("got %s", f)
		}
		c.end()
	}
	f := refuses(t, h, version, "SEND\n\n\x00", codeHeader)
	if _, ok := f.lookup("receipt-id"); ok {
		t.Errorf("nobody asked for a receipt: %s", f)
	}
}

// A panickingConn panics in the read that has this number, once.
type panickingConn struct {
	net.Conn
	countdown *atomic.Int32
}

const secret = "open-sesame"

func (c panickingConn) Read(p []byte) (int, error) {
	if c.countdown.Add(-1) == 0 {
		panic(secret)
	}
	return c.Conn.Read(p)
}

func errorsKeepSecrets(t *testing.T, version string) {
	h := serve(t, Options{})
	inside := []string{secret, "goroutine", ".go", "baton/", "runtime", "panic"}
	reveals := func(f frame) {
		for _, word := range inside {
			if strings.Contains(f.String(), word) {
				t.Errorf("%q is told in %s", word, f)
			}
		}
	}
	for _, octets := range []string{"FOO\n\n\x00", "SEND\n\n\x00", "ACK\nid:1-1\nmessage-id:1\nsubscription:1\n\n\x00", "COMMIT\ntransaction:t\n\n\x00"} {
		c := h.connect(version, "login:"+secret, "passcode:"+secret)
		c.offer(octets)
		reveals(c.want("ERROR"))
	}
	for _, connect := range []string{"accept-version:9\n", "heart-beat:x\naccept-version:1.2\n", "no colon\n"} {
		c := h.dial()
		c.offer("CONNECT\nlogin:" + secret + "\npasscode:" + secret + "\n" + connect + "\n\x00")
		reveals(c.want("ERROR"))
	}
	unforeseen := fmt.Errorf("write /data/%s: %w", secret, errDisk)
	if got := string(appendError(nil, stomp.V12, unforeseen)); strings.Contains(got, secret) || strings.Contains(got, errDisk.Error()) {
		t.Errorf("an error of the inside is told: %q", got)
	}
	h = servePipes(t, Options{Linger: time.Millisecond})
	c := &client{t: t}
	var countdown atomic.Int32
	countdown.Store(2) // CONNECT comes in the first
	c.conn, _ = h.pipes.dial(func(far net.Conn) net.Conn { return panickingConn{far, &countdown} })
	c.listen()
	c.hello(version)
	reveals(c.want("ERROR", "code:"+codeInternal))
	c.end()
	h.connect(version).nothing() // others go on
}

func errorArrives(t *testing.T, version string) {
	h := serve(t, Options{})
	for _, bad := range []string{"FOO\n\n\x00", "SEND\n\nbody\x00", "UNSUBSCRIBE\nid:9\n\n\x00"} {
		c := h.connect(version)
		c.offer(bad + flood)
		c.want("ERROR")
		c.end()
	}
	c := h.dial()
	c.offer(flood)
	c.want("ERROR")
	c.end()
	h.wantLeft("/queue/flood")
}

func codesOfEnds(t *testing.T, version string) {
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect(version)
		waiting := h.dial() // has not said CONNECT yet
		synctest.Wait()
		h.cancel()
		for _, c := range []*client{c, waiting} {
			c.refused(codeShutdown)
			c.close()
		}
		if err := h.ended(); err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{Machine: destinations.Options{
			Prefetch: 1, Pending: destinations.Pending{Messages: 2, Policy: destinations.DisconnectPending},
		}})
		c := h.connect(version)
		c.subscribe("1", "/topic/a", "client")
		h.send("/topic/a", "1", "2", "3", "4")
		c.message("1")
		c.want("ERROR", "code:"+destinations.CodeSlowConsumer)
		c.end()
	})
}
