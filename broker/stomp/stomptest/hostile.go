package stomptest

import (
	"fmt"
	"slices"
	"strings"
)

// Hostile are packets that a server with the default limits must refuse: 128 headers of 8 KiB, 64 KiB in all, 16 MiB of
// body; before CONNECT 8 KiB of headers and no body.
var Hostile = slices.Concat(
	badLengths(), wrongLengths(), bodies(), noise(), headers(), escapes(), bombs(), beforeConnect(), requests(), halves())

// badLengths are content-length values that are none, or promise too much.
func badLengths() []Packet {
	var all []Packet
	for _, v := range []string{
		"-1", "-0", "-4294967296", "+5", " 5", "5 ", "5\t", "0x5", "5h", "0b101", "5.0", "5e0", "1_000", "1,000", "5,5", "5;",
		"", " ", "five", "NaN", "Infinity", "null", "true", "\"5\"", "'5'", "٥", "５", "5\\n", "5\\c6", "\\\\5", "\r5", "\xff",
	} {
		all = append(all, after("content-length "+name(fmt.Sprintf("%q", v)), sendLength(v), "content-length"))
	}
	for _, v := range []string{
		"16777217", "2147483648", "4294967295", "4294967296", "4294967301", "9223372036854775807", "9223372036854775808",
		"18446744073709551615", "18446744073709551616", "18446744073709551621", "340282366920938463463374607431768211456",
		"00000000004294967296", "1" + strings.Repeat("0", 100),
	} {
		all = append(all, after(fmt.Sprintf("content-length %.24s, %d digits", v, len(v)), sendLength(v), "content-length"))
	}
	return append(all,
		after("content-length with CR", "SEND\ndestination:/queue/a\ncontent-length:5\r\n\nhello\x00", "content-length").in("1.1"),
		after("content-length -1", sendLength("-1"), "content-length").in("1.0"),
		after("content-length -1", sendLength("-1"), "content-length").in("1.1"),
		after("content-length inner blank", sendLength("1 0"), "content-length").in("1.0"))
}

func sendLength(v string) string {
	return "SEND\ndestination:/queue/a\ncontent-length:" + v + "\n\nhello\x00"
}

// wrongLengths are content-length values that their bodies belie.
func wrongLengths() []Packet {
	const two = "SEND\ndestination:/queue/a\ncontent-length:%s\ncontent-length:%s\n\nhello\x00"
	return []Packet{
		after("length too short", sendLength("4"), "instead of NUL"),
		after("length zero", sendLength("0"), "instead of NUL"),
		after("length one over a frame", sendLength("7")+"\nSEND\n", "instead of NUL"),
		after("length into the next frame", sendLength("9")+"ACK\nid:1\n\n\x00", "instead of NUL"),
		after("length too long", sendLength("6"), "").held(),
		after("length at the limit, nothing sent", "SEND\ndestination:/queue/a\ncontent-length:16777216\n\n", "").held(),
		after("two lengths, first short", fmt.Sprintf(two, "2", "5"), "instead of NUL"),
		after("two lengths, first negative", fmt.Sprintf(two, "-5", "5"), "content-length"),
		after("two lengths, first 4 GiB", fmt.Sprintf(two, "4294967296", "5"), "content-length"),
		after("two lengths, first empty", fmt.Sprintf(two, "", "5"), "content-length"),
	}
}

