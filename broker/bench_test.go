package broker

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"baton/broker/stomp"
	"baton/destinations"
)

// BenchmarkTend measures for how long the engine stands still while a
// checkpoint is pictured and while the log is told what is needed, with a
// million messages that have all changed since the last time. The time of a round is
// that of filling the queues, too.
func BenchmarkTend(b *testing.B) {
	const messages = 1_000_000
	for _, queues := range []int{1, 1000} {
		b.Run(fmt.Sprintf("queues=%d", queues), func(b *testing.B) {
			longest, census := time.Hour, time.Hour // of the quietest round: others may use the machine too
			for b.Loop() {
				m := destinations.New(destinations.Options{MemoryBytes: 1 << 20})
				var effects destinations.Effects
				msg := func() *destinations.Message {
					return &destinations.Message{Content: []byte("\nbody"), Persistent: true}
				}
				for i := range messages {
					effects.Reset()
					c := destinations.Command{Op: destinations.Send, Destination: destinations.Queue(fmt.Sprint(i % queues)), Message: msg()}
					if err := m.Step(time.Time{}, &c, &effects); err != nil {
						b.Fatal(err)
					}
				}
				c := checkpointer{}
				var slices time.Duration
				for c.begin(m); !c.whole; {
					begun := time.Now()
					c.slice()
					slices = max(slices, time.Since(begun))
				}
				longest = min(longest, slices)
				begun := time.Now()
				_ = m.Live()
				census = min(census, time.Since(begun))
			}
			b.ReportMetric(float64(longest.Microseconds()), "longest-slice-µs")
			b.ReportMetric(float64(census.Microseconds()), "census-µs")
		})
	}
}

// BenchmarkRead is what a session does with a frame of its client, from the
// octets to a mail.
func BenchmarkRead(b *testing.B) {
	for name, frame := range map[string]string{
		"send1KiB":    "SEND\ndestination:/queue/orders\npersistent:true\nreceipt:1234567\ncontent-length:1024\n\n" + strings.Repeat("b", 1024) + "\x00",
		"send1KiB-id": "SEND\ndestination:/queue/orders\nreceipt:1234567\ncontent-type:text/plain\npriority:4\norder:4711\ncontent-length:1024\n\n" + strings.Repeat("b", 1024) + "\x00",
		"ack":         "ACK\nid:1-1234567\n\n\x00",
	} {
		b.Run(name, func(b *testing.B) {
			server := New(Options{})
			s := newSession(server, 1, &repeating{frames: strings.Repeat(frame, 64)})
			defer s.reader.Release()
			s.connected = true
			s.version.Store(uint32(stomp.V12))
			s.reader.SetLimits(server.opts.FrameLimits)
			b.ReportAllocs()
			for b.Loop() {
				f, err := s.reader.Next()
				if err == nil {
					err = s.handle(f)
				}
				if err != nil {
					b.Fatal(err)
				}
				if len(s.post.mails) >= submitMails {
					for i := range s.post.mails {
						server.budget.give(s.post.mails[i].taken)
					}
					s.post.done()
					s.post = nil
				}
			}
		})
	}
}

// BenchmarkWrite is what a session does with an output, from the outbox to the
// octets.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{100, 1024, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := newSession(New(Options{}), 1, &repeating{})
			s.version.Store(uint32(stomp.V12))
			w := frameWriter{s: s, version: stomp.V12}
			head := "content-type:text/plain\norder:4711\ntimestamp:1767323045678\n"
			o := destinations.Output{Kind: destinations.Deliver, Delivery: destinations.Delivery{
				Label: &destinations.Label{Subscription: "0", Sub: 1, Ack: destinations.AckIndividual, Destination: destinations.Queue("orders")},
				Tag:   4711, ID: destinations.MessageID{Seq: 1234567},
				Message: &destinations.Message{
					Content: []byte(head + "\n" + strings.Repeat("b", size)), HeaderBytes: int32(len(head)), Form: uint8(stomp.FormOf([]byte(head), stomp.V12)),
				},
			}}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for n := 1; b.Loop(); n++ {
				s.out.push(&o)
				if n%100 == 0 {
					if _, err := w.drain(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// A repeating connection reads the same frames for ever and writes nowhere.
type repeating struct {
	net.Conn
	frames string
	at     int
}

func (c *repeating) Read(p []byte) (int, error) {
	n := copy(p, c.frames[c.at:])
	c.at = (c.at + n) % len(c.frames)
	return n, nil
}

func (c *repeating) Write(p []byte) (int, error) { return len(p), nil }

func (c *repeating) RemoteAddr() net.Addr { return &net.TCPAddr{} }

func (c *repeating) SetReadDeadline(time.Time) error { return nil }

func (c *repeating) SetWriteDeadline(time.Time) error { return nil }
