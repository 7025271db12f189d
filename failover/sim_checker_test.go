package failover

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"baton/journal"
)

// A simChecker knows what clients were told and what both nodes have done, and finds what must not be (README.md has the
// invariants by their names).
type simChecker struct {
	s         *sim
	stats     simStats
	activated map[uint32]ID               // by epoch: the term
	committed map[uint64]journal.Position // by Seq
	receipted map[uint64]uint32           // by Seq: the epoch of the entry
	newest    uint64                      // of them
	serving   uint32                      // the newest epoch of which clients were served
	known     map[int]bool                // the messages that its log had then, or has got
	settled   map[int]bool
	holder    *simTerm

	// Of the newest promotion with a loss (R11): what a term of an older epoch says counts no more, and until the promoted one
	// serves, nobody knows what is lost.
	overruled uint32
	amnesty   bool
}

func (c *simChecker) init(s *sim) {
	*c = simChecker{
		s: s, activated: map[uint32]ID{}, committed: map[uint64]journal.Position{}, receipted: map[uint64]uint32{},
		known: map[int]bool{}, settled: map[int]bool{},
	}
}

// forced is told of each change of the register. Where a master has written it anew, and nobody has been one after it, nothing is lost.
func (c *simChecker) forced(r *Record) {
	if r.Forced && r.Overruled == r.Epoch && r.Epoch > c.overruled && !c.anew(r) {
		c.overruled, c.amnesty = r.Epoch, true
		for _, n := range c.s.nodes {
			n.spoilt = false
		}
	}
}

// anew says that a record is of the newest master that there was.
func (c *simChecker) anew(r *Record) bool {
	t := c.s.nodes[slices.Index(nodeNames[:], r.Master)].term
	if t == nil || !t.owns(r.Nonce) || !t.state.role.IsMaster() {
		return false
	}
	for epoch := range c.activated {
		if epoch > t.state.epoch {
			return false
		}
	}
	return true
}

// void says that what a term does counts for nothing, because another node was promoted with a loss.
func (c *simChecker) void(t *simTerm) bool { return t.state.epoch < c.overruled }

// forgive takes what the promoted node has for everything that there ever was.
func (c *simChecker) forgive(b *simBroker) {
	if !c.amnesty || b.epoch < c.overruled {
		return
	}
	c.amnesty = false
	maps.DeleteFunc(c.committed, func(seq uint64, want journal.Position) bool {
		at, err := b.t.log.j().PositionAt(seq)
		return err != nil || at != want
	})
	maps.DeleteFunc(c.receipted, func(seq uint64, epoch uint32) bool { return c.committed[seq].Epoch != epoch })
	c.newest = slices.Max(append(slices.Collect(maps.Keys(c.receipted)), 0))
	clients := &c.s.clients
	gone := func(id int, _ uint32) bool {
		_, live := b.live[id]
		return !live && !clients.asked[id]
	}
	maps.DeleteFunc(clients.sent, gone)
	maps.DeleteFunc(clients.seen, gone)
	maps.DeleteFunc(clients.settled, func(id int, _ uint32) bool {
		_, live := b.live[id]
		return live
	})
	clear(c.known)
	clear(c.settled)
}

// checkAlways is about every moment. S10: at most one node may give messages to clients.
func (s *sim) checkAlways() {
	a, b := s.nodes[0].term, s.nodes[1].term
	for _, n := range s.nodes {
		if n.term != nil && !n.disk.dead() && n.term.log != nil {
			n.kept = n.term.log.Pair()
		}
	}
	if a != nil && b != nil && a.permit.Valid() && b.permit.Valid() && !s.checker.void(a) && !s.checker.void(b) {
		s.violate("S10", "both nodes may give messages to clients: a until %d at %v, b until %d at %v",
			a.permit.until.Load(), s.nodes[0].clock(), b.permit.until.Load(), s.nodes[1].clock())
	}
}

// S6: what a node has promised it still knows. S2: it still has what was acknowledged, if it is in sync.
func (c *simChecker) opened(t *simTerm) {
	n, p := t.n, t.log.Pair()
	if old := n.kept; p.Journal == old.Journal && !n.damaged && (p.Promised < old.Promised || p.RegRev < old.RegRev && p.Promised == old.Promised) {
		c.s.violate("S6", "%s remembers epoch %d and revision %d after %d and %d", n.name, p.Promised, p.RegRev, old.Promised, old.RegRev)
	}
	if c.s.register.head().Record.Lists(Member{n.name, ID(t.log.ID())}) && !c.amnesty && !n.rolledBack {
		c.holds("S2", t, c.newest)
	}
}

