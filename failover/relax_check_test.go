package failover

import "testing"

// Relaxed worlds come to whatever exact ones come to: the same journals, promises, masters, register and acknowledgements.
// (What else they come to does no harm: it would be found to violate something.)
func TestRelaxedWorldsMissNothing(t *testing.T) {
	t.Parallel()
	rules, messages := &mutant{}, 0
	if *modelStates >= 5_000_000 {
		messages = 1
	}
	relaxed := &limits{messages: messages, epochs: 2, writes: 3, crashes: unlimited, stale: 1, window: 1}
	exact := &limits{messages: messages, epochs: 2, revisions: 4, writes: 2, crashes: 1, cuts: 1, stale: 1, window: 1, exact: true}
	var p packer
	known := map[uint64]bool{}
	all := explore(relaxed, rules, 50_000_000)
	all.each = func(w *world) { known[w.gist(&p)] = true }
	all.run(settledPair(t, relaxed, rules))
	if !all.ended {
		t.Fatal("the end was not reached")
	}
	seen := map[uint64]bool{}
	root := settledPair(t, exact, rules)
	some := explore(exact, rules, *modelStates)
	some.each = func(w *world) {
		gist := w.gist(&p)
		if seen[gist] = true; !known[gist] && !t.Failed() {
			t.Errorf("relaxed worlds do not come to\n%v", w)
		}
	}
	some.run(root)
	t.Logf("%d exact states, to the end: %v, and %d relaxed ones; %d of %d gists", some.states.Load(), some.ended, all.states.Load(), len(seen), len(known))
}

// gist is what the invariants are about, but for what every further record is like.
func (w *world) gist(p *packer) uint64 {
	c := *w
	c.renumberLog()
	p.words, p.at, p.reading = packed{}, 0, false
	for n := range c.nodes {
		m := &c.nodes[n]
		durable, master := c.durableEnd(n), m.up && m.s.role.IsMaster()
		num(p, &m.end, 4)
		p.log(&m.log, m.end)
		num(p, &durable, 4)
		num(p, &m.kept.Promised, 3)
		if p.flag(&master); master {
			num(p, &m.s.epoch, 3)
			p.id(&m.s.listed, 1-n)
			p.id(&m.s.doubted, 1-n)
		}
	}
	r := &c.regs[c.rev]
	num(p, &r.epoch, 3)
	num(p, &r.master, 1)
	num(p, &r.insync[0], 2)
	num(p, &r.insync[1], 2)
	for seq := range c.committed {
		num(p, &c.committed[seq], 3)
	}
	for epoch := range c.activated {
		num(p, &c.activated[epoch], 2)
	}
	return p.fingerprint()
}
