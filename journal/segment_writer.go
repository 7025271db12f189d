package journal

import "encoding/binary"

// gatherBytes is how much a segmentWriter writes at a time.
const gatherBytes = 1 << 20

// segmentWriter writes the file of a sealed segment with records of others, all at once: mostly a sparse one.
type segmentWriter struct {
	header segmentHeader
	seed   uint32
	file   File
	buf    []byte // what follows offset and is not written yet
	offset int64
	index  index
	at     Position // after the last record
}

// newSparseWriter begins the segment that takes the place of those from first to the one numbered lastID. salt is random.
func newSparseWriter(file File, first segmentHeader, lastID, salt uint64) *segmentWriter {
	h := first
	h.sparse, h.lastID = true, lastID
	return newSegmentWriter(file, h, salt)
}

// newSegmentWriter begins a segment that is sparse or not, as h is; then it gets all records of its range.
func newSegmentWriter(file File, h segmentHeader, salt uint64) *segmentWriter {
	h.version, h.recycled, h.salt = formatVersion, false, salt
	return &segmentWriter{header: h, seed: h.seed(), file: file, offset: segmentHeaderBytes, at: h.before()}
}

// seedAt is that of the segment's header.
func (w *segmentWriter) seedAt(offset int64) uint32 {
	return placedSeed(w.seed, w.header.placed(), offset)
}

// add writes a record with the header that it had; the Seqs rise. Writes are gathered up to gatherBytes.
func (w *segmentWriter) add(h recordHeader, payload []byte) error {
	if h.seq <= w.at.Seq {
		panic("BUG: journal: records of a segment out of order")
	}
	at := len(w.buf)
	w.buf = append(w.buf, zeros[:recordHeaderBytes]...)
	w.buf = append(w.buf, payload...)
	w.buf = append(w.buf, zeros[:recordBytes(len(payload))-recordHeaderBytes-len(payload)]...)
	offset := w.offset + int64(at)
	h.chain = h.put(w.buf[at:], w.seedAt(offset))
	h.crc = binary.LittleEndian.Uint32(w.buf[at+recordHeaderBytes-4:])
	w.index.add(&h, offset)
	w.at = Position{h.seq, h.epoch, h.chain}
	if len(w.buf) < gatherBytes {
		return nil
	}
	return w.flush()
}

func (w *segmentWriter) flush() error {
	if err := writeAt(w.file, w.buf, w.offset); err != nil {
		return err
	}
	w.offset += int64(len(w.buf))
	w.buf = w.buf[:0]
	return nil
}

// size is what the file has when it is finished now.
func (w *segmentWriter) size() int64 {
	size := w.offset + int64(len(w.buf)) + recordHeaderBytes + indexFixedBytes + int64(len(w.index.entries))*indexEntryBytes + markBytes
	if !w.header.sparse {
		size += markBytes
	}
	return size
}

// finish writes the index, the seal and the header; next follows the last segment that is replaced. The caller syncs the
// file, and gives it its name durably.
func (w *segmentWriter) finish(next segmentHeader) (*segment, error) {
	w.header.size = w.size()
	m := mark{
		firstSeq:      w.header.firstSeq,
		promiseSeq:    w.header.firstSeq - 1,
		promiseOffset: segmentHeaderBytes,
		floor:         next.floor,
		salt:          w.header.salt,
	}
	h := recordHeader{seq: next.firstSeq - 1, epoch: next.epoch, prevChain: next.chain}
	if !w.header.sparse {
		w.buf = m.append(w.buf, h, w.seed) // all that is in it is one batch
		m.firstSeq = next.firstSeq
	}
	limit := w.offset + int64(len(w.buf))
	m.promiseSeq, m.promiseOffset = h.seq, limit
	w.buf = w.index.append(w.buf, h, w.seedAt(limit))
	h.flags = flagSealed
	w.buf = m.append(w.buf, h, w.seedAt(w.offset+int64(len(w.buf))))
	if err := w.flush(); err != nil {
		return nil, err
	}
	if err := writeAt(w.file, w.header.encode(), 0); err != nil {
		return nil, err
	}
	s := &segment{segmentHeader: w.header, end: w.offset, digest: w.index.digest, sealed: true}
	s.lastSeq.Store(h.seq)
	s.limit.Store(limit)
	return s, nil
}
