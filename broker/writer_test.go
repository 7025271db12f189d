package broker

import (
	"strings"
	"testing"

	"baton/broker/stomp"
	"baton/destinations"
)

// deliveryTo is one of an empty message.
func deliveryTo(label *destinations.Label, tag uint64) destinations.Output {
	return destinations.Output{Kind: destinations.Deliver, Delivery: destinations.Delivery{
		Label: label, Tag: tag, ID: destinations.MessageID{Seq: tag}, Message: &destinations.Message{Content: []byte("\n")},
	}}
}

// Writers lend their memory to each other. What one wrote for its version is not what another needs, though all else is the
// same.
func TestOpeningIsOfAVersion(t *testing.T) {
	t.Parallel()
	label := &destinations.Label{Subscription: "0", Sub: 1, Ack: destinations.AckIndividual, Destination: destinations.Queue("a:b")}
	shared := new(scratch)
	for _, c := range []struct {
		version stomp.Version
		want    string
	}{{stomp.V12, `destination:/queue/a\cb`}, {stomp.V10, "destination:/queue/a:b"}, {stomp.V12, `destination:/queue/a\cb`}} {
		w := frameWriter{s: newSession(New(Options{}), 1, &repeating{}), version: c.version, scratch: shared}
		o := deliveryTo(label, 1)
		w.message(&o.Delivery)
		if got := string(w.buf); !strings.Contains(got, c.want+"\n") {
			t.Errorf("for %s: %q", c.version, got)
		}
		w.buf = w.buf[:0]
	}
}

// Of what was written for auto subscriptions the engine is told the newest.
func TestNewestIsSettled(t *testing.T) {
	t.Parallel()
	s := newSession(New(Options{}), 1, &repeating{})
	w := frameWriter{s: s, version: stomp.V12}
	one, two := &destinations.Label{Sub: 1, Destination: destinations.Queue("a")}, &destinations.Label{Sub: 2, Destination: destinations.Queue("a")}
	for tag, label := range []*destinations.Label{one, one, two, one, one} {
		o := deliveryTo(label, uint64(tag+1))
		s.out.push(&o)
	}
	if _, err := w.drain(); err != nil {
		t.Fatal(err)
	}
	newest := map[uint32]uint64{}
	posts, _ := s.server.engine.box.take(nil)
	for _, p := range posts {
		for _, m := range p.mails {
			newest[m.command.Delivery.Sub] = m.command.Delivery.Tag
		}
	}
	if newest[1] != 5 || newest[2] != 3 {
		t.Errorf("the engine is told %v, want 5 of subscription 1 and 3 of 2", newest)
	}
}

// A session that has nothing to write keeps next to no memory for it, however much it had.
func TestIdleOutboxIsSmall(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{takeLimit, 10_000} { // in parts, and all at once
		o := newOutbox()
		for tag := range uint64(1000) {
			d := deliveryTo(&destinations.Label{Sub: 1}, tag+1)
			o.push(&d)
		}
		var batch []destinations.Output
		for taken := 0; taken < 1000; {
			clear(batch)
			batch = o.take(batch[:0], 0, limit)
			taken += len(batch)
		}
		clear(batch)
		_ = o.yield(batch[:0])
		if n := cap(o.items); n > keepOutputs {
			t.Errorf("taken by %d: there is room for %d outputs", limit, n)
		}
	}
}
