package destinations

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"baton/destinations/selector"

	"pgregory.net/rapid"
)

// TestArchiveProperty publishes on a topic that keeps messages, lets subscriptions
// come at any time and take at any speed, and restarts. Each gets exactly what
// it asks for, in order and once; and what is kept is what the limits say.
func TestArchiveProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := newArchivist(t)
		for range oneOf(a.program, "commands", []int{20, 60, 150}) {
			a.command()
			a.check()
		}
		a.finish()
	})
}

// An archivist knows what was published on its one topic.
type archivist struct {
	*program
	keep        int
	kept        []string // by the topic, by age
	unstored    map[string]bool
	subscribers []*subscriber
	asked       []*Examination
	lossless    bool // everything is in memory
	lost        int
}

// A subscriber is one subscription, each on a session of its own.
type subscriber struct {
	session uint64
	want    []string // that it is still to get
	selects *selector.Selector
	noLocal bool
	given   []uint64 // tags, not acknowledged
}

func newArchivist(t *rapid.T) *archivist {
	a := &archivist{program: &program{t: t, now: scriptTime}, unstored: map[string]bool{}}
	a.keep = 1 + a.pick("keep", 12)
	a.lossless = a.pick("memory", 2) == 0
	a.opts = Options{
		Fields:      bodyFields,
		MemoryBytes: map[bool]int64{true: 1 << 20, false: 12_000}[a.lossless],
		Policies:    NewPolicies([]Rule{{Match: Pattern{Topic(">")}, Set: func(p *Policy) { p.Keep.Messages = a.keep }}}),
	}
	a.m, a.standby, a.disk = New(a.opts), New(a.opts), newDisk(a.program)
	a.step(Command{Op: Start})
	return a
}

func (a *archivist) command() {
	switch a.pick("command", 10) {
	case 0, 1, 2, 3:
		a.publish()
	case 4:
		a.subscribe()
	case 5, 6, 7:
		if len(a.subscribers) > 0 {
			a.acknowledge(a.subscribers[a.pick("who", len(a.subscribers))])
		}
	case 8:
		a.answer()
	case 9:
		if a.pick("restart", 8) == 0 {
			a.restart()
		}
	}
}

func (a *archivist) step(c Command) error {
	var out Effects
	err := a.m.Step(a.now, &c, &out)
	a.log(out.Entries)
	a.lost += out.Dropped
	for _, o := range out.Outputs {
		switch o.Kind {
		case Examine:
			a.asked = append(a.asked, o.Examination)
		case Deliver:
			a.receive(o)
		}
	}
	return err
}

// publish sends a message; the sender may be a subscriber.
func (a *archivist) publish() {
	a.sent++
	body := fmt.Sprintf("m%d,color:%s,%s", a.sent, oneOf(a.program, "color", []string{"red", "blue"}), strings.Repeat("_", 100*a.pick("size", 4)))
	c := Command{Op: Send, Session: uint64(a.pick("sender", 4)), Destination: Topic("t"), Message: newMessage(body, a.pick("persistent", 3) > 0)}
	body = bodyText(c.Message)
	for _, s := range a.subscribers {
		s.expect(body, c.Session)
	}
	a.kept = append(a.kept, fmt.Sprint(c.Session, " ", body))
	a.unstored[body] = !c.Message.Persistent
	if a.step(c) != nil { // there is no memory
		a.kept = a.kept[:len(a.kept)-1]
		for _, s := range a.subscribers {
			s.want = slices.DeleteFunc(s.want, func(other string) bool { return other == body })
		}
	}
	a.kept = a.kept[max(0, len(a.kept)-a.keep):]
}

func (s *subscriber) expect(body string, sender uint64) {
	if !(s.noLocal && sender == s.session) && (s.selects == nil || s.selects.Matches(bodied(body))) {
		s.want = append(s.want, body)
	}
}

