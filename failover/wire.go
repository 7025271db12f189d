package failover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"baton/journal"
)

// A kind says what a frame is. The numbers go over the wire.
type kind uint8

const (
	kindGreeting    kind = 1 // the handshake
	kindProof       kind = 2
	kindRefusal     kind = 3
	kindHello       kind = 4 // both ways, then
	kindPlan        kind = 5 // master to standby
	kindSnapshot    kind = 6
	kindSnapshotEnd kind = 7
	kindAppend      kind = 8
	kindFlushed     kind = 16 // from here on: a Signal
	kindBeacon      kind = 17
	kindBeaconAck   kind = 18
	kindHandoff     kind = 19
	kindRelease     kind = 20
	kindFence       kind = 21
)

var kindNames = map[kind]string{
	kindGreeting: "GREETING", kindProof: "PROOF", kindRefusal: "REFUSAL", kindHello: "HELLO", kindPlan: "PLAN",
	kindSnapshot: "SNAPSHOT", kindSnapshotEnd: "SNAPSHOT_END", kindAppend: "APPEND",
	kindFlushed: "FLUSHED", kindBeacon: "BEACON", kindBeaconAck: "BEACON_ACK", kindHandoff: "HANDOFF",
	kindRelease: "RELEASE", kindFence: "FENCE",
}

func (k kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("frame kind %d", uint8(k))
}

// A frame goes over a connection as header and payload. README.md has the picture. The checksum begins from a seed of the
// connection and its direction: a frame of another pair, node or connection never verifies.
type frame struct {
	kind    kind
	flags   uint8
	epoch   uint32 // of the sender
	payload []byte // valid until the frame has been accepted
}

