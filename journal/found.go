package journal

import (
	"fmt"
	"io"
)

// found is what one segment holds.
type found struct {
	segmentHeader
	file     File
	bytes    int64    // size of the file
	end      int64    // just past the last mark
	used     int64    // just past the last byte that is not zero
	promised int64    // offset up to which a mark promises that everything was durable
	position position // after the last mark
	records  uint64
	epochs   []uint32
	floorNow uint64 // after the last mark
	sealed   bool
	index    []indexEntry
}

// position is how far the log has come.
type position struct {
	seq   uint64
	epoch uint32
	chain uint32
}

func readSegmentHeader(name string, file File) (*found, error) {
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, segmentHeaderBytes))
	if n, err := file.ReadAt(b, 0); err != nil && (err != io.EOF || n < len(b)) {
		return nil, err
	}
	h, err := parseSegmentHeader(name, b)
	if err != nil {
		return nil, err
	}
	return &found{
		segmentHeader: h,
		file:          file,
		bytes:         size,
		end:           segmentHeaderBytes,
		promised:      segmentHeaderBytes,
		position:      position{h.firstSeq - 1, h.epoch, h.chain},
		floorNow:      h.floor,
	}, nil
}

// scanBatch reads one batch and takes it into account when its mark is there and right.
func (f *found) scanBatch(sc *scanner) error {
	before, start := *f, sc.offset
	for {
		h, payload, offset, err := sc.next()
		if err == nil && h.typ == typeMark {
			err = f.endBatch(sc, h, parseMark(payload), before.position.seq+1, start)
		} else if err == nil {
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
	if h.seq != at.seq+1 || h.prevChain != at.chain || h.epoch < at.epoch {
		return corrupt(sc.name, offset, "the record with seq %d does not continue the one with seq %d", h.seq, at.seq)
	}
	if n := len(f.epochs); n == 0 || f.epochs[n-1] != h.epoch {
		f.epochs = append(f.epochs, h.epoch)
	}
	indexed := int64(segmentHeaderBytes)
	if n := len(f.index); n > 0 {
		indexed = f.index[n-1].offset
	}
	if offset-indexed >= indexEvery {
		f.index = append(f.index, indexEntry{h.seq, offset})
	}
	f.records++
	f.position = position{h.seq, h.epoch, h.chain}
	return nil
}

// endBatch checks the mark of a batch that begins with firstSeq at start.
func (f *found) endBatch(sc *scanner, h recordHeader, m mark, firstSeq uint64, start int64) error {
	if m.salt != f.salt || m.firstSeq != firstSeq || f.position != (position{h.seq, h.epoch, h.prevChain}) {
		return corrupt(sc.name, sc.offset-markBytes, "the commit mark of seq %d to %d does not fit its batch", m.firstSeq, h.seq)
	}
	if m.promiseOffset > start || m.promiseSeq >= firstSeq {
		return corrupt(sc.name, sc.offset-markBytes, "the commit mark promises what it cannot know")
	}
	f.end, f.promised = sc.offset, max(f.promised, m.promiseOffset)
	f.floorNow = max(f.floorNow, m.floor)
	f.sealed = h.flags&flagSealed != 0
	return nil
}

// judge tells a torn tail from corruption, where the first invalid place is damage: a mark that promises more than what
// is valid proves that durable bytes are damaged.
func (f *found) judge(sc *scanner, damage *CorruptError) error {
	promised, used, err := sc.aftermath(f.end)
	if err != nil {
		return err
	}
	f.used = used
	if promised > f.end {
		damage.Reason += fmt.Sprintf("; all up to offset %d was durable once", promised)
		return damage
	}
	if f.bytes != f.size {
		return corrupt(f.name(), f.bytes, "the file has %d bytes instead of %d", f.bytes, f.size)
	}
	return nil
}

// torn is how many bytes of unfinished batches follow the last mark.
func (f *found) torn() int64 { return max(0, f.used-f.end) }
