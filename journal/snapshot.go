package journal

import "fmt"

// Snapshot is a picture of an open journal at one moment, up to what was durable then. It keeps the files open that were the
// journal, one for each segment, so that reading it takes as long as it likes: what is trimmed, cleaned or recycled meanwhile stays
// in it, and on disk.
type Snapshot struct {
	j        *Journal
	segments []*segment // in order; held
	files    []File     // of segments
	end      Position
}

// Snapshot takes a picture. The error is ErrClosed, one of the file system, or a *CorruptError at the end of the log. The
// caller closes it, also after the journal has been closed. Who goes on with the records after it retains them: see Retain.
func (j *Journal) Snapshot() (*Snapshot, error) {
	held := map[*segment]File{}
	s, err := j.snapshot(held)
	if err != nil {
		for s := range held {
			j.files.release(s)
		}
		return nil, fmt.Errorf("take a snapshot of the journal: %w", err)
	}
	return s, nil
}

// snapshot holds the segments that are the journal at one moment. Where one leaves it before it is held, it looks again.
func (j *Journal) snapshot(held map[*segment]File) (*Snapshot, error) {
	for {
		j.mu.Lock()
		segments, upto, closed := j.segments, j.durable.Load(), j.closing
		j.mu.Unlock()
		if closed {
			return nil, ErrClosed
		}
		err := j.holdAll(segments, held)
		if err == errRetired {
			continue
		}
		if err != nil {
			return nil, err
		}
		return j.settle(segments, upto, held)
	}
}

// holdAll holds those segments that are not held yet.
func (j *Journal) holdAll(segments []*segment, held map[*segment]File) error {
	for _, s := range segments {
		if held[s] != nil {
			continue
		}
		file, err := j.files.hold(s)
		if err != nil {
			return err
		}
		held[s] = file
	}
	return nil
}

// settle makes a Snapshot of the segments, which are held, and gives the others back.
func (j *Journal) settle(segments []*segment, upto uint64, held map[*segment]File) (*Snapshot, error) {
	s := &Snapshot{j: j, segments: segments}
	for _, one := range segments {
		s.files = append(s.files, held[one])
	}
	last := placeOf(segments, upto+1)
	s.end = segments[last].before()
	if s.end.Seq != upto {
		end, err := segments[last].positionAt(s.files[last], upto)
		if err != nil {
			return nil, err
		}
		s.end = end
	}
	for _, one := range segments {
		delete(held, one)
	}
	for one := range held {
		j.files.release(one)
	}
	return s, nil
}

// Begin is the position before the first record that the Snapshot may have.
func (s *Snapshot) Begin() Position { return s.segments[0].before() }

// End is the position that was durable.
func (s *Snapshot) End() Position { return s.end }

// Bytes estimates what the records take in a journal.
func (s *Snapshot) Bytes() (n int64) {
	for _, one := range s.segments {
		n += one.limit.Load() - segmentHeaderBytes
	}
	return n
}

// Read calls fn with the records from Seq from on up to End, in order, as Journal.Read does; from 0 means the first there is.
// An error of fn ends Read and is returned as it is: who stops there goes on with the next Seq.
func (s *Snapshot) Read(from uint64, fn func(Record) error) error {
	window := windows.Get().(*[]byte)
	defer windows.Put(window)
	if from == 0 {
		from = s.segments[0].firstSeq
	}
	place := placeOf(s.segments, from)
	if place < 0 {
		return fmt.Errorf("read seq %d: %w: the first is %d", from, ErrTrimmed, s.segments[0].firstSeq)
	}
	for ; from <= s.end.Seq; place++ {
		one := s.segments[place]
		last := min(one.lastSeq.Load(), s.end.Seq)
		err := one.read(s.files[place], window, from, last, func(h recordHeader, payload []byte) error {
			return fn(h.record(payload))
		})
		if err != nil {
			return err
		}
		from = last + 1
	}
	return nil
}

// Close gives the files back.
func (s *Snapshot) Close() {
	for _, one := range s.segments {
		s.j.files.release(one)
	}
	s.segments = nil
}
