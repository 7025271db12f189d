package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"go.uber.org/zap"
)

const (
	cutName    = "cut"      // the segment with which the log goes on after a cut that is under way
	cutNewName = "cut.tmp"  // that segment in the making
	keptName   = "cut.kept" // what stays of the segment before; it counts only beside cutName
)

// Tail is what Cut cuts off.
type Tail struct {
	After Position // the log ends here now
	End   Position // and ended here before: with After, if there was nothing to cut
}

// Cut removes all records after Seq after from the journal in dir, which nobody has open, and keeps them in the directory
// aside: as a journal, with an identity of its own, that Open, Dump and Verify read. The log then ends at the position that
// it had at after, and other records can take the place of those. The checkpoint goes with what it knows of.
//
// It first does what Open does after a crash. A crash leaves the journal as it was or, once aside is complete, a cut that the
// next Open or Cut finishes. Cut may be called again with the same aside, and refuses one that holds anything else.
//
// An error that wraps ErrNotFound says that after lies beyond the end, or was cleaned away with the record that follows;
// one that wraps ErrTrimmed, that it was trimmed. Others wrap ErrLocked, ErrUnfinished, a *CorruptError or those of the file
// system. fsys nil means OS.
func Cut(fsys FS, dir string, after uint64, aside string) (Tail, error) {
	j := newJournal(Options{Dir: dir, FS: fsys})
	defer j.calls.stop()
	tail, err := j.cutDirectory(after, aside)
	if err != nil {
		return Tail{}, fmt.Errorf("cut journal %s after seq %d: %w", dir, after, err)
	}
	return tail, nil
}

func (j *Journal) cutDirectory(after uint64, aside string) (tail Tail, err error) {
	if err := j.exists(); err != nil {
		return Tail{}, err
	}
	if err := j.open(); err != nil {
		return Tail{}, err
	}
	tail, err = j.cut(after, aside)
	return tail, firstError(err, j.leave())
}

// exists tells whether there is a journal, for Open would make one.
func (j *Journal) exists() error {
	names, err := j.opt.FS.ReadDir(j.opt.Dir)
	if err == nil && !slices.ContainsFunc(names, func(name string) bool {
		return name == cutName || name == identityName || strings.HasSuffix(name, segmentSuffix)
	}) {
		err = errors.New("there is no journal")
	}
	return err
}

// cut does it with a journal that has been recovered and is not at work.
func (j *Journal) cut(after uint64, aside string) (Tail, error) {
	end := j.End()
	switch {
	case after == end.Seq:
		return Tail{end, end}, nil
	case after > end.Seq:
		return Tail{}, fmt.Errorf("%w: the log ends with seq %d", ErrNotFound, end.Seq)
	case after+1 < max(j.floor, j.segments[0].firstSeq):
		return Tail{}, fmt.Errorf("%w: the log is trimmed up to seq %d", ErrTrimmed, max(j.floor, j.segments[0].firstSeq)-1)
	}
	at, err := j.PositionAt(after)
	if err != nil {
		return Tail{}, err
	}
	tail := Tail{at, end}
	if err := j.keepAside(tail, aside); err != nil {
		return Tail{}, fmt.Errorf("keep what is cut in %s: %w", aside, err)
	}
	if err := j.prepareCut(at); err != nil {
		_ = j.opt.FS.Remove(j.path(cutNewName)) // or the next Open does
		_ = j.opt.FS.Remove(j.path(keptName))
		return Tail{}, err
	}
	j.log.Warn("records are cut off and kept aside", zap.Uint64("after", after), zap.Uint64("last", end.Seq), zap.String("aside", aside))
	if err := j.opt.FS.Rename(j.path(cutNewName), j.path(cutName)); err != nil {
		return Tail{}, err // either may be its name, and the next Open sees which
	}
	return tail, j.finishCut()
}

// keepAside makes a journal of what follows tail.After, unless an earlier attempt has. That may have been killed before it
// could make the last step durable.
func (j *Journal) keepAside(tail Tail, aside string) error {
	if j.isAside(tail, aside) {
		return firstError(j.opt.FS.SyncDir(aside), j.opt.FS.SyncDir(filepath.Dir(aside)))
	}
	im, err := NewImport(j.opt.FS, aside, tail.After, 0)
	if err != nil {
		return err
	}
	err = j.Read(tail.After.Seq+1, im.Add)
	if err == nil {
		err = im.Finish(tail.End)
	}
	if err != nil {
		_ = im.Abandon() // it is no journal, and the next attempt begins anew
		return err
	}
	return j.opt.FS.SyncDir(filepath.Dir(aside)) // an earlier attempt may have made it, and been killed before it did this
}

