package journal

import (
	"fmt"
	"io"
	"strings"

	"go.uber.org/zap"
)

const tornSuffix = ".torn"

// recover surveys the directory, repairs what a crash may leave and sets j up to go on.
func (j *Journal) recover() error {
	v, err := look(&survey{fs: j.opt.FS, dir: j.opt.Dir, write: true, progress: j.opt.Progress})
	if err != nil {
		return err
	}
	if len(v.damage) > 0 {
		v.close()
		for _, d := range v.damage {
			j.log.Error("the journal is damaged", zap.Error(d))
		}
		return v.damage[0]
	}
	j.recovery = v.report()
	j.adopt(v)
	return j.repair(v)
}

// adopt makes the surveyed segments those of j.
func (j *Journal) adopt(v *survey) {
	j.id = v.id
	var segments []*segment
	for _, f := range v.found {
		segments = append(segments, f.segment())
		j.floor = max(j.floor, f.floorNow)
	}
	j.setSegments(segments)
	if len(segments) == 0 {
		return
	}
	last := v.found[len(v.found)-1]
	j.active = segments[len(segments)-1]
	j.tail = tail{
		segment: last.segmentHeader,
		seed:    last.seed(),
		offset:  last.end,
		indexed: lastIndexed(last.entries),
		digest:  last.digest,
		seq:     last.position.Seq,
		epoch:   last.position.Epoch,
		chain:   last.position.Chain,
	}
	j.durable.Store(j.tail.seq)
}

// segment is what f becomes in an open journal. Where its file is open, somebody will release it.
func (f *found) segment() *segment {
	s := &segment{segmentHeader: f.segmentHeader, file: f.file, end: f.end, digest: f.digest, sealed: f.sealed}
	s.lastSeq.Store(f.position.Seq)
	s.limit.Store(f.limit)
	if f.file != nil {
		s.users = 1
	}
	if f.scanned {
		entries := f.entries
		s.entries.Store(&entries)
	}
	return s
}

// repair removes what crashes left, finishes what they interrupted and makes durable what was found. A process that was
// killed may have left names and a last mark that only the system's memory has: they are made safe before anything is
// done that is right only with them.
func (j *Journal) repair(v *survey) error {
	if len(v.found) > 0 {
		if err := j.opt.FS.SyncDir(j.opt.Dir); err != nil {
			return err
		}
	}
	if err := j.removeAll(v.temporary); err != nil {
		return err
	}
	if len(v.found) == 0 {
		if err := j.createFirst(); err != nil {
			return fmt.Errorf("create the first segment: %w", err)
		}
	} else {
		if err := j.finishSeals(v.found); err != nil {
			return err
		}
		if err := j.repairTail(v.found); err != nil {
			return err
		}
	}
	if err := j.removeAll(v.leftovers); err != nil {
		return err
	}
	if err := j.opt.FS.SyncDir(j.opt.Dir); err != nil {
		return err
	}
	if v.known {
		return nil
	}
	return j.writeIdentity()
}

func (j *Journal) removeAll(names []string) error {
	for _, name := range names {
		if err := j.opt.FS.Remove(j.path(name)); err != nil {
			return err
		}
	}
	return nil
}

// finishSeals makes the last seal durable, which the process before may not have: nothing must be added to the segment after
// it before it is. And it cuts the zeros after seals, where a crash came before that lasted: else the next Open would have
// to scan the segment again.
func (j *Journal) finishSeals(all []*found) error {
	for i, f := range all {
		doubtful := i == len(all)-2 && !f.sparse // a sparse one had its name after it was synced
		if !f.sealed || !doubtful && f.bytes == f.end {
			continue
		}
		if err := j.finishSeal(f, doubtful); err != nil {
			return fmt.Errorf("finish the seal of %s: %w", f.name(), err)
		}
	}
	return nil
}

// finishSeal writes the index and the seal again, if they are doubtful, see rewrite, and cuts what follows.
func (j *Journal) finishSeal(f *found, doubtful bool) error {
	file, err := j.opt.FS.Open(j.path(f.name()), true)
	if err != nil {
		return err
	}
	if doubtful {
		err = copyRange(file, f.limit, file, f.limit, f.end)
	}
	if err == nil {
		err = file.Datasync() // without the seal the file must not be shorter
	}
	if err == nil && f.bytes > f.end {
		err = file.Truncate(f.end)
	}
	return firstError(err, file.Close())
}

func (j *Journal) createFirst() error {
	if _, err := io.ReadFull(j.opt.random, j.id[:]); err != nil {
		return err
	}
	salt, err := j.randomUint64()
	if err != nil {
		return err
	}
	h := segmentHeader{
		version: formatVersion, journalID: j.id, id: 1, lastID: 1, firstSeq: 1, size: segmentSize(j.opt.SegmentBytes, 0), salt: salt,
	}
	blank, err := j.takeFile(h.size)
	if err != nil {
		return err
	}
	s, err := j.createSegment(h, blank)
	if err != nil {
		return err
	}
	j.active = s
	j.setSegments([]*segment{s})
	j.tail.enter(h)
	return nil
}

