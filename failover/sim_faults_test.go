package failover

import (
	"bytes"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"time"

	"baton/journal"
	"baton/journal/memfs"
)

// What happens to a pair in a run, until the peace.

func (s *sim) faultLater() {
	s.after(s.between(50*time.Millisecond, 2*time.Second), func() {
		if !s.calm {
			s.checker.stats.faults++
			s.fault()
			s.faultLater()
		}
	})
}

func (s *sim) fault() {
	n := s.nodes[s.rng.IntN(2)]
	if s.chance(30) { // the master, if there is one
		for _, m := range s.nodes {
			if m.serves() {
				n = m
			}
		}
	}
	if special := s.mutant.fault; special != nil && s.chance(50) {
		special(s)
		return
	}
	switch s.rng.IntN(20) {
	case 0, 1, 2:
		s.kill(n, simKilled)
	case 3, 4:
		s.kill(n, s.hostCrash())
	case 5:
		s.bothLosePower()
	case 6, 7:
		s.partition()
	case 8:
		s.breakConnections()
	case 9, 10:
		if n.up && !n.paused {
			n.stop(s.between(50*time.Millisecond, 4*time.Second))
		}
	case 11:
		s.troubleRegister()
	case 12:
		s.switchover()
	case 13:
		s.armCrash(n)
	case 14:
		s.troubleDisk(n)
	case 15:
		s.leave(n)
	case 16:
		s.resync(n)
	case 17:
		s.emptyRegister()
	case 18:
		if s.reckless && s.register.head().Found { // else reseed sees to it, and an operator who knows where that may be done
			s.promote(n)
		}
	case 19:
		s.impersonate(n)
	}
}

// hostCrash is one after which some of what was not synced is there.
func (s *sim) hostCrash() simDeath {
	seed := s.rng.Uint64()
	keeps := []memfs.Keep{memfs.None, memfs.All, memfs.SizesOnly, memfs.Random(seed), memfs.RandomPages(seed)}
	return simDeath{host: true, keep: keeps[s.rng.IntN(len(keeps))]}
}

func (s *sim) kill(n *simNode, d simDeath) {
	if !n.up || n.paused {
		return
	}
	n.die(d)
	s.restartLater(n)
}

func (s *sim) restartLater(n *simNode) {
	if n.hostUp {
		s.after(s.between(20*time.Millisecond, 2*time.Second), func() { s.restart(n) })
		return
	}
	s.after(s.between(200*time.Millisecond, 3*time.Second), func() {
		if !n.up {
			n.hostUp = true
			s.after(s.between(0, 500*time.Millisecond), func() { s.restart(n) })
		}
	})
}

func (s *sim) restart(n *simNode) {
	if n.up {
		return
	}
	if !s.calm && s.chance(25) {
		s.loseDisk(n)
	}
	n.start()
}

func (s *sim) bothLosePower() {
	for _, n := range s.nodes {
		s.kill(n, s.hostCrash())
	}
}

// armCrash has a node die within what it does next.
func (s *sim) armCrash(n *simNode) {
	if !n.up {
		return
	}
	d := simKilled
	if s.chance(60) {
		d = s.hostCrash()
	}
	n.disk.setCrash(1+s.rng.IntN(40), func(fs *memfs.FS) *memfs.FS {
		n.hostUp = !d.host
		image := d.image(fs)
		s.restartLater(n)
		return image
	})
}

func (s *sim) partition() {
	cut := [3][3]bool{}
	for range 1 + s.rng.IntN(4) {
		cut[s.rng.IntN(3)][s.rng.IntN(3)] = true
	}
	for from := range s.reach {
		for to := range s.reach[from] {
			if from != to && cut[from][to] {
				s.reach[from][to] = false
			}
		}
	}
	s.note("reach %v", s.reach)
	s.after(s.between(100*time.Millisecond, 6*time.Second), s.heal)
}

func (s *sim) heal() {
	s.note("the network is whole")
	for i := range s.reach {
		s.reach[i] = [3]bool{true, true, true}
	}
	s.deliverHeld()
}

// breakConnections resets them, or lets them go silent.
func (s *sim) breakConnections() {
	for _, c := range s.conns {
		switch s.rng.IntN(4) {
		case 0:
			s.note("a connection is lost")
			c.lost = true
		case 1:
			s.note("a connection is reset")
			c.close(0, true)
			c.close(1, true)
		case 2:
			s.note("half a connection is reset")
			c.close(s.rng.IntN(2), true)
		}
	}
}

