package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"baton/broker/stomp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTestRelay has a relay with a log, which leaves nothing behind.
func newTestRelay(t *testing.T) *Relay {
	t.Helper()
	name := filepath.Join(t.TempDir(), "log")
	r, err := NewRelay(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the log is left: %v", err)
		}
	})
	return r
}

func (r *Relay) server() Server { return Server{Addr: r.Addr(), Dialect: Dialects[0]} }

const briefly = 100 * time.Millisecond

// Every kind of workload that needs no broker behind it ends with all checked and measured.
func TestRun(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]Workload{
		"queue":                            {Producers: 3, Consumers: 2, Persistent: true, Window: 16},
		"window of 1":                      {Producers: 1, Consumers: 1, Persistent: true, Window: 1},
		"no receipts":                      {Producers: 2, Consumers: 2, Ack: "auto"},
		"topic of many producers":          {Producers: 70, Consumers: 1, Topic: true, Window: 16, Ack: "auto"},
		"topic":                            {Producers: 2, Consumers: 5, Topic: true, Window: 16, Ack: "auto"},
		"rate":                             {Producers: 2, Consumers: 2, Window: 16, Rate: 1000},
		"transactions":                     {Producers: 2, Consumers: 2, Persistent: true, Window: 4, Tx: 7},
		"destinations":                     {Producers: 2, Consumers: 3, Window: 16, Destinations: 10},
		"more consumers than destinations": {Producers: 2, Consumers: 3, Window: 16, Destinations: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w.Size, w.Duration = 100, briefly
			r, err := Run(t.Context(), newTestRelay(t).server(), w, nil)
			if err != nil {
				t.Fatal(err)
			}
			copies := int64(1)
			if w.Topic {
				copies = int64(w.Consumers)
			}
			if r.Sent == 0 || r.Received != r.Sent*copies || r.SendRate <= 0 || r.Rate <= 0 {
				t.Errorf("sent %d at %.0f/s, received %d at %.0f/s", r.Sent, r.SendRate, r.Received, r.Rate)
			}
			if (r.Receipts.P50 > 0) != (w.Window > 0) || r.Latencies.P50 <= 0 || r.Latencies.P99 < r.Latencies.P50 {
				t.Errorf("latencies %+v, %+v", r.Receipts, r.Latencies)
			}
			if w.Rate > 0 && r.Sent != int64(w.Rate*briefly.Seconds()) {
				t.Errorf("%d messages in %v at %v a second", r.Sent, briefly, w.Rate)
			}
			if took := float64(r.Sent) / r.SendRate; w.Rate > 0 && took < float64(r.Sent-1)/w.Rate {
				t.Errorf("%d messages at %v a second were all sent after %v s", r.Sent, w.Rate, took)
			}
			if all, took := waits(r.Receipts, r.Sent), float64(r.Sent)/r.SendRate; w.Window == 1 && all > 1.01*took {
				t.Errorf("one after the other, %d receipts took %v s, and all together %v s", r.Sent, all, took)
			}
		})
	}
}

// waits is what n latencies are together, in seconds.
func waits(l Latency, n int64) float64 { return l.Mean / 1e6 * float64(n) }

// At a rate, what a message waits for before it is sent counts: all of these are due at once, and go one after the other.
func TestLatenciesBeginWhenDue(t *testing.T) {
	t.Parallel()
	const n = 1000
	w := Workload{Producers: 1, Consumers: 1, Size: 100, Window: 1, Rate: maxRate, Duration: n}
	r, err := Run(t.Context(), newTestRelay(t).server(), w, nil)
	if err != nil {
		t.Fatal(err)
	}
	took := n / r.SendRate
	// Half of them wait for the other half: that is some n/2 times what all take. And none was delivered before the one before
	// it had its receipt.
	if receipts := waits(r.Receipts, n); r.Sent != n || receipts < 10*took || waits(r.Latencies, n) < 0.98*(receipts-took) {
		t.Errorf("%d messages took %v s; to their receipts %v s, to their delivery %v s", r.Sent, took, waits(r.Receipts, n), waits(r.Latencies, n))
	}
}

// A backlog is as large as was asked for, however many share it.
func TestRunFills(t *testing.T) {
	t.Parallel()
	for _, producers := range []int{1, 3, 8} {
		w := Workload{Producers: producers, Size: 100, Window: 16, Backlog: 5}
		if r, err := Run(t.Context(), newTestRelay(t).server(), w, nil); err != nil || r.Sent != w.Backlog || r.SendRate <= 0 {
			t.Errorf("%d producers: %+v, %v", producers, r, err)
		}
	}
}

