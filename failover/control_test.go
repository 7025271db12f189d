package failover

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// A scriptedOperator answers as it is told, and remembers what it was asked.
type scriptedOperator struct {
	status Status
	err    error
	asked  []string
}

func (o *scriptedOperator) Status() Status { return o.status }

func (o *scriptedOperator) note(what string) error {
	o.asked = append(o.asked, what)
	return o.err
}

func (o *scriptedOperator) Switchover(context.Context) error { return o.note("switchover") }
func (o *scriptedOperator) Resync(context.Context) error     { return o.note("resync") }

func (o *scriptedOperator) Promote(_ context.Context, acceptLoss bool) error {
	if acceptLoss {
		return o.note("promote, loss accepted")
	}
	return o.note("promote")
}

func TestControl(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, ControlSocket), nil, 0o644); err != nil { // what a dead process left
		t.Fatal(err)
	}
	listener, err := ListenControl(data)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(data, ControlSocket)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, %v", info.Mode(), err)
	}
	o := &scriptedOperator{status: Status{Node: "a", Role: "master", Epoch: 7, InSync: []string{"a", "b"}, Lease: -1}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ServeControl(ctx, listener, o, zap.NewNop()) }()

	c := NewControl(data)
	got, err := c.Status(t.Context())
	if err != nil || got.Node != "a" || got.Epoch != 7 || len(got.InSync) != 2 || got.Lease != -1 {
		t.Errorf("status %+v, %v", got, err)
	}
	for _, fn := range []func() error{
		func() error { return c.Switchover(t.Context()) },
		func() error { return c.Promote(t.Context(), false) },
		func() error { return c.Promote(t.Context(), true) },
		func() error { return c.Resync(t.Context()) },
	} {
		o.err = nil
		if err := fn(); err != nil {
			t.Error(err)
		}
		o.err = errors.New("there is no standby")
		if err := fn(); err == nil || err.Error() != "there is no standby" {
			t.Errorf("got %v, want what the node said", err)
		}
	}
	const want = "switchover switchover promote promote promote, loss accepted promote, loss accepted resync resync"
	if asked := strings.Join(o.asked, " "); asked != want {
		t.Errorf("asked %s, want %s", asked, want)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "no node of a pair answers") {
		t.Errorf("got %v", err)
	}
}

func TestControlOfAProcessThatStandsStill(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	listener, err := ListenControl(data) // its system accepts connections, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c := NewControl(data)
	c.patience = 20 * time.Millisecond
	_, err = c.Status(t.Context())
	const want = "the node's process does not answer, for 20ms: it was stopped, or its disk stands still"
	if err == nil || err.Error() != want {
		t.Errorf("status: %v", err)
	}
	if err := c.Switchover(t.Context()); err == nil || err.Error() != want {
		t.Errorf("switchover: %v", err)
	}
}

// A brokenListener fails to accept, once, as where the process has no descriptors left.
type brokenListener struct {
	net.Listener
	failed bool
}

func (l *brokenListener) Accept() (net.Conn, error) {
	if !l.failed {
		l.failed = true
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestHTTPComplainsInTheLog(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.InfoLevel)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	listener := &brokenListener{Listener: listenLoopback(t)}
	go func() { ended <- ServeHealth(ctx, listener, func() Status { return Status{} }, zap.New(core)) }()
	response, err := http.Get("http://" + listener.Addr().String() + "/health") // answered after the failure
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if all := logs.FilterMessageSnippet("too many open files").All(); len(all) != 1 || all[0].Level != zapcore.WarnLevel {
		t.Errorf("logged %v", logs.All())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status Status
		query  string
		want   int
	}{
		{Status{Role: Solo.String(), Serving: true}, "", http.StatusOK},
		{Status{Role: Duplex.String(), Serving: true}, "?role=any", http.StatusOK},
		{Status{Role: Activating.String()}, "", http.StatusServiceUnavailable},
		{Status{Role: Standby.String()}, "", http.StatusServiceUnavailable},
		{Status{Role: Standby.String()}, "?role=any", http.StatusOK},
		{Status{Role: Syncing.String()}, "?role=any", http.StatusServiceUnavailable},
		{Status{Role: Solo.String(), Serving: true}, "?role=mater", http.StatusBadRequest},
	} {
		t.Run(c.status.Role+c.query, func(t *testing.T) {
			t.Parallel()
			listener := listenLoopback(t)
			address := listener.Addr().String()
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- ServeHealth(ctx, listener, func() Status { return c.status }, zap.NewNop()) }()
			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			response, err := client.Get("http://" + address + "/health" + c.query)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			role := c.status.Role + "\n"
			if c.want == http.StatusBadRequest {
				role = `role="mater": it may be any, or be left out for the master` + "\n"
			}
			if response.StatusCode != c.want || string(body) != role {
				t.Errorf("answered %d %q, want %d", response.StatusCode, body, c.want)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
