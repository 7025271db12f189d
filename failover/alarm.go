package failover

import (
	"slices"
	"time"

	"go.uber.org/zap"
)

// Alarms beside those of a State: what a node sees that decides nothing, and that an operator must see to.
const (
	// alarmRegisterAway: the register has not answered for long. The pair goes on, but roles cannot change.
	alarmRegisterAway = "REGISTER_AWAY"
	// alarmRegisterForeign: the register has the record of a pair that neither this node nor its peer belongs to.
	alarmRegisterForeign = "REGISTER_FOREIGN"
	// alarmPeerForeign: who answers at the address of the other node is not the other node of this pair.
	alarmPeerForeign = "PEER_FOREIGN"
	// alarmBlocked: this node is the master, and acknowledges nothing: the status says what it waits for.
	alarmBlocked = "BLOCKED"
	// alarmDivergentKept: what may have been acknowledged was moved aside.
	alarmDivergentKept = "DIVERGENT_KEPT"
)

// registerPatience is after what time it matters that something is wrong with the register: a restart of it is shorter.
const registerPatience = 5 * time.Second

// raise is DoRaise and DoClear.
func (t *Term) raise(a Alarm, raised bool) { t.sound(a.String(), raised) }

// sound begins or ends an alarm; it says so once.
func (t *Term) sound(name string, raised bool, about ...zap.Field) {
	t.statusMu.Lock()
	defer t.statusMu.Unlock()
	i := slices.Index(t.alarms, name)
	switch {
	case raised && i < 0:
		t.alarms = append(t.alarms, name)
		t.logger.Warn("alarm", append(about, zap.String("alarm", name))...)
	case !raised && i >= 0:
		t.alarms = slices.Delete(t.alarms, i, i+1)
		t.logger.Info("alarm is over", zap.String("alarm", name))
	}
}

// watchRegister looks now and then whether the register is there and is that of this pair.
func (t *Term) watchRegister() {
	foreign := time.Duration(0)
	const every = time.Second
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-t.ctx.Done():
			return
		}
		t.statusMu.Lock()
		r, record := t.register, t.record
		t.statusMu.Unlock()
		away := r.State != "reachable" // heard says at once when that is over
		if !away || time.Since(r.Since) > registerPatience {
			t.sound(alarmRegisterAway, away, zap.String("register", r.State))
		}
		if foreign += every; !t.isForeign(&record) {
			foreign = 0
		}
		t.sound(alarmRegisterForeign, foreign > registerPatience, zap.Stringer("pair", record.Record.Cluster),
			zap.String("hint", "is failover.name, or failover.register.key, that of another pair?"))
	}
}

// isForeign says that a record is of a pair to which neither node belongs that is to be one here. While the other node is away it
// may be that this one is to join a pair.
func (t *Term) isForeign(r *Reading) bool {
	if own := t.log.Pair().Cluster; own != (ID{}) {
		return r.Found && r.Record.Cluster != own
	}
	t.statusMu.Lock()
	defer t.statusMu.Unlock()
	return r.Found && t.peer.Linked && t.pairs != r.Record.Cluster
}
