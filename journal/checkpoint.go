package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"

	"go.uber.org/zap"
)

const (
	checkpointName    = "checkpoint"
	checkpointNewName = "checkpoint.tmp"
	cleanName         = "clean.tmp"
	checkpointBadName = "checkpoint.bad" // one that cannot be used, kept for whoever wants to look

	checkpointVersion     = 1
	checkpointMagic       = "BATONCKP"
	checkpointHeaderBytes = 56
	partHeaderBytes       = 8
	partsEndBytes         = partHeaderBytes + 8

	// syncEach is how much of a large file in the background is written between two syncs, so that no large flush delays
	// the syncs of batches.
	syncEach = 4 << 20
)

// noLimit is the limit of a journal without a checkpoint, or where nobody needs what Retain retains.
const noLimit = math.MaxUint64 - 1

// checkpoint is what the journal keeps of one.
type checkpoint struct {
	checkpointHeader
	parts [][]byte
}

// checkpointHeader begins a checkpoint file. README.md has the picture.
type checkpointHeader struct {
	journalID [16]byte
	from      uint64 // a start reads the log from here on
	upto      uint64 // the checkpoint may know of records up to here
	chain     uint32 // of the record upto: another history of this journal has another one
}

func (h *checkpointHeader) encode() []byte {
	b := make([]byte, checkpointHeaderBytes)
	copy(b, checkpointMagic)
	binary.LittleEndian.PutUint16(b[8:], checkpointVersion)
	binary.LittleEndian.PutUint16(b[10:], checkpointVersion) // the oldest reader that understands it
	// b[12:16] are flags, of which none is in use yet.
	copy(b[16:], h.journalID[:])
	binary.LittleEndian.PutUint64(b[32:], h.from)
	binary.LittleEndian.PutUint64(b[40:], h.upto)
	binary.LittleEndian.PutUint32(b[48:], h.chain)
	binary.LittleEndian.PutUint32(b[52:], crc32.Checksum(b[:52], castagnoli))
	return b
}

// parseCheckpoint reads a whole checkpoint file. The parts alias b.
func parseCheckpoint(b []byte) (*checkpoint, error) {
	h, err := parseCheckpointHeader(b)
	if err != nil {
		return nil, err
	}
	c := &checkpoint{checkpointHeader: h}
	return c, c.parseParts(b, binary.LittleEndian.Uint32(b[52:]))
}

func parseCheckpointHeader(b []byte) (h checkpointHeader, err error) {
	if len(b) < checkpointHeaderBytes || string(b[:8]) != checkpointMagic {
		return h, errors.New("this is no checkpoint")
	}
	if crc32.Checksum(b[:52], castagnoli) != binary.LittleEndian.Uint32(b[52:]) {
		return h, errors.New("the checksum of its header does not match")
	}
	if need, flags := binary.LittleEndian.Uint16(b[10:]), binary.LittleEndian.Uint32(b[12:]); need > checkpointVersion || flags != 0 {
		return h, fmt.Errorf("%w: it needs a reader of format %d (flags %#x), this one reads up to %d",
			ErrNewer, need, flags, checkpointVersion)
	}
	return checkpointHeader{
		journalID: [16]byte(b[16:32]),
		from:      binary.LittleEndian.Uint64(b[32:]),
		upto:      binary.LittleEndian.Uint64(b[40:]),
		chain:     binary.LittleEndian.Uint32(b[48:]),
	}, nil
}

// parseParts reads what follows the header. Each checksum starts from the one before, so that parts cannot change places.
func (c *checkpoint) parseParts(b []byte, crc uint32) error {
	for at := checkpointHeaderBytes; ; {
		if len(b)-at < partHeaderBytes {
			return fmt.Errorf("it ends at offset %d, where a part is due", len(b))
		}
		size, want := int64(binary.LittleEndian.Uint32(b[at:])), binary.LittleEndian.Uint32(b[at+4:])
		body := b[at+partHeaderBytes:]
		last := size == 0
		if last {
			size = partsEndBytes - partHeaderBytes
		}
		if int64(len(body)) < size {
			return fmt.Errorf("the part at offset %d reaches past its end", at)
		}
		body = body[:size:size]
		if crc = partCRC(crc, b[at:at+4], body); crc != want {
			return fmt.Errorf("the checksum of the part at offset %d does not match", at)
		}
		at += partHeaderBytes + int(size)
		switch {
		case !last:
			c.parts = append(c.parts, body)
		case binary.LittleEndian.Uint64(body) != uint64(len(c.parts)) || at != len(b):
			return fmt.Errorf("it ends at offset %d after %d parts, and should not", at, len(c.parts))
		default:
			return nil
		}
	}
}

