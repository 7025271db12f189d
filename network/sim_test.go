package network

import (
	"cmp"
	"container/heap"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"baton/destinations"
	"baton/destinations/selector"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "simulate this seed alone")
	simFrom  = flag.Uint64("sim.from", 1, "the first seed")
	simSeeds = flag.Int("sim.seeds", 30, "how many seeds")
)

// TestSimulation lets brokers forward to each other: real machines and exchanges
// on a clock, a network and disks of their own. Brokers crash and come back with
// what was durable, frames are late and lost, links are cut, consumers wander. No
// message whose ACK was confirmed is delivered again, none is delivered twice
// without saying so, and in the end, with the network whole and one consumer for each
// queue, all that was confirmed has been consumed and nothing is left anywhere. What is
// sent to a temporary queue of another broker comes there, once, unless that has crashed.
func TestSimulation(t *testing.T) {
	t.Parallel()
	if *simSeed != 0 {
		newSim(t, *simSeed).run()
		return
	}
	for seed := *simFrom; seed < *simFrom+uint64(*simSeeds); seed++ {
		newSim(t, seed).run()
		if t.Failed() {
			t.Fatalf("go test ./network -run TestSimulation -sim.seed=%d", seed)
		}
	}
}

type sim struct {
	t      *testing.T
	seed   uint64
	rand   *rand.Rand
	now    time.Time
	events simEvents
	order  uint64
	nodes  []*simNode
	cut    map[[2]string]bool
	loss   float64
	queues []string
	calm   bool

	standing   bool // there is a durable subscription
	everywhere bool // all brokers had it

	sent     map[string]bool // bodies whose SEND was confirmed
	acked    map[string]bool // those whose ACK was
	answered map[string]bool // those with an ACK
	seen     map[string]int  // deliveries
	replies  map[string]int  // deliveries of those that must come
	serial   int
	groups   *simGroups // nil: nobody looks at the order of groups
	stats    struct{ crashes, frames, lost, moved int }
}

type simEvent struct {
	at    time.Time
	order uint64
	do    func()
}

type simEvents []simEvent

func (e simEvents) Len() int { return len(e) }
func (e simEvents) Less(i, j int) bool {
	if e[i].at.Equal(e[j].at) {
		return e[i].order < e[j].order
	}
	return e[i].at.Before(e[j].at)
}
func (e simEvents) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *simEvents) Push(x any)   { *e = append(*e, x.(simEvent)) }
func (e *simEvents) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// A simNode is a broker: its disk outlives its crashes.
type simNode struct {
	sim      *sim
	member   string
	log      []destinations.Entry
	durable  int
	life     int // counts starts; events of an earlier one are void
	up       bool
	static   []Static
	standing bool                     // somebody consumes the durable subscription here
	address  destinations.Destination // of its temporary queue
	machine  *destinations.Machine
	effects  destinations.Effects
	exchange *exchange
	outputs  []destinations.Output
	syncing  bool
	sessions uint64
	clients  map[uint64]func(*destinations.Output)
}

const simAgent = 1

func newSim(t *testing.T, seed uint64) *sim {
	s := &sim{
		t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1_800_000_000, 0), cut: map[[2]string]bool{},
		sent: map[string]bool{}, acked: map[string]bool{}, answered: map[string]bool{}, seen: map[string]int{}, replies: map[string]int{},
	}
	s.loss = []float64{0, 0.02, 0.2}[s.rand.IntN(3)]
	for i := range 2 + s.rand.IntN(3) {
		s.nodes = append(s.nodes, &simNode{sim: s, member: string(rune('A' + i))})
	}
	for i := range 1 + s.rand.IntN(3) {
		s.queues = append(s.queues, fmt.Sprintf("q.%d", i))
	}
	for s.rand.IntN(3) == 0 { // some give what nobody wants to others, perhaps to each other
		n, to := s.nodes[s.rand.IntN(len(s.nodes))], s.nodes[s.rand.IntN(len(s.nodes))]
		name := append(wildcards, s.queues...)[s.rand.IntN(len(wildcards)+len(s.queues))]
		p, err := destinations.Names{MaxBytes: 100}.ParsePattern("/queue/" + name)
		if err != nil {
			t.Fatal(err)
		}
		n.static = append(n.static, Static{Queues: p, To: to.member})
	}
	return s
}

func (s *sim) trace(format string, args ...any) {
	if *simSeed != 0 {
		s.t.Logf(s.now.Format("05.000 ")+format, args...)
	}
}

func (s *sim) after(d time.Duration, do func()) {
	s.order++
	heap.Push(&s.events, simEvent{s.now.Add(d), s.order, do})
}

