package stomp

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// The tests TestP01 to TestP24 follow the numbered list of what framing asks of a server; each has a subtest a version.

var allVersions = []Version{V10, V11, V12}

// inVersions runs test once for each of the versions.
func inVersions(t *testing.T, versions []Version, test func(t *testing.T, v Version)) {
	t.Helper()
	t.Parallel()
	for _, v := range versions {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			test(t, v)
		})
	}
}

func mustRead(t *testing.T, v Version, in string) []taken {
	t.Helper()
	frames, err := readAll(strings.NewReader(in), v, AfterConnect())
	if err != io.EOF {
		t.Fatalf("%q: %v", in, err)
	}
	return frames
}

// mustReadOne reads the one frame that in holds and compares its decoded headers and its body.
func mustReadOne(t *testing.T, v Version, in, headers, body string) {
	t.Helper()
	frames := mustRead(t, v, in)
	if len(frames) != 1 || frames[0].headers != headers || frames[0].body != body {
		t.Fatalf("%q: got %+v, want one frame with headers %q and body %q", in, frames, headers, body)
	}
}

func mustFail(t *testing.T, v Version, in, reason string) {
	t.Helper()
	mustFailWithin(t, v, AfterConnect(), in, reason)
}

// mustFailWithin expects that in is refused without waiting for more.
func mustFailWithin(t *testing.T, v Version, l Limits, in, reason string) *ProtocolError {
	t.Helper()
	_, err := readAll(&held{rest: []byte(in)}, v, l)
	var broken *ProtocolError
	if !errors.As(err, &broken) || !strings.Contains(broken.Reason, reason) {
		t.Fatalf("%.80q: got %v, want a protocol error with %q", in, err, reason)
	}
	return broken
}

// P1: any split of the byte stream parses the same; that is TestSplits. Here: a hundred frames in one write.
func TestP01(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		frames := mustRead(t, v, strings.Repeat("SEND\ndestination:/queue/a\n\nhello\x00", 100))
		if len(frames) != 100 {
			t.Fatalf("%d frames", len(frames))
		}
		for _, f := range frames {
			if f.command != CmdSend || f.headers != "destination\x00/queue/a\x00" || f.body != "hello" {
				t.Fatalf("got %+v", f)
			}
		}
	})
}

// P2: the line end is LF or CR LF, mixed inside one frame, and after NUL.
func TestP02(t *testing.T) {
	inVersions(t, []Version{V12}, func(t *testing.T, v Version) {
		mustReadOne(t, v, "SEND\r\na:b\r\nc:d\ne:\r\n\r\nx\r\n\x00\r\n\n\r\n", "a\x00b\x00c\x00d\x00e\x00\x00", "x\r\n")
		mustReadOne(t, v, "SEND\na:b\r\r\n\n\x00", "a\x00b\r\x00", "")
		mustReadOne(t, v, "SEND\na:b\rc\n\n\x00", "a\x00b\rc\x00", "")
	})
}

// P3: in 1.0 and 1.1 the line end is LF; CR before it is tolerated on the command line and the blank line, and in
// CONNECT, which comes before a version is agreed on. In 1.0 it is cut from values with the blanks.
func TestP03(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		want := map[Version]string{V10: "a\x00b\x00", V11: "a\x00b\r\x00", V12: "a\x00b\x00"}
		mustReadOne(t, v, "SEND\r\na:b\r\n\r\nx\x00\r\n", want[v], "x")
		for _, command := range []string{"CONNECT", "STOMP"} {
			mustReadOne(t, v, command+"\r\naccept-version:1.1\r\nlogin:a\r\n\r\n\x00\r\n",
				"accept-version\x001.1\x00login\x00a\x00", "")
		}
	})
}

// P4: line ends between frames are skipped; other noise is an error.
func TestP04(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		frames := mustRead(t, v, "\n\r\n\n\nBEGIN\n\n\x00\n\n\r\nABORT\n\n\x00"+strings.Repeat("\n", 100000))
		if len(frames) != 2 {
			t.Fatalf("got %+v", frames)
		}
		for _, noise := range []string{"\x00\n", " \n", "\rBEGIN\n", "\r\r\n"} {
			mustFail(t, v, "BEGIN\n\n\x00"+noise, "")
		}
	})
}

// P5: commands and header names are case sensitive.
func TestP05(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		mustFail(t, v, "send\n", `unknown command "send"`)
		r := NewReader(strings.NewReader("SEND\nDestination:a\nDESTINATION:b\n\n\x00"), v, AfterConnect())
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := f.Header("destination"); ok {
			t.Errorf("destination is %q", got)
		}
		if got, _ := f.Header("Destination"); string(got) != "a" {
			t.Errorf("Destination is %q", got)
		}
	})
}