func partCRC(before uint32, size, body []byte) uint32 {
	return crc32.Update(crc32.Update(before, castagnoli, size), castagnoli, body)
}

// Checkpoint returns the checkpoint that Open found, until another is written: reading the log from Seq from+1 on brings
// its parts up to date. They may be aliased for ever, and must not be written to. ok is false when there is none that can
// be used; then the whole log is to be read.
func (j *Journal) Checkpoint() (from, upto uint64, parts [][]byte, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.checkpoint == nil {
		return 0, 0, nil, false
	}
	return j.checkpoint.from, j.checkpoint.upto, j.checkpoint.parts, true
}

// WriteCheckpoint replaces the checkpoint of the journal, durably, by one with the parts that the given function yields;
// none may be empty or have more than 4 GiB. It knows of no record after upto, which must be durable, and a start from it
// reads the log from Seq from+1 on: from now on, nothing after from is trimmed or cleaned.
//
// It blocks while it writes. An error leaves the old checkpoint in place, unless the disk is full and segments could be
// trimmed without it; it wraps ErrTrimmed when the log has been
// trimmed or cleaned beyond from, and is ErrClosed after Close. A directory that cannot be synced stops the journal.
func (j *Journal) WriteCheckpoint(from, upto uint64, parts func(yield func(part []byte) error) error) error {
	j.checkpointing.Lock()
	defer j.checkpointing.Unlock()
	if err := j.writeCheckpoint(from, upto, parts); err != nil {
		return fmt.Errorf("write checkpoint from seq %d to %d: %w", from, upto, err)
	}
	return nil
}

func (j *Journal) writeCheckpoint(from, upto uint64, parts func(yield func(part []byte) error) error) error {
	if from > upto || upto > j.Durable() {
		return fmt.Errorf("the log is durable up to seq %d", j.Durable())
	}
	before, err := j.limitTo(from)
	if err != nil {
		return err
	}
	if err := j.createCheckpoint(from, upto, parts); err != nil {
		j.setLimit(before)
		_ = j.opt.FS.Remove(j.path(checkpointNewName)) // or the next Open does
		if noSpace(err) && j.checkpointPins() {
			return firstError(j.dropCheckpoint(), err)
		}
		return err
	}
	// From here on either of the two may be found after a crash: the lower limit stays until it is known which.
	if err := j.opt.FS.Rename(j.path(checkpointNewName), j.path(checkpointName)); err != nil {
		return err
	}
	if err := j.opt.FS.SyncDir(j.opt.Dir); err != nil {
		return j.doubtDirectory(err)
	}
	j.mu.Lock()
	j.checkpoint = nil // the one that Open found has been replaced
	j.mu.Unlock()
	j.setLimit(from)
	return nil
}

// checkpointPins tells whether segments could be trimmed if there were no checkpoint.
func (j *Journal) checkpointPins() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.trimmed(j.trimTo)) > len(j.trimmed(j.floor))
}

// dropCheckpoint removes the checkpoint. Where the disk has no room for a newer one, what it keeps from being trimmed would
// stay, and there would never be any. A start without it only takes longer.
func (j *Journal) dropCheckpoint() error {
	if err := j.opt.FS.Remove(j.path(checkpointName)); err != nil {
		return err
	}
	if err := j.opt.FS.SyncDir(j.opt.Dir); err != nil {
		return j.doubtDirectory(err)
	}
	j.log.Warn("the disk has no room for a new checkpoint, and the old one keeps segments that are not needed: it was removed")
	j.mu.Lock()
	j.checkpoint = nil
	j.mu.Unlock()
	j.setLimit(noLimit)
	return nil
}

// limitTo sees that nothing after from is trimmed or cleaned while a checkpoint with it comes into being. It returns the
// limit before.
func (j *Journal) limitTo(from uint64) (before uint64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.err != nil:
		return 0, j.err
	case j.closing:
		return 0, ErrClosed
	case j.floor > from+1:
		return 0, fmt.Errorf("%w: the first needed is seq %d", ErrTrimmed, j.floor)
	case j.cleanedUpto > from:
		return 0, fmt.Errorf("%w: the log is cleaned up to seq %d", ErrTrimmed, j.cleanedUpto)
	}
	before = j.limit
	j.limit = min(j.limit, from)
	return before, nil
}

// setLimit says after which Seq nothing may be trimmed or cleaned, and what was held back by it so far can go.
func (j *Journal) setLimit(limit uint64) {
	j.mu.Lock()
	j.limit = limit
	j.raiseFloor()
	j.tryCensus()
	j.mu.Unlock()
	signal(j.wake)
}

