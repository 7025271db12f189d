package journal

import "time"

// Stats is what a journal holds and has done since Open.
type Stats struct {
	Segments      int
	Sparse        int   // segments of which some records have been cleaned away
	Bytes         int64 // of all segment files
	CleanedBytes  int64 // given back by cleaning
	ScrubbedBytes int64 // checked by scrubbing
	Damage        int   // places found damaged while cleaning and scrubbing
	FreeBytes     int64 // of the file system, as of the last second; -1: not known or not watched
	// StalledSince is since when a write, a sync or the search for room for a segment takes too long; zero: none does.
	StalledSince time.Time
}

// Stats may be called at any time; it does no I/O.
func (j *Journal) Stats() Stats {
	stalled := j.calls.stalledSince()
	j.mu.Lock()
	defer j.mu.Unlock()
	st := Stats{
		Segments:      len(j.segments),
		CleanedBytes:  j.stats.cleaned,
		ScrubbedBytes: j.stats.scrubbed,
		Damage:        j.stats.damage,
		FreeBytes:     j.space.free,
		StalledSince:  stalled,
	}
	for _, s := range j.segments[:len(j.segments)-1] {
		st.Bytes += s.end
		if s.sparse {
			st.Sparse++
		}
	}
	st.Bytes += j.segments[len(j.segments)-1].size
	return st
}
