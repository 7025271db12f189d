package journal

import (
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
)

// slowSync is when a sync is worth a line in the log.
const slowSync = time.Second

// write is the writer goroutine: the only one that writes to segments and syncs them. A group is written only when the
// one before is durable, so its marks can promise everything that precedes it.
func (j *Journal) write() {
	if err := j.writeAll(); err != nil {
		j.fail(err)
	}
}

func (j *Journal) writeAll() error {
	lazy := time.NewTimer(j.opt.LazySync)
	defer lazy.Stop()
	for {
		g, err := j.take(lazy)
		if err != nil {
			return err
		}
		if g == nil {
			return j.promiseAll()
		}
		if err := j.commit(g); err != nil {
			return err
		}
		if err := j.publish(g); err != nil {
			return err
		}
	}
}

// take waits until a group is due and takes it; nil when the journal is closing and nothing is left.
func (j *Journal) take(lazy *time.Timer) (*group, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.doubt == nil && (j.encoding || !j.due()) {
		if j.closing && !j.encoding {
			return nil, nil
		}
		j.await(lazy)
	}
	if j.doubt != nil {
		return nil, j.doubt
	}
	if err := j.begin(0); err != nil { // for the sake of a mark alone
		return nil, err
	}
	j.finish()
	g := j.pending
	j.pending, j.idle = j.idle, nil
	j.wanted, j.trimDue, j.promiseDue = false, false, false
	j.changed.Broadcast()
	return g, nil
}

// due tells whether the pending group must be written now; the caller holds mu.
func (j *Journal) due() bool {
	if j.pending.empty() {
		return j.trimDue || j.promiseDue && j.unpromised && j.tail.fits(0)
	}
	return j.wanted || j.trimDue || j.waiting > 0 || j.closing || time.Since(j.pending.since) >= j.opt.LazySync
}

// await waits without mu until something may be due. When for long nothing was, the buffers become small.
func (j *Journal) await(lazy *time.Timer) {
	idle := j.pending.empty()
	switch {
	case !idle:
		lazy.Reset(j.opt.LazySync - time.Since(j.pending.since))
	case j.pending.large() || j.idle.large():
		lazy.Reset(keepFor)
	default:
		lazy.Stop()
	}
	j.mu.Unlock()
	late := false
	select {
	case <-j.wake:
	case <-lazy.C:
		late = true
	}
	j.mu.Lock()
	if late && idle && !j.encoding && j.pending.empty() {
		j.pending.shrink()
		j.idle.shrink()
	}
}

// commit makes g durable.
func (j *Journal) commit(g *group) error {
	if g.opens != nil {
		if err := j.roll(*g.opens); err != nil {
			return fmt.Errorf("begin segment %s: %w", g.opens.name(), err)
		}
	}
	s := j.active
	if _, err := s.file.WriteVectors(g.gather(), g.offset); err != nil {
		return fmt.Errorf("write segment %s: %w", s.name(), err)
	}
	begun := time.Now()
	if err := s.file.Datasync(); err != nil {
		return fmt.Errorf("sync segment %s: %w", s.name(), err)
	}
	if took := time.Since(begun); took >= slowSync {
		j.log.Warn("slow sync", zap.Duration("took", took), zap.Int("bytes", g.size))
	}
	s.end, s.digest = g.offset+int64(g.size), g.digest
	return nil
}

// roll makes the segment h and then seals the one before. In this order a sealed segment proves that there was a next
// one, and a missing one is noticed. Everything in the segment before is durable already.
func (j *Journal) roll(h segmentHeader) error {
	blank, err := j.awaitFile(h)
	if err != nil {
		return err
	}
	next, err := j.createSegment(h, blank)
	if err != nil {
		return err
	}
	last := j.active
	if err := sealSegment(last, h); err != nil {
		return firstError(err, next.file.Close())
	}
	j.active = next
	j.mu.Lock()
	j.spare.taken = false
	j.setSegments(append(slices.Clip(j.segments), next))
	j.mu.Unlock()
	j.files.release(last)
	return nil
}

// createSegment makes a blank file a segment with the header h, durably.
func (j *Journal) createSegment(h segmentHeader, b blank) (*segment, error) {
	h.recycled = b.recycled
	err := writeAt(b.file, h.encode(), 0)
	if err == nil {
		err = b.file.Sync()
	}
	if err == nil {
		err = j.opt.FS.Rename(j.path(b.name), j.path(h.name()))
	}
	if err == nil {
		err = j.opt.FS.SyncDir(j.opt.Dir)
	}
	if err != nil {
		return nil, firstError(err, b.file.Close())
	}
	return newSegment(h, b.file), nil
}

