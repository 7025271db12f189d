package destinations

import (
	"fmt"
	"testing"
	"time"
)

// A deduper sends messages with ids, consumes them at once, and loses its
// machine.
type deduper struct {
	t       *testing.T
	opts    Options
	m       *Machine
	now     time.Time
	entries []Entry
}

func remembers(t *testing.T, count int, window time.Duration) Options {
	return Options{Policies: NewPolicies([]Rule{{
		pattern(t, "/queue/>"), func(p *Policy) { p.DedupCount, p.DedupWindow = count, window },
	}})}
}

func newDeduper(t *testing.T, count int, window time.Duration) *deduper {
	d := &deduper{t: t, now: scriptTime, opts: remembers(t, count, window)}
	d.m = New(d.opts)
	d.step(Command{Op: Start})
	d.step(Command{Op: Subscribe, Session: 9, Subscription: "s", Destination: Queue("q"), Consumer: &Consumer{Ack: AckIndividual}})
	return d
}

func (d *deduper) step(c Command) (out Effects) {
	d.t.Helper()
	if err := d.m.Step(d.now, &c, &out); err != nil {
		d.t.Fatal(err)
	}
	for _, e := range out.Entries {
		d.entries = append(d.entries, readBack(e))
	}
	return out
}

// send says whether the message was taken for a duplicate.
func (d *deduper) send(id string) bool {
	d.t.Helper()
	msg := newMessage("body of "+id, true)
	msg.Props = &Props{Priority: DefaultPriority, DedupID: id}
	out := d.step(Command{Op: Send, Session: 1, Destination: Queue("q"), Message: msg})
	for _, o := range out.Outputs {
		if o.Kind == Deliver {
			d.step(Command{Op: Ack, Session: 9, Delivery: DeliveryID{Sub: o.Delivery.Sub, Tag: o.Delivery.Tag}})
		}
	}
	return out.Duplicates == 1
}

// clean drops from the log what need not be there.
func (d *deduper) clean() {
	live := d.m.Live()
	gone := map[uint64]bool{}
	var kept []Entry
	for _, e := range d.entries {
		keep, err := live.Keep(e, func(seq uint64) bool { return gone[seq] })
		if err != nil {
			d.t.Fatal(err)
		}
		if gone[e.Seq] = !keep; keep {
			kept = append(kept, e)
		}
	}
	d.entries = kept
}

// crash goes on with a machine that was made of the log.
func (d *deduper) crash() {
	last := d.m.Last()
	d.m = New(d.opts)
	for _, e := range d.entries {
		if err := d.m.Replay(e); err != nil {
			d.t.Fatal(err)
		}
	}
	d.resume(last)
}

func (d *deduper) resume(last uint64) {
	if err := d.m.Resume(last); err != nil {
		d.t.Fatal(err)
	}
	d.step(Command{Op: Start})
	d.step(Command{Op: Subscribe, Session: 9, Subscription: "s", Destination: Queue("q"), Consumer: &Consumer{Ack: AckIndividual}})
}

