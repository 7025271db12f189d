package failover

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"baton/journal"
)

// A simConn is a TCP connection. Octets come in order, in portions cut anywhere; what cannot be delivered for now waits, as
// TCP sends it again.
type simConn struct {
	s     *sim
	id    uint32
	nodes [2]*simNode // who dialled, who listens
	ends  [2]*simLink // nil: that side has not taken it up, or does not any more
	pipes [2]simPipe  // from nodes[0], from nodes[1]
	lost  bool        // nothing goes through any more, and nobody is told
}

type simPipe struct {
	queue  []simPortion
	octets int
	last   time.Duration // when the newest arrives
	held   int           // arrivals that wait
	ended  bool          // FIN or RST is in the queue, or has come
}

type simPortion struct {
	octets []byte
	fin    bool
}

// simWindow is how much may be under way.
const simWindow = 96 << 10

func (s *sim) latency() time.Duration {
	d := s.between(20*time.Microsecond, 500*time.Microsecond)
	if s.chance(2) {
		d += s.between(0, 50*time.Millisecond)
	}
	return d
}

// write sends octets from a side.
func (c *simConn) write(from int, b []byte) {
	for len(b) > 0 {
		n := len(b)
		if c.s.chance(20) {
			n = 1 + c.s.rng.IntN(n)
		}
		c.push(from, simPortion{octets: slices.Clone(b[:n])})
		b = b[n:]
	}
}

func (c *simConn) push(from int, p simPortion) {
	pipe := &c.pipes[from]
	if pipe.ended {
		return
	}
	pipe.ended = p.fin
	pipe.queue = append(pipe.queue, p)
	pipe.octets += len(p.octets)
	pipe.last = max(pipe.last, c.s.now+c.s.latency())
	c.s.after(pipe.last-c.s.now, func() { c.arrive(from) })
}

// close ends one direction; tell is false where the host cannot say so any more.
func (c *simConn) close(from int, tell bool) {
	if tell {
		c.push(from, simPortion{fin: true})
	}
}

// arrive delivers what is the next to come from a side.
func (c *simConn) arrive(from int) {
	pipe := &c.pipes[from]
	a, b := c.nodes[from], c.nodes[1-from]
	if c.lost || len(pipe.queue) == 0 {
		return
	}
	if !c.s.reach[a.i][b.i] || b.paused || slices.Contains(b.callers, c) {
		pipe.held++
		return
	}
	p := pipe.queue[0]
	pipe.queue = pipe.queue[1:]
	pipe.octets -= len(p.octets)
	end := c.ends[1-from]
	switch {
	case !b.hostUp:
	case end == nil && !p.fin: // nobody is there any more
		c.push(1-from, simPortion{fin: true})
	case end != nil && p.fin:
		end.receiveEnd()
	case end != nil:
		end.receive(p.octets)
	}
	if w := c.ends[from]; w != nil && pipe.octets < simWindow {
		w.writable()
	}
}

// deliverHeld delivers what waited, where it can be now.
func (s *sim) deliverHeld() {
	s.conns = slices.DeleteFunc(s.conns, func(c *simConn) bool {
		return c.lost || c.pipes[0].ended && c.pipes[1].ended && len(c.pipes[0].queue)+len(c.pipes[1].queue) == 0
	})
	for _, c := range s.conns {
		for from := range c.pipes {
			for ; c.pipes[from].held > 0; c.pipes[from].held-- {
				s.after(s.latency(), func() { c.arrive(from) })
			}
		}
	}
}

// A simLink is one end of a connection, after the HELLO: what runLink and serveLink are, with the real Link for its signals,
// the real intake and the real Stream.
type simLink struct {
	t      *simTerm
	conn   *simConn
	side   int
	number uint64
	link   *Link
	made   func() (Stream, error)
	waits  []*simLink // that must have ended before the stream begins
	stream Stream
	sender *Sender // of a standby
	in     intake

	inbox   [][]byte
	heard   time.Duration
	closing *Broken // it ends, once nothing goes on
	hung    bool
	busy    bool
	full    bool
	ended   bool
}

