package journal

import (
	"fmt"
	"hash/crc32"
	"slices"
	"time"
	"unsafe"
)

const (
	keepBytes = 1 << 20         // what a buffer may keep between bursts
	keepFor   = 2 * time.Second // how long it keeps more

	// lentBytes is the size from which a Body is written from where it lies. A smaller one is copied faster than the system
	// takes up one vector more.
	lentBytes = 4 << 10

	// batchBytes is from which size on a batch takes no further Append. A standby that was away is sent whole batches
	// (Record.Ends), and each of megabytes would be a burst of work on both nodes, for which the master's clients wait.
	batchBytes = 64 << 10
)

// A group is what goes to disk with one write and one sync: batches of one segment. A batch is the records of one or more
// Appends, and the mark that makes all of them count.
type group struct {
	opens    *segmentHeader // the segment that must be made first, or nil
	offset   int64          // in its segment
	size     int            // bytes there
	buf      []byte         // all that was copied
	lent     []lentBody     // the rest
	vectors  [][]byte       // see gather
	index    []indexEntry
	digest   uint32 // of all records of the segment so far
	firstSeq uint64
	lastSeq  uint64
	batchSeq uint64    // the first of the batch that is not marked yet
	batchAt  int64     // and where it begins in the segment
	floor    uint64    // as noted in the last mark
	since    time.Time // of the first Append
}

// lentBody is a Body that was not copied. It comes before buf[at:].
type lentBody struct {
	at   int
	body []byte
}

func (g *group) empty() bool { return g.size == 0 }

// reset empties g and lets go of what was lent.
func (g *group) reset() {
	clear(g.lent)
	clear(g.vectors)
	*g = group{buf: g.buf[:0], lent: g.lent[:0], vectors: g.vectors[:0], index: g.index[:0]}
}

// gather returns what g holds, in the order of the segment. No vector is empty.
func (g *group) gather() [][]byte {
	at := 0
	for _, l := range g.lent {
		g.vectors = append(g.vectors, g.buf[at:l.at], l.body)
		at = l.at
	}
	g.vectors = append(g.vectors, g.buf[at:])
	return g.vectors
}

// large tells whether g keeps what a burst left behind.
func (g *group) large() bool { return cap(g.buf)+cap(g.vectors)*int(unsafe.Sizeof(g.buf)) > keepBytes }

// shrink gives that back.
func (g *group) shrink() {
	if g.large() {
		g.buf, g.lent, g.vectors, g.index = nil, nil, nil, nil
	}
}

// Append adds records to the log as one: after a crash all of them are there or none. It returns before they are
// safe; Durable tells when they are. It waits while the buffer is full (a batch larger than the buffer is taken alone).
//
// A Head is copied, and so is recs. A Body may be written from where it lies: it must not change until its record is
// durable or the journal has stopped, and stays in memory as long, with all that it is a part of.
//
// It returns the error that stopped the journal, ErrClosed, or one that wraps ErrTooBig; then nothing was appended. A Seq
// that does not follow the last one, an Epoch below the last one and a Type that is not the caller's are programming
// errors and panic.
func (j *Journal) Append(recs []Record) error {
	if len(recs) == 0 {
		return nil
	}
	size, copied, err := batchSize(recs)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.awaitRoom(size); err != nil {
		return err
	}
	j.checkOrder(recs)
	if err := j.begin(size); err != nil {
		return err
	}
	first := j.pending.empty()
	j.encode(recs, copied)
	if first || j.due() { // to arm the writer's timer, or it waits for what was encoded
		signal(j.wake)
	}
	return nil
}

// batchSize is what recs take in a segment, and how much of it is copied.
func batchSize(recs []Record) (size, copied int, err error) {
	for i := range recs {
		r := &recs[i]
		n := recordBytes(len(r.Head) + len(r.Body))
		if size += n; size > MaxBatchBytes {
			return 0, 0, fmt.Errorf("append to journal: %w: more than %d bytes", ErrTooBig, MaxBatchBytes)
		}
		if copied += n; r.lends() {
			copied -= len(r.Body)
		}
	}
	return size, copied, nil
}

// checkOrder panics where the caller broke the rules; the caller holds mu.
func (j *Journal) checkOrder(recs []Record) {
	seq, epoch := j.tail.seq, j.tail.epoch
	for i := range recs {
		r := &recs[i]
		if r.Seq != seq+1 {
			panic(fmt.Sprintf("BUG: journal: seq %d appended after %d", r.Seq, seq))
		}
		if r.Epoch < epoch {
			panic(fmt.Sprintf("BUG: journal: seq %d has epoch %d after epoch %d", r.Seq, r.Epoch, epoch))
		}
		if r.Type == 0 || r.Type >= typeMark {
			panic(fmt.Sprintf("BUG: journal: seq %d has type %d", r.Seq, r.Type))
		}
		seq, epoch = r.Seq, r.Epoch
	}
}

// awaitRoom waits until size bytes may be appended; the caller holds mu.
func (j *Journal) awaitRoom(size int) error {
	for {
		for j.encoding {
			j.changed.Wait()
		}
		switch {
		case j.err != nil:
			return j.err
		case j.closing:
			return ErrClosed
		case j.hasRoom(size):
			return nil
		}
		j.waiting++
		signal(j.wake)
		j.changed.Wait()
		j.waiting--
	}
}

func (j *Journal) hasRoom(size int) bool {
	if j.unsynced > 0 && j.unsynced+size > j.opt.BufferBytes {
		return false
	}
	// A group lies in one segment, so what is pending goes before the next segment begins.
	if j.pending.takesNoMore(&j.tail, j.opt.batchBytes) {
		size += markBytes
	}
	return j.pending.empty() || j.tail.fits(size)
}

