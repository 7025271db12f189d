package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	formatVersion   = 4 // of what is written now; older readers do not understand it
	indexVersion    = 2 // since this one a sealed segment ends with its index
	placedVersion   = 3 // since this one the records of a sparse segment are bound to their offsets
	recycledVersion = 4 // since this one a segment's file may have been that of another

	segmentMagic       = "BATONJNL"
	segmentHeaderBytes = 4096
	segmentSuffix      = ".seg"

	flagSparse   = 1 // in a segment header: the file holds only some records of its range
	flagRecycled = 2 // in a segment header: the file was that of another segment, whose octets follow the last mark
)

// segmentHeader is the first block of a segment file. README.md has the picture.
type segmentHeader struct {
	version   uint16
	sparse    bool // some of the records have been cleaned away
	recycled  bool // what follows the last mark is what the file held before, and not zeros
	journalID [16]byte
	id        uint64 // 1, 2, 3 …
	firstSeq  uint64 // of its first record
	size      int64  // bytes of the file until it is sealed, all of them allocated
	salt      uint64 // random
	floor     uint64 // the trim known when the segment was made
	epoch     uint32 // of the record before firstSeq
	chain     uint32 // of the record before firstSeq
	lastID    uint64 // of the last segment that was merged into this one; id when none was
}

func (h *segmentHeader) name() string {
	return fmt.Sprintf("%010d-%020d%s", h.id, h.firstSeq, segmentSuffix)
}

// parseSegmentName is the inverse of name.
func parseSegmentName(name string) (id, firstSeq uint64, ok bool) {
	number, seq, _ := strings.Cut(strings.TrimSuffix(name, segmentSuffix), "-")
	id, errID := strconv.ParseUint(number, 10, 64)
	firstSeq, errSeq := strconv.ParseUint(seq, 10, 64)
	ok = errID == nil && errSeq == nil && name == (&segmentHeader{id: id, firstSeq: firstSeq}).name()
	return id, firstSeq, ok
}

// seed starts the checksum of every record header in the segment, so that a block of another file never verifies.
func (h *segmentHeader) seed() uint32 {
	var b [32]byte
	copy(b[:], h.journalID[:])
	binary.LittleEndian.PutUint64(b[16:], h.id)
	binary.LittleEndian.PutUint64(b[24:], h.salt)
	return crc32.Checksum(b[:], castagnoli)
}

// seedAt starts the checksum of the record header at offset. Where Seqs have gaps, a sector in the place of another would
// otherwise pass for the next records, and hide those that it replaced.
func (h *segmentHeader) seedAt(offset int64) uint32 { return placedSeed(h.seed(), h.placed(), offset) }

// placed says whether seedAt depends on the offset.
func (h *segmentHeader) placed() bool { return h.sparse && h.version >= placedVersion }

func placedSeed(seed uint32, placed bool, offset int64) uint32 {
	if !placed {
		return seed
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(offset))
	return crc32.Update(seed, castagnoli, b[:])
}

func (h *segmentHeader) encode() []byte {
	b := make([]byte, segmentHeaderBytes)
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint16(b[8:], h.version)
	binary.LittleEndian.PutUint16(b[10:], h.version)
	binary.LittleEndian.PutUint32(b[12:], h.flags())
	copy(b[16:], h.journalID[:])
	binary.LittleEndian.PutUint64(b[32:], h.id)
	binary.LittleEndian.PutUint64(b[40:], h.firstSeq)
	binary.LittleEndian.PutUint64(b[48:], uint64(h.size))
	binary.LittleEndian.PutUint64(b[56:], h.salt)
	binary.LittleEndian.PutUint64(b[64:], h.floor)
	binary.LittleEndian.PutUint32(b[72:], h.epoch)
	binary.LittleEndian.PutUint32(b[76:], h.chain)
	binary.LittleEndian.PutUint64(b[80:], h.lastID)
	sealSegmentHeader(b)
	return b
}

func (h *segmentHeader) flags() (flags uint32) {
	if h.sparse {
		flags |= flagSparse
	}
	if h.recycled {
		flags |= flagRecycled
	}
	return flags
}

// knownFlags are those that a header of that format version may have.
func knownFlags(version uint16) (flags uint32) {
	if version >= indexVersion {
		flags |= flagSparse
	}
	if version >= recycledVersion {
		flags |= flagRecycled
	}
	return flags
}

func sealSegmentHeader(b []byte) {
	binary.LittleEndian.PutUint32(b[segmentHeaderBytes-4:], crc32.Checksum(b[:segmentHeaderBytes-4], castagnoli))
}

