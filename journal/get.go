package journal

import (
	"errors"
	"fmt"
)

// Get returns the durable record with that Seq. Its payload is all in Body, which is shared and must not be changed; it
// stays valid, and keeps some 64 KiB around it in memory as long.
//
// Both checksums were verified when the record's block was read from disk; blocks are kept, at most CacheBytes of them.
// Where Gets follow each other in the order of their Seqs, blocks are read ahead of them. The error wraps ErrNotFound, is
// ErrClosed after Close, or a *CorruptError: of the record itself, those around it are still given. Get may run beside
// everything else.
func (j *Journal) Get(seq uint64) (Record, error) {
	for {
		r, err := j.get(seq)
		switch {
		case err == nil:
			return r, nil
		case err == errRetired:
			continue // a cleaned one has taken its place, or it was trimmed
		case errors.Is(err, ErrTrimmed):
			err = fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		return Record{}, fmt.Errorf("get seq %d: %w", seq, err)
	}
}

func (j *Journal) get(seq uint64) (Record, error) {
	if last := j.Durable(); seq > last {
		return Record{}, fmt.Errorf("%w: the last durable one is %d", ErrNotFound, last)
	}
	s, err := j.segmentOf(seq)
	if err != nil {
		return Record{}, err
	}
	entries, err := j.entries(s)
	if err != nil {
		return Record{}, err
	}
	b, claimed := j.cache.claim(s, entries, stretchOf(entries, seq), seq)
	if len(claimed) > 0 {
		j.load(s, claimed)
	}
	<-b.ready
	return b.record(s, seq)
}

// entries returns the index of s.
func (j *Journal) entries(s *segment) ([]indexEntry, error) {
	if entries := s.entries.Load(); entries != nil {
		return *entries, nil
	}
	file, err := j.files.hold(s)
	if err != nil {
		return nil, err
	}
	defer j.files.release(s)
	return s.load(file)
}

// load reads blocks, which lie one after the other in s, all at once.
func (j *Journal) load(s *segment, blocks []*block) {
	defer j.cache.loaded(blocks)
	file, err := j.files.hold(s)
	if err == nil {
		defer j.files.release(s)
		err = readBlocks(file, s, blocks)
	}
	for _, b := range blocks {
		if b.err = err; err == nil {
			b.err = b.verify(s)
		}
	}
}

// readBlocks gives each block memory of its own, so that one in use keeps no others.
func readBlocks(file File, s *segment, blocks []*block) error {
	first, last := blocks[0], blocks[len(blocks)-1]
	if len(blocks) == 1 {
		first.data = make([]byte, first.end-first.begin)
		return readAt(file, s.name(), first.data, first.begin)
	}
	window := windows.Get().(*[]byte)
	defer windows.Put(window)
	if n := int(last.end - first.begin); cap(*window) < n {
		*window = make([]byte, n)
	}
	all := (*window)[:last.end-first.begin]
	if err := readAt(file, s.name(), all, first.begin); err != nil {
		return err
	}
	for _, b := range blocks {
		b.data = append(make([]byte, 0, b.end-b.begin), all[b.begin-first.begin:b.end-first.begin]...)
	}
	return nil
}
