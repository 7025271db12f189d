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

// Copies is how many journals will hold what is acknowledged.
func (t *Term) Copies() int { return int(t.copies.Load()) }

// copiesOf says that of a role. A master that is held waits for its standby, or goes on alone; where it must not (Block),
// it refuses what comes when it has waited for long.
func (t *Term) copiesOf(role Role) int32 {
	switch {
	case role == Duplex, role == HandingOver, role == Held && t.n.opt.Terms.Block && !t.refusing:
		return 2
	}
	return 1
}

// Epoch is that of the master which this node is or follows.
func (t *Term) Epoch() (epoch uint32) {
	t.look(func(s *State) { epoch = s.Epoch() })
	return epoch
}

// Brokers are the addresses at which clients find the pair, the master's first.
func (n *Node) Brokers() []string {
	own := "tcp://" + n.opt.Advertise
	s := n.status()
	if s.Peer.Advertise == "" {
		return []string{own}
	}
	other := "tcp://" + s.Peer.Advertise
	if s.Master == s.Peer.Node {
		return []string{other, own}
	}
	return []string{own, other}
}

// note sees whether the role has changed; the caller holds the member's lock.
func (t *Term) note() {
	role := t.state.Role()
	if role == t.noted {
		return
	}
	t.noted = role
	t.copies.Store(t.copiesOf(role))
	t.logger.Info("role", zap.Stringer("role", role), zap.Uint32("epoch", t.state.Epoch()))
	t.statusMu.Lock()
	t.role, t.since = role, time.Now()
	close(t.changed)
	t.changed = make(chan struct{})
	t.statusMu.Unlock()
}

// change is closed when the role changes.
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

// met notes who is at the other end of a new connection.
func (t *Term) met(h Hello) {
	t.logger.Info("connected with the other node", zap.String("node", h.Node), zap.String("role", h.Role),
		zap.Uint32("epoch", h.Epoch), zap.Uint64("end", h.End.Seq))
	t.statusMu.Lock()
	t.peer.Node, t.peer.Advertise, t.peer.Linked, t.peer.Since = h.Node, h.Advertise, true, time.Now()
	t.statusMu.Unlock()
}

// parted notes that the connection has ended.
func (t *Term) parted(b *Broken) {
	t.logger.Info("the connection with the other node has ended", zap.Error(b))
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
	t.statusMu.Lock()
	defer t.statusMu.Unlock()
	if state != t.register.State {
		t.register.State, t.register.Since = state, time.Now()
		if state != "reachable" && t.ctx.Err() == nil {
			t.logger.Warn("the register", zap.String("state", state), zap.Error(err))
		}
	}
	t.register.Revision = max(t.register.Revision, r.Revision)
}

// Status is what the node knows at this moment.
func (t *Term) Status() Status {
	s := Status{Node: t.n.opt.Terms.Node, Journal: ID(t.log.ID()).String(), InSync: []string{}, Alarms: []string{}}
	revision := uint64(0)
	t.look(func(state *State) {
		role := state.Role()
		s.Role, s.Epoch, s.Serving = role.String(), state.Epoch(), role.IsMaster() && role != Activating
		if id := state.Kept().Cluster; id != (ID{}) {
			s.Cluster = id.String()
		}
		r, known, _ := state.Seen()
		revision = r.Revision
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
	s.Last, s.Durable = t.log.Last(), t.log.Durable()
	if s.Master != "" {
		s.Lease = t.permit.left().Seconds()
		lag := t.log.Lag()
		s.Peer.LagMessages, s.Peer.LagBytes = lag.Records, lag.Bytes
		if s.Lease < 0 {
			s.Lease = -1
		}
	} else {
		s.Committed = t.log.Committed()
	}
	t.statusMu.Lock()
	defer t.statusMu.Unlock()
	s.Since, s.Reason, s.Alarms = t.since, t.reason, append(s.Alarms, t.alarms...)
	s.Peer.Node, s.Peer.Linked, s.Peer.Since, s.Peer.Advertise = t.peer.Node, t.peer.Linked, t.peer.Since, t.peer.Advertise
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
		if role, _ := t.change(); role != Duplex {
			return fmt.Errorf("this node is %s: a switchover begins at a master whose standby is in sync", role)
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
		switch role {
		case StoodDown:
			if why := t.why(); why != HandedOver {
				return fmt.Errorf("there was no switchover: %s", why)
			}
			return nil
		case HandingOver:
		default:
			return errors.New("there was no switchover: the standby was lost meanwhile, or the register did not answer")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("the switchover goes on: %w", ctx.Err())
		}
	}
}

func (t *Term) why() Why {
	t.statusMu.Lock()
	defer t.statusMu.Unlock()
	return t.stoodDown
}

// promote asks for a forced promotion and waits until this node serves.
func (t *Term) promote(ctx context.Context, acceptLoss bool) error {
	s := t.Status()
	if !acceptLoss {
		return fmt.Errorf("%s: nothing was done. This node has records up to seq %d, of epoch %d; in sync are %v. "+
			"Where this node is not among those, what only they have would be lost; if one of them serves clients now, "+
			"that it still does would be seen too late. Ask with --accept-loss if you accept that",
			s.Role, s.Last, t.log.End().Epoch, s.InSync)
	}
	t.handle(Event{Kind: OnPromote})
	for {
		role, changed := t.change()
		switch {
		case role == StoodDown:
			return fmt.Errorf("this node has stood down: %s", t.why())
		case slices.Contains([]Role{Solo, Duplex, Held}, role):
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("this node is %s: the promotion goes on when the register answers: %w", role, ctx.Err())
		}
	}
}

// resync gives the journal up for that of the master.
func (t *Term) resync() error {
	if role, _ := t.change(); role.IsMaster() {
		return errors.New("this node is the master: its journal is the one that counts")
	}
	t.log.Resync()
	t.linkMu.Lock()
	l := t.link
	t.linkMu.Unlock()
	if l != nil {
		l.Close()
	}
	return nil
}
