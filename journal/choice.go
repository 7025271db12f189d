package journal

const (
	sparseBytes = segmentHeaderBytes + recordHeaderBytes + indexFixedBytes + markBytes // of a sparse segment without records
	runSegments = 8                                                                    // what one pass reads at most, in segments of the usual size
	runFiles    = 64                                                                   // how many files one pass takes together at most
)

// choice decides what to clean. Everything in it is in bytes.
type choice struct {
	segment       int64   // the usual size of a segment
	amplification float64 // of what is live to what its file may have
}

// candidate is what is known of a segment without reading it.
type candidate struct {
	bytes  int64 // of its file
	live   int64 // estimate: of the records in it that will have to stay
	barred bool  // must not be touched
}

// pays tells whether to write kept bytes of records anew to get rid of that many adjacent files. It does when the new file
// is small enough for what it replaces, a file itself counting as much as an eighth of a segment: so neither the bytes nor the
// number of files grow. What a pass writes is at most 1/(amplification-1) times what it gives back, so that cleaning costs
// a fixed number of bytes for each that is ever appended.
func (c choice) pays(files int, bytes, kept int64) bool {
	perFile := c.segment / 8
	return c.amplification*float64(kept+sparseBytes) <= float64(bytes+int64(files-1)*perFile) && c.fits(files, kept)
}

// fits tells whether what is kept of that many files may be one segment.
func (c choice) fits(files int, kept int64) bool { return files == 1 || kept+sparseBytes <= c.segment }

// best returns the run of neighbours [i, j) that gives back most for what it costs, the oldest of equals: acknowledgements
// can go only after what they settled. i is j when none pays.
func (c choice) best(all []candidate) (i, j int) {
	most := 0.0
	for from := range all {
		var bytes, live int64
		for to := from; to < len(all) && !all[to].barred; to++ {
			files := to - from + 1
			bytes, live = bytes+all[to].bytes, live+all[to].live
			if files > 1 && (files > runFiles || bytes > runSegments*c.segment || !c.fits(files, live)) {
				break
			}
			gain := float64(bytes-live-sparseBytes) + float64(int64(files-1)*c.segment/8)
			if score := gain / float64(bytes+live); score > most && c.pays(files, bytes, live) {
				i, j, most = from, to+1, score
			}
		}
	}
	return i, j
}
