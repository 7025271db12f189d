package journal

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
)

const lockName = "LOCK"

// InUse returns an error that wraps ErrLocked while a process has the journal in dir open. It changes nothing; fsys nil means
// OS.
func InUse(fsys FS, dir string) error {
	if fsys == nil {
		fsys = OS{}
	}
	return fsys.CheckLock(filepath.Join(dir, lockName))
}

// temporaryNames are those of files that count only when they have been renamed.
var temporaryNames = []string{spareTemporary, newName, cleanName, checkpointNewName, mendName, cutNewName, keptName, identityName + ".tmp"}

// survey is what a directory holds, read without changing anything. Open acts on it, Verify reports it.
type survey struct {
	fs       FS
	dir      string
	deep     bool // read everything; otherwise of sealed segments only the seals
	write    bool // keep the files open that may have to be repaired
	hold     bool // keep all files open from the first look at them
	changes  bool // somebody is at work: rather look again than call what is in use damaged
	progress func(done, total int64)
	done     int64
	total    int64
	window   []byte // of the scanner

	id        [16]byte
	known     bool     // the identity file is there
	foreign   bool     // there is a segment of another journal
	durable   uint64   // the log was once durable up to here, says the checkpoint; 0: there is none that can be used
	found     []*found // segments in order of their ids
	leftovers []string // segments, trimmed or merged into others, that a crash kept from being removed
	temporary []string // files that a crash left unfinished
	damage    []*CorruptError
}

