package journal

import "encoding/binary"

// gatherBytes is how much a sparseWriter writes at a time.
const gatherBytes = 1 << 20

// sparseWriter writes the file of a sparse segment: some records of one sealed segment, or of adjacent ones.
type sparseWriter struct {
	header segmentHeader
	seed   uint32
	file   File
	buf    []byte // what follows offset and is not written yet
	offset int64
	index  index
	last   uint64 // Seq of the last record
}

// newSparseWriter begins the segment that takes the place of those from first to the one numbered lastID. salt is random.
func newSparseWriter(file File, first segmentHeader, lastID, salt uint64) *sparseWriter {
	h := first
	h.version, h.sparse, h.recycled, h.lastID, h.salt = formatVersion, true, false, lastID, salt
	return &sparseWriter{header: h, seed: h.seed(), file: file, offset: segmentHeaderBytes, last: h.firstSeq - 1}
}

// add writes a record with the header that it had; the Seqs rise. Writes are gathered up to gatherBytes.
func (w *sparseWriter) add(h recordHeader, payload []byte) error {
	if h.seq <= w.last {
		panic("BUG: journal: records of a sparse segment out of order")
	}
	at := len(w.buf)
	w.buf = append(w.buf, zeros[:recordHeaderBytes]...)
	w.buf = append(w.buf, payload...)
	w.buf = append(w.buf, zeros[:recordBytes(len(payload))-recordHeaderBytes-len(payload)]...)
	offset := w.offset + int64(at)
	h.put(w.buf[at:], placedSeed(w.seed, true, offset))
	h.crc = binary.LittleEndian.Uint32(w.buf[at+recordHeaderBytes-4:])
	w.index.add(&h, offset)
	w.last = h.seq
	if len(w.buf) < gatherBytes {
		return nil
	}
	return w.flush()
}

func (w *sparseWriter) flush() error {
	if err := writeAt(w.file, w.buf, w.offset); err != nil {
		return err
	}
	w.offset += int64(len(w.buf))
	w.buf = w.buf[:0]
	return nil
}

// size is what the file has when it is finished now.
func (w *sparseWriter) size() int64 {
	return w.offset + int64(len(w.buf)) + recordHeaderBytes + indexFixedBytes + int64(len(w.index.entries))*indexEntryBytes + markBytes
}

// finish writes the index, the seal and the header; next follows the last segment that is replaced. The caller syncs the
// file, renames it to the segment's name, syncs the directory, and hands the segment to Journal.replace.
func (w *sparseWriter) finish(next segmentHeader) (*segment, error) {
	limit := w.offset + int64(len(w.buf))
	w.header.size = w.size()
	m := mark{
		firstSeq:      w.header.firstSeq,
		promiseSeq:    next.firstSeq - 1,
		promiseOffset: limit,
		floor:         next.floor,
		salt:          w.header.salt,
	}
	h := recordHeader{seq: next.firstSeq - 1, epoch: next.epoch, prevChain: next.chain}
	w.buf = w.index.append(w.buf, h, placedSeed(w.seed, true, limit))
	h.flags = flagSealed
	w.buf = m.append(w.buf, h, placedSeed(w.seed, true, w.offset+int64(len(w.buf))))
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
