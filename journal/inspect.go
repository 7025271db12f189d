package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// A journal in use changes while it is looked at: then it is looked at again.
const (
	inspectAttempts = 20
	inspectPause    = 50 * time.Millisecond
)

// errChanged tells that a file has changed its place since it was opened.
var errChanged = errors.New("the journal changes faster than it can be looked at")

// Inspection is a picture of a sound journal at one moment. It keeps the files open that were there.
type Inspection struct {
	Report
	Files      []SegmentFile // in order of their Seqs
	Floor      uint64        // no record with a lower Seq was needed
	Checkpoint CheckpointFile
	SpareBytes int64 // of the next segment's file; 0: there is none

	survey *survey
	window []byte // of Read
}

// SegmentFile is a segment on disk.
type SegmentFile struct {
	Name        string
	First, Last uint64 // Seqs of its range; Last is First-1 when it has none
	Sparse      bool   // some of its records have been cleaned away
	Sealed      bool   // not in use any more
	Bytes       int64
}

// CheckpointFile is the checkpoint on disk.
type CheckpointFile struct {
	Bytes      int64 // 0: there is none
	From, Upto uint64
	Err        error // why the file cannot be one that a start uses, as far as its header tells
}

// Inspect looks at the journal in dir, which may be in use: then its newest records may be missing. It changes nothing and
// needs no lock. Damage that it sees is a *CorruptError; fsys nil means OS. The caller closes the Inspection.
func Inspect(fsys FS, dir string) (in *Inspection, err error) {
	fsys = steadily(fsys, nil)
	v, locked, err := observe(survey{fs: fsys, dir: dir, hold: true}, look)
	if err != nil {
		return nil, fmt.Errorf("inspect journal %s: %w", dir, err)
	}
	in = &Inspection{Report: v.report(), survey: v}
	in.Locked = locked
	if err := in.describe(); err != nil {
		v.close()
		return nil, fmt.Errorf("inspect journal %s: %w", dir, err)
	}
	return in, nil
}

// observe surveys a directory by means of look, and does so again while somebody who has the journal open changes what is
// looked at: files that are held when the survey has been made were the journal at one moment. locked wraps ErrLocked when
// the journal is open. The caller closes the survey.
func observe(like survey, look func(*survey) (*survey, error)) (found *survey, locked, err error) {
	for attempt := 1; ; attempt++ {
		last := attempt == inspectAttempts
		locked = like.fs.CheckLock(like.path(lockName))
		if locked != nil && !errors.Is(locked, ErrLocked) {
			return nil, nil, locked
		}
		v := like
		v.hold, v.changes = like.hold || locked != nil, locked != nil && !last
		_, err := look(&v)
		switch {
		case err == nil && (last || !v.changes || !v.inDoubt()):
			return &v, locked, nil
		case err == nil:
			v.close()
		case last || !like.changed(err):
			return nil, nil, err
		}
		time.Sleep(inspectPause)
	}
}

// changed tells whether err may come from a file that was replaced or removed meanwhile.
func (v *survey) changed(err error) bool {
	if errors.Is(err, fs.ErrNotExist) {
		_, err := v.fs.ReadDir(v.dir)
		return err == nil
	}
	return errors.Is(err, errChanged)
}

// inDoubt tells whether there is damage that may be none, for somebody is writing there: in the last segments. The others
// do not change any more, whatever becomes of their names.
func (v *survey) inDoubt() bool {
	recent := v.found[max(0, len(v.found)-2):]
	return slices.ContainsFunc(v.damage, func(d *CorruptError) bool {
		return slices.ContainsFunc(recent, func(f *found) bool { return f.name() == d.File })
	})
}

// describe fills in from what was found.
func (in *Inspection) describe() (err error) {
	v := in.survey
	if len(v.damage) > 0 {
		return v.damage[0]
	}
	for _, f := range v.found {
		in.Floor = max(in.Floor, f.floorNow)
		in.Files = append(in.Files, SegmentFile{
			Name: f.name(), First: f.firstSeq, Last: f.position.Seq, Sparse: f.sparse, Sealed: f.sealed, Bytes: f.bytes,
		})
	}
	if in.SpareBytes, err = v.sizeOf(spareName); err != nil {
		return err
	}
	in.Checkpoint, err = v.checkpoint()
	return err
}

// inPlace checks that each file that is open still has its name: so there was a moment when all of them were the journal.
func (v *survey) inPlace() error {
	for _, f := range v.found {
		salt, err := v.saltOf(f.name())
		if errors.Is(err, fs.ErrNotExist) || err == nil && salt != f.salt {
			return errChanged
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *survey) saltOf(name string) (uint64, error) {
	b, err := readAll(v.fs, v.path(name), 64)
	if err != nil || len(b) < 64 {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b[56:]), nil
}

// sizeOf is 0 when there is no such file; a directory with that name is none.
func (v *survey) sizeOf(name string) (size int64, err error) {
	names, err := v.fs.ReadDir(v.dir)
	if err != nil || !slices.Contains(names, name) {
		return 0, err
	}
	file, err := v.fs.Open(v.path(name), false)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	size, err = file.Size()
	return size, firstError(err, file.Close())
}

// checkpoint reads the header of the one on disk.
func (v *survey) checkpoint() (c CheckpointFile, err error) {
	if c.Bytes, err = v.sizeOf(checkpointName); err != nil || c.Bytes == 0 {
		return c, err
	}
	b, err := readAll(v.fs, v.path(checkpointName), checkpointHeaderBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return CheckpointFile{}, nil
	}
	if err != nil {
		return c, err
	}
	h, err := parseCheckpointHeader(b)
	if err == nil && h.journalID != v.id {
		err, h = fmt.Errorf("it belongs to journal %x, this is %x", h.journalID, v.id), checkpointHeader{}
	}
	c.From, c.Upto, c.Err = h.from, h.upto, err
	return c, nil
}

// Read calls fn with the records of Files[i], in order; a record's payload is all in Body, which is valid during the call
// only. Every checksum is verified: damage is a *CorruptError. An error of fn ends Read and is returned as it is.
func (in *Inspection) Read(i int, fn func(Record) error) error {
	f := in.survey.found[i]
	s := f.segment()
	return s.each(f.file, &in.window, s.stretch(nil, 0), f.position.Seq, func(h recordHeader, payload []byte) error {
		return fn(h.record(payload))
	})
}

// Close gives the files back.
func (in *Inspection) Close() { in.survey.close() }
