package failover

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Status is what a node knows of itself and its pair at one moment.
type Status struct {
	Node    string    `json:"node"`
	Role    string    `json:"role"`
	Since   time.Time `json:"since"`   // when it took that role
	Serving bool      `json:"serving"` // it is the master, and clients are let in
	Epoch   uint32    `json:"epoch"`   // of the newest activation that it knows of
	Cluster string    `json:"cluster"` // id of the pair; empty: it never was a member of one
	Journal string    `json:"journal"` // id

	Master        string   `json:"master"`         // name of who is, as far as it knows; empty: nobody
	MasterAddress string   `json:"master_address"` // where that serves clients
	InSync        []string `json:"insync"`         // names of those that may take over, as far as it knows
	InSyncKnown   bool     `json:"insync_known"`   // the register has said who, and is believed
	Forced        bool     `json:"forced"`         // the master was promoted, with its first epoch or a later one, by an operator who accepted a loss

	Last      uint64 `json:"last"`      // Seq of the newest record in the journal
	Durable   uint64 `json:"durable"`   // up to this Seq it is safe here
	Committed uint64 `json:"committed"` // up to this one on every node that is in sync

	Peer     PeerStatus     `json:"peer"`
	Lease    float64        `json:"lease_left"` // seconds for which it may dispatch; -1: no end
	Register RegisterStatus `json:"register"`
	Alarms   []string       `json:"alarms"` // what an operator must see to: SOLO, BLOCKED, ARBITER_SUSPECT, REGISTER_AWAY, DISK_FULL, …
	Reason   string         `json:"reason"` // why it is the master no more; empty: it is, or never was
	Waits    string         `json:"waits"`  // why it is no master though it follows none, or does not serve yet, and what to do; empty: nothing is wrong

	// Names of the directories in which it keeps what the pair does not have.
	Divergent []string `json:"divergent"` // what may have been acknowledged
	Surplus   []string `json:"surplus"`   // what never was; for a while
}

// PeerStatus is about the other node.
type PeerStatus struct {
	Node        string    `json:"node"` // empty: it never spoke to this one
	Linked      bool      `json:"linked"`
	Since       time.Time `json:"since"`        // when that began, or ended
	Advertise   string    `json:"advertise"`    // where it serves clients
	Flushed     uint64    `json:"flushed"`      // up to this Seq it said that it is safe there
	LagMessages uint64    `json:"lag_messages"` // records that it lacks, seen from the master
	LagBytes    int64     `json:"lag_bytes"`
	LagAbout    bool      `json:"lag_about"` // lag_bytes is an estimate: some of it is older than the master's process, or than what that remembers
	Copying     bool      `json:"copying"`   // it gets a copy of the journal: until that is whole it lacks all
}

// RegisterStatus is about the register.
type RegisterStatus struct {
	State    string    `json:"state"` // reachable, unreachable, or what is wrong with it
	Since    time.Time `json:"since"`
	Revision uint64    `json:"revision"` // the newest that was seen
}

// Print writes the status for people.
func (s *Status) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	line("node", "%s", s.Node)
	line("role", "%s%s", s.Role, since(s.Since))
	if s.Reason != "" {
		line("because", "%s", s.Reason)
	}
	if s.Waits != "" {
		line("waits", "%s", s.Waits)
	}
	line("epoch", "%d", s.Epoch)
	line("master", "%s", orNobody(s.Master, s.MasterAddress))
	line("in sync", "%s", s.inSync())
	if s.Forced {
		line("forced", "the master was promoted with a loss")
	}
	line("records", "last %d, durable %d, committed %d", s.Last, s.Durable, s.Committed)
	line("peer", "%s", s.Peer.text(s.Master == s.Node))
	line("register", "%s%s, revision %d", s.Register.State, since(s.Register.Since), s.Register.Revision)
	if len(s.Divergent) > 0 {
		line("kept aside", "%d: %s", len(s.Divergent), strings.Join(s.Divergent, ", "))
	}
	if len(s.Surplus) > 0 {
		line("cut off", "%d, never acknowledged: %s", len(s.Surplus), strings.Join(s.Surplus, ", "))
	}
	alarms := slices.Clone(s.Alarms)
	slices.Sort(alarms)
	line("alarms", "%s", orNobody(strings.Join(alarms, ", "), ""))
	return t.Flush()
}

// inSync names who may take over.
func (s *Status) inSync() string {
	if !s.InSyncKnown {
		return "not known, for the register has not said it"
	}
	return orNobody(strings.Join(s.InSync, ", "), "")
}

// text says how far the peer is, if this node is its master.
func (p *PeerStatus) text(master bool) string {
	switch {
	case p.Node == "":
		return "never seen"
	case !p.Linked:
		return p.Node + ", not connected" + since(p.Since)
	case !master:
		return p.Node + ", connected" + since(p.Since)
	}
	about := ""
	if p.LagAbout {
		about = "about "
	}
	text := fmt.Sprintf("%s, connected%s, flushed %d, lacks %d records, %s%d octets",
		p.Node, since(p.Since), p.Flushed, p.LagMessages, about, p.LagBytes)
	if p.Copying {
		text += ", until its copy of the journal is whole"
	}
	return text
}

func orNobody(who, address string) string {
	switch {
	case who == "":
		return "none"
	case address == "":
		return who
	}
	return who + " at " + address
}

func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " since " + t.UTC().Format(time.RFC3339)
}