// clientCommands are those that may have no body.
var clientCommands = []string{"CONNECT", "STOMP", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT", "DISCONNECT"}

// bodies are bodies where none may be.
func bodies() []Packet {
	var all []Packet
	for _, c := range clientCommands {
		head := c + "\nid:1\ntransaction:t\ndestination:/queue/a\n"
		all = append(all,
			after("body on "+c, head+"\nhello\x00", "body"),
			after("measured body on "+c, head+"content-length:5\n\nhello\x00", "body"),
			after("4 GiB on "+c, head+"content-length:4294967296\n\n", "body"))
	}
	return append(all,
		after("body after line ends", "ACK\nid:1\n\n\n\r\n\nx\x00", "body"),
		after("NUL as measured body", "ACK\nid:1\ncontent-length:1\n\n\x00\x00", "body"),
		after("too many line ends", "ACK\nid:1\n\n"+strings.Repeat("\n", 257)+"\x00", "body"),
		after("body on ACK", "ACK\nmessage-id:1\n\nx\x00", "body").in("1.0"),
		after("body on SUBSCRIBE", "SUBSCRIBE\nid:1\ndestination:/queue/a\n\nx\x00", "body").in("1.1"))
}

// noise are bytes that are no frame of a client.
func noise() []Packet {
	var all []Packet
	for _, c := range append([]string{"SEND"}, clientCommands...) {
		all = append(all, after("lower case "+c, strings.ToLower(c)+"\nid:1\n\n\x00", "unknown command"))
	}
	for _, c := range []string{"Send", "SUB", "UNSUB", "SENDX", "SEN", "MESSAGES", "PING", "QUIT", "HEAD"} {
		all = append(all, after("unknown "+c, c+"\n\n\x00", "unknown command"))
	}
	for _, c := range []string{"CONNECTED", "MESSAGE", "RECEIPT", "ERROR"} {
		all = append(all, after("server frame "+c, c+"\nmessage-id:1\n\n\x00", "not a command of clients"))
	}
	for _, c := range []string{
		" SEND", "SEND ", "\tSEND", "SEND\t", "SEND:", "SEND\r\r", "\vSEND", "SEND\v", "\ufeffSEND", "SEND\x00", "\x1bSEND",
		"Ѕend", "S\x00E\x00N\x00D\x00", "\xff\xfeS\x00", "{\"a\":1}", "<a/>", "*1", "login:guest", "-1", "\x7fELF",
	} {
		all = append(all, after("command line "+name(fmt.Sprintf("%q", c)), c+"\n\n\x00", "command line"))
	}
	for _, p := range []Packet{
		after("http", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "command line"),
		after("http long", "GET /index.html HTTP/1.1\r\n", "command line"),
		after("http 2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "command line"),
		after("tls hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x5a\xa5\x5a\xa5\x5a\xa5\x5a\xa5", "command line"),
		after("mqtt", "\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test", "command line"),
		after("amqp", "AMQP\x00\x00\x09\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00", "command line"),
		after("openwire", "\x00\x00\x01\x0e\x01ActiveMQ\x00\x00\x00\x0c\x01\x00\x00\x00", "command line"),
		after("nats", "CONNECT {\"verbose\":false}\r\n", "command line"),
		after("ssh", "SSH-2.0-OpenSSH_9.6\r\n", "command line"),
		after("smtp", "EHLO localhost.localdomain\r\n", "command line"),
		after("NUL flood", strings.Repeat("\x00", 64), "command line"),
		after("0xff flood", strings.Repeat("\xff", 64), "command line"),
		after("endless command", strings.Repeat("A", 64), "command line"),
		after("command of 17", strings.Repeat("A", 17)+"\n\n\x00", "command line"),
	} {
		first := p
		first.Name += " first"
		first.BeforeConnect = true
		all = append(all, p, first)
	}
	return append(all,
		after("CR between frames", "\n\r\n\rACK\nid:1\n\n\x00", "CR without LF"),
		after("two CR between frames", "\r\r\nACK\nid:1\n\n\x00", "CR without LF"),
		after("NUL between frames", "\n\x00\nACK\nid:1\n\n\x00", "command line"),
		after("blank between frames", "\n \nACK\nid:1\n\n\x00", "command line"),
		after("garbage after frames", "BEGIN\ntransaction:t\n\n\x00garbage\n", "unknown command"))
}

// headers are header lines that are none.
func headers() []Packet {
	var all []Packet
	for _, c := range []string{"SEND", "SUBSCRIBE", "ACK", "DISCONNECT"} {
		head := c + "\nid:1\n"
		all = append(all,
			after("no colon on "+c, head+"destination\n\n\x00", "header line 2 has no colon"),
			after("no name on "+c, head+":/queue/a\n\n\x00", "header line 2 has no name"),
			after("colon alone on "+c, head+":\n\n\x00", "header line 2 has no name"),
			after("NUL in name on "+c, head+"desti\x00nation:a\n\n\x00", "NUL in header line 2"),
			after("NUL in value on "+c, head+"destination:a\x00b\n\n\x00", "NUL in header line 2"),
			after("NUL for the blank line on "+c, head+"\x00", "NUL in header line 2"))
	}
	return append(all,
		before("no colon first", "CONNECT\nlogin\n\n\x00", "header line 1 has no colon"),
		before("no name first", "CONNECT\n:x\n\n\x00", "header line 1 has no name"),
		before("NUL in login first", "CONNECT\nlogin:a\x00dmin\n\n\x00", "NUL in header line 1"),
		before("NUL after CONNECT first", "CONNECT\n\x00", "NUL in header line 1"),
		before("blank name first", "CONNECT\n :x\n\n\x00", "header line 1 has no name"),
		after("blank name", "SEND\n \t:x\n\n\x00", "header line 1 has no name").in("1.0"),
		after("line of a blank", "SEND\n \n\n\x00", "header line 1 has no colon"),
		after("line of CRs", "SEND\n\r\r\n\n\x00", "header line 1 has no colon"),
		after("folded header", "SEND\ndestination:/queue/a\n  continued\n\n\x00", "header line 2 has no colon"),
		after("CR as line end", "SEND\rdestination:/queue/a\r\r\x00", "command line"),
		after("frame without its NUL", "ACK\nid:1\n\nACK\nid:2\n\n\x00", "body"))
}

// escapes are escapes that the version does not define.
func escapes() []Packet {
	var all []Packet
	for _, e := range []string{"\\t", "\\a", "\\0", "\\x41", "\\u0041", "\\N", "\\C", "\\R", "\\ ", "\\\"", "\\'", "\\/", "\\:", "\\ü", "\\\xff", "\\"} {
		for _, v := range []string{"1.1", "1.2"} {
			all = append(all, after("escape "+name(fmt.Sprintf("%q", e)), "SEND\ndestination:/queue/a\nx:"+e+"\n\n\x00", "undefined escape").in(v))
		}
	}
	return append(all,
		after("escape \\r", "SEND\ndestination:/queue/a\nx:\\r\n\n\x00", "undefined escape").in("1.1"),
		after("escape \\t in a name", "SEND\ndestination:/queue/a\n\\t:x\n\n\x00", "undefined escape"),
		after("escape under a long name", "SEND\n"+strings.Repeat("n", 5000)+":\\t\n\n\x00", "undefined escape"),
		after("escape after an escaped backslash", "SEND\ndestination:/queue/a\nx:\\\\\\t\n\n\x00", "undefined escape"),
		after("escape cut by CR", "SEND\ndestination:/queue/a\nx:\\\r\n\n\x00", "undefined escape"),
		after("escape in a repeated header", "SEND\ndestination:/queue/a\nx:1\nx:\\t\n\n\x00", "undefined escape"),
		after("escape in destination", "SUBSCRIBE\nid:1\ndestination:/queue/\\q\n\n\x00", "undefined escape"))
}

// lines returns n header lines.
func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "h%d:v\n", i)
	}
	return b.String()
}