// isAside tells whether aside is a journal of the records of tail.
func (j *Journal) isAside(tail Tail, aside string) bool {
	v, err := look(&survey{fs: j.opt.FS, dir: aside})
	if err != nil {
		return false
	}
	defer v.close()
	n := len(v.found)
	return n > 0 && len(v.damage) == 0 && v.found[0].before() == tail.After && v.found[n-1].position == tail.End
}

// prepareCut makes durably what takes the place of the segment in which the log is cut, and of those after it. Once that has
// the name cut, the cut will be made.
func (j *Journal) prepareCut(at Position) error {
	s := j.segments[placeOf(j.segments, at.Seq+1)]
	before := s.segmentHeader
	before.lastID = s.id - 1
	if at.Seq >= s.firstSeq {
		before = s.segmentHeader
		if err := j.writeKept(s, at); err != nil {
			return err
		}
	}
	if err := makeBlank(j.opt.FS, j.path(cutNewName), nextAfter(before, at, j.floor)); err != nil {
		return err
	}
	return j.opt.FS.SyncDir(j.opt.Dir) // cut must not be there without cut.kept
}

// writeKept writes the records of s up to at.
func (j *Journal) writeKept(s *segment, at Position) error {
	from, err := j.files.hold(s)
	if err != nil {
		return err
	}
	defer j.files.release(s)
	return makeFile(j.opt.FS, j.path(keptName), func(file File) error {
		w := newSegmentWriter(file, s.segmentHeader, randomSalt())
		err := s.each(from, new([]byte), s.stretch(nil, 0), at.Seq, func(h recordHeader, payload []byte) error {
			return w.add(h, payload)
		})
		if err != nil {
			return err
		}
		_, err = w.finish(nextAfter(s.segmentHeader, at, j.floor))
		return err
	})
}

// finishCut makes the cut that is under way, if there is one.
func (j *Journal) finishCut() error { return finishCut(j.opt.FS, j.opt.Dir) }

// finishCut removes what follows the place of the cut and then gives the segment to go on with its name: until that is done,
// all of it can be done again.
func finishCut(fsys FS, dir string) error {
	path := func(name string) string { return filepath.Join(dir, name) }
	names, err := fsys.ReadDir(dir)
	if err != nil || !slices.Contains(names, cutName) {
		return err
	}
	next, err := readHeader(fsys, path(cutName))
	if err != nil {
		return fmt.Errorf("finish the cut: %w", err)
	}
	if err := fsys.SyncDir(dir); err != nil { // so far only the system's memory may know of the cut
		return err
	}
	if err := dropCheckpointAfter(fsys, path(checkpointName), next.firstSeq-1); err != nil {
		return err
	}
	for _, name := range names {
		if id, _, ok := parseSegmentName(name); !ok || id < next.id {
			continue
		}
		if err := fsys.Remove(path(name)); err != nil {
			return err
		}
	}
	if slices.Contains(names, keptName) {
		kept, err := readHeader(fsys, path(keptName))
		if err == nil {
			err = fsys.Rename(path(keptName), path(kept.name()))
		}
		if err != nil {
			return err
		}
	}
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	if err := fsys.Rename(path(cutName), path(next.name())); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

// readHeader reads the header of a segment that does not have its name.
func readHeader(fsys FS, name string) (segmentHeader, error) {
	b, err := readAll(fsys, name, segmentHeaderBytes)
	if err != nil {
		return segmentHeader{}, err
	}
	if len(b) < segmentHeaderBytes {
		return segmentHeader{}, corrupt(filepath.Base(name), int64(len(b)), "the file ends within its header")
	}
	h := segmentHeader{id: binary.LittleEndian.Uint64(b[32:]), firstSeq: binary.LittleEndian.Uint64(b[40:])}
	h, err = parseSegmentHeader(h.name(), b)
	var damage *CorruptError
	if errors.As(err, &damage) {
		damage.File = filepath.Base(name)
	}
	return h, err
}

// dropCheckpointAfter removes the checkpoint when it knows of records after that Seq. One that cannot be understood says nothing.
func dropCheckpointAfter(fsys FS, name string, seq uint64) error {
	b, err := readAll(fsys, name, checkpointHeaderBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if h, err := parseCheckpointHeader(b); err != nil || h.upto <= seq {
		return nil
	}
	return fsys.Remove(name)
}
