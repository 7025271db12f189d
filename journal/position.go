package journal

import "fmt"

// Position is how far a log has come. Two logs that are at equal Positions hold equal records up to there, but for what was
// trimmed and cleaned away.
type Position struct {
	Seq   uint64 // of the last record; 0: there never was one
	Epoch uint32 // of that record
	Chain uint32 // of that record and all before it: see README.md
}

// before is where the log was when the segment began.
func (h *segmentHeader) before() Position { return Position{h.firstSeq - 1, h.epoch, h.chain} }

// End is the position after the last record appended, durable or not.
func (j *Journal) End() Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tail.position()
}

func (t *tail) position() Position { return Position{t.seq, t.epoch, t.chain} }

// PositionAt returns the position after the record with that Seq; 0 stands for the beginning. The error wraps ErrNotFound
// where it cannot be told: the record was trimmed or cleaned away with those around it, was never appended, or is not the
// last one and not durable yet. It is ErrClosed after Close, or a *CorruptError.
func (j *Journal) PositionAt(seq uint64) (Position, error) {
	for {
		p, err := j.positionAt(seq)
		if err == errRetired {
			continue // a cleaned one has taken the segment's place, or it was trimmed
		}
		if err != nil {
			return Position{}, fmt.Errorf("position at seq %d: %w", seq, err)
		}
		return p, nil
	}
}

func (j *Journal) positionAt(seq uint64) (Position, error) {
	if seq == 0 {
		return Position{}, nil
	}
	j.mu.Lock()
	end, segments, durable := j.tail.position(), j.segments, j.durable.Load()
	j.mu.Unlock()
	switch {
	case j.shelf.Load() == nil:
		return Position{}, ErrClosed
	case seq == end.Seq:
		return end, nil
	case seq > durable:
		return Position{}, fmt.Errorf("%w: the last durable one is %d", ErrNotFound, durable)
	case seq+1 < segments[0].firstSeq:
		return Position{}, fmt.Errorf("%w: the first is %d", ErrNotFound, segments[0].firstSeq)
	}
	s := segments[placeOf(segments, seq+1)]
	if s.firstSeq == seq+1 {
		return s.before(), nil
	}
	file, err := j.files.hold(s)
	if err != nil {
		return Position{}, err
	}
	defer j.files.release(s)
	return s.positionAt(file, seq)
}

// positionAt finds the durable record seq, or the one after it, which names the chain before itself. The caller holds s.
func (s *segment) positionAt(file File, seq uint64) (Position, error) {
	window := windows.Get().(*[]byte)
	defer windows.Put(window)
	p, found := s.before(), false
	err := s.read(file, window, seq, min(seq+1, s.lastSeq.Load()), func(h recordHeader, _ []byte) error {
		switch {
		case h.seq == seq:
			p, found = Position{seq, h.epoch, h.chain}, true
		case !found && h.epoch == p.Epoch:
			p, found = Position{seq, h.epoch, h.prevChain}, true
		}
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("%w: it has been cleaned away", ErrNotFound)
	}
	return p, err
}

// Unbroken is a Seq after which no record is missing, up to the end. Records that are cleaned away later raise it: see Retain.
func (j *Journal) Unbroken() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := len(j.segments) - 1; i >= 0; i-- {
		if s := j.segments[i]; s.sparse {
			return s.lastSeq.Load()
		}
	}
	return j.segments[0].firstSeq - 1
}
