package destinations

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"baton/destinations/selector"

	"pgregory.net/rapid"
)

// TestMixProperty runs random programs that use everything at once: selectors,
// groups, exclusive and wildcard consumers, browsers, durable subscriptions,
// composite destinations, virtual topics, temporary queues, limits,
// deduplication, schedules, priorities and transactions. There is no model of
// it. After each command, what was logged must replay to the same in all ways,
// and nothing may be stuck, lost or with two: see ledger and mix.check.
func TestMixProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, runMix)
}

// FuzzStep gives Step any commands. It must not panic, and what it refuses
// changes nothing.
func FuzzStep(f *testing.F) {
	for seed := range uint64(4) {
		choices := make([]byte, 1<<20) // enough for the longest program
		source := rand.New(rand.NewPCG(seed, 0))
		for i := range choices {
			choices[i] = byte(source.Uint32())
		}
		f.Add(choices)
	}
	f.Fuzz(rapid.MakeFuzz(runMix))
}

func runMix(t *rapid.T) {
	x := newMix(t)
	for range oneOf(x.program, "commands", []int{5, 20, 60, 120}) {
		if x.pick("restart", 60) == 59 {
			x.restart()
			continue
		}
		x.step(x.drawMixed())
	}
	x.drain()
}

const mixSessions = 3

// A mix is a program without a model. It remembers what it was given.
type mix struct {
	*program
	given    []DeliveryID              // to acknowledge, with their sessions
	to       []uint64                  // by given
	durables map[string]bool           // queues that took what topics get when the command came
	views    map[*subscription]*looker // of browsers
	owners   map[string]*subscription  // by queue and group, who had it last; nil: it is not known
}

// A looker is a browser, and what it must see.
type looker struct {
	seen, must map[MessageID]bool
	over       bool
}

func newMix(t *rapid.T) *mix {
	x := &mix{program: &program{t: t, now: scriptTime}, views: map[*subscription]*looker{}, owners: map[string]*subscription{}}
	limit := 1 + x.pick("limit", 4)
	rule := func(name string, set func(*Policy)) Rule { return Rule{Match: Pattern{Queue(name)}, Set: set} }
	redelivery := oneOf(x.program, "redelivery", []time.Duration{0, 0, 5 * time.Millisecond})
	kept := OnFull(x.pick("kept", 5))
	keepOrder := x.pick("keep order", 4) == 0
	rebalance := x.pick("rebalance", 2) == 0
	keep := oneOf(x.program, "keep", []Keep{{}, {Messages: 2}, {Messages: 3, Bytes: 500}, {Age: 20 * time.Millisecond}})
	full := func(what OnFull) func(*Policy) {
		return func(p *Policy) { p.MaxMessages, p.OnFull = limit, what }
	}
	x.opts = Options{
		Prefetch:      1 + x.pick("prefetch", 4),
		MaxDeliveries: 1 + x.pick("max deliveries", 3),
		MemoryBytes:   oneOf(x.program, "memory", []int64{1 << 20, 30_000, 9_000}),
		Pending: Pending{
			Messages: 1 + x.pick("pending", 3), Policy: PendingPolicy(x.pick("policy", 4)),
			SpillBytes: oneOf(x.program, "spill bytes", []int64{1 << 30, 1 << 30, 1000}),
		},
		Fields:      bodyFields,
		gatherAfter: 1 + x.pick("gather after", 4),
		Policies: NewPolicies([]Rule{
			rule(">", func(p *Policy) {
				p.DedupWindow = time.Hour
				p.Redelivery.Delay, p.Redelivery.KeepOrder = redelivery, keepOrder
				p.RebalanceGroups = rebalance
			}),
			rule("oldest", full(FullDropOldest)), rule("new", full(FullDropNew)), rule("reject", full(FullReject)),
			rule("DLQ.q", full(kept)), rule("Consumer.A.VirtualTopic.x", full(kept)),
			rule("Consumer.B.>", func(p *Policy) { p.SelectorAware, p.GCAfter = true, 20*time.Millisecond }),
			{Match: Pattern{Topic(">")}, Set: func(p *Policy) { p.DedupWindow, p.Keep = time.Hour, keep }},
		}),
	}
	x.m, x.standby, x.disk = New(x.opts), New(x.opts), newDisk(x.program)
	x.step(Command{Op: Start})
	return x
}

// step carries out c, and all that follows from it without a client: what is
// due, and what the broker does for the machine.
func (x *mix) step(c Command) {
	x.now = x.now.Add(oneOf(x.program, "pass", []time.Duration{time.Millisecond, time.Millisecond, 10 * time.Millisecond}))
	x.tick()
	x.carryOut(c)
	x.tick()
	x.check()
}

func (x *mix) tick() { tickAll(x.m, x.now, x.carryOut) }

