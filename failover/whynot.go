package failover

import (
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
)

// What is wrong with what the register says (R9), and what to do about it.
const (
	noRecord = "the register has no record of this pair, and had one: are failover.name and failover.register what they were? " +
		"If the register is lost for good, have it written anew: baton failover promote --accept-loss, at the master"
	otherRecord = "the register has the record of another pair: are failover.name and failover.register what they were, " +
		"and is the data directory that of this node?"
	olderRecord = "the register says something older than this node has seen there: an old copy of it was put back. " +
		"If the newer one is lost for good, have it written anew: baton failover promote --accept-loss, at the master"
	olderThanPeers = "the register says something older than the other node has seen there: an old copy of it was put back. " +
		"If the newer one is lost for good, have it written anew: baton failover promote --accept-loss, at the node that has seen it"
)

// WhyNot says in words why a node that follows nobody does not become the master, why a master stands still that must not acknowledge
// alone, or why a node does not believe the register, and what to do about it; empty: there is nothing to say. read is what the register said last.
func (s *State) WhyNot(read *Reading) string {
	t := turn{State: s}
	return t.whyNot(read)
}

func (t *turn) whyNot(read *Reading) string {
	switch {
	case t.suspect:
		return t.flaw(read)
	case t.space == SpaceNone && (t.role == Candidate || t.role == Activating):
		return "its disk is full: it becomes the master as soon as there is room"
	case t.lacksCopy():
		return t.whyNotServe()
	case t.role == Candidate:
		return "it has asked the register for the role of the master, and waits for the answer"
	case t.role != Idle:
		return ""
	case t.yielded:
		return "its journal makes way for a copy of the master's"
	case !t.known && t.silent:
		return "the register does not answer: nobody can become the master until it does"
	case !t.readable():
		return "the register is being read"
	case !t.seen.Found:
		return t.whyNotBegin()
	}
	return t.whyNotTakeOver()
}

// Blocked says that this node is the master and acknowledges nothing, until something happens that WhyNot tells.
func (s *State) Blocked() bool {
	t := turn{State: s}
	return t.lacksCopy() || t.role == Activating && t.space == SpaceNone
}

// lacksCopy says that this node is a master which must not acknowledge alone, and has to.
func (t *turn) lacksCopy() bool {
	return t.role.IsMaster() && t.terms.Block && (t.role == Held || !t.keepsPace())
}

// whyNotServe is for a master that must not acknowledge alone, and is alone.
func (t *turn) whyNotServe() string {
	const still = "failover.on_standby_loss is block: nothing is acknowledged until "
	switch {
	case t.peer.link == 0:
		return still + "the standby is back"
	case t.peerSpace == SpaceNone:
		return still + "there is room on the disk of the standby, which is full"
	}
	return still + "the standby has everything"
}

// whyNotBegin is the reverse of mayBegin, for a register that was never written.
func (t *turn) whyNotBegin() string {
	switch {
	case t.peer.link != 0 && t.peer.says.End > 0 && t.end == 0:
		return "the other node has messages, and begins the pair"
	case t.due[timerBootstrap] == forever:
		return "who answers at failover.peer is not the other node of this pair: see failover.name, failover.node, failover.peer and failover.secret of both"
	}
	return "it looks for the other node, which may have messages"
}

// whyNotTakeOver is the reverse of mayTakeOver.
func (t *turn) whyNotTakeOver() string {
	r := &t.seen.Record
	switch {
	case !t.belongsTo(r.Cluster) || !r.Lists(t.me()):
		return t.whyNotListed(r)
	case t.end < r.MinSeq:
		return fmt.Sprintf("its journal ends with seq %d and had seq %d: an old copy of the data directory was put back. %s",
			t.end, r.MinSeq, t.orAcceptLoss(r))
	case t.lastEpoch > r.Epoch:
		return fmt.Sprintf("its journal is of epoch %d, of which the register does not know. %s", t.lastEpoch, t.orAcceptLoss(r))
	case t.space == SpaceNone && r.other(t.terms.Node) != Member{}:
		return fmt.Sprintf("its disk is full: it takes over as soon as there is room. Node %s has everything, too: start it",
			r.other(t.terms.Node).Node)
	case t.unread && r.Master != t.terms.Node:
		return "it reads its journal, to see whether that is whole"
	case !t.probed:
		return "it asks the other node whether that is the master"
	}
	return "it has promised the last master to wait, which may still serve"
}

