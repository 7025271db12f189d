package destinations

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"baton/destinations/selector"

	"pgregory.net/rapid"
)

// TestSpillProperty publishes for subscribers that take at any speed, of topics
// that spill, with a disk that is cleaned, checkpoints, and restarts. Each
// subscriber gets exactly what was published for it, in order, from memory and from
// the disk; what it refuses is a dead letter; and no producer is ever refused.
func TestSpillProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newSpiller(t)
		for range oneOf(s.program, "commands", []int{20, 60, 150}) {
			s.command()
			s.check()
		}
		s.finish()
	})
}

// A spiller knows what each subscriber of its topics is to get, and what it has
// refused.
type spiller struct {
	*program
	subscribers map[uint64]*spillReader
	sessions    uint64
	asked       []*Examination
	refused     map[string]bool
}

// A spillReader is one subscription, on a session of its own.
type spillReader struct {
	*subscriber
	sources []Pattern
	tagged  []string // bodies by given
}

func newSpiller(t *rapid.T) *spiller {
	s := &spiller{program: &program{t: t, now: scriptTime}, subscribers: map[uint64]*spillReader{}, refused: map[string]bool{}}
	s.opts = Options{
		Fields:        bodyFields,
		MemoryBytes:   oneOf(s.program, "memory", []int64{1 << 20, 12_000}),
		MaxDeliveries: 1,
		Pending: Pending{
			Policy: Spill, Messages: 1 + s.pick("pending", 4), Bytes: oneOf(s.program, "pending bytes", []int64{1 << 20, 500}),
		},
	}
	s.m, s.standby, s.disk = New(s.opts), New(s.opts), newDisk(s.program)
	s.step(Command{Op: Start})
	return s
}

func (s *spiller) command() {
	switch s.pick("command", 12) {
	case 0, 1, 2, 3, 4:
		s.publish()
	case 5:
		if len(s.subscribers) < 4 {
			s.subscribe()
		}
	case 6, 7, 8, 9:
		if r := s.any(); r != nil {
			s.answerOne(r)
		}
	case 10:
		s.bring()
	case 11:
		s.end()
	}
}

func (s *spiller) any() *spillReader {
	ids := slices.Sorted(maps.Keys(s.subscribers))
	if len(ids) == 0 {
		return nil
	}
	return s.subscribers[ids[s.pick("who", len(ids))]]
}

func (s *spiller) step(c Command) {
	var out Effects
	s.now = s.now.Add(time.Millisecond)
	if err := s.m.Step(s.now, &c, &out); err != nil {
		s.t.Fatalf("%+v: %v", c, err)
	}
	s.log(out.Entries)
	if out.Dropped > 0 {
		s.t.Fatalf("%+v loses %d copies", c, out.Dropped)
	}
	for _, o := range out.Outputs {
		switch o.Kind {
		case Examine:
			s.asked = append(s.asked, o.Examination)
		case Deliver:
			if o.After > 0 && !out.Sync {
				s.t.Fatalf("a delivery waits for entry %d, and nobody asks for that to be durable", o.After)
			}
			s.receive(o)
		}
	}
}

var spillTopics = []Destination{Topic("news.a"), Topic("news.b")}

// publish sends some messages, in a transaction or not, each to one or several
// topics.
func (s *spiller) publish() {
	var sends []Outgoing
	for range 1 + s.pick("sends", 4) {
		s.sent++
		body := fmt.Sprintf("m%d,color:%s,%s", s.sent, oneOf(s.program, "color", []string{"red", "blue"}), strings.Repeat("_", 100*s.pick("size", 4)))
		o := Outgoing{Message: newMessage(body, s.pick("persistent", 2) == 0)}
		to := spillTopics[s.pick("topic", 2):]
		o.Destination, o.Also = to[0], to[1:]
		sends = append(sends, o)
		for _, d := range to {
			s.expect(bodyText(o.Message), d)
		}
	}
	if s.pick("transaction", 3) == 0 {
		s.step(Command{Op: Commit, Session: 99, More: &More{Tx: "t", Sends: sends}})
		return
	}
	for _, o := range sends {
		s.step(Command{Op: Send, Session: 99, Destination: o.Destination, More: &More{Also: o.Also}, Message: o.Message})
	}
}

