package failover

// EventKind says what an Event is about.
type EventKind uint8

// The kinds of events, with the fields that each has. Those with a Link are ignored when it is not the current connection:
// what an old connection still has to say never counts.
const (
	// OnTick: time has passed; see State.Next.
	OnTick EventKind = iota
	// OnSeen: a read or a watch of the register said Reading, or failed when Failed. A hint, and perhaps an old one (S12).
	// A register whose place does not exist is Reading{} (R9).
	OnSeen
	// OnAnswer: the CAS with Number came to Outcome, and Revision when it is done.
	OnAnswer
	// OnLinked: the peer's HELLO came over the connection Link, a number that grows: what it says is Peer.
	OnLinked
	// OnUnlinked: the connection Link has ended.
	OnUnlinked
	// OnUnreached: an attempt to reach the peer failed that began after the last connection ended. Dead: that connection was
	// closed, and new ones were refused twice (R13).
	OnUnreached
	// OnStranger: who answers at the peer's address is not the other node of this pair. OnUnreached follows.
	OnStranger
	// OnSignal: Signal came over Link.
	OnSignal
	// OnPlanned: a standby has done what the PLAN of the master on Link said; its journal ends at Seq, in Epoch. The records
	// that follow wait until the actions are performed. Cluster is that of the plan.
	OnPlanned
	// OnNear: the sender on Link has the peer nearly at the end of the log, so that writes may wait for it from now on.
	OnNear
	// OnSnapshot: the standby on Link needs a snapshot, which waits for DoSnapshot.
	OnSnapshot
	// OnAppended: the journal's end is Seq, in Epoch.
	OnAppended
	// OnDurable: the journal is durable up to Seq.
	OnDurable
	// OnRead: the log was read to its end, and is whole (R4); see Start.Unread.
	OnRead
	// OnSpace: the disk of the journal has Space from now on.
	OnSpace
	// OnActivated: the broker serves.
	OnActivated
	// OnSwitchover: an operator wants the standby to be the master.
	OnSwitchover
	// OnDrained: after DoPause the broker rests; its last entry is Seq.
	OnDrained
	// OnPromote: an operator wants this node to be the master, accepting the loss of what only the other has (R11). On a
	// master: to write its register anew (R9).
	OnPromote
	// OnPromoteOver: who said OnPromote waits no more. It is void, unless the register was asked by then.
	OnPromoteOver
	// OnFault: the journal or its disk failed (R12).
	OnFault
	// OnLeaving: the process is to exit. A master has the standby be the master, as with OnSwitchover, and alone in sync; Role
	// tells.
	OnLeaving
	// OnLeave: the process exits, and its broker serves no more.
	OnLeave
)

// Event is something that a State reacts to. It holds what its kind names; the rest is zero.
type Event struct {
	Kind     EventKind
	Link     uint64
	Seq      uint64
	Epoch    uint32
	Cluster  ID
	Number   uint64
	Outcome  Outcome
	Revision uint64
	Failed   bool
	Dead     bool
	Space    Space
	Signal   Signal
	Peer     *Peer
	Reading  *Reading
}

// Outcome is what came of a CAS.
type Outcome uint8

// The outcomes. Unknown: it may have been done, or may be at any time from now on (R5).
const (
	Done Outcome = iota
	Lost
	Unknown
)

// Peer is what the HELLO of the other node says.
type Peer struct {
	Node        string
	Cluster     ID   // zero: it never was a member of a pair
	JournalID   ID   // of its journal
	Incarnation ID   // of its process: another one is another process
	Master      bool // it is the master of Epoch
	Epoch       uint32
	Promised    uint32 // it accepts nothing of a lower epoch
	RegRev      uint64 // the newest revision of the register that it has kept, of epoch Promised
	End         uint64 // Seq of its last record
}
