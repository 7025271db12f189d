package failover

import (
	"math/bits"
	"time"
)

// A packed world, in as few bits as its limits allow. What no future depends on is left out, so that worlds which differ in
// nothing else are one: the numbers of connections and requests, old values of the register, frames nobody reads.
type packed [20]uint64

// A packer writes a world into packed, or reads it: one description of the format serves for both.
type packer struct {
	words   packed
	at      uint
	reading bool
	exact   bool
	timed   bool
}

func (p *packer) put(v uint64, n uint) {
	p.words[p.at>>6] |= v << (p.at & 63)
	if p.at&63+n > 64 {
		p.words[p.at>>6+1] |= v >> (64 - p.at&63)
	}
	p.at += n
}

func (p *packer) get(n uint) uint64 {
	i, shift := p.at>>6, p.at&63
	p.at += n
	v := p.words[i] >> shift
	if shift+n > 64 {
		v |= p.words[i+1] << (64 - shift)
	}
	return v & (1<<n - 1)
}

type number interface {
	~uint8 | ~uint32 | ~uint64 | ~int64
}

func num[T number](p *packer, v *T, n uint) {
	if p.reading {
		*v = T(p.get(n))
	} else {
		p.put(uint64(*v), n)
	}
}

func (p *packer) flag(v *bool) {
	switch {
	case p.reading:
		*v = p.get(1) == 1
	case *v:
		p.put(1, 1)
	default:
		p.at++
	}
}

// exactly is num where the world is exact, and nothing where relax leaves a zero.
func exactly[T number](p *packer, v *T, n uint) {
	if p.exact {
		num(p, v, n)
	}
}

// id is an id of a journal of a node.
func (p *packer) id(v *ID, node int) {
	gen := v[2]
	num(p, &gen, 2)
	if p.reading && gen != 0 {
		*v = journalID(uint8(node), gen-1)
	}
}

func (p *packer) cluster(v *ID) {
	node := v[1]
	num(p, &node, 2)
	if p.reading && node != 0 {
		*v = journalID(node-1, 0)
	}
}

func (p *packer) log(log *[maxSeq + 1]uint8, end uint8) {
	for seq := uint8(1); seq <= end; seq++ {
		num(p, &log[seq], 3)
	}
}

func (p *packer) world(w *world) {
	p.exact, p.timed = w.limits.exact, w.limits.timed != nil
	for n := range w.nodes {
		p.machine(w, n)
	}
	p.flag(&w.cut)
	for n := range w.dialed {
		num(p, &w.dialed[n], 4)
	}
	for n := range w.sides {
		p.side(&w.sides[n], 1-n)
	}
	p.register(w)
	for _, counter := range []*uint8{&w.messages, &w.crashes, &w.losses, &w.faults, &w.switchovers, &w.refreshes, &w.cuts} {
		num(p, counter, 3)
	}
	top := uint8(0)
	for seq, epoch := range w.committed {
		if epoch != 0 {
			top = uint8(seq)
		}
	}
	num(p, &top, 4)
	p.log(&w.committed, top)
	p.log(&w.ackedIn, top)
	for epoch := 1; epoch <= w.limits.epochs; epoch++ {
		num(p, &w.activated[epoch], 2)
	}
	if p.timed {
		num(p, &w.since, 4)
		w.now = [2]time.Duration{noon, noon}
	}
}

func (p *packer) machine(w *world, n int) {
	m := &w.nodes[n]
	num(p, &m.gen, 2)
	num(p, &m.kept.Promised, 3)
	exactly(p, &m.kept.RegRev, 4)
	p.cluster(&m.kept.Cluster)
	m.kept.JournalID = journalID(uint8(n), m.gen)
	num(p, &m.end, 4)
	p.log(&m.log, m.end)
	p.flag(&m.up)
	if w.limits.strangers {
		p.flag(&m.doubts)
	}
	if m.up {
		p.state(w, n, m)
	}
}

func (p *packer) state(w *world, n int, m *machine) {
	s := &m.s
	if p.reading {
		s.terms, s.kept, s.end = w.terms(n), m.kept, uint64(m.end)
		s.incarnation, s.lastEpoch = ID{2, uint8(n)}, m.kept.Promised
		if m.end > 0 {
			s.lastEpoch = max(s.lastEpoch, uint32(m.log[m.end]))
		}
	}
	num(p, &s.kept.Promised, 3)
	num(p, &s.role, 4)
	num(p, &s.epoch, 3)
	num(p, &s.durable, 4)
	p.peer(s, 1-n)
	p.seen(w, s)
	if p.exact {
		p.timers(s)
	}
	if p.timed {
		p.lease(s)
	}
	if s.role.IsMaster() {
		p.master(s, n)
	}
	if p.reading && m.s.peer.link != 0 {
		m.link = 1
	}
}