// expect notes who is to get a message. Who hears both topics gets it from each.
func (s *spiller) expect(body string, topic Destination) {
	for _, r := range s.subscribers {
		hears := slices.ContainsFunc(r.sources, func(p Pattern) bool { return p.Matches(topic) })
		if hears && (r.selects == nil || r.selects.Matches(bodied(body))) {
			r.want = append(r.want, topic.Name+" "+body)
		}
	}
}

func (s *spiller) subscribe() {
	s.sessions++
	r := &spillReader{subscriber: &subscriber{session: s.sessions}}
	r.sources = oneOf(s.program, "sources", [][]Pattern{{{spillTopics[0]}}, {{spillTopics[1]}}, {{Topic("news.>")}}, {{spillTopics[0]}, {Topic("*.b")}}})
	if s.pick("selects", 3) == 0 {
		r.selects, _ = selector.Parse("color = 'red'")
	}
	s.subscribers[r.session] = r
	c := Command{Op: Subscribe, Session: r.session, Subscription: "s", Consumer: &Consumer{
		Ack: AckIndividual, Prefetch: 1 + s.pick("prefetch", 3), Selector: r.selects, ByMessageID: true,
	}}
	if c.saying().Sources = r.sources; len(r.sources) == 1 && !r.sources[0].Wild() {
		c.Destination, c.saying().Sources = r.sources[0].named, nil
	}
	s.step(c)
}

// read is the message of an entry that the disk must have.
func (s *spiller) read(seq uint64) *Message {
	i := slices.IndexFunc(s.disk.entries, func(e Entry) bool { return e.Seq == seq })
	if i < 0 {
		s.t.Fatalf("the disk has not kept entry %d", seq)
	}
	msg, err := s.disk.entries[i].Message()
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	return msg
}

// receive checks that a subscriber gets what it is to get next.
func (s *spiller) receive(o Output) {
	r, d := s.subscribers[o.Session], o.Delivery
	msg := d.Message
	if msg == nil {
		msg = s.read(d.Content)
		if o.After != d.Content {
			s.t.Fatalf("a delivery of entry %d waits for %d", d.Content, o.After)
		}
	}
	topic := d.Destination.Name
	if msg.Topic() != "" {
		topic = msg.Topic()
	}
	got := topic + " " + bodyText(msg)
	if len(r.want) == 0 || r.want[0] != got || !d.Copy {
		s.t.Fatalf("subscriber %d gets %q, want %q", r.session, got, r.want)
	}
	r.want = r.want[1:]
	r.given, r.tagged = append(r.given, d.Tag), append(r.tagged, bodyText(msg))
}

// answerOne acknowledges or refuses the oldest delivery of r, perhaps in a
// transaction.
func (s *spiller) answerOne(r *spillReader) {
	if len(r.given) == 0 {
		return
	}
	c := Command{Op: Ack, Session: r.session, Delivery: DeliveryID{Sub: 1, Tag: r.given[0]}}
	if s.pick("refuse", 6) == 0 {
		c.Op = Nack
		s.refused[r.tagged[0]] = true
	}
	r.given, r.tagged = r.given[1:], r.tagged[1:]
	if s.pick("transaction", 4) == 0 {
		c.saying().Tx = "t"
		s.step(c)
		c = Command{Op: Commit, Session: r.session, More: &More{Tx: "t"}}
	}
	s.step(c)
}

// bring answers what was asked for longest, or does not for now.
func (s *spiller) bring() {
	if len(s.asked) == 0 {
		return
	}
	e := s.asked[0]
	s.asked = s.asked[1:]
	if s.pick("brought", 3) > 0 {
		e.Messages = []*Message{s.read(e.Contents[0])}
	}
	s.step(Command{Op: Examined, More: &More{Examination: e}})
}

// end ends a subscription, or the broker. What that has asked for by then, and with it
// a dead letter, is not there any more.
func (s *spiller) end() {
	r := s.any()
	switch how := s.pick("end", 6); {
	case how == 0:
		for len(s.asked) > 0 {
			s.bring()
		}
		s.m = s.disk.successor(s.pick("failover", 3), s.standby)
		s.disk.taking = nil
		s.standby = replayed(s.t, s.opts, s.entries)
		clear(s.subscribers)
		s.step(Command{Op: Start})
	case how < 3 && r != nil:
		delete(s.subscribers, r.session)
		s.step(oneOf(s.program, "how", []Command{
			{Op: Unsubscribe, Session: r.session, Subscription: "s"}, {Op: Disconnect, Session: r.session}, {Op: Disconnect, Session: r.session, Clean: true},
		}))
	}
}