func (s *sim) between(low, high time.Duration) time.Duration {
	return low + time.Duration(s.rand.Int64N(int64(high-low)))
}

func (s *sim) runFor(d time.Duration) {
	end := s.now.Add(d)
	for len(s.events) > 0 && !s.events[0].at.After(end) && !s.t.Failed() {
		e := heap.Pop(&s.events).(simEvent)
		s.now = e.at
		e.do()
	}
	s.now = end
}

func (s *sim) run() {
	for _, n := range s.nodes {
		n.start()
	}
	s.after(2*time.Second, s.mischief)
	s.after(time.Second, s.reply)
	for range 3 {
		s.produce(s.rand.IntN(len(s.nodes)), s.queues[s.rand.IntN(len(s.queues))])
	}
	for range 1 + s.rand.IntN(4) {
		s.wander()
	}
	if s.rand.IntN(2) == 0 {
		s.nodes[s.rand.IntN(len(s.nodes))].consume(durableTopic, "", s.between(0, time.Second))
		s.standing = true
	}
	s.runFor(20 * time.Second)
	s.calm, s.loss = true, 0
	clear(s.cut)
	for _, n := range s.nodes {
		if !n.up {
			n.start()
		}
	}
	s.runFor(4 * time.Second) // the last who wandered have gone
	last := slices.Clone(s.queues)
	if s.standing {
		last = append([]string{durableTopic}, last...)
	}
	for _, q := range last {
		if s.rand.IntN(3) == 0 && q != durableTopic {
			q = wildcards[s.rand.IntN(len(wildcards))]
		}
		s.nodes[s.rand.IntN(len(s.nodes))].consume(q, "", -1)
		if strings.Contains(q, ">") {
			break // it is for all of them
		}
	}
	for _, n := range s.nodes {
		for _, to := range s.nodes {
			n.reply(to, true)
		}
	}
	s.runFor(20 * time.Second)
	for body, deliveries := range s.replies {
		if deliveries != 1 {
			s.t.Errorf("seed %d: the reply %s came %d times", s.seed, body, deliveries)
		}
	}
	for body := range s.sent {
		if !s.answered[body] {
			s.t.Errorf("seed %d: %s was confirmed and never consumed", s.seed, body)
		}
	}
	for _, n := range s.nodes {
		if stats := n.machine.Stats(); stats.Messages != 0 {
			s.t.Errorf("seed %d: %d messages are left at %s", s.seed, stats.Messages, n.member)
			for _, queue := range sortedKeys(n.exchange.local) {
				if e := n.exchange.explain(queue); e.Waiting+e.InFlight > 0 {
					s.t.Logf("%+v", e)
				}
			}
		}
		if x := n.exchange; len(x.sent)+len(x.held)+len(x.parts) > 0 {
			s.t.Errorf("seed %d: %s still has %d transfers and holds %d", s.seed, n.member, len(x.sent), len(x.held))
		}
	}
	s.trace("sent %d, %+v", len(s.sent), s.stats)
	if len(s.sent) == 0 {
		s.t.Errorf("seed %d: nothing was sent", s.seed)
	}
}

// durableTopic is where the name of a queue stands for the durable subscription, and for its topic.
const durableTopic = "/topic/t"

// isEverywhere says that the durable subscription has come to all brokers, to stay.
func (s *sim) isEverywhere() bool {
	s.everywhere = s.everywhere || !slices.ContainsFunc(s.nodes, func(n *simNode) bool {
		return !n.up || len(n.exchange.durables()) == 0 || n.durable < len(n.log)
	})
	return s.everywhere
}

// mischief crashes, cuts and heals.
func (s *sim) mischief() {
	if s.calm {
		return
	}
	n := s.nodes[s.rand.IntN(len(s.nodes))]
	switch s.rand.IntN(4) {
	case 0:
		if n.up {
			n.crash()
			s.after(s.between(10*time.Millisecond, 5*time.Second), func() {
				if !n.up {
					n.start()
				}
			})
		}
	case 1:
		o := s.nodes[s.rand.IntN(len(s.nodes))]
		s.cut[[2]string{n.member, o.member}] = true
		if s.rand.IntN(2) == 0 {
			s.cut[[2]string{o.member, n.member}] = true
		}
		s.trace("cut %s %s", n.member, o.member)
	default:
		clear(s.cut)
	}
	s.after(s.between(50*time.Millisecond, 2*time.Second), s.mischief)
}