// P6: an unknown command is an error, and so is a prefix of a known one.
func TestP06(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		for _, command := range []string{"SUB", "SENDS", "FOO"} {
			mustFail(t, v, command+"\n", fmt.Sprintf("unknown command %q", command))
		}
		mustFail(t, v, "passcode:secret\n", "what should be a command line is not one")
	})
}

// P7: only SEND has a body; line ends alone are none. In 1.0 the body of SUBSCRIBE is ignored.
func TestP07(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		for c := CmdConnect; c < CmdConnected; c++ {
			if c == CmdSend || c == CmdSubscribe {
				continue
			}
			mustReadOne(t, v, c.String()+"\n\n\n\r\n\n\x00", "", "")
			mustReadOne(t, v, c.String()+"\n\n"+strings.Repeat("\n", 256)+"\x00", "", "")
			mustFail(t, v, c.String()+"\n\n"+strings.Repeat("\n", 257), "256")
			mustFail(t, v, c.String()+"\n\n\nx", "may not have a body")
			mustFail(t, v, c.String()+"\ncontent-length:1\n\nx", "may not have a body")
		}
		if v == V10 {
			mustReadOne(t, v, "SUBSCRIBE\n\nbody\x00", "", "")
		} else {
			mustFail(t, v, "SUBSCRIBE\n\nb", "may not have a body")
		}
	})
}

// P8: with content-length exactly that many octets are read, whatever they are, and then NUL.
func TestP08(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		mustReadOne(t, v, "SEND\ncontent-length:6\n\n\x00a\n\x00\r\x00\x00", "content-length\x006\x00", "\x00a\n\x00\r\x00")
		mustReadOne(t, v, "SEND\ncontent-length:0\n\n\x00", "content-length\x000\x00", "")
		mustFail(t, v, "SEND\ncontent-length:2\n\nabc", "octet 0x63 instead of NUL after the 2 octets of content-length")
		mustFail(t, v, "SEND\ncontent-length:40000\n\n"+strings.Repeat("a", 40001), "instead of NUL")
	})
}

// P9: without content-length the first NUL ends the body.
func TestP09(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		mustReadOne(t, v, "SEND\n\nabc\n\x00", "", "abc\n")
		long := strings.Repeat("a", 200000)
		mustReadOne(t, v, "SEND\n\n"+long+"\x00", "", long)
	})
}

// P11: a content-length that is not a number of octets within the limit is refused as soon as the head is there.
func TestP11(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		for _, bad := range []string{"-1", "+5", "", "abc", "0x5", "1.0", "1 0", "٥"} {
			mustFail(t, v, "SEND\ncontent-length:"+bad+"\n\n", "is not a number of octets")
		}
		for _, big := range []string{"16777217", "4294967296", "9223372036854775808", "18446744073709551621", "1" + strings.Repeat("0", 1000)} {
			mustFail(t, v, "SEND\ncontent-length:"+big+"\n\n", "is more than the 16777216 bytes allowed")
		}
		if v == V10 {
			mustReadOne(t, v, "SEND\ncontent-length: 1 \n\na\x00", "content-length\x001\x00", "a")
		} else {
			mustFail(t, v, "SEND\ncontent-length: 1\n\n", "is not a number of octets")
		}
	})
}

// P12: content-length is honoured on every frame, and of repeated ones the first.
func TestP12(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		mustReadOne(t, v, "ACK\ncontent-length:0\n\n\x00", "content-length\x000\x00", "")
		mustReadOne(t, v, "ACK\ncontent-length:2\n\n\r\n\x00", "content-length\x002\x00", "")
		mustFail(t, v, "ACK\ncontent-length:0\n\n\n", "instead of NUL")
		mustFail(t, v, "ACK\ncontent-length:x\n\n", "is not a number of octets")
		mustReadOne(t, v, "SEND\ncontent-length:3\ncontent-length:x\n\na\x00b\x00", "content-length\x003\x00content-length\x00x\x00", "a\x00b")
	})
}

// P13: 1.1 has the escapes \n, \c and \\, on every frame but those that connect.
func TestP13(t *testing.T) {
	inVersions(t, []Version{V11}, func(t *testing.T, v Version) {
		mustReadOne(t, v, `SEND`+"\n"+`a\cb\\n:\n\c\\c`+"\n\n\x00", "a:b\\n\x00\n:\\c\x00", "")
		mustFail(t, v, "SEND\na:\\r\n\n", `undefined escape "\r" in header line 1, "a" (STOMP 1.1`)
		for _, command := range []string{"CONNECT", "STOMP"} {
			mustReadOne(t, v, command+"\naccept-version:1.1\npasscode:\\t:\\c\\\n\n\x00", "accept-version\x001.1\x00passcode\x00\\t:\\c\\\x00", "")
		}
	})
}

