package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3"
)

// refusing is an address at which nobody listens, and nobody else will: it is taken.
func refusing(t *testing.T) string {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(socket) })
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port)
}

func TestConnectFrame(t *testing.T) {
	t.Parallel()
	b := listen(t)
	d := dialing(t, b.addr(), Options{Login: "me:", Passcode: `p:a\ss`, ClientID: "c1", HeartBeat: 2 * time.Second})
	p := b.accept()
	raw := make([]byte, 1000)
	n, err := p.Read(raw)
	want := "CONNECT\naccept-version:1.2\nhost:127.0.0.1\nheart-beat:2000,2000\nlogin:me:\npasscode:p:a\\ss\nclient-id:c1\n\n\x00"
	if got := string(raw[:n]); err != nil || got != want {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
	p.sayConnected()
	get(t, d)
}

// A broker that accepts and says nothing holds nobody up, and is left when another one answers.
func TestSilentBroker(t *testing.T) {
	t.Parallel()
	silent, good := listen(t), listen(t)
	d := dialing(t, "failover:("+silent.addr()+","+good.addr()+")?randomize=false", Options{})
	left := silent.accept()
	p := good.connected()
	c := get(t, d)
	left.wantEnd()
	done := send(t, c, "x")
	p.receipt(p.wantSend("x"))
	waitNil(t, done)
}

// Alone, it is left after a time, and tried again.
func TestSilentBrokerAlone(t *testing.T) {
	t.Parallel()
	b := listen(t)
	d := dialing(t, "failover:("+b.addr()+")?nested.connectionTimeout=20&maxReconnectAttempts=2", Options{})
	b.accept().wantEnd()
	b.accept().wantEnd()
	if got := <-d; got.err == nil || !strings.Contains(got.err.Error(), "no CONNECTED came within 20ms") {
		t.Errorf("got %v", got.err)
	}
}

// What answers CONNECT in another way is tried no longer than the URL says, and the error tells what each has answered.
func TestCannotConnect(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(*peer)
		want   string
	}{
		"ERROR":           {func(p *peer) { p.say("ERROR", "message", "who are you") }, "who are you"},
		"another frame":   {func(p *peer) { p.say("RECEIPT") }, "the broker answered CONNECT with RECEIPT"},
		"another version": {func(p *peer) { p.say("CONNECTED", "version", "1.1") }, `the broker speaks STOMP "1.1", not 1.2`},
		"no version":      {func(p *peer) { p.say("CONNECTED") }, `the broker speaks STOMP "", not 1.2`},
		"bad heart-beats": {func(p *peer) { p.say("CONNECTED", "version", "1.2", "heart-beat", "1") }, `heart-beat "1" of CONNECTED`},
		"no STOMP":        {func(p *peer) { fmt.Fprint(p, "HTTP/1.1 400 Bad Request\r\n\r\n") }, `"HTTP/1.1 400 Bad Request", which is no frame`},
		"the end":         {func(p *peer) { p.Close() }, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, nobody := listen(t), refusing(t)
			d := dialing(t, "failover:("+nobody+","+b.addr()+")?startupMaxReconnectAttempts=2&randomize=false", Options{Passcode: "secret"})
			for range 2 {
				p := b.accept()
				p.want("CONNECT")
				c.answer(p)
			}
			got := <-d
			if got.err == nil || !strings.HasPrefix(got.err.Error(), "cannot connect: "+nobody+": connect: connection refused; "+b.addr()+": ") ||
				!strings.Contains(got.err.Error(), c.want) || strings.Contains(got.err.Error(), "secret") {
				t.Errorf("got %v, want %s", got.err, c.want)
			}
			var refused stomp.Error
			if name == "ERROR" && !errors.As(got.err, &refused) {
				t.Error("the error is no stomp.Error")
			}
		})
	}
}

// Addresses that a broker tells are used when its own is gone, unless that was switched off.
func TestLearnsAddresses(t *testing.T) {
	t.Parallel()
	for _, supported := range []bool{true, false} {
		a, b := listen(t), listen(t)
		d := dialing(t, fmt.Sprintf("failover:(%s)?maxReconnectAttempts=3&updateURIsSupported=%v", a.addr(), supported), Options{})
		p := a.connected("brokers", "tcp://"+a.addr()+", tcp://"+b.addr()+",http://what")
		c := get(t, d)
		done := send(t, c, "x")
		p.wantSend("x")
		a.listener.Close()
		p.Close()
		if !supported {
			if err := wait(t, done); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("got %v", err)
			}
			continue
		}
		p = b.connected()
		p.receipt(p.wantSend("x"))
		waitNil(t, done)
	}
}

// The address of a connection that was lost is not the first to be tried.
func TestLeavesALostAddress(t *testing.T) {
	t.Parallel()
	a, b := listen(t), listen(t)
	d := dialing(t, "failover:("+a.addr()+","+b.addr()+")?randomize=false", Options{})
	p := a.connected()
	get(t, d)
	p.Close()
	p = b.connected()
	if len(a.arrived) > 0 {
		t.Error("the address that was lost was tried first")
	}
	p.Close()
	a.connected()
}