// parseSegmentHeader reads the first block of the file called name, which must say the same as the block.
func parseSegmentHeader(name string, b []byte) (segmentHeader, error) {
	if len(b) < segmentHeaderBytes {
		return segmentHeader{}, corrupt(name, int64(len(b)), "the file ends within its header")
	}
	if !bytes.HasPrefix(b, []byte(segmentMagic)) {
		return segmentHeader{}, corrupt(name, 0, "this is no journal segment")
	}
	if crc32.Checksum(b[:segmentHeaderBytes-4], castagnoli) != binary.LittleEndian.Uint32(b[segmentHeaderBytes-4:]) {
		return segmentHeader{}, corrupt(name, 0, "the checksum of the segment header does not match")
	}
	version, flags := binary.LittleEndian.Uint16(b[8:]), binary.LittleEndian.Uint32(b[12:])
	if need := binary.LittleEndian.Uint16(b[10:]); need > formatVersion {
		return segmentHeader{}, fmt.Errorf("%w: %s has format %d and needs a reader of format %d, this one reads up to %d",
			ErrNewer, name, version, need, formatVersion)
	}
	if flags&^knownFlags(version) != 0 {
		return segmentHeader{}, fmt.Errorf("%w: %s has unknown flags %#x", ErrNewer, name, flags)
	}
	h := segmentHeader{
		version:   version,
		sparse:    flags&flagSparse != 0,
		recycled:  flags&flagRecycled != 0,
		journalID: [16]byte(b[16:32]),
		id:        binary.LittleEndian.Uint64(b[32:]),
		firstSeq:  binary.LittleEndian.Uint64(b[40:]),
		size:      int64(binary.LittleEndian.Uint64(b[48:])),
		salt:      binary.LittleEndian.Uint64(b[56:]),
		floor:     binary.LittleEndian.Uint64(b[64:]),
		epoch:     binary.LittleEndian.Uint32(b[72:]),
		chain:     binary.LittleEndian.Uint32(b[76:]),
		lastID:    binary.LittleEndian.Uint64(b[80:]),
	}
	if version < indexVersion {
		h.lastID = h.id
	}
	if h.name() != name {
		return segmentHeader{}, corrupt(name, 0, "the file was %s when it was written", h.name())
	}
	if h.lastID < h.id || h.lastID > h.id && !h.sparse {
		return segmentHeader{}, corrupt(name, 80, "the segment claims the numbers %d to %d", h.id, h.lastID)
	}
	return h, nil
}

// segment is one file of an open journal. What is atomic is set by the writer before it reports records as durable.
type segment struct {
	segmentHeader
	lastSeq atomic.Uint64                // last durable record; firstSeq-1 when there is none
	limit   atomic.Int64                 // offset where the durable records and their marks end
	entries atomic.Pointer[[]indexEntry] // nil while they are only in the index record
	sealed  bool                         // set before the writer releases it
	trimmed time.Time                    // when it left the journal; guarded by Journal.mu

	// owned by the writer
	end    int64 // just past the last durable mark
	digest uint32

	// guarded by files.mu
	file    File
	users   int  // who have it from hold; the writer is one of the active segment
	retired bool // no longer of the journal: its last user closes the file

	known knowledge // owned by the cleaner
}

// newSegment is what the writer goes on with. It has the file from the start.
func newSegment(h segmentHeader, file File) *segment {
	s := &segment{segmentHeader: h, file: renamed(file, h.name()), users: 1, end: segmentHeaderBytes}
	s.entries.Store(new([]indexEntry))
	s.advance(h.firstSeq-1, segmentHeaderBytes, nil)
	return s
}

// advance says that all records up to lastSeq, which end at offset end, are durable; more are their index entries.
func (s *segment) advance(lastSeq uint64, end int64, more []indexEntry) {
	if len(more) > 0 {
		all := append(*s.entries.Load(), more...)
		s.entries.Store(&all)
	}
	s.limit.Store(end)
	s.lastSeq.Store(lastSeq)
}

// stretch returns the one with number n, as far as it is durable.
func (s *segment) stretch(entries []indexEntry, n int) stretch {
	t := stretch{begin: segmentHeaderBytes, seq: s.firstSeq}
	if n > 0 {
		t.begin, t.seq = entries[n-1].offset, entries[n-1].seq
	}
	if n < len(entries) {
		t.end, t.upto = entries[n].offset, entries[n].seq-1
	} else {
		t.upto = s.lastSeq.Load()
		t.end = s.limit.Load() // after upto: at least as far
	}
	return t
}

// The identity file names the journal that a directory belongs to. It is written once the first segment is safe, so
// that a directory that has lost all its segments is not mistaken for a new one.
const identityName = "journal.id"

func encodeIdentity(id [16]byte) []byte {
	text := "baton journal " + hex.EncodeToString(id[:])
	return fmt.Appendf(nil, "%s %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

func parseIdentity(b []byte) (id [16]byte, err error) {
	fields := strings.Fields(string(b))
	if len(fields) == 4 {
		_, _ = hex.Decode(id[:], []byte(fields[2])[:min(len(fields[2]), 32)])
	}
	if !bytes.Equal(b, encodeIdentity(id)) {
		return [16]byte{}, corrupt(identityName, 0, "the journal's identity cannot be read")
	}
	return id, nil
}

// readAt reads all of b, which lies within the file called name.
func readAt(file File, name string, b []byte, offset int64) error {
	n, err := file.ReadAt(b, offset)
	switch {
	case n == len(b):
		return nil
	case err == io.EOF:
		return corrupt(name, offset+int64(n), "the file has become shorter")
	}
	return err
}

// makeFile makes a file with what write puts into it, durably but for its name.
func makeFile(fsys FS, name string, write func(File) error) error {
	file, err := fsys.Create(name)
	if err != nil {
		return err
	}
	err = write(file)
	if err == nil {
		err = file.Sync()
	}
	return firstError(err, file.Close())
}

// makeBlank makes a file that is the empty segment h, as makeFile does.
func makeBlank(fsys FS, name string, h segmentHeader) error {
	return makeFile(fsys, name, func(file File) error {
		if err := zeroFile(file, h.size, nil); err != nil {
			return err
		}
		return writeAt(file, h.encode(), 0)
	})
}

// nextAfter is the header of a small segment, with which a log goes on that ended with last at the position end.
func nextAfter(last segmentHeader, end Position, floor uint64) segmentHeader {
	return segmentHeader{
		version: formatVersion, journalID: last.journalID, id: last.lastID + 1, lastID: last.lastID + 1, firstSeq: end.Seq + 1,
		size: segmentSize(freshSegmentSize, 0), salt: randomSalt(), floor: floor, epoch: end.Epoch, chain: end.Chain,
	}
}

// readAll reads a small file.
func readAll(fsys FS, name string, limit int64) (_ []byte, err error) {
	f, err := fsys.Open(name, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = firstError(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, limit))
	n, err := f.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	return b[:n], err
}
