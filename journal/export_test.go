package journal

import "io"

// WithRandom makes the identities and salts of a journal predictable.
func WithRandom(o Options, random io.Reader) Options {
	o.random = random
	return o
}

// Quiesce waits until the housekeeper has nothing to do.
func (j *Journal) Quiesce() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.spare.wanted || j.spare.making || len(j.doomed) > 0 {
		j.changed.Wait()
	}
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

// SegmentImage is the first segment of a journal as a writer would leave it that has several batches on the way at a
// time: promised[i] says how many batches were durable when batch i was written. ends are the offsets after each batch.
func SegmentImage(size int64, batches [][]Record, promised []int) (name string, image []byte, ends []int64) {
	h := segmentHeader{journalID: [16]byte{7}, id: 1, firstSeq: 1, size: size, salt: 77}
	j := &Journal{id: h.journalID, pending: new(batch)}
	j.tail.enter(h)
	ends = []int64{segmentHeaderBytes}
	lasts := []uint64{0}
	image = h.encode()
	for i, recs := range batches {
		j.pending = &batch{offset: j.tail.offset, firstSeq: j.tail.seq + 1}
		n, _ := batchSize(recs)
		j.pending.buf = make([]byte, 0, n+markBytes)
		for k := range recs {
			j.encode(&recs[k])
		}
		m := mark{firstSeq: recs[0].Seq, promiseSeq: lasts[promised[i]], promiseOffset: ends[promised[i]], salt: h.salt}
		b := m.append(j.pending.buf, recordHeader{seq: j.tail.seq, epoch: j.tail.epoch, prevChain: j.tail.chain}, j.tail.seed)
		j.tail.offset += markBytes
		image = append(image, b...)
		ends, lasts = append(ends, j.tail.offset), append(lasts, j.tail.seq)
	}
	return h.name(), append(image, make([]byte, size-int64(len(image)))...), ends
}