func (s *sim) troubleRegister() {
	r := s.register
	switch s.rng.IntN(3) {
	case 0:
		r.percent = s.rng.IntN(60)
		s.note("the register fails %d in a hundred", r.percent)
	case 1:
		s.note("the register does not answer")
		r.percent = 100
		s.after(s.between(time.Second, 8*time.Second), func() { r.percent = s.rng.IntN(20) })
	case 2:
		if r.head().Found && !r.removed {
			s.note("the register is gone")
			r.remove()
			s.after(s.between(100*time.Millisecond, 3*time.Second), r.restore)
		}
	}
}

func (s *sim) switchover() {
	for _, n := range s.nodes {
		if n.serves() && n.term.state.Role() == Duplex {
			s.note("%s is asked to hand over", n.name)
			n.term.decide(Event{Kind: OnSwitchover})
			return
		}
	}
}

func (s *sim) troubleDisk(n *simNode) {
	if !n.up {
		return
	}
	if s.chance(70) {
		n.slow = s.between(10*time.Millisecond, 2*time.Second)
		s.note("the disk of %s is slow: %v", n.name, n.slow)
		s.after(s.between(500*time.Millisecond, 3*time.Second), func() { n.slow = 0 })
		return
	}
	s.note("a sync of %s will fail", n.name)
	n.disk.mu.Lock()
	n.disk.failing = true
	n.disk.mu.Unlock()
}

// leave is SIGTERM. The process or its host may die before it has left, and the other one may be told to leave, too.
func (s *sim) leave(n *simNode) {
	t := n.term
	if t == nil || n.paused || t.over || t.leaves || t.state.role == StoodDown {
		return
	}
	s.note("%s is to leave", n.name)
	t.leaves = true
	t.leave(s.now + s.between(0, simTerms.HoldTimeout))
	soon := s.between(0, 50*time.Millisecond)
	switch s.rng.IntN(6) {
	case 0:
		s.after(soon, func() { s.kill(n, simKilled) })
	case 1:
		s.after(soon, func() { s.kill(n, s.hostCrash()) })
	case 2:
		s.after(soon, func() { s.kill(n.other(), simKilled) })
	case 3:
		s.after(soon, func() { s.leave(n.other()) })
	}
}

// impersonate has somebody else answer at a node's address for a while.
func (s *sim) impersonate(n *simNode) {
	s.note("a stranger has the address of %s", n.name)
	n.stranger = true
	s.after(s.between(500*time.Millisecond, 5*time.Second), func() { n.stranger = false })
}

// promote is what an operator says who accepts a loss (R11), and who waits for a while.
func (s *sim) promote(n *simNode) {
	t := n.term
	if t == nil || n.paused || t.over || !t.n.kept.Member() {
		return
	}
	s.note("%s is promoted", n.name)
	t.decide(Event{Kind: OnPromote})
	t.after(s.between(time.Second, 5*time.Second), func() { t.decide(Event{Kind: OnPromoteOver}) })
}

// emptyRegister is an arbiter that has lost its disk (R9). An operator has the register written anew.
func (s *sim) emptyRegister() {
	if s.register.head().Found && s.nodes[0].kept.Member() && s.nodes[1].kept.Member() && s.chance(50) {
		s.note("the register is empty")
		s.register.empty()
		s.after(s.between(time.Second, 3*time.Second), s.reseed)
	}
}

// reseed is done at the master: where one does not know yet that it is none, at that of the newest epoch. Where there is none, both
// nodes are started, and it is done at the one that has the most. It waits until no node goes by what it knows of the old register, and
// until what was asked of that has got lost.
func (s *sim) reseed() {
	if s.register.head().Found {
		return
	}
	s.after(s.between(2*time.Second, 4*time.Second), s.reseed)
	if s.register.asked > 0 || len(s.register.late) > 0 || slices.ContainsFunc(s.nodes[:], func(n *simNode) bool {
		return n.paused || n.term != nil && !n.term.state.Suspect()
	}) {
		return
	}
	var master *simNode
	for _, n := range s.nodes {
		if n.serves() && n.term.state.Role().IsMaster() && (master == nil || n.term.state.Epoch() > master.term.state.Epoch()) {
			master = n
		}
	}
	a, b := s.nodes[0], s.nodes[1]
	switch {
	case master != nil:
		s.promote(master)
	case a.term == nil || b.term == nil:
	case a.has() > b.has():
		s.promote(a)
	default:
		s.promote(b)
	}
}

