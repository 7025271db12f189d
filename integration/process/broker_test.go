package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain makes this program play the broker when a test has started it as one.
func TestMain(m *testing.M) {
	role := os.Getenv("BATON_FAKE")
	if role == "" {
		os.Exit(m.Run())
	}
	os.Exit(play(role))
}

// play is a broker for tests: fails at once, never gets ready, or gets ready and ends with code 3 or 0 after SIGTERM.
func play(role string) (code int) {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	switch role {
	case "fails":
		fmt.Fprintln(os.Stderr, "baton: no disk")
		return 1
	case "silent":
	default:
		fmt.Fprintln(os.Stderr, "log", os.Args[1:])
		fmt.Println("baton ready: STOMP on 127.0.0.1:1234, data in somewhere")
	}
	<-terminated
	if role == "ends with 3" {
		return 3
	}
	return 0
}

func fake(t *testing.T, role string) Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Binary: self, Data: "somewhere", Env: []string{"BATON_FAKE=" + role}}
}

func started(t *testing.T, o Options) *Broker {
	t.Helper()
	b, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Kill)
	return b
}

func TestStart(t *testing.T) {
	t.Parallel()
	b := started(t, fake(t, "ends with 0"))
	if b.Addr != "127.0.0.1:1234" {
		t.Errorf("address %q", b.Addr)
	}
	if err := b.Terminate(t.Context()); err != nil {
		t.Errorf("Terminate: %v", err)
	}
	if log := b.Log(); !strings.Contains(log, "baton ready") || !strings.Contains(log, "log [serve --listen 127.0.0.1:0 --data somewhere]") {
		t.Errorf("log %q", log)
	}
}

func TestTerminateTellsTheExitCode(t *testing.T) {
	t.Parallel()
	b := started(t, fake(t, "ends with 3"))
	var exit *ExitError
	if err := b.Terminate(t.Context()); !errors.As(err, &exit) || exit.Code != 3 {
		t.Errorf("Terminate: %v", err)
	}
}

func TestKill(t *testing.T) {
	t.Parallel()
	b := started(t, fake(t, "ends with 0"))
	b.Kill()
	b.Kill()
	var exit *ExitError
	if err := b.Wait(t.Context()); !errors.As(err, &exit) || exit.Code != -1 {
		t.Errorf("Wait: %v", err)
	}
}

func TestStartReturnsWhyItEnded(t *testing.T) {
	t.Parallel()
	_, err := Start(t.Context(), fake(t, "fails"))
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 1 || exit.Log != "baton: no disk" {
		t.Errorf("Start: %v", err)
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := Start(ctx, fake(t, "silent"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Start: %v", err)
	}
}

func TestStartAndKill(t *testing.T) {
	t.Parallel()
	if _, err := StartAndKill(fake(t, "silent"), 10*time.Millisecond); err != nil {
		t.Errorf("StartAndKill: %v", err)
	}
}

func TestLogKeepsTheEnd(t *testing.T) {
	t.Parallel()
	l := &log{}
	l.Write(make([]byte, maxLog))
	l.Write([]byte("end"))
	if got := l.String(); len(l.text) != maxLog || !strings.HasSuffix(got, "end") {
		t.Errorf("%d bytes, end %q", len(l.text), got[len(got)-3:])
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	b := started(t, fake(t, "ends with 0"))
	now, peak, err := b.Memory()
	if err != nil || now < 1<<20 || now > 1<<30 || peak < now {
		t.Errorf("resident %d, at most %d, %v", now, peak, err)
	}
}
