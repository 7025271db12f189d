package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
)

// importName is a file that makes a directory none of a journal, whatever else is in it: an import was not finished.
const importName = "import.tmp"

// ErrUnfinished is wrapped by whatever is asked to open or look at a directory into which an import was not finished.
var ErrUnfinished = errors.New("an import into the directory was not finished")

// Import writes the records of another journal, with gaps where some were cleaned away, as a new journal: one with an
// identity of its own, which ends where the other ended, so that both go on with equal chains.
//
//	s, err := from.Snapshot()
//	im, err := NewImport(fsys, dir, s.Begin(), 0)
//	err = s.Read(0, im.Add)
//	err = im.Finish(s.End()) // now dir is a journal; after any error, Abandon
//
// Its methods are not safe for concurrent use. After an error only Abandon may be called.
type Import struct {
	fs     FS
	dir    string
	lock   io.Closer
	usual  int64          // bytes of a segment
	last   segmentHeader  // of the segment that is being written, or will be
	at     Position       // after the last record added
	ends   bool           // a batch ended there
	file   File           // of writer
	writer *segmentWriter // nil before the first record
	synced int64          // bytes of file
}

// NewImport begins a journal in dir, which is made and may hold nothing but an earlier import that was not finished; its
// records follow begin. segmentBytes is about the size of a segment, 0 for 64 MiB. It takes the lock; errors wrap ErrLocked
// or those of the file system. fsys nil means OS.
func NewImport(fsys FS, dir string, begin Position, segmentBytes int64) (*Import, error) {
	opt := Options{SegmentBytes: segmentBytes}
	opt.setDefaults()
	im := &Import{
		fs: steadily(fsys, nil), dir: dir, usual: opt.SegmentBytes, at: begin,
		last: segmentHeader{floor: begin.Seq + 1},
	}
	_, _ = io.ReadFull(rand.Reader, im.last.journalID[:]) // never fails
	if err := im.begin(); err != nil {
		return nil, fmt.Errorf("begin an import into %s: %w", dir, err)
	}
	return im, nil
}

// Vacant says whether NewImport would write into a directory: there is none, or it holds nothing but an import that was not
// finished. fsys nil means OS.
func Vacant(fsys FS, dir string) (bool, error) {
	names, err := steadily(fsys, nil).ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return len(occupants(names)) == 0, err
}

// occupants are the files of a directory for which no import can be written there.
func occupants(names []string) []string {
	if slices.Contains(names, importName) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == lockName })
}

func (im *Import) path(name string) string { return filepath.Join(im.dir, name) }

// begin locks the directory and says durably that it is no journal.
func (im *Import) begin() (err error) {
	if err := im.fs.MkdirAll(im.dir); err != nil {
		return err
	}
	if im.lock, err = im.fs.Lock(im.path(lockName)); err != nil {
		return err
	}
	strange, err := im.fs.ReadDir(im.dir)
	if strange = occupants(strange); err == nil && len(strange) > 0 {
		err = fmt.Errorf("the directory is not empty, there is %s", strange[0])
	}
	if err == nil {
		err = im.clear()
	}
	if err != nil {
		return firstError(err, im.lock.Close())
	}
	return nil
}

// clear says that the directory is no journal, and then removes what it holds.
func (im *Import) clear() error {
	if err := makeFile(im.fs, im.path(importName), func(File) error { return nil }); err != nil {
		return err
	}
	if err := im.fs.SyncDir(im.dir); err != nil {
		return err
	}
	names, err := im.fs.ReadDir(im.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == importName || name == lockName {
			continue
		}
		if err := im.fs.Remove(im.path(name)); err != nil {
			return err
		}
	}
	return im.fs.SyncDir(im.dir)
}

// Add adds a record as it was read, with the chain before it. Seqs rise; where one follows the other their chains must
// join. An error says what does not, or is one of the file system.
func (im *Import) Add(r Record) error {
	if err := im.add(r); err != nil {
		return fmt.Errorf("import seq %d: %w", r.Seq, err)
	}
	return nil
}