// resync gives the journal of a node up that is not master. Whether a CAS of it is still under way, the operator cannot know.
func (s *sim) resync(n *simNode) {
	if t := n.term; t != nil && !n.paused && !t.over && !t.state.role.IsMaster() && s.chance(70) {
		s.note("%s is to resync", n.name)
		t.log.Resync()
		if t.link != nil {
			t.link.breakOff(&Broken{Ending: Ended, Err: errGreeted})
		}
	}
}

// loseDisk is what may befall a disk while the other node has everything, and is known to.
func (s *sim) loseDisk(n *simNode) {
	other := n.other()
	if !s.register.settledOn(other) || other.damaged || s.register.head().Record.Cluster == (ID{}) {
		return
	}
	listed := s.register.lists(n)
	switch s.rng.IntN(4) {
	case 0:
		s.wipe(n)
	case 1:
		s.flip(n, listed)
	case 2:
		if len(n.copies) > 0 { // A4
			s.rollBack(n, n.copies[s.rng.IntN(len(n.copies))], listed)
		}
	case 3:
		n.copies = append(n.copies, n.fs.CrashClone(memfs.All))
	}
}

// rollBack puts an old copy of a disk in its place; where its journal is in sync, one that can be found out.
func (s *sim) rollBack(n *simNode, disk *memfs.FS, listed bool) {
	if m, _ := s.register.head().Record.Member(n.name); listed {
		in, err := journal.Inspect(disk, "data/journal")
		if err != nil {
			return
		}
		defer in.Close()
		if ID(in.ID) != m.JournalID || in.Files[len(in.Files)-1].Last >= s.register.head().Record.MinSeq {
			return
		}
	}
	s.note("an old copy of the disk of %s comes back, in sync %t", n.name, listed)
	n.fs, n.kept, n.damaged, n.spoilt, n.rolledBack = disk.KillClone(), Pair{}, true, false, listed
}

func (s *sim) wipe(n *simNode) {
	s.note("the disk of %s is empty", n.name)
	n.fs, n.kept = memfs.New(), Pair{}
	n.damaged, n.spoilt, n.rolledBack, n.mend = false, false, false, nil
}

// flip changes a bit of a segment; where the journal is in sync, of one that the journal has promised to be whole.
func (s *sim) flip(n *simNode, listed bool) {
	var segments []string
	for _, name := range n.fs.Names() {
		if isSegment(name) && path.Dir(name) == "data/journal" {
			segments = append(segments, name)
		}
	}
	if listed {
		segments = segments[:max(0, len(segments)-1)]
	}
	if len(segments) == 0 {
		return
	}
	name := segments[s.rng.IntN(len(segments))]
	b := n.fs.Content(name)
	if len(b) == 0 {
		return
	}
	at := rand.New(rand.NewPCG(s.rng.Uint64(), 1)).IntN(len(b))
	bit := byte(1) << s.rng.IntN(8)
	b[at] ^= bit
	s.note("a bit of %s on %s flips", strings.TrimPrefix(name, "data/"), n.name)
	n.fs = n.fs.KillClone()
	n.fs.Put(name, slices.Clone(b))
	n.damaged, n.spoilt = true, listed
	n.mend = func() {
		if now := n.fs.Content(name); bytes.Equal(now, b) {
			now[at] ^= bit
			n.fs.Put(name, now)
		}
	}
}

// operatorWipes does what docs/failover.md says of a damaged journal: where the other node has everything, it gets an empty
// one; else the file comes back from a copy.
func (s *sim) operatorWipes(n *simNode) {
	s.after(500*time.Millisecond, func() {
		switch {
		case n.up:
		case s.register.settledOn(n.other()):
			s.wipe(n)
			n.start()
		case n.mend != nil && s.register.asked == 0 && len(s.register.late) == 0:
			s.note("a file of %s comes back from a copy", n.name)
			n.mend()
			n.start()
		default:
			s.operatorWipes(n)
		}
	})
}

// appease ends all faults.
func (s *sim) appease() {
	s.note("peace")
	s.calm = true
	s.register.percent = 0
	s.register.restore()
	s.heal()
	for _, n := range s.nodes {
		n.slow, n.stranger = 0, false
		n.resume()
		if n.up {
			n.disk.mu.Lock()
			n.disk.countdown, n.disk.failing = 0, false
			n.disk.mu.Unlock()
			continue
		}
		s.after(time.Second, func() {
			if !n.up {
				n.start()
			}
		})
	}
}