// sealSegment ends s with its index and a mark that says that next follows, and gives the rest of the file back.
func sealSegment(s *segment, next segmentHeader) error {
	m := mark{
		firstSeq:      next.firstSeq,
		promiseSeq:    next.firstSeq - 1,
		promiseOffset: s.end,
		floor:         next.floor,
		salt:          s.salt,
	}
	h := recordHeader{seq: next.firstSeq - 1, epoch: next.epoch, prevChain: next.chain}
	var b []byte
	if s.version >= indexVersion {
		x := index{records: next.firstSeq - s.firstSeq, digest: s.digest, entries: *s.entries.Load()}
		b = x.append(nil, h, s.seed())
	}
	h.flags = flagSealed
	b = m.append(b, h, s.seed())
	if err := writeAt(s.file, b, s.end); err != nil {
		return err
	}
	if err := s.file.Datasync(); err != nil {
		return err
	}
	s.end += int64(len(b))
	s.sealed = true
	return s.file.Truncate(s.end)
}

// promiseAll notes on closing that everything is durable, so that damage to the last group will not pass for a torn tail.
func (j *Journal) promiseAll() error {
	j.mu.Lock()
	if !j.unpromised || !j.tail.fits(0) {
		j.mu.Unlock()
		return nil
	}
	err := j.begin(0)
	j.finish()
	g := j.pending
	j.mu.Unlock()
	return firstError(err, j.commit(g))
}

// publish tells the world that g is durable, unless that has come into doubt.
func (j *Journal) publish(g *group) error {
	j.mu.Lock()
	if j.doubt != nil {
		defer j.mu.Unlock()
		return j.doubt
	}
	s := j.segments[len(j.segments)-1]
	advanced := g.lastSeq > s.lastSeq.Load()
	j.unpromised = g.lastSeq >= g.firstSeq
	s.advance(g.lastSeq, g.offset+int64(g.size), g.index)
	j.durable.Store(g.lastSeq)
	j.unsynced -= g.size - markBytes
	doomed := j.doom(g.floor)
	j.spare.want(s)
	g.reset()
	j.idle = g
	if j.censusDue { // and perhaps all that it knows of is durable now
		signal(j.tidy)
	}
	chores := j.spare.wanted || doomed || j.spare.file == nil && len(j.doomed) > 0
	j.changed.Broadcast()
	j.mu.Unlock()
	if chores {
		signal(j.chores)
	}
	if advanced {
		j.opt.OnDurable(j.Durable())
	}
	return nil
}

// doom takes the segments wholly below floor, which is noted durably, out of the journal, and tells whether there are any;
// the caller holds mu.
func (j *Journal) doom(floor uint64) bool {
	gone := j.trimmed(floor)
	for _, s := range gone {
		s.trimmed = time.Now()
	}
	j.doomed = append(j.doomed, gone...)
	if len(gone) > 0 {
		j.setSegments(j.segments[len(gone):])
	}
	return len(gone) > 0
}

// fail stops the journal for ever: after a failed write or sync nobody knows what the disk holds, and a sync that is
// tried again may succeed without having written anything.
func (j *Journal) fail(err error) {
	err = fmt.Errorf("journal %s has stopped: %w", j.opt.Dir, err)
	j.mu.Lock()
	j.err = err
	j.changed.Broadcast()
	j.mu.Unlock()
	signal(j.chores)
	j.quitted.Do(func() { close(j.quit) })
	j.log.Error("the journal has stopped; nothing more will be acknowledged", zap.Error(err))
	j.opt.OnFatal(err)
}

// doubtDirectory stops the journal because another goroutine does not know what names are in the directory, or could not
// sync them. A later sync may succeed without having written the names that this one failed to write, those of the writer's
// new segments among them.
func (j *Journal) doubtDirectory(err error) error {
	err = fmt.Errorf("sync the names in the directory: %w", err)
	j.mu.Lock()
	j.doubt = firstError(j.doubt, err)
	j.mu.Unlock()
	signal(j.wake)
	return err
}

func writeAt(f File, b []byte, offset int64) error {
	_, err := f.WriteAt(b, offset)
	return err
}