func (t *simTerm) linkOf(number uint64) *simLink {
	if t.link == nil || t.link.number != number {
		return nil
	}
	return t.link
}

// meet is Term.meet.
func (t *simTerm) meet() {
	if t.lonely() {
		t.seekPeer(0)
		return
	}
	t.meetLater()
}

func (t *simTerm) meetLater() { t.after(t.n.s.between(dialEvery/2, 3*dialEvery/2), t.meet) }

func (t *simTerm) lonely() bool {
	return !t.state.Role().IsMaster() && t.link == nil && !t.dialling &&
		!slices.ContainsFunc(t.masters, func(l *simLink) bool { return !l.ended })
}

// seekPeer dials the other node, and says what comes of it.
func (t *simTerm) seekPeer(refused int) {
	if t.dialling && refused == 0 {
		return
	}
	t.dialling = true
	s, peer := t.n.s, t.n.other()
	c := &simConn{s: s, id: s.rng.Uint32(), nodes: [2]*simNode{t.n, peer}}
	met := false
	s.after(s.latency(), func() {
		switch {
		case !s.reach[t.n.i][peer.i] || !s.reach[peer.i][t.n.i] || !peer.hostUp:
		case peer.stranger:
			t.after(s.latency(), func() { met = true; t.estranged() })
		case !peer.up:
			t.after(s.latency(), func() { met = true; t.refused(refused + 1) })
		default:
			s.conns = append(s.conns, c)
			t.after(s.latency(), func() {
				if !met {
					t.greet(c, &met)
				}
			})
		}
	})
	t.after(2*time.Second, func() {
		if !met {
			met = true
			c.close(0, true)
			t.unreached(false)
		}
	})
}

func (t *simTerm) refused(times int) {
	if times < 2 {
		t.after(refusedWait, func() { t.seekPeer(times) })
		return
	}
	t.unreached(t.closed && t.link == nil)
}

// estranged is Term.estranged.
func (t *simTerm) estranged() {
	t.doubts = t.link == nil
	t.decide(Event{Kind: OnStranger})
	t.unreached(false)
}

func (t *simTerm) unreached(dead bool) {
	t.dialling = false
	t.meetLater()
	t.decide(Event{Kind: OnUnreached, Dead: dead})
}

// hello is Term.hello, as a frame.
func (t *simTerm) hello(c *simConn, side int) []byte {
	h := Hello{Incarnation: t.incarnation.String()}
	h.Role, h.Master, h.Epoch = t.state.Role().String(), t.state.Role().IsMaster(), t.state.Epoch()
	payload, err := json.Marshal(t.log.Hello(h))
	if err != nil {
		panic(err)
	}
	b := append(make([]byte, frameHeaderBytes), payload...)
	seal(b, kindHello, 0, h.Epoch, c.seeds(side).out)
	return b
}

func (c *simConn) seeds(side int) seeds {
	s := seeds{c.id, c.id + 1}
	if side == 1 {
		s = seeds{s.in, s.out}
	}
	return s
}

// greet has the dialler say HELLO first, and wait for the answer.
func (t *simTerm) greet(c *simConn, met *bool) {
	l := t.newLink(c, 0)
	l.stream = &simGreeting{link: l, seeds: c.seeds(0), said: func(h Hello) {
		if *met {
			l.breakOff(&Broken{Ended, errors.New("too late")})
			return
		}
		*met = true
		t.dialling = false
		t.meetLater()
		t.linked(l, h)
	}}
	l.in = intake{stream: l.stream, buf: make([]byte, 16<<10)}
	c.write(0, t.hello(c, 0))
	peer := c.nodes[1]
	if !peer.up {
		c.close(1, peer.hostUp)
		return
	}
	peer.callers = append(peer.callers, c)
	c.s.schedule(0, peer, peer.receiveCallers)
}

// receiveCallers takes the connections that wait, if there is a term that can.
func (n *simNode) receiveCallers() {
	if n.term == nil || n.term.over {
		return
	}
	for _, c := range n.callers {
		n.term.welcome(c)
	}
	n.callers = nil
	n.s.deliverHeld()
}