func (im *Import) add(r Record) error {
	if err := im.check(&r); err != nil {
		return err
	}
	payload := r.Body
	if len(r.Head) > 0 {
		payload = slices.Concat(r.Head, r.Body)
	}
	if err := im.makeRoom(); err != nil {
		return err
	}
	h := recordHeader{
		typ: r.Type, size: uint32(len(payload)), seq: r.Seq, epoch: r.Epoch,
		payloadCRC: crc32.Checksum(payload, castagnoli), prevChain: r.PrevChain,
	}
	if err := im.writer.add(h, payload); err != nil {
		return err
	}
	im.at, im.ends = im.writer.at, r.Ends
	if im.writer.offset-im.synced < syncEach {
		return nil
	}
	im.synced = im.writer.offset
	return im.file.Datasync()
}

// check tells why r cannot be the next record.
func (im *Import) check(r *Record) error {
	switch {
	case r.Seq <= im.at.Seq:
		return fmt.Errorf("it comes after seq %d", im.at.Seq)
	case r.Epoch < im.at.Epoch:
		return fmt.Errorf("it has epoch %d after epoch %d", r.Epoch, im.at.Epoch)
	case r.Seq == im.at.Seq+1 && r.PrevChain != im.at.Chain:
		return fmt.Errorf("the chain before it is %08x, that of seq %d is %08x", r.PrevChain, im.at.Seq, im.at.Chain)
	case r.Type == 0 || r.Type >= typeMark:
		return fmt.Errorf("the record type %d is unknown", r.Type)
	case len(r.Head)+len(r.Body) > MaxBatchBytes-recordHeaderBytes:
		return fmt.Errorf("%w: %d bytes", ErrTooBig, len(r.Head)+len(r.Body))
	}
	return nil
}

// makeRoom sees that there is a segment for the next record. One ends with a batch, if it can.
func (im *Import) makeRoom() error {
	if im.writer != nil {
		size := im.writer.size()
		if size < im.usual || size < 2*im.usual && !im.ends {
			return nil
		}
		if err := im.seal(im.at); err != nil {
			return err
		}
	}
	return im.open()
}

// open begins the next segment, which goes on where the one before ended.
func (im *Import) open() (err error) {
	h := nextAfter(im.last, im.at, im.last.floor)
	if im.file, err = im.fs.Create(im.path(h.name())); err != nil {
		return err
	}
	im.writer, im.synced = newSparseWriter(im.file, h, h.id, h.salt), 0
	im.last = h
	return nil
}

// seal ends the segment at end, durably but for its name.
func (im *Import) seal(end Position) error {
	_, err := im.writer.finish(nextAfter(im.last, end, im.last.floor))
	if err == nil {
		err = im.file.Sync()
	}
	err = firstError(err, im.file.Close())
	im.at, im.file, im.writer = end, nil, nil
	return err
}

// Finish ends the import at the position end, which is that of the last record added or, if what followed it was cleaned
// away, a later one. When it returns without an error the directory is durably a journal that can be opened.
func (im *Import) Finish(end Position) error {
	if err := im.finish(end); err != nil {
		return fmt.Errorf("finish the import into %s: %w", im.dir, err)
	}
	return im.lock.Close()
}

func (im *Import) finish(end Position) error {
	if end != im.at && (end.Seq <= im.at.Seq || end.Epoch < im.at.Epoch) {
		return fmt.Errorf("it ends at %+v, and was to end at %+v", im.at, end)
	}
	if im.writer == nil && end != im.at { // nothing is left of what there was
		if err := im.open(); err != nil {
			return err
		}
	}
	if im.writer != nil {
		if err := im.seal(end); err != nil {
			return err
		}
	}
	next := nextAfter(im.last, end, im.last.floor)
	if err := makeBlank(im.fs, im.path(next.name()), next); err != nil {
		return err
	}
	err := makeFile(im.fs, im.path(identityName), func(file File) error { return writeAt(file, encodeIdentity(next.journalID), 0) })
	if err == nil {
		err = im.fs.SyncDir(im.dir)
	}
	if err == nil {
		err = im.fs.Remove(im.path(importName))
	}
	if err == nil {
		err = im.fs.SyncDir(im.dir)
	}
	return err
}

// Abandon removes what was imported. After an error of it, and after a crash, the directory is still none of a journal, and
// another import into it begins with removing what is there.
func (im *Import) Abandon() error {
	if im.file != nil {
		_ = im.file.Close() // it is removed
	}
	err := im.clear()
	if err == nil {
		err = im.fs.Remove(im.path(importName))
	}
	if err == nil {
		err = im.fs.SyncDir(im.dir)
	}
	return firstError(err, im.lock.Close())
}
