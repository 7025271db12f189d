package journal

import (
	"io"
	"slices"
	"time"
)

// WithRandom makes the identities and salts of a journal predictable.
func WithRandom(o Options, random io.Reader) Options {
	o.random = random
	return o
}

// KeepTrimmed sets how long the file of a trimmed segment waits to be recycled.
func KeepTrimmed(o Options, keep time.Duration) Options {
	o.keepTrimmed = keep
	return o
}

// EndBatches sets from which size on a batch takes no further Append.
func EndBatches(o Options, size int64) Options {
	o.batchBytes = size
	return o
}

// Unsynced is how many octets count as appended and not yet durable.
func (j *Journal) Unsynced() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.unsynced
}

// Quiesce waits until the housekeeper has nothing to do.
func (j *Journal) Quiesce() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.hasChores() {
		j.changed.Wait()
	}
}

// MakeSpare does what the housekeeper does when it is called just now.
func (j *Journal) MakeSpare() { j.makeSpare() }

func (j *Journal) hasChores() bool {
	stale := slices.ContainsFunc(j.doomed, func(s *segment) bool { return !j.keeps(s) })
	idle := j.spare.file == nil && !j.closing && j.err == nil && j.nextRecyclable() >= 0
	return j.spare.wanted || j.spare.making || stale || idle
}

// Promised waits until a mark has promised all that is durable, if there is room for one.
func (j *Journal) Promised() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.promiseDue || j.unpromised && j.tail.fits(0) {
		j.changed.Wait()
	}
}

// Cleaned waits until the cleaner has done what can be done by the newest census.
func (j *Journal) Cleaned() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for !j.closing && j.err == nil && (j.cleaning || j.censusUsable()) {
		j.changed.Wait()
	}
}

// ScrubAll checks all sealed segments, of a journal that does not scrub, and returns what it found damaged.
func (j *Journal) ScrubAll() (errs []error) {
	c := cleaner{j: j, pace: pace{rate: j.opt.CleanRate, quit: j.quit}}
	j.mu.Lock()
	all := j.segments
	j.mu.Unlock()
	for i, s := range all[:len(all)-1] {
		if err := c.scrub(s, all[i+1]); err != nil {
			errs = append(errs, err)
		} else {
			s.known.damaged = false
		}
	}
	return errs
}

// BufferCap is the memory that the idle journal holds for appended records.
func (j *Journal) BufferCap() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := cap(j.pending.buf)
	if j.idle != nil {
		n += cap(j.idle.buf)
	}
	return n
}

// KeepsHouse tells whether a spare is being made or a trimmed segment removed.
func (j *Journal) KeepsHouse() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.hasChores()
}

// Thin rewrites count sealed segments of an open journal, from the one at place first on, as one that holds the records
// that keep wants.
func (j *Journal) Thin(first, count int, keep func(seq uint64) bool) error {
	j.mu.Lock()
	old, next := j.segments[first:first+count], j.segments[first+count].segmentHeader
	j.mu.Unlock()
	salt, err := j.randomUint64()
	if err != nil {
		return err
	}
	out, err := j.opt.FS.Create(j.path("clean.tmp"))
	if err != nil {
		return err
	}
	w := newSparseWriter(out, old[0].segmentHeader, old[count-1].lastID, salt)
	for _, s := range old {
		file, err := j.files.hold(s)
		if err != nil {
			return err
		}
		defer j.files.release(s)
		err = s.each(file, new([]byte), s.stretch(nil, 0), s.lastSeq.Load(), func(h recordHeader, payload []byte) error {
			if !keep(h.seq) {
				return nil
			}
			return w.add(h, payload)
		})
		if err != nil {
			return err
		}
	}
	s, err := w.finish(next)
	if err := firstError(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	err = firstError(j.opt.FS.Rename(j.path("clean.tmp"), j.path(s.name())), j.opt.FS.SyncDir(j.opt.Dir))
	if err != nil {
		return err
	}
	j.replace(old, s)
	for _, o := range old[1:] {
		err = firstError(err, j.opt.FS.Remove(j.path(o.name())))
	}
	return err
}

// CacheUse is what Get's cache holds.
func (j *Journal) CacheUse() (blocks int, bytes int64) {
	j.cache.mu.Lock()
	defer j.cache.mu.Unlock()
	return len(j.cache.blocks), j.cache.bytes
}

// EncodedIndex is the index record of a segment that holds two records, at 4096 and at 70000.
func EncodedIndex() []byte {
	x := &index{records: 2, digest: 0x01020304, entries: []indexEntry{{9, 70000}}}
	return x.append(nil, recordHeader{seq: 10, epoch: 3, prevChain: 0x0a0b0c0d}, 0x11223344)
}

// SegmentImage is the first segment of a journal as a writer would leave it that has several batches on the way at a
// time: promised[i] says how many batches were durable when batch i was written. ends are the offsets after each batch.
func SegmentImage(size int64, batches [][]Record, promised []int) (name string, image []byte, ends []int64) {
	h := segmentHeader{version: formatVersion, lastID: 1, journalID: [16]byte{7}, id: 1, firstSeq: 1, size: size, salt: 77}
	j := &Journal{id: h.journalID, pending: new(group)}
	j.tail.enter(h)
	ends = []int64{segmentHeaderBytes}
	lasts := []uint64{0}
	image = h.encode()
	for i, recs := range batches {
		j.pending = &group{offset: j.tail.offset, firstSeq: j.tail.seq + 1, batchSeq: j.tail.seq + 1}
		_, copied, _ := batchSize(recs)
		j.pending.buf = make([]byte, 0, copied+markBytes)
		for k := range recs {
			j.pending.add(&recs[k], &j.tail)
		}
		m := mark{firstSeq: recs[0].Seq, promiseSeq: lasts[promised[i]], promiseOffset: ends[promised[i]], salt: h.salt}
		h := recordHeader{seq: j.tail.seq, epoch: j.tail.epoch, prevChain: j.tail.chain}
		j.pending.buf = m.append(j.pending.buf, h, j.tail.seed)
		j.tail.offset += markBytes
		image = append(image, slices.Concat(j.pending.gather()...)...)
		ends, lasts = append(ends, j.tail.offset), append(lasts, j.tail.seq)
	}
	return h.name(), append(image, make([]byte, size-int64(len(image)))...), ends
}
