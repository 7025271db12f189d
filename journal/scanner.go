package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

const scanWindow = 64 << 10 // bytes read at a time

// scanner reads the records of one segment in order and verifies each.
type scanner struct {
	file   File
	name   string
	seed   uint32
	placed bool // see seedAt
	salt   uint64
	offset int64 // of the next record
	end    int64 // of what may be read

	window []byte // the bytes of the file at windowAt
	at     int64
}

func newScanner(file File, h *segmentHeader, offset, end int64, window []byte) scanner {
	return scanner{
		file: file, name: h.name(), seed: h.seed(), placed: h.placed(), salt: h.salt, offset: offset, end: end, window: window[:0],
	}
}

// scanBytes scans what was read at offset of the segment's file.
func scanBytes(b []byte, h *segmentHeader, offset int64) scanner {
	sc := newScanner(nil, h, offset, offset+int64(len(b)), b)
	sc.window, sc.at = b, offset
	return sc
}

// next returns the next record, its offset in the file and its payload, which is valid until the next call. The error is
// a *CorruptError where no valid record lies, or that of the file system.
func (s *scanner) next() (h recordHeader, payload []byte, offset int64, err error) {
	offset = s.offset
	if s.end-offset < recordHeaderBytes {
		return h, nil, offset, corrupt(s.name, offset, "the segment ends where a record is due")
	}
	b, err := s.bytes(offset, recordHeaderBytes)
	if err != nil {
		return h, nil, offset, err
	}
	h, reason := parseRecordHeader(b, placedSeed(s.seed, s.placed, offset))
	if reason != "" {
		return h, nil, offset, corrupt(s.name, offset, "%s", reason)
	}
	size := recordBytes(int(h.size))
	if int64(size) > s.end-offset {
		return h, nil, offset, corrupt(s.name, offset, "a record of %d bytes reaches past the end of the segment", h.size)
	}
	if b, err = s.bytes(offset, int(min(int64(size)+recordHeaderBytes, s.end-offset))); err != nil { // for atEnd
		return h, nil, offset, err
	}
	b = b[:size]
	payload = b[recordHeaderBytes : recordHeaderBytes+int(h.size)]
	if crc32.Checksum(payload, castagnoli) != h.payloadCRC || !allZero(b[recordHeaderBytes+int(h.size):]) {
		return h, nil, offset, corrupt(s.name, offset, "the checksum of the record's payload does not match")
	}
	s.offset += int64(size)
	return h, payload, offset, nil
}

// atEnd tells, after next, that no record follows but a mark, or nothing.
func (s *scanner) atEnd() bool {
	if s.end-s.offset < recordHeaderBytes {
		return true
	}
	b := s.window[s.offset-s.at:][:recordHeaderBytes]
	if b[2] < typeMark {
		return false
	}
	_, reason := parseRecordHeader(b, placedSeed(s.seed, s.placed, s.offset))
	return reason == ""
}

// skip goes on from damage to where the next record may begin.
func (s *scanner) skip() error {
	for s.offset += 8; s.end-s.offset >= recordHeaderBytes; s.offset += 8 {
		b, err := s.bytes(s.offset, recordHeaderBytes)
		if err != nil {
			return err
		}
		if binary.LittleEndian.Uint16(b) == recordMagic {
			return nil
		}
	}
	s.offset = s.end
	return nil
}

// bytes returns n bytes of the file at offset, all of them before end.
func (s *scanner) bytes(offset int64, n int) ([]byte, error) {
	from := offset - s.at
	if from >= 0 && from+int64(n) <= int64(len(s.window)) {
		return s.window[from:][:n], nil
	}
	size := int(min(int64(max(n, scanWindow)), s.end-offset))
	if cap(s.window) < size {
		s.window = make([]byte, size)
	}
	s.window, s.at = s.window[:size], offset
	if err := readAt(s.file, s.name, s.window, offset); err != nil {
		s.window = s.window[:0]
		return nil, err
	}
	return s.window[:n], nil
}

// aftermath is what follows the committed part of a segment.
type aftermath struct {
	promised int64 // the furthest offset that any valid mark promises
	used     int64 // just past the last octet that is not zero
	own      int64 // where the last record or mark ends whose header is valid: other octets may be older than the segment
}

// aftermath looks at everything from offset on, where the committed part of a segment ends.
func (s *scanner) aftermath(offset int64) (aftermath, error) {
	a := aftermath{promised: offset, used: offset, own: offset}
	for s.offset = offset; s.offset < s.end; {
		n := min(scanWindow, s.end-s.offset)
		b, err := s.bytes(s.offset, int(n))
		if err != nil {
			return a, err
		}
		if rest := bytes.TrimRight(b, "\x00"); len(rest) > 0 {
			a.used = s.offset + int64(len(rest))
			s.takeStock(&a, b, s.offset)
		}
		if n == s.end-s.offset {
			break
		}
		s.offset += n - markBytes // a mark may lie across two windows
	}
	return a, nil
}

// takeStock takes the valid headers and marks in b into account, which lies at offset, a multiple of 8.
func (s *scanner) takeStock(a *aftermath, b []byte, offset int64) {
	for at := 0; at+recordHeaderBytes <= len(b); at += 8 {
		if binary.LittleEndian.Uint16(b[at:]) != recordMagic {
			continue
		}
		here := offset + int64(at)
		seed := placedSeed(s.seed, s.placed, here)
		h, reason := parseRecordHeader(b[at:], seed)
		if reason != "" {
			continue
		}
		a.own = max(a.own, min(here+int64(recordBytes(int(h.size))), s.end))
		if h.typ == typeMark && at+markBytes <= len(b) {
			if _, m, ok := parseWholeMark(b[at:], seed, s.salt); ok {
				a.promised = max(a.promised, m.promiseOffset)
			}
		}
	}
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