// bombs break a limit.
func bombs() []Packet {
	x := func(n int) string { return strings.Repeat("x", n) }
	wide := strings.Repeat("w:"+x(8190)+"\n", 8) // 8 lines of 8193 bytes: 8 more than 64 KiB
	return []Packet{
		after("129 headers", "SEND\n"+lines(129)+"\n\x00", "more than 128 headers"),
		after("5000 headers", "SEND\n"+lines(5000)+"\n\x00", "more than 128 headers"),
		after("129 repeated headers", "SEND\n"+strings.Repeat("a:\n", 129)+"\n\x00", "more than 128 headers"),
		after("long value", "SEND\nx:"+x(8191)+"\n\n\x00", "header line 1 is longer than 8192"),
		after("long name", "SEND\n"+x(8192)+":\n\n\x00", "header line 1 is longer than 8192"),
		after("long second line", "SEND\na:b\nx:"+x(8191)+"\n\n\x00", "header line 2 is longer than 8192"),
		after("endless name", "SEND\n"+x(8193), "header line 1 is longer than 8192"),
		after("endless value", "SEND\ndestination:"+x(1<<17), "header line 1 is longer than 8192"),
		after("endless line of CR", "SEND\n"+strings.Repeat("\r", 8194), "header line 1 is longer than 8192"),
		after("wide headers", "SEND\n"+wide+"\n\x00", "longer than 65536"),
		after("wide headers held", "SEND\n"+wide, "longer than 65536"),
		after("long line of multi-byte runes", "SEND\nx:"+strings.Repeat("☃", 2731)+"\n\n\x00", "header line 1 is longer than 8192"),
		before("129 headers first", "CONNECT\n"+lines(129)+"\n\x00", "more than 128 headers"),
		before("long headers first", "CONNECT\n"+strings.Repeat("x:"+x(1000)+"\n", 9)+"\n\x00", "longer than 8192"),
		before("endless value first", "CONNECT\nlogin:"+x(8193), "longer than 8192"),
		before("endless name first", "STOMP\n"+x(8193), "longer than 8192"),
	}
}