func (x *mix) carryOut(c Command) {
	var out Effects
	before := x.ledger()
	x.durables = map[string]bool{}
	for name, q := range x.m.queues {
		x.durables[name] = q.durable != nil
	}
	was := x.everything()
	out.Continues = x.pick("continues", 2) == 0
	refused := x.m.Step(x.now, &c, &out)
	x.m.Finish(&out)
	if refused != nil {
		if got := x.everything(); got != was || len(out.Entries)+len(out.Outputs) > 0 {
			x.t.Fatalf("%+v is refused, %v, and changes\n%s\ninto\n%s\nwith %+v", c, refused, was, got, out)
		}
		return
	}
	x.log(out.Entries)
	x.audit(c, before, x.ledger(), &out)
	if c.Op == Subscribe && c.consumer().Browse {
		x.look(c)
	}
	var then []Command
	for _, o := range out.Outputs {
		switch o.Kind {
		case Deliver:
			x.receive(o)
		case Browsed:
			x.browsed(o)
		case Evict:
			then = append(then, Command{Op: Disconnect, Session: o.Session})
		case Examine:
			then = append(then, x.answer(o.Examination))
		}
	}
	for _, c := range then {
		x.carryOut(c)
	}
}

// answer reads the log, as a broker does.
func (x *mix) answer(e *Examination) Command {
	if e.Selector == nil {
		e.Messages = contents(x.t, x.entries, e)
	} else {
		e.Matches = matches(x.t, x.entries, e)
	}
	return Command{Op: Examined, More: &More{Examination: e}}
}

// body is that of a message in a queue, also when only the log has it.
func (x *mix) body(at ref) string {
	if msg := at.message(); msg != nil && msg.Content != nil {
		return bodyText(msg)
	}
	return x.bodyAt(at.content())
}

func (x *mix) bodyAt(seq uint64) string {
	i, ok := slices.BinarySearchFunc(x.entries, seq, func(e Entry, seq uint64) int { return int(e.Seq) - int(seq) })
	if !ok {
		x.t.Fatalf("there is no entry %d", seq)
	}
	msg, err := x.entries[i].Message()
	if err != nil {
		x.t.Fatalf("%v", err)
	}
	return bodyText(msg)
}

// everything is what a refused command must leave as it is.
func (x *mix) everything() string {
	var b strings.Builder
	b.WriteString(describeAll(x.m))
	fmt.Fprintf(&b, "bytes=%d unstored=%d topics=%d viewed=%d timers=%d\n", x.m.bytes, x.m.unstored, len(x.m.topics), x.m.viewed, x.m.timers.Len())
	for id := range uint64(mixSessions + 1) {
		ses := x.m.sessions[id]
		if ses == nil {
			continue
		}
		fmt.Fprintf(&b, "session %d: %d subs, %d leaving, %d tx, %d temporary\n", id, len(ses.subs), len(ses.leaving), len(ses.transactions), len(ses.temporary))
		for _, s := range ses.subs {
			fmt.Fprintf(&b, "sub %d out=%d,%d last=%d sources=%d\n", s.number, s.out, s.outBytes, s.flights.last(), len(s.sources))
			s.flights.each(0, s.flights.last(), func(tag uint64, fl *flight) { fmt.Fprintf(&b, " %d=%t", tag, fl.tx != nil) })
		}
	}
	for _, name := range x.names() {
		x.m.queues[name].each(func(at ref) bool {
			fmt.Fprintf(&b, "%q %v %d\n", name, placeOf(at), at.slot().state)
			return true
		})
	}
	return b.String()
}

