package hosts

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// available makes a network, or says loudly that this machine cannot.
func available(t *testing.T, count int) (*Network, bool) {
	t.Helper()
	if err := Unavailable(t.Context()); err != nil {
		t.Logf("NOTHING IS SHOWN HERE, networks cannot be cut on this machine: %v", err)
		return nil, false
	}
	n, err := New(t.Context(), count)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n, true
}

// listenOn is net.Listen on a host: a socket stays in the namespace in which it was made.
func listenOn(t *testing.T, h *Host) net.Listener {
	t.Helper()
	var l net.Listener
	err := h.within(func() (err error) {
		l, err = net.Listen("tcp4", h.Address+":0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// connect gives both ends of a connection.
func connect(t *testing.T, from *Host, l net.Listener) (here, there net.Conn) {
	t.Helper()
	here, err := from.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close() })
	if there, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Close() })
	return here, there
}

// arrives says whether an octet that is written at one end comes out at the other.
func arrives(t *testing.T, from, to net.Conn, patience time.Duration) bool {
	t.Helper()
	if _, err := from.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	to.SetReadDeadline(time.Now().Add(patience))
	_, err := io.ReadFull(to, make([]byte, 1))
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return err == nil
}

const (
	long  = time.Minute            // what must come has come by then
	short = 100 * time.Millisecond // what must not come would have come by then
)

// A cut loses what goes its way, and that alone, of connections that there are and of those to come; nobody is told. What was
// lost comes after the cut is healed, for it is sent again.
func TestCutIsDirectedAndSilent(t *testing.T) {
	t.Parallel()
	n, ok := available(t, 3)
	if !ok {
		return
	}
	l := listenOn(t, n.Hosts[1])
	here, there := connect(t, n.Hosts[0], l)
	third, thirdThere := connect(t, n.Hosts[2], l)
	must(t, n.Cut(t.Context(), Way{0, 1}))
	if arrives(t, here, there, short) {
		t.Error("an octet passed the cut")
	}
	if !arrives(t, there, here, long) {
		t.Error("an octet was lost that went the other way")
	}
	if !arrives(t, third, thirdThere, long) || !arrives(t, thirdThere, third, long) {
		t.Error("an octet was lost between others")
	}
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	if _, err := n.Hosts[0].Dial(ctx, l.Addr().String()); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a new connection: %v", err)
	}
	must(t, n.Cut(t.Context(), Way{1, 0}))
	there.SetReadDeadline(time.Now().Add(long))
	if _, err := io.ReadFull(there, make([]byte, 1)); err != nil {
		t.Errorf("what was lost did not come again: %v", err)
	}
	if arrives(t, there, here, short) {
		t.Error("an octet passed the other cut")
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	n, ok := available(t, 3)
	if !ok {
		return
	}
	l := listenOn(t, n.Hosts[1])
	here, there := connect(t, n.Hosts[0], l)
	third, thirdThere := connect(t, n.Hosts[0], listenOn(t, n.Hosts[2]))
	must(t, n.Cut(t.Context(), n.Silence(1)...))
	if arrives(t, here, there, short) || arrives(t, there, here, short) {
		t.Error("a silent host was heard, or hears")
	}
	if !arrives(t, third, thirdThere, long) {
		t.Error("an octet was lost between others")
	}
}

// What runs on a host knows no address but its own, and a host goes with the network.
func TestEnter(t *testing.T) {
	t.Parallel()
	n, ok := available(t, 1)
	if !ok {
		return
	}
	enter := n.Hosts[0].Enter
	out, err := exec.Command(enter[0], append(enter[1:], "ip", "-brief", "-4", "address")...).Output()
	if addresses := string(out); err != nil || strings.Count(addresses, "\n") != 2 || !strings.Contains(addresses, n.Hosts[0].Address) {
		t.Errorf("%s, %v", addresses, err)
	}
	holder := filepath.Dir(filepath.Dir(n.Hosts[0].space.path()))
	n.Close()
	if _, err := os.Stat(holder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the holder of a namespace: %v", err)
	}
}

func TestErrorsSayWhatFailed(t *testing.T) {
	t.Parallel()
	n, ok := available(t, 1)
	if !ok {
		return
	}
	n.Hosts = append(n.Hosts, &Host{Address: "nowhere"})
	defer func() { n.Hosts = n.Hosts[:1] }()
	if err := n.Cut(t.Context(), Way{0, 1}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("Cut: %v", err)
	}
	must(t, n.Cut(t.Context()))
	if _, err := n.Hosts[0].Dial(t.Context(), n.Hosts[0].Address+":1"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("Dial where nobody listens: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
