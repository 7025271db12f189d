package stomp

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"baton/broker/stomp/stomptest"
)

// taken is a frame as a test compares it: copied out of its Reader.
type taken struct {
	command Command
	headers string // name NUL value NUL, decoded, in order, repeated ones included
	body    string
	block   string
	form    Form
}

func take(f *Frame) taken {
	var headers strings.Builder
	for name, value := range f.Headers() {
		headers.Write(name)
		headers.WriteByte(0)
		headers.Write(value)
		headers.WriteByte(0)
	}
	block, form := f.AppendHeaders(nil, nil)
	return taken{f.Command, headers.String(), string(f.Body), string(block), form}
}

// readAll reads src to its end or error; the frames and then the error.
func readAll(src io.Reader, v Version, l Limits) ([]taken, error) {
	r := NewReader(src, v, l)
	defer r.Release()
	var frames []taken
	for {
		f, err := r.Next()
		if err != nil {
			return frames, err
		}
		frames = append(frames, take(f))
	}
}

func version(t testing.TB, text string) Version {
	t.Helper()
	for _, v := range []Version{V10, V11, V12} {
		if v.String() == text {
			return v
		}
	}
	t.Fatalf("no version %q", text)
	return 0
}

func limitsOf(p stomptest.Packet) Limits {
	if p.BeforeConnect {
		return BeforeConnect()
	}
	return AfterConnect()
}

func TestGoodPackets(t *testing.T) {
	t.Parallel()
	for _, p := range stomptest.Good {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			frames, err := readAll(bytes.NewReader(p.Bytes), version(t, p.Version), limitsOf(p))
			if err != io.EOF || len(frames) == 0 {
				t.Fatalf("%d frames, then %v; want some and EOF", len(frames), err)
			}
		})
	}
}

// TestHostilePackets shows that each hostile packet is refused with the text that it wants, without a byte after it, and
// that nothing of the text is beyond what a client may be shown.
func TestHostilePackets(t *testing.T) {
	t.Parallel()
	if n := len(stomptest.Hostile); n < 200 {
		t.Errorf("%d packets, want 200", n)
	}
	names := map[string]bool{}
	for _, p := range stomptest.Hostile {
		if names[p.Name] {
			t.Errorf("two packets are called %q", p.Name)
		}
		names[p.Name] = true
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			src := &held{rest: p.Bytes}
			_, err := readAll(src, version(t, p.Version), limitsOf(p))
			if p.Want == "" {
				if err != errHeld {
					t.Fatalf("got %v, want all bytes taken", err)
				}
				return
			}
			var broken *ProtocolError
			if !errors.As(err, &broken) || !strings.Contains(broken.Reason, p.Want) {
				t.Fatalf("got %v, want a protocol error with %q", err, p.Want)
			}
			if len(broken.Reason) > 300 || strings.ContainsFunc(broken.Reason, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("reason is not fit to be shown: %q", broken.Reason)
			}
		})
	}
}

var errHeld = errors.New("held open")

// held gives its bytes and then tells that it was asked for more.
type held struct{ rest []byte }

func (h *held) Read(p []byte) (int, error) {
	if len(h.rest) == 0 {
		return 0, errHeld
	}
	n := copy(p, h.rest)
	h.rest = h.rest[n:]
	return n, nil
}