func (x *mix) names() (names []string) {
	for name := range x.m.queues {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// A spot is one message of one queue.
type spot struct {
	queue string
	place place
}

// A holding is what a queue has there.
type holding struct {
	body  string
	state slotState
	group string
	with  uint64 // session that has it, if it is in flight
}

// copies is the queue in a ledger of what subscribers of topics have in flight.
const copies = "\x01"

// ledger lists all messages of all queues. Each that is in flight is with exactly
// one subscription.
func (x *mix) ledger() map[spot]holding {
	all := map[spot]holding{}
	for name, q := range x.m.queues {
		if q.archive != nil {
			continue // see TestArchiveProperty
		}
		q.each(func(at ref) bool {
			all[spot{name, placeOf(at)}] = holding{body: x.body(at), state: at.slot().state, group: at.group()}
			return true
		})
	}
	flying, copied := map[spot]bool{}, map[spot]holding{}
	for id, ses := range x.m.sessions {
		for _, s := range slices.Concat(ses.subs, ses.leaving) {
			s.flights.each(0, s.flights.last(), func(tag uint64, fl *flight) {
				if fl.queue.browser != nil {
					return
				}
				if fl.queue == s.copies {
					copied[spot{copies, placeOf(fl.at)}] = holding{body: x.body(fl.at), state: slotFlying}
					return
				}
				k := spot{fl.queue.destination.Name, placeOf(fl.at)}
				h, there := all[k]
				if !there || h.state != slotFlying || flying[k] {
					x.t.Fatalf("delivery %d of subscription %d of session %d is of %v: there=%t, state %d, with another=%t",
						tag, s.number, id, k, there, h.state, flying[k])
				}
				flying[k] = true
				h.with = id
				all[k] = h
			})
		}
	}
	for k, h := range all {
		if h.state == slotFlying && !flying[k] {
			x.t.Fatalf("%v is in flight and with nobody", k)
		}
	}
	maps.Copy(all, copied)
	return all
}

// audit explains what came into queues and what went out of them.
func (x *mix) audit(c Command, before, after map[spot]holding, out *Effects) {
	allowed := out.Expired + out.Overflowed + out.Unclaimed
	for k, h := range before {
		if _, there := after[k]; there || k.queue == copies || x.mayGo(c, k, h, after) {
			continue
		}
		if allowed--; allowed < 0 {
			x.t.Fatalf("%+v loses %q of %q, with %+v", c, h.body, k.queue, out)
		}
	}
	wanted := x.sends(c)
	for k, h := range after {
		if _, there := before[k]; there || k.queue == copies {
			continue
		}
		to := wanted[h.body]
		i := slices.Index(to, k.queue)
		if i >= 0 {
			wanted[h.body] = slices.Delete(to, i, i+1)
		} else if !x.mayCome(c, k, h, before) {
			x.t.Fatalf("%+v puts %q into %q, where it was not sent: %q", c, h.body, k.queue, to)
		}
	}
	missing := 0
	for _, to := range wanted {
		missing += len(to)
	}
	if most := out.Overflowed + out.Unclaimed + 8*out.Duplicates; missing > most {
		x.t.Fatalf("%+v puts the message not into %q, with %+v", c, wanted, out)
	}
	x.checkOrder(before, after)
	if c.Op == Subscribe && c.consumer().Browse && !maps.Equal(before, after) {
		x.t.Fatalf("a browser changes %v into %v", before, after)
	}
}

// mayGo says that c takes a message away for good, or elsewhere.
func (x *mix) mayGo(c Command, k spot, h holding, after map[spot]holding) bool {
	_, hidden := durableID(Queue(k.queue))
	mine := h.state == slotFlying && h.with == c.Session
	switch {
	case mine && (c.Op == Ack || c.Op == Commit || c.Op == Sent):
		return true
	case hidden && (c.Op == Unsubscribe && c.Delete || c.Op == Subscribe && c.consumer().Durable != DurableID{}):
		return true
	case hidden && c.Op == Examined: // it had taken it, before it knew what is in it
		sel := x.m.queues[k.queue].durable.selects
		return sel != nil && !x.selects(sel, h.body)
	case strings.HasPrefix(k.queue, schedulePrefix) && c.Op == Tick || strings.HasPrefix(k.queue, schedulePrefix) && c.Op == Examined:
		return true
	case hidden && c.Op == Tick && x.m.queues[k.queue] == nil: // its lease is over
		return true
	case c.Op == Start:
		return true
	case h.state == slotFlying && (mine && (c.Op == Nack || c.Op == Disconnect) || c.Op == Tick):
		return x.elsewhere(h, after, "DLQ.")
	case c.Op == Cancel:
		id := MessageID{Seq: x.m.start, N: k.place.n}
		if k.place.n == 0 {
			id.Seq = k.place.seq
		}
		return k.place.priority == levelWaiting && c.Delivery.ID == id
	case k.place.priority == levelWaiting && c.Op == Tick:
		return x.elsewhere(h, after, k.queue)
	}
	return false
}

// elsewhere says that a message is in a queue whose name begins so.
func (x *mix) elsewhere(h holding, all map[spot]holding, prefix string) bool {
	for k, other := range all {
		if other.body == h.body && strings.HasPrefix(k.queue, prefix) {
			return true
		}
	}
	return false
}

// mayCome says that a message comes from elsewhere in the machine: as a dead
// letter, or because it waited for its time.
func (x *mix) mayCome(c Command, k spot, h holding, before map[spot]holding) bool {
	if _, hidden := durableID(Queue(k.queue)); hidden && c.Op == Subscribe && c.consumer().Retroactive != nil {
		return true
	}
	if e := c.saying().Examination; e != nil && e.burial != 0 && x.bodyAt(e.burial) == h.body {
		return true
	}
	for other, was := range before {
		if was.body != h.body {
			continue
		}
		if strings.HasPrefix(k.queue, "DLQ.") && was.state == slotFlying {
			return true
		}
		if other.place.priority == levelWaiting && (c.Op == Tick || c.Op == Examined) {
			return true
		}
	}
	return false
}

// sends are, by body, the queues that must get what c sends: those that it names,
// and what is durable on its topics, each once. One that waits for its time is in
// its first destination, or the queue of that topic's schedule.
func (x *mix) sends(c Command) map[string][]string {
	wanted := map[string][]string{}
	list := c.saying().Sends
	if c.Op == Send {
		list = []Outgoing{c.outgoing()}
	} else if c.Op != Commit {
		return nil
	}
	for _, o := range list {
		body := bodyText(o.Message)
		var to []string
		add := func(name string) {
			if !slices.Contains(to, name) {
				to = append(to, name)
			}
		}
		waits := o.Message.level() == levelWaiting
		for i := range o.parts() {
			if _, virtual := virtualTopicOf(o.part(i).Name); virtual && !o.part(i).Topic {
				x.durables[o.part(i).Name] = true
			}
		}
		for i := range o.parts() {
			switch d := o.part(i); {
			case d.Temporary() && x.m.queues[d.Name] == nil:
			case !d.Topic:
				add(d.Name)
			case waits:
				add(schedulePrefix + d.Name)
			default:
				for name, q := range x.m.queues {
					if x.durables[name] && q.durable.pattern().Matches(d) && q.durable.takes(c.saying().Client) && x.selects(q.durable.selects, body) && x.wanted(q, body) {
						add(name)
					}
				}
			}
		}
		wanted[body] = to
	}
	return wanted
}

func (x *mix) selects(sel *selector.Selector, body string) bool {
	return sel == nil || sel.Matches(bodied(body))
}

// checkOrder checks that nothing was given out before an older message of its
// group. Of a group that is closed now and then, each closing begins another.
func (x *mix) checkOrder(before, after map[spot]holding) {
	for k, h := range after {
		if h.state != slotFlying || h.group == "" || h.group == "closing" || before[k].state == slotFlying {
			continue
		}
		for other, waits := range after {
			passed := other.queue == k.queue && waits.group == h.group && other.place.priority == k.place.priority && other.place.compare(k.place) < 0
			if passed && (waits.state == slotReady || waits.state == slotHeld) {
				x.t.Fatalf("%q of group %s passes %q of %q", h.body, h.group, waits.body, k.queue)
			}
		}
	}
}

// wanted says that one of the consumers selects a message, where that matters.
func (x *mix) wanted(q *queue, body string) bool {
	is := func(src *source) bool { return src != nil && x.selects(src.sub.consumer.Selector, body) }
	return !q.policy.SelectorAware || q.members.empty() || slices.ContainsFunc(q.members.places, is)
}

// receive checks that a delivery is for who gets it.
func (x *mix) receive(o Output) {
	s := x.m.sessions[o.Session].numbered(o.Delivery.Sub)
	d, body := o.Delivery, ""
	if d.Message != nil && d.Message.Content != nil {
		body = bodyText(d.Message)
	} else {
		body = x.bodyAt(d.Content)
	}
	if s == nil {
		return // it was evicted by the same command
	}
	if !x.selects(s.consumer.Selector, body) {
		x.t.Fatalf("%q goes to a consumer that wants %s", body, s.consumer.Selector)
	}
	if s.consumer.Browse {
		b := x.views[s]
		if b.seen[d.ID] || b.over {
			x.t.Fatalf("a browser sees %q again, or after its end", body)
		}
		b.seen[d.ID] = true
	}
	if fl := s.flights.get(d.Tag); fl != nil && fl.queue != s.copies {
		x.checkMarker(s, fl, d)
	}
	x.given = append(x.given, DeliveryID{Sub: d.Sub, Tag: d.Tag})
	x.to = append(x.to, o.Session)
}

// checkMarker checks that who takes a group over from another one is told so.
func (x *mix) checkMarker(s *subscription, fl *flight, d Delivery) {
	g := fl.at.group()
	if g == "" || g == "closing" || x.owners == nil {
		return
	}
	key := fl.queue.destination.Name + " " + g
	if x.owners[key] != s && !d.GroupFirst {
		x.t.Fatalf("subscription %d of session %d is not told that group %s is its own now", s.number, s.session.id, g)
	}
	x.owners[key] = s
}

// look notes what a browser must see: all that matches and stays.
func (x *mix) look(c Command) {
	b := &looker{seen: map[MessageID]bool{}, must: map[MessageID]bool{}}
	x.views[x.m.sessions[c.Session].named(c.Subscription)] = b
	x.eachShown(c.Destination, func(at ref) {
		b.must[x.m.id(at.slot())] = x.selects(c.consumer().Selector, x.body(at))
	})
}

// eachShown calls fn for each message of a queue that a browser is shown.
func (x *mix) eachShown(d Destination, fn func(at ref)) {
	q := x.m.queues[d.Name]
	if q == nil {
		return
	}
	q.each(func(at ref) bool {
		if at.c.priority != levelWaiting && x.m.shows(at) {
			fn(at)
		}
		return true
	})
}

func (x *mix) browsed(o Output) {
	b := x.views[x.m.sessions[o.Session].numbered(o.Delivery.Sub)]
	if b.over {
		x.t.Fatalf("a browser ends twice")
	}
	b.over = true
	x.eachShown(o.Delivery.Destination, func(at ref) {
		if id := x.m.id(at.slot()); b.must[id] && !b.seen[id] {
			x.t.Fatalf("a browser does not see %q", x.body(at))
		}
	})
}

// check looks for what is stuck, and for a group with two owners.
func (x *mix) check() {
	for _, name := range x.names() {
		q := x.m.queues[name]
		if q.owner != 0 && x.m.sessions[q.owner] == nil {
			x.t.Fatalf("%s is there without its owner", q.destination)
		}
		q.each(func(at ref) bool {
			if at.c.priority != levelWaiting {
				x.checkMoves(q, at)
			}
			return true
		})
		x.checkOwners(q)
	}
	x.checkMemory()
	x.checkReaders()
	if len(x.m.touched) > 0 {
		x.t.Fatalf("%d queues were not dispatched", len(x.m.touched))
	}
}

// checkMemory counts anew what the machine and each queue count as they go.
func (x *mix) checkMemory() {
	var want int64
	held, aside := map[*Message]uint16{}, 0
	for _, q := range x.m.queues {
		q.each(func(at ref) bool {
			if at.slot().state == slotAside {
				aside++
			}
			return true
		})
		want += q.baseBytes() + x.countQueue(q, held)
		lingers := q.unused > 0 && q.unused+q.unusedFor() > x.m.millis
		if q.live == 0 && q.members.empty() && q.consumers == 0 && q.durable == nil && q.owner == 0 && !lingers {
			x.t.Fatalf("%s is there for nothing", q.destination)
		}
	}
	for _, ses := range x.m.sessions {
		for _, s := range slices.Concat(ses.subs, ses.leaving) {
			if s.copies != nil {
				want += x.countQueue(s.copies, held)
			}
		}
	}
	for msg, refs := range held {
		want += msg.memory()
		if msg.refs != refs {
			x.t.Fatalf("%q is in %d backlogs and knows of %d", bodyText(msg), refs, msg.refs)
		}
	}
	for o := range x.m.buried {
		if o.msg != nil && held[o.msg] == 0 || o.msg == nil && !x.m.spilled.has(o.spilled) {
			x.t.Fatalf("%+v has gone and is still known as a dead letter", o)
		}
	}
	x.checkSpilled()
	for _, w := range x.m.windows {
		for i := range w.sightings.len() {
			want += w.sightings.at(i).size()
		}
	}
	if aside != x.m.aside {
		x.t.Fatalf("%d messages are counted as set aside, and %d are", x.m.aside, aside)
	}
	if want != x.m.bytes {
		x.t.Fatalf("%d octets are counted, and there are %d", x.m.bytes, want)
	}
}

// countQueue returns what is counted for q beside itself and the messages in
// memory, which it adds to held.
func (x *mix) countQueue(q *queue, held map[*Message]uint16) (n int64) {
	got := [...]int64{int64(q.live), int64(q.ready), q.bytes, q.resident, int64(q.held.messages), q.held.bytes}
	var want [6]int64
	q.each(func(at ref) bool {
		s := at.slot()
		want[0]++
		if at.c.priority == levelWaiting {
			n += waitBytes
		} else if s.state == slotReady {
			want[1]++
			want[2] += int64(s.size)
		} else if s.state == slotHeld {
			want[4]++
			want[5] += int64(s.size)
		}
		if s.msg == nil {
			n += at.props().textBytes()
		} else {
			held[s.msg]++
		}
		if s.resident() {
			want[3] += int64(s.size)
		}
		if kept := at.extra().kept; kept != nil {
			held[kept]++
		}
		return true
	})
	if got != want {
		x.t.Fatalf("%s counts %v, and there are %v: messages, ready ones, their octets, octets in memory, held ones, their octets", q.destination, got, want)
	}
	if len(q.waits) > 2*q.live+fewWaits {
		x.t.Fatalf("%s has %d waits for %d messages", q.destination, len(q.waits), q.live)
	}
	n += int64(len(q.views))*viewBytes + int64(len(q.groups))*groupBytes
	for _, src := range q.members.places {
		if src != nil {
			n += int64(src.parked.len()) * parkBytes
		}
	}
	for _, g := range q.groups {
		n += int64(g.blocks.len()+g.behind.len()+g.outside.len()) * parkBytes
	}
	for key := range q.newest {
		n += keyBytes + int64(len(key))
	}
	return n
}

// checkMoves checks that a message that waits has a reason.
func (x *mix) checkMoves(q *queue, at ref) {
	s, e := at.slot(), at.extra()
	if e.expires() <= x.now.UnixMilli() && s.state == slotReady {
		x.t.Fatalf("%q of %s has expired and is there", x.body(at), q.destination)
	}
	if e.until > x.now.UnixMilli() || s.state != slotReady && s.state != slotHeld {
		return
	}
	g := q.groupOf(at)
	if s.state == slotHeld {
		x.checkHeld(q, g, at)
		return
	}
	for _, src := range q.members.places {
		if src == nil || !src.sub.hasCredit() || q.active != nil && q.active != src {
			continue
		}
		if x.wants(src, at) && !x.inOrder(q, src, at) {
			x.t.Fatalf("%q of %s is stuck: subscription %d of session %d has credit and wants it", x.body(at), q.destination, src.sub.number, src.sub.session.id)
		}
	}
}

func (x *mix) wants(src *source, at ref) bool {
	return src.view == nil || x.selects(src.sub.consumer.Selector, x.body(at))
}

// inOrder says that q keeps its order and src must have another one first, whose
// time has not come.
func (x *mix) inOrder(q *queue, src *source, at ref) (waits bool) {
	q.each(func(other ref) bool {
		first := other.c.priority != levelWaiting && other.slot().state == slotReady && placeOf(other).compare(placeOf(at)) < 0
		waits = waits || first && other.extra().until > x.now.UnixMilli() && x.wants(src, other)
		return true
	})
	return waits && q.policy.Redelivery.KeepOrder
}

// checkHeld checks that a message that is held has a reason: its owner has no
// credit, or another one of its group that waits for its time, or is ready where the
// queue keeps its order, or its owner must acknowledge.
func (x *mix) checkHeld(q *queue, g *group, at ref) {
	p := placeOf(at)
	switch {
	case g == nil:
		x.t.Fatalf("%q of %s is held, and its group has ended", x.body(at), q.destination)
	case g.behind.has(p):
		if g.next != nil && g.flying > 0 {
			return
		}
		for other := range g.blocks.all() {
			first, ok := q.find(other.seq, other.n)
			if ok && other.compare(p) < 0 && (first.slot().state == slotReady || first.extra().until > x.now.UnixMilli()) {
				return
			}
		}
		x.t.Fatalf("%q of %s is behind nothing", x.body(at), q.destination)
	case g.owner == nil || !g.owner.parked.has(p):
		x.t.Fatalf("%q of %s is held for nobody", x.body(at), q.destination)
	case g.owner.sub.hasCredit():
		x.t.Fatalf("%q of %s is parked for one that has credit", x.body(at), q.destination)
	}
}

// checkReaders checks that what is kept comes to whoever waits for it.
func (x *mix) checkReaders() {
	open := map[*queue]int{}
	for _, ses := range x.m.sessions {
		for _, s := range ses.subs {
			if s.copies == nil || s.copies.reader == nil {
				continue
			}
			r := s.copies.reader
			if len(r.cursors) == 0 || r.waiting || r.hasCredit() && s.copies.timer.place == 0 { // else it waits for room
				x.t.Fatalf("subscription %d of session %d has credit and does not get what is kept", s.number, ses.id)
			}
			for _, c := range r.cursors {
				open[c.archive]++
			}
		}
	}
	for _, q := range x.m.queues {
		if q.archive != nil && (q.consumers != open[q] || len(q.archive.readers) != open[q]) {
			x.t.Fatalf("%s has %d consumers and %d readers; want %d", q.destination, q.consumers, len(q.archive.readers), open[q])
		}
	}
}

// checkOwners checks that no two work on one group, and that all groups are, or
// will be, with the one consumer of an exclusive queue.
func (x *mix) checkOwners(q *queue) {
	for _, g := range q.groups {
		if g.next != nil && (g.flying == 0 || g.flying != g.owner.flying()[g.id]) {
			x.t.Fatalf("group %s of %s is to move and counts %d messages in flight, of %d", g.id, q.destination, g.flying, g.owner.flying()[g.id])
		}
		if a := q.active; a != nil && g.owner != nil && g.owner != a && g.next != a {
			x.t.Fatalf("group %s of %s stays with one that stands by", g.id, q.destination)
		}
	}
	owners := map[string]*subscription{}
	for _, src := range q.members.places {
		if src == nil {
			continue
		}
		s := src.sub
		s.flights.each(0, s.flights.last(), func(_ uint64, fl *flight) {
			g := fl.at.group()
			if fl.queue != q || g == "" || g == "closing" {
				return
			}
			if owner := owners[g]; owner != nil && owner != s {
				x.t.Fatalf("group %s of %s is with two", g, q.destination)
			}
			owners[g] = s
		})
	}
}

func (x *mix) restart() {
	switch x.pick("failover", 3) {
	case 0:
		x.m = x.standby
	case 1:
		x.m = x.disk.replay()
	case 2:
		x.m = x.disk.restore()
	}
	x.disk.taking = nil
	x.standby = replayed(x.t, x.opts, x.entries)
	x.given, x.to, x.views = nil, nil, map[*subscription]*looker{}
	clear(x.owners)
	x.step(Command{Op: Start})
}

// drain ends all sessions, deletes what is durable and consumes every queue: then
// nothing is left, but the queues of virtual topics.
func (x *mix) drain() {
	for id := range uint64(mixSessions) {
		x.step(Command{Op: Disconnect, Session: id + 1, Clean: true})
	}
	if x.m.Stats().Unreadable > 0 {
		x.restart()
	}
	for _, name := range x.names() {
		if id, hidden := durableID(Queue(name)); hidden && x.m.queues[name] != nil && x.m.queues[name].durable != nil {
			x.step(Command{Op: Unsubscribe, Session: 1, Delete: true, Consumer: &Consumer{Durable: id}})
		}
	}
	for range 30 { // what waits comes first
		x.now = x.now.Add(50 * time.Millisecond)
		x.tick()
	}
	x.keepNothing()
	for _, name := range x.names() {
		c := Command{Op: Subscribe, Session: 1, Subscription: "all", Destination: Queue(name), Consumer: &Consumer{Ack: AckClient, Prefetch: 10_000}}
		x.step(c)
		s := x.m.sessions[1].named("all")
		if last := s.flights.last(); last > 0 {
			x.step(Command{Op: Ack, Session: 1, Delivery: DeliveryID{Sub: s.number, Tag: last}})
		}
		x.step(Command{Op: Disconnect, Session: 1, Clean: true})
	}
	x.now = x.now.Add(50 * time.Millisecond) // queues may be left empty for a while
	x.tick()
	x.now = x.now.Add(2 * time.Hour) // deduplication ids are forgotten by the clock, which a standby has not
	if err := x.m.Step(x.now, &Command{Op: Note}, &Effects{}); err != nil {
		x.t.Fatalf("%v", err)
	}
	kept, bytes := 0, int64(0)
	for name, q := range x.m.queues {
		bytes += q.baseBytes()
		if kept++; q.durable == nil || q.live > 0 {
			x.t.Fatalf("%q is left with %d messages", name, q.live)
		}
	}
	if m := x.m; m.bytes != bytes || len(m.sessions)+len(m.topics)+len(m.windows) > 0 || m.Live().Count() != kept {
		x.t.Fatalf("left are %d octets, %d sessions, %d topics, %d windows, %d live entries, for %d queues",
			m.bytes, len(m.sessions), len(m.topics), len(m.windows), m.Live().Count(), kept)
	}
}

// keepNothing starts again with topics that keep nothing.
func (x *mix) keepNothing() {
	x.opts.Policies = nil
	x.m = x.disk.replay()
	x.disk.taking = nil
	x.standby = replayed(x.t, x.opts, x.entries)
	x.step(Command{Op: Start})
	for range 3 {
		x.now = x.now.Add(time.Millisecond)
		x.tick()
	}
	if n := x.m.Stats().Kept; n > 0 {
		x.t.Fatalf("%d messages are kept still", n)
	}
}

// drawMixed makes a random command.
func (x *mix) drawMixed() Command {
	c := Command{Session: 1 + uint64(x.pick("session", mixSessions)), DiskLow: x.pick("disk low", 12) == 0}
	c.saying().Client = []string{"", "a", "b", "c"}[c.Session]
	c.Op = oneOf(x.program, "op", []Op{
		Send, Send, Send, Send, Send, Send, Send, Send, Subscribe, Subscribe, Subscribe, Subscribe, Subscribe, Unsubscribe,
		Ack, Ack, Ack, Ack, Ack, Nack, Nack, Commit, Commit, Abort, Disconnect, Sent, Sent, Sent, Unreadable, Note, Cancel,
	})
	if c.Op < Sent && x.pick("receipt", 2) == 1 {
		c.WantReceipt, c.Receipt = true, "r"
	}
	switch c.Op {
	case Send:
		o := x.drawMessage()
		c.Destination, c.saying().Also, c.Message = o.Destination, o.Also, o.Message
	case Subscribe:
		x.drawMixedSubscribe(&c)
	case Unsubscribe:
		c.Subscription = x.drawSubscription()
		if c.Delete = x.pick("delete", 2) == 0; c.Delete && x.pick("by name", 2) == 0 {
			c.Consumer = &Consumer{Durable: x.drawDurable(&c)}
		}
	case Ack, Nack, Sent, Unreadable:
		x.drawGiven(&c)
	case Commit, Abort:
		c.saying().Tx = oneOf(x.program, "tx", []string{"x", "y"})
		for i := x.pick("sends", 4); i > 0 && c.Op == Commit; i-- {
			c.saying().Sends = append(c.saying().Sends, x.drawMessage())
		}
	case Disconnect:
		c.Clean = x.pick("clean", 2) == 1
	case Cancel:
		c.Delivery.ID = x.drawJob()
	}
	return c
}

func (x *mix) drawPlace() Destination {
	return oneOf(x.program, "to", []Destination{
		Queue("q"), Queue("q"), Queue("q"), Queue("r"), Queue("r"), Queue("oldest"), Queue("new"), Queue("reject"), Topic("t"), Topic("t"), Topic("t.u"),
		Topic("VirtualTopic.x"), Queue("Consumer.A.VirtualTopic.x"), Queue("Consumer.B.VirtualTopic.x"), x.temporary(1), x.temporary(2),
	})
}

func (x *mix) temporary(session uint64) Destination {
	return Temporary(Queue("reply"), fmt.Sprint("token", session))
}

func (x *mix) drawMessage() Outgoing {
	x.sent++
	o := Outgoing{Destination: x.drawPlace()}
	props := &Props{Priority: uint8(oneOf(x.program, "priority", []int{4, 4, 4, 9}))}
	color := oneOf(x.program, "color", []string{"red", "blue"})
	switch x.pick("props", 6) {
	case 0:
		props.TTL = oneOf(x.program, "ttl", []int64{1, 15, 100})
	case 1, 2:
		props.Group = oneOf(x.program, "group", []string{"red", "red", "blue", "closing"})
		if props.Group == "closing" {
			props.GroupSeq = int32(-x.pick("close", 2))
		} else {
			color = props.Group
		}
		props.TTL = oneOf(x.program, "ttl of it", []int64{0, 0, 0, 15})
	case 3:
		props.DedupID = fmt.Sprint("id", x.pick("id", 6))
	case 4:
		if !o.Destination.Temporary() {
			props.Delay = oneOf(x.program, "delay", []int64{0, 5, 40})
			props.Period = oneOf(x.program, "period", []int64{0, 7})
			props.Repeat = int32(x.pick("repeat", 3))
		}
	}
	body := fmt.Sprintf("m%d,color:%s,pad:%s", x.sent, color, strings.Repeat("_", 100*x.pick("size", 4)))
	o.Message = newMessage(body, props.DedupID != "" || x.pick("persistent", 4) > 0)
	o.Message.Props = props
	for range x.pick("also", 4) / 2 {
		if d := x.drawPlace(); d != o.Destination && !slices.Contains(o.Also, d) && !d.Temporary() && !o.Destination.Temporary() {
			o.Also = append(o.Also, d)
		}
	}
	return o
}

// drawJob chooses one of the messages that wait for their time, now and then
// none.
func (x *mix) drawJob() MessageID {
	jobs := []MessageID{{Seq: uint64(x.pick("job", 60)), N: uint64(x.pick("unstored job", 3))}}
	for _, name := range x.names() {
		if l := x.m.queues[name].waiting(); l != nil {
			l.each(func(at ref) bool {
				jobs = append(jobs, x.m.id(at.slot()))
				return true
			})
		}
	}
	return jobs[x.pick("which job", len(jobs))]
}

var mixSelectors = []string{"color = 'red'", "color = 'blue'"}

func (x *mix) drawSelector() *selector.Selector {
	sel, err := selector.Parse(oneOf(x.program, "selector", mixSelectors))
	if err != nil {
		x.t.Fatalf("%v", err)
	}
	return sel
}

func (x *mix) drawDurable(c *Command) DurableID {
	return DurableID{Client: c.saying().Client, Name: oneOf(x.program, "durable", []string{"a", "b"})}
}

func (x *mix) drawMixedSubscribe(c *Command) {
	c.Subscription, c.Destination = x.drawSubscription(), x.drawPlace()
	c.Consumer = &Consumer{
		Ack:         AckMode(x.pick("ack", 3)),
		Prefetch:    x.pick("prefetch", 6),
		ByMessageID: x.pick("by message id", 3) == 0,
		Priority:    x.pick("consumer priority", 4) / 3,
		Exclusive:   x.pick("exclusive", 8) == 0,
		RejectNacks: x.pick("reject nacks", 6) == 0,
		Lease:       oneOf(x.program, "lease", []time.Duration{0, 0, 0, 10 * time.Millisecond}),
		AckTimeout:  oneOf(x.program, "ack timeout", []time.Duration{0, 0, 0, 10 * time.Millisecond}),
	}
	if x.pick("retroactive", 3) == 0 {
		c.Consumer.Retroactive = &Retroactive{Messages: x.pick("last", 4)}
		if x.pick("since", 3) == 0 {
			c.Consumer.Retroactive.Since = x.now.UnixMilli() - int64(x.pick("ago", 30))
		}
	}
	switch x.pick("kind", 8) {
	case 0, 1:
		c.Consumer.Selector = x.drawSelector()
	case 2, 3:
		c.Destination = oneOf(x.program, "topic", []Destination{Topic("t"), Topic("VirtualTopic.x")})
		c.Consumer.Durable = x.drawDurable(c)
		if x.pick("of others", 3) == 0 {
			c.Consumer.Durable.Client = "a"
		}
		c.Consumer.Shared = x.pick("shared", 3) > 0
		c.Consumer.NoLocal = x.pick("no-local", 4) == 0
		if x.pick("selects", 4) == 0 {
			c.Consumer.Selector = x.drawSelector()
		}
	case 4:
		c.Consumer.Browse = true
		if x.pick("selects", 2) == 0 {
			c.Consumer.Selector = x.drawSelector()
		}
	case 5:
		c.Destination = Destination{}
		c.saying().Sources = []Pattern{{Queue(oneOf(x.program, "wild", []string{">", "*", "q", "Consumer.C.VirtualTopic.>"}))}, {oneOf(x.program, "wild topic", []Destination{Topic("t"), Topic(">")})}}
	}
}

// drawGiven chooses a delivery, now and then one that never was.
func (x *mix) drawGiven(c *Command) {
	if n := len(x.given); n > 0 && x.pick("wild", 12) > 0 {
		i := n - 1 - min(n-1, x.pick("back", 12))
		c.Delivery, c.Session = x.given[i], x.to[i]
	} else {
		c.Delivery = DeliveryID{Sub: uint32(x.pick("sub", 5)), Tag: uint64(x.pick("tag", 10))}
		if c.Op < Sent && x.pick("wild id", 2) == 1 {
			c.Delivery = DeliveryID{ByMessage: true, ID: MessageID{Seq: uint64(x.pick("seq", 60)), N: uint64(x.pick("n", 8))}}
		}
	}
	switch c.Op {
	case Ack, Nack:
		if x.pick("in tx", 3) == 0 {
			c.saying().Tx = oneOf(x.program, "tx", []string{"x", "y"})
		}
		c.saying().Refusal.Reject = c.Op == Nack && x.pick("reject", 4) == 0
		if c.Op == Nack {
			c.saying().Refusal.Delay = oneOf(x.program, "nack delay", []time.Duration{0, 0, -1, 7 * time.Millisecond})
		}
		if c.Op == Nack && x.pick("extend", 6) == 0 {
			c.saying().Extend = 20 * time.Millisecond
		}
	}
}