func (a *archivist) subscribe() {
	s := &subscriber{session: uint64(len(a.subscribers)) + 1, noLocal: a.pick("no-local", 3) == 0}
	if a.pick("selects", 3) == 0 {
		s.selects, _ = selector.Parse("color = 'red'")
	}
	last := a.pick("last", 6)
	from := 0
	if last > 0 {
		from = max(0, len(a.kept)-last)
	}
	for _, kept := range a.kept[from:] {
		var sender uint64
		var body string
		fmt.Sscan(kept, &sender, &body)
		s.expect(body, sender)
	}
	a.subscribers = append(a.subscribers, s)
	c := Command{Op: Subscribe, Session: s.session, Subscription: "s", Destination: Topic("t"), Consumer: &Consumer{
		Ack: AckIndividual, Prefetch: 1 + a.pick("prefetch", 4), Selector: s.selects, NoLocal: s.noLocal, Retroactive: &Retroactive{Messages: last},
	}}
	if err := a.step(c); err != nil {
		a.t.Fatalf("%v", err)
	}
}

// receive checks that s gets what it is to get next. What it has lost is left out.
func (a *archivist) receive(o Output) {
	s := a.subscribers[o.Session-1]
	s.given = append(s.given, o.Delivery.Tag)
	msg := o.Delivery.Message
	if msg == nil {
		if seq := o.Delivery.Content; !a.disk.there[seq] || o.After != seq {
			a.t.Fatalf("what is lent is entry %d, after %d, and the disk has not kept it", seq, o.After)
		}
		msg = contents(a.t, a.entries, &Examination{Contents: []uint64{o.Delivery.Content}})[0]
	}
	body := bodyText(msg)
	i := slices.Index(s.want, body)
	if i < 0 || i > 0 && a.lossless {
		a.t.Fatalf("subscriber %d gets %q, and wants %q", s.session, body, s.want)
	}
	a.lost -= i
	s.want = s.want[i+1:]
}

func (a *archivist) acknowledge(s *subscriber) {
	if len(s.given) == 0 {
		return
	}
	i := a.pick("which", len(s.given))
	tag := s.given[i]
	s.given = slices.Delete(s.given, i, i+1)
	if err := a.step(Command{Op: Ack, Session: s.session, Delivery: DeliveryID{Sub: 1, Tag: tag}}); err != nil {
		a.t.Fatalf("%v", err)
	}
}

// answer brings what was asked for, or some of it.
func (a *archivist) answer() {
	if len(a.asked) == 0 {
		return
	}
	e := a.asked[0]
	a.asked = a.asked[1:]
	n := len(e.Contents)
	if a.pick("part", 3) == 0 {
		n = a.pick("answered", n+1)
	}
	e.Messages = contents(a.t, a.entries, e)[:n]
	if err := a.step(Command{Op: Examined, More: &More{Examination: e}}); err != nil {
		a.t.Fatalf("%v", err)
	}
}

// restart forgets who subscribes, and what was not persistent.
func (a *archivist) restart() {
	if a.pick("checkpoint", 2) == 0 {
		a.m = a.disk.replay()
	} else {
		a.m = a.disk.restore()
		defer func() { a.lossless = false }() // contents are only in the log from now on
	}
	a.disk.taking = nil
	a.standby = replayed(a.t, a.opts, a.entries)
	a.subscribers, a.asked, a.lost = nil, nil, 0
	there := a.archived()
	a.kept = slices.DeleteFunc(a.kept, func(kept string) bool {
		_, body, _ := strings.Cut(kept, " ")
		return a.unstored[body] && (a.lossless || !slices.Contains(there, body)) // else it was stored for want of room
	})
	for i, kept := range a.kept {
		_, body, _ := strings.Cut(kept, " ")
		a.kept[i] = "0 " + body
	}
	if err := a.step(Command{Op: Start}); err != nil {
		a.t.Fatalf("%v", err)
	}
}

// archived are the bodies of what is kept.
func (a *archivist) archived() (kept []string) {
	if q := a.m.queues[archivePrefix+"t"]; q != nil {
		q.each(func(at ref) bool {
			msg := at.slot().msg
			if msg == nil {
				i := slices.IndexFunc(a.entries, func(e Entry) bool { return e.Seq == at.content() })
				msg, _ = a.entries[i].Message()
			}
			kept = append(kept, bodyText(msg))
			return true
		})
	}
	return kept
}