// whyNotListed is for a node whose journal may lack what was acknowledged.
func (t *turn) whyNotListed(r *Record) string {
	i := slices.IndexFunc(r.InSync, func(m Member) bool { return m.Node == t.terms.Node })
	switch {
	case i >= 0:
		return fmt.Sprintf("the register knows node %s by another journal, %s: this one is new, or another node's. %s",
			t.terms.Node, r.InSync[i].JournalID, t.orAcceptLoss(r))
	case !t.foreign(r):
	case t.end == 0:
		return fmt.Sprintf("this node is new, and the register has a pair whose master is %s: start that, and this node gets a copy. "+
			"If it is another pair, failover.name or failover.register.key is that of the other one", r.Master)
	default:
		return fmt.Sprintf("this node has messages and is in no pair yet, and the register has a pair whose master is %s, which this node "+
			"does not join with messages of its own: failover.name or failover.register.key is that of another pair, "+
			"or this node was to be started first. If %s is to be its other node, start that, and this one says what can be done",
			r.Master, r.Master)
	}
	return "it may not have everything, for the register does not list it in sync. " + t.orAcceptLoss(r)
}

// orAcceptLoss says who has everything and, if that is lost, what to do.
func (t *turn) orAcceptLoss(r *Record) string {
	const give = " If that is lost for good: baton failover promote --accept-loss, at the node with the most records"
	other, p := r.other(t.terms.Node), &t.peer.says
	switch {
	case other == Member{}:
		return "No other node has everything: put the data directory back that was here." + give
	case t.peer.link != 0 && p.Node == other.Node && p.JournalID != other.JournalID:
		return fmt.Sprintf("Node %s alone had everything, and has another journal now: put its data directory back.", other.Node) + give
	}
	return fmt.Sprintf("Node %s has everything: see that it runs, and that the two reach each other.", other.Node) + give
}

// refusedBy notes what a master has refused this node for; empty: it has not.
func (t *Term) refusedBy(why string) {
	t.statusMu.Lock()
	t.refusal = why
	t.statusMu.Unlock()
}

// whyNot is that of the state now, or of the master that has refused this node.
func (t *Term) whyNot() (text string) {
	t.statusMu.Lock()
	record, says, refusal := t.record, t.register.State, t.refusal
	t.statusMu.Unlock()
	t.look(func(s *State) {
		if text = s.WhyNot(&record); s.Suspect() && says != "reachable" && says != "unreachable" {
			text = says
		}
		if s.Role() == Idle && refusal != "" {
			text = refusal
		}
	})
	return text
}

// whyNotPatience is how long a reason must hold to be one for the log: what passes is no trouble.
const whyNotPatience = 5 * time.Second

// tellWhyNot logs what keeps this node from being the master, once for each reason that lasts, and raises the alarm of a master that
// stands still.
func (t *Term) tellWhyNot() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	l := lasting{patience: whyNotPatience}
	serves := time.Now()
	for {
		select {
		case now := <-ticker.C:
			text := t.whyNot()
			if l.lasts(now, text) {
				t.logger.Warn("this node waits", zap.String("because", text))
			}
			t.look(func(s *State) {
				if !s.Blocked() {
					serves = now
				}
			})
			t.sound(alarmBlocked, now.Sub(serves) >= whyNotPatience)
		case <-t.ctx.Done():
			return
		}
	}
}

// A lasting text is one that stays the same for some time.
type lasting struct {
	patience   time.Duration
	text, told string
	since      time.Time
}

// lasts says whether the text, which is not empty, has just lasted long enough.
func (l *lasting) lasts(now time.Time, text string) bool {
	if text != l.text {
		l.text, l.since = text, now
	}
	if l.text == l.told || now.Sub(l.since) < l.patience {
		return false
	}
	l.told = l.text
	return l.text != ""
}
