package broker

import (
	"fmt"
	"strings"
	"testing"

	"baton/broker/stomp"
	"baton/broker/stomp/stomptest"
)

// The codec has tests of its own; these prove at the connection that what it
// refuses is answered, and that what it takes comes out at the other side.
var framing = []rule{
	{"P1", everyVersion, "any split of the stream into writes means the same", splits},
	{"P2", only12, "a line ends with LF or CR LF, also mixed", carriageReturns},
	{"P3", before12, "a CR belongs to the value; not on the command line, the blank line and in CONNECT", strayCarriageReturns},
	{"P4", everyVersion, "line ends between frames are skipped, other noise is not", betweenFrames},
	{"P5", everyVersion, "commands and header names are case sensitive", letterCase},
	{"P6", everyVersion, "an unknown command is refused, and so is a prefix of a known one", unknownCommands},
	{"P7", everyVersion, "only SEND has a body; line ends alone are none", bodiesWhereNoneMayBe},
	{"P8", everyVersion, "content-length counts the body, and NUL must follow", measuredBodies},
	{"P9", everyVersion, "without content-length the first NUL ends the body", unmeasuredBodies},
	{"P10", everyVersion, "MESSAGE and ERROR with a body carry content-length", lengthsSent},
	{"P11", everyVersion, "a content-length that is no number or too much is refused", badLengths},
	{"P12", everyVersion, "content-length:0 is fine on every frame", emptyLengths},
	{"P13", only11, `1.1 has the escapes \n, \c and \\ and no other`, escapes},
	{"P14", only12, `1.2 has \r too`, escapes},
	{"P15", only10, "1.0 has no escapes, in neither direction", escapes},
	{"P16", everyVersion, "what is sent is escaped as the receiver's version asks; CONNECTED is not", escapesSent},
	{"P17", everyVersion, "a raw colon in a value is accepted", rawColons},
	{"P18", everyVersion, "blanks at the edges belong to names and values, but not in 1.0", blanks},
	{"P19", everyVersion, "of repeated headers the first counts, and it alone is passed on", repeatedHeaders},
	{"P20", everyVersion, "names and values of more than ASCII pass, invalid UTF-8 as it is", unicodeHeaders},
	{"P21", everyVersion, "a value may be empty, a name not, and a colon must be there", oddHeaders},
	{"P22", everyVersion, "each limit holds at its value and one more is refused; before CONNECT they are smaller", limits},
	{"P23", everyVersion, "a flood without line end is cut at the limit", floods},
	{"P24", only12, "each packet of a hostile collection is answered with ERROR and the end", hostilePackets},
}

// refuses holds that a client that says this is answered with ERROR and the
// end of the connection.
func refuses(t *testing.T, h *host, version, octets, code string) frame {
	t.Helper()
	c := h.connect(version)
	c.offer(octets)
	f := c.refused(code)
	c.close()
	return f
}

// echo sends a message with these header lines and returns it as a subscriber
// that speaks the same version gets it.
func echo(t *testing.T, h *host, version, headers string) frame {
	t.Helper()
	return relay(t, h, version, version, headers)
}

// relay does it with a subscriber of another version.
func relay(t *testing.T, h *host, from, to, headers string) frame {
	t.Helper()
	consumer, producer := h.connect(to), h.connect(from)
	consumer.subscribe("1", "/topic/relay", "auto")
	producer.say("SEND\ndestination:/topic/relay\n" + headers + "\nbody")
	m := consumer.message("body")
	consumer.close()
	producer.close()
	return m
}

func splits(t *testing.T, version string) {
	h := servePipes(t, Options{})
	c := h.connect(version)
	c.subscribe("1", "/topic/a", "auto")
	send := "SEND\ndestination:/topic/a\ncontent-length:5\nk:v\n\na\x00b\nc\x00\n"
	for i := range send {
		c.write(send[:i])
		c.write(send[i:])
		c.message("a\x00b\nc", "k:v")
	}
	for i := range send {
		c.write(send[i : i+1])
	}
	c.message("a\x00b\nc", "k:v")
	var all strings.Builder
	for i := range 100 {
		fmt.Fprintf(&all, "SEND\ndestination:/queue/b\nreceipt:%d\n\nbody\x00", i)
	}
	c.write(all.String())
	for i := range 100 {
		c.want("RECEIPT", fmt.Sprint("receipt-id:", i))
	}
}

func carriageReturns(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.subscribe("1", "/topic/a", "auto")
	c.write("SEND\r\ndestination:/topic/a\r\na:b\nc:d\r\nreceipt:r\n\r\nx\r\n\x00\r\n\n\r\n")
	c.message("x\r\n", "a:b", "c:d")
	c.want("RECEIPT", "receipt-id:r")
	c.nothing()
}