// check checks what is kept.
func (a *archivist) check() {
	kept, n := a.archived(), len(a.kept)
	if !a.lossless { // what is not persistent needs room, and gives it
		n = min(n, len(kept))
	}
	a.kept = a.kept[len(a.kept)-n:]
	if len(kept) != n {
		a.t.Fatalf("kept are %q, want %q", kept, a.kept)
	}
	for i, body := range kept {
		if _, want, _ := strings.Cut(a.kept[i], " "); want != body {
			a.t.Fatalf("kept are %q, want %q", kept, a.kept)
		}
	}
}

// finish lets everybody have everything.
func (a *archivist) finish() {
	for busy := true; busy; {
		busy = len(a.asked) > 0
		for len(a.asked) > 0 {
			a.answer()
		}
		for _, s := range a.subscribers {
			for len(s.given) > 0 {
				a.acknowledge(s)
				busy = true
			}
		}
	}
	for _, s := range a.subscribers {
		a.lost -= len(s.want)
		if len(s.want) > 0 && a.lossless {
			a.t.Fatalf("subscriber %d never gets %q", s.session, s.want)
		}
	}
	if a.lost < 0 {
		a.t.Fatalf("%d messages were lost and not counted", -a.lost)
	}
	for _, s := range a.subscribers {
		if err := a.step(Command{Op: Disconnect, Session: s.session}); err != nil {
			a.t.Fatalf("%v", err)
		}
	}
	want := int64(0)
	if q := a.m.queues[archivePrefix+"t"]; q != nil {
		want = queueBytes + q.resident
	}
	if a.m.bytes != want || len(a.m.topics)+len(a.m.sessions) > 0 {
		a.t.Fatalf("left are %d octets, want %d, %d topics, %d sessions", a.m.bytes, want, len(a.m.topics), len(a.m.sessions))
	}
}

// What a durable subscription takes is in the log with it, whole or not at all; and
// without it, after the log has given it back, nothing takes anything.
func TestTakeBelongsToItsDurable(t *testing.T) {
	t.Parallel()
	o := Options{Policies: rules(t, "/topic/t", func(p *Policy) { p.Keep.Messages = 9 })}
	r := newRig(t, o)
	var log []Entry
	r.send(Topic("t"), newMessage("one", true))
	log = append(log, readBack(r.out.Entries[0]))
	r.send(Topic("t"), newMessage("two", true))
	log = append(log, readBack(r.out.Entries[0]))
	r.subscribe(1, Topic("t"), Consumer{Durable: DurableID{"c", "x"}, Retroactive: &Retroactive{}})
	taken := r.out.Entries
	if len(taken) != 3 || taken[0].Joined || !taken[1].Joined || !taken[2].Joined {
		t.Fatalf("logged is %v", taken)
	}
	want := replayed(t, o, log)
	without := replayed(t, o, append(log, readBack(taken[1]), readBack(taken[2])))
	want.last = without.last
	if got, want := describeAll(without), describeAll(want); got != want || len(without.queues) != 1 {
		t.Errorf("without the durable subscription there is\n%s\nwant\n%s", got, want)
	}
}

// What retroactive subscribers have and do not acknowledge is in memory once at
// most: it keeps nobody else from sending.
func TestLoansTakeNoMemory(t *testing.T) {
	t.Parallel()
	for name, persistent := range map[string]func(i int) bool{
		"stored":     func(int) bool { return true },
		"not stored": func(int) bool { return false },
		"both":       func(i int) bool { return i%2 == 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const limit, kept, readers = 1 << 20, 30, 40
			r := newRig(t, Options{MemoryBytes: limit, Policies: rules(t, "/topic/kept", func(p *Policy) { p.Keep.Messages = kept })})
			for i := range kept {
				r.send(Topic("kept"), newMessage(strings.Repeat("x", 10_000), persistent(i)))
			}
			before := r.m.Bytes()
			for session := range uint64(readers) {
				r.subscribe(10+session, Topic("kept"), Consumer{Ack: AckClient, Retroactive: &Retroactive{}})
				if n := len(r.out.Outputs); n != kept {
					t.Fatalf("reader %d gets %d messages, want %d", session, n, kept)
				}
			}
			if more := r.m.Bytes() - before; more > readers*kept*messageOverhead {
				t.Errorf("%d copies take %d octets of memory", readers*kept, more)
			}
			for range kept { // which have them leave the archive
				r.send(Topic("kept"), newMessage(strings.Repeat("y", 10_000), true))
			}
			r.send(Queue("other"), newMessage("m", true))
			for session := range uint64(readers) {
				r.step(Command{Op: Disconnect, Session: 10 + session})
			}
			if n := r.m.spilled.entries(); n != 0 {
				t.Errorf("%d entries are kept for nobody", n)
			}
		})
	}
}

