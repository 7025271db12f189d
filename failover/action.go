package failover

import "time"

// ActionKind says what is to be done.
type ActionKind uint8

// The kinds of actions, with the fields that each has. They are performed in order, and a process that dies in between has
// performed those before.
const (
	// DoPersist: write Kept to the disk. It is durable before the next action begins.
	DoPersist ActionKind = iota
	// DoRead: read the register, and tell what it says with OnSeen.
	DoRead
	// DoCAS: ask the register to replace Revision by Record, whose At is to be set; tell with OnAnswer, and Number, what
	// came of it.
	DoCAS
	// DoSend: send Signal over Link, as soon as may be.
	DoSend
	// DoFollow: take the PLAN and the records of the master on Link, of Epoch.
	DoFollow
	// DoReplicate: send a PLAN and then records to the standby on Link.
	DoReplicate
	// DoSnapshot: send the standby on Link the snapshot that OnSnapshot spoke of.
	DoSnapshot
	// DoHangup: end the connection Link, after what was sent. No OnUnlinked follows.
	DoHangup
	// DoProbe: try to reach the peer over a new connection, soon and briefly: OnLinked or OnUnreached tells (R4b).
	DoProbe
	// DoActivate: be the master of Epoch: have it begin where the journal ends once nothing of a master's comes to it any more,
	// recover the broker, and tell with OnActivated when it serves.
	DoActivate
	// DoCommit: everything up to Seq is committed (R1): the broker's Durable.
	DoCommit
	// DoLease: clients may be given messages until Until on the clock of Step, which may be now or earlier (R8).
	DoLease
	// DoRefuse: answer producers that writes are not replicated, until DoAccept.
	DoRefuse
	DoAccept
	// DoPause: have the broker rest, and tell with OnDrained when it does and everything committed has gone out; until
	// DoResume.
	DoPause
	DoResume
	// DoStandDown: serve no more, for Why; at once, save that a broker that HandedOver, or is Leaving, takes leave of its clients. This State
	// does nothing any more: the node begins again with a new one, unless its journal failed.
	DoStandDown
	// DoRaise and DoClear: Alarm begins and ends.
	DoRaise
	DoClear
)

// Action is something to be done. It holds what its kind names; the rest is zero.
type Action struct {
	Kind     ActionKind
	Link     uint64
	Seq      uint64
	Epoch    uint32
	Number   uint64
	Revision uint64
	Record   *Record
	Signal   Signal
	Kept     Kept
	Until    time.Duration
	Why      Why
	Alarm    Alarm
}

// Why is the reason for standing down.
type Why uint8

// The reasons.
const (
	Superseded    Why = iota + 1 // there is a higher epoch (R7)
	Isolated                     // neither peer nor register for too long
	HandedOver                   // the peer is master now
	JournalFailed                // R12
	Reseeded                     // the register was written anew (R9)
	NoRoom                       // the disk is full, and that of the peer is not
	Leaving                      // the process exits, and the peer has everything
)

// String is the reason in words.
func (w Why) String() string {
	return [...]string{"", "another epoch has begun", "neither the peer nor the register can be reached",
		"the peer is master now", "the journal failed", "the register was written anew",
		"its disk is full, and that of the other node is not", "this process ends"}[w]
}

// Alarm is something that an operator must know.
type Alarm uint8

// The alarms.
const (
	AlarmSolo           Alarm = iota + 1 // this node acknowledges alone
	AlarmArbiterSuspect                  // the register says what it cannot say (R9)
	AlarmRolledBack                      // a journal that is in sync lacks what it had: somebody has put an old copy there (A4)
	AlarmDiskFull                        // the disk of this node is nearly full, or full
	AlarmPeerDiskFull                    // that of the peer is, as it said last
)

// String is the word of the protocol.
func (a Alarm) String() string {
	return [...]string{"", "SOLO", "ARBITER_SUSPECT", "ROLLED_BACK", "DISK_FULL", "PEER_DISK_FULL"}[a]
}