// begin prepares pending for size more bytes; the caller holds mu.
func (j *Journal) begin(size int) error {
	if !j.pending.empty() {
		return nil
	}
	g := j.pending
	if !j.tail.fits(size) {
		next, err := j.nextSegment(size)
		if err != nil {
			return err
		}
		g.opens = next
		j.tail.enter(*next)
	}
	g.offset, g.firstSeq, g.lastSeq = j.tail.offset, j.tail.seq+1, j.tail.seq
	g.batchSeq, g.batchAt = g.firstSeq, g.offset
	if size > 0 {
		g.since = time.Now()
	}
	return nil
}

// nextSegment plans the segment after the current one, large enough for a batch of size bytes.
func (j *Journal) nextSegment(size int) (*segmentHeader, error) {
	salt, err := j.randomUint64()
	if err != nil {
		return nil, fmt.Errorf("append to journal: %w", err)
	}
	return &segmentHeader{
		version:   formatVersion,
		journalID: j.id,
		id:        j.tail.segment.id + 1,
		lastID:    j.tail.segment.id + 1,
		firstSeq:  j.tail.seq + 1,
		size:      segmentSize(j.opt.SegmentBytes, size),
		salt:      salt,
		floor:     j.floor,
		epoch:     j.tail.epoch,
		chain:     j.tail.chain,
	}, nil
}

// segmentSize is the usual size, or what a batch of size bytes needs if that is more, in whole blocks.
func segmentSize(usual int64, size int) int64 {
	end := segmentHeaderBytes + int64(size) + 2*markBytes
	need := end + indexRoom(end) + markBytes
	return (max(usual, need) + segmentHeaderBytes - 1) / segmentHeaderBytes * segmentHeaderBytes
}

func (t *tail) enter(h segmentHeader) {
	t.segment, t.seed, t.offset, t.indexed, t.digest = h, h.seed(), segmentHeaderBytes, segmentHeaderBytes, 0
}

// encode adds recs to the pending group, and makes room for the bytes that are copied. The caller holds mu, which is free
// meanwhile, so that the writer can report the group before: while encoding is set, nobody else touches the pending group
// and the tail.
func (j *Journal) encode(recs []Record, copied int) {
	g, t, floor := *j.pending, j.tail, j.floor
	j.encoding = true
	j.mu.Unlock()
	g.buf = slices.Grow(g.buf, copied+2*markBytes)
	if g.takesNoMore(&t, j.opt.batchBytes) {
		g.mark(&t, floor)
	}
	for i := range recs {
		g.add(&recs[i], &t)
	}
	g.lastSeq = t.seq
	j.mu.Lock()
	j.unsynced += g.size - j.pending.size
	*j.pending, j.tail = g, t
	j.encoding = false
	j.changed.Broadcast()
}

// takesNoMore says that the last batch of g is so long that it ends before the next Append.
func (g *group) takesNoMore(t *tail, batchBytes int64) bool { return t.offset-g.batchAt >= batchBytes }

// add adds r to g, where there is room, and moves t on.
func (g *group) add(r *Record, t *tail) {
	size := len(r.Head) + len(r.Body)
	at := len(g.buf)
	g.buf = g.buf[:at+recordHeaderBytes]
	h := recordHeader{
		typ:        r.Type,
		size:       uint32(size),
		seq:        r.Seq,
		epoch:      r.Epoch,
		payloadCRC: g.addPayload(r),
		prevChain:  t.chain,
	}
	if t.offset-t.indexed >= indexEvery {
		g.index = append(g.index, indexEntry{r.Seq, t.offset})
		t.indexed = t.offset
	}
	t.chain = h.put(g.buf[at:], t.seed)
	t.digest = crc32.Update(t.digest, castagnoli, g.buf[at+recordHeaderBytes-4:at+recordHeaderBytes])
	g.buf = append(g.buf, zeros[:recordBytes(size)-recordHeaderBytes-size]...)
	g.size += recordBytes(size)
	t.offset += int64(recordBytes(size))
	t.seq, t.epoch = r.Seq, r.Epoch
}

// lends says whether the Body is not copied.
func (r *Record) lends() bool { return len(r.Body) >= lentBytes }

// addPayload adds the payload of r and returns its checksum.
func (g *group) addPayload(r *Record) (crc uint32) {
	at := len(g.buf)
	g.buf = append(g.buf, r.Head...)
	if !r.lends() {
		g.buf = append(g.buf, r.Body...)
		return crc32.Checksum(g.buf[at:], castagnoli)
	}
	g.lent = append(g.lent, lentBody{len(g.buf), r.Body})
	return crc32.Update(crc32.Checksum(r.Head, castagnoli), castagnoli, r.Body)
}

// finish ends the last batch of the pending group; the caller holds mu.
func (j *Journal) finish() {
	g := j.pending
	g.floor, g.digest = j.floor, j.tail.digest
	g.mark(&j.tail, j.floor)
}

// mark ends a batch. It promises what precedes the group: that was durable before anything of the group is written.
func (g *group) mark(t *tail, floor uint64) {
	m := mark{
		firstSeq:      g.batchSeq,
		promiseSeq:    g.firstSeq - 1,
		promiseOffset: g.offset,
		floor:         floor,
		salt:          t.segment.salt,
	}
	h := recordHeader{seq: t.seq, epoch: t.epoch, prevChain: t.chain}
	g.buf = m.append(g.buf, h, t.seed)
	g.size += markBytes
	t.offset += markBytes
	g.batchSeq, g.batchAt = t.seq+1, t.offset
}
