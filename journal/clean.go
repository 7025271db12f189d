package journal

import (
	"errors"
	"math"
	"time"

	"go.uber.org/zap"
)

// Census tells which records are needed. It is a picture of one moment, used from a goroutine of the journal.
type Census interface {
	// AsOf is the Seq of the newest record that the census knows of.
	AsOf() uint64
	// Bytes estimates how many bytes the needed records from Seq first to last have. Records that are kept only because of
	// others need not be counted.
	Bytes(first, last uint64) int64
	// Keep tells whether r is needed; r.Body is valid during the call only. gone tells whether the journal holds no record
	// with that Seq any more, needed or not: an acknowledgement, say, must stay for as long as what it settles is there.
	Keep(r Record, gone func(seq uint64) bool) bool
}

// maxSkip is how many censuses at most are left unused after an error.
const maxSkip = 64

// Clean says which records are needed. Sealed segments that hold too much else are rewritten without it, in the background;
// what stays keeps its Seq. A census is used once all that it knows of is durable, and not on what a start from the
// checkpoint would read. The newest census counts. Clean never blocks.
func (j *Journal) Clean(c Census) {
	asOf := c.AsOf()
	j.mu.Lock()
	j.census, j.censusAsOf, j.censusDue = c, asOf, true
	j.mu.Unlock()
	signal(j.tidy)
}

// takeCensus returns the census to go by, nil when there is nothing to do or nothing may be done yet.
func (j *Journal) takeCensus() Census {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cleaning = j.censusUsable()
	if !j.cleaning {
		j.changed.Broadcast()
		return nil
	}
	j.censusDue = false
	return j.census
}

// censusUsable tells whether there is a census not tried yet of which all is durable: after a crash, what it takes for
// settled must be. The caller holds mu.
func (j *Journal) censusUsable() bool {
	return j.censusDue && j.censusAsOf <= j.durable.Load() && !j.closing && j.err == nil
}

// tryCensus has the newest census tried again; the caller holds mu.
func (j *Journal) tryCensus() {
	j.censusDue = j.census != nil
	signal(j.tidy)
}

// cleaner is a goroutine of the journal that cleans and scrubs. It holds no lock during I/O, and nobody waits for it.
type cleaner struct {
	j          *Journal
	choice     choice
	pace       pace
	failures   int             // passes in a row that ended with an error
	skip       int             // so many censuses are left unused
	reported   map[string]bool // damage by place
	scrubbed   uint64          // number of the last segment that was scrubbed
	scrubbedAt time.Time
}

// tidyUp is the cleaner goroutine.
func (j *Journal) tidyUp() {
	c := &cleaner{
		j:          j,
		choice:     choice{segment: j.opt.SegmentBytes, amplification: j.opt.Amplification},
		pace:       pace{rate: j.opt.CleanRate, quit: j.quit},
		reported:   map[string]bool{},
		scrubbed:   j.anySegment(), // else the end would never have its turn where the journal is often restarted
		scrubbedAt: time.Now(),
	}
	timer := time.NewTimer(math.MaxInt64)
	defer timer.Stop()
	for !j.stopped() {
		timer.Reset(c.untilScrub())
		select {
		case <-j.quit:
		case <-timer.C:
		case <-j.tidy:
			c.cleanAll()
		}
		if c.untilScrub() <= 0 {
			c.scrubNext()
		}
	}
}

// cleanAll makes passes until none pays.
func (c *cleaner) cleanAll() {
	for census := c.j.takeCensus(); census != nil; census = c.j.takeCensus() {
		if c.skip > 0 {
			c.skip--
			continue
		}
		more, err := c.clean(census)
		c.consider(err)
		if more {
			c.j.mu.Lock()
			c.j.tryCensus()
			c.j.mu.Unlock()
		}
	}
}

// consider decides what to do about the error of a pass: the old files are whole, so it is tried again, ever more seldom.
func (c *cleaner) consider(err error) {
	switch {
	case err == nil:
		c.failures = 0
	case c.j.stopped():
	default:
		c.failures++
		c.skip = min(1<<min(c.failures, 16), maxSkip) - 1
		c.j.log.Warn("cleaning failed; it will be tried again", zap.Error(err))
	}
}