// beforeConnect are frames of clients that have not connected, and CONNECT frames that are wrong.
func beforeConnect() []Packet {
	var all []Packet
	for _, c := range []string{"SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT", "DISCONNECT"} {
		all = append(all, before(c+" first", c+"\nid:1\ntransaction:t\ndestination:/queue/a\n\n\x00", ""))
	}
	for _, c := range []string{"CONNECTED", "MESSAGE", "RECEIPT", "ERROR"} {
		all = append(all, before(c+" first", c+"\nversion:1.2\n\n\x00", "not a command of clients"))
	}
	for _, v := range []string{"-1", "+0", "x", "0x0"} {
		all = append(all, before("CONNECT of length "+v, connectLength(v), "content-length"))
	}
	for _, v := range []string{"5", "16777216", "4294967296"} {
		all = append(all, before("CONNECT of length "+v, connectLength(v), "may not have a body"))
	}
	for _, v := range []string{"-1,0", "1", "", "a,b", "1,2,3", "1.5,0", " 1,1", "0x1,0", "1;1", "99999999999999999999,0"} {
		all = append(all, before("heart-beat "+name(fmt.Sprintf("%q", v)),
			"CONNECT\naccept-version:1.2\nhost:localhost\nheart-beat:"+v+"\n\n\x00", ""))
	}
	for _, v := range []string{"9.9", "", "1", "2.0,3.0", "1.2.3"} {
		all = append(all, before("accept-version "+name(fmt.Sprintf("%q", v)), "CONNECT\naccept-version:"+v+"\nhost:localhost\n\n\x00", ""))
	}
	return append(all,
		before("body on CONNECT first", "CONNECT\naccept-version:1.2\n\nhello\x00", "body"),
		before("body on SEND first", "SEND\ndestination:/queue/a\n\nhello\x00", "body"),
		before("length on SEND first", sendLength("5"), "content-length"),
		before("CONNECT twice", "CONNECT\naccept-version:1.2\nhost:localhost\n\n\x00CONNECT\naccept-version:1.2\nhost:localhost\n\n\x00", ""))
}