func (j *Journal) writeIdentity() error {
	name := j.path(identityName)
	err := makeFile(j.opt.FS, name+".tmp", func(file File) error { return writeAt(file, encodeIdentity(j.id), 0) })
	if err != nil {
		return err
	}
	if err := j.opt.FS.Rename(name+".tmp", name); err != nil {
		return err
	}
	return j.opt.FS.SyncDir(j.opt.Dir)
}

// repairTail repairs the last segment, and the one before if the crash came before its seal.
func (j *Journal) repairTail(all []*found) error {
	last := all[len(all)-1]
	if len(all) > 1 && !all[len(all)-2].sealed {
		before := all[len(all)-2]
		defer j.files.release(j.segments[len(all)-2])
		if err := clearTail(before); err != nil {
			return fmt.Errorf("repair segment %s: %w", before.name(), err)
		}
		if err := sealSegment(j.segments[len(all)-2], last.segmentHeader); err != nil {
			return fmt.Errorf("seal segment %s: %w", before.name(), err)
		}
	}
	if last.torn() > 0 {
		if err := j.keepTorn(last); err != nil {
			return fmt.Errorf("copy the torn tail of %s: %w", last.name(), err)
		}
		j.log.Warn("cut a torn tail, none of which was ever promised", zap.String("segment", last.name()),
			zap.Int64("offset", last.end), zap.Int64("bytes", last.torn()), zap.Uint64("last_seq", last.position.Seq))
	}
	if err := rewrite(last); err != nil {
		return fmt.Errorf("repair segment %s: %w", last.name(), err)
	}
	if err := clearTail(last); err != nil {
		return fmt.Errorf("repair segment %s: %w", last.name(), err)
	}
	j.unpromised = last.end > last.promised+markBytes
	return last.file.Datasync()
}

// keepTorn copies the torn tail of f to a file of its own, for whoever wants to look at it. On a full disk the spare gives
// its room. If that is not enough, the tail may go without a copy when nothing in it can be read; else Open fails.
func (j *Journal) keepTorn(f *found) error {
	err := j.copyTorn(f)
	if noSpace(err) && j.opt.FS.Remove(j.path(spareName)) == nil {
		err = j.copyTorn(f)
	}
	if !noSpace(err) {
		return err
	}
	legible := 0
	if err := f.salvage(f.end, f.used, func(recordHeader, []byte, int64) error { legible++; return nil }); err != nil {
		return err
	}
	if legible > 0 {
		return fmt.Errorf("%w; %d records of it can be read: make room for %d bytes and start again, the segment was not changed",
			err, legible, f.torn())
	}
	j.log.Warn("no room to keep a copy of the torn tail; nothing in it can be read", zap.String("segment", f.name()), zap.Error(err))
	return nil
}

func (j *Journal) copyTorn(f *found) error {
	name := fmt.Sprintf("%s-%d%s", strings.TrimSuffix(f.name(), segmentSuffix), f.end, tornSuffix)
	file, err := j.opt.FS.Create(j.path(name))
	if err != nil {
		return err
	}
	err = copyRange(file, 0, f.file, f.end, f.used)
	if err == nil {
		err = file.Sync()
	}
	if err = firstError(err, file.Close()); err != nil {
		_ = j.opt.FS.Remove(j.path(name)) // or the next attempt writes it anew
		return err
	}
	return j.opt.FS.SyncDir(j.opt.Dir)
}

// rewrite writes again what is valid in f and not promised. Where an earlier process died of a failed sync, the system may
// hold these bytes in memory, take them for written and never write them.
func rewrite(f *found) error { return copyRange(f.file, f.promised, f.file, f.promised, f.end) }

// clearTail zeroes what follows the last mark of f. When the log has grown beyond that again and ends elsewhere, no record
// or mark of this segment must lie behind its end that is older. What the file held before it was recycled may stay.
func clearTail(f *found) error {
	for offset := f.end; offset < f.used; offset += zeroBytes {
		if err := writeAt(f.file, zeros[:min(zeroBytes, f.used-offset)], offset); err != nil {
			return err
		}
	}
	return nil
}

func copyRange(to File, at int64, from File, begin, end int64) error {
	b := make([]byte, min(zeroBytes, end-begin))
	for begin < end {
		b = b[:min(int64(len(b)), end-begin)]
		if n, err := from.ReadAt(b, begin); n < len(b) {
			return fmt.Errorf("read at offset %d: %w", begin, err)
		}
		if err := writeAt(to, b, at); err != nil {
			return err
		}
		begin, at = begin+int64(len(b)), at+int64(len(b))
	}
	return nil
}