// produce sends messages to a node, one after another.
func (s *sim) produce(node int, queue string) {
	if s.calm {
		return
	}
	n := s.nodes[node]
	to := destinations.Queue(queue)
	if s.standing && s.groups == nil && s.rand.IntN(3) == 0 && s.isEverywhere() {
		to = destinations.Topic("t")
	}
	if n.up {
		n.sessions++
		id := n.sessions
		body := fmt.Sprintf("m%d", s.serial)
		s.serial++
		n.clients[id] = func(o *destinations.Output) {
			if o.Kind == destinations.Receipt {
				s.sent[body] = true
			}
		}
		head := "colour:" + []string{"red", "blue"}[s.rand.IntN(2)] + "\n"
		var props *destinations.Props
		if group := s.rand.IntN(6); group < 4 || s.groups != nil {
			props = &destinations.Props{Priority: destinations.DefaultPriority, Group: fmt.Sprint("g", group)}
			s.groups.sends(n, queue, props.Group, body)
		}
		n.do(destinations.Command{
			Op: destinations.Send, Session: id, WantReceipt: true, Receipt: body, Destination: to,
			Message: &destinations.Message{Content: []byte(head + "\n" + body), HeaderBytes: int32(len(head)), Persistent: s.groups == nil || s.rand.IntN(2) == 0, Props: props},
		})
	}
	if s.rand.IntN(20) == 0 {
		node = s.rand.IntN(len(s.nodes))
	}
	s.after(s.between(time.Millisecond, 20*time.Millisecond), func() { s.produce(node, queue) })
}

// reply has somebody answer somebody.
func (s *sim) reply() {
	if s.calm {
		return
	}
	if n := s.nodes[s.rand.IntN(len(s.nodes))]; n.up {
		n.reply(s.nodes[s.rand.IntN(len(s.nodes))], false)
	}
	s.after(s.between(time.Millisecond, 300*time.Millisecond), s.reply)
}

// reply sends to the temporary queue of a node, or of its last life. must says that it
// has to come.
func (n *simNode) reply(to *simNode, must bool) {
	s := n.sim
	s.serial++
	body := fmt.Sprintf("reply%d", s.serial)
	if must {
		s.replies[body] = 0
	}
	n.sessions++
	n.do(destinations.Command{
		Op: destinations.Send, Session: n.sessions, Destination: to.address,
		Message: &destinations.Message{Content: []byte("\n" + body), Persistent: s.rand.IntN(2) == 0},
	})
}

// listen makes the temporary queue of a node.
func (n *simNode) listen() {
	s := n.sim
	n.address = destinations.Temporary(destinations.Queue("r"), destinations.AtMember(strconv.Itoa(n.life), n.member))
	n.sessions++
	id := n.sessions
	n.clients[id] = func(o *destinations.Output) {
		if o.Kind != destinations.Deliver {
			return
		}
		m := o.Delivery.Message
		body := string(m.Content[m.HeaderBytes+1:])
		if s.trace("%s gets %s", n.member, body); s.seen[body] > 0 || o.Delivery.Destination != n.address {
			s.t.Errorf("seed %d: %s comes again to %s, or for %s", s.seed, body, n.member, o.Delivery.Destination)
		}
		s.seen[body]++
		if _, must := s.replies[body]; must {
			s.replies[body]++
		}
		n.do(destinations.Command{
			Op: destinations.Ack, Session: id, Delivery: destinations.DeliveryID{Sub: o.Delivery.Sub, Tag: o.Delivery.Tag},
		})
	}
	n.do(destinations.Command{
		Op: destinations.Subscribe, Session: id, Subscription: "r", Destination: n.address,
		Consumer: &destinations.Consumer{Ack: destinations.AckIndividual, Prefetch: 10},
	})
}

// wildcards name all queues, and some more that nobody sends to.
var wildcards = []string{"q.>", ">"}

// wander consumes somewhere for a while, and then elsewhere.
func (s *sim) wander() {
	if s.calm {
		return
	}
	n := s.nodes[s.rand.IntN(len(s.nodes))]
	if n.up {
		sel := []string{"", "", "colour = 'red'", "colour = 'blue'"}[s.rand.IntN(4)]
		queue := s.queues[s.rand.IntN(len(s.queues))]
		switch r := s.rand.IntN(6); {
		case r < 2:
			queue = wildcards[s.rand.IntN(len(wildcards))]
		case r < 4 && s.standing && !n.standing:
			queue, sel = durableTopic, ""
		}
		n.consume(queue, sel, s.between(50*time.Millisecond, 3*time.Second))
	}
	s.after(s.between(50*time.Millisecond, 3*time.Second), s.wander)
}