// What a broker does wrong with a message is found and named.
func TestRunFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	const which = 5
	var held, denied []byte
	for name, c := range map[string]struct {
		want  Checks
		text  string
		spoil func(frame []byte) []byte
		after func(frame []byte) []byte // with the next one
	}{
		"lost":            {want: Checks{Lost: 1}, text: "1 lost", spoil: func([]byte) []byte { return nil }},
		"doubled":         {want: Checks{Doubled: 1}, text: "1 doubled", spoil: func(f []byte) []byte { return append(bytes.Clone(f), f...) }},
		"corrupt":         {want: Checks{Corrupt: 1, Lost: 1}, text: "1 corrupt", spoil: func(f []byte) []byte { f[len(f)-5] ^= 1; return f }},
		"of another size": {want: Checks{Corrupt: 1, Lost: 1}, text: "1 corrupt", spoil: shorten},
		"out of order": {
			want: Checks{Disordered: 1}, text: "1 out of order",
			spoil: func(f []byte) []byte { held = bytes.Clone(f); return nil },
			after: func(f []byte) []byte { return append(f, held...) },
		},
		"out of order and not redelivered": {
			want: Checks{Disordered: 1}, text: "1 out of order",
			spoil: func(f []byte) []byte {
				denied = bytes.Replace(f, []byte("MESSAGE\n"), []byte("MESSAGE\nredelivered:false\n"), 1)
				return nil
			},
			after: func(f []byte) []byte { return append(f, denied...) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := newTestRelay(t)
			relay.spoil = func(number int, frame []byte) []byte {
				switch {
				case number == which:
					return c.spoil(frame)
				case number == which+1 && c.after != nil:
					return c.after(frame)
				}
				return frame
			}
			w := Workload{Producers: 1, Consumers: 1, Size: 100, Window: 16, Duration: briefly}
			r, err := runFor(t.Context(), relay.server(), w, nil, 3*time.Second)
			if err == nil || r == nil || r.Checks != c.want || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("%v, %+v; want %+v", err, r, c.want)
			}
		})
	}
}

// shorten makes a MESSAGE with a body of 100 octets one with a sound body of 99.
func shorten(frame []byte) []byte {
	head, body, _ := bytes.Cut(frame, []byte("\n\n"))
	s, _ := readStamp(body[:100])
	shorter := newBody(99, s.producer)
	s.put(shorter)
	head = bytes.Replace(head, []byte("content-length:100"), []byte("content-length:99"), 1)
	return slices.Concat(head, []byte("\n\n"), shorter, []byte{0})
}

// A client that fails ends the run at once, and its error is that of the run.
func TestRunEndsWithItsFirstFailure(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]Workload{
		"queue": {Producers: 2, Consumers: 2, Window: 16},
		"topic": {Producers: 2, Consumers: 2, Topic: true, Ack: "auto"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := newTestRelay(t)
			relay.spoil = func(number int, frame []byte) []byte {
				if number == 5 {
					return []byte("ERROR\nmessage:enough\n\n\x00")
				}
				return frame
			}
			w.Size, w.Duration = 100, time.Hour
			_, err := runFor(t.Context(), relay.server(), w, nil, time.Hour)
			if err == nil || !strings.HasPrefix(err.Error(), "consumer ") || !strings.HasSuffix(err.Error(), ": the broker says ERROR: enough") {
				t.Error(err)
			}
		})
	}
}

// Nobody waits for what will not come when the context ends.
func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	relay := newTestRelay(t)
	relay.spoil = func(number int, frame []byte) []byte {
		if number == 5 {
			cancel()
		}
		return nil
	}
	w := Workload{Producers: 1, Consumers: 1, Size: 100, Window: 16, Duration: briefly}
	if _, err := runFor(ctx, relay.server(), w, nil, time.Hour); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A relay whose log fails makes no promises any more, and ends the connections to which it did.
