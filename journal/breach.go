package journal

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
)

// unusedSeqs are left out where the end of the log is lost. More than that does not fit into a segment of the usual size,
// so that no Seq that somebody may have seen is given to another record.
const unusedSeqs = 1 << 24

// breach is a place where the log is broken: adjacent segments that are damaged or missing. One sparse segment with all
// that is legible can take their place.
type breach struct {
	before, after *source // the sound neighbours; nil at an end of the log
	sources       []*source
	trimmed       bool // nobody needs it

	id, lastID uint64    // numbers of the segments
	begin, end Position  // before the first and after the last record that ever was there
	known      uint64    // the last Seq that surely was there; end.Seq, but at the end of the log
	kept       []legible // in order of their Seqs
}

// source is the file of a segment, sound or not.
type source struct {
	*found
	entry    string // its name in the directory
	headless bool   // its header was lost: all but the numbers in its name was made out from what follows
	legible  []legible
	far      Position // the furthest that anything legible in it speaks of
}

// legible is a record that can still be read.
type legible struct {
	recordHeader
	from   *source
	offset int64
	safe   bool // promised, or all of its batch is there
}

// sources returns the files of the segments in order of their numbers, and the names of those that have no place in the
// log: strange ones, and damaged ones whose numbers a sound one covers.
func (v *survey) sources() (all []*source, aside []string, err error) {
	names, err := v.fs.ReadDir(v.dir)
	if err != nil {
		return nil, nil, err
	}
	byName := map[string]*found{}
	for _, f := range v.found {
		byName[f.name()] = f
	}
	for _, name := range names {
		if !strings.HasSuffix(name, segmentSuffix) || slices.Contains(v.leftovers, name) && !v.blames(name) {
			continue
		}
		s := &source{found: byName[name], entry: name}
		if s.found == nil {
			if s, err = v.makeOut(name); err != nil {
				return nil, nil, err
			}
		}
		if s == nil || slices.Contains(v.leftovers, name) {
			aside = append(aside, name)
			continue
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b *source) int {
		return cmp.Or(cmp.Compare(a.id, b.id), compareBool(a.damaged, b.damaged))
	})
	all, covered := dropCovered(all)
	return all, append(aside, covered...), nil
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// blames tells whether some damage was found in the file called name.
func (v *survey) blames(name string) bool {
	return slices.ContainsFunc(v.damage, func(d *CorruptError) bool { return d.File == name })
}

// dropCovered takes out the damaged ones whose numbers a sound one before them covers.
func dropCovered(all []*source) (kept []*source, covered []string) {
	var sound *source
	for _, s := range all {
		if s.damaged && sound != nil && s.id <= sound.lastID {
			covered = append(covered, s.entry)
			continue
		}
		if !s.damaged {
			sound = s
		}
		kept = append(kept, s)
	}
	return kept, covered
}

// makeOut finds out what it can about a segment whose header does not say the same as its name; nil when it is none of this
// journal.
func (v *survey) makeOut(name string) (_ *source, err error) {
	file, err := v.fs.Open(v.path(name), false)
	if err != nil {
		return nil, err
	}
	defer func() { err = firstError(err, file.Close()) }()
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, segmentHeaderBytes)
	if err := readAt(file, name, b[:min(size, segmentHeaderBytes)], 0); err != nil {
		return nil, err
	}
	s := &source{entry: name}
	s.found = &found{bytes: size, damaged: true}
	if crc32.Checksum(b[:segmentHeaderBytes-4], castagnoli) == binary.LittleEndian.Uint32(b[segmentHeaderBytes-4:]) {
		// It is whole: the name is wrong.
		h := segmentHeader{id: binary.LittleEndian.Uint64(b[32:]), firstSeq: binary.LittleEndian.Uint64(b[40:])}
		s.segmentHeader, err = parseSegmentHeader(h.name(), b)
		if err != nil || s.journalID != v.id {
			return nil, nil
		}
		return s, nil
	}
	id, firstSeq, ok := parseSegmentName(name)
	if !ok {
		return nil, nil
	}
	s.headless = true
	s.segmentHeader = segmentHeader{
		version: formatVersion, journalID: v.id, id: id, lastID: id, firstSeq: firstSeq,
		salt: binary.LittleEndian.Uint64(b[56:]), // unless a mark knows better
	}
	return s, s.findSalt(file)
}

