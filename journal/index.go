package journal

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"sort"
)

const (
	indexEvery      = 64 << 10 // bytes of a segment for each entry in its index
	indexFixedBytes = 16       // of an index record's payload before the entries
	indexEntryBytes = 16
)

// index tells where in a segment records begin, and sums up all that it holds. A sealed segment ends with it since format 2.
type index struct {
	records uint64 // of the caller
	digest  uint32 // CRC of their header CRCs, in order
	entries []indexEntry

	scratch [4]byte // of add; a local one would be allocated each time
}

// indexEntry says where a record begins.
type indexEntry struct {
	seq    uint64
	offset int64
}

// add takes account of the record with that header, which begins at offset. Calls are in order.
func (x *index) add(h *recordHeader, offset int64) {
	if dueEntry(x.entries, offset) {
		x.entries = append(x.entries, indexEntry{h.seq, offset})
	}
	binary.LittleEndian.PutUint32(x.scratch[:], h.crc)
	x.digest = crc32.Update(x.digest, castagnoli, x.scratch[:])
	x.records++
}

// dueEntry tells whether a record at offset gets an entry of its own after entries.
func dueEntry(entries []indexEntry, offset int64) bool {
	return offset-lastIndexed(entries) >= indexEvery
}

func lastIndexed(entries []indexEntry) int64 {
	if n := len(entries); n > 0 {
		return entries[n-1].offset
	}
	return segmentHeaderBytes
}

// append writes x as a record to dst; h has the position that the segment ends with.
func (x *index) append(dst []byte, h recordHeader, seed uint32) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, recordHeaderBytes)...)
	dst = binary.LittleEndian.AppendUint64(dst, x.records)
	dst = binary.LittleEndian.AppendUint32(dst, x.digest)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	for _, e := range x.entries {
		dst = binary.LittleEndian.AppendUint64(dst, e.seq)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(e.offset))
	}
	payload := dst[at+recordHeaderBytes:]
	h.typ, h.flags, h.size, h.payloadCRC = typeIndex, 0, uint32(len(payload)), crc32.Checksum(payload, castagnoli)
	h.put(dst[at:], seed)
	return dst
}

// parseIndex is the inverse of append for a payload whose size recordHeader.check has seen.
func parseIndex(payload []byte) index {
	x := index{
		records: binary.LittleEndian.Uint64(payload),
		digest:  binary.LittleEndian.Uint32(payload[8:]),
		entries: make([]indexEntry, 0, len(payload)/indexEntryBytes-1),
	}
	for b := payload[indexFixedBytes:]; len(b) > 0; b = b[indexEntryBytes:] {
		x.entries = append(x.entries, indexEntry{binary.LittleEndian.Uint64(b), int64(binary.LittleEndian.Uint64(b[8:]))})
	}
	return x
}

func (x *index) equal(o *index) bool {
	return x.records == o.records && x.digest == o.digest && slices.Equal(x.entries, o.entries)
}

// readIndex reads the index record of a sealed segment, which lies between the offsets begin and end of its file.
func readIndex(file File, h *segmentHeader, begin, end int64) (index, error) {
	b := make([]byte, end-begin)
	if err := readAt(file, h.name(), b, begin); err != nil {
		return index{}, err
	}
	sc := scanBytes(b, h, begin)
	rh, payload, _, err := sc.next()
	if err != nil {
		return index{}, err
	}
	if rh.typ != typeIndex || sc.offset != end {
		return index{}, corrupt(sc.name, begin, "the index of the segment is missing")
	}
	x := parseIndex(payload)
	last := indexEntry{h.firstSeq - 1, segmentHeaderBytes}
	for _, e := range x.entries {
		if e.seq <= last.seq || e.offset <= last.offset || e.offset >= begin || e.offset%8 != 0 {
			return index{}, corrupt(sc.name, begin, "the index of the segment has no order")
		}
		last = e
	}
	return x, nil
}

// indexRoom is what the index record of a segment takes at most whose records end at offset.
func indexRoom(offset int64) int64 {
	return recordHeaderBytes + indexFixedBytes + (offset-segmentHeaderBytes)/indexEvery*indexEntryBytes
}

// stretch is what lies between two entries of a segment's index: it is read and verified as one.
type stretch struct {
	begin, end int64  // offsets in the file
	seq        uint64 // of the record at begin, at least
	upto       uint64 // no record in it has a higher Seq
}

// stretchOf returns the number of the stretch that seq lies in.
func stretchOf(entries []indexEntry, seq uint64) int {
	return sort.Search(len(entries), func(i int) bool { return entries[i].seq > seq })
}
