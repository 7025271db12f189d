package failover

import (
	"math"
	"time"
)

// Role is what a node is in the pair.
type Role uint8

// The roles. README.md has them as a picture.
const (
	Idle        Role = iota // follows nobody: looks for the peer and at the register
	Syncing                 // follows a master, and may not take over
	Standby                 // follows a master, and is in sync as far as it knows
	Candidate               // has asked the register to be master
	Activating              // is master, does not serve yet
	Duplex                  // is master, commits what both have
	Solo                    // is master, alone in sync
	Held                    // is master, waits for the peer or the register, commits nothing
	HandingOver             // is master, and makes the peer the master
	StoodDown               // does nothing any more
)

// String is the role as operators read it.
func (r Role) String() string {
	return [...]string{"idle", "syncing", "standby", "candidate", "activating", "duplex", "solo", "held", "handing over",
		"stood down"}[r]
}

// IsMaster says that the role is one of a master.
func (r Role) IsMaster() bool { return r >= Activating && r <= HandingOver }

// Terms are what a node goes by. But for its name, both nodes should have the same.
type Terms struct {
	Node         string        // this node's name
	Block        bool          // never acknowledge alone
	DegradeAfter time.Duration // how long a standby may be silent
	HoldTimeout  time.Duration // then, with Block, producers are refused; and the most that a switchover may take
	FenceAfter   time.Duration // how long a master may have neither peer nor register
	Lease        time.Duration // what a standby promises (R8)
	Guard        time.Duration // by which the master's lease is shorter
	Bias         time.Duration // by which the standby waits longer
	Beacon       time.Duration // between two beacons
	Retry        time.Duration // between two attempts at the register
	Refresh      time.Duration // between two changes of minSeq
	Bootstrap    time.Duration // how long an empty node asks for a peer with data
}

// Kept is what a node must remember of the pair, beside the lineage.
type Kept struct {
	Cluster   ID     // zero: it never was a member
	JournalID ID     // what the rest is about
	Promised  uint32 // nothing of a lower epoch is accepted
	RegRev    uint64 // the newest revision of the register, of that epoch, with a change of roles
	Overruled uint32 // that of the Record with which it became a master last
	Alone     bool   // as a master, it is or was alone in sync: nobody else may have what it acknowledged
}

// Start is what a State begins with.
type Start struct {
	Kept        Kept
	Incarnation ID     // tells this process from all others of this node, and two States of one process
	End         uint64 // Seq of the last record, all durable
	LastEpoch   uint32 // of the lineage
	Unread      bool   // whether the log can be read to its end is not known yet: OnRead tells
	Leaving     bool   // the process is to exit: this node is not to be the master any more
}

// State is the part of a node that decides: who may be master, and what is committed. It is a value: it does nothing but
// in Step, and a copy goes on by itself. README.md says which rule is where.
type State struct {
	terms       *Terms
	kept        Kept
	incarnation ID

	role    Role
	epoch   uint32 // of the master that it is or follows
	serving bool   // a master: clients may connect
	held    bool   // a master: the peer is required and silent
	suspect bool   // the register says what it cannot say (R9)
	solo    bool   // the alarm is raised
	refused bool   // DoRefuse was said
	forced  bool   // an operator wants this node to be master
	yielded bool   // the journal makes way for another: it is nobody's any more
	unread  bool   // the log may be damaged, for all that is known: this node makes itself by no means the only one in sync
	space   Space  // on the disk of the journal

	end       uint64
	durable   uint64
	commit    uint64
	lastEpoch uint32

	peer      peer
	peerSpace Space // on the disk of the peer, as it said last
	met       ID    // the incarnation of the peer on the last connection
	probed    bool  // the peer was asked since the last connection, and is no master (R4b)

	seen    Reading // the newest, by epoch and revision
	known   bool    // seen was seen; else it is the zero Reading
	silent  bool    // the last attempt at the register failed
	beaten  uint64  // a CAS at this revision has lost: something newer is there
	ask     request
	numbers uint64

	// As far as the register may ever say, of what this process has done (R2, R3, R5): the peer's journals that count.
	listed  ID     // by the last CAS that is known to be done
	partner string // the node whose journal that is
	doubted ID     // by any after that

	draining uint8 // of a switchover
	drained  uint64
	leaving  bool // the process is to exit: nobody is to wait for this node

	lease time.Duration // a master: until when clients may be given messages
	due   [timers]time.Duration
}

