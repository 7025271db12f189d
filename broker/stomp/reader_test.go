package stomp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"baton/broker/stomp/stomptest"
)

// pieces gives its bytes in the given pieces, one a read, and then EOF.
type pieces [][]byte

func (p *pieces) Read(b []byte) (int, error) {
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	if (*p)[0] = (*p)[0][n:]; len((*p)[0]) == 0 {
		*p = (*p)[1:]
	}
	return n, nil
}

// outcome is what came of a byte stream; equal outcomes mean that a user saw no difference.
type outcome struct {
	Frames []taken
	Err    string
}

func outcomeOf(src io.Reader, v Version, l Limits) outcome {
	frames, err := readAll(src, v, l)
	return outcome{frames, err.Error()}
}

// TestSplits shows that reads of any size, also as small as one byte, give the same frames and the same error.
func TestSplits(t *testing.T) {
	t.Parallel()
	for _, p := range append(append([]stomptest.Packet{}, stomptest.Good...), stomptest.Hostile...) {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			v, l := version(t, p.Version), limitsOf(p)
			want := outcomeOf(bytes.NewReader(p.Bytes), v, l)
			for _, src := range []io.Reader{
				iotest.OneByteReader(bytes.NewReader(p.Bytes)),
				iotest.DataErrReader(bytes.NewReader(p.Bytes)),
			} {
				if got := outcomeOf(src, v, l); !sameOutcome(got, want) {
					t.Fatalf("%T: got %+v, want %+v", src, got, want)
				}
			}
			for at := 1; at < min(len(p.Bytes), 300); at++ {
				if got := outcomeOf(&pieces{p.Bytes[:at], p.Bytes[at:]}, v, l); !sameOutcome(got, want) {
					t.Fatalf("split at %d: got %+v, want %+v", at, got, want)
				}
			}
		})
	}
}

// sameOutcome compares two outcomes. Errors of broken heads may tell of different mistakes: with fewer bytes at hand, the
// one that comes first is told at once.
func sameOutcome(a, b outcome) bool {
	broken := func(o outcome) bool { return strings.HasPrefix(o.Err, "protocol error") }
	return reflect.DeepEqual(a.Frames, b.Frames) && (a.Err == b.Err || broken(a) && broken(b))
}

// TestFramesOfAnySize reads bodies around every size at which the Reader changes the way it holds them, after heads
// around every size at which the buffer grows.
func TestFramesOfAnySize(t *testing.T) {
	t.Parallel()
	sizes := []int{0, 1, bufferBytes - 100, bufferBytes - 1, bufferBytes, bufferBytes + 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 2*chunkBytes + 5, 300000}
	for _, headers := range []int{0, 1, 3, 4, 5, 7} {
		head := strings.Repeat("x:"+strings.Repeat("v", 8180)+"\n", headers)
		var stream strings.Builder
		var bodies []string
		for i, size := range sizes {
			body := strings.Repeat(string(rune('a'+i)), size)
			bodies = append(bodies, body, body)
			stream.WriteString("SEND\n" + head + "\n" + body + "\x00")
			stream.WriteString("SEND\n" + head + "content-length:" + strconv.Itoa(size) + "\n\n" + body + "\x00\n")
		}
		for _, src := range []io.Reader{
			strings.NewReader(stream.String()),
			iotest.HalfReader(strings.NewReader(stream.String())),
			&sips{stream.String(), 997},
		} {
			frames, err := readAll(src, V12, AfterConnect())
			if err != io.EOF || len(frames) != len(bodies) {
				t.Fatalf("%d headers: %d frames, %v", headers, len(frames), err)
			}
			for i, f := range frames {
				if f.body != bodies[i] {
					t.Fatalf("%d headers: body %d has %d bytes, want %d", headers, i, len(f.body), len(bodies[i]))
				}
			}
		}
	}
}

// sips gives at most so many bytes a read.
type sips struct {
	rest string
	most int
}

