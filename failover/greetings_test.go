package failover

import (
	"io"
	"net"
	"testing"
)

// Strangers that connect and say nothing do not keep the other node out.
func TestStrangersLeaveRoomForThePeer(t *testing.T) {
	t.Parallel()
	l := newLone(t, &plainRegister{changed: make(chan struct{})}, nil)
	address := l.opt.Listener.Addr().String()
	for range 2 * maxGreetings {
		stranger, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer stranger.Close()
	}
	link, err := Dial(t.Context(), address, LinkOptions{Node: "b", Pair: "test"}, func(Hello) Hello { return Hello{Node: "b"} })
	if err != nil {
		t.Fatal(err)
	}
	link.Close()
}

// The oldest greeting makes way, and nothing else does.
func TestOneGreetingTooMany(t *testing.T) {
	t.Parallel()
	var g greetings
	conns := make([]net.Conn, maxGreetings+2)
	for i := range conns {
		here, there := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, there) }()
		conns[i] = here
		t.Cleanup(func() { _ = here.Close() })
	}
	closed := func(i int) bool {
		_, err := conns[i].Write([]byte("?"))
		return err != nil
	}
	for _, c := range conns[:maxGreetings] {
		g.add(c)
	}
	g.remove(conns[0]) // it has proved itself
	g.add(conns[maxGreetings])
	if closed(0) || closed(1) {
		t.Error("there was room, and yet a connection was closed")
	}
	g.add(conns[maxGreetings+1])
	for i := range conns {
		if want := i == 1; closed(i) != want {
			t.Errorf("connection %d: closed is %t", i, !want)
		}
	}
	if len(g.conns) != maxGreetings {
		t.Errorf("%d are kept", len(g.conns))
	}
}
