package stomp

import (
	"io"
	"strconv"
	"strings"
	"testing"
)

// endless repeats its bytes without end, at most so many a read.
type endless struct {
	bytes string
	most  int
	at    int
}

func (e *endless) Read(p []byte) (int, error) {
	p = p[:min(len(p), e.most)]
	for n := 0; n < len(p); {
		c := copy(p[n:], e.bytes[e.at:])
		n += c
		e.at = (e.at + c) % len(e.bytes)
	}
	return len(p), nil
}

func sendOf(bodyBytes int) string {
	return "SEND\ndestination:/queue/orders\ncontent-type:text/plain\nreceipt:r-4711\ncontent-length:" +
		strconv.Itoa(bodyBytes) + "\n\n" + strings.Repeat("b", bodyBytes) + "\x00"
}

func dropOwn(name []byte) bool {
	switch string(name) {
	case "receipt", "content-length", "transaction", "destination":
		return true
	}
	return false
}

// serve does with a frame what a server does with each.
func serve(r *Reader, dst []byte) (*Frame, []byte, error) {
	f, err := r.Next()
	if err != nil {
		return nil, nil, err
	}
	f.Header("destination")
	f.Header("receipt")
	f.Header("transaction")
	dst, _ = f.AppendHeaders(dst[:0], dropOwn)
	return f, dst, nil
}

// TestNoAllocations shows that a frame costs no allocation, whether its headers are escaped, repeated or many, also when
// it arrives in parts and its body does not fit into the buffer.
func TestNoAllocations(t *testing.T) {
	for name, frame := range map[string]string{
		"small":      sendOf(100),
		"1 KiB":      sendOf(1 << 10),
		"16 KiB":     sendOf(16 << 10),
		"ack":        "ACK\nid:c1-4711\n\n\x00",
		"escaped":    "SEND\ndestination:/queue/a\nk\\c:v\\n\nl:\\\\\nk\\c:2\n\nx\x00",
		"many":       "SEND\n" + strings.Repeat("a:b\n", 60) + strings.Repeat("c:\\c\n", 60) + "\nx\x00",
		"unmeasured": "SEND\ndestination:/queue/a\n\n" + strings.Repeat("x", 1000) + "\x00",
	} {
		for _, most := range []int{bufferBytes, 700} {
			r := NewReader(&endless{bytes: frame, most: most}, V12, AfterConnect())
			dst := make([]byte, 0, 4<<10)
			one := func() {
				var err error
				if _, dst, err = serve(r, dst); err != nil {
					t.Fatal(err)
				}
			}
			for range 50 { // until its tables have grown
				one()
			}
			if n := testing.AllocsPerRun(500, one); n != 0 {
				t.Errorf("%s in reads of %d bytes: %v allocations a frame", name, most, n)
			}
			r.Release()
		}
	}
}

func BenchmarkReader(b *testing.B) {
	for _, c := range []struct {
		name, frame string
		most        int
	}{
		{"ack", "ACK\nid:c1-4711\n\n\x00", bufferBytes},
		{"send100", sendOf(100), bufferBytes},
		{"send1KiB", sendOf(1 << 10), bufferBytes},
		{"send16KiB", sendOf(16 << 10), bufferBytes},
		{"send60KiB", sendOf(60 << 10), bufferBytes},
		{"send1MiB", sendOf(1 << 20), bufferBytes},
		{"unmeasured1KiB", "SEND\ndestination:/queue/orders\n\n" + strings.Repeat("b", 1<<10) + "\x00", bufferBytes},
		{"escaped", "SEND\ndestination:/queue/orders\nuri:http\\c//a\\c1/\nreceipt:r\n\n" + strings.Repeat("b", 100) + "\x00", bufferBytes},
		{"pipelined64x100", sendOf(100), 64 * len(sendOf(100))},
		{"split100", sendOf(100), 50},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := NewReader(&endless{bytes: c.frame, most: c.most}, V12, AfterConnect())
			defer r.Release()
			dst := make([]byte, 0, 4<<10)
			b.SetBytes(int64(len(c.frame)))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if _, dst, err = serve(r, dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendBlock(b *testing.B) {
	f := only(b, V12, "SEND\ncontent-type:text/plain\nuri:http\\c//a\\c1/\npriority:4\n\n\x00")
	block, form := f.AppendHeaders(nil, nil)
	for _, to := range allVersions {
		b.Run(to.String(), func(b *testing.B) {
			dst := make([]byte, 0, 4<<10)
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendBlock(dst[:0], block, form, to)
			}
		})
	}
}

// BenchmarkLazy reads one frame a wake-up from a TCP connection.
func BenchmarkLazy(b *testing.B) {
	server, client := tcpPair(b)
	frame := []byte(sendOf(100))
	r := NewReader(Lazy(server), V12, AfterConnect())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
	client.Close()
	if _, err := r.Next(); err != io.EOF {
		b.Fatal(err)
	}
}
