package journal

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// Report is what Open found in a directory, or Verify.
type Report struct {
	ID        [16]byte
	Segments  int
	Sparse    int             // segments of which some records have been cleaned away
	Records   uint64          // in batches that are whole; Open does not count those of sparse segments
	First     uint64          // Seq of the first record, Last+1 when there is none
	Last      uint64          // Seq of the last record of a whole batch
	Epochs    []uint32        // Open knows only those at the ends of segments that it need not read
	Bytes     int64           // of all segment files
	TornBytes int64           // after the last whole batch: what an interrupted write left
	Locked    error           // wraps ErrLocked when a process has the journal open: then torn bytes mean nothing
	Damage    []*CorruptError // empty: the journal is sound
}

func (v *survey) report() Report {
	r := Report{ID: v.id, Segments: len(v.found), First: 1, Bytes: v.total, Damage: v.damage}
	for i, f := range v.found {
		if i == 0 {
			r.First = f.firstSeq
		}
		if f.sparse {
			r.Sparse++
		}
		r.Last = f.position.Seq
		r.Records += f.count()
		r.TornBytes += f.torn()
		r.Epochs = append(r.Epochs, f.epochs...)
	}
	r.Epochs = slices.Compact(r.Epochs)
	return r
}

// Verify reads the whole journal in dir, checks every checksum and changes nothing; it needs no lock, and what a broker does
// meanwhile is not taken for damage. fsys nil means OS; progress may be nil. Damage is in the Report; the error is one that kept Verify from looking.
func Verify(fsys FS, dir string, progress func(done, total int64)) (Report, error) {
	fsys = steadily(fsys, nil)
	v, locked, err := observe(survey{fs: fsys, dir: dir, deep: true, progress: progress}, look)
	if err != nil {
		return Report{}, fmt.Errorf("verify journal %s: %w", dir, err)
	}
	defer v.close()
	r := v.report()
	r.Locked = locked
	return r, nil
}

// Dump writes a line for each record, commit mark and index of the journal in dir: seq, epoch, type, bytes of payload, file and
// offset, then what describe says of a record (nil: nothing). A place that is not valid gets a line too, and Dump goes on
// with the next segment. It changes nothing and needs no lock: of a journal that is in use it dumps the segments that there
// are at one moment. fsys nil means OS.
func Dump(fsys FS, dir string, w io.Writer, describe func(Record) string) error {
	fsys = steadily(fsys, nil)
	if describe == nil {
		describe = func(Record) string { return "" }
	}
	v, _, err := observe(survey{fs: fsys, dir: dir, deep: true}, headers)
	if err != nil {
		return fmt.Errorf("dump journal %s: %w", dir, err)
	}
	defer v.close()
	for _, f := range v.found {
		if err := v.dump(f, w, describe); err != nil {
			return fmt.Errorf("dump journal %s: %w", dir, err)
		}
	}
	for _, d := range v.damage {
		if _, err := fmt.Fprintf(w, "damage file=%s offset=%d: %s\n", d.File, d.Offset, d.Reason); err != nil {
			return err
		}
	}
	return nil
}

// headers looks at no more of a directory than the headers of its segments.
func headers(v *survey) (*survey, error) {
	if err := v.list(); err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

func (v *survey) dump(f *found, w io.Writer, describe func(Record) string) (err error) {
	if f.file == nil {
		if f.file, err = v.fs.Open(v.path(f.name()), false); err != nil {
			return err
		}
		defer f.close()
	}
	sc := newScanner(f.file, &f.segmentHeader, segmentHeaderBytes, min(f.bytes, f.size), nil)
	for {
		h, payload, offset, err := sc.next()
		var damage *CorruptError
		switch {
		case errors.As(err, &damage):
			return v.dumpEnd(w, f, &sc, damage)
		case err != nil:
			return err
		}
		if err := dumpRecord(w, sc.name, offset, h, payload, describe); err != nil {
			return err
		}
		if h.isSeal() {
			return nil
		}
	}
}

// dumpEnd writes why nothing more is dumped of f. That the last segment ends with zeros is as it should be.
func (v *survey) dumpEnd(w io.Writer, f *found, sc *scanner, damage *CorruptError) error {
	reason := damage.Reason
	if f == v.found[len(v.found)-1] && !f.sparse {
		after, err := sc.aftermath(damage.Offset)
		switch {
		case err == nil && f.unfinished(after) == damage.Offset:
			reason = "the log ends here"
		case v.hold:
			reason += "; the journal is in use, it may be what is written just now"
		case err != nil:
			return err
		}
	}
	_, err := fmt.Fprintf(w, "end file=%s offset=%d: %s\n", damage.File, damage.Offset, reason)
	return err
}

func dumpRecord(w io.Writer, name string, offset int64, h recordHeader, payload []byte, describe func(Record) string) error {
	switch h.typ {
	case typeIndex:
		x := parseIndex(payload)
		_, err := fmt.Fprintf(w, "index records=%d digest=%08x entries=%d file=%s offset=%d\n",
			x.records, x.digest, len(x.entries), name, offset)
		return err
	case typeMark:
		m := parseMark(payload)
		_, err := fmt.Fprintf(w, "mark seq=%d..%d epoch=%d promise=%d floor=%d sealed=%t file=%s offset=%d\n",
			m.firstSeq, h.seq, h.epoch, m.promiseSeq, m.floor, h.isSeal(), name, offset)
		return err
	}
	text := describe(h.record(payload))
	if text != "" {
		text = " " + text
	}
	_, err := fmt.Fprintf(w, "record seq=%d epoch=%d type=%d bytes=%d file=%s offset=%d%s\n",
		h.seq, h.epoch, h.typ, h.size, name, offset, text)
	return err
}
