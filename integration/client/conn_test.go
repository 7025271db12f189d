package client

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// serve plays a broker that reads one CONNECT, answers, then writes script and closes after having read want.
func serve(t *testing.T, script string) *Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	deadline := time.Now().Add(time.Minute)
	ours.SetDeadline(deadline)
	theirs.SetDeadline(deadline)
	go func() {
		buf := make([]byte, 4096)
		for !strings.HasSuffix(string(buf), "\x00") {
			n, err := theirs.Read(buf[:cap(buf)])
			if err != nil {
				return
			}
			buf = buf[:n]
		}
		go io.Copy(io.Discard, theirs)
		// One byte a write: frames must not depend on how they are cut.
		for i := range len(script) {
			theirs.Write([]byte(script[i : i+1]))
		}
		theirs.Close()
	}()
	c, err := Handshake(ours, Options{HeartBeat: "0,500"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const connected = "CONNECTED\nversion:1.2\n\n\x00\n"

func TestNext(t *testing.T) {
	t.Parallel()
	c := serve(t, connected+
		"\n\nMESSAGE\ncontent-length:3\nmessage-id:7\nmessage-id:8\nempty:\n\na\x00b\x00"+
		"RECEIPT\nreceipt-id:r\n\nno length\x00\n"+
		"ERROR\nmessage:broken\n\n\x00")
	if got := c.Connected.Header("version"); got != "1.2" {
		t.Errorf("version %q", got)
	}
	f, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	if f.Command != "MESSAGE" || string(f.Body) != "a\x00b" || f.Header("message-id") != "7" {
		t.Errorf("got %q", f)
	}
	if !f.Has("empty") || f.Header("empty") != "" || f.Has("message") {
		t.Errorf("headers of %q", f)
	}
	if c.Beats() != 3 {
		t.Errorf("%d heart-beats, want 3", c.Beats())
	}
	if f, err = c.Next(); err != nil || f.Command != "RECEIPT" || string(f.Body) != "no length" {
		t.Errorf("got %q, %v", f, err)
	}
	var failed Error
	if _, err = c.Next(); !errors.As(err, &failed) || failed.Header("message") != "broken" {
		t.Errorf("got %v", err)
	}
	if _, err = c.Next(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

func TestCallKeepsOtherFrames(t *testing.T) {
	t.Parallel()
	c := serve(t, connected+
		"MESSAGE\n\nfirst\x00RECEIPT\nreceipt-id:other\n\n\x00RECEIPT\nreceipt-id:call-1\n\n\x00MESSAGE\n\nsecond\x00")
	if err := c.Call("SEND", []byte("x"), "destination", "/queue/a"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"first", "", "second"} {
		f, err := c.Next()
		if err != nil || string(f.Body) != want {
			t.Fatalf("got %q, %v, want %q", f, err, want)
		}
	}
}

func TestCallReturnsError(t *testing.T) {
	t.Parallel()
	c := serve(t, connected+"ERROR\nmessage:no\n\n\x00")
	var failed Error
	if err := c.Call("SEND", nil); !errors.As(err, &failed) || !strings.Contains(err.Error(), "receipt of SEND") {
		t.Errorf("got %v", err)
	}
}

func TestNextRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, want string }{
		"unknown command": {"HELLO\n\n\x00", `unknown command "HELLO\n"`},
		"end in headers":  {"MESSAGE\na:b\n", "unexpected EOF"},
		"end in body":     {"MESSAGE\n\nabc", "unexpected EOF"},
		"end in length":   {"MESSAGE\ncontent-length:4\n\nabc", "unexpected EOF"},
		"no NUL":          {"MESSAGE\ncontent-length:1\n\nabc", "does not end with NUL"},
		"negative length": {"MESSAGE\ncontent-length:-1\n\n\x00", `content-length "-1"`},
		"huge length":     {"MESSAGE\ncontent-length:999999999\n\n\x00", `content-length "999999999"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := serve(t, connected+c.script).Next()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAppendFrame(t *testing.T) {
	t.Parallel()
	got := string(appendFrame(nil, "SEND", []byte("a\x00"), []string{"destination", "/queue/a", "x", ""}))
	if want := "SEND\ndestination:/queue/a\nx:\ncontent-length:2\n\na\x00\x00"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestReceive: what is written leaves when nothing more is here to be read, and not before.
func TestReceive(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	deadline := time.Now().Add(time.Minute)
	ours.SetDeadline(deadline)
	theirs.SetDeadline(deadline)
	answered := make(chan string, 1)
	go func() {
		io.WriteString(theirs, "MESSAGE\n\n1\x00MESSAGE\n\n2\x00")
		answers := make([]byte, 4096)
		n, _ := theirs.Read(answers)
		answered <- string(answers[:n])
		io.WriteString(theirs, "MESSAGE\n\n3\x00")
	}()
	c := Raw(ours)
	for _, want := range []string{"1", "2", "3"} {
		f, err := c.Receive()
		if err != nil || string(f.Body) != want {
			t.Fatalf("got %v, %v, want %s", f, err, want)
		}
		if err := c.Write("ACK", nil, "id", want); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-answered; got != "ACK\nid:1\n\n\x00ACK\nid:2\n\n\x00" {
		t.Errorf("the broker read %q at once", got)
	}
}
