package journal

import (
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"
)

// untilScrub is the time until the next segment is due: the sealed ones share ScrubEvery.
func (c *cleaner) untilScrub() time.Duration {
	every := c.j.opt.ScrubEvery
	if every < 0 {
		return math.MaxInt64
	}
	c.j.mu.Lock()
	every /= time.Duration(len(c.j.segments))
	c.j.mu.Unlock()
	return time.Until(c.scrubbedAt.Add(every))
}

// scrubNext reads the next sealed segment, all of it, and checks whatever can be checked.
func (c *cleaner) scrubNext() {
	c.scrubbedAt = time.Now()
	s, next := c.nextToScrub()
	if s == nil {
		return
	}
	c.scrubbed = s.lastID
	err := c.scrub(s, next)
	switch {
	case errors.Is(err, errRetired) || errors.Is(err, errStopped):
	case err != nil:
		c.report(s, err)
	default:
		s.known.damaged = false // it could not be read for a while
		c.j.mu.Lock()
		c.j.stats.scrubbed += s.end
		c.j.mu.Unlock()
	}
}

// anySegment returns the number of one.
func (j *Journal) anySegment() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.segments[rand.IntN(len(j.segments))].id
}

// nextToScrub returns the sealed segment after the one scrubbed last, or the first; nil when there is none.
func (c *cleaner) nextToScrub() (*segment, *segment) {
	c.j.mu.Lock()
	all := c.j.segments
	c.j.mu.Unlock()
	for i, s := range all[:len(all)-1] {
		if s.id > c.scrubbed {
			return s, all[i+1]
		}
	}
	if len(all) == 1 {
		return nil, nil
	}
	return all[0], all[1]
}

func (c *cleaner) scrub(s, next *segment) error {
	file, err := c.j.files.hold(s)
	if err != nil {
		return err
	}
	defer c.j.files.release(s)
	f, err := readSegmentHeader(s.name(), c.paced(file))
	if err != nil {
		return err
	}
	sc := newScanner(c.paced(file), &f.segmentHeader, segmentHeaderBytes, min(f.bytes, f.size), nil)
	if err := f.scan(&sc, func(int64) {}); err != nil {
		return err
	}
	return checkJoint(f, &found{segmentHeader: next.segmentHeader})
}

// report tells of damage, once a place, and keeps the segment from being cleaned: what cannot be read must not be lost
// for good.
func (c *cleaner) report(s *segment, err error) {
	s.known.damaged = true
	if c.reported[err.Error()] {
		return
	}
	c.reported[err.Error()] = true
	c.j.mu.Lock()
	c.j.stats.damage++
	c.j.mu.Unlock()
	c.j.log.Error("a sealed segment is damaged; what it holds there cannot be read", zap.String("segment", s.name()), zap.Error(err))
}