func (p *packer) timers(s *State) {
	p.flag(&s.suspect)
	p.flag(&s.silent)
	num(p, &s.lastEpoch, 3)
	promise, bootstrap, met := s.due[timerPromise] != 0, s.due[timerBootstrap] != 0, s.due[timerBootstrap] != forever
	p.flag(&promise)
	p.flag(&bootstrap)
	p.flag(&met)
	if p.reading {
		setTimer(s, timerPromise, promise)
		setTimer(s, timerBootstrap, bootstrap)
		if !met {
			s.due[timerBootstrap] = forever
		}
	}
}

func (p *packer) lease(s *State) {
	p.moment(&s.due[timerPromise])
	p.moment(&s.peer.lease)
	always := s.lease == forever
	if p.flag(&always); always {
		s.lease = forever
	} else {
		p.moment(&s.lease)
	}
}

// moment is a time near noon; 0: none.
func (p *packer) moment(t *time.Duration) { num(p, t, 5) }

func setTimer(s *State, timer int, set bool) {
	if set {
		s.due[timer] = never
	}
}

func (p *packer) master(s *State, n int) {
	p.flag(&s.serving)
	p.flag(&s.held)
	p.flag(&s.leaving)
	if p.exact {
		p.flag(&s.solo)
	}
	num(p, &s.commit, 4)
	p.id(&s.listed, 1-n)
	if p.reading && s.listed != (ID{}) {
		s.partner = nodeNames[1-n]
	}
	p.id(&s.doubted, 1-n)
	num(p, &s.draining, 3)
	if s.draining != drainNot {
		num(p, &s.drained, 4)
	}
}

func (p *packer) peer(s *State, other int) {
	linked := s.peer.link != 0
	if p.flag(&linked); p.exact {
		p.flag(&s.probed)
	} else {
		s.probed = true
	}
	q := &s.peer
	if p.reading {
		if linked {
			q.link, q.last, q.says.Node, q.promised = 1, 1, nodeNames[other], true
		}
	} else { // what is below what this node knows itself says nothing
		if q.says.Promised <= s.kept.Promised {
			q.says.Promised = 0
		}
		if q.says.RegRev <= s.kept.RegRev {
			q.says.RegRev = 0
		}
		if !linked && q.says.Promised == 0 && q.says.RegRev == 0 && s.kept.Cluster != (ID{}) {
			q.says.Cluster = ID{}
		}
		if s.kept.Cluster != (ID{}) || q.says.End > 1 {
			q.says.End = min(q.says.End, 1)
		}
	}
	exactly(p, &q.says.Promised, 3)
	exactly(p, &q.says.RegRev, 4)
	p.cluster(&q.says.Cluster)
	if !linked {
		return
	}
	p.flag(&q.says.Master)
	p.id(&q.says.JournalID, other)
	if s.kept.Cluster == (ID{}) {
		num(p, &q.says.End, 1)
	}
	if s.role.IsMaster() {
		num(p, &q.flushed, 4)
		p.flag(&q.near)
		if p.exact || p.timed {
			p.flag(&q.promised)
			p.flag(&q.unread)
		}
		if q.near {
			num(p, &q.join, 4)
		}
	}
}

// seen is what a node knows of the register. Its records are filled in by register.
func (p *packer) seen(w *world, s *State) {
	num(p, &s.seen.Revision, 4)
	if !p.reading && s.seen.Revision > s.beaten {
		s.beaten = 0
	}
	if p.exact {
		p.flag(&s.known)
	} else {
		s.known = s.seen.Revision != 0
	}
	exactly(p, &s.beaten, 4)
	p.flag(&s.ask.open)
	p.flag(&s.ask.doubtful)
	if s.ask.open {
		num(p, &s.ask.purpose, 3)
	}
	if s.ask.open || s.ask.doubtful {
		num(p, &s.ask.expect, 4)
		if p.exact || p.timed { // in other worlds who is not master has no doubts
			num(p, &s.ask.record.Epoch, 3)
		}
		if p.reading {
			s.ask.record.Nonce = nodeNames[s.terms.number()]
		}
	}
}

// number is the node that the terms are of.
func (t *Terms) number() int {
	if t.Node == "a" {
		return 0
	}
	return 1
}

