package journal

import (
	"errors"
	"fmt"
	"slices"
	"sort"

	"go.uber.org/zap"
)

// pass is one attempt to write adjacent sealed segments anew as one.
type pass struct {
	c      *cleaner
	census Census
	all    []*segment // of the journal when the pass began
	run    []*segment // those of all to be replaced
	next   segmentHeader
	files  []File // of run

	verdicts []*judged // of run
	kept     seqSet    // what is to stay of the run
	live     int64     // bytes of that
	seq      uint64    // of the record that is looked at
	pin      *segment  // where a record lies that keeps the one that is looked at
	err      error     // of gone
}

// damageError says that a segment cannot be read as it was written.
type damageError struct {
	segment *segment
	err     error
}

func (e *damageError) Error() string { return e.err.Error() }

func (p *pass) first() uint64 { return p.run[0].firstSeq }
func (p *pass) last() uint64  { return p.next.firstSeq - 1 }

func (p *pass) bytes() (bytes int64) {
	for _, s := range p.run {
		bytes += s.end
	}
	return bytes
}

func (p *pass) pays() bool { return p.c.choice.pays(len(p.run), p.bytes(), p.live) }

// hold sees that the segments stay readable, whatever becomes of them.
func (p *pass) hold() error {
	for _, s := range p.run {
		file, err := p.c.j.files.hold(s)
		if err != nil {
			return err
		}
		p.files = append(p.files, p.c.paced(file))
	}
	return nil
}

func (p *pass) release() {
	for _, s := range p.run[:len(p.files)] {
		p.c.j.files.release(s)
	}
}

// judge looks at every record of the run and decides what is to stay.
func (p *pass) judge() error {
	for i, s := range p.run {
		v := p.newJudged(s.estimate(p.census))
		err := p.c.each(s, p.files[i], func(h recordHeader, payload []byte) error {
			if p.keeps(h.record(payload)) {
				p.take(v, int64(recordBytes(len(payload))))
			}
			return p.err
		})
		if err != nil {
			return err
		}
		p.verdicts = append(p.verdicts, v)
	}
	return nil
}

func (p *pass) newJudged(estimate int64) *judged {
	active := p.all[len(p.all)-1].id
	return &judged{estimate: estimate, pinned: map[uint64]int64{}, forget: active + 4*uint64(len(p.all))}
}

func (p *pass) keeps(r Record) bool {
	p.seq, p.pin = r.Seq, nil
	return p.census.Keep(r, p.gone)
}

// take notes that the record looked at stays, and why.
func (p *pass) take(v *judged, size int64) {
	p.kept.add(p.seq)
	p.live += size
	if p.pin == nil {
		v.needed += size
	} else {
		v.pinned[p.pin.salt] += size
	}
}

// gone tells whether no record with that Seq is in the journal any more, were the pass done.
func (p *pass) gone(seq uint64) bool {
	n := sort.Search(len(p.all), func(i int) bool { return p.all[i].firstSeq > seq })
	if n == 0 {
		return true // trimmed
	}
	s := p.all[n-1]
	holds := true
	switch {
	case seq >= p.first() && seq <= p.last():
		holds = seq >= p.seq || p.kept.has(seq)
	case s.sparse:
		holds = p.holds(s, seq)
	}
	if holds {
		p.pin = s
	}
	return !holds
}

// holds tells whether the sparse segment s has a record with that Seq; it may have when nobody can read what it has.
func (p *pass) holds(s *segment, seq uint64) bool {
	if p.err != nil || s.known.damaged {
		return true
	}
	if s.known.held == nil {
		var held *seqSet
		if held, p.err = p.c.seqsIn(s); p.err != nil {
			return true
		}
		s.known.held = held
	}
	return s.known.held.has(seq)
}

// giveUp remembers why the pass does not pay, so that it is made again only when that has changed: what segments were found
// to keep depends on where the run began, so only a run that begins further left can make this one look better again.
func (p *pass) giveUp() {
	for i, s := range p.run {
		s.known.judged = p.verdicts[i]
	}
}

// rewrite puts one file with the records that stay in the place of the run.
func (p *pass) rewrite() error {
	s, err := p.write()
	if err == nil {
		err = p.install(s)
	}
	if err != nil {
		_ = p.c.j.opt.FS.Remove(p.c.j.path(cleanName)) // or the next pass or Open does
		return fmt.Errorf("clean segment %s: %w", p.run[0].name(), err)
	}
	return nil
}

// write makes the file under its temporary name and syncs it. When that fails nothing has been lost: nobody has read the
// file, and the next attempt makes another.
func (p *pass) write() (*segment, error) {
	salt, err := p.c.j.newSalt()
	if err != nil {
		return nil, err
	}
	file, err := p.c.j.opt.FS.Create(p.c.j.path(cleanName))
	if err != nil {
		return nil, err
	}
	paced := p.c.paced(file)
	w := newSparseWriter(paced, p.run[0].segmentHeader, p.run[len(p.run)-1].lastID, salt)
	s, err := p.copyTo(w)
	if err == nil && p.c.j.stopped() {
		err = errStopped
	}
	if err == nil {
		err = paced.Sync()
	}
	return s, firstError(err, file.Close())
}

