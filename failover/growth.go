package failover

import "sort"

// A growth remembers how the log grew, in octets of content, so that it can be told how far behind somebody is.
type growth struct {
	every int64  // octets between two marks
	first uint64 // what is known begins after this Seq
	base  int64  // total there
	total int64  // octets ever added
	marks []growthMark
}

type growthMark struct {
	seq   uint64
	total int64 // up to and with seq
}

const growthMarks = 16384

// init sets the grain: a lag of reach octets has as many marks as are kept.
func (g *growth) init(reach int64) { g.every = max(16<<10, reach/growthMarks) }

func (g *growth) reset(seq uint64) { g.first, g.base, g.total, g.marks = seq, 0, 0, nil }

// add notes that the log has grown up to seq. It says whether that made a mark.
func (g *growth) add(seq uint64, octets int) (marked bool) {
	g.total += int64(octets)
	last := g.base
	if n := len(g.marks); n > 0 {
		last = g.marks[n-1].total
	}
	if g.total-last < g.every {
		return false
	}
	if len(g.marks) == 2*growthMarks {
		g.forget(growthMarks)
	}
	g.marks = append(g.marks, growthMark{seq, g.total})
	return true
}

// forget makes what the n oldest marks know the unknown past.
func (g *growth) forget(n int) {
	g.first, g.base = g.marks[n-1].seq, g.marks[n-1].total
	g.marks = append(g.marks[:0], g.marks[n:]...)
}

// since is how many octets at most were added after seq, of those that are known, and how many records lie before these.
func (g *growth) since(seq uint64) (octets int64, before uint64) {
	if seq < g.first {
		return g.total - g.base, g.first - seq
	}
	n := sort.Search(len(g.marks), func(i int) bool { return g.marks[i].seq > seq })
	if n == 0 {
		return g.total - g.base, 0
	}
	return g.total - g.marks[n-1].total, 0
}