// welcome takes a connection, on which the dialler's HELLO comes first.
func (t *simTerm) welcome(c *simConn) {
	l := t.newLink(c, 1)
	l.stream = &simGreeting{link: l, seeds: c.seeds(1), said: func(h Hello) {
		c.write(1, t.hello(c, 1))
		t.linked(l, h)
	}}
	l.in = intake{stream: l.stream, buf: make([]byte, 16<<10)}
}

func (t *simTerm) newLink(c *simConn, side int) *simLink {
	l := &simLink{t: t, conn: c, side: side, heard: t.n.s.now}
	c.ends[side] = l
	t.all = append(t.all, l)
	t.after(2*time.Second, func() {
		if l.number == 0 {
			l.breakOff(&Broken{Silent, errors.New("no HELLO")})
		}
	})
	return l
}

// A simGreeting is the Stream before the HELLO of the other side.
type simGreeting struct {
	idle
	link  *simLink
	seeds seeds
	hello Hello
	said  func(Hello)
}

var errGreeted = errors.New("the HELLO has come")

func (g *simGreeting) Accept(b []byte) error {
	f, err := parseFrame(b, g.seeds.in)
	if err != nil {
		return err
	}
	if g.hello, err = parseHello(f.payload, g.link.conn.nodes[1-g.link.side].name); err == nil {
		err = errGreeted
	}
	return err
}

// linked is Term.linked.
func (t *simTerm) linked(l *simLink, h Hello) {
	t.links++
	l.number = t.links
	l.link = &Link{peer: h, seeds: l.conn.seeds(l.side), wake: make(chan struct{}, 1)}
	l.stream = nil
	old := t.link
	t.link, t.closed, t.doubts = l, false, false
	if old != nil {
		old.hangup()
	}
	t.n.s.note("%s is linked as %d, side %d: %s %s %d, end %d", t.n.name, l.number, l.side, h.Node, h.Role, h.Epoch, h.End.Seq)
	t.decide(Event{Kind: OnLinked, Link: l.number, Peer: peerOf(&h)})
	l.silence()
}

// silence ends a connection on which nothing has come for long.
func (l *simLink) silence() {
	if l.ended {
		return
	}
	if l.t.n.s.now-l.heard >= 10*time.Second {
		l.breakOff(&Broken{Silent, errors.New("the peer is silent")})
		return
	}
	l.t.after(10*time.Second-(l.t.n.s.now-l.heard), l.silence)
}

// reap begins the stream when it can, writes what there is to write, and ends what is to end.
func (l *simLink) reap() (any bool) {
	if l.ended || l.number == 0 && l.closing == nil {
		return false
	}
	if l.stream == nil && l.closing == nil {
		if slices.ContainsFunc(l.waits, func(l *simLink) bool { return !l.ended }) || l.t.broker.busy || l.retains() {
			return false
		}
		l.begin()
		any = true
	}
	if !l.busy && l.closing == nil && l.stream != nil && len(l.inbox) > 0 && l.ready() {
		l.take()
		any = true
	}
	if l.link != nil && l.closing == nil && !l.hung && !l.retains() {
		select {
		case <-l.link.wake:
			l.pump()
			l.t.n.rest()
			any = true
		default:
		}
	}
	if l.closing != nil && !l.busy {
		l.close()
		any = true
	}
	return any
}

// retains says that the next step of the stream may have the journal retain what its cleaner is replacing.
func (l *simLink) retains() bool {
	plans := l.stream == nil || l.sender != nil && !l.sender.planned
	return plans && l.t.n.disk.replacing()
}

// close gives back what the stream has, which may take a standby a while.
func (l *simLink) close() {
	if l.stream == nil || l.number == 0 {
		l.finish()
		return
	}
	if _, standby := l.stream.(*simReceiver); !standby {
		l.stream.Close()
		l.finish()
		return
	}
	l.busy = true
	l.t.n.job(func() func() {
		l.stream.Close()
		return func() {
			if !l.t.dead {
				l.finish()
			}
		}
	})
}