// findSalt learns the salt from any mark of the segment, which carries it and proves it by the checksum of its own header.
func (s *source) findSalt(file File) error {
	sc := newScanner(file, &s.segmentHeader, 0, s.bytes, nil)
	for ; sc.end-sc.offset >= markBytes; sc.offset += 8 {
		b, err := sc.bytes(sc.offset, markBytes)
		if err != nil {
			return err
		}
		if binary.LittleEndian.Uint16(b) != recordMagic || b[2] != typeMark {
			continue
		}
		h := s.segmentHeader
		h.salt = parseMark(b[recordHeaderBytes:]).salt
		for _, h.sparse = range []bool{false, true} {
			if _, _, ok := parseWholeMark(b, h.seedAt(sc.offset), h.salt); ok {
				s.salt, s.sparse = h.salt, h.sparse
				return nil
			}
		}
	}
	return nil
}

// read notes all that is legible in a damaged segment.
func (s *source) read(v *survey) (err error) {
	if s.file, err = v.fs.Open(v.path(s.entry), false); err != nil {
		return err
	}
	defer s.close()
	batch, promised := 0, int64(0) // where in s.legible the batch begins
	err = s.salvage(min(segmentHeaderBytes, s.bytes), s.bytes, func(h recordHeader, payload []byte, offset int64) error {
		switch h.typ {
		case typeIndex:
			s.reach(Position{h.seq, h.epoch, h.prevChain})
		case typeMark:
			m := parseMark(payload)
			s.reach(Position{h.seq, h.epoch, h.prevChain})
			promised, s.floorNow = max(promised, m.promiseOffset), max(s.floorNow, m.floor)
			s.sealed = s.sealed || h.isSeal()
			makeSafe(s.legible[batch:], m.firstSeq, h.seq)
			batch = len(s.legible)
		default:
			s.reach(Position{h.seq, h.epoch, h.chain})
			s.legible = append(s.legible, legible{recordHeader: h, from: s, offset: offset})
		}
		return nil
	})
	for i := range s.legible {
		s.legible[i].safe = s.legible[i].safe || s.legible[i].offset < promised
	}
	return err
}

func (s *source) reach(p Position) {
	if p.Seq >= s.far.Seq {
		s.far = p
	}
}

// makeSafe notes that the batch from first to last, if all of it is there, counts. So it does behind a batch of the same group that
// is torn: nothing says that the group was not acknowledged, and Repair keeps what can be kept.
func makeSafe(batch []legible, first, last uint64) {
	n := int(last + 1 - first)
	if n < 0 || n > len(batch) {
		return
	}
	batch = batch[len(batch)-n:]
	for i := range batch {
		if batch[i].seq != first+uint64(i) {
			return
		}
	}
	for i := range batch {
		batch[i].safe = true
	}
}

// condemn takes for damaged what does not join its successor. It goes backwards, since a segment must be sealed when the
// next one is in use or lost.
func condemn(all []*source) {
	for i := len(all) - 2; i >= 0; i-- {
		a, b := all[i], all[i+1]
		switch {
		case a.damaged:
		case !b.damaged && b.id <= a.lastID:
			a.damaged, b.damaged = true, true
		case !b.damaged && b.id == a.lastID+1:
			a.damaged = checkJoint(a.found, b.found) != nil
		default:
			a.damaged = !a.sealed
		}
	}
}

// breaches returns all there are. floor is the newest trim that anything tells of, upto what the checkpoint knows.
func breaches(v *survey, all []*source, floor, upto uint64) ([]*breach, error) {
	for {
		list, stranger := split(all, floor), (*source)(nil)
		for _, b := range list {
			b.measure(max(floor, 1), upto)
			if b.before != nil && (b.begin.Seq > b.end.Seq || b.begin.Epoch > b.end.Epoch) {
				stranger = b.before // it is of another history than what follows
			}
		}
		if stranger == nil {
			return list, nil
		}
		stranger.damaged = true
		if err := stranger.read(v); err != nil {
			return nil, err
		}
	}
}

