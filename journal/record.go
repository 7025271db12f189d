package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// MaxBatchBytes bounds what one Append may hold, record headers and padding included.
const MaxBatchBytes = 128 << 20

// Record is one entry of the log. What its payload means is the caller's matter.
type Record struct {
	Seq   uint64 // position in the log; the first record ever has 1, each next one has 1 more
	Epoch uint32 // under which master it was written; never decreases
	Type  uint8  // 1 to 127: the caller's own
	Head  []byte // first part of the payload, nil in a record read back
	Body  []byte // second part of the payload, all of it in a record read back

	PrevChain uint32 // of the record before; only in a record read back
	// Ends says that a batch ends with the record: what one Append added is never parted there. Only Read and Snapshot.Read set it. Of a
	// segment that was cleaned it is known of the last record alone.
	Ends bool
}

const (
	recordMagic       = 0x4A42 // "BJ"
	recordHeaderBytes = 32
	typeMark          = 128
	typeIndex         = 129
	flagSealed        = 1 // on a mark: the segment ends here and the next one exists

	markPayloadBytes = 40
	markBytes        = recordHeaderBytes + markPayloadBytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// recordHeader is what precedes every payload. README.md has the picture.
type recordHeader struct {
	typ, flags uint8
	size       uint32 // bytes of payload
	seq        uint64
	epoch      uint32
	payloadCRC uint32
	prevChain  uint32 // chain of the record before
	chain      uint32 // chain of this one; follows from the rest
	crc        uint32 // of this header; set by parsing
	ends       bool   // nothing of its batch follows; set by segment.each
}

// record is what h and payload are to the caller.
func (h *recordHeader) record(payload []byte) Record {
	return Record{Seq: h.seq, Epoch: h.epoch, Type: h.typ, PrevChain: h.prevChain, Ends: h.ends, Body: payload}
}

// put writes h to dst[:recordHeaderBytes] and returns the chain of this record.
func (h *recordHeader) put(dst []byte, seed uint32) (chain uint32) {
	_ = dst[recordHeaderBytes-1]
	binary.LittleEndian.PutUint16(dst[0:], recordMagic)
	dst[2], dst[3] = h.typ, h.flags
	binary.LittleEndian.PutUint32(dst[4:], h.size)
	binary.LittleEndian.PutUint64(dst[8:], h.seq)
	binary.LittleEndian.PutUint32(dst[16:], h.epoch)
	binary.LittleEndian.PutUint32(dst[20:], h.payloadCRC)
	binary.LittleEndian.PutUint32(dst[24:], h.prevChain)
	binary.LittleEndian.PutUint32(dst[28:], crc32.Update(seed, castagnoli, dst[:28]))
	return chainOf(h.prevChain, dst)
}

// chainOf hashes a record into the chain of all records before it. It leaves out what differs from node to node (the
// segment's seed), so that two journals with equal chains at a Seq hold equal records up to there.
func chainOf(prev uint32, header []byte) uint32 { return crc32.Update(prev, castagnoli, header[:24]) }

// parseRecordHeader reads src[:recordHeaderBytes]; reason is empty when it is valid.
func parseRecordHeader(src []byte, seed uint32) (h recordHeader, reason string) {
	if binary.LittleEndian.Uint16(src) != recordMagic {
		return h, "no record begins here"
	}
	if binary.LittleEndian.Uint32(src[28:]) != crc32.Update(seed, castagnoli, src[:28]) {
		return h, "the checksum of the record header does not match"
	}
	h = recordHeader{
		typ:        src[2],
		flags:      src[3],
		size:       binary.LittleEndian.Uint32(src[4:]),
		seq:        binary.LittleEndian.Uint64(src[8:]),
		epoch:      binary.LittleEndian.Uint32(src[16:]),
		payloadCRC: binary.LittleEndian.Uint32(src[20:]),
		prevChain:  binary.LittleEndian.Uint32(src[24:]),
		crc:        binary.LittleEndian.Uint32(src[28:]),
	}
	h.chain = chainOf(h.prevChain, src)
	return h, h.check()
}

func (h *recordHeader) check() string {
	switch {
	case h.typ == 0 || h.typ > typeIndex:
		return fmt.Sprintf("the record type %d is unknown", h.typ)
	case h.typ == typeMark && h.size != markPayloadBytes:
		return fmt.Sprintf("a commit mark has %d bytes", h.size)
	case h.typ == typeIndex && (h.size < indexFixedBytes || h.size%indexEntryBytes != 0):
		return fmt.Sprintf("an index record has %d bytes", h.size)
	case h.typ == typeMark && h.flags&^flagSealed != 0, h.typ != typeMark && h.flags != 0:
		return fmt.Sprintf("the record flags %#x are unknown", h.flags)
	case h.size > MaxBatchBytes:
		return fmt.Sprintf("the record claims %d bytes", h.size)
	}
	return ""
}

// mark ends a batch: what precedes it since the last mark counts only when the mark is there. Its record header carries
// the last Seq, its epoch and its chain, and with the chain a checksum of the batch.
type mark struct {
	firstSeq      uint64 // of the batch; the last Seq plus 1 when the batch is empty
	promiseSeq    uint64 // highest Seq known durable when the mark was written
	promiseOffset int64  // and the offset in this segment up to which everything was
	floor         uint64 // no record with a lower Seq is needed
	salt          uint64 // of the segment, so that no payload can forge a mark
}

func (m *mark) append(dst []byte, h recordHeader, seed uint32) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, markBytes)...)
	payload := dst[at+recordHeaderBytes:]
	binary.LittleEndian.PutUint64(payload[0:], m.firstSeq)
	binary.LittleEndian.PutUint64(payload[8:], m.promiseSeq)
	binary.LittleEndian.PutUint64(payload[16:], uint64(m.promiseOffset))
	binary.LittleEndian.PutUint64(payload[24:], m.floor)
	binary.LittleEndian.PutUint64(payload[32:], m.salt)
	h.typ, h.size, h.payloadCRC = typeMark, markPayloadBytes, crc32.Checksum(payload, castagnoli)
	h.put(dst[at:], seed)
	return dst
}

func parseMark(payload []byte) mark {
	return mark{
		firstSeq:      binary.LittleEndian.Uint64(payload[0:]),
		promiseSeq:    binary.LittleEndian.Uint64(payload[8:]),
		promiseOffset: int64(binary.LittleEndian.Uint64(payload[16:])),
		floor:         binary.LittleEndian.Uint64(payload[24:]),
		salt:          binary.LittleEndian.Uint64(payload[32:]),
	}
}

// parseWholeMark reads the mark that b begins with, if it is one of the segment with that seed and salt.
func parseWholeMark(b []byte, seed uint32, salt uint64) (h recordHeader, m mark, ok bool) {
	h, reason := parseRecordHeader(b, seed)
	payload := b[recordHeaderBytes:markBytes]
	if reason != "" || h.typ != typeMark || crc32.Checksum(payload, castagnoli) != h.payloadCRC {
		return h, m, false
	}
	m = parseMark(payload)
	return h, m, m.salt == salt
}

// isSeal tells whether h is the header of a mark that ends a segment.
func (h *recordHeader) isSeal() bool { return h.typ == typeMark && h.flags&flagSealed != 0 }

// recordBytes is the room of a record with size bytes of payload: records begin at multiples of 8.
func recordBytes(size int) int { return recordHeaderBytes + (size+7)&^7 }
