package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
)

// What a term says of itself, and what an operator may ask of it.

// Valid says whether clients may be given messages at this moment (R8).
func (t *Term) Valid() bool { return t.permit.Valid() }

// Renewed is closed when Valid may have become true.
func (t *Term) Renewed() <-chan struct{} { return t.permit.Renewed() }

// Copies is how many journals will hold what is stored at this moment.
func (t *Term) Copies() int { return int(t.copies.Load()) }

// Kept is how many journals do hold everything that is committed, up to a Seq.
func (t *Term) Kept(seq uint64) int {
	if seq <= t.kept.Load() {
		return 2
	}
	return 1
}

// keep notes what is committed while the other node may take over: that has it. The caller holds the member's lock.
func (t *Term) keep() {
	if t.state.shared() {
		t.kept.Store(t.state.Commit())
	}
}

// copiesOf says that of a role. A master that is held waits for its standby, or goes on alone; where it must not (Block),
// it refuses what comes when it has waited for long.
func (t *Term) copiesOf(role Role) int32 {
	switch {
	case role == Duplex, role == HandingOver, role == Held && t.n.opt.Terms.Block && !t.refusing:
		return 2
	}
	return 1
}

// Epoch is that of the master which this node is or follows. It waits for nothing.
func (t *Term) Epoch() (epoch uint32) { return t.epoch.Load() }

// Brokers are the addresses at which clients find the pair, the master's first. It waits for nothing that takes long.
func (n *Node) Brokers() []string {
	own := "tcp://" + n.opt.Advertise
	address, leads := n.other()
	other := "tcp://" + address
	switch {
	case address == "":
		return []string{own}
	case leads:
		return []string{other, own}
	}
	return []string{own, other}
}

// Relays says whether a host is that of the other node, whose door hands clients on to this one. It waits for nothing.
func (n *Node) Relays(host string) bool {
	met := n.meets.Load()
	return met != nil && *met == host
}

// other is where the other node serves clients, and whether that is the master, as far as this node knows.
func (n *Node) other() (address string, leads bool) {
	n.mu.Lock()
	t, last := n.term, n.last
	n.mu.Unlock()
	if t == nil {
		return last.Peer.Advertise, last.Master != "" && last.Master == last.Peer.Node
	}
	t.statusMu.Lock()
	defer t.statusMu.Unlock()
	return t.peer.Advertise, !t.role.IsMaster() && t.follows != "" && t.follows == t.peer.Node
}

// note sees whether the role has changed, or what an operator waits for; the caller holds the member's lock.
func (t *Term) note() {
	if epoch := t.state.Epoch(); epoch != t.epoch.Load() {
		t.epoch.Store(epoch)
	}
	role, asking := t.state.Role(), t.state.Overruling()
	if role == t.noted && asking == t.asking {
		return
	}
	t.statusMu.Lock()
	defer t.statusMu.Unlock()
	if role != t.noted {
		t.role, t.since = role, time.Now()
		if role.IsMaster() {
			t.reason = ""
		}
		t.keep() // what was committed alone, and what has it now
		t.copies.Store(t.copiesOf(role))
		t.logger.Info("role", zap.Stringer("role", role), zap.Uint32("epoch", t.state.Epoch()))
	}
	t.noted, t.asking = role, asking
	close(t.changed)
	t.changed = make(chan struct{})
}

// change is the role; changed is closed when that changes, or an operator's word has come to its end.
func (t *Term) change() (role Role, changed <-chan struct{}) {
	t.statusMu.Lock()
	defer t.statusMu.Unlock()
	return t.role, t.changed
}

// following notes whom this node follows.
func (t *Term) following(node string) {
	t.statusMu.Lock()
	t.follows = node
	t.statusMu.Unlock()
}

// met notes who is at the other end of a new connection; the caller holds linkMu.
func (t *Term) met(h Hello) {
	t.statusMu.Lock()
	t.peer.Node, t.peer.Advertise, t.peer.Linked, t.peer.Since, t.pairs = h.Node, h.Advertise, true, time.Now(), h.Cluster
	t.statusMu.Unlock()
}

// parted notes that the connection has ended; the caller holds linkMu, for a new one may come at once.
func (t *Term) parted() {
	t.statusMu.Lock()
	t.peer.Linked, t.peer.Since = false, time.Now()
	t.statusMu.Unlock()
}