// split finds the runs of what is damaged or missing.
func split(all []*source, floor uint64) (list []*breach) {
	b := &breach{}
	for _, s := range all {
		if s.damaged {
			b.sources = append(b.sources, s)
			continue
		}
		b.after = s
		missing := s.firstSeq > max(floor, 1)
		if b.before != nil {
			missing = s.id != b.before.lastID+1
		}
		if missing || len(b.sources) > 0 {
			list = append(list, b)
		}
		b = &breach{before: s}
	}
	if len(b.sources) > 0 || b.before != nil && b.before.sealed {
		list = append(list, b)
	}
	return list
}

// measure finds out which numbers and Seqs the breach covers.
func (b *breach) measure(floor, upto uint64) {
	if b.after != nil {
		h := &b.after.segmentHeader
		b.lastID, b.end = h.id-1, h.before()
		b.known, b.trimmed = b.end.Seq, b.before == nil && h.firstSeq <= floor
	}
	if b.before != nil {
		b.id, b.begin = b.before.lastID+1, b.before.position
	} else {
		b.beginLog(floor)
	}
	if b.after == nil {
		b.endLog(upto)
	}
}

// beginLog is for a breach before all that is sound. What was trimmed need not be covered.
func (b *breach) beginLog(floor uint64) {
	b.id, b.begin = b.lastID, Position{Seq: floor - 1}
	if len(b.sources) == 0 {
		return
	}
	first := b.sources[0]
	b.id = first.id
	if first.firstSeq <= floor {
		b.begin.Seq = first.firstSeq - 1
		if !first.headless {
			b.begin.Epoch, b.begin.Chain = first.epoch, first.chain
			return
		}
	}
	for _, l := range first.legible {
		if l.seq == b.begin.Seq+1 {
			b.begin.Chain = l.prevChain
		}
	}
}

// endLog is for a breach after all that is sound. What was lost at the end nobody can tell: see unusedSeqs.
func (b *breach) endLog(upto uint64) {
	b.end, b.lastID = b.begin, b.id
	for _, s := range b.sources {
		b.lastID = max(b.lastID, s.lastID)
		if s.far.Seq > b.end.Seq {
			b.end.Seq, b.end.Chain = s.far.Seq, s.far.Chain
		}
		b.end.Epoch = max(b.end.Epoch, s.far.Epoch)
	}
	b.known = max(b.end.Seq, upto)
	b.end.Seq = b.known + unusedSeqs
}

// choose decides which of the legible records can be kept: in order, and joining each other and the neighbours.
func (b *breach) choose() {
	var all []legible
	for i, s := range b.sources {
		last := b.after == nil && i == len(b.sources)-1
		for _, l := range s.legible {
			if l.safe || !last {
				all = append(all, l)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b legible) int { return cmp.Compare(a.seq, b.seq) })
	at := b.begin
	for _, l := range all {
		here := Position{l.seq, l.epoch, l.chain}
		switch {
		case l.seq <= at.Seq || l.seq > b.end.Seq || l.epoch < at.Epoch || l.epoch > b.end.Epoch:
		case l.seq == at.Seq+1 && l.prevChain != at.Chain:
		case l.seq == b.end.Seq && here != b.end:
		default:
			b.kept = append(b.kept, l)
			at = here
		}
	}
}

// lost returns the Seqs that may have been there and are not kept.
func (b *breach) lost() (list []SeqRange) {
	next := b.begin.Seq + 1
	for _, l := range b.kept {
		if l.seq > next {
			list = append(list, SeqRange{next, l.seq - 1})
		}
		next = l.seq + 1
	}
	if next <= b.known {
		list = append(list, SeqRange{next, b.known})
	}
	return list
}

// cleaned tells whether some of what is not kept may have been cleaned away before.
func (b *breach) cleaned() bool {
	numbers := b.id
	for _, s := range b.sources {
		if s.sparse || s.headless || s.id != numbers {
			return true
		}
		numbers = s.lastID + 1
	}
	return numbers != b.lastID+1
}