func (p *pass) copyTo(w *segmentWriter) (*segment, error) {
	for i, s := range p.run {
		err := p.c.each(s, p.files[i], func(h recordHeader, payload []byte) error {
			if !p.kept.has(h.seq) {
				return nil
			}
			return w.add(h, payload)
		})
		if err != nil {
			return nil, err
		}
	}
	return w.finish(p.next)
}

// install gives the new file its name and the new segment its place.
func (p *pass) install(s *segment) error {
	j := p.c.j
	if !j.reserve(p.run[0], p.last()) {
		return errRetired
	}
	defer j.unreserve()
	if err := j.opt.FS.Rename(j.path(cleanName), j.path(s.name())); err != nil {
		renamed, lookErr := p.renamed(s)
		if lookErr != nil {
			return j.doubtDirectory(errors.Join(err, lookErr))
		}
		if !renamed {
			return err
		}
	}
	if err := j.opt.FS.SyncDir(j.opt.Dir); err != nil {
		return j.doubtDirectory(err)
	}
	held := p.kept // a copy: the pass must not live on with it
	held.pack()
	s.known = knowledge{judged: p.merged(s), held: &held}
	j.replace(p.run, s)
	for _, old := range p.run[1:] {
		if err := j.opt.FS.Remove(j.path(old.name())); err != nil {
			j.log.Warn("cannot remove a cleaned segment", zap.String("segment", old.name()), zap.Error(err))
		}
	}
	p.tell(s)
	return nil
}

// renamed tells whether the name of s stands for its file, although the rename says that it failed. If that stayed unknown,
// a start might find records that are taken for gone, and what settled them cleaned away.
func (p *pass) renamed(s *segment) (yes bool, err error) {
	file, err := p.c.j.opt.FS.Open(p.c.j.path(s.name()), false)
	if err != nil {
		return false, err
	}
	defer func() { err = firstError(err, file.Close()) }()
	f, err := readSegmentHeader(s.name(), file)
	return err == nil && f.salt == s.salt, err
}

// merged is what is known of s now, which has taken the place of the run.
func (p *pass) merged(s *segment) *judged {
	m := p.newJudged(0)
	for _, v := range p.verdicts {
		m.needed += v.needed
		m.estimate += v.estimate
		for salt, bytes := range v.pinned {
			if slices.ContainsFunc(p.run, func(old *segment) bool { return old.salt == salt }) {
				salt = s.salt
			}
			m.pinned[salt] += bytes
		}
	}
	return m
}

func (p *pass) tell(s *segment) {
	j := p.c.j
	j.mu.Lock()
	j.stats.cleaned += p.bytes() - s.end
	j.mu.Unlock()
	j.log.Debug("cleaned", zap.String("segment", s.name()), zap.Int("files", len(p.run)),
		zap.Int64("bytes", p.bytes()), zap.Int64("left", s.end))
}

// reserve keeps s from being trimmed while its file and those up to Seq last are replaced; false when it has been trimmed
// already, or somebody retains what would be replaced.
func (j *Journal) reserve(s *segment, last uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if last > j.bound() || !slices.Contains(j.segments, s) {
		return false
	}
	j.reserved, j.replacing = s, last
	return true
}

func (j *Journal) unreserve() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reserved = nil
	j.raiseFloor()
	if j.trimDue {
		signal(j.wake)
	}
	j.changed.Broadcast()
}

func (j *Journal) newSalt() (uint64, error) {
	j.mu.Lock() // random is that of the writer's
	defer j.mu.Unlock()
	return j.randomUint64()
}

// each calls fn with every record of s, and verifies each. The error is a *damageError where s cannot be read, or fn's.
func (c *cleaner) each(s *segment, file File, fn func(h recordHeader, payload []byte) error) error {
	window := windows.Get().(*[]byte)
	defer windows.Put(window)
	var failed error
	err := s.each(file, window, s.stretch(nil, 0), s.lastSeq.Load(), func(h recordHeader, payload []byte) error {
		failed = fn(h, payload)
		return failed
	})
	if err == nil || err == failed || errors.Is(err, errStopped) {
		return err
	}
	return &damageError{s, err}
}

// seqsIn reads which Seqs the sparse segment s holds.
func (c *cleaner) seqsIn(s *segment) (*seqSet, error) {
	file, err := c.j.files.hold(s)
	if err != nil {
		return nil, err
	}
	defer c.j.files.release(s)
	held := new(seqSet)
	err = c.each(s, c.paced(file), func(h recordHeader, _ []byte) error {
		held.add(h.seq)
		return nil
	})
	return held, err
}