// holds checks that a journal has an acknowledged entry, and so all before it.
func (c *simChecker) holds(name string, t *simTerm, seq uint64) {
	if seq == 0 {
		return
	}
	want, known := c.committed[seq]
	if t.log.Durable() < seq {
		c.s.violate(name, "%s has seq %d durable, %d is acknowledged", t.n.name, t.log.Durable(), seq)
		return
	}
	at, err := t.log.j().PositionAt(seq)
	if err != nil && !t.n.damaged && !errors.Is(err, journal.ErrNotFound) && !errors.Is(err, journal.ErrTrimmed) {
		c.s.violate(name, "%s cannot tell its seq %d: %v", t.n.name, seq, err)
	}
	if err == nil && known && at != want {
		c.s.violate(name, "%s has another seq %d: epoch %d, where epoch %d is acknowledged", t.n.name, seq, at.Epoch, want.Epoch)
	}
}

// S1, S12: an epoch has one master, whose own CAS began it.
func (c *simChecker) activates(t *simTerm, epoch uint32) {
	c.stats.masters++
	if id, ok := c.activated[epoch]; ok && id != t.incarnation {
		c.s.violate("S1", "%s activates epoch %d, which has had a master", t.n.name, epoch)
	}
	c.activated[epoch] = t.incarnation
	own := slices.ContainsFunc(c.s.register.accepted, func(r Reading) bool {
		return r.Record.Epoch == epoch && r.Record.Master == t.n.name && t.owns(r.Record.Nonce)
	})
	if !own {
		c.s.violate("S12", "%s activates epoch %d without a CAS of its own", t.n.name, epoch)
	}
}

// S11: who asks for the role is listed where it asks, and has a journal that is not empty. One that is empty begins no pair
// beside a stranger.
func (c *simChecker) claims(t *simTerm, revision uint64, r *Record) {
	if revision == 0 && t.doubts && t.log.Last() == 0 && r.Overruled != r.Epoch {
		c.s.violate("S11", "%s begins a pair beside a stranger", t.n.name)
	}
	if r.Master != t.n.name || r.Epoch == t.state.epoch && t.state.role.IsMaster() || revision == 0 || r.Overruled == r.Epoch {
		return
	}
	listed := slices.ContainsFunc(c.s.register.accepted, func(a Reading) bool { // perhaps before the register was emptied
		return a.Revision == revision && a.Record.Lists(Member{t.n.name, ID(t.log.ID())})
	})
	if !listed {
		c.s.violate("S11", "%s asks to be master at revision %d, where it is not in sync", t.n.name, revision)
	}
}

// R1, S5: what a master commits is on its disk, and is what all others commit there.
func (c *simChecker) commits(t *simTerm, seq uint64) {
	if d := t.log.Durable(); seq > d {
		c.s.violate("R1", "%s commits seq %d, and has %d durable", t.n.name, seq, d)
	}
	if !c.void(t) {
		c.agree(t, seq)
	}
}

// S5: as a standby.
func (c *simChecker) follows(t *simTerm, seq uint64) {
	if !t.gone() && !c.void(t) {
		c.agree(t, seq)
	}
}

func (c *simChecker) agree(t *simTerm, seq uint64) {
	at, err := t.log.j().PositionAt(seq)
	if err != nil {
		return
	}
	if old, ok := c.committed[seq]; ok && old != at && !c.amnesty {
		c.s.violate("S5", "%s commits seq %d of epoch %d, chain %08x; epoch %d, %08x was committed", t.n.name, seq, at.Epoch, at.Chain, old.Epoch, old.Chain)
	}
	c.committed[seq] = at
}

// S2, S4: what is acknowledged is durable on all that are in sync, and known to whoever is master by now.
func (c *simChecker) receipts(t *simTerm, r simReceipt) {
	c.stats.receipts++
	if c.void(t) {
		return
	}
	at, err := t.log.j().PositionAt(r.seq)
	switch old, ok := c.committed[r.seq]; {
	case errors.Is(err, journal.ErrNotFound) && r.seq <= t.log.Committed(): // nobody needs it, and it is cleaned away already
		at.Epoch = t.broker.epoch
	case err != nil:
		c.s.violate("S2", "%s confirms seq %d: %v", t.n.name, r.seq, err)
		return
	case ok && old != at:
		c.s.violate("S5", "%s confirms seq %d of epoch %d, %d was committed", t.n.name, r.seq, at.Epoch, old.Epoch)
		fallthrough
	default:
		c.committed[r.seq] = at
	}
	c.receipted[r.seq] = at.Epoch
	c.newest = max(c.newest, r.seq)
	head := c.s.register.head().Record
	for _, n := range c.s.nodes {
		if n.term != nil && !n.rolledBack && head.Lists(Member{n.name, ID(n.term.log.ID())}) {
			c.holds("S2", n.term, r.seq)
		}
	}
	if c.serving > t.broker.epoch {
		if r.kind == 'M' && !c.known[r.id] || r.kind == 'S' && !c.settled[r.id] {
			c.s.violate("S4", "%s confirms %c %d of epoch %d, which the master of epoch %d does not have", t.n.name, r.kind, r.id, t.broker.epoch, c.serving)
		}
	}
}