// check checks that memory is bounded, and that the disk keeps what it must.
func (s *spiller) check() {
	s.checkSpilled()
	if s.m.bytes > s.opts.MemoryBytes {
		s.t.Fatalf("%d octets are in memory", s.m.bytes)
	}
	for _, r := range s.subscribers {
		q := s.m.sessions[r.session].named("s").copies
		var messages int
		var bytes int64
		q.each(func(at ref) bool {
			if at.slot().msg != nil && at.slot().state == slotReady {
				messages++
				bytes += int64(at.slot().size)
			}
			return true
		})
		if p := s.opts.Pending; messages > p.Messages || messages > 1 && bytes > p.Bytes {
			s.t.Fatalf("for subscriber %d, %d messages of %d octets wait in memory", r.session, messages, bytes)
		}
	}
}

// finish lets everybody have everything: then nothing is left but dead letters, and
// when they are consumed, the disk is given back.
func (s *spiller) finish() {
	for _, id := range slices.Sorted(maps.Keys(s.subscribers)) {
		r := s.subscribers[id]
		for len(r.given) > 0 {
			s.answerOne(r)
		}
		if len(r.want) > 0 {
			s.t.Fatalf("subscriber %d never gets %q", r.session, r.want)
		}
	}
	for id := range s.sessions {
		s.step(Command{Op: Disconnect, Session: id + 1})
	}
	for len(s.asked) > 0 {
		s.bring()
	}
	if n := s.m.spilled.entries(); n > 0 || len(s.m.buried)+len(s.m.burials) > 0 {
		s.t.Fatalf("%d entries are kept for nobody, and %v, %v", n, s.m.buried, s.m.burials)
	}
	s.consumeDead()
	if len(s.m.queues)+len(s.m.topics)+len(s.m.sessions) > 0 || s.m.bytes != 0 || s.m.Oldest() != s.m.Last()+1 {
		s.t.Fatalf("left: %+v, oldest %d of %d", s.m.Stats(), s.m.Oldest(), s.m.Last())
	}
	s.disk.empty()
}

// consumeDead checks that the dead letters are what was refused.
func (s *spiller) consumeDead() {
	for _, topic := range spillTopics {
		name := "DLQ." + topic.Name
		q := s.m.queues[name]
		if q == nil {
			continue
		}
		q.each(func(at ref) bool {
			msg, dead := at.slot().msg, at.deadLetter()
			if msg == nil {
				msg = s.read(at.content())
			}
			if delete(s.refused, bodyText(msg)); dead.Destination != topic {
				s.t.Fatalf("%q was on %s, and %s says %s", bodyText(msg), topic, name, dead.Destination)
			}
			return true
		})
		var out Effects
		run := func(c Command) {
			if err := s.m.Step(s.now, &c, &out); err != nil {
				s.t.Fatalf("%v", err)
			}
		}
		run(Command{Op: Subscribe, Session: 1000, Subscription: "dead", Destination: Queue(name), Consumer: &Consumer{Ack: AckClient, Prefetch: 10_000}})
		run(Command{Op: Ack, Session: 1000, Delivery: DeliveryID{Sub: 1, Tag: uint64(len(out.Outputs))}})
		run(Command{Op: Disconnect, Session: 1000, Clean: true})
		s.log(out.Entries)
	}
	if len(s.refused) > 0 {
		s.t.Fatalf("there are no dead letters of %v", s.refused)
	}
}