// The last attempt waits for all that have not answered.
func TestLastAttemptWaits(t *testing.T) {
	t.Parallel()
	slow, bad := listen(t), listen(t)
	d := dialing(t, "failover:("+slow.addr()+","+bad.addr()+")?randomize=false&maxReconnectAttempts=1", Options{})
	p := slow.accept()
	bad.accept().Close() // after which there is nothing more to be tried
	select {
	case got := <-d:
		t.Fatalf("it has not waited: %v", got.err)
	case <-time.After(50 * time.Millisecond): // it would give up at once
	}
	p.want("CONNECT")
	p.sayConnected()
	get(t, d)
}

// After a connection of use there is no delay, however many there were.
func TestNoDelayAfterAConnectionOfUse(t *testing.T) {
	t.Parallel()
	b := listen(t)
	d := dialing(t, "failover:("+b.addr()+")?initialReconnectDelay=1000&maxReconnectDelay=86400000&reconnectDelayExponent=1000", Options{})
	p := b.connected()
	c := get(t, d)
	for range 5 {
		done := send(t, c, "x")
		p.receipt(p.wantSend("x"))
		waitNil(t, done)
		p.Close()
		p = b.connected()
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(within(t))
	b := listen(t)
	done := async(func() error {
		_, err := Dial(ctx, "failover:("+b.addr()+")", Options{})
		return err
	})
	p := b.accept()
	cancel()
	if err := wait(t, done); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	p.wantEnd()
}

func TestDialRefusesOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Login: "a\nb"}, "login has a line break"},
		{Options{Passcode: "secret\r"}, "passcode has a line break"},
		{Options{ClientID: "a\x00"}, "client-id has"},
		{Options{Host: "a\n"}, "host has"},
		{Options{Prefetch: -1}, "prefetch: -1"},
		{Options{Prefetch: 65536}, "prefetch: 65536"},
		{Options{MaxMessageBytes: -1}, "-1 is less than 0"},
	} {
		_, err := Dial(within(t), "127.0.0.1:1", c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if text := fmt.Sprintf(format, Options{Passcode: "hush"}); strings.Contains(text, "hush") || strings.Contains(text, "68757368") {
			t.Errorf("%s: %s", format, text)
		}
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	u := defaults(func(u *URL) { u.MaxDelay = 100 * time.Millisecond }, "a:1")
	for _, c := range []struct {
		vain        int
		exponential bool
		longest     time.Duration
	}{
		{1, true, 10 * time.Millisecond}, {2, true, 20 * time.Millisecond}, {4, true, 80 * time.Millisecond},
		{5, true, 100 * time.Millisecond}, {1 << 40, true, 100 * time.Millisecond}, {9, false, 10 * time.Millisecond},
	} {
		u.Exponential = c.exponential
		d := dialer{url: u, vain: c.vain}
		least, most := time.Hour, time.Duration(0)
		for range 1000 {
			delay := d.delay()
			least, most = min(least, delay), max(most, delay)
		}
		if least < c.longest/2 || most > c.longest || most-least < c.longest/4 {
			t.Errorf("after %d attempts: from %v to %v, want from half of %v to all", c.vain, least, most, c.longest)
		}
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	u := defaults(func(u *URL) { u.Randomize = false }, "a:1", "b:1")
	d := dialer{url: u, learned: []string{"c:1"}}
	order := func() string { return strings.Join(d.order(), " ") }
	if got := order(); got != "a:1 b:1 c:1" {
		t.Errorf("got %s", got)
	}
	if d.lost = "a:1"; order() != "b:1 c:1 a:1" {
		t.Errorf("after a: %s", order())
	}
	u.Randomize = true
	seen := map[string]bool{}
	for range 1000 {
		seen[order()] = true
	}
	if len(seen) != 2 || !seen["b:1 c:1 a:1"] || !seen["c:1 b:1 a:1"] {
		t.Errorf("at random: %v", seen)
	}
}

func TestOnRetry(t *testing.T) {
	t.Parallel()
	retries := make(chan int, 100)
	ctx, cancel := context.WithCancel(within(t))
	done := async(func() error {
		_, err := Dial(ctx, "failover:("+refusing(t)+")?initialReconnectDelay=1&maxReconnectDelay=1&warnAfterReconnectAttempts=2", Options{
			OnRetry: func(attempts int, why error) {
				if why == nil || !strings.Contains(why.Error(), "refused") {
					t.Errorf("after %d attempts: %v", attempts, why)
				}
				retries <- attempts
			},
		})
		return err
	})
	if a, b := <-retries, <-retries; a != 2 || b != 4 {
		t.Errorf("told after %d and %d attempts", a, b)
	}
	cancel()
	if err := wait(t, done); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
}

// An address that has not answered yet goes on being waited for, and is not tried beside that.
func TestTriesNobodyTwiceAtATime(t *testing.T) {
	t.Parallel()
	silent := listen(t)
	enough := make(chan struct{}, 100)
	d := dialing(t, "failover:("+silent.addr()+","+refusing(t)+")?initialReconnectDelay=1&maxReconnectDelay=1&warnAfterReconnectAttempts=20", Options{
		OnRetry: func(int, error) { enough <- struct{}{} },
	})
	p := silent.accept()
	<-enough
	if n := len(silent.arrived); n != 0 {
		t.Errorf("%d more connections were made to who has not answered yet", n)
	}
	p.want("CONNECT")
	p.sayConnected()
	get(t, d)
}