const (
	frameHeaderBytes = 16
	flagSync         = 1 // on APPEND: the records are to be made durable now

	// partBytes is after how many octets of a frame that goes on signals come in between: an octet that says how many, and those.
	// So a beacon is never late because much is being sent.
	partBytes = 256 << 10

	greetingBytes = 512     // limits of payloads
	helloBytes    = 1 << 17 // a lineage of MaxLineage entries has 48 octets each at most
	// recordsBytes is the most that records may have: one Append of the master is not parted, and more than one only where
	// that is less.
	recordsBytes = journal.MaxBatchBytes + appendFixedBytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// limit is the most octets that the payload of a frame may have.
func (k kind) limit() int {
	switch {
	case k == kindGreeting || k == kindProof || k == kindRefusal:
		return greetingBytes
	case k == kindHello || k == kindPlan:
		return helloBytes
	case k == kindSnapshot || k == kindAppend:
		return recordsBytes
	}
	return signalBytes
}

// seal makes b, which has room for a header before its payload, a frame.
func seal(b []byte, k kind, flags uint8, epoch, seed uint32) {
	binary.LittleEndian.PutUint32(b[0:], uint32(len(b)-frameHeaderBytes))
	b[4], b[5], b[6], b[7] = byte(k), flags, 0, 0
	binary.LittleEndian.PutUint32(b[8:], epoch)
	binary.LittleEndian.PutUint32(b[12:], checksum(b, seed))
}

func checksum(b []byte, seed uint32) uint32 {
	return crc32.Update(crc32.Update(seed, castagnoli, b[:12]), castagnoli, b[frameHeaderBytes:])
}

// frameSize is how many octets the frame has whose header b begins with. It fails where no frame begins, or one that is
// larger than its kind may be.
func frameSize(b []byte) (int, error) {
	_ = b[frameHeaderBytes-1]
	k, n := kind(b[4]), binary.LittleEndian.Uint32(b)
	if _, known := kindNames[k]; !known {
		return 0, fmt.Errorf("a %s is unknown: the peer is newer, or does not speak the replication protocol", k)
	}
	if int64(n) > int64(k.limit()) {
		return 0, fmt.Errorf("a %s claims %d octets, the most is %d", k, n, k.limit())
	}
	return frameHeaderBytes + int(n), nil
}

// parseFrame reads a whole frame. The payload shares memory with b.
func parseFrame(b []byte, seed uint32) (f frame, err error) {
	size, err := frameSize(b)
	if err == nil && size != len(b) {
		err = fmt.Errorf("a frame of %d octets is %d long", size, len(b))
	}
	if err != nil {
		return f, err
	}
	f = frame{kind: kind(b[4]), flags: b[5], epoch: binary.LittleEndian.Uint32(b[8:]), payload: b[frameHeaderBytes:]}
	switch {
	case binary.LittleEndian.Uint32(b[12:]) != checksum(b, seed):
		return f, fmt.Errorf("the checksum of a %s does not match", f.kind)
	case b[6] != 0 || b[7] != 0, f.flags&^flagSync != 0, f.flags != 0 && f.kind != kindAppend:
		return f, fmt.Errorf("a %s has unknown flags", f.kind)
	}
	return f, nil
}

// A SignalKind says what a Signal is about.
type SignalKind uint8

// The kinds of signals, with the fields that each has beside the epoch.
const (
	Flushed   = SignalKind(kindFlushed)   // the standby has made everything durable up to Seq, where the chain is Chain; again: more is coming in
	Beacon    = SignalKind(kindBeacon)    // the master lives; sent at Sent, committed up to Seq (R8)
	BeaconAck = SignalKind(kindBeaconAck) // the answer to the beacon of Sent: no takeover for Lease (R8); Seq is 1 of a node that could not take over, as while the log or the register is unread; Chain is the Space on the disk
	Handoff   = SignalKind(kindHandoff)   // the master has made the standby the master, in Epoch, after Seq
	Release   = SignalKind(kindRelease)   // a clean exit: whatever was promised is void
	Fence     = SignalKind(kindFence)     // there is a higher epoch: Epoch
)

// String is the word of the protocol.
func (k SignalKind) String() string { return kind(k).String() }

// A Signal is a small frame: numbers alone. Those that its kind does not use are 0.
type Signal struct {
	Kind  SignalKind
	Epoch uint32
	Seq   uint64
	Chain uint32
	Sent  time.Duration // on the clock of the master, who alone understands it
	Lease time.Duration
}

const (
	signalBytes      = 32
	signalFrameBytes = frameHeaderBytes + signalBytes
)

// appendTo adds the frame of s to b.
func (s *Signal) appendTo(b []byte, seed uint32) []byte {
	var whole [signalFrameBytes]byte
	p := whole[frameHeaderBytes:]
	binary.LittleEndian.PutUint64(p[0:], s.Seq)
	binary.LittleEndian.PutUint64(p[8:], uint64(s.Sent))
	binary.LittleEndian.PutUint64(p[16:], uint64(s.Lease))
	binary.LittleEndian.PutUint32(p[24:], s.Chain)
	seal(whole[:], kind(s.Kind), 0, s.Epoch, seed)
	return append(b, whole[:]...)
}

func (k kind) isSignal() bool { return k >= kindFlushed && k <= kindFence }

// parseSignal reads a frame whose kind is that of a signal.
func parseSignal(f frame) (Signal, error) {
	p := f.payload
	if len(p) != signalBytes {
		return Signal{}, fmt.Errorf("a %s has %d octets, not %d", f.kind, len(p), signalBytes)
	}
	s := Signal{
		Kind:  SignalKind(f.kind),
		Epoch: f.epoch,
		Seq:   binary.LittleEndian.Uint64(p[0:]),
		Sent:  time.Duration(binary.LittleEndian.Uint64(p[8:])),
		Lease: time.Duration(binary.LittleEndian.Uint64(p[16:])),
		Chain: binary.LittleEndian.Uint32(p[24:]),
	}
	if binary.LittleEndian.Uint32(p[28:]) != 0 || s.Sent < 0 || s.Lease < 0 {
		return s, fmt.Errorf("a %s has numbers that make no sense", f.kind)
	}
	return s, nil
}

// An APPEND begins with its place in the log and how many records follow.
type appendFixed struct {
	prevSeq   uint64
	commit    uint64 // up to here everything is committed
	prevChain uint32
	endChain  uint32
	count     uint32
}

const appendFixedBytes = 32

func (a *appendFixed) put(b []byte) {
	binary.LittleEndian.PutUint64(b[0:], a.prevSeq)
	binary.LittleEndian.PutUint64(b[8:], a.commit)
	binary.LittleEndian.PutUint32(b[16:], a.prevChain)
	binary.LittleEndian.PutUint32(b[20:], a.endChain)
	binary.LittleEndian.PutUint32(b[24:], a.count)
	binary.LittleEndian.PutUint32(b[28:], 0)
}

// parseAppend reads the payload of an APPEND. records is the rest of it, for parseRecords.
func parseAppend(p []byte) (a appendFixed, records []byte, err error) {
	if len(p) < appendFixedBytes {
		return a, nil, fmt.Errorf("an APPEND has %d octets, the least is %d", len(p), appendFixedBytes)
	}
	a = appendFixed{
		prevSeq:   binary.LittleEndian.Uint64(p[0:]),
		commit:    binary.LittleEndian.Uint64(p[8:]),
		prevChain: binary.LittleEndian.Uint32(p[16:]),
		endChain:  binary.LittleEndian.Uint32(p[20:]),
		count:     binary.LittleEndian.Uint32(p[24:]),
	}
	if binary.LittleEndian.Uint32(p[28:]) != 0 {
		return a, nil, errors.New("an APPEND has unknown fields")
	}
	return a, p[appendFixedBytes:], nil
}

const recordFixedBytes = 12

// appendRecord adds a record, whose Seq follows from those before it.
func appendRecord(b []byte, r *journal.Record) []byte {
	var fixed [recordFixedBytes]byte
	binary.LittleEndian.PutUint32(fixed[0:], uint32(len(r.Head)+len(r.Body)))
	binary.LittleEndian.PutUint32(fixed[4:], r.Epoch)
	fixed[8] = r.Type
	b = append(b, fixed[:]...)
	b = append(b, r.Head...)
	return append(b, r.Body...)
}

// parseRecord reads the record that b begins with, without its Seq. The Body shares memory with b.
func parseRecord(b []byte) (r journal.Record, rest []byte, err error) {
	if len(b) < recordFixedBytes {
		return r, nil, fmt.Errorf("%d octets are too few for a record", len(b))
	}
	n := binary.LittleEndian.Uint32(b)
	r.Epoch, r.Type = binary.LittleEndian.Uint32(b[4:]), b[8]
	rest = b[recordFixedBytes:]
	switch {
	case int64(n) > int64(len(rest)):
		return r, nil, fmt.Errorf("a record claims %d octets, %d are left", n, len(rest))
	case r.Type == 0 || r.Type > maxRecordType:
		return r, nil, fmt.Errorf("a record has the type %d", r.Type)
	case b[9] != 0 || b[10] != 0 || b[11] != 0:
		return r, nil, errors.New("a record has unknown fields")
	}
	r.Body = rest[:n:n]
	return r, rest[n:], nil
}

const maxRecordType = 127 // above, the journal's own

// parseRecords adds the records of an APPEND to recs: their Seqs follow prev, their epochs do not fall below its, nor rise
// above that of the frame.
func parseRecords(recs []journal.Record, b []byte, a *appendFixed, prev journal.Position, epoch uint32) ([]journal.Record, error) {
	last := prev.Epoch
	for i := range a.count {
		r, rest, err := parseRecord(b)
		r.Seq = prev.Seq + 1 + uint64(i)
		if err == nil && (r.Epoch < last || r.Epoch > epoch) {
			err = fmt.Errorf("its epoch is %d, after %d and in a frame of %d", r.Epoch, last, epoch)
		}
		if err != nil {
			return recs, fmt.Errorf("seq %d of an APPEND: %w", r.Seq, err)
		}
		recs, b, last = append(recs, r), rest, r.Epoch
	}
	if len(b) > 0 {
		return recs, fmt.Errorf("%d octets follow the last record of an APPEND", len(b))
	}
	return recs, nil
}

// A SNAPSHOT holds records with their place in the log, for there are gaps.
const placedFixedBytes = 12

// appendPlaced adds a record of a snapshot.
func appendPlaced(b []byte, r *journal.Record) []byte {
	b = binary.LittleEndian.AppendUint64(b, r.Seq)
	b = binary.LittleEndian.AppendUint32(b, r.PrevChain)
	return appendRecord(b, r)
}

// eachPlaced calls fn with the records of a SNAPSHOT.
func eachPlaced(b []byte, fn func(journal.Record) error) error {
	for len(b) > 0 {
		if len(b) < placedFixedBytes {
			return fmt.Errorf("a SNAPSHOT ends with %d octets, too few for a record", len(b))
		}
		seq, before := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])
		r, rest, err := parseRecord(b[placedFixedBytes:])
		r.Seq, r.PrevChain = seq, before
		if err == nil {
			err = fn(r)
		}
		if err != nil {
			return fmt.Errorf("seq %d of a SNAPSHOT: %w", seq, err)
		}
		b = rest
	}
	return nil
}

// A SNAPSHOT_END says where the log goes on.
type snapshotEnd struct {
	end     journal.Position
	records uint64
}

func (e *snapshotEnd) put(b []byte) {
	binary.LittleEndian.PutUint64(b[0:], e.end.Seq)
	binary.LittleEndian.PutUint64(b[8:], e.records)
	binary.LittleEndian.PutUint32(b[16:], e.end.Epoch)
	binary.LittleEndian.PutUint32(b[20:], e.end.Chain)
	clear(b[24:signalBytes])
}

func parseSnapshotEnd(p []byte) (e snapshotEnd, err error) {
	if len(p) != signalBytes {
		return e, fmt.Errorf("a SNAPSHOT_END has %d octets, not %d", len(p), signalBytes)
	}
	return snapshotEnd{
		end: journal.Position{
			Seq:   binary.LittleEndian.Uint64(p[0:]),
			Epoch: binary.LittleEndian.Uint32(p[16:]),
			Chain: binary.LittleEndian.Uint32(p[20:]),
		},
		records: binary.LittleEndian.Uint64(p[8:]),
	}, nil
}
