package integration

import (
	"fmt"
	"testing"
	"time"

	"baton/integration/client"
	"baton/integration/hosts"
)

// Where the way between both brokers falls silent, and the master goes on alone, clients without heart-beats that came by way of the
// standby lose their connections: who only listens, and who has sent something that nobody has taken.
func TestRelaysToASilentMasterEnd(t *testing.T) {
	t.Parallel()
	if err := hosts.Unavailable(within(t)); err != nil {
		t.Logf("NOTHING IS SHOWN HERE, networks cannot be cut on this machine: %v", err)
		return
	}
	p, n := newPairOnHosts(t)
	master := p.awaitSync()
	standby := 1 - master
	through := func() *client.Conn {
		c, err := client.Dial(within(t), p.site.clients[standby], client.Options{Dial: p.site.dial})
		must(t, "connect", err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	listener, sender := through(), through()
	must(t, "subscribe", listener.Call("SUBSCRIBE", nil, "id", "s", "destination", "/queue/a", "ack", "auto"))
	must(t, "send", sender.Call("SEND", []byte("taken"), "destination", "/queue/b"))

	must(t, "cut", n.Cut(within(t), hosts.Way{From: master, To: standby}, hosts.Way{From: standby, To: master}))
	began := time.Now()
	p.await("is alone", func(s pairStatus) bool { return s.Role == "solo" && s.Serving })
	must(t, "send", sender.Write("SEND", []byte("not taken"), "destination", "/queue/b"))
	must(t, "send", sender.Flush())
	ended := make(chan string, 2)
	for name, c := range map[string]*client.Conn{"who listens": listener, "who has sent": sender} {
		go func() {
			_, err := c.Next()
			ended <- fmt.Sprintf("%s: after %v: %v", name, time.Since(began).Round(100*time.Millisecond), err)
		}()
	}
	for range 2 {
		select {
		case said := <-ended:
			t.Log(said)
		case <-time.After(time.Until(began.Add(20 * time.Second))): // twice what it takes
			t.Fatal("a client waits for a master that is silent")
		}
	}
}