func connectLength(v string) string {
	return "CONNECT\naccept-version:1.2\ncontent-length:" + v + "\n\nhello\x00"
}

// requests are well-formed frames that ask for what cannot be.
func requests() []Packet {
	return []Packet{
		after("CONNECT again", "CONNECT\naccept-version:1.2\nhost:localhost\n\n\x00", ""),
		after("STOMP again", "STOMP\naccept-version:1.2\nhost:localhost\n\n\x00", ""),
		after("SEND nowhere", "SEND\n\nhello\x00", ""),
		after("SEND to an empty destination", "SEND\ndestination:\n\nhello\x00", ""),
		after("SEND with Destination", "SEND\nDestination:/queue/a\n\nhello\x00", ""),
		after("SEND in no transaction", "SEND\ndestination:/queue/a\ntransaction:none\n\nhello\x00", ""),
		after("SUBSCRIBE to nothing", "SUBSCRIBE\nid:1\n\n\x00", ""),
		after("SUBSCRIBE without id", "SUBSCRIBE\ndestination:/queue/a\n\n\x00", ""),
		after("SUBSCRIBE with unknown ack", "SUBSCRIBE\nid:1\ndestination:/queue/a\nack:maybe\n\n\x00", ""),
		after("SUBSCRIBE twice", strings.Repeat("SUBSCRIBE\nid:1\ndestination:/queue/a\n\n\x00", 2), ""),
		after("UNSUBSCRIBE from nothing", "UNSUBSCRIBE\nid:none\n\n\x00", ""),
		after("UNSUBSCRIBE without id", "UNSUBSCRIBE\ndestination:/queue/a\n\n\x00", ""),
		after("ACK without id", "ACK\nmessage-id:1\n\n\x00", ""),
		after("NACK without id", "NACK\nmessage-id:1\n\n\x00", ""),
		after("NACK", "NACK\nmessage-id:1\n\n\x00", "").in("1.0"),
		after("BEGIN without transaction", "BEGIN\n\n\x00", ""),
		after("BEGIN twice", strings.Repeat("BEGIN\ntransaction:t\n\n\x00", 2), ""),
		after("COMMIT of nothing", "COMMIT\ntransaction:none\n\n\x00", ""),
		after("ABORT of nothing", "ABORT\ntransaction:none\n\n\x00", ""),
	}
}

// halves are parts of frames, after which nothing comes.
func halves() []Packet {
	var all []Packet
	for _, b := range []string{
		"S", "SEND", "SEND\r", "SEND\n", "SEND\ndestination", "SEND\ndestination:/queue/a", "SEND\ndestination:/queue/a\r",
		"SEND\ndestination:/queue/a\n", "SEND\ndestination:/queue/a\n\r", "SEND\ndestination:/queue/a\n\n",
		"SEND\ndestination:/queue/a\n\nhello", "SEND\ndestination:/queue/a\ncontent-length:5\n\nhello",
		"SEND\ndestination:/queue/a\ncontent-length:1048576\n\nhello", "SEND\ndestination:/queue/a\n\n" + strings.Repeat("x", 40000),
		"SEND\n" + lines(128), "SEND\nx:" + strings.Repeat("x", 8190), "ACK\nid:1\n\n\n\n", "ACK\nid:1\ncontent-length:2\n\n\n", "BEGIN\ntransaction:t\n\n\x00COMMIT\ntran",
		"\r",
	} {
		all = append(all, after("half "+name(fmt.Sprintf("%.60q, %d bytes", b, len(b))), b, "").held())
	}
	for _, b := range []string{"", "\n", "\n\n\n\n", "C", "CONNECT", "CONNECT\n", "STOMP\r\n", "CONNECT\nlogin:guest\npasscode:", "CONNECT\naccept-version:1.2\n\n", "CONNECT\n\n\n\n\n"} {
		all = append(all, before("half first "+name(fmt.Sprintf("%q", b)), b, "").held())
	}
	return all
}