func strayCarriageReturns(t *testing.T, version string) {
	h := serve(t, Options{})
	consumer := h.connect("1.2")
	consumer.subscribe("1", "/topic/a", "auto")
	c := h.dial()
	c.write("CONNECT\r\naccept-version:" + version + "\r\nhost:h\r\n\r\n\x00\r\n")
	c.want("CONNECTED", "version:"+version)
	c.write("SEND\r\ndestination:/topic/a\na:b\r\n\r\nbody\x00")
	want := "a:b" // 1.0 cuts blanks
	if version == "1.1" {
		want = `a:b\r`
	}
	consumer.message("body", want)
}

func betweenFrames(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.write(strings.Repeat("\n", 5000))
	c.nothing()
	for _, noise := range []string{"\x00\n", " \n", "SEND\ndestination:/queue/a\n\n\x00\x00SEND\n"} {
		refuses(t, h, version, noise, codeProtocol)
	}
}

func letterCase(t *testing.T, version string) {
	h := serve(t, Options{})
	refuses(t, h, version, "send\ndestination:/queue/a\n\n\x00", codeProtocol)
	refuses(t, h, version, "SEND\nDestination:/queue/a\n\n\x00", codeHeader)
}

func unknownCommands(t *testing.T, version string) {
	h := serve(t, Options{})
	for _, command := range []string{"FOO", "SUB", "SUBSCRIBED", "UNSUB", "SENDS"} {
		refuses(t, h, version, command+"\nid:1\ndestination:/queue/a\n\n\x00", codeProtocol)
	}
}

func bodiesWhereNoneMayBe(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.say("BEGIN\ntransaction:t\nreceipt:r\n\n\n\n")
	c.want("RECEIPT", "receipt-id:r")
	for _, command := range []string{"UNSUBSCRIBE", "ACK", "BEGIN", "COMMIT", "ABORT", "DISCONNECT"} {
		f := refuses(t, h, version, command+"\nid:1\ntransaction:t\nreceipt:9\n\nbody\x00", codeProtocol)
		if f.header("receipt-id") != "9" {
			t.Errorf("the ERROR does not name the receipt: %s", f)
		}
	}
	const subscribe = "SUBSCRIBE\nid:1\ndestination:/queue/a\nreceipt:r\n\nbody\x00"
	if version != "1.0" {
		refuses(t, h, version, subscribe, codeProtocol)
		return
	}
	c.write(subscribe)
	c.want("RECEIPT", "receipt-id:r")
}

func measuredBodies(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.subscribe("1", "/topic/a", "auto")
	c.say("SEND\ndestination:/topic/a\ncontent-length:6\n\n\x00\n\x00\r\x00\x00")
	c.message("\x00\n\x00\r\x00\x00")
	refuses(t, h, version, "SEND\ndestination:/queue/a\ncontent-length:2\n\nabc\x00", codeProtocol)
}

func unmeasuredBodies(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.subscribe("1", "/topic/a", "auto")
	long := strings.Repeat("abc\n", 50_000)
	c.say("SEND\ndestination:/topic/a\n\n" + long)
	c.message(long)
	c.nothing()
}

func lengthsSent(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version)
	c.subscribe("1", "/topic/a", "auto")
	c.say("SEND\ndestination:/topic/a\ncontent-length:3\n\na\x00b")
	c.message("a\x00b", "content-length:3")
	c.say("SEND\ndestination:/topic/a\n\ntext")
	c.message("text", "content-length:4")
	c.say("SEND\n\n")
	f := c.refused(codeHeader)
	if f.body == "" || f.header("content-length") != fmt.Sprint(len(f.body)) {
		t.Errorf("an ERROR has no content-length: %s", f)
	}
}

func badLengths(t *testing.T, version string) {
	h := serve(t, Options{FrameLimits: stomp.Limits{HeaderLineBytes: 1 << 10, Headers: 10, HeaderBytes: 1 << 10, BodyBytes: 100}})
	for _, length := range []string{"-1", "+5", "five", "0x5", "5.0", "", "101", "2147483648", "4294967301", "18446744073709551621"} {
		refuses(t, h, version, "SEND\ndestination:/queue/a\ncontent-length:"+length+"\n\nhello\x00", codeProtocol)
	}
	spaced := "SEND\ndestination:/queue/a\nreceipt:r\ncontent-length: 5\n\nhello\x00"
	if version != "1.0" {
		refuses(t, h, version, spaced, codeProtocol)
		return
	}
	c := h.connect(version)
	c.write(spaced)
	c.want("RECEIPT", "receipt-id:r")
}