// A reader for whose copies there is no room gets them one by one, and more when
// there is room again.
func TestReaderWaitsForRoom(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MemoryBytes: 40_000, Policies: rules(t, "/topic/kept", func(p *Policy) { p.Keep.Messages = 10 })})
	r.step(Command{Op: Start})
	for range 10 {
		r.send(Topic("kept"), newMessage("kept", true))
	}
	r.subscribe(9, Topic("full"), Consumer{Ack: AckIndividual})
	r.send(Topic("full"), newMessage(strings.Repeat("x", 34_000), false))
	r.subscribe(10, Topic("kept"), Consumer{Ack: AckIndividual, Retroactive: &Retroactive{}})
	if n := len(r.out.Outputs); n != 1 {
		t.Fatalf("without room, %d messages come, want 1", n)
	}
	r.step(Command{Op: Disconnect, Session: 9})
	at, ok := r.m.NextTick()
	if !ok {
		t.Fatal("nothing has the reader look again")
	}
	r.out.Reset()
	if err := r.m.Step(at, &Command{Op: Tick}, &r.out); err != nil || len(r.out.Outputs) != 9 {
		t.Errorf("with room, %d messages come, want 9: %v", len(r.out.Outputs), err)
	}
}

// A kept message that a retroactive subscriber refuses is a dead letter once, though
// only the log has what it says.
func TestLoanIsBuried(t *testing.T) {
	t.Parallel()
	for _, persistent := range []bool{true, false} {
		r := newRig(t, Options{Policies: rules(t, "/topic/kept", func(p *Policy) { p.Keep.Messages = 1 })})
		r.send(Topic("kept"), newMessage("m", persistent))
		var asked *Examination
		for session := range uint64(2) {
			r.subscribe(10+session, Topic("kept"), Consumer{Ack: AckIndividual, Retroactive: &Retroactive{}})
			r.step(Command{Op: Nack, Session: 10 + session, Delivery: DeliveryID{Sub: 1, Tag: 1}, More: &More{Refusal: Refusal{Reject: true}}})
			for _, o := range r.out.Outputs {
				if o.Kind == Examine {
					asked = o.Examination
				}
			}
		}
		if persistent {
			asked.Messages = []*Message{newMessage("m", true)}
			asked.Messages[0].PublishedOn("kept")
			r.step(Command{Op: Examined, More: &More{Examination: asked}})
		}
		q := r.m.queues["DLQ.kept"]
		if q == nil || q.ready != 1 {
			t.Fatalf("persistent %t: there is no dead letter, or several: %+v", persistent, q)
		}
		if body := bodyText(q.first().message()); body != "m" {
			t.Errorf("persistent %t: the dead letter says %q", persistent, body)
		}
	}
}

// What one durable subscription takes when it is made is bounded: everybody else
// waits for that Step.
func TestTakeIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Policies: rules(t, "/topic/kept", func(p *Policy) { p.Keep.Messages = 20_000 })})
	for range 8_000 {
		msg := newMessage("m", true)
		msg.Props = &Props{Priority: DefaultPriority, Group: strings.Repeat("g", MaxPropBytes), Key: strings.Repeat("k", MaxPropBytes)}
		r.send(Topic("kept"), msg)
	}
	c := Command{
		Op: Subscribe, Session: 2, Subscription: "s", Destination: Topic("kept"),
		Consumer: &Consumer{Ack: AckIndividual, Durable: DurableID{Client: "c", Name: "n"}, Retroactive: &Retroactive{}},
	}
	err := r.m.Step(scriptTime, &c, &r.out)
	if err == nil || !strings.Contains(err.Error(), "8388608") {
		t.Fatalf("all that is kept is taken at once: %v", err)
	}
	c.Consumer.Retroactive = &Retroactive{Messages: 5_000}
	r.step(c)
}
