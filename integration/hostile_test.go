package integration

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"baton/broker/stomp/stomptest"
	"baton/integration/client"
	"baton/integration/process"
)

// Every hostile packet gets its ERROR and its connection closed, those that hold half a frame open are cut in time, all at
// once cost little memory, and a neighbour notices nothing.
func TestHostile(t *testing.T) {
	t.Parallel()
	if len(stomptest.Hostile) < 200 {
		t.Errorf("only %d hostile packets", len(stomptest.Hostile))
	}
	// The default limits, with less time for what is not complete.
	b := start(t, options(t, "BATON_STOMP_CONNECT_TIMEOUT=3s", "BATON_LIMITS_FRAME_GRACE=3s", "BATON_LIMITS_MIN_RATE=1MiB"))
	neighbour := startNeighbour(t, b)
	before := memory(t, b)
	// All attack before the first is judged, so that all connections are open at the same time.
	attackers := make([]*client.Conn, len(stomptest.Hostile))
	for i, p := range stomptest.Hostile {
		attackers[i] = attack(t, b, p)
	}
	for i, p := range stomptest.Hostile {
		t.Run(p.Name, func(t *testing.T) { expectEnd(t, attackers[i], p) })
	}
	if rounds := neighbour.stop(t); rounds == 0 {
		t.Error("the neighbour did not get a single message through")
	}
	grown := memory(t, b) - before
	t.Logf("%d connections, memory grew by %d KiB", len(stomptest.Hostile), grown>>10)
	if limit := int64(len(stomptest.Hostile)) << 20; grown > limit {
		t.Errorf("memory grew by %d bytes, more than 1 MiB for each of %d connections", grown, len(stomptest.Hostile))
	}
}

// attack connects and writes the packet. The broker may close before all of it is written.
func attack(t *testing.T, b *process.Broker, p stomptest.Packet) *client.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	c := client.Raw(conn)
	if !p.BeforeConnect {
		if c, err = client.Handshake(conn, client.Options{Version: p.Version}); err != nil {
			t.Fatal(err)
		}
	}
	c.WriteRaw(p.Bytes)
	c.Flush()
	return c
}

// expectEnd reads to the end: an ERROR that says what is wrong, which for a half frame is that it took too long, and then
// the broker closes.
func expectEnd(t *testing.T, c *client.Conn, p stomptest.Packet) {
	t.Helper()
	err := c.Drain()
	var answered client.Error
	switch {
	case errors.As(err, &answered):
		if text := answered.Frame.String(); !strings.Contains(text, p.Want) {
			t.Errorf("the ERROR does not say %q:\n%s", p.Want, text)
		}
		if code := answered.Frame.Header("code"); p.Held != (code == "timeout") {
			t.Errorf("the code of the ERROR is %s", code)
		}
	case err != nil:
		t.Errorf("the connection did not end in order: %v", err)
	default:
		t.Error("the broker closed without an ERROR")
	}
}

// neighbour sends and receives one message after the other, and expects each at once and in order.
type neighbour struct {
	ending chan struct{}
	result sync.WaitGroup
	rounds int
	err    error
}

func startNeighbour(t *testing.T, b *process.Broker) *neighbour {
	t.Helper()
	c := dial(t, b, client.Options{HeartBeat: "0,1000"})
	must(t, "subscribe", c.Call("SUBSCRIBE", nil, "destination", "/queue/neighbour", "id", "1", "ack", "client-individual"))
	n := &neighbour{ending: make(chan struct{})}
	n.result.Go(func() {
		for n.err == nil {
			select {
			case <-n.ending:
				return
			default:
				n.err = n.round(c)
			}
		}
	})
	return n
}

func (n *neighbour) round(c *client.Conn) error {
	body := fmt.Sprint("round ", n.rounds)
	if err := c.Call("SEND", []byte(body), "destination", "/queue/neighbour"); err != nil {
		return err
	}
	f, err := c.Next()
	if err != nil {
		return err
	}
	if string(f.Body) != body || f.Header("redelivered") == "true" {
		return fmt.Errorf("got %s, want %q", f, body)
	}
	n.rounds++
	return c.Call("ACK", nil, "id", f.Header("ack"))
}

// stop ends the neighbour and says how many messages it got through.
func (n *neighbour) stop(t *testing.T) int {
	t.Helper()
	close(n.ending)
	n.result.Wait()
	if n.err != nil {
		t.Errorf("the neighbour was disturbed after %d rounds: %v", n.rounds, n.err)
	}
	return n.rounds
}