func (n *simNode) start() {
	s := n.sim
	n.life++
	n.up, n.syncing = true, false
	n.machine = destinations.New(destinations.Options{Fields: simFields, Member: n.member})
	for _, e := range n.log {
		if err := n.machine.Replay(e); err != nil {
			s.t.Fatal(err)
		}
	}
	if len(n.log) > 0 {
		if err := n.machine.Resume(n.log[len(n.log)-1].Seq); err != nil {
			s.t.Fatal(err)
		}
	}
	n.standing = false
	n.outputs, n.clients, n.sessions = nil, map[uint64]func(*destinations.Output){}, simAgent
	n.effects = destinations.Effects{}
	n.exchange = newExchange(Settings{
		Member: n.member, Life: n.member, Incarnation: fmt.Sprintf("%08d-%s", n.life, n.member), Hello: 300 * time.Millisecond, Silence: 2 * time.Second,
		Timeout: time.Second, Retry: 200 * time.Millisecond, Forwards: func(destinations.Destination) bool { return true }, Static: n.static,
	})
	s.trace("%s starts, life %d", n.member, n.life)
	n.do(destinations.Command{Op: destinations.Start})
	n.listen()
	n.machine.TellDemands(true)
	n.act(func(out *actions) { n.exchange.begin(s.now, out) })
	n.later(10*time.Millisecond, n.tick)
}

func simFields(m *destinations.Message) selector.Fields { return simMessage{m} }

type simMessage struct{ *destinations.Message }

func (m simMessage) Field(name string) ([]byte, bool) {
	for line := range strings.Lines(string(m.Content[:m.HeaderBytes])) {
		if field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":"); field == name {
			return []byte(value), true
		}
	}
	return nil, false
}

func (n *simNode) crash() {
	s := n.sim
	s.stats.crashes++
	s.trace("%s crashes", n.member)
	n.up = false
	n.life++
	kept := n.durable + s.rand.IntN(len(n.log)-n.durable+1)
	for kept > n.durable && kept < len(n.log) && n.log[kept].Joined {
		kept--
	}
	n.log = n.log[:kept]
	n.durable = kept
}

// later does something unless the node has crashed by then.
func (n *simNode) later(d time.Duration, do func()) {
	life := n.life
	n.sim.after(d, func() {
		if n.life == life {
			do()
		}
	})
}

func (n *simNode) tick() {
	n.act(func(out *actions) { n.exchange.tick(n.sim.now, out) })
	n.later(10*time.Millisecond, n.tick)
}

// act has the exchange do something, and carries out what it wants.
func (n *simNode) act(do func(out *actions)) {
	var out actions
	do(&out)
	for _, f := range out.frames {
		n.send(f)
	}
	for _, c := range out.commands {
		c.Session = simAgent
		n.do(c)
	}
}

func (n *simNode) send(f outgoing) {
	s := n.sim
	b := f.encode()
	for _, o := range s.nodes {
		if o == n || f.to != "" && f.to != o.member {
			continue
		}
		s.stats.frames++
		if s.cut[[2]string{n.member, o.member}] || s.rand.Float64() < s.loss {
			s.stats.lost++
			continue
		}
		delay := s.between(100*time.Microsecond, 2*time.Millisecond)
		if s.rand.IntN(100) == 0 {
			delay = s.between(time.Millisecond, 3*time.Second)
		}
		s.after(delay, func() {
			if !o.up {
				return
			}
			got, err := decodeFrame(b)
			if err != nil {
				s.t.Fatal(err)
			}
			s.trace("%s <- %s %s %s %s %s", o.member, n.member, got.Kind, got.Transfer, got.Queue, got.Reason)
			o.act(func(out *actions) { o.exchange.hears(s.now, &got, out) })
		})
	}
}

// do carries out a command.
func (n *simNode) do(c destinations.Command) {
	n.effects.Reset()
	err := n.machine.Step(n.sim.now, &c, &n.effects)
	if err != nil {
		if c.Session != simAgent {
			n.sim.t.Fatalf("seed %d: %v", n.sim.seed, err)
		}
		n.outputs = append(n.outputs, destinations.Output{Kind: destinations.Refused, Session: simAgent, ReceiptID: c.Receipt, Err: err})
	}
	for _, e := range n.effects.Entries {
		e.Head, e.Body = slices.Clone(e.Head), slices.Clone(e.Body)
		n.log = append(n.log, e)
	}
	n.outputs = append(n.outputs, n.effects.Outputs...)
	if !n.syncing {
		n.syncing = true
		n.later(n.sim.between(100*time.Microsecond, 5*time.Millisecond), n.sync)
	}
}

