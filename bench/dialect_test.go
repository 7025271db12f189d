package bench

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// What a SEND says of persistence, and how a durable subscription is given up, is as the broker understands it.
func TestDialects(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		transient string
		leave     string
	}{
		"baton":    {"persistent:false\n", "UNSUBSCRIBE\nactivemq.subscriptionName:0\nid:0\n\n\x00"},
		"activemq": {"persistent:false\n", "UNSUBSCRIBE\nid:0\n\n\x00UNSUBSCRIBE\nactivemq.subscriptionName:0\nid:0\n\n\x00"},
		"rabbitmq": {"", "UNSUBSCRIBE\ndurable:true\nauto-delete:false\nid:r-0-0\n\n\x00"},
	} {
		dialect, err := DialectOf(name)
		if err != nil {
			t.Fatal(err)
		}
		r := &run{name: "r", server: Server{Dialect: dialect}, w: Workload{Topic: true, Durable: true, Size: 100}.withDefaults(), patience: time.Minute}
		for persistent, said := range map[bool]string{false: want.transient, true: "persistent:true\n"} {
			r.w.Persistent = persistent
			head := string((&producer{run: r}).head(0, 0))
			if want := "SEND\ndestination:/topic/r.0\n" + said + "content-length:100\n"; head != want {
				t.Errorf("%s: %q, want %q", name, head, want)
			}
		}
		if left, want := leaving(t, r), want.leave+"DISCONNECT\nreceipt:bye\n\n\x00"; left != want {
			t.Errorf("%s: %q, want %q", name, left, want)
		}
	}
	if _, err := DialectOf("kafka"); err == nil || !strings.Contains(err.Error(), `"kafka"`) {
		t.Errorf("of a broker that nobody knows: %v", err)
	}
}

// leaving is what a consumer of r writes last.
func leaving(t *testing.T, r *run) string {
	t.Helper()
	here, there := net.Pipe()
	left := make(chan error, 1)
	go func() {
		left <- (&consumer{run: r, c: &conn{Conn: here}}).leave()
		_ = here.Close()
	}()
	text, err := io.ReadAll(there)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-left; err != nil {
		t.Error(err)
	}
	return string(text)
}