func (l *simLink) begin() {
	stream, err := Stream(&idle{onSignal: l.t.signalled(l.number)}), error(nil)
	if l.made != nil {
		stream, err = l.made()
	}
	if err != nil {
		l.breakOff(&Broken{Invalid, err})
		return
	}
	l.stream = stream
	l.stream.bind(l.link.seeds, l.link.awake)
	l.in = intake{stream: l.stream, buf: make([]byte, 16<<10)}
	l.link.awake()
}

// pump is Link.write, for one frame: what the journal does because of that comes before the next.
func (l *simLink) pump() {
	if l.full = l.conn.pipes[l.side].octets >= simWindow; l.full || l.stream == nil {
		return
	}
	out := l.link.takeSignals(nil)
	frame, err := l.stream.Next()
	if err != nil {
		l.breakOff(&Broken{Invalid, err})
		return
	}
	if len(out)+len(frame) > 0 {
		l.conn.write(l.side, append(out, frame...))
		l.link.awake()
	}
}

func (l *simLink) writable() {
	if l.full && !l.ended {
		l.full = false
		l.link.awake()
	}
}

// receive is Link.read.
func (l *simLink) receive(b []byte) {
	if l.ended || l.closing != nil {
		return
	}
	l.heard = l.t.n.s.now
	l.inbox = append(l.inbox, b)
	if g, greeting := l.stream.(*simGreeting); greeting {
		err := l.feed()
		if err == errGreeted {
			g.said(g.hello)
			return
		}
		l.took(err)
	}
}

// take has the stream accept what has come. What a standby does with it may wait for its disk; it is given one thing after the other,
// so that the writer of its journal takes each when it has come, and not as many as have by chance.
func (l *simLink) take() {
	if _, standby := l.stream.(*simReceiver); !standby {
		l.took(l.feed())
		return
	}
	l.busy = true
	portion := l.inbox[:1]
	l.inbox = l.inbox[1:]
	l.t.n.job(func() func() {
		err := l.feedThese(portion)
		return func() {
			l.busy = false
			l.took(err)
		}
	})
}

func (l *simLink) feed() error {
	portions := l.inbox
	l.inbox = nil
	return l.feedThese(portions)
}