// heard notes what came of asking the register.
func (t *Term) heard(r Reading, err error) {
	state := "reachable"
	switch {
	case errors.Is(err, ErrNoRegister), errors.Is(err, ErrRecord):
		state = err.Error()
	case err != nil:
		state = "unreachable"
	}
	if err == nil {
		t.sound(alarmRegisterAway, false)
	}
	t.statusMu.Lock()
	defer t.statusMu.Unlock()
	if state != t.register.State {
		t.register.State, t.register.Since = state, time.Now()
		if state != "reachable" && t.ctx.Err() == nil {
			t.logger.Warn("the register", zap.String("state", state), zap.Error(err))
		}
	}
	t.register.Revision = max(t.register.Revision, r.Revision)
	if err == nil {
		t.record = r
	}
}

// Status is what the node knows at this moment.
func (t *Term) Status() Status {
	s := Status{Node: t.n.opt.Terms.Node, Journal: ID(t.log.ID()).String(), InSync: []string{}, Alarms: []string{}}
	revision := uint64(0)
	duplex, joined := false, false
	t.look(func(state *State) {
		role := state.Role()
		duplex, joined = role == Duplex, state.Joined()
		s.Role, s.Epoch, s.Serving = role.String(), max(state.Epoch(), state.Kept().Promised), role.IsMaster() && role != Activating
		if id := state.Kept().Cluster; id != (ID{}) {
			s.Cluster = id.String()
		}
		r, known, _ := state.Seen()
		revision, s.InSyncKnown = r.Revision, known
		if known && r.Found {
			for _, m := range r.Record.InSync {
				s.InSync = append(s.InSync, m.Node)
			}
			s.Epoch, s.Forced = max(s.Epoch, r.Record.Epoch), r.Record.Forced
		}
		s.Peer.Flushed, s.Committed = state.Flushed(), state.Commit()
		if role.IsMaster() {
			s.Master, s.MasterAddress = s.Node, t.n.opt.Advertise
		}
	})
	s.Last, s.Durable, s.Surplus = t.log.Last(), t.log.Durable(), t.log.surplus()
	if s.Master != "" {
		s.Lease = t.permit.left().Seconds()
		lag := t.log.Lag()
		s.Peer.LagMessages, s.Peer.LagBytes, s.Peer.LagAbout, s.Peer.Copying = lag.Records, lag.Bytes, lag.About, lag.Copying
		if s.Lease < 0 {
			s.Lease = -1
		}
	} else {
		s.Committed = t.log.Committed()
	}
	s.Waits = t.whyNot()
	t.statusMu.Lock()
	defer t.statusMu.Unlock()
	s.Since, s.Reason, s.Alarms = t.since, t.reason, append(s.Alarms, t.alarms...)
	s.Peer.Node, s.Peer.Linked, s.Peer.Since, s.Peer.Advertise = t.peer.Node, t.peer.Linked, t.peer.Since, t.peer.Advertise
	if duplex && !(joined && s.Peer.Linked) { // nothing is committed until its standby is back, or it is alone
		s.Role = Held.String()
		if s.Peer.Since.After(s.Since) {
			s.Since = s.Peer.Since
		}
	}
	if s.Master == "" && t.follows != "" {
		s.Master, s.MasterAddress = t.follows, t.peer.Advertise
	}
	s.Register = t.register
	s.Register.Revision = max(s.Register.Revision, revision)
	return s
}

// switchoverRetry is how often a switchover is tried with a standby that is listed in sync and has just come back.
const switchoverRetry = 20 * time.Millisecond

// beginSwitchover asks for one until the standby is in step with this node, for as long as a switchover may take.
func (t *Term) beginSwitchover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.n.opt.Terms.HoldTimeout)
	defer cancel()
	for ctx.Err() == nil {
		if isClosed(t.over) {
			return fmt.Errorf("there was no switchover: %w", t.ended())
		}
		if role, _ := t.change(); role != Duplex {
			return fmt.Errorf("this node is %s: a switchover begins at a master whose standby is in sync", role)
		}
		var space Space
		var silent bool
		t.look(func(s *State) {
			space = s.PeerSpace()
			_, _, silent = s.Seen()
		})
		switch {
		case space == SpaceNone:
			return errors.New("there was no switchover: the disk of the standby is full. Make room there first")
		case silent:
			return errors.New("there was no switchover: the register does not answer")
		}
		t.handle(Event{Kind: OnSwitchover})
		if role, _ := t.change(); role != Duplex {
			return nil
		}
		sleep(ctx, switchoverRetry)
	}
	return errors.New("there was no switchover: the standby is not in step with this node, or the register not to be believed")
}