func TestRelayEndsWithItsLog(t *testing.T) {
	t.Parallel()
	relay, err := NewRelay(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	if err := relay.log.file.Close(); err != nil {
		t.Fatal(err)
	}
	w := Workload{Producers: 3, Size: 100, Persistent: true, Window: 16, Duration: time.Hour}
	if _, err := runFor(t.Context(), relay.server(), w, nil, time.Hour); err == nil || !strings.HasPrefix(err.Error(), "producer ") {
		t.Error(err)
	}
	if err := relay.Close(); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

// A relay looks at no selector: the run says so, and of nothing else.
func TestRunFindsIgnoredSelectors(t *testing.T) {
	t.Parallel()
	w := Workload{Producers: 1, Consumers: 2, Size: 100, Window: 16, Selectors: true, Duration: briefly}
	r, err := Run(t.Context(), newTestRelay(t).server(), w, nil)
	if err == nil || r == nil || r.Checks.Unselected == 0 || r.Checks != (Checks{Unselected: r.Checks.Unselected}) {
		t.Fatalf("%v, %+v", err, r)
	}
}

// A broker may answer DISCONNECT before it has given all receipts: the run waits for them first.
func TestRunAwaitsItsReceipts(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := Workload{Producers: 1, Size: 100, Window: 16, Backlog: 10}
	served := make(chan error, 1)
	go func() { served <- serveHastily(listener, int(w.Backlog)) }()
	r, err := Run(t.Context(), Server{Addr: listener.Addr().String(), Dialect: Dialects[0]}, w, nil)
	if err != nil || r.Sent != w.Backlog {
		t.Errorf("%+v, %v", r, err)
	}
	if err := errors.Join(listener.Close(), <-served); err != nil {
		t.Error(err)
	}
}

// serveHastily has one client, who sends so many messages. It gives the receipts some time after the last, but that of
// DISCONNECT at once.
func serveHastily(listener net.Listener, sends int) error {
	socket, err := listener.Accept()
	if err != nil {
		return err
	}
	defer socket.Close()
	var receipts strings.Builder
	for in := stomp.NewReader(socket, stomp.V12, stomp.AfterConnect()); ; {
		f, err := in.Next()
		if err != nil {
			return err
		}
		receipt, _ := f.Header("receipt")
		answer := fmt.Sprintf("RECEIPT\nreceipt-id:%s\n\n\x00", receipt)
		switch f.Command {
		case stomp.CmdConnect:
			_, err = io.WriteString(socket, "CONNECTED\nversion:1.2\n\n\x00")
		case stomp.CmdSend:
			receipts.WriteString(answer)
			if sends--; sends == 0 {
				all := receipts.String()
				time.AfterFunc(50*time.Millisecond, func() { _, _ = io.WriteString(socket, all) })
			}
		case stomp.CmdDisconnect:
			_, err = io.WriteString(socket, answer)
			return err
		}
		if err != nil {
			return err
		}
	}
}

// A consumer that is not there makes no run.
func TestRunNeedsABroker(t *testing.T) {
	t.Parallel()
	relay, err := NewRelay("")
	if err != nil {
		t.Fatal(err)
	}
	server := relay.server()
	if err := relay.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), server, Workload{Producers: 1, Size: 100, Duration: briefly}, nil); err == nil {
		t.Error("nobody listens, and it is no error")
	}
}

func TestWorkloadsAreChecked(t *testing.T) {
	t.Parallel()
	good := Workload{Producers: 1, Consumers: 1, Size: 100, Window: 1, Duration: time.Second}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(w *Workload){
		"producers":    func(w *Workload) { w.Producers = 0 },
		"consumers":    func(w *Workload) { w.Consumers = -1 },
		"destinations": func(w *Workload) { w.Destinations = -1 },
		"size":         func(w *Workload) { w.Size = StampBytes - 1 },
		"window":       func(w *Workload) { w.Window = -1 },
		"prefetch":     func(w *Workload) { w.Prefetch = -1 },
		"rate":         func(w *Workload) { w.Rate = math.Inf(1) },
		"destinations, of all producers and consumers": func(w *Workload) { w.Producers, w.Consumers, w.Destinations = 100, 100, 1001 },
		"ahead":     func(w *Workload) { w.Ahead = 63 },
		"tx":        func(w *Workload) { w.Tx, w.Window = 10, 0 },
		"backlog":   func(w *Workload) { w.Backlog, w.Topic = 1, true },
		"duration":  func(w *Workload) { w.Duration = 0 },
		"durable":   func(w *Workload) { w.Durable = true },
		"selectors": func(w *Workload) { w.Selectors, w.Topic = true, true },
		"ack":       func(w *Workload) { w.Ack = "never" },
	} {
		w := good
		change(&w)
		if err := w.Check(); err == nil || !strings.HasPrefix(err.Error(), name+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, p := range Presets() {
		if err := p.Check(); err != nil || p.About == "" {
			t.Errorf("preset %s: %v", p.Name, err)
		}
		if w, err := PresetOf(p.Name); err != nil || w != p.Workload {
			t.Errorf("preset %s: %+v, %v", p.Name, w, err)
		}
	}
	if _, err := PresetOf("fast"); err == nil || !strings.Contains(err.Error(), "persistent") {
		t.Errorf("of a preset that is not there: %v", err)
	}
}

func TestStampsCoverTheBody(t *testing.T) {
	t.Parallel()
	body := newBody(100, 3)
	want := stamp{3, 4, 5 * time.Second}
	want.put(body)
	if got, ok := readStamp(body); !ok || got != want {
		t.Fatalf("%+v, %v", got, ok)
	}
	for i := range body {
		body[i] ^= 0x10
		if _, ok := readStamp(body); ok {
			t.Errorf("octet %d is not covered", i)
		}
		body[i] ^= 0x10
	}
	if _, ok := readStamp(binary.BigEndian.AppendUint32(nil, 0)); ok {
		t.Error("a short body is taken")
	}
}
