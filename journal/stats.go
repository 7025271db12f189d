package journal

// Stats is what a journal holds and has done since Open.
type Stats struct {
	Segments      int
	Sparse        int   // segments of which some records have been cleaned away
	Bytes         int64 // of all segment files
	CleanedBytes  int64 // given back by cleaning
	ScrubbedBytes int64 // checked by scrubbing
	Damage        int   // places found damaged while cleaning and scrubbing
}

// Stats may be called at any time.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	st := Stats{
		Segments:      len(j.segments),
		CleanedBytes:  j.stats.cleaned,
		ScrubbedBytes: j.stats.scrubbed,
		Damage:        j.stats.damage,
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
