package journal

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"go.uber.org/zap"
)

const (
	lockName   = "LOCK"
	tornSuffix = ".torn"
)

// survey is what a directory holds, read without changing anything. Open acts on it, Verify reports it.
type survey struct {
	fs       FS
	dir      string
	progress func(done, total int64)
	done     int64
	total    int64

	id        [16]byte
	known     bool     // the identity file is there
	found     []*found // segments in order of their ids
	leftovers []string // segments below the trim that a crash kept from being removed
	temporary []string // files that a crash left unfinished
	damage    []*CorruptError
}

// found is what one segment holds.
type found struct {
	segmentHeader
	file     File
	bytes    int64    // size of the file
	end      int64    // just past the last mark
	used     int64    // just past the last byte that is not zero
	promised int64    // offset up to which a mark promises that everything was durable
	position position // after the last mark
	records  uint64
	epochs   []uint32
	floorNow uint64 // after the last mark
	sealed   bool
	index    []indexEntry
}

// position is how far the log has come.
type position struct {
	seq   uint64
	epoch uint32
	chain uint32
}

// look surveys dir. The error is one that prevents looking; damage is noted in the survey. The caller closes it.
func look(fsys FS, dir string, write bool, progress func(done, total int64)) (*survey, error) {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	v := &survey{fs: fsys, dir: dir, progress: progress}
	if err := v.list(write); err != nil {
		v.close()
		return nil, err
	}
	if err := v.scan(); err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

func (v *survey) close() {
	for _, f := range v.found {
		_ = f.file.Close() // it was only read
	}
}

func (v *survey) path(name string) string { return filepath.Join(v.dir, name) }

// note records damage and passes other errors on.
func (v *survey) note(err error) error {
	var damage *CorruptError
	if errors.As(err, &damage) {
		v.damage = append(v.damage, damage)
		return nil
	}
	return err
}

// list reads the names, the identity and the header of each segment.
func (v *survey) list(write bool) error {
	names, err := v.fs.ReadDir(v.dir)
	if err != nil {
		return err
	}
	if err := v.note(v.readIdentity(names)); err != nil {
		return err
	}
	for _, name := range names {
		switch {
		case name == spareName || name == newName || name == identityName+".tmp":
			v.temporary = append(v.temporary, name)
		case strings.HasSuffix(name, segmentSuffix):
			if err := v.note(v.openSegment(name, write)); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(v.found, func(a, b *found) int { return int(int64(a.id) - int64(b.id)) })
	if v.known && len(v.found) == 0 && len(v.damage) == 0 {
		v.damage = append(v.damage, corrupt(identityName, 0, "all segments of the journal are missing"))
	}
	return nil
}

func (v *survey) readIdentity(names []string) error {
	if !slices.Contains(names, identityName) {
		return nil
	}
	v.known = true
	b, err := readAll(v.fs, v.path(identityName), 1024)
	if err != nil {
		return err
	}
	v.id, err = parseIdentity(b)
	return err
}

func (v *survey) openSegment(name string, write bool) error {
	if _, _, ok := parseSegmentName(name); !ok {
		return corrupt(name, 0, "no segment has such a name")
	}
	file, err := v.fs.Open(v.path(name), write)
	if err != nil {
		return err
	}
	f, err := readSegmentHeader(name, file)
	if err != nil {
		return firstError(err, file.Close())
	}
	if v.id == [16]byte{} {
		v.id = f.journalID
	}
	if f.journalID != v.id {
		_ = file.Close() // it was only read
		return corrupt(name, 16, "the segment belongs to journal %x, this is %x", f.journalID, v.id)
	}
	v.found = append(v.found, f)
	v.total += f.bytes
	return nil
}

func readSegmentHeader(name string, file File) (*found, error) {
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, segmentHeaderBytes))
	if n, err := file.ReadAt(b, 0); err != nil && (err != io.EOF || n < len(b)) {
		return nil, err
	}
	h, err := parseSegmentHeader(name, b)
	if err != nil {
		return nil, err
	}
	return &found{
		segmentHeader: h,
		file:          file,
		bytes:         size,
		end:           segmentHeaderBytes,
		promised:      segmentHeaderBytes,
		position:      position{h.firstSeq - 1, h.epoch, h.chain},
		floorNow:      h.floor,
	}, nil
}

// scan reads the segments. The last one comes first, for it has the latest word on what was trimmed.
func (v *survey) scan() error {
	if len(v.found) == 0 {
		return nil
	}
	last := v.found[len(v.found)-1]
	if err := v.note(v.scanSegment(last)); err != nil {
		return err
	}
	v.skipTrimmed(last.floorNow)
	for i, f := range v.found {
		if f == last {
			break
		}
		if err := v.note(v.scanSegment(f)); err != nil {
			return err
		}
		if err := v.note(v.checkJoint(f, v.found[i+1])); err != nil {
			return err
		}
	}
	if last.sealed {
		v.damage = append(v.damage, corrupt(last.name(), last.end, "the segment after this one is missing"))
	}
	return nil
}

// skipTrimmed sets aside the segments wholly below floor: any of them may be gone already. What comes first then must
// reach down to floor.
func (v *survey) skipTrimmed(floor uint64) {
	floor = max(floor, 1)
	n := 0
	for n+1 < len(v.found) && v.found[n+1].firstSeq <= floor {
		v.leftovers = append(v.leftovers, v.found[n].name())
		v.total -= v.found[n].bytes
		_ = v.found[n].file.Close() // it was only read
		n++
	}
	v.found = v.found[n:]
	if first := v.found[0]; first.firstSeq > floor {
		v.damage = append(v.damage, corrupt(first.name(), 0,
			"the segment before this one is missing: records %d to %d were not trimmed", floor, first.firstSeq-1))
	}
}

// checkJoint checks that b continues a. Only where b holds nothing yet may a be without its seal: a crash came between
// the creation of b and the seal.
func (v *survey) checkJoint(a, b *found) error {
	switch {
	case b.id != a.id+1:
		return corrupt(b.name(), 0, "the segment before this one is missing: %s has number %d", a.name(), a.id)
	case a.position != (position{b.firstSeq - 1, b.epoch, b.chain}):
		return corrupt(a.name(), a.end, "the segment ends with seq %d, the next begins with %d", a.position.seq, b.firstSeq)
	case !a.sealed && b.end > segmentHeaderBytes:
		return corrupt(a.name(), a.end, "the seal of the segment is missing, although the next one is in use")
	}
	return nil
}

// scanSegment reads all of f up to its last mark and judges what comes after it.
func (v *survey) scanSegment(f *found) error {
	size := min(f.bytes, f.size)
	sc := newScanner(f.file, &f.segmentHeader, segmentHeaderBytes, size, nil)
	var err error
	for err == nil && !f.sealed {
		err = f.scanBatch(&sc)
		v.progress(v.done+f.end, v.total)
	}
	v.done += f.bytes
	var damage *CorruptError
	if err == nil || !errors.As(err, &damage) {
		return err
	}
	return f.judge(&sc, damage)
}

// scanBatch reads one batch and takes it into account when its mark is there and right.
func (f *found) scanBatch(sc *scanner) error {
	before, start := *f, sc.offset
	for {
		h, payload, offset, err := sc.next()
		if err == nil && h.typ == typeMark {
			err = f.endBatch(sc, h, parseMark(payload), before.position.seq+1, start)
		} else if err == nil {
			err = f.addRecord(sc, h, offset)
		}
		if err != nil {
			*f = before
			return err
		}
		if h.typ == typeMark {
			return nil
		}
	}
}

func (f *found) addRecord(sc *scanner, h recordHeader, offset int64) error {
	at := f.position
	if h.seq != at.seq+1 || h.prevChain != at.chain || h.epoch < at.epoch {
		return corrupt(sc.name, offset, "the record with seq %d does not continue the one with seq %d", h.seq, at.seq)
	}
	if n := len(f.epochs); n == 0 || f.epochs[n-1] != h.epoch {
		f.epochs = append(f.epochs, h.epoch)
	}
	indexed := int64(segmentHeaderBytes)
	if n := len(f.index); n > 0 {
		indexed = f.index[n-1].offset
	}
	if offset-indexed >= indexEvery {
		f.index = append(f.index, indexEntry{h.seq, offset})
	}
	f.records++
	f.position = position{h.seq, h.epoch, h.chain}
	return nil
}

// endBatch checks the mark of a batch that begins with firstSeq at start.
func (f *found) endBatch(sc *scanner, h recordHeader, m mark, firstSeq uint64, start int64) error {
	if m.salt != f.salt || m.firstSeq != firstSeq || f.position != (position{h.seq, h.epoch, h.prevChain}) {
		return corrupt(sc.name, sc.offset-markBytes, "the commit mark of seq %d to %d does not fit its batch", m.firstSeq, h.seq)
	}
	if m.promiseOffset > start || m.promiseSeq >= firstSeq {
		return corrupt(sc.name, sc.offset-markBytes, "the commit mark promises what it cannot know")
	}
	f.end, f.promised = sc.offset, max(f.promised, m.promiseOffset)
	f.floorNow = max(f.floorNow, m.floor)
	f.sealed = h.flags&flagSealed != 0
	return nil
}

// judge tells a torn tail from corruption, where the first invalid place is damage: a mark that promises more than what
// is valid proves that durable bytes are damaged.
func (f *found) judge(sc *scanner, damage *CorruptError) error {
	promised, used, err := sc.aftermath(f.end)
	if err != nil {
		return err
	}
	f.used = used
	if promised > f.end {
		damage.Reason += fmt.Sprintf("; all up to offset %d was durable once", promised)
		return damage
	}
	if f.bytes != f.size {
		return corrupt(f.name(), f.bytes, "the file has %d bytes instead of %d", f.bytes, f.size)
	}
	return nil
}

// torn is how many bytes of unfinished batches follow the last mark.
func (f *found) torn() int64 { return max(0, f.used-f.end) }

// recover surveys the directory, repairs what a crash may leave and sets j up to go on.
func (j *Journal) recover() error {
	v, err := look(j.opt.FS, j.opt.Dir, true, j.opt.Progress)
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
	for _, f := range v.found {
		s := &segment{segmentHeader: f.segmentHeader, file: f.file, end: f.end, lastSeq: f.position.seq, index: f.index}
		j.segments = append(j.segments, s)
		j.floor = max(j.floor, f.floorNow)
		j.tail.enter(f.segmentHeader)
		j.tail.offset = f.end
		j.tail.seq, j.tail.epoch, j.tail.chain = f.position.seq, f.position.epoch, f.position.chain
		j.active = s
	}
	j.durable.Store(j.tail.seq)
}

// repair removes what crashes left, finishes what they interrupted and makes durable what was found.
func (j *Journal) repair(v *survey) error {
	for _, name := range slices.Concat(v.temporary, v.leftovers) {
		if err := j.opt.FS.Remove(j.path(name)); err != nil {
			return err
		}
	}
	if len(v.found) == 0 {
		if err := j.createFirst(); err != nil {
			return fmt.Errorf("create the first segment: %w", err)
		}
	} else if err := j.repairTail(v.found); err != nil {
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

func (j *Journal) createFirst() error {
	if _, err := io.ReadFull(j.opt.random, j.id[:]); err != nil {
		return err
	}
	salt, err := j.randomUint64()
	if err != nil {
		return err
	}
	h := segmentHeader{journalID: j.id, id: 1, firstSeq: 1, size: segmentSize(j.opt.SegmentBytes, 0), salt: salt}
	s, err := j.createSegment(h)
	if err != nil {
		return err
	}
	j.segments, j.active = []*segment{s}, s
	j.tail.enter(h)
	return nil
}

func (j *Journal) writeIdentity() error {
	name := j.path(identityName)
	file, err := j.opt.FS.Create(name + ".tmp")
	if err != nil {
		return err
	}
	err = writeAt(file, encodeIdentity(j.id), 0)
	if err == nil {
		err = file.Sync()
	}
	if err = firstError(err, file.Close()); err != nil {
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
	if len(all) > 1 {
		if before := all[len(all)-2]; !before.sealed {
			if err := clearTail(before); err != nil {
				return fmt.Errorf("repair segment %s: %w", before.name(), err)
			}
			if err := sealSegment(j.segments[len(all)-2], last.segmentHeader); err != nil {
				return fmt.Errorf("seal segment %s: %w", before.name(), err)
			}
		}
	}
	if last.torn() > 0 {
		if err := j.keepTorn(last); err != nil {
			return fmt.Errorf("copy the torn tail of %s: %w", last.name(), err)
		}
		j.log.Warn("cut a torn tail, none of which was ever promised", zap.String("segment", last.name()),
			zap.Int64("offset", last.end), zap.Int64("bytes", last.torn()), zap.Uint64("last_seq", last.position.seq))
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

// keepTorn copies the torn tail of f to a file of its own, for whoever wants to look at it.
func (j *Journal) keepTorn(f *found) error {
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
		return err
	}
	return j.opt.FS.SyncDir(j.opt.Dir)
}

// rewrite writes again what is valid in f and not promised. Where an earlier process died of a failed sync, the system may
// hold these bytes in memory, take them for written and never write them.
func rewrite(f *found) error { return copyRange(f.file, f.promised, f.file, f.promised, f.end) }

// clearTail zeroes what follows the last mark of f.
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
