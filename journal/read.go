package journal

import (
	"fmt"
	"sync"
)

var windows = sync.Pool{New: func() any { return new([]byte) }}

// Read calls fn with the durable records from Seq from on, in order, up to the last one that was durable when Read was
// called; from 0 means the first there is. A record's payload is all in Body, which is valid during the call only. An
// error of fn ends Read and is returned as it is.
//
// Every checksum is verified: damage is a *CorruptError. The error wraps ErrTrimmed when from lies before First, and is
// ErrClosed after Close. Read may run beside everything else.
func (j *Journal) Read(from uint64, fn func(Record) error) error {
	window := windows.Get().(*[]byte)
	defer windows.Put(window)
	if from == 0 {
		from = j.First()
	}
	for upto := j.Durable(); from <= upto; {
		s, offset, last, err := j.acquire(from)
		if err != nil {
			return err
		}
		last = min(last, upto)
		err = s.read(window, offset, from, last, fn)
		j.release(s)
		if err != nil {
			return err
		}
		from = last + 1
	}
	return nil
}

// acquire returns the segment that holds from, keeps it from being closed, and tells where in it to begin and its last
// durable record.
func (j *Journal) acquire(from uint64) (s *segment, offset int64, last uint64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closing {
		return nil, 0, 0, ErrClosed
	}
	if first := j.segments[0].firstSeq; from < first {
		return nil, 0, 0, fmt.Errorf("read seq %d: %w: the first is %d", from, ErrTrimmed, first)
	}
	n := len(j.segments) - 1
	for j.segments[n].firstSeq > from {
		n--
	}
	s = j.segments[n]
	s.readers++
	return s, s.find(from), s.lastSeq, nil
}

func (j *Journal) release(s *segment) {
	j.mu.Lock()
	s.readers--
	last := s.retired && s.readers == 0
	j.mu.Unlock()
	if last {
		_ = s.file.Close() // it was only read
	}
}

// read calls fn with the records from to last, all of them in s and durable.
func (s *segment) read(window *[]byte, offset int64, from, last uint64, fn func(Record) error) error {
	sc := newScanner(s.file, &s.segmentHeader, offset, s.size, *window)
	defer func() {
		if cap(sc.window) <= keepBytes {
			*window = sc.window
		}
	}()
	for seq := uint64(0); seq < last; {
		h, payload, at, err := sc.next()
		if err != nil {
			return err
		}
		if h.typ == typeMark {
			continue
		}
		if seq > 0 && h.seq != seq+1 || h.seq > last {
			return corrupt(sc.name, at, "the record has seq %d after %d", h.seq, seq)
		}
		if seq = h.seq; seq < from {
			continue
		}
		if err := fn(Record{Seq: seq, Epoch: h.epoch, Type: h.typ, Body: payload}); err != nil {
			return err
		}
	}
	return nil
}