// switchover asks for one and waits for its end.
func (t *Term) switchover(ctx context.Context) error {
	if err := t.beginSwitchover(ctx); err != nil {
		return err
	}
	for {
		role, changed := t.change()
		switch {
		case t.why() == HandedOver:
			return nil
		case role == StoodDown, isClosed(t.over):
			return fmt.Errorf("there was no switchover: %w", t.ended())
		case role != HandingOver:
			return errors.New("there was no switchover: within failover.hold_timeout the standby did not come to have everything, " +
				"or was lost, or the register did not answer")
		}
		if err := t.await(ctx, changed); err != nil {
			return fmt.Errorf("the switchover goes on: %w", err)
		}
	}
}

// await waits for a change of the role or the end of the term. It returns the error of ctx where that ends first.
func (t *Term) await(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
	case <-t.over:
	case <-t.leaving.Done():
		return errors.New("this process ends")
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// ended is why this node has stood down, or why its term ends by another way.
func (t *Term) ended() error {
	if why := t.why(); why != 0 {
		return fmt.Errorf("this node has stood down: %s", why)
	}
	select {
	case <-t.over:
		return fmt.Errorf("this node begins again: %w", t.cause)
	default:
		return errors.New("this process ends")
	}
}

func (t *Term) why() Why {
	t.statusMu.Lock()
	defer t.statusMu.Unlock()
	return t.stoodDown
}

// promote asks for a forced promotion and waits until this node serves or, where it is the master already, until it has
// written the register anew.
func (t *Term) promote(ctx context.Context, acceptLoss bool) error {
	s := t.Status()
	if !acceptLoss {
		return fmt.Errorf("%s: nothing was done. This node has records up to seq %d, of epoch %d; in sync: %s. "+
			"Where this node is not among those, what only they have would be lost; if one of them serves clients now, "+
			"that it still does would be seen too late. Ask with --accept-loss if you accept that",
			s.Role, s.Last, t.log.End().Epoch, s.inSync())
	}
	var master bool
	t.look(func(s *State) { master = s.Role().IsMaster() })
	t.handle(Event{Kind: OnPromote})
	for {
		var role Role
		var changed <-chan struct{}
		var asking bool
		t.look(func(s *State) {
			role, changed = t.change()
			asking = s.Overruling()
		})
		switch {
		case master && t.why() == Reseeded, !master && slices.Contains([]Role{Solo, Duplex, Held}, role):
			return nil
		case role == StoodDown, isClosed(t.over):
			return t.ended()
		case !asking && role != Activating:
			return t.notPromoted()
		}
		if err := t.await(ctx, changed); err != nil {
			return t.giveUp(err)
		}
	}
}

// notPromoted is why a promotion is over that the register was to confirm.
func (t *Term) notPromoted() error {
	t.statusMu.Lock()
	read := t.record
	t.statusMu.Unlock()
	foreign := false
	t.look(func(s *State) {
		t := turn{State: s}
		foreign = read.Found && t.foreign(&read.Record)
	})
	if foreign {
		return fmt.Errorf("nothing was done, for the register has the record of another pair, whose master is %s, and nobody else "+
			"writes there: failover.name or failover.register.key is that of the other pair. If this node is to be of that pair, "+
			"connect it with its other node first", read.Record.Master)
	}
	return errors.New("the register has not confirmed it: this node has found a master, another change came first, " +
		"or the answer was lost. Look at the status, and ask again if it is still what you want")
}

// giveUp has a promotion that nobody waits for be void, if it can be. It must not come to pass when everybody has forgotten it.
func (t *Term) giveUp(err error) error {
	t.handle(Event{Kind: OnPromoteOver})
	asking := false
	t.look(func(s *State) { asking = s.Overruling() })
	if asking {
		return fmt.Errorf("the register was asked and has not answered: this node may become the master yet: %w", err)
	}
	return fmt.Errorf("nothing was done, for the register cannot be read, and nothing will be: %w", err)
}

// resync gives the journal up for that of the master.
func (t *Term) resync() error {
	var role Role
	var silent bool
	t.look(func(s *State) {
		_, _, silent = s.Seen()
		if role = s.Role(); role < Candidate && !silent {
			t.log.Resync()
			t.refusedBy("")
		}
	})
	switch {
	case silent:
		return errors.New("the register does not answer: the master must tell it before it sends a copy, and would wait for that. Nothing was done")
	case role.IsMaster():
		return errors.New("this node is the master: its journal is the one that counts")
	case role >= Candidate:
		return fmt.Errorf("this node is %s: ask again when it follows a master", role)
	}
	t.linkMu.Lock()
	l := t.link
	t.redial.due = time.Time{} // it may be that there is room by now
	t.linkMu.Unlock()
	if l != nil {
		l.Close()
	}
	return nil
}
