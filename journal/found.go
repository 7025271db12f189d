package journal

import "fmt"

// found is what one segment holds.
type found struct {
	segmentHeader
	index    // of the records up to limit; not of a segment of which only the seal was read
	file     File
	bytes    int64    // size of the file
	end      int64    // just past the last mark
	limit    int64    // where the records and their marks end: at the index or the seal, or at end
	used     int64    // just past the last octet that may be of an unfinished batch
	promised int64    // offset up to which a mark promises that everything was durable
	position Position // after the last mark
	epochs   []uint32
	floorNow uint64 // after the last mark
	indexed  bool   // the index record was there
	sealed   bool
	scanned  bool // all of it was read
	damaged  bool
}

func readSegmentHeader(name string, file File) (*found, error) {
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, segmentHeaderBytes))
	if err := readAt(file, name, b, 0); err != nil {
		return nil, err
	}
	h, err := parseSegmentHeader(name, b)
	if err != nil {
		return nil, err
	}
	return &found{
		segmentHeader: h,
		bytes:         size,
		end:           segmentHeaderBytes,
		limit:         segmentHeaderBytes,
		promised:      segmentHeaderBytes,
		position:      h.before(),
		floorNow:      h.floor,
	}, nil
}

// readSeal reads only the end of a sealed segment: it says how the log goes on, and every later read verifies the rest.
// Where the file does not end with a seal nothing is found, and f is to be scanned.
func (f *found) readSeal(file File) error {
	offset := f.bytes - markBytes
	if f.version < indexVersion || offset < segmentHeaderBytes {
		return nil
	}
	b := make([]byte, markBytes)
	if err := readAt(file, f.name(), b, offset); err != nil {
		return err
	}
	h, m, ok := parseWholeMark(b, f.seedAt(offset), f.salt)
	if !ok || !h.isSeal() {
		return nil
	}
	if h.seq >= f.firstSeq {
		f.epochs = append(f.epochs, h.epoch)
	}
	return f.endSegment(h, m, offset)
}

// endSegment takes the seal at offset into account, which ends the file.
func (f *found) endSegment(h recordHeader, m mark, offset int64) error {
	f.position = Position{h.seq, h.epoch, h.prevChain}
	f.limit, f.end, f.promised = m.promiseOffset, offset+markBytes, m.promiseOffset
	f.floorNow, f.sealed = max(f.floorNow, m.floor), true
	first := h.seq + 1 // of an empty batch
	if f.sparse {
		first = f.firstSeq
	}
	room := offset - f.limit - indexRoom(segmentHeaderBytes)
	switch {
	case m.firstSeq != first || m.promiseSeq != h.seq || h.seq+1 < f.firstSeq || h.epoch < f.epoch:
		return corrupt(f.name(), offset, "the seal of seq %d to %d does not fit its segment", m.firstSeq, h.seq)
	case f.limit < segmentHeaderBytes || f.limit > offset || room < 0 || room%indexEntryBytes != 0:
		return corrupt(f.name(), offset, "the seal names a place for the index where none can be")
	case f.bytes != f.end || f.bytes > f.size || f.sparse && f.bytes != f.size:
		return corrupt(f.name(), f.end, "the file has %d bytes instead of %d", f.bytes, f.size)
	}
	return nil
}

// scan reads all of f, up to its last mark. The error is a *CorruptError where nothing valid lies, which may be the work
// of a crash: see judge.
func (f *found) scan(sc *scanner, progress func(end int64)) error {
	f.scanned = true
	if f.sparse {
		return f.scanSparse(sc)
	}
	for !f.sealed {
		if err := f.scanBatch(sc); err != nil {
			return err
		}
		progress(f.end)
	}
	return nil
}

// scanBatch reads one batch and takes it into account when its mark is there and right.
func (f *found) scanBatch(sc *scanner) error {
	before, start := *f, sc.offset
	for {
		h, payload, offset, err := sc.next()
		switch {
		case err != nil:
		case h.typ == typeMark:
			err = f.endBatch(sc, h, parseMark(payload), before.position.Seq+1, start)
		case h.typ == typeIndex:
			err = f.endRecords(sc, h, parseIndex(payload), offset)
		default:
			err = f.addRecord(sc, h, offset)
		}
		if err != nil {
			*f = before
			return err
		}
		if h.typ == typeMark {
			return nil
		}
	}
}

func (f *found) addRecord(sc *scanner, h recordHeader, offset int64) error {
	at := f.position
	if f.indexed || h.seq != at.Seq+1 || h.prevChain != at.Chain || h.epoch < at.Epoch {
		return corrupt(sc.name, offset, "the record with seq %d does not continue the one with seq %d", h.seq, at.Seq)
	}
	f.take(h, offset)
	return nil
}

func (f *found) take(h recordHeader, offset int64) {
	if n := len(f.epochs); n == 0 || f.epochs[n-1] != h.epoch {
		f.epochs = append(f.epochs, h.epoch)
	}
	f.index.add(&h, offset)
	f.position = Position{h.seq, h.epoch, h.chain}
}