// createCheckpoint writes and syncs the new file under its temporary name.
func (j *Journal) createCheckpoint(from, upto uint64, parts func(yield func(part []byte) error) error) error {
	at, err := j.PositionAt(upto)
	if err != nil {
		return err
	}
	file, err := j.opt.FS.Create(j.path(checkpointNewName))
	if err != nil {
		return err
	}
	header := (&checkpointHeader{journalID: j.id, from: from, upto: upto, chain: at.Chain}).encode()
	w := partWriter{file: file, buf: header, crc: binary.LittleEndian.Uint32(header[len(header)-4:])}
	err = parts(func(part []byte) error {
		if j.stopped() {
			return firstError(j.failure(), ErrClosed)
		}
		return w.add(part)
	})
	if err == nil {
		err = w.finish()
	}
	return firstError(err, file.Close())
}

// partWriter writes the parts of a checkpoint.
type partWriter struct {
	file   File
	buf    []byte // not written yet
	offset int64  // in file, of buf
	crc    uint32 // of the last part
	count  uint64
}

func (w *partWriter) add(part []byte) error {
	switch {
	case len(part) == 0:
		panic("BUG: journal: a checkpoint has an empty part")
	case len(part) > math.MaxUint32:
		return fmt.Errorf("a part has %d bytes", len(part))
	}
	w.count++
	return w.put(uint32(len(part)), part)
}

func (w *partWriter) put(size uint32, body []byte) error {
	var h [partHeaderBytes]byte
	binary.LittleEndian.PutUint32(h[:], size)
	w.crc = partCRC(w.crc, h[:4], body)
	binary.LittleEndian.PutUint32(h[4:], w.crc)
	if err := w.write(h[:]); err != nil {
		return err
	}
	return w.write(body)
}

func (w *partWriter) finish() error {
	err := w.put(0, binary.LittleEndian.AppendUint64(nil, w.count))
	if err == nil {
		err = w.flush()
	}
	if err == nil {
		err = w.file.Sync()
	}
	return err
}

func (w *partWriter) write(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), syncEach-len(w.buf))
		w.buf = append(w.buf, b[:n]...)
		b = b[n:]
		if len(w.buf) < syncEach {
			break
		}
		if err := w.flush(); err != nil {
			return err
		}
		if err := w.file.Datasync(); err != nil {
			return err
		}
	}
	return nil
}

func (w *partWriter) flush() error {
	err := writeAt(w.file, w.buf, w.offset)
	w.offset += int64(len(w.buf))
	w.buf = w.buf[:0]
	return err
}

// loadCheckpoint reads the checkpoint, if there is one, during Open. One that cannot be used is set aside, for what it
// forbids to trim and clean is forbidden no more. It must not come back, so an error of that is one of Open.
func (j *Journal) loadCheckpoint() error {
	for _, s := range j.segments {
		if s.sparse {
			j.cleanedUpto = s.lastSeq.Load()
		}
	}
	b, err := readAll(j.opt.FS, j.path(checkpointName), math.MaxInt64)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var c *checkpoint
	if err == nil {
		c, err = parseCheckpoint(b)
	}
	if err == nil {
		err = j.checkCheckpoint(&c.checkpointHeader)
	}
	if err == nil {
		j.checkpoint, j.limit = c, c.from
		return nil
	}
	j.log.Warn("the checkpoint cannot be used; the whole log will be read",
		zap.String("kept_as", checkpointBadName), zap.Error(err))
	err = j.opt.FS.Rename(j.path(checkpointName), j.path(checkpointBadName))
	if err == nil || errors.Is(err, fs.ErrNotExist) { // there was none, although it could not be opened for another reason
		err = j.opt.FS.SyncDir(j.opt.Dir)
	}
	if err != nil {
		return fmt.Errorf("set the checkpoint aside: %w", err)
	}
	return nil
}

// checkCheckpoint tells why the log that was found is not the one that the checkpoint speaks of.
func (j *Journal) checkCheckpoint(h *checkpointHeader) error {
	switch {
	case h.journalID != j.id:
		return fmt.Errorf("it belongs to journal %x, this is %x", h.journalID, j.id)
	case h.from > h.upto || h.upto > j.tail.seq:
		return fmt.Errorf("it covers seq %d to %d, the log ends with %d", h.from, h.upto, j.tail.seq)
	case h.from+1 < j.floor || h.from < j.cleanedUpto:
		return fmt.Errorf("the log after seq %d, where it begins, has been trimmed or cleaned", h.from)
	}
	at, err := j.PositionAt(h.upto)
	if err == nil && at.Chain != h.chain {
		err = fmt.Errorf("the log had another record with seq %d when it was written", h.upto)
	}
	return err
}
