package integration

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"baton/integration/client"
)

// A pair that must not acknowledge alone stands still while one of its brokers is away, and says so to everybody: to who waits,
// sends, acknowledges or connects. It goes on by itself with what it was given before. That more is sent than it may keep for the
// standby in memory holds up nobody.
func TestPairBlocks(t *testing.T) {
	t.Parallel()
	p := newPair(t, "BATON_FAILOVER_ON_STANDBY_LOSS=block", "BATON_FAILOVER_HOLD_TIMEOUT=500ms", "BATON_JOURNAL_BUFFER=1MiB")
	master := p.awaitDuplex()
	b := p.nodes[master].Broker
	consumer, sender, flood := dial(t, b, client.Options{}), dial(t, b, client.Options{}), dial(t, b, client.Options{})
	idle, other := dial(t, b, client.Options{}), dial(t, b, client.Options{})
	must(t, "subscribe", consumer.Call("SUBSCRIBE", nil, "id", "s", "destination", "/queue/in", "ack", "client"))
	must(t, "subscribe", idle.Call("SUBSCRIBE", nil, "id", "s", "destination", "/queue/out", "ack", "auto"))
	must(t, "send", sender.Call("SEND", []byte("taken"), "destination", "/queue/in"))
	taken, err := consumer.Next()
	must(t, "receive", err)
	ack := taken.Header("ack")

	p.nodes[1-master].Kill()
	for range 64 { // an error is for who reads
		_ = flood.Write("SEND", bytes.Repeat([]byte("x"), 64<<10), "destination", "/queue/flood")
	}
	go func() { _ = flood.Flush() }()
	must(t, "send", sender.Write("SEND", []byte("waits"), "destination", "/queue/out", "receipt", "of the SEND"))
	must(t, "send", sender.Flush())
	must(t, "acknowledge", consumer.Write("ACK", nil, "id", ack, "receipt", "of the ACK"))
	must(t, "acknowledge", consumer.Flush())
	p.wantsCopies(sender.Drain(), "1", "of the SEND")
	p.wantsCopies(consumer.Drain(), "1", "of the ACK")
	p.wantsCopies(flood.Drain(), "1", "")
	must(t, "the engine goes on", other.Call("BEGIN", nil, "transaction", "t"))
	_, err = client.Dial(within(t), b.Addr, client.Options{})
	p.wantsCopies(err, "0", "")
	p.await("says what it stands still for", func(s pairStatus) bool {
		return slices.Equal(s.Alarms, []string{"BLOCKED"}) && s.Waits == "failover.on_standby_loss is block: nothing is acknowledged until the standby is back"
	})

	p.start(1 - master)
	if got := p.awaitDuplex(); got != master {
		t.Fatalf("node %d is the master, and was the standby", got)
	}
	f, err := idle.Next()
	must(t, "receive", err)
	if string(f.Body) != "waits" {
		t.Errorf("got %s", f)
	}
	must(t, "send", dial(t, b, client.Options{}).Call("SEND", []byte("both"), "destination", "/queue/in"))

	p.nodes[master].Kill()
	p.awaitMaster()
	_, err = client.Dial(within(t), p.nodes[1-master].Addr, client.Options{})
	p.wantsCopies(err, "0", "")
	p.start(master)
	p.awaitDuplex()
	late := dial(t, p.nodes[1-master].Broker, client.Options{})
	must(t, "subscribe", late.Call("SUBSCRIBE", nil, "id", "s", "destination", "/queue/in", "ack", "auto"))
	f, err = late.Next()
	must(t, "receive", err)
	if string(f.Body) != "both" {
		t.Errorf("got %s, which was acknowledged", f)
	}
	p.await("has no alarm", func(s pairStatus) bool { return s.Serving && len(s.Alarms) == 0 })
}

// wantsCopies holds that an answer is the ERROR that fewer brokers than wanted have stored something.
func (p *pair) wantsCopies(err error, stored, receipt string) {
	p.t.Helper()
	var refused client.Error
	if !errors.As(err, &refused) {
		p.t.Fatalf("got %v, want an ERROR", err)
	}
	got := []string{refused.Header("code"), refused.Header("copies"), refused.Header("receipt-id")}
	if want := []string{"not-replicated", stored, receipt}; !slices.Equal(got, want) {
		p.t.Fatalf("got %s, want %q", refused, want)
	}
}
