package journal

import (
	"errors"
	"fmt"
	"sort"
	"sync"
)

var windows = sync.Pool{New: func() any { return new([]byte) }}

// Read calls fn with the durable records from Seq from on, in order, up to the last one that was durable when Read was
// called; from 0 means the first there is. Seqs that have been cleaned away are left out. A record's payload is all in
// Body, which is valid during the call only. An error of fn ends Read and is returned as it is.
//
// Every checksum is verified: damage is a *CorruptError. The error wraps ErrTrimmed when from lies before First, and is
// ErrClosed after Close.
//
// Read may run beside everything else. Beside cleaning it is no picture of one moment: a record is read, then cleaned away, and
// then what settles it, before Read comes there. Who wants to know what is still needed reads before the first Clean, or calls
// Retain for the time of it.
func (j *Journal) Read(from uint64, fn func(Record) error) error {
	window := windows.Get().(*[]byte)
	defer windows.Put(window)
	all := from == 0
	if all {
		from = j.First()
	}
	for upto := j.Durable(); from <= upto; {
		last, err := j.readSegment(window, from, upto, func(h recordHeader, payload []byte) error {
			return fn(h.record(payload))
		})
		if err == errRetired {
			continue // a cleaned one has taken its place, or it was trimmed
		}
		if all && errors.Is(err, ErrTrimmed) && from < j.First() {
			from = j.First() // it was trimmed meanwhile
			continue
		}
		if err != nil {
			return err
		}
		from = last + 1
	}
	return nil
}

// segmentOf returns the segment in whose range seq lies.
func (j *Journal) segmentOf(seq uint64) (*segment, error) {
	shelf := j.shelf.Load()
	if shelf == nil {
		return nil, ErrClosed
	}
	n := placeOf(*shelf, seq)
	if n < 0 {
		return nil, fmt.Errorf("read seq %d: %w: the first is %d", seq, ErrTrimmed, (*shelf)[0].firstSeq)
	}
	return (*shelf)[n], nil
}

// placeOf is the place of the segment in whose range seq lies; -1: before the first.
func placeOf(segments []*segment, seq uint64) int {
	return sort.Search(len(segments), func(i int) bool { return segments[i].firstSeq > seq }) - 1
}

// readSegment calls fn with the records of one segment from Seq from to at most upto. The range of the segment ends with
// last.
func (j *Journal) readSegment(window *[]byte, from, upto uint64, fn func(h recordHeader, payload []byte) error) (last uint64, err error) {
	s, err := j.segmentOf(from)
	if err != nil {
		return 0, err
	}
	file, err := j.files.hold(s)
	if err != nil {
		return 0, err
	}
	defer j.files.release(s)
	last = min(s.lastSeq.Load(), upto)
	return last, s.read(file, window, from, last, fn)
}

// read calls fn with the durable records of s from Seq from to last. The caller holds s.
func (s *segment) read(file File, window *[]byte, from, last uint64, fn func(h recordHeader, payload []byte) error) error {
	begin := s.stretch(nil, 0)
	if from > s.firstSeq {
		entries, err := s.load(file)
		if err != nil {
			return err
		}
		begin = s.stretch(entries, stretchOf(entries, from))
	}
	return s.each(file, window, begin, last, func(h recordHeader, payload []byte) error {
		if h.seq < from {
			return nil
		}
		return fn(h, payload)
	})
}

// each calls fn with the durable records of s up to last, from the beginning of a stretch on. It verifies each. The
// payload is valid during the call only. The caller holds s.
func (s *segment) each(file File, window *[]byte, from stretch, last uint64, fn func(h recordHeader, payload []byte) error) error {
	sc := newScanner(file, &s.segmentHeader, from.begin, s.limit.Load(), *window)
	defer func() {
		if cap(sc.window) <= keepBytes {
			*window = sc.window
		}
	}()
	seq := from.seq - 1
	for seq < last && sc.offset < sc.end {
		h, payload, at, err := sc.next()
		if err != nil {
			return err
		}
		if h.typ >= typeMark {
			continue
		}
		if err := s.follows(seq, &h, at); err != nil {
			return err
		}
		if seq = h.seq; seq > last {
			return nil
		}
		h.ends = sc.atEnd()
		if err := fn(h, payload); err != nil {
			return err
		}
	}
	if seq < last && !s.sparse {
		return corrupt(sc.name, sc.offset, "the records end with seq %d, the segment goes on to %d", seq, last)
	}
	return nil
}

// follows checks that the record with header h at offset may come after the one with Seq seq.
func (s *segment) follows(seq uint64, h *recordHeader, offset int64) error {
	if h.seq == seq+1 || s.sparse && h.seq > seq {
		return nil
	}
	return corrupt(s.name(), offset, "the record has seq %d after %d", h.seq, seq)
}

// load returns the entries of the index, from file where they are not in memory. The caller holds s.
func (s *segment) load(file File) ([]indexEntry, error) {
	if entries := s.entries.Load(); entries != nil {
		return *entries, nil
	}
	x, err := readIndex(file, &s.segmentHeader, s.limit.Load(), s.end-markBytes)
	if err != nil {
		return nil, err
	}
	s.entries.Store(&x.entries)
	return x.entries, nil
}
