package failover

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// connected are both ends of a connection.
func connected(t *testing.T) (here, there *net.TCPConn) {
	t.Helper()
	listener := listenLoopback(t)
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	other, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	return conn.(*net.TCPConn), other.(*net.TCPConn)
}

func TestIdleConnectionsAreGivenUpInTime(t *testing.T) {
	t.Parallel()
	conn, _ := connected(t)
	noticeLoss(conn)
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	option := func(name int) (value int) {
		if e := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, name) }); e != nil || err != nil {
			t.Fatal(e, err)
		}
		return value
	}
	idle, every, count := option(unix.TCP_KEEPIDLE), option(unix.TCP_KEEPINTVL), option(unix.TCP_KEEPCNT)
	if took := time.Duration(idle+every*count) * time.Second; took != silence {
		t.Errorf("a peer that is gone is noticed after %v, want %v", took, silence)
	}
}

// A master that makes a client wait, because its queue or its disk is full, is not silent, however long that takes.
func TestWhoWaitsForRoomIsNotGivenUp(t *testing.T) {
	t.Parallel()
	client, master := connected(t)
	sent := make(chan int, 1)
	go func() {
		total, part := 0, make([]byte, 64<<10)
		for {
			n, err := client.Write(part)
			if total += n; err != nil { // the deadline
				sent <- total
				_ = client.CloseWrite()
				return
			}
		}
	}()
	ctx, end := context.WithTimeout(t.Context(), 20*time.Second)
	defer end()
	const enough = 10 // of 300 ms: Linux answers no more often than every 500 ms that there is no room
	looks := 0
	awaitSilence(ctx, 300*time.Millisecond, func() bool {
		if takesNothing(t, client) {
			if looks++; looks == enough {
				end()
			}
		}
		return isUnanswered(client)
	})
	if looks < enough {
		t.Errorf("given up, or never full: after %d looks", looks)
	}
	_ = client.SetWriteDeadline(time.Now())
	if got, err := io.Copy(io.Discard, master); err != nil || int(got) != <-sent {
		t.Errorf("the master has read %d octets, %v", got, err)
	}
}

// takesNothing says that the other end takes nothing more.
func takesNothing(t *testing.T, conn *net.TCPConn) (full bool) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		full = err == nil && info.Snd_wnd == 0 && info.Notsent_bytes > 0
	})
	return full
}