// endRecords compares the index record with what was scanned. Its header has the position at the end of the segment.
func (f *found) endRecords(sc *scanner, h recordHeader, x index, offset int64) error {
	end := Position{h.seq, h.epoch, h.prevChain}
	fits := f.position == end || f.sparse && f.position.Seq < end.Seq && f.position.Epoch <= end.Epoch
	if f.indexed || f.version < indexVersion || !fits || !x.equal(&f.index) {
		return corrupt(sc.name, offset, "the index does not fit the records before it")
	}
	f.position, f.limit, f.indexed = end, offset, true
	return nil
}

// endBatch checks the mark of a batch that begins with firstSeq at start.
func (f *found) endBatch(sc *scanner, h recordHeader, m mark, firstSeq uint64, start int64) error {
	offset := sc.offset - markBytes
	if m.salt != f.salt || m.firstSeq != firstSeq || f.position != (Position{h.seq, h.epoch, h.prevChain}) {
		return corrupt(sc.name, offset, "the commit mark of seq %d to %d does not fit its batch", m.firstSeq, h.seq)
	}
	if m.promiseOffset > start || m.promiseSeq >= firstSeq {
		return corrupt(sc.name, offset, "the commit mark promises what it cannot know")
	}
	sealed := h.isSeal()
	if f.indexed != (sealed && f.version >= indexVersion) || f.indexed && f.limit != start || sealed && m.promiseOffset != start {
		return corrupt(sc.name, offset, "the index and the seal of the segment do not lie together")
	}
	f.end, f.promised = sc.offset, max(f.promised, m.promiseOffset)
	f.floorNow = max(f.floorNow, m.floor)
	f.sealed = sealed
	f.limit = f.end
	if sealed {
		f.limit = start
	}
	return nil
}

// scanSparse reads a segment that was cleaned: there are no marks between its records, and nothing in it is ever torn.
func (f *found) scanSparse(sc *scanner) error {
	for !f.indexed {
		h, payload, offset, err := sc.next()
		if err != nil {
			return err
		}
		switch h.typ {
		case typeMark:
			err = corrupt(sc.name, offset, "a commit mark lies between the records of a cleaned segment")
		case typeIndex:
			err = f.endRecords(sc, h, parseIndex(payload), offset)
		default:
			err = f.addKept(sc, h, offset)
		}
		if err != nil {
			return err
		}
	}
	end, limit := f.position, f.limit
	h, payload, offset, err := sc.next()
	if err != nil {
		return err
	}
	if !h.isSeal() || parseMark(payload).salt != f.salt {
		return corrupt(sc.name, offset, "the seal of the segment is missing")
	}
	if err := f.endSegment(h, parseMark(payload), offset); err != nil {
		return err
	}
	if f.position != end || f.limit != limit {
		return corrupt(sc.name, offset, "the index and the seal of the segment disagree")
	}
	return nil
}

// addKept takes account of a record of a sparse segment: those between it and the one before may be gone.
func (f *found) addKept(sc *scanner, h recordHeader, offset int64) error {
	at := f.position
	if h.seq <= at.Seq || h.epoch < at.Epoch || h.seq == at.Seq+1 && h.prevChain != at.Chain {
		return corrupt(sc.name, offset, "the record with seq %d cannot follow the one with seq %d", h.seq, at.Seq)
	}
	f.take(h, offset)
	return nil
}

// judge tells a torn tail from corruption, where the first invalid place is damage: a mark that promises more than what
// is valid proves that durable bytes are damaged.
func (f *found) judge(sc *scanner, damage *CorruptError) error {
	after, err := sc.aftermath(f.end)
	if err != nil {
		return err
	}
	f.used = f.unfinished(after)
	if after.promised > f.end {
		damage.Reason += fmt.Sprintf("; all up to offset %d was durable once", after.promised)
		return damage
	}
	if f.bytes != f.size {
		return corrupt(f.name(), f.bytes, "the file has %d bytes instead of %d", f.bytes, f.size)
	}
	return nil
}

// unfinished is how far a batch reaches that was begun after the last mark. What the file of a recycled segment held before is
// none of it: only what has a header of this segment is, and what lies before that.
func (f *found) unfinished(after aftermath) int64 {
	if f.recycled {
		return after.own
	}
	return after.used
}

func (f *found) close() {
	if f.file != nil {
		_ = f.file.Close() // it was only read
		f.file = nil
	}
}

// count is the number of records, as far as it is known without reading them.
func (f *found) count() uint64 {
	if f.sealed && !f.scanned && !f.sparse {
		return f.position.Seq + 1 - f.firstSeq
	}
	return f.records
}

// torn is how many bytes of unfinished batches follow the last mark.
func (f *found) torn() int64 { return max(0, f.used-f.end) }
