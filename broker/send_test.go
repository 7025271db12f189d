package broker

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"baton/broker/stomp"
	"baton/destinations"
	"baton/journal/memfs"
)

var sending = []rule{
	{"S1", everyVersion, "a destination must be there, not empty, and of a known kind", sendDestinations},
	{"S2", everyVersion, "the client's headers pass through; those that the broker writes do not", passedHeaders},
	{"S3", everyVersion, "a SEND that cannot be done is answered with ERROR and the end", sendRefused},
	{"S4", everyVersion, "a SEND in a transaction that is not open is refused", sendUnknownTransaction},
	{"S5", everyVersion, "every octet of a body comes out as it went in", bodiesUnchanged},
	{"S6", everyVersion, "what came before the connection died is carried out", sendAndDie},
}

func sendDestinations(t *testing.T, version string) {
	h := serve(t, Options{MaxNameBytes: 20})
	refuses(t, h, version, "SEND\n\nbody\x00", codeHeader)
	for _, bad := range []string{
		"", "/", "a", "/queue", "/queue/", "/topic/", "/Queue/a", "/temp-queue/a", "/exchange/a", "queue/a", " /queue/",
		"/queue/a,", "/queue/*", "/queue/a.>", "/queue/" + strings.Repeat("x", 21),
	} {
		refuses(t, h, version, "SEND\ndestination:"+bad+"\n\nbody\x00", destinations.CodeBadDestination)
	}
	c := h.connect(version)
	for _, good := range []string{"/queue/" + strings.Repeat("x", 20), "/topic/a.b-c_d é"} {
		c.do("SEND\ndestination:"+good, "body")
	}
}

func passedHeaders(t *testing.T, version string) {
	h := serve(t, Options{})
	own := []string{"foo:bar", "empty:", "UPPER:Case", "content-type:text/x", "persistent:false", "priority:4", "correlation-id:9"}
	if version != "1.0" {
		own = append(own, `a\cb\\:c\nd`)
	}
	forged := []string{
		"message-id:forged", "subscription:forged", "ack:forged", "redelivered:true", "delivery-count:7",
		"JMSXDeliveryCount:7", "JMSXUserID:forged", "receipt-id:forged", "dlq-reason:forged", "original-destination:forged",
		"x-broker-anything:forged", "x-header-dropped:7", "scheduledJobId:forged", "originalExpiration:7", "session:forged", "server:forged", "login:forged", "passcode:forged",
	}
	consumer, producer := h.connect(version), h.connect(version)
	consumer.subscribe("1", "/queue/a", "auto")
	producer.say("BEGIN\ntransaction:t\n\n")
	producer.say("SEND\ndestination:/queue/a\nreceipt:r\ntransaction:t\ncontent-length:4\n" + lines(forged...) + lines(own...) + "\nbody")
	producer.want("RECEIPT")
	producer.do("COMMIT\ntransaction:t")
	m := consumer.message("body")
	for _, header := range own {
		if !contains(m, header) {
			t.Errorf("no %q in %s", header, m)
		}
	}
	for _, header := range append(forged, "receipt:r", "transaction:t") {
		name, _, _ := strings.Cut(header, ":")
		if contains(m, header) || slices.Contains(m.names(), name) && name != "message-id" && name != "subscription" {
			t.Errorf("%q was passed on in %s", header, m)
		}
	}
}

func sendRefused(t *testing.T, version string) {
	h := serve(t, Options{
		MemoryBytes: 1200,
		FrameLimits: stomp.Limits{HeaderLineBytes: 100, Headers: 10, HeaderBytes: 1000, BodyBytes: 600},
	})
	refuses(t, h, version, "SEND\ndestination:/queue/a\n\n"+strings.Repeat("x", 601)+"\x00", codeProtocol)
	refuses(t, h, version, "SEND\ndestination:/queue/a\npersistent:maybe\n\n\x00", codeHeader)
	c := h.connect(version)
	h.send("/queue/a", strings.Repeat("x", 600))
	f := refuses(t, h, version, "SEND\ndestination:/queue/a\nreceipt:9\n\n"+strings.Repeat("x", 600)+"\x00", destinations.CodeMemoryFull)
	if f.header("receipt-id") != "9" {
		t.Errorf("the ERROR does not name the receipt: %s", f)
	}
	// What follows the SEND that was refused is not done.
	refuses(t, h, version, "SEND\ndestination:/queue/a\n\n"+strings.Repeat("x", 600)+"\x00SEND\ndestination:/queue/b\n\nbody\x00", destinations.CodeMemoryFull)
	c.subscribe("1", "/queue/b", "auto")
	c.nothing()
}

func sendUnknownTransaction(t *testing.T, version string) {
	h := serve(t, Options{})
	refuses(t, h, version, "SEND\ndestination:/queue/a\ntransaction:t\n\nbody\x00", codeTransaction)
	refuses(t, h, version, "BEGIN\ntransaction:t\n\n\x00ABORT\ntransaction:t\n\n\x00SEND\ndestination:/queue/a\ntransaction:t\n\nbody\x00", codeTransaction)
	c := h.connect(version)
	c.subscribe("1", "/queue/a", "auto")
	c.nothing()
}

func bodiesUnchanged(t *testing.T, version string) {
	h := serve(t, Options{})
	var octets bytes.Buffer
	for i := range 256 {
		octets.WriteByte(byte(i))
	}
	consumer, producer := h.connect(version), h.connect(version)
	consumer.subscribe("1", "/queue/a", "auto")
	for _, body := range []string{"", "x", octets.String(), strings.Repeat(octets.String(), 256), strings.Repeat("x", 1<<20)} {
		producer.say("SEND\ndestination:/queue/a\ncontent-length:" + strconv.Itoa(len(body)) + "\n\n" + body)
		m := consumer.message(body)
		if _, ok := m.lookup("content-type"); ok {
			t.Errorf("a content-type was made up: %s", m)
		}
	}
}

// sendAndDie sends without a receipt and closes the connection; the message
// is there, also after a crash.
func sendAndDie(t *testing.T, version string) {
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect(version)
		c.write("SEND\ndestination:/queue/a\n\nfirst\x00SEND\ndestination:/queue/a\n\nsecond\x00SEND\ndestination:/queue/a\n\nhal")
		c.close()
		synctest.Wait()
		time.Sleep(time.Second) // the log syncs what nobody waits for
		after := h.disk.CrashClone(memfs.None)
		h = servePipesOn(t, after, Options{}, nil)
		c = h.connect(version)
		c.subscribe("1", "/queue/a", "auto")
		c.message("first")
		c.message("second")
		c.still()
	})
}

// Who sends to what cannot be sent to is told why.
func TestSendElsewhere(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"/queue/a.>":       "only a SUBSCRIBE can name many destinations by wildcards",
		"/topic/a.*":       "only a SUBSCRIBE can name many destinations by wildcards",
		"/reply-queue/x":   "it must be what a message has as its reply-to",
		"/reply-queue/x.":  "it must be what a message has as its reply-to",
		"/temp-queue/":     "no name after its prefix",
		"/temp-queue/mine": "this connection has no temporary destination",
		"/queue/a,":        "one between commas is empty",
	} {
		synctest.Test(t, func(t *testing.T) {
			c := servePipes(t, Options{}).connect("1.2")
			c.say("SEND\ndestination:" + name + "\nreceipt:r\n\nx")
			if f := c.refused(destinations.CodeBadDestination); !strings.Contains(f.header("message"), want) {
				t.Errorf("%s: got %s", name, f)
			}
		})
	}
}