// sync makes what there is durable, and lets out what waited for it.
func (n *simNode) sync() {
	n.syncing = false
	n.durable = len(n.log)
	last := uint64(0)
	if n.durable > 0 {
		last = n.log[n.durable-1].Seq
	}
	outputs := n.outputs
	n.outputs = nil
	for i := range outputs {
		o := &outputs[i]
		if o.After > last {
			n.sim.t.Fatalf("seed %d: an output waits for %d of %d", n.sim.seed, o.After, last)
		}
		if o.Kind == destinations.Deliver && o.Delivery.Message == nil {
			n.load(&o.Delivery)
		}
		if o.Session == simAgent {
			n.act(func(out *actions) { n.exchange.takes(n.sim.now, o, out) })
		} else if client := n.clients[o.Session]; client != nil {
			client(o)
		}
	}
	n.act(func(out *actions) { n.exchange.flush(n.sim.now, out) })
	if n.machine.Stirred() {
		n.act(func(out *actions) { n.exchange.wants(n.sim.now, n.machine.Demands(nil, 100), out) })
	}
}

// load reads a message of which the machine has only the place.
func (n *simNode) load(d *destinations.Delivery) {
	at, ok := slices.BinarySearchFunc(n.log, d.Content, func(e destinations.Entry, seq uint64) int { return cmp.Compare(e.Seq, seq) })
	if !ok {
		n.sim.t.Fatalf("seed %d: there is no entry %d", n.sim.seed, d.Content)
	}
	m, err := n.log[at].Message()
	if err != nil {
		n.sim.t.Fatalf("seed %d: %v", n.sim.seed, err)
	}
	d.Message = m
}

// consume takes messages of a queue for a while; for ever if that is negative.
func (n *simNode) consume(queue, sel string, d time.Duration) {
	s := n.sim
	n.sessions++
	id := n.sessions
	consumer := destinations.Consumer{Ack: destinations.AckIndividual, Prefetch: 1 + s.rand.IntN(20)}
	if d < 0 {
		consumer.Prefetch = 50
	}
	if sel != "" {
		consumer.Selector, _ = selector.Parse(sel)
	}
	s.trace("%s consumes %s %q for %v", n.member, queue, sel, d)
	n.clients[id] = func(o *destinations.Output) {
		switch o.Kind {
		case destinations.Deliver:
			m := o.Delivery.Message
			body := string(m.Content[m.HeaderBytes+1:])
			s.trace("%s delivers %s (%v)", n.member, body, o.Delivery.Redelivered)
			switch {
			case s.acked[body]:
				s.t.Errorf("seed %d: %s is delivered at %s after its ACK was confirmed", s.seed, body, n.member)
			case s.seen[body] > 0 && !o.Delivery.Redelivered:
				s.t.Errorf("seed %d: %s is delivered again at %s, and nothing says so", s.seed, body, n.member)
			}
			if len(pathOf(m)) > 0 {
				s.stats.moved++
			}
			s.seen[body]++
			s.groups.delivers(n, id, body, o.Delivery.Redelivered)
			tag := o.Delivery.Tag
			n.later(s.between(time.Millisecond, 30*time.Millisecond), func() {
				if n.clients[id] != nil {
					s.answered[body] = true
					s.groups.acks(n, id, body)
					n.do(destinations.Command{
						Op: destinations.Ack, Session: id, WantReceipt: true, Receipt: "ack " + body,
						Delivery: destinations.DeliveryID{Sub: o.Delivery.Sub, Tag: tag},
					})
				}
			})
		case destinations.Receipt:
			if body, ok := strings.CutPrefix(o.ReceiptID, "ack "); ok {
				s.acked[body] = true
			}
		}
	}
	c := destinations.Command{
		Op: destinations.Subscribe, Session: id, Subscription: strconv.Itoa(int(id)), Destination: destinations.Queue(queue), Consumer: &consumer,
	}
	if p, err := (destinations.Names{MaxBytes: 100}).ParsePattern("/queue/" + queue); err == nil && p.Wild() {
		c.Destination, c.More = destinations.Destination{}, &destinations.More{Sources: []destinations.Pattern{p}}
	}
	if queue == durableTopic {
		c.Destination, consumer.Durable = destinations.Topic("t"), destinations.DurableID{Client: "c", Name: "d"}
		n.standing = true
	}
	n.do(c)
	if d >= 0 {
		n.later(d, func() {
			n.standing = n.standing && queue != durableTopic
			delete(n.clients, id)
			n.do(destinations.Command{Op: destinations.Disconnect, Session: id, Clean: true})
		})
	}
}