// peer is the other node on the current connection.
type peer struct {
	link     uint64 // 0: none
	last     uint64 // the newest link ever
	says     Peer
	flushed  uint64        // by its journal, in this epoch
	near     bool          // writes wait for it
	join     uint64        // the end when near began
	lease    time.Duration // what its promises come to
	promised bool          // it has answered a beacon of this epoch (R8)
	unread   bool          // and could not take over: it has not read its log yet, or the register, or its process is to end
	copyless uint64        // it waits for a snapshot, and that for a CAS with a higher number than this; 0: it does not
}

// The timers; 0 in due: not set.
const (
	timerPromise = iota // a promise, or what may be one of an earlier process, ends (R8)
	timerProbe
	timerBootstrap
	timerRetry
	timerBeacon
	timerSilence // no BEACON_ACK
	timerStall   // nothing flushed of what was appended
	timerHold
	timerFence
	timerRefresh
	timerDrain
	timers
)

const forever = time.Duration(math.MaxInt64)

// NewState begins at now with what a node finds. Its first actions come with the first Step, which should be OnTick at once.
func NewState(now time.Duration, terms *Terms, start Start) State {
	s := State{
		terms: terms, kept: start.Kept, incarnation: start.Incarnation,
		end: start.End, durable: start.End, lastEpoch: start.LastEpoch, unread: start.Unread, leaving: start.Leaving,
	}
	s.due[timerPromise] = now + terms.Lease // what a process before this one has promised
	s.due[timerBootstrap] = now + terms.Bootstrap
	s.due[timerRetry] = now // the first read
	return s
}

// Next is when Step wants an OnTick at the latest, if nothing happens before.
func (s *State) Next() (deadline time.Duration, ok bool) {
	for _, at := range s.due {
		if at != 0 && (!ok || at < deadline) {
			deadline, ok = at, true
		}
	}
	return deadline, ok
}

// Role is the current role.
func (s *State) Role() Role { return s.role }

// Epoch is that of the master which this node is or follows; 0: none.
func (s *State) Epoch() uint32 { return s.epoch }

// Kept is what this node has promised, as the last DoPersist said.
func (s *State) Kept() Kept { return s.kept }

// Commit is what of the log is committed, on a master.
func (s *State) Commit() uint64 { return s.commit }

// Required says that writes wait for the peer.
func (s *State) Required() bool {
	return s.role.IsMaster() && (s.listed != ID{} || s.doubted != ID{} || s.peer.near)
}

// Joined says that the peer that is connected is the one whose flushes count: what is appended can be committed.
func (s *State) Joined() bool { return s.counts() }

// Overruling says that an operator's word against the register (R9, R11) has not come to its end.
func (s *State) Overruling() bool {
	return s.forced || s.ask.open && (s.ask.purpose == askReseed || s.ask.purpose == askRole && s.ask.record.Forced)
}

// Waits says that more writes may have to wait for the peer. Those that are refused do not: the engine must go on.
func (s *State) Waits() bool { return s.Required() && !s.refused }

// Suspect says that the register cannot be believed (R9).
func (s *State) Suspect() bool { return s.suspect }

// Lease is until when a master may give messages to clients (R8).
func (s *State) Lease() time.Duration { return s.lease }

// Seen is what is known of the register; known is false before anything is, silent true while it cannot be reached.
func (s *State) Seen() (reading Reading, known, silent bool) { return s.seen, s.known, s.silent }

// Flushed is what the peer on the current connection has made durable, in this epoch.
func (s *State) Flushed() uint64 { return s.peer.flushed }

// PeerSpace is how much room the disk of the standby has, as it said last.
func (s *State) PeerSpace() Space { return s.peerSpace }

// HasHeir says that a master which exits does best to wait a little, and to hand over: it is at that, or its standby is in sync and can
// write, or was so a moment ago and may be connecting again.
func (s *State) HasHeir() bool {
	return s.role == HandingOver || s.role == Duplex && (s.counts() || s.peer.link == 0) && s.peerSpace != SpaceNone
}

// Accepts says whether records of a master of this epoch may be stored (R7).
func (s *State) Accepts(epoch uint32) bool {
	return epoch >= s.kept.Promised && (s.role == Syncing || s.role == Standby || s.role == Candidate) && epoch == s.epoch
}

func (s *State) me() Member { return Member{Node: s.terms.Node, JournalID: s.kept.JournalID} }