func (p *packer) side(d *side, from int) {
	num(p, &d.phase, 2)
	if d.phase == sideNone {
		return
	}
	if d.phase == sideGreeted {
		h := &d.hello
		h.Node = nodeNames[from]
		p.flag(&h.Master)
		num(p, &h.Epoch, 3)
		exactly(p, &h.Promised, 3)
		exactly(p, &h.RegRev, 4)
		p.cluster(&h.Cluster)
		num(p, &h.End, 4)
		p.id(&h.JournalID, from)
		p.log(&d.helloLog, uint8(h.End))
	}
	num(p, &d.count, 3)
	for i := range d.count {
		f := &d.frames[i]
		num(p, &f.kind, 5)
		num(p, &f.epoch, 3)
		num(p, &f.seq, 4)
		if f.kind == kindOfPlan {
			num(p, &f.of, 4)
		}
		if p.timed {
			p.moment(&f.sent)
		}
	}
	p.flag(&d.fits)
	p.flag(&d.planned)
	p.flag(&d.sending)
	if d.sending {
		num(p, &d.sent, 4)
	}
}

func (p *packer) register(w *world) {
	num(p, &w.rev, 4)
	if p.exact {
		num(p, &w.floor, 4)
	} else {
		w.floor = min(w.rev, 1)
	}
	for rev := max(w.floor, 1); rev <= w.rev; rev++ {
		p.entry(w, &w.regs[rev])
	}
	num(p, &w.count, 2)
	for i := range w.count {
		c := &w.writes[i]
		num(p, &c.node, 1)
		p.flag(&c.waited)
		num(p, &c.applied, 2)
		num(p, &c.expect, 4)
		num(p, &c.rev, 4)
		p.entry(w, &c.record)
	}
	if p.reading {
		p.recall(w)
	}
}

// oldest is the first revision that somebody may read yet, or has seen.
func (w *world) oldest() uint8 {
	oldest := w.rev
	for n := range w.nodes {
		m := &w.nodes[n]
		seen, kept := uint8(m.s.seen.Revision), uint8(m.kept.RegRev)
		if seen == 0 {
			seen = kept
		}
		oldest = min(oldest, seen)
	}
	return oldest
}

// recall fills in the records that nodes have seen and asked for.
func (p *packer) recall(w *world) {
	for n := range w.nodes {
		s := &w.nodes[n].s
		if rev := s.seen.Revision; rev > 0 {
			s.seen = w.reading(uint8(rev))
		}
	}
	for i := range w.count {
		if c := &w.writes[i]; c.waited {
			s := &w.nodes[c.node].s
			s.ask.record = c.record.full()
		}
	}
}

// entry tells of a nonce only whether it is that of the last request of a node.
func (p *packer) entry(w *world, e *entry) {
	num(p, &e.epoch, 3)
	num(p, &e.master, 1)
	num(p, &e.by, 1)
	num(p, &e.insync[0], 2)
	num(p, &e.insync[1], 2)
	num(p, &e.minSeq, 4)
	num(p, &e.cluster, 2)
	class := uint8(0)
	for n := range w.nodes {
		if a := &w.nodes[n].s.ask; (a.open || a.doubtful && w.limits.exact) && e.nonce == a.record.Nonce {
			class = uint8(n + 1)
		}
	}
	num(p, &class, 2)
	if p.reading {
		e.nonce = [...]string{"-", "a", "b"}[class]
	}
}

// pack writes w, and makes it as it would be read again.
func (w *world) pack(p *packer) {
	p.words, p.at, p.reading = packed{}, 0, false
	p.world(w)
}

func (w *world) unpack(p *packer, words packed, l *limits, rules *mutant) {
	p.words, p.at, p.reading = words, 0, true
	*w = world{limits: l, rules: rules}
	p.world(w)
}

// fingerprint is 64 bits of a packed world, not 0.
func (p *packer) fingerprint() uint64 {
	a, b := uint64(0x9e3779b97f4a7c15), uint64(0xc2b2ae3d27d4eb4f)
	for _, word := range p.words[:p.at>>6+1] {
		hi, lo := bits.Mul64(word^a, 0xa0761d6478bd642f)
		a = bits.RotateLeft64(hi^lo^b, 23) * 0xe7037ed1a0b428db
		hi, lo = bits.Mul64(word^b, 0x8ebc6af09c88c6e3)
		b = bits.RotateLeft64(hi^lo^a, 41) * 0x589965cc75374cc3
	}
	return max(a^a>>31^b^b>>29, 1)
}