// S3, S8, S9: who serves has what was acknowledged, nothing that was settled, and what was seen.
func (c *simChecker) serves(t *simTerm) {
	b := &t.broker
	c.s.note("%s serves in epoch %d, %d messages", t.n.name, b.epoch, len(b.live))
	if c.void(t) {
		return
	}
	c.forgive(b)
	c.facts(t)
	if b.epoch > c.serving {
		c.serving, c.holder = b.epoch, t
		for id := range b.live {
			c.known[id] = true
		}
		maps.Copy(c.settled, b.settled)
		for id := range b.settled {
			c.known[id] = true
		}
	}
}

// facts are those of earlier epochs, and of its own: one that stood still may begin to serve when there is a later one already, and
// then S4 and S10 are what matters.
func (c *simChecker) facts(t *simTerm) {
	b, clients := &t.broker, &c.s.clients
	for id, epoch := range clients.sent {
		if _, live := b.live[id]; !live && !clients.asked[id] && epoch <= b.epoch {
			c.s.violate("S3", "%s serves in epoch %d without message %d, which was acknowledged", t.n.name, b.epoch, id)
			return
		}
	}
	for id, epoch := range clients.settled {
		if _, live := b.live[id]; live && epoch <= b.epoch {
			c.s.violate("S8", "%s serves in epoch %d with message %d, which was settled", t.n.name, b.epoch, id)
			return
		}
	}
	for id, epoch := range clients.seen {
		if _, live := b.live[id]; !live && !clients.asked[id] && epoch <= b.epoch {
			c.s.violate("S9", "%s serves in epoch %d without message %d, which a client has seen", t.n.name, b.epoch, id)
			return
		}
	}
}

// S8: what was settled is not given to anybody.
func (c *simChecker) dispatches(t *simTerm, id int) {
	c.s.note("%s gives message %d", t.n.name, id)
	if _, settled := c.s.clients.settled[id]; settled && !c.void(t) {
		c.s.violate("S8", "%s gives message %d to a client, which was settled", t.n.name, id)
	}
}

// S7: what is cut away was never acknowledged, and is kept.
func (c *simChecker) cut(t *simTerm, tail []journal.Record) {
	if t.gone() {
		return
	}
	c.stats.cuts++
	for _, r := range tail {
		if c.amnesty {
			break
		}
		if epoch, ok := c.receipted[r.Seq]; ok && epoch == r.Epoch {
			c.s.violate("S7", "%s cuts seq %d of epoch %d away, which was acknowledged", t.n.name, r.Seq, r.Epoch)
		}
	}
	kept := 0
	for _, name := range asideOn(t.n) {
		if isSegment(path.Base(name)) { // what a crash left of an earlier attempt may be there, too
			kept = max(kept, c.sameAs(t, path.Dir(name), tail))
		}
	}
	if kept != len(tail) {
		c.s.violate("S7", "%s cuts %d records away and keeps %d", t.n.name, len(tail), kept)
	}
}

// sameAs is how many of the records are in a directory.
func (c *simChecker) sameAs(t *simTerm, dir string, tail []journal.Record) (n int) {
	in, err := journal.Inspect(t.n.disk.fs, dir)
	if err != nil {
		return 0
	}
	defer in.Close()
	for i := range in.Files {
		_ = in.Read(i, func(r journal.Record) error {
			if n < len(tail) && tail[n].Seq == r.Seq && bytes.Equal(tail[n].Body, r.Body) {
				n++
			}
			return nil
		})
	}
	return n
}

// linkEnded knows which ends of a connection nobody should see.
func (c *simChecker) linkEnded(t *simTerm, b *Broken) {
	if errors.Is(b, ErrDiverged) && c.overruled == 0 && !c.s.nodes[0].damaged && !c.s.nodes[1].damaged {
		c.s.violate("S5", "%s: %v", t.n.name, b)
	}
}

// finalCheck is about a pair that is whole again.
func (s *sim) finalCheck() {
	for _, n := range s.nodes {
		if t := n.term; t != nil && t.broker.serving {
			s.checker.facts(t)
		}
	}
	a, b := s.nodes[0].term, s.nodes[1].term
	if a == nil || b == nil {
		return
	}
	seq := min(a.log.Durable(), b.log.Durable())
	pa, erra := a.log.j().PositionAt(seq)
	pb, errb := b.log.j().PositionAt(seq)
	if erra == nil && errb == nil && pa != pb {
		s.violate("S5", "the journals differ at seq %d", seq)
	}
	if err := errors.Join(s.sound(a), s.sound(b)); err != nil {
		s.violate("soundness", "%v", err)
	}
}

// sound reads everything.
func (s *sim) sound(t *simTerm) error {
	if t.n.damaged {
		return nil
	}
	err := t.log.Read(0, func(journal.Record) error { return nil })
	if err != nil && !strings.Contains(err.Error(), "closed") {
		return fmt.Errorf("node %s: %w", t.n.name, err)
	}
	return nil
}