// checkSpilled counts anew who has spilled copies.
func (p *program) checkSpilled() {
	want, octets := map[uint64]int{}, int64(0)
	for _, ses := range p.m.sessions {
		for _, s := range slices.Concat(ses.subs, ses.leaving) {
			if s.copies == nil {
				continue
			}
			holds := func(seq uint64, size uint32) {
				if want[seq]++; want[seq] == 1 {
					octets += int64(size)
				}
			}
			s.copies.each(func(at ref) bool {
				if seq := at.logged(); seq != 0 {
					holds(seq, at.slot().size)
				}
				return true
			})
			if r := s.copies.reader; r != nil {
				for _, a := range r.asked {
					holds(a.content, a.size)
				}
			}
		}
	}
	for seq, b := range p.m.burials {
		if want[seq]++; want[seq] == 1 {
			octets += b.size
		}
	}
	var got int64
	for _, s := range p.m.spilled.stretches {
		got += s.bytes
		s.each(func(offset uint16) {
			seq, more := s.number<<stretchBits+uint64(offset), 0
			if i, ok := s.findShare(offset); ok {
				more = int(s.shares[i].more)
			}
			if want[seq] != 1+more {
				p.t.Fatalf("%d subscribers have spilled %d, and %d are counted", want[seq], seq, 1+more)
			}
			if !p.disk.there[seq] {
				p.t.Fatalf("the disk has not kept %d, which was spilled", seq)
			}
			delete(want, seq)
		})
	}
	if len(want) > 0 || got != octets {
		p.t.Fatalf("the log need not keep %v that were spilled; %d octets are counted, and there are %d", want, got, octets)
	}
}

// spillRig has a subscriber of /topic/t with one delivery, and one copy that waits
// in memory: what comes next is spilled.
func spillRig(t *testing.T, o Options) *rig {
	t.Helper()
	o.Pending = Pending{Messages: 1, Policy: Spill}
	r := newRig(t, o)
	r.subscribe(1, Topic("t"), Consumer{Ack: AckClient, Prefetch: 1})
	r.send(Topic("t"), newMessage("one", false))
	r.send(Topic("t"), newMessage("two", false))
	return r
}

// Many copies that wait on disk take little memory each, and nothing when their
// subscription has ended.
func TestSpillMemory(t *testing.T) {
	r := spillRig(t, Options{})
	before := heapBytes()
	const messages = 200_000
	msg := newMessage(strings.Repeat("x", 1000), false)
	for range messages {
		r.send(Topic("t"), msg)
	}
	if each := (heapBytes() - before) / messages; each > 16 {
		t.Errorf("each copy takes %d octets", each)
	}
	r.step(Command{Op: Unsubscribe, Session: 1, Subscription: "s"})
	if r.m.bytes != 0 || r.m.Live().Count() != 0 || r.m.Oldest() != r.m.Last()+1 {
		t.Errorf("%d octets and %d entries are left, from %d of %d on", r.m.bytes, r.m.Live().Count(), r.m.Oldest(), r.m.Last())
	}
}

// Who asks for what the log must keep is told that it has changed, though no entry
// says so.
func TestSpillFreed(t *testing.T) {
	t.Parallel()
	r := spillRig(t, Options{})
	r.send(Topic("t"), newMessage("three", false))
	last, freed := r.m.Last(), r.m.Freed()
	for tag := range uint64(3) {
		r.ack(tag + 1)
	}
	if r.m.Last() != last || r.m.Freed() == freed {
		t.Errorf("after %d entries and %d freed, there are %d and %d", last, freed, r.m.Last(), r.m.Freed())
	}
}

// A dead letter of what was spilled is bound by the limits of its queue.
func TestSpillDeadLetterLimit(t *testing.T) {
	t.Parallel()
	r := spillRig(t, Options{Policies: rules(t, "/queue/>", func(p *Policy) { p.MaxMessages, p.OnFull = 1, FullDropNew })})
	for _, body := range []string{"three", "four"} {
		r.send(Topic("t"), newMessage(body, false))
	}
	r.ack(1)
	r.ack(2)
	for tag := uint64(3); tag <= 4; tag++ {
		r.out.Reset()
		r.step(Command{Op: Nack, Session: 1, Delivery: DeliveryID{Sub: 1, Tag: tag}, More: &More{Refusal: Refusal{Reject: true}}})
		e := r.out.Outputs[0].Examination
		if !r.out.Sync || r.out.Outputs[0].After != e.Contents[0] {
			t.Errorf("%+v does not wait for what it asks for", r.out.Outputs[0])
		}
		e.Messages = []*Message{newMessage("m", true)}
		e.Messages[0].PublishedOn("t")
		r.step(Command{Op: Examined, More: &More{Examination: e}})
	}
	if n := r.m.queues["DLQ.t"].live; n != 1 || r.out.Overflowed != 1 {
		t.Errorf("there are %d dead letters, and %d were too many", n, r.out.Overflowed)
	}
}

