package bench

import (
	"net"
	"strings"
	"testing"
	"time"

	"baton/broker/stomp"
)

// serveReceipts is a broker for one producer, which answers each receipt with those of answers, in order.
func serveReceipts(t *testing.T, answers map[string][]string) Server {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { listener.Close(); <-ended })
	go func() {
		defer close(ended)
		socket, err := listener.Accept()
		if err != nil {
			return
		}
		defer socket.Close()
		c := &conn{Conn: socket, in: stomp.NewReader(socket, stomp.V12, stomp.AfterConnect())}
		for f, err := c.in.Next(); err == nil; f, err = c.in.Next() {
			if f.Command == stomp.CmdConnect {
				c.add("CONNECTED", "version", "1.2")
			}
			if id, ok := f.Header("receipt"); ok {
				all, other := answers[string(id)]
				if !other {
					all = []string{string(id)}
				}
				for _, id := range all {
					c.add("RECEIPT", "receipt-id", id)
				}
			}
			if c.flush() != nil {
				return
			}
		}
	}()
	return Server{Addr: listener.Addr().String(), Dialect: Dialects[0]}
}

// A window is of as many receipts as it says.
func TestWindowIsFull(t *testing.T) {
	t.Parallel()
	const window = 3
	r := &run{w: Workload{Producers: 1, Size: 100, Window: window}.withDefaults(), server: serveReceipts(t, nil), sends: newRecorders(1)}
	p, err := r.newProducer(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer p.c.Close()
	for n := range window {
		if p.windowFull() {
			t.Fatalf("a window of %d is full with %d", window, n)
		}
		p.ask(0)
	}
	if !p.windowFull() {
		t.Errorf("a window of %d is not full", window)
	}
}

// Each receipt that was asked for must come, once.
func TestReceiptsAreChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers map[string][]string
		want    string
	}{
		"all":            {nil, ""},
		"in other order": {map[string][]string{"3": nil, "4": {"4", "3"}}, ""},
		"never":          {map[string][]string{"3": nil}, "receipts are missing: "},
		"twice":          {map[string][]string{"3": {"3", "3"}}, `receipt "3" came, which nobody waits for`},
		"in its place":   {map[string][]string{"4": {"3"}}, `receipt "3" came, which nobody waits for`},
		"foreign":        {map[string][]string{"3": {"three"}}, `receipt "three" came, which nobody waits for`},
		"negative":       {map[string][]string{"3": {"-3"}}, `receipt "-3" came, which nobody waits for`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := Workload{Producers: 1, Size: 100, Window: 16, Backlog: 10}
			patience := time.Hour
			if name == "never" {
				patience = time.Millisecond
			}
			r, err := runFor(t.Context(), serveReceipts(t, c.answers), w, nil, patience)
			switch {
			case c.want == "" && (err != nil || r.Sent != 10):
				t.Error(r, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}