func (l *simLink) feedThese(portions [][]byte) error {
	in := &l.in
	for i, b := range portions {
		for len(b) > 0 {
			n := copy(in.room(), b)
			b = b[n:]
			err := in.took(n)
			if err == errGreeted { // the rest is for what comes now
				size, _ := frameSize(in.buf[in.start:])
				rest := slices.Concat(in.buf[in.start+size:in.end], b)
				l.inbox = slices.Concat([][]byte{rest}, portions[i+1:], l.inbox)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *simLink) took(err error) {
	switch {
	case l.ended || l.t.dead:
	case err != nil:
		l.breakOff(broken(err))
	}
}

// receiveEnd is a FIN or RST. What came before it is accepted first.
func (l *simLink) receiveEnd() {
	if l.number != 0 && !l.busy && l.closing == nil && l.stream != nil {
		l.reap()
	}
	if l.busy || len(l.inbox) > 0 && l.number != 0 {
		l.t.after(time.Millisecond, l.receiveEnd)
		return
	}
	l.breakOff(&Broken{Closed, errors.New("the peer closed the connection")})
}

// hangup is the end of the context of a link: the last signals still go, and what comes is accepted for a moment.
func (l *simLink) hangup() {
	if l.ended || l.hung {
		return
	}
	l.hung = true
	if l.link != nil {
		l.conn.write(l.side, l.link.takeSignals(nil))
	}
	l.conn.close(l.side, true)
	ended := &Broken{Ended, errors.New("hung up")}
	if l.link == nil || l.t.n.s.chance(50) {
		l.breakOff(ended)
		return
	}
	l.t.n.s.schedule(l.t.n.s.between(0, lastWords), l.t.n, func() { l.breakOff(ended) })
}

// breakOff ends the link, once what goes on has ended.
func (l *simLink) breakOff(b *Broken) {
	if l.ended || l.closing != nil || l.t.dead {
		return
	}
	l.closing = b
	l.conn.close(l.side, true)
}

// finish is the rest of serveLink.
func (l *simLink) finish() {
	t := l.t
	l.forget()
	current := t.link == l
	if current {
		t.link, t.closed = nil, l.closing.Ending == Closed
	}
	if l.number == 0 {
		return
	}
	t.n.s.note("%s: link %d has ended: %s", t.n.name, l.number, simText(l.closing))
	t.n.s.checker.linkEnded(t, l.closing)
	if t.over || t.dead {
		return
	}
	t.decide(Event{Kind: OnUnlinked, Link: l.number})
	if current && l.link.peer.Master && t.lonely() {
		t.seekPeer(0)
	}
}

func (l *simLink) forget() {
	l.ended = true
	l.conn.ends[l.side] = nil
	l.t.all = slices.DeleteFunc(l.t.all, func(other *simLink) bool { return other == l })
}

// abandon is what the system does with the connection of a process that has died.
func (l *simLink) abandon() {
	l.ended = true
	l.conn.ends[l.side] = nil
	pipe := &l.conn.pipes[l.side]
	if l.t.n.s.chance(50) && len(pipe.queue) > 0 { // RST overtakes what was under way, from any octet on
		keep := l.t.n.s.rng.IntN(len(pipe.queue))
		pipe.queue = pipe.queue[:keep+1]
		if p := &pipe.queue[keep]; len(p.octets) > 0 {
			p.octets = p.octets[:l.t.n.s.rng.IntN(len(p.octets))]
		}
	}
	l.conn.close(l.side, l.t.n.hostUp)
}

// More of the methods of shell.

func (t *simTerm) signalled(link uint64) func(Signal) {
	return func(s Signal) { t.decide(Event{Kind: OnSignal, Link: link, Signal: s}) }
}

func (t *simTerm) probe() {
	t.later(func() {
		if !t.over && !t.dialling {
			t.seekPeer(0)
		}
	})
}

func (t *simTerm) send(link uint64, s Signal) {
	if l := t.linkOf(link); l != nil && !t.gone() {
		l.link.Send(s)
	}
}

func (t *simTerm) hangup(link uint64) {
	if l := t.linkOf(link); l != nil {
		t.later(l.hangup)
	}
}

func (t *simTerm) follow(link uint64, _ uint32) {
	l := t.linkOf(link)
	if l == nil {
		return
	}
	l.waits = slices.Clone(t.masters)
	t.masters = append(slices.DeleteFunc(t.masters, func(l *simLink) bool { return l.ended }), l)
	l.made = func() (Stream, error) {
		return newSimReceiver(l, NewReceiver(t.log, ReceiverOptions{
			OnSignal:   t.signalled(link),
			OnCommit:   t.broker.follow,
			OnReplace:  func() error { return t.yield(link) },
			OnReplaced: func() { t.later(t.replaced) },
			OnStored: func(seq uint64, epoch uint32) {
				t.decide(Event{Kind: OnAppended, Link: link, Seq: seq, Epoch: epoch})
			},
			OnCut: func(after uint64) error { return t.shorten(link, after) },
			OnPlanned: func(end journal.Position, cluster ID, epoch uint32) error {
				t.decide(Event{Kind: OnPlanned, Link: link, Seq: end.Seq, Epoch: epoch, Cluster: cluster})
				if l.hung || t.over || t.dead {
					return errors.New("hung up")
				}
				return nil
			},
		})), nil
	}
}

func (t *simTerm) replicate(link uint64, epoch uint32) {
	l := t.linkOf(link)
	if l == nil {
		return
	}
	l.made = func() (Stream, error) {
		l.sender = NewSender(t.log, epoch, l.link.peer, SenderOptions{
			OnSignal:   t.signalled(link),
			OnNear:     func() { t.decide(Event{Kind: OnNear, Link: link}) },
			OnSnapshot: func() { t.decide(Event{Kind: OnSnapshot, Link: link}) },
		})
		if plan := l.sender.Plan(); plan != nil {
			t.n.s.note("%s plans from %d, cut %t, snapshot %t, refused %q", t.n.name, plan.From.Seq, plan.Cut, plan.Snapshot, plan.Refused)
		}
		return l.sender, nil
	}
}

func (t *simTerm) sendSnapshot(link uint64) {
	if l := t.linkOf(link); l != nil {
		l.sender.SendSnapshot()
	}
}