// P14: 1.2 adds \r; every other escape is an error, also in a header nobody asks for.
func TestP14(t *testing.T) {
	inVersions(t, []Version{V11, V12}, func(t *testing.T, v Version) {
		if v == V12 {
			mustReadOne(t, v, "SEND\n\\r:\\r\\n\n\n\x00", "\r\x00\r\n\x00", "")
		}
		for _, bad := range []string{`\t`, `\`, `\0`, `\\\`, `a\:`} {
			mustFail(t, v, "SEND\nx:y\nfoo:"+bad+"\n\n", "in header line 2, \"foo\"")
		}
		mustFail(t, v, "SEND\n\\x:y\n\n", "undefined escape")
		mustFail(t, v, "SEND\na:1\na:\\t\n\n", "undefined escape")
	})
}

// P15: 1.0 has no escapes.
func TestP15(t *testing.T) {
	inVersions(t, []Version{V10}, func(t *testing.T, v Version) {
		mustReadOne(t, v, "SEND\na\\n:\\c\\t\\:b\n\n\x00", "a\\n\x00\\c\\t\\:b\x00", "")
		if got := string(AppendHeader(nil, v, "a", `\:`)); got != "a:\\:\n" {
			t.Errorf("wrote %q", got)
		}
	})
}

// P16: what we write is escaped in names and values; CR has no escape in 1.1; CONNECTED is never escaped.
func TestP16(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		want := map[Version]string{
			V10: "n:\\a:b\n",
			V11: "n:\\\\\\na\\cb\r\n",
			V12: "n:\\\\\\na\\cb\\r\n",
		}
		if got := string(AppendHeader(nil, v, "n", "\\\na:b\r\x00")); got != want[v] {
			t.Errorf("wrote %q, want %q", got, want[v])
		}
		if v.escapes() {
			if got := string(AppendHeader(nil, v, "a:\n", []byte("b"))); got != "a\\c\\n:b\n" {
				t.Errorf("wrote %q", got)
			}
		}
		if got := string(AppendRawHeader(nil, "session", "a:\\\n\r\x00b")); got != "session:a:\\b\n" {
			t.Errorf("wrote %q for CONNECTED", got)
		}
	})
}

// P17: a raw colon in a value is accepted.
func TestP17(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		mustReadOne(t, v, "SUBSCRIBE\nselector:JMSCorrelationID='a:1'\n\n\x00", "selector\x00JMSCorrelationID='a:1'\x00", "")
	})
}

// P18: blanks around names and values are part of them, but not in 1.0.
func TestP18(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		if v == V10 {
			mustReadOne(t, v, "SEND\n a :\t b c \n\n\x00", "a\x00b c\x00", "")
		} else {
			mustReadOne(t, v, "SEND\n a :\t b c \n\n\x00", " a \x00\t b c \x00", "")
		}
		mustReadOne(t, v, "CONNECT\nlogin: a \n\n\x00", "login\x00a\x00", "")
		mustReadOne(t, v, "CONNECT\nlogin: a \naccept-version:1.0,1.2\n\n\x00", "login\x00 a \x00accept-version\x001.0,1.2\x00", "")
	})
}

// P19: of repeated headers the first wins, and the later ones are not passed on.
func TestP19(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		r := NewReader(strings.NewReader("SEND\nfoo:1\nbar:x\nfoo:2\nbar:y\nfoo:3\n\n\x00"), v, AfterConnect())
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := f.Header("foo"); string(got) != "1" {
			t.Errorf("foo is %q", got)
		}
		if block, _ := f.AppendHeaders(nil, nil); string(block) != "foo:1\nbar:x\n" {
			t.Errorf("passed on %q", block)
		}
	})
	t.Run("escaped", func(t *testing.T) {
		t.Parallel()
		frames := mustRead(t, V12, "SEND\na\\cb:1\na:b:2\na\\cb:3\n\n\x00")
		if frames[0].block != "a\\cb:1\na:b:2\n" {
			t.Errorf("passed on %q", frames[0].block)
		}
	})
}

// P20: multi-byte names and values pass; octets that are not UTF-8 are left as they are.
func TestP20(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		mustReadOne(t, v, "SEND\nnäme:☃\n\xff\xfe:\xc3\n\n\x00", "näme\x00☃\x00\xff\xfe\x00\xc3\x00", "")
	})
}

// P21: an empty value is legal; an empty name, a line without colon and a NUL are not.
func TestP21(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		mustReadOne(t, v, "SEND\nfoo:\n\n\x00", "foo\x00\x00", "")
		mustFail(t, v, "SEND\na:b\n:x\n", "header line 2 has no name")
		mustFail(t, v, "SEND\nfoo\n", "header line 1 has no colon")
		mustFail(t, v, "SEND\na:b\nfo\x00", "NUL in header line 2")
		mustFail(t, v, "SEND\na:b\x00\n", "NUL in header line 1")
		mustFail(t, v, "SEND\n\x00", "NUL in header line 1")
		if v == V10 {
			mustFail(t, v, "SEND\na:b\n \t\r:x\n\n", "header line 2 has no name")
		}
	})
}

// P22: every limit holds at its value, and one more is refused.
func TestP22(t *testing.T) {
	limits := Limits{HeaderLineBytes: 20, Headers: 4, HeaderBytes: 60, BodyBytes: 50000}
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		x := func(n int) string { return strings.Repeat("x", n) }
		for _, c := range []struct{ name, at, over, reason string }{
			{"line", "SEND\na:" + x(18) + "\n\n\x00", "SEND\na:" + x(19) + "\n", "SEND: header line 1 is longer than 20 bytes"},
			{"line without end", "SEND\na:" + x(18) + "\n\n\x00", "SEND\na:" + x(19), "SEND: header line 1 is longer than 20 bytes"},
			{"headers", "SEND\na:\na:\na:\na:\n\n\x00", "SEND\na:\na:\na:\na:\na:\n", "more than 4 headers"},
			{"header bytes", "SEND\n" + strings.Repeat("a:"+x(17)+"\n", 3) + "\r\n\x00", "SEND\n" + strings.Repeat("a:"+x(17)+"\n", 2) + "a:" + x(18) + "\n", "the headers are longer than 60 bytes"},
			{"header bytes of a whole head", "SEND\n" + strings.Repeat("a:"+x(17)+"\n", 3) + "\n\x00", "SEND\n" + strings.Repeat("a:"+x(17)+"\n", 2) + "a:" + x(18) + "\n\n\x00", "the headers are longer than 60 bytes"},
			{"header bytes in a part", "SEND\n" + strings.Repeat("a:"+x(17)+"\n", 3) + "\n\x00", "SEND\n" + strings.Repeat("a:"+x(17)+"\n", 3) + "a", "the headers are longer than 60 bytes"},
			{"body", "SEND\n\n" + x(50000) + "\x00", "SEND\n\n" + x(50001), "its body is longer than 50000 bytes"},
			{"short body", "SEND\n\n" + x(50000) + "\x00", "SEND\n\n" + x(50001) + "\x00", "its body is longer than 50000 bytes"},
			{"measured body", "SEND\ncontent-length:50000\n\n" + x(50000) + "\x00", "SEND\ncontent-length:50001\n\n", "content-length 50001 is more than the 50000 bytes allowed"},
		} {
			for _, in := range []string{c.at, "\n" + c.at} {
				if _, err := readAll(iotest.HalfReader(strings.NewReader(in)), v, limits); err != io.EOF {
					t.Errorf("%s at its limit: %v", c.name, err)
				}
			}
			mustFailWithin(t, v, limits, c.over, c.reason)
		}
		if v.cutsCR() {
			if _, err := readAll(strings.NewReader("SEND\na:"+x(18)+"\r\n\n\x00"), v, limits); err != io.EOF {
				t.Errorf("line with CR at its limit: %v", err)
			}
		} else {
			mustFailWithin(t, v, limits, "SEND\na:"+x(18)+"\r\n", "header line 1 is longer than 20 bytes")
		}
		mustRead(t, v, "UNSUBSCRIBE\n\n\x00")
		mustFail(t, v, x(16)+"\r\n", "unknown command")
		mustFail(t, v, x(17), "command line is longer than 16 bytes")
		mustFail(t, v, x(16)+"\rx", "command line is longer than 16 bytes")
	})
	t.Run("defaults", func(t *testing.T) {
		t.Parallel()
		mustFailWithin(t, V12, BeforeConnect(), "CONNECT\n"+strings.Repeat("a:"+strings.Repeat("x", 1021)+"\n", 8)+"b", "longer than 8192 bytes")
		mustFailWithin(t, V12, BeforeConnect(), "SEND\n\nx", "longer than 0 bytes")
	})
}

// P23: a flood without LF is cut at the limit, not buffered.
func TestP23(t *testing.T) {
	inVersions(t, allVersions, func(t *testing.T, v Version) {
		for _, start := range []string{"", "SEND\n", "SEND\na:b\nx:"} {
			src := &flood{start: start}
			if _, err := readAll(src, v, AfterConnect()); !strings.Contains(err.Error(), "is longer than") {
				t.Errorf("got %v", err)
			}
			if src.given > bufferBytes {
				t.Errorf("took %d bytes after %q", src.given, start)
			}
		}
	})
}

// flood gives its start and then x without end.
type flood struct {
	start string
	given int
}

func (f *flood) Read(p []byte) (int, error) {
	n := copy(p, f.start)
	f.start = f.start[n:]
	for i := n; i < len(p); i++ {
		p[i] = 'x'
	}
	f.given += len(p)
	return len(p), nil
}