// clean makes one pass over the run of segments that gives back most; more is false when none pays.
func (c *cleaner) clean(census Census) (more bool, err error) {
	p := c.choose(census)
	if p == nil {
		return false, nil
	}
	defer p.release()
	err = p.hold()
	if err == nil {
		err = p.judge()
	}
	if err == nil && p.pays() {
		err = p.rewrite()
	} else if err == nil {
		p.giveUp()
	}
	var damage *damageError
	switch {
	case errors.Is(err, errRetired): // it was trimmed meanwhile, or is retained
		return true, nil
	case errors.As(err, &damage):
		c.report(damage.segment, damage.err)
		return true, nil
	}
	return err == nil, err
}

// choose plans a pass over the segments whose cleaning gives back most; nil when none pays.
func (c *cleaner) choose(census Census) *pass {
	j := c.j
	j.mu.Lock()
	all, limit := j.segments, min(j.bound(), census.AsOf())
	trimmed := len(j.trimmed(j.floor))
	j.mu.Unlock()
	present := map[uint64]bool{} // by salt
	for _, s := range all {
		present[s.salt] = true
	}
	var candidates []candidate
	for _, s := range all[trimmed : len(all)-1] {
		if s.lastSeq.Load() > limit {
			break
		}
		if v := s.known.judged; v != nil && all[len(all)-1].id > v.forget {
			s.known.judged = nil
		}
		candidates = append(candidates, s.candidate(census, present))
	}
	from, to := c.choice.best(candidates)
	if from == to {
		return nil
	}
	p := &pass{c: c, census: census, all: all, run: all[trimmed+from : trimmed+to], next: all[trimmed+to].segmentHeader}
	if !j.announceCleaning(p.last()) {
		return nil
	}
	return p
}

// announceCleaning notes that records up to that Seq may be cleaned away, unless somebody needs them by now.
func (j *Journal) announceCleaning(last uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if last > j.bound() {
		return false
	}
	j.cleanedUpto = max(j.cleanedUpto, last)
	return true
}

// knowledge is what the cleaner knows of a segment; the goroutine owns it.
type knowledge struct {
	judged  *judged // nil: it has not been read yet, or long ago
	held    *seqSet // the Seqs in it, of a sparse segment; nil: see its records
	damaged bool
}

// judged is what was found in a segment when all its records were looked at.
type judged struct {
	needed   int64            // bytes of the records that are needed for their own sake
	estimate int64            // what the census made of them then
	pinned   map[uint64]int64 // bytes of those that stay as long as records of another segment do, by its salt
	// forget is the number of the active segment after which none of it counts: a census does not estimate everything that is
	// needed, and so much has been written then that reading it again is nothing.
	forget uint64
}

// candidate estimates what cleaning s would leave; present has the salts of all segments.
func (s *segment) candidate(census Census, present map[uint64]bool) candidate {
	k := candidate{bytes: s.end, live: s.estimate(census), barred: s.known.damaged}
	if v := s.known.judged; v != nil {
		k.live = v.live(k.live, present)
	}
	k.live = min(k.live, k.bytes-min(k.bytes, sparseBytes))
	return k
}

func (s *segment) estimate(census Census) int64 {
	last := s.lastSeq.Load()
	if last < s.firstSeq {
		return 0
	}
	return max(0, census.Bytes(s.firstSeq, last))
}

// live brings v up to date: less is needed now, and what pinned records may have been cleaned away since.
func (v *judged) live(estimate int64, present map[uint64]bool) int64 {
	live := v.needed
	if estimate < v.estimate {
		live = int64(float64(v.needed) * float64(estimate) / float64(v.estimate))
	}
	for salt, bytes := range v.pinned {
		if present[salt] {
			live += bytes
		}
	}
	return live
}

// cleaningStats is what the cleaner has done since Open.
type cleaningStats struct {
	cleaned  int64 // bytes given back
	scrubbed int64 // bytes checked
	damage   int   // places
}
