package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"sort"
	"strings"
)

const (
	formatVersion = 1
	// minReaderVersion is the oldest reader that understands what is written now.
	minReaderVersion = 1

	segmentMagic       = "BATONJNL"
	segmentHeaderBytes = 4096
	segmentSuffix      = ".seg"
	indexEvery         = 64 << 10 // bytes of a segment for each entry in its index
)

// segmentHeader is the first block of a segment file. README.md has the picture.
type segmentHeader struct {
	journalID [16]byte
	id        uint64 // 1, 2, 3 …
	firstSeq  uint64 // of its first record
	size      int64  // bytes of the file until it is sealed, all of them allocated
	salt      uint64 // random
	floor     uint64 // the trim known when the segment was made
	epoch     uint32 // of the record before firstSeq
	chain     uint32 // of the record before firstSeq
}

func (h *segmentHeader) name() string {
	return fmt.Sprintf("%010d-%020d%s", h.id, h.firstSeq, segmentSuffix)
}

// parseSegmentName is the inverse of name.
func parseSegmentName(name string) (id, firstSeq uint64, ok bool) {
	_, err := fmt.Sscanf(name, "%d-%d"+segmentSuffix, &id, &firstSeq)
	return id, firstSeq, err == nil && name == (&segmentHeader{id: id, firstSeq: firstSeq}).name()
}

// seed starts the checksum of every record header in the segment, so that a block of another file never verifies.
func (h *segmentHeader) seed() uint32 {
	var b [32]byte
	copy(b[:], h.journalID[:])
	binary.LittleEndian.PutUint64(b[16:], h.id)
	binary.LittleEndian.PutUint64(b[24:], h.salt)
	return crc32.Checksum(b[:], castagnoli)
}

func (h *segmentHeader) encode() []byte {
	b := make([]byte, segmentHeaderBytes)
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint16(b[8:], formatVersion)
	binary.LittleEndian.PutUint16(b[10:], minReaderVersion)
	// b[12:16] are flags, of which none is in use yet.
	copy(b[16:], h.journalID[:])
	binary.LittleEndian.PutUint64(b[32:], h.id)
	binary.LittleEndian.PutUint64(b[40:], h.firstSeq)
	binary.LittleEndian.PutUint64(b[48:], uint64(h.size))
	binary.LittleEndian.PutUint64(b[56:], h.salt)
	binary.LittleEndian.PutUint64(b[64:], h.floor)
	binary.LittleEndian.PutUint32(b[72:], h.epoch)
	binary.LittleEndian.PutUint32(b[76:], h.chain)
	sealSegmentHeader(b)
	return b
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
	if need := binary.LittleEndian.Uint16(b[10:]); need > formatVersion {
		return segmentHeader{}, fmt.Errorf("%w: %s has format %d and needs a reader of format %d, this one reads up to %d",
			ErrNewer, name, binary.LittleEndian.Uint16(b[8:]), need, formatVersion)
	}
	if flags := binary.LittleEndian.Uint32(b[12:]); flags != 0 {
		return segmentHeader{}, fmt.Errorf("%w: %s has unknown flags %#x", ErrNewer, name, flags)
	}
	h := segmentHeader{
		journalID: [16]byte(b[16:32]),
		id:        binary.LittleEndian.Uint64(b[32:]),
		firstSeq:  binary.LittleEndian.Uint64(b[40:]),
		size:      int64(binary.LittleEndian.Uint64(b[48:])),
		salt:      binary.LittleEndian.Uint64(b[56:]),
		floor:     binary.LittleEndian.Uint64(b[64:]),
		epoch:     binary.LittleEndian.Uint32(b[72:]),
		chain:     binary.LittleEndian.Uint32(b[76:]),
	}
	if h.name() != name {
		return segmentHeader{}, corrupt(name, 0, "the file was %s when it was written", h.name())
	}
	return h, nil
}

// segment is one file of an open journal.
type segment struct {
	segmentHeader
	file File
	end  int64 // just past the last durable mark; owned by the writer

	// guarded by Journal.mu
	lastSeq uint64 // last durable record; firstSeq-1 when there is none
	index   []indexEntry
	readers int
	retired bool // the last reader closes the file
}

// indexEntry says where a record begins.
type indexEntry struct {
	seq    uint64
	offset int64
}

// find returns where to begin to look for seq.
func (s *segment) find(seq uint64) int64 {
	n := sort.Search(len(s.index), func(i int) bool { return s.index[i].seq > seq })
	if n == 0 {
		return segmentHeaderBytes
	}
	return s.index[n-1].offset
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