// What leaves an archive in a transaction, before a reader has had it, is not
// spilled: the transaction was not asked whether there is room for it.
func TestSpillOfWhatLeavesAnArchive(t *testing.T) {
	t.Parallel()
	for _, whole := range []bool{false, true} {
		r := spillRig(t, Options{Policies: rules(t, "/topic/kept", func(p *Policy) {
			p.Keep.Bytes, p.Pending = 400, Pending{Messages: 1, Bytes: 1000, Policy: Spill, SpillBytes: 1000}
		})})
		for range 5 {
			r.send(Topic("kept"), newMessage("old", true))
		}
		r.subscribe(2, Topic("kept"), Consumer{Ack: AckClient, Prefetch: 1, Retroactive: &Retroactive{}})
		c := Command{Op: Send, Session: 3, Destination: Topic("kept"), Message: newMessage(strings.Repeat("x", 300), true)}
		if whole {
			c = Command{Op: Commit, Session: 3, More: &More{Tx: "t", Sends: []Outgoing{{Destination: c.Destination, Message: c.Message}}}}
		}
		r.step(c)
		spilled, lost := 0, r.out.Dropped
		for _, e := range r.out.Entries {
			if e.Kind == KindSpill {
				spilled++
			}
		}
		if whole && (spilled != 0 || lost == 0) || !whole && (spilled == 0 || lost != 0) {
			t.Errorf("in a transaction %t: %d are spilled and %d lost", whole, spilled, lost)
		}
		copies := 0 // each of another message
		r.m.sessions[2].subs[0].copies.each(func(at ref) bool {
			if at.slot().stored() {
				copies++
			}
			return true
		})
		if copies != spilled {
			t.Errorf("%d copies are of %d messages", copies, spilled)
		}
	}
}

// A transaction counts what may be spilled of it, whether the policy is that of all
// topics or of some.
func TestSpillCountsInTransactions(t *testing.T) {
	t.Parallel()
	pending := Pending{Messages: 1, Bytes: 1 << 20, Policy: Spill, SpillBytes: 1 << 30}
	for name, o := range map[string]Options{
		"all":  {Pending: pending},
		"some": {Policies: rules(t, "/topic/t", func(p *Policy) { p.Pending = pending })},
		"none": {},
	} {
		o.MaxCommitBytes = 10_000
		r := newRig(t, o)
		r.subscribe(1, Topic("t"), Consumer{})
		err := r.m.Step(scriptTime, &Command{Op: Commit, Session: 2, More: &More{Tx: "t", Sends: []Outgoing{
			{Destination: Topic("t"), Message: newMessage(strings.Repeat("x", 5000), false)},
		}}}, &r.out)
		if refused := err != nil && err.(*Error).Code == CodeTransactionTooBig; refused == (name == "none") {
			t.Errorf("%s spill, and the error is %v", name, err)
		}
	}
}

// Dead letters of what was spilled are reported, and reports are none.
func TestSpillReports(t *testing.T) {
	t.Parallel()
	r := spillRig(t, Options{})
	r.subscribe(2, Topic(ReportsPrefix+"x"), Consumer{Ack: AckClient, Prefetch: 1})
	refuse := func(session uint64) {
		for tag := uint64(1); tag <= 2; tag++ {
			r.step(Command{Op: Ack, Session: session, Delivery: DeliveryID{Sub: 1, Tag: tag}})
		}
		r.step(Command{Op: Nack, Session: session, Delivery: DeliveryID{Sub: 1, Tag: 3}, More: &More{Refusal: Refusal{Reject: true}}})
		e := r.out.Outputs[0].Examination
		e.Messages = []*Message{newMessage("m", true)}
		e.Messages[0].PublishedOn(e.Queue.Name)
		r.step(Command{Op: Examined, More: &More{Examination: e}})
	}
	r.send(Topic("t"), newMessage("three", false))
	refuse(1)
	want := func(f Fact) bool {
		return f.Kind == DeadLettered && f.Destination == Topic("t").String() && f.Reason == ReasonRejected && f.Messages == 1
	}
	if !slices.ContainsFunc(r.out.Facts, want) {
		t.Errorf("reported is %+v", r.out.Facts)
	}
	for range 3 {
		r.send(Topic(ReportsPrefix+"x"), newMessage("report", false))
	}
	refuse(2)
	if len(r.out.Entries)+len(r.out.Facts) > 0 || len(r.m.queues) != 1 {
		t.Errorf("of a report there is %v, %+v", r.out.Entries, r.out.Facts)
	}
}