// crashAfterCheckpoint does it with a checkpoint that was begun before the last n
// entries.
func (d *deduper) crashAfterCheckpoint(c *Checkpoint, parts []Part) {
	last := d.m.Last()
	d.m = New(d.opts)
	for _, p := range parts {
		if err := d.m.Restore(p.AppendTo(nil)); err != nil {
			d.t.Fatal(err)
		}
	}
	for _, e := range d.entries {
		if e.Seq > c.From() {
			if err := d.m.Replay(e); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	d.resume(last)
}

// No duplicate within the window, whatever was consumed, cleaned away and lost;
// and what is remembered costs the log little.
func TestDedupSurvives(t *testing.T) {
	t.Parallel()
	d := newDeduper(t, 100, time.Minute)
	for i := range 50 {
		if d.send(fmt.Sprint(i)) {
			t.Fatalf("%d is new and was dropped", i)
		}
	}
	held := func(when string) {
		t.Helper()
		for i := range 50 {
			if !d.send(fmt.Sprint(i)) {
				t.Errorf("%s: %d was stored again", when, i)
			}
		}
	}
	held("at once")
	d.clean()
	for _, e := range d.entries {
		if e.Kind != KindDedup && e.Kind != KindStart && e.Kind != KindSettle {
			t.Errorf("the log still has %s", e)
		}
	}
	d.crash()
	held("after a crash")
	d.clean()

	// A checkpoint that is captured while messages come.
	c := d.m.BeginCheckpoint()
	d.send("during")
	parts, _ := c.Next(1 << 30)
	d.send("after")
	d.crashAfterCheckpoint(c, parts)
	held("after a checkpoint")
	if !d.send("during") || !d.send("after") {
		t.Error("what came while the checkpoint was made was stored again")
	}

	d.now = d.now.Add(time.Minute)
	d.step(Command{Op: Note, Session: 1})
	if bytes, live := d.m.Bytes(), d.m.Live().Count(); bytes != queueBytes || live != 0 {
		t.Errorf("when the window is over, %d octets and %d entries are held, want the queue alone", bytes, live)
	}
	if d.send("0") {
		t.Error("an id was remembered for longer than its window")
	}
	d.crash()
	if !d.send("0") {
		t.Error("an id was forgotten that was seen again")
	}
}

func TestDedupCount(t *testing.T) {
	t.Parallel()
	d := newDeduper(t, 3, time.Hour)
	for _, id := range []string{"a", "b", "c", "d"} {
		d.send(id)
	}
	d.clean()
	d.crash()
	if !d.send("b") || !d.send("d") {
		t.Error("one of the newest three was forgotten")
	}
	if d.send("a") {
		t.Error("the fourth is remembered")
	}
	if d.send("b") {
		t.Error("b is remembered, though three came after it")
	}
}

// A machine whose log remembers more of an id than it did forgets only the old
// sighting.
func TestDedupSeenAgain(t *testing.T) {
	t.Parallel()
	d := newDeduper(t, 2, time.Hour)
	for _, id := range []string{"a", "b", "c", "a"} {
		d.send(id)
	}
	d.opts = remembers(t, 4, time.Hour)
	d.crash()
	if d.send("e") || !d.send("a") {
		t.Error("the newer sighting was forgotten with the older one")
	}
}

// The log has a message and its id, or neither; what follows stands alone.
func TestDedupIsJoined(t *testing.T) {
	t.Parallel()
	d := newDeduper(t, 3, time.Hour)
	msg := newMessage("m", true)
	msg.Props = &Props{Priority: DefaultPriority, DedupID: "a"}
	out := d.step(Command{Op: Send, Session: 1, Destination: Queue("other"), Message: msg})
	if n := len(out.Entries); n != 2 || out.Entries[0].Joined || !out.Entries[1].Joined {
		t.Errorf("got %+v, want a message and its id, joined", out.Entries)
	}
	out = d.step(Command{Op: Send, Session: 1, Destination: Queue("other"), Message: newMessage("m", true)})
	if out.Entries[0].Joined {
		t.Error("the next message is joined to them")
	}
}

// Who takes over goes by its own clock, and what it was told before is as old as the other's clock says: neither is an id
// forgotten early, nor kept for much longer, if one of the clocks is wrong.
func TestDedupByAnotherClock(t *testing.T) {
	t.Parallel()
	const window = 10 * time.Minute
	for _, wrong := range []time.Duration{0, 15 * time.Minute, 48 * time.Hour, -15 * time.Minute, -48 * time.Hour} {
		t.Run(wrong.String(), func(t *testing.T) {
			t.Parallel()
			d := newDeduper(t, 1000, window)
			standby := New(d.opts)
			told := 0
			tell := func() {
				for ; told < len(d.entries); told++ {
					if err := standby.Replay(d.entries[told]); err != nil {
						t.Fatal(err)
					}
				}
				standby.Forget(d.now.Add(wrong))
			}
			d.send("older")
			tell()
			d.now = d.now.Add(window / 2)
			d.send("a")
			tell()
			d.now = d.now.Add(window / 4)
			tell()
			d.m, d.now = standby, d.now.Add(wrong)
			d.step(Command{Op: Start})
			if !d.send("a") || !d.send("older") {
				t.Error("an id was forgotten early")
			}
			d.now = d.now.Add(window / 2)
			if d.send("older") || !d.send("a") {
				t.Error("an id was kept for too long, or another forgotten early")
			}
			d.now = d.now.Add(window)
			if d.send("a") {
				t.Error("an id was kept for too long")
			}
		})
	}
}