func (s *sips) Read(p []byte) (int, error) {
	if s.rest == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.most)], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func TestEndOfStream(t *testing.T) {
	t.Parallel()
	const frame = "SEND\na:b\ncontent-length:1\n\nx\x00"
	for n := range len(frame) + 1 {
		want := io.ErrUnexpectedEOF
		if n == 0 || n == len(frame) {
			want = io.EOF
		}
		r := NewReader(strings.NewReader(frame[:n]), V12, AfterConnect())
		_, err := r.Next()
		if err == nil {
			_, err = r.Next()
		}
		if err != want {
			t.Errorf("%q: %v, want %v", frame[:n], err, want)
		}
		if _, again := r.Next(); again != err {
			t.Errorf("%q: then %v, want %v again", frame[:n], again, err)
		}
	}
	if _, err := readAll(strings.NewReader("\n\r"), V12, AfterConnect()); err != io.ErrUnexpectedEOF {
		t.Errorf("half a line end: %v", err)
	}
}

// impatient gives one byte, then a timeout, and so on.
type impatient struct {
	rest string
	wait bool
}

func (s *impatient) Read(p []byte) (int, error) {
	if s.wait = !s.wait; s.wait {
		return 0, &os.PathError{Op: "read", Err: os.ErrDeadlineExceeded}
	}
	if s.rest == "" {
		return 0, io.EOF
	}
	n := copy(p[:1], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// TestTimeout shows that after a timeout, which comes through as it is, Next goes on without losing a byte.
func TestTimeout(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("0123456789", 4000)
	in := "\nSEND\na:b\n\n" + body + "\x00\r\nSEND\ncontent-length:40000\n\n" + body + "\x00"
	r := NewReader(&impatient{rest: in}, V12, AfterConnect())
	var got []taken
	timeouts := 0
	for {
		f, err := r.Next()
		if _, ok := err.(*os.PathError); ok {
			timeouts++
			continue
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, take(f))
	}
	if len(got) != 2 || got[0].body != body || got[1].body != body || timeouts < len(in) {
		t.Fatalf("%d frames after %d timeouts", len(got), timeouts)
	}
}

func TestSourceErrorIsFinal(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "SEND\n", "ACK\n\n\x00"} {
		r := NewReader(io.MultiReader(strings.NewReader(in), iotest.ErrReader(errHeld)), V12, AfterConnect())
		_, err := r.Next()
		if err == nil {
			_, err = r.Next()
		}
		if err != errHeld {
			t.Errorf("%q: %v", in, err)
		}
	}
	if _, err := NewReader(silent{}, V12, AfterConnect()).Next(); err != io.ErrNoProgress {
		t.Errorf("source that gives nothing: %v", err)
	}
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

// TestProtocolErrorIsFinal shows that frames before a broken one are read, nothing after it is, and that the error knows
// the receipt that the broken frame asked for.
func TestProtocolErrorIsFinal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ frame, receipt string }{
		{"SEND\nreceipt:r\\c1\nfoo\n", "r:1"},
		{"SEND\nreceipt:r\nreceipt:s\n\\t:\n\n", "r"},
		{"ACK\nreceipt:r\nid:1\n\nx\x00", "r"},
		{"SEND\nreceipt:r\ncontent-length:-1\n\n", "r"},
		{"SEND\nreceipt:r\ncontent-length:40000\n\n" + strings.Repeat("x", 40001), "r"},
		{"SEND\nfoo\nreceipt:r\n\n", ""},
		{"SEND\nreceipt:\\t\nfoo\n", ""},
		{"send\nreceipt:r\n\n\x00", ""},
	} {
		r := NewReader(strings.NewReader("ACK\nreceipt:before\n\n\x00"+c.frame+"\x00ACK\n\n\x00"), V12, AfterConnect())
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		_, err := r.Next()
		var broken *ProtocolError
		if !errors.As(err, &broken) || broken.Receipt != c.receipt {
			t.Errorf("%.60q: got %#v, want receipt %q", c.frame, err, c.receipt)
		}
		if _, again := r.Next(); again != err || !r.Buffered() {
			t.Errorf("%.60q: then %v", c.frame, again)
		}
	}
}