// look surveys a directory. The error is one that prevents looking; damage is noted in the survey. The caller closes it.
func look(v *survey) (*survey, error) {
	if v.progress == nil {
		v.progress = func(int64, int64) {}
	}
	window := windows.Get().(*[]byte)
	defer windows.Put(window)
	v.window = *window
	if err := v.list(); err != nil {
		v.close()
		return nil, err
	}
	v.skipMerged()
	if err := v.scan(); err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

func (v *survey) close() {
	for _, f := range v.found {
		f.close()
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
func (v *survey) list() error {
	names, err := v.fs.ReadDir(v.dir)
	if err != nil {
		return err
	}
	if err := v.note(v.readIdentity(names)); err != nil {
		return err
	}
	v.knowDurable() // before the segments are listed: a broker that is at work makes the log longer, never shorter
	if names, err = v.fs.ReadDir(v.dir); err != nil {
		return err
	}
	if err := checkFinished(names); err != nil {
		return err
	}
	for _, name := range names {
		switch {
		case slices.Contains(temporaryNames, name):
			v.temporary = append(v.temporary, name)
		case strings.HasSuffix(name, segmentSuffix):
			if err := v.note(v.peek(name)); err != nil {
				return err
			}
		}
	}
	if v.hold {
		if err := v.inPlace(); err != nil {
			return err
		}
	}
	slices.SortFunc(v.found, func(a, b *found) int { return int(int64(a.id) - int64(b.id)) })
	if len(v.found) == 0 && len(v.damage) == 0 {
		v.checkEmpty(names)
	}
	return nil
}

// checkFinished tells why a directory with these files is not that of a journal, or not at present.
func checkFinished(names []string) error {
	switch {
	case slices.Contains(names, importName):
		return ErrUnfinished
	case slices.Contains(names, cutName):
		return errors.New("a cut was interrupted; the next start finishes it")
	}
	return nil
}

// checkEmpty tells a directory without segments that has lost them from a new one.
func (v *survey) checkEmpty(names []string) {
	switch {
	case v.known:
		v.damage = append(v.damage, corrupt(identityName, 0, "all segments of the journal are missing"))
	case slices.Contains(names, checkpointName):
		v.damage = append(v.damage, corrupt(checkpointName, 0, "all else of the journal is missing"))
	}
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

// peek reads the header of a segment and, where that is to do, its seal.
func (v *survey) peek(name string) (err error) {
	if _, _, ok := parseSegmentName(name); !ok {
		return corrupt(name, 0, "no segment has such a name")
	}
	file, err := v.fs.Open(v.path(name), false)
	if err != nil {
		return err
	}
	held := false
	defer func() {
		if !held {
			err = firstError(err, file.Close())
		}
	}()
	f, err := readSegmentHeader(name, file)
	if err != nil {
		return err
	}
	if v.id == [16]byte{} {
		v.id = f.journalID
	}
	if f.journalID != v.id {
		v.foreign = true
		return corrupt(name, 16, "the segment belongs to journal %x, this is %x", f.journalID, v.id)
	}
	v.found = append(v.found, f)
	v.total += f.bytes
	if v.hold {
		f.file, held = file, true
	}
	if v.deep {
		return nil
	}
	return f.readSeal(file)
}

// skipMerged sets aside the segments whose numbers one before them covers: a crash kept them from being removed.
func (v *survey) skipMerged() {
	var kept []*found
	for _, f := range v.found {
		n := len(kept)
		if n == 0 || f.id == kept[n-1].id || f.id > kept[n-1].lastID {
			kept = append(kept, f)
			continue
		}
		if f.lastID > kept[n-1].lastID {
			v.damage = append(v.damage, corrupt(f.name(), 80, "the segment and %s both claim the number %d", kept[n-1].name(), f.id))
		}
		v.leave(f)
	}
	v.found = kept
}

// leave takes f, which is not needed, out of the account.
func (v *survey) leave(f *found) {
	v.leftovers = append(v.leftovers, f.name())
	v.total -= f.bytes
	f.close()
}

// scan reads the segments. The last one comes first, for it has the latest word on what was trimmed.
func (v *survey) scan() error {
	if len(v.found) == 0 {
		return nil
	}
	last := v.found[len(v.found)-1]
	if err := v.scanAndNote(last); err != nil {
		return err
	}
	if v.changes && (last.sealed || last.damaged) {
		return errChanged // before all the others are read
	}
	v.skipTrimmed(last.floorNow)
	for _, f := range v.found[:len(v.found)-1] {
		if err := v.scanAndNote(f); err != nil {
			return err
		}
	}
	for i, f := range v.found[1:] {
		if err := v.note(checkJoint(v.found[i], f)); err != nil {
			return err
		}
	}
	if last.sealed {
		v.damage = append(v.damage, corrupt(last.name(), last.end, "the segment after this one is missing"))
	}
	v.checkEnd(last)
	return nil
}

// knowDurable reads how far the checkpoint of this journal says that the log was durable. One that cannot be read says nothing.
func (v *survey) knowDurable() {
	b, err := readAll(v.fs, v.path(checkpointName), checkpointHeaderBytes)
	if err != nil {
		return
	}
	if h, err := parseCheckpointHeader(b); err == nil && h.journalID == v.id {
		v.durable = h.upto
	}
}

// checkEnd compares the end of the log with what the checkpoint knows of it.
func (v *survey) checkEnd(last *found) {
	if last.damaged || v.durable <= last.position.Seq {
		return
	}
	last.damaged = true
	v.damage = append(v.damage, corrupt(last.name(), last.end,
		"the log ends with seq %d, but the checkpoint says that all up to seq %d was durable: the end is lost, or the file is an old copy",
		last.position.Seq, v.durable))
}

// skipTrimmed sets aside the segments wholly below floor: any of them may be gone already. What comes first then must
// reach down to floor.
func (v *survey) skipTrimmed(floor uint64) {
	floor = max(floor, 1)
	n := 0
	for n+1 < len(v.found) && v.found[n+1].firstSeq <= floor {
		v.leave(v.found[n])
		n++
	}
	v.found = v.found[n:]
	if first := v.found[0]; first.firstSeq > floor {
		v.damage = append(v.damage, corrupt(first.name(), 0,
			"the segment before this one is missing: records %d to %d were not trimmed", floor, first.firstSeq-1))
	}
}

// checkJoint checks that b continues a; both have been scanned. Only where b holds nothing yet may a be without its seal: a
// crash came between the creation of b and the seal.
func checkJoint(a, b *found) error {
	switch {
	case b.id != a.lastID+1:
		return corrupt(b.name(), 0, "the segment before this one is missing: %s has number %d", a.name(), a.lastID)
	case a.position != b.before():
		return corrupt(a.name(), a.end, "the segment ends with seq %d, the next begins with %d", a.position.Seq, b.firstSeq)
	case !a.sealed && b.end > segmentHeaderBytes:
		return corrupt(a.name(), a.end, "the seal of the segment is missing, although the next one is in use")
	}
	return nil
}

func (v *survey) scanAndNote(f *found) error {
	before := len(v.damage)
	err := v.note(v.scanSegment(f))
	f.damaged = len(v.damage) > before
	return err
}

// scanSegment reads all of f up to its last mark and judges what comes after it. Where reading its seal was enough, that
// is all.
func (v *survey) scanSegment(f *found) error {
	defer func() { v.done += f.bytes }()
	if f.sealed {
		v.progress(v.done+f.bytes, v.total)
		return nil
	}
	if f.file == nil {
		file, err := v.fs.Open(v.path(f.name()), v.write)
		if err != nil {
			return err
		}
		f.file = file
	}
	sc := newScanner(f.file, &f.segmentHeader, segmentHeaderBytes, min(f.bytes, f.size), v.window)
	err := f.scan(&sc, func(end int64) { v.progress(v.done+end, v.total) })
	var damage *CorruptError
	if errors.As(err, &damage) && !f.sparse {
		err = f.judge(&sc, damage)
	}
	v.window = sc.window
	if !v.hold && (f.sealed || !v.write) {
		f.close()
	}
	return err
}
