package stomp

import (
	"bytes"
	"testing"
	"testing/iotest"

	"baton/broker/stomp/stomptest"
)

// fuzzLimits are small, so that the fuzzer finds them.
var fuzzLimits = Limits{HeaderLineBytes: 64, Headers: 8, HeaderBytes: 256, BodyBytes: 1 << 10}

// FuzzReader shows that no bytes make the Reader panic or break a limit, and that their split changes nothing.
func FuzzReader(f *testing.F) {
	for _, p := range append(append([]stomptest.Packet{}, stomptest.Good...), stomptest.Hostile...) {
		if len(p.Bytes) < 1000 {
			f.Add(uint8(version(f, p.Version)), uint16(len(p.Bytes)/2), p.Bytes)
		}
	}
	f.Fuzz(func(t *testing.T, v uint8, at uint16, in []byte) {
		version := Version(v % 3)
		want := outcomeOf(bytes.NewReader(in), version, fuzzLimits)
		cut := min(int(at), len(in))
		if got := outcomeOf(&pieces{in[:cut], in[cut:]}, version, fuzzLimits); !sameOutcome(got, want) {
			t.Fatalf("split at %d: got %+v, want %+v", cut, got, want)
		}
		if got := outcomeOf(iotest.OneByteReader(bytes.NewReader(in)), version, fuzzLimits); !sameOutcome(got, want) {
			t.Fatalf("in bytes: got %+v, want %+v", got, want)
		}
		for _, frame := range want.Frames {
			checkFrame(t, frame)
		}
	})
}

func checkFrame(t *testing.T, f taken) {
	t.Helper()
	l := fuzzLimits
	switch {
	case f.command == 0 || f.command.fromServer():
		t.Fatalf("command %d", f.command)
	case len(f.body) > l.BodyBytes || !f.command.hasBody() && f.body != "":
		t.Fatalf("%s has a body of %d bytes", f.command, len(f.body))
	case len(f.block) > l.HeaderBytes || bytes.Count([]byte(f.block), lf) > l.Headers:
		t.Fatalf("%s has headers %q", f.command, f.block)
	case FormOf([]byte(f.block), f.form.Version()) != f.form:
		t.Fatalf("%q has the form %04b, not %04b", f.block, FormOf([]byte(f.block), f.form.Version()), f.form)
	}
}

// FuzzTranscode shows that no header of one version becomes more than that header in another one.
func FuzzTranscode(f *testing.F) {
	for _, p := range stomptest.Good {
		if len(p.Bytes) < 1000 {
			f.Add(uint8(version(f, p.Version)), uint8(p.Version[2]-'0'), p.Bytes)
		}
	}
	for _, head := range []string{
		"x:a\\nmessage-id\\cevil\\n\\nbody\n", "x:a\\r\\nb\n", "x:a\r\n", " message-id:1\n", "message-id\t:1\n", "a\\cb:c\n", "a:b:c\n", "a:\\\\n\n",
	} {
		for v := range uint8(3) {
			f.Add(v, (v+1)%3, []byte("SEND\n"+head+"\n\x00"))
		}
	}
	f.Fuzz(func(t *testing.T, from, to uint8, in []byte) {
		checkTranscoding(t, Version(from%3), Version(to%3), in)
	})
}
