package client

import (
	"strings"
	"testing"
	"testing/iotest"
)

func TestReader(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", stepBytes+1)
	text := "\n\r\nMESSAGE\r\na\\cb:c\\nd\\\\e\r\na\\cb:second\ncontent-length:3\n\nx\x00y\x00\n" +
		"RECEIPT\nreceipt-id:7\n\n\x00CONNECTED\nserver:a\\cb\n\n\x00" +
		"ERROR\n\nno length\x00MESSAGE\ncontent-length:1048577\n\n" + large + "\x00"
	r := newReader(iotest.HalfReader(strings.NewReader(text)), 2<<20)
	for _, want := range []struct{ command, header, value, body string }{
		{"MESSAGE", "a:b", "c\nd\\e", "x\x00y"},
		{"RECEIPT", "receipt-id", "7", ""},
		{"CONNECTED", "server", `a\cb`, ""}, // that frame has no escapes
		{"ERROR", "", "", "no length"},
		{"MESSAGE", "content-length", "1048577", large},
	} {
		f, err := r.next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Command != want.command || f.Header.Get(want.header) != want.value || string(f.Body) != want.body {
			t.Errorf("got %s %v %.20q, want %.80v", f.Command, f.Header, f.Body, want)
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"another command":     {"SEND\n\n\x00", `the broker sent "SEND"`},
		"an endless command":  {strings.Repeat("x", maxLineBytes+1), "a line is longer than 65536 octets"},
		"an endless header":   {"MESSAGE\na:" + strings.Repeat("x", maxLineBytes), "headers of MESSAGE: a line is longer than 65536 octets"},
		"many headers":        {"MESSAGE\n" + strings.Repeat("a:b\n", maxHeaders+1), "more than 1000 headers"},
		"large headers":       {"MESSAGE\n" + strings.Repeat("a:"+strings.Repeat("x", 60000)+"\n", 20), "1048576 octets"},
		"no header":           {"MESSAGE\nabc\n\n\x00", `"abc" is no header`},
		"a header of no name": {"MESSAGE\n:b\n\n\x00", `":b" is no header`},
		"a negative length":   {"MESSAGE\ncontent-length:-1\n\n\x00", `content-length "-1" is no length`},
		"a great length":      {"MESSAGE\ncontent-length:11\n\n", "body of MESSAGE: 11 octets are more than 10"},
		"an absurd length":    {"MESSAGE\ncontent-length:9999999999999999999\n\n", "is no length"},
		"a long body":         {"MESSAGE\n\n" + strings.Repeat("x", 11) + "\x00", "more than 10 octets"},
		"an endless body":     {"MESSAGE\n\n" + strings.Repeat("x", 200000), "more than 10 octets"},
		"no NUL":              {"MESSAGE\ncontent-length:1\n\nxy", "does not end with NUL"},
		"an end in a command": {"MESS", "unexpected EOF"},
		"an end in headers":   {"MESSAGE\na:b\n", "headers of MESSAGE: unexpected EOF"},
		"an end in a body":    {"MESSAGE\ncontent-length:3\n\nx", "body of MESSAGE: unexpected EOF"},
		"an end before NUL":   {"MESSAGE\n\nx", "body of MESSAGE: unexpected EOF"},
	} {
		_, err := newReader(strings.NewReader(c.text), 10).next()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

// Nothing that a broker may send makes the reader take more memory than its limits, or panic.
func FuzzReader(f *testing.F) {
	f.Add("MESSAGE\na\\cb:c\ncontent-length:3\n\nx\x00y\x00\n")
	f.Add("RECEIPT\nreceipt-id:7\n\n\x00\n\nERROR\n\nx\x00")
	f.Fuzz(func(t *testing.T, text string) {
		r := newReader(strings.NewReader(text), 100)
		for {
			frame, err := r.next()
			if err != nil {
				return
			}
			if len(frame.Body) > 100 || frame.Header.Len() > maxHeaders {
				t.Fatalf("%d octets, %d headers", len(frame.Body), frame.Header.Len())
			}
		}
	})
}
