package failover

// The invariants of README.md, by their names. Some are about a world, some about what a node is about to do.

// check finds what no world may be.
func (w *world) check() {
	w.s2()
	w.s5()
	w.s8s9()
	if w.limits.timed != nil && w.dispatches(0) && w.dispatches(1) {
		w.violate("S10", "both give messages to clients")
	}
}

// holds says that all that was acknowledged before an epoch is in the log of a node.
func (w *world) holds(n int, upto, before uint8) (uint8, bool) {
	m := &w.nodes[n]
	for seq, epoch := range w.committed {
		if epoch != 0 && w.ackedIn[seq] < before && (uint8(seq) > upto || m.log[seq] != epoch) {
			return uint8(seq), false
		}
	}
	return 0, true
}

func (w *world) durableEnd(n int) uint8 {
	if m := &w.nodes[n]; m.up {
		return uint8(m.s.durable)
	}
	return w.nodes[n].end
}

// S2: what was acknowledged is in the journal of everyone who is in sync, as the register says at any time.
func (w *world) s2() {
	for n, gen := range w.regs[w.rev].insync {
		if gen == 0 || gen-1 != w.nodes[n].gen {
			continue // another journal lies there by now, which is nobody
		}
		if seq, ok := w.holds(n, w.durableEnd(n), 8); !ok {
			w.violate("S2", "%s is in sync without seq %d", nodeNames[n], seq)
		}
	}
}

// S5: two journals that agree somewhere agree on everything before.
func (w *world) s5() {
	a, b := &w.nodes[0], &w.nodes[1]
	same := false
	for seq := min(a.end, b.end); seq > 0; seq-- {
		switch equal := a.log[seq] == b.log[seq]; {
		case same && !equal:
			w.violate("S5", "the journals differ at seq %d and agree later", seq)
		case equal:
			same = true
		}
	}
}

// S8, S9: the newest master has every entry that was acknowledged, of messages (that nobody saw what is gone) and of
// settlements (that nothing comes back).
func (w *world) s8s9() {
	newest := uint8(0)
	for epoch, node := range w.activated {
		if node != 0 {
			newest = uint8(epoch)
		}
	}
	if newest == 0 {
		return
	}
	n := int(w.activated[newest] - 1)
	m := &w.nodes[n]
	if m.up && m.s.role.IsMaster() && uint8(m.s.epoch) == newest {
		if seq, ok := w.holds(n, m.end, 8); !ok {
			w.violate("S8/S9", "%s serves in epoch %d without seq %d", nodeNames[n], newest, seq)
		}
	}
}

// S6: a node never takes back a promise. (The revision begins again with an epoch, where the register was written anew.)
func (w *world) checkPersist(n int, a *Action) {
	old := &w.nodes[n].kept
	if a.Kept.JournalID != old.JournalID || a.Kept.Promised < old.Promised ||
		a.Kept.Promised == old.Promised && a.Kept.RegRev < old.RegRev {
		w.violate("S6", "%s keeps %+v after %+v", nodeNames[n], a.Kept, *old)
	}
}

// S11: who asks for the role is listed, with this journal, where it asks. Who has no data and was answered by a stranger begins
// no pair.
func (w *world) checkClaim(n int, a *Action) {
	if m := &w.nodes[n]; a.Revision == 0 && m.doubts && m.end == 0 {
		w.violate("S11", "%s begins a pair beside a stranger", nodeNames[n])
	}
	if a.Record.Master != nodeNames[n] || a.Record.Epoch == w.nodes[n].s.epoch || a.Revision == 0 {
		return
	}
	m := &w.nodes[n]
	if a.Revision > uint64(w.rev) || w.regs[a.Revision].insync[n] != m.gen+1 {
		w.violate("S11", "%s asks to be master at revision %d, where it is not in sync", nodeNames[n], a.Revision)
	}
}

// S1, S3, S12: a mastership begins with the answer to the CAS of the process that begins it, once an epoch, where
// everything that was acknowledged is.
func (w *world) checkActivate(n int, a *Action, cause *Event) {
	if w.activated[a.Epoch] != 0 {
		w.violate("S1", "%s activates epoch %d, which has been", nodeNames[n], a.Epoch)
	}
	if r := w.nodes[n].s.ask.record; cause.Kind != OnAnswer || cause.Outcome != Done || r.Epoch != a.Epoch || r.Master != nodeNames[n] {
		w.violate("S12", "%s activates epoch %d without a CAS that is done", nodeNames[n], a.Epoch)
	}
	if seq, ok := w.holds(n, w.nodes[n].end, uint8(a.Epoch)); !ok {
		w.violate("S3", "%s activates epoch %d without seq %d", nodeNames[n], a.Epoch, seq)
	}
}

// commit acknowledges everything up to seq. S4: nothing in an epoch that has ended, unless it is where that epoch ended.
func (w *world) commit(n int, upto uint8) {
	m := &w.nodes[n]
	for seq := uint8(1); seq <= upto; seq++ {
		epoch := m.log[seq]
		switch w.committed[seq] {
		case epoch:
			continue
		case 0:
		default:
			w.violate("S5", "seq %d is acknowledged in epoch %d and in %d", seq, w.committed[seq], epoch)
		}
		w.committed[seq], w.ackedIn[seq] = epoch, uint8(m.s.epoch)
		for later := int(m.s.epoch) + 1; later < len(w.activated); later++ {
			if other := w.activated[later]; other != 0 && int(w.nodes[other-1].kept.Promised) >= later && w.nodes[other-1].log[seq] != epoch {
				w.violate("S4", "seq %d is acknowledged in epoch %d, and %s is master of %d without it", seq, m.s.epoch, nodeNames[other-1], later)
			}
		}
	}
}

// S7: what is cut away was never acknowledged.
func (w *world) checkCut(n int, after uint8) {
	m := &w.nodes[n]
	for seq := after + 1; seq <= m.end; seq++ {
		if m.log[seq] == w.committed[seq] {
			w.violate("S7", "%s cuts seq %d away, which was acknowledged", nodeNames[n], seq)
		}
	}
}