func emptyLengths(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.connect(version, "content-length:0")
	c.do("SUBSCRIBE\nid:1\ndestination:/queue/a\ncontent-length:0")
	c.do("BEGIN\ntransaction:t\ncontent-length:0")
	c.do("UNSUBSCRIBE\nid:1\ncontent-length:0")
}

func escapes(t *testing.T, version string) {
	h := serve(t, Options{})
	undefined := map[string][]string{
		"1.1": {`\r`, `\t`, `\0`, `\`, `a\\\`},
		"1.2": {`\t`, `\0`, `\`, `a\\\`},
	}
	for _, bad := range undefined[version] {
		refuses(t, h, version, "SEND\ndestination:/queue/a\nk:"+bad+"\n\n\x00", codeProtocol)
		refuses(t, h, version, "BEGIN\ntransaction:t\n"+bad+":v\n\n\x00", codeProtocol)
	}
	sent := map[string]string{"1.0": `a\n:\c\\x:y`, "1.1": `a\n:\c\\`, "1.2": `a\n:\c\\\r`}[version]
	decoded := map[string]string{"1.0": `a\\n:\\c\\\\x\cy`, "1.1": `a\n:\c\\`, "1.2": `a\n:\c\\\r`}[version]
	if m := relay(t, h, version, "1.2", sent+"\n"); !contains(m, decoded) {
		t.Errorf("%s came as %s, want %s", sent, m, decoded)
	}
	if m := echo(t, h, version, sent+"\n"); !contains(m, sent) {
		t.Errorf("%s came back as %s", sent, m)
	}
}

func contains(f frame, header string) bool {
	for _, h := range f.headers {
		if h == header {
			return true
		}
	}
	return false
}

func escapesSent(t *testing.T, version string) {
	h := serve(t, Options{})
	m := relay(t, h, "1.2", version, `a\cb:\\c\n\r`+"\n"+`k:\\x\cy`+"\n")
	want := map[string][]string{
		"1.0": {`k:\x:y`, "x-header-dropped:1"}, // 1.0 cannot say the other one
		"1.1": {`k:\\x\cy`, `a\cb:\\c\n` + "\r"},
		"1.2": {`k:\\x\cy`, `a\cb:\\c\n\r`},
	}[version]
	for _, line := range want {
		if !contains(m, line) {
			t.Errorf("no %q in %s", line, m)
		}
	}
	c := h.dial()
	c.say("CONNECT\naccept-version:" + version + "\nhost:h\nreceipt:a:b\\c\n\n")
	c.want("CONNECTED", `receipt-id:a:b\c`) // not escaped
	receipt := map[string]string{"1.0": `a:b\c`, "1.1": `a\cb\\c`, "1.2": `a\cb\\c`}[version]
	c.say("BEGIN\ntransaction:t\nreceipt:" + receipt + "\n\n")
	c.want("RECEIPT", "receipt-id:"+receipt)
	c.say("FOO\n\n")
	c.refused(codeProtocol)
	f := refuses(t, h, version, "ABORT\ntransaction:u\nreceipt:"+receipt+"\n\n\x00", codeTransaction)
	if !contains(f, "receipt-id:"+receipt) {
		t.Errorf("the receipt of %s is not escaped", f)
	}
}

func rawColons(t *testing.T, version string) {
	h := serve(t, Options{})
	want := map[string]string{"1.0": "k:a:1::", "1.1": `k:a\c1\c\c`, "1.2": `k:a\c1\c\c`}[version]
	if m := echo(t, h, version, "k:a:1::\n"); !contains(m, want) {
		t.Errorf("no %q in %s", want, m)
	}
	c := h.connect(version)
	c.subscribe("1", "/queue/select", "auto", "selector:k = 'a:1'")
	c.do("SEND\ndestination:/queue/select\nk:a:2", "other")
	c.say("SEND\ndestination:/queue/select\nk:a:1\n\nwanted")
	c.message("wanted")
}

func blanks(t *testing.T, version string) {
	h := serve(t, Options{})
	want := " k : v\t"
	if version == "1.0" {
		want = "k:v"
	}
	if m := relay(t, h, version, "1.2", " k : v\t\n"); !contains(m, want) {
		t.Errorf("no %q in %s", want, m)
	}
}

func repeatedHeaders(t *testing.T, version string) {
	h := serve(t, Options{})
	m := echo(t, h, version, "destination:/topic/other\nk:1\nl:2\nk:3\n")
	if !contains(m, "k:1") || !contains(m, "l:2") || contains(m, "k:3") {
		t.Errorf("got %s", m)
	}
}

func unicodeHeaders(t *testing.T, version string) {
	h := serve(t, Options{})
	m := echo(t, h, version, "näme:☃\n\xff\xfe:\xc3\n")
	if !contains(m, "näme:☃") || !contains(m, "\xff\xfe:\xc3") {
		t.Errorf("got %s", m)
	}
	refuses(t, h, version, "SEND\ndestination:/queue/\xff\n\n\x00", "bad-destination")
}

func oddHeaders(t *testing.T, version string) {
	h := serve(t, Options{})
	if m := echo(t, h, version, "k:\n"); !contains(m, "k:") {
		t.Errorf("got %s", m)
	}
	refuses(t, h, version, "SEND\ndestination:/queue/a\n:v\n\n\x00", codeProtocol)
	refuses(t, h, version, "SEND\ndestination:/queue/a\nkv\n\n\x00", codeProtocol)
	refuses(t, h, version, "SEND\ndestination:/queue/a\nk\x00v\n\n\x00", codeProtocol)
}

func limits(t *testing.T, version string) {
	h := serve(t, Options{
		ConnectLimits: stomp.Limits{HeaderLineBytes: 40, Headers: 4, HeaderBytes: 100},
		FrameLimits:   stomp.Limits{HeaderLineBytes: 60, Headers: 6, HeaderBytes: 120, BodyBytes: 80},
	})
	x := func(n int) string { return strings.Repeat("x", n) }
	const send = "SEND\ndestination:/queue/a\nreceipt:do\n" // 21 and 11 octets of headers
	for name, c := range map[string]struct{ at, over string }{
		"line":          {send + "k:" + x(58) + "\n\n\x00", send + "k:" + x(59) + "\n\n\x00"},
		"number":        {send + "a:\nb:\nc:\nd:\n\n\x00", send + "a:\nb:\nc:\nd:\ne:\n\n\x00"},
		"all headers":   {send + "k:" + x(40) + "\nl:" + x(42) + "\n\n\x00", send + "k:" + x(40) + "\nl:" + x(43) + "\n\n\x00"},
		"body":          {send + "\n" + x(80) + "\x00", send + "\n" + x(81) + "\x00"},
		"measured body": {send + "content-length:80\n\n" + x(80) + "\x00", send + "content-length:81\n\n" + x(81) + "\x00"},
	} {
		client := h.connect(version)
		client.write(c.at)
		if f := client.read(); f.command != "RECEIPT" {
			t.Errorf("%s at the limit: %s", name, f)
		}
		refuses(t, h, version, c.over, codeProtocol)
	}
	refuses(t, h, version, x(17), codeProtocol) // a command
	connect := "CONNECT\naccept-version:" + version + "\n"
	for name, c := range map[string]struct{ at, over string }{
		"line":        {connect + "k:" + x(38) + "\n\n\x00", connect + "k:" + x(39) + "\n\n\x00"},
		"number":      {connect + "a:\nb:\nc:\n\n\x00", connect + "a:\nb:\nc:\nd:\n\n\x00"},
		"all headers": {connect + "k:" + x(38) + "\nl:" + x(37) + "\n\n\x00", connect + "k:" + x(38) + "\nl:" + x(38) + "\n\n\x00"},
		"body":        {connect + "\n\x00", connect + "\nx\x00"},
	} {
		client := h.dial()
		client.write(c.at)
		if f := client.read(); f.command != "CONNECTED" {
			t.Errorf("%s at the limit before CONNECT: %s", name, f)
		}
		client = h.dial()
		client.offer(c.over)
		client.refused(codeProtocol)
	}
}

func floods(t *testing.T, version string) {
	h := serve(t, Options{})
	flood := strings.Repeat("x", 64<<10)
	for _, start := range []string{"", "SEND\n", "SEND\nk:"} {
		refuses(t, h, version, start+flood, codeProtocol)
	}
	c := h.dial()
	c.offer(flood)
	c.refused(codeProtocol)
}

func hostilePackets(t *testing.T, _ string) {
	h := serve(t, Options{})
	for _, p := range stomptest.Hostile {
		if p.Held {
			continue // waits for a time that is tested elsewhere
		}
		c := h.dial()
		if !p.BeforeConnect {
			c.hello(p.Version)
		}
		c.offer(string(p.Bytes))
		f := c.read()
		if p.BeforeConnect && f.command == "CONNECTED" { // what comes behind it is what is wrong
			f = c.read()
		}
		if f.command != "ERROR" {
			t.Fatalf("%s: %s", p.Name, f)
		}
		if !strings.Contains(f.body, p.Want) {
			t.Errorf("%s: no %q in %s", p.Name, p.Want, f)
		}
		c.end()
		c.close()
	}
}
