package integration

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"baton/integration/client"
	"baton/integration/history"
	"baton/integration/process"
)

// SIGTERM under load: the broker ends with code 0, its port is free, and the next one on the same data keeps every promise.
func TestTerminateUnderLoad(t *testing.T) {
	t.Parallel()
	o := options(t, "BATON_QUEUES_MAX_DELIVERIES=65535", expiryPolicy)
	l := newLoad()
	for range 3 {
		b := start(t, o)
		wait := l.start(t.Context(), b.Addr, rand.New(rand.NewPCG(1, 2)), mix{plain})
		must(t, "load", l.history.Await(within(t), l.history.Len()+3000))
		terminate(t, b)
		checkFarewells(t, wait())
		listener, err := net.Listen("tcp", b.Addr)
		must(t, "the port is not free", err)
		listener.Close()
		o.Listen = b.Addr
	}
	drain(t, o, l)
	report := history.Check(l.history.Ops())
	t.Log(report)
	if !report.Valid() {
		t.Error("the history is not valid")
	}
}

// checkFarewells accepts nothing but ERROR frames that name the shutdown.
func checkFarewells(t *testing.T, err error) {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	if err != nil && !ok {
		t.Fatalf("not a list of errors: %v", err)
	}
	if err == nil {
		return
	}
	for _, err := range joined.Unwrap() {
		var answered client.Error
		if !errors.As(err, &answered) || !strings.Contains(answered.Header("message"), "shut") {
			t.Errorf("a client ended with %v", err)
		}
	}
}

// A client that is connected and idle does not hold up the end.
func TestTerminateWithIdleClients(t *testing.T) {
	t.Parallel()
	b := start(t, options(t))
	c := dial(t, b, client.Options{})
	must(t, "subscribe", c.Call("SUBSCRIBE", nil, "destination", "/queue/a", "id", "1", "ack", "client"))
	half := dial(t, b, client.Options{})
	half.WriteRaw([]byte("SEND\ndestination:/queue/a\n"))
	must(t, "flush", half.Flush())
	terminate(t, b)
	for _, c := range []*client.Conn{c, half} {
		var answered client.Error
		if err := c.Drain(); err != nil && !errors.As(err, &answered) {
			t.Errorf("the connection did not end in order: %v", err)
		}
	}
}

// startRefused expects a broker that ends with code 1 and says why in words that hold all of want.
func startRefused(t *testing.T, o process.Options, want ...string) {
	t.Helper()
	b, err := process.Start(within(t), o)
	if err == nil {
		b.Kill()
		t.Fatal("the broker started")
	}
	var exit *process.ExitError
	if !errors.As(err, &exit) || exit.Code != 1 {
		t.Fatalf("want exit code 1: %v", err)
	}
	for _, want := range want {
		if !strings.Contains(exit.Log, want) {
			t.Errorf("the log does not say %q:\n%s", want, exit.Log)
		}
	}
	checkLog(t, exit.Log)
}

func TestSecondBrokerOnTheSameData(t *testing.T) {
	t.Parallel()
	o := options(t)
	b := start(t, o)
	startRefused(t, o, o.Data, "in use")
	c := dial(t, b, client.Options{})
	must(t, "the first broker still serves", c.Call("SEND", nil, "destination", "/queue/a"))
}

func TestSecondBrokerOnTheSamePort(t *testing.T) {
	t.Parallel()
	b := start(t, options(t))
	o := options(t)
	o.Listen = b.Addr
	startRefused(t, o, b.Addr, "address already in use")
}

func TestDataIsAFile(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Data = filepath.Join(o.Data, "file")
	must(t, "write", os.WriteFile(o.Data, nil, 0o600))
	startRefused(t, o, o.Data)
}

// Damage before the end of the journal is never cut away and never served: the broker names file and offset and does not
// start, touches nothing, and starts again when the damage is repaired.
func TestCorruptJournal(t *testing.T) {
	t.Parallel()
	const messages = 50
	o := options(t)
	b := start(t, o)
	c := dial(t, b, client.Options{})
	for i := range messages {
		must(t, "send", c.Call("SEND", fmt.Appendf(nil, "this is message %02d", i), "destination", "/queue/a"))
	}
	b.Kill()

	file, offset := findInJournal(t, o.Data, "this is message 10")
	flip(t, file, offset)
	damaged, err := os.ReadFile(file)
	must(t, "read", err)
	startRefused(t, o, filepath.Base(file), "offset")
	after, err := os.ReadFile(file)
	must(t, "read", err)
	if !bytes.Equal(damaged, after) {
		t.Error("the broker changed the damaged file")
	}

	flip(t, file, offset)
	c = dial(t, start(t, o), client.Options{})
	must(t, "subscribe", c.Call("SUBSCRIBE", nil, "destination", "/queue/a", "id", "1"))
	for i := range messages {
		f, err := c.Next()
		must(t, "receive", err)
		if want := fmt.Sprintf("this is message %02d", i); string(f.Body) != want {
			t.Fatalf("got %q, want %q", f.Body, want)
		}
	}
}

func findInJournal(t *testing.T, dir, text string) (file string, offset int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if at := bytes.Index(content, []byte(text)); at >= 0 {
			file, offset = path, int64(at)
		}
		return err
	})
	must(t, "search the journal", err)
	if file == "" {
		t.Fatalf("%q is in no file below %s", text, dir)
	}
	return file, offset
}

// flip inverts one bit.
func flip(t *testing.T, path string, offset int64) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, "open", err)
	defer file.Close()
	octet := make([]byte, 1)
	_, err = file.ReadAt(octet, offset)
	must(t, "read", err)
	octet[0] ^= 1
	_, err = file.WriteAt(octet, offset)
	must(t, "write", err)
}
