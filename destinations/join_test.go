package destinations

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A batch is Steps with one Effects that continue.
func (r *rig) batch(commands ...Command) {
	r.out.Reset()
	r.out.Continues = true
	for i := range commands {
		if err := r.m.Step(scriptTime, &commands[i], &r.out); err != nil {
			r.tb.Fatal(err)
		}
	}
	r.m.Finish(&r.out)
}

func ackOf(tag uint64) Command {
	return Command{Op: Ack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: tag}}
}

// joinedRig is one with so many stored messages in flight, of a queue that has as many more.
func joinedRig(tb testing.TB, messages int) *rig {
	r := newRig(tb, Options{})
	for i := range 2 * messages {
		r.send(Queue("q"), newMessage(fmt.Sprint(i), true))
	}
	r.subscribe(1, Queue("q"), Consumer{Ack: AckIndividual, Prefetch: messages})
	return r
}

// What the ACKs of a batch settle is one entry, ahead of what comes after them.
func TestAcknowledgementsOfABatchAreOneEntry(t *testing.T) {
	t.Parallel()
	const messages = 10
	r := joinedRig(t, messages)
	var acks []Command
	for tag := range uint64(messages) {
		acks = append(acks, ackOf(tag+1))
	}
	r.batch(append(acks, Command{Op: Send, Session: 1, Destination: Queue("other"), Message: newMessage("m", true)})...)
	if kinds := kindsOf(r.out.Entries); kinds != "settle enqueue" {
		t.Errorf("got the entries %s", kinds)
	}
	if n := len(deliveries(r.out.Outputs)); n != messages {
		t.Errorf("%d messages were delivered for what was settled, want %d", n, messages)
	}
	if n := r.m.Stats().Messages; n != messages+1 {
		t.Errorf("%d messages are left, want %d", n, messages+1)
	}
}

// An ACK with a receipt is answered when what it settles is safe, and what others settled before.
func TestReceiptOfAJoinedAcknowledgement(t *testing.T) {
	t.Parallel()
	r := joinedRig(t, 3)
	last := ackOf(2)
	last.WantReceipt, last.Receipt = true, "r"
	r.batch(ackOf(1), last, ackOf(3))
	if kinds := kindsOf(r.out.Entries); kinds != "settle settle" {
		t.Fatalf("got the entries %s", kinds)
	}
	for _, o := range r.out.Outputs {
		if o.Kind == Receipt && o.After != r.out.Entries[0].Seq {
			t.Errorf("the receipt waits for entry %d, want %d", o.After, r.out.Entries[0].Seq)
		}
	}
	e, err := r.out.Entries[0].decode()
	if err != nil || len(e.seqs) != 2 {
		t.Errorf("the entry settles %v, %v; want two messages", e.seqs, err)
	}
}

// However many are acknowledged in a batch, one entry has its bounds.
func TestJoinedAcknowledgementsAreBounded(t *testing.T) {
	t.Parallel()
	const messages = 2*maxJoined + 1
	r := joinedRig(t, messages)
	var acks []Command
	for tag := range uint64(messages) {
		acks = append(acks, ackOf(tag+1))
	}
	r.batch(acks...)
	if kinds := kindsOf(r.out.Entries); kinds != "settle settle settle" {
		t.Errorf("got the entries %s", kinds)
	}
}

func kindsOf(entries []Entry) (kinds string) {
	for i, e := range entries {
		if i > 0 {
			kinds += " "
		}
		kinds += e.Kind.String()
	}
	return kinds
}

func deliveries(outputs []Output) (all []Output) {
	for _, o := range outputs {
		if o.Kind == Deliver {
			all = append(all, o)
		}
	}
	return all
}

// TestBatchProperty runs random programs as a broker does, several commands a batch, with many acknowledgements among them.
// After each batch, what was logged must replay to the same in all ways.
func TestBatchProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := newMix(t)
		x.owners = nil
		for range oneOf(x.program, "batches", []int{5, 20, 40}) {
			if x.pick("restart", 60) == 59 {
				x.restart()
				continue
			}
			x.now = x.now.Add(oneOf(x.program, "pass", []time.Duration{time.Millisecond, time.Millisecond, 10 * time.Millisecond}))
			x.tick()
			x.batch()
			x.tick()
			x.check()
		}
		x.drain()
	})
}

// batch carries out some commands, and then what follows from them.
func (x *mix) batch() {
	out := Effects{Continues: true}
	for range 1 + x.pick("commands", 8) {
		c := x.drawForBatch()
		if c.Op == Subscribe && c.consumer().Browse {
			continue // what a browser must see is known only after each command by itself
		}
		seen := len(out.Outputs)
		if err := x.m.Step(x.now, &c, &out); err != nil {
			continue
		}
		if c.WantReceipt && len(x.m.seqs) > 0 {
			x.t.Fatalf("%+v is answered, and what it settles is not recorded", c)
		}
		x.take(out.Outputs[seen:]) // others of the batch may acknowledge it
	}
	x.m.Finish(&out)
	x.log(out.Entries)
	x.follow(out.Outputs)
}

// drawForBatch draws an acknowledgement each other time.
func (x *mix) drawForBatch() Command {
	if len(x.given) == 0 || x.pick("acknowledge", 2) == 0 {
		return x.drawMixed()
	}
	c := Command{Session: 1 + uint64(x.pick("session", mixSessions)), Op: oneOf(x.program, "op", []Op{Ack, Ack, Ack, Sent, Sent, Nack})}
	if c.Op == Ack && x.pick("receipt", 5) == 0 {
		c.WantReceipt, c.Receipt = true, "r"
	}
	x.drawGiven(&c)
	return c
}

// take remembers what was delivered.
func (x *mix) take(outputs []Output) {
	for _, o := range outputs {
		if o.Kind == Deliver {
			x.given = append(x.given, DeliveryID{Sub: o.Delivery.Sub, Tag: o.Delivery.Tag})
			x.to = append(x.to, o.Session)
		}
	}
}

// follow does for the machine what its outputs ask of a broker.
func (x *mix) follow(outputs []Output) {
	for _, o := range outputs {
		var c Command
		switch o.Kind {
		case Evict:
			c = Command{Op: Disconnect, Session: o.Session}
		case Examine:
			c = x.answer(o.Examination)
		default:
			continue
		}
		var out Effects
		_ = x.m.Step(x.now, &c, &out) // it is not refused
		x.log(out.Entries)
		x.take(out.Outputs)
		x.follow(out.Outputs)
	}
}

// BenchmarkAcknowledge sends, delivers and settles stored messages, the last each for itself and in batches.
func BenchmarkAcknowledge(b *testing.B) {
	for _, batch := range []int{1, 32} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			r := newRig(b, Options{Prefetch: 2 * batch})
			r.subscribe(1, Queue("q"), Consumer{Ack: AckIndividual})
			message := newMessage("m", true)
			acks := make([]Command, 0, batch)
			b.ReportAllocs()
			for tag := uint64(1); b.Loop(); tag++ {
				r.send(Queue("q"), message)
				acks = append(acks, ackOf(tag))
				if len(acks) == batch {
					r.batch(acks...)
					acks = acks[:0]
				}
			}
		})
	}
}
