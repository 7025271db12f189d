package failover

import (
	"encoding/json"
	"fmt"

	"baton/journal"
)

// A Plan is how a standby comes to follow a master (frame PLAN, master to standby): what it does to its journal before the
// first record. In order: refused, or a snapshot, or perhaps a cut and then the records after From.
type Plan struct {
	Refused  string           `json:"refused,omitempty"`  // why the journal cannot follow; the connection ends
	Snapshot bool             `json:"snapshot,omitempty"` // a whole journal comes, and takes the place of the standby's
	Cut      bool             `json:"cut,omitempty"`      // the standby has records after From; they go aside
	Surplus  bool             `json:"surplus,omitempty"`  // what is cut was never acknowledged (S7)
	Covered  bool             `json:"covered,omitempty"`  // what a snapshot replaces is a beginning of this log: it need not be kept
	End      journal.Position `json:"end"`                // where the standby has said that its journal ends: it is for no other. Zero: not told
	From     journal.Position `json:"from"`               // where the journal ends when the records come; for a snapshot, where that begins
	Cluster  ID               `json:"cluster"`            // of the pair
	Lineage  Lineage          `json:"lineage"`            // of the master: the standby's own, once it has cut
}

// A history is what a master knows of its own journal when it makes a plan.
type history struct {
	cluster   ID
	lineage   Lineage
	overruled uint32 // the newest epoch that an operator had begin
	end       journal.Position
	from      uint64 // every record after this Seq is there
	// at returns the position after a record; journal.ErrNotFound when it is not known.
	at func(seq uint64) (journal.Position, error)
}

// planFor says how the journal of a peer comes to be like mine. It depends on nothing else.
func planFor(mine *history, peer *Hello) Plan {
	p := Plan{End: peer.End, Cluster: mine.cluster, Lineage: mine.lineage}
	switch {
	case peer.Cluster != ID{} && peer.Cluster != mine.cluster:
		p.Refused = fmt.Sprintf("node %s belongs to the pair %s, this is %s", peer.Node, peer.Cluster, mine.cluster)
	case peer.Lineage.Last().Epoch > mine.lineage.Last().Epoch:
		p.Refused = fmt.Sprintf("node %s knows of epoch %d, this master is of epoch %d",
			peer.Node, peer.Lineage.Last().Epoch, mine.lineage.Last().Epoch)
	case peer.Resync:
		p.Snapshot, p.Covered = true, mine.covers(peer)
	case peer.End.Seq == 0:
		p.Snapshot = mine.from > 0
	default:
		p.join(mine, peer)
	}
	return p
}

// covers says that the journal of a peer is a beginning of mine. That of one that asks for a snapshot may have gone astray, which its
// lineage does not tell: so the chains must be the same.
func (h *history) covers(peer *Hello) bool {
	seq, ok := h.lineage.common(h.end.Seq, peer.Lineage, peer.End.Seq)
	if !ok || seq != peer.End.Seq {
		return false
	}
	at, err := h.at(seq)
	return err == nil && at == peer.End
}

// join plans for a journal that has records.
func (p *Plan) join(mine *history, peer *Hello) {
	seq, ok := mine.lineage.common(mine.end.Seq, peer.Lineage, peer.End.Seq)
	switch {
	case !ok && peer.Cluster == ID{}:
		p.Refused = fmt.Sprintf("the journal of node %s has records up to seq %d and shares no epoch with this pair: "+
			"it is not thrown away. If the pair is to have these messages and this master's are none that count, promote that node: "+
			"baton failover promote --accept-loss, there. If they are not wanted, start it with an empty directory, or resync it",
			peer.Node, peer.End.Seq)
		return
	case !ok, seq < mine.from, seq+1 < peer.First:
		p.Snapshot = true
		// The lineages alone tell, so they must be beyond doubt: an operator can have one number used for two epochs.
		p.Covered = ok && seq == peer.End.Seq && mine.overruled < peer.End.Epoch
		return
	}
	at, err := mine.at(seq)
	if err != nil || seq == peer.End.Seq && at != peer.End { // it is told by a damaged or a rolled back journal
		p.Snapshot = true
		return
	}
	p.From, p.Cut = at, seq < peer.End.Seq
	// Whoever began an epoch after that record was in sync, and had all that was acknowledged; unless an operator has willed it.
	p.Surplus = p.Cut && mine.overruled <= at.Epoch
}

// check says what is wrong with a plan that came from a peer.
func (p *Plan) check() error {
	switch {
	case p.Refused != "":
		return nil
	case p.Cluster == ID{}:
		return fmt.Errorf("the plan names no pair")
	case p.Snapshot && p.Cut:
		return fmt.Errorf("the plan is a snapshot, and yet a cut after seq %d", p.From.Seq)
	}
	return p.Lineage.check()
}

func (p *Plan) encode() ([]byte, error) { return json.Marshal(p) }

func parsePlan(b []byte) (p Plan, err error) {
	if err := json.Unmarshal(b, &p); err != nil {
		return p, fmt.Errorf("the plan cannot be read: %w", err)
	}
	return p, p.check()
}