// TestBuffered shows that Buffered tells of frames and errors that need no read, and that the frame returned last stays
// as it is while the one after it is parsed.
func TestBuffered(t *testing.T) {
	t.Parallel()
	first := "SEND\nk\\c:v\\n\ncontent-length:3\n\na\x00b\x00"
	r := NewReader(&pieces{[]byte(first + "ACK\nid\\c:1\n\n\x00BEG"), []byte("IN\n\n\x00"), []byte("bad\n")}, V12, AfterConnect())
	if r.Buffered() {
		t.Fatal("something is buffered before the first read")
	}
	next := func() *Frame {
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := next()
	for range 2 {
		if !r.Buffered() {
			t.Fatal("ACK is not buffered")
		}
	}
	if got := take(f); got.command != CmdSend || got.headers != "k:\x00v\n\x00content-length\x003\x00" || got.body != "a\x00b" {
		t.Fatalf("after Buffered the frame is %+v", got)
	}
	if f = next(); f.Command != CmdAck || r.Buffered() {
		t.Fatalf("%s, and half a frame counts as buffered: %v", f.Command, r.Buffered())
	}
	if got := take(f); got.headers != "id:\x001\x00" {
		t.Fatalf("after Buffered the frame is %+v", got)
	}
	if f = next(); f.Command != CmdBegin || r.Buffered() {
		t.Fatalf("%s, and nothing counts as buffered: %v", f.Command, r.Buffered())
	}
	if _, err := r.Next(); err == nil || !r.Buffered() {
		t.Fatalf("%v, and the error does not count as buffered", err)
	}
}

func TestSetVersionAndLimits(t *testing.T) {
	t.Parallel()
	r := NewReader(strings.NewReader("CONNECT\naccept-version:1.2\n\n\x00SEND\nx:\\r\n\nbody\x00SEND\n\nbody\x00"), V10, BeforeConnect())
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	r.SetVersion(V12)
	r.SetLimits(Limits{HeaderLineBytes: 4, Headers: 1, HeaderBytes: 5, BodyBytes: 4})
	f, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if x, _ := f.Header("x"); string(x) != "\r" {
		t.Errorf("x is %q", x)
	}
	r.SetLimits(Limits{BodyBytes: 3})
	if _, err := r.Next(); err == nil {
		t.Error("the new limit does not hold")
	}
}

func TestServerFrames(t *testing.T) {
	t.Parallel()
	const in = "CONNECTED\nversion:1.2\nsession:a\\b\n\n\x00MESSAGE\na:\\c\n\nx\x00RECEIPT\nreceipt-id:1\n\n\x00ERROR\n\nwhy\x00"
	r := NewReader(strings.NewReader(in), V12, AfterConnect()).AcceptServerFrames()
	for _, want := range []taken{
		{command: CmdConnected, headers: "version\x001.2\x00session\x00a\\b\x00"},
		{command: CmdMessage, headers: "a\x00:\x00", body: "x"},
		{command: CmdReceipt, headers: "receipt-id\x001\x00"},
		{command: CmdError, body: "why"},
	} {
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		got := take(f)
		if got.command != want.command || got.headers != want.headers || got.body != want.body {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	mustFail(t, V12, "MESSAGE\n", "MESSAGE is not a command of clients")
}

func TestRelease(t *testing.T) {
	t.Parallel()
	r := NewReader(strings.NewReader("ACK\nid:1\n\n\x00ACK\nid:2\n\n\x00SEN"), V12, AfterConnect())
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	r.Release()
	r.Release()
	if _, err := r.Next(); err != ErrReleased || r.space != nil {
		t.Fatalf("after Release: %v", err)
	}
}

// TestMemoryFollowsWhatCame shows that a promise of 16 MiB costs what has been sent of it and little more, and that the
// memory of a large frame is given up with it.
func TestMemoryFollowsWhatCame(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("x", 1<<20)
	for _, sent := range []int{0, 1, 100000, len(body)} {
		r := NewReader(&held{rest: []byte("SEND\ncontent-length:16777216\n\n" + body[:sent])}, V12, AfterConnect())
		for !r.Buffered() {
			r.fill()
		}
		ahead := len(r.buf)
		if r.frame().parts != nil {
			ahead += len(r.frame().parts.body.chunks)*chunkBytes - r.frame().parts.body.n
		}
		if ahead > chunkBytes+bufferBytes {
			t.Errorf("%d bytes sent: holds %d bytes ahead", sent, ahead)
		}
		r.Release()
	}
}

// TestMemoryOfLargeFramesIsGivenUp shows that neither a long head nor a long body leaves a larger buffer, whether the
// Reader comes to rest after it or not.
func TestMemoryOfLargeFramesIsGivenUp(t *testing.T) {
	t.Parallel()
	head := strings.Repeat("x:"+strings.Repeat("v", 8000)+"\n", 6)
	large := "SEND\n" + head + "\n" + strings.Repeat("b", 1<<20) + "\x00"
	small := strings.Repeat("ACK\nid:1\n\n\x00", 5000)
	for name, src := range map[string]io.Reader{
		"rest":  &pieces{[]byte(large), []byte("ACK\n\n\x00"), []byte("AC")},
		"flow":  strings.NewReader(large + small + "AC"),
		"drips": &sips{large + small + "AC", 1000},
	} {
		r := NewReader(src, V12, AfterConnect())
		for {
			if _, err := r.Next(); err != nil {
				t.Fatal(name, err)
			}
			if !r.Buffered() {
				r.fill()
			}
			if string(r.buf[r.start:r.end]) == "AC" {
				break
			}
		}
		if len(r.buf) != bufferBytes || len(r.frames[r.current].Body) != 0 {
			t.Errorf("%s: after a large frame the buffer holds %d bytes", name, len(r.buf))
		}
		r.Release()
	}
}

// TestBodyNeverGrowsTheBuffer shows that a measured body is read into the buffer that is there, or past it.
func TestBodyNeverGrowsTheBuffer(t *testing.T) {
	t.Parallel()
	const head = "SEND\ncontent-length:%05d\n\n"
	for over := -2; over <= 2; over++ {
		size := bufferBytes - len("SEND\ncontent-length:00000\n\n") - 1 + over
		in := fmt.Sprintf(head, size) + strings.Repeat("b", size) + "\x00"
		r := NewReader(&sips{in, 100}, V12, AfterConnect())
		for !r.Buffered() {
			r.fill()
			if len(r.buf) != bufferBytes {
				t.Fatalf("%d bytes over: the buffer holds %d", over, len(r.buf))
			}
		}
		if f, err := r.Next(); err != nil || len(f.Body) != size {
			t.Fatal(err)
		}
	}
}

// TestWaitingTakesNoMemory shows that a body which does not come takes no more memory with every attempt to read it.
func TestWaitingTakesNoMemory(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", strings.Repeat("b", chunkBytes)} {
		src := &held{rest: []byte("SEND\ncontent-length:1000000\n\n" + body)}
		r := NewReader(src, V12, AfterConnect())
		for range 10 {
			if !r.Buffered() {
				r.fill()
			}
			r.readErr = nil
		}
		if n := len(r.frame().parts.body.chunks); n != 1+len(body)/chunkBytes {
			t.Errorf("after %d bytes of the body it holds %d chunks", len(body), n)
		}
		r.Release()
	}
}

// TestNoRescan shows that a frame in pieces costs no more scanning than the frame whole: after each piece the Reader has
// passed over all of it.
func TestNoRescan(t *testing.T) {
	t.Parallel()
	in := "SEND\nlong:" + strings.Repeat("v", 1000) + "\n\n" + strings.Repeat("b", 1000)
	r := NewReader(iotest.OneByteReader(strings.NewReader(in)), V12, AfterConnect())
	for range len(in) {
		if r.Buffered() {
			t.Fatal("complete too early")
		}
		r.fill()
		before := r.pos + r.scanned
		if r.end-before > 1 {
			t.Fatalf("%d bytes at %d will be scanned again", r.end-before, r.end)
		}
	}
}

// TestInFrame shows whether what has come is complete: no source may leave half of anything for ever.
func TestInFrame(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		"":                            false,
		"\n\n":                        false,
		"\r\n":                        false,
		"\r":                          true,
		"S":                           true,
		"SEND":                        true,
		"SEND\n":                      true,
		"SEND\ndestination:/queue/a":  true,
		"SEND\n\n":                    true,
		"SEND\n\nbody":                true,
		"SEND\ncontent-length:5\n\nb": true,
		"SEND\n\nbody\x00":            false,
		"SEND\n\nbody\x00\n":          false,
		"SEND\n\nbody\x00\r":          true,
	} {
		r := NewReader(&impatient{rest: in, wait: true}, V12, AfterConnect())
		for {
			if _, err := r.Next(); err != nil {
				if _, ok := err.(*os.PathError); !ok {
					break
				}
				if r.src.(*impatient).rest == "" {
					break
				}
			}
		}
		if got := r.InFrame(); got != want {
			t.Errorf("after %q, InFrame is %t", in, got)
		}
	}
}
