package journal

import (
	"slices"
	"sort"
)

const (
	seqsEach  = 1 << 16 // range of Seqs in one group of a seqSet
	seqsDense = 4 << 10 // members of a group above which a bit for each Seq takes less room
)

// seqSet says which Seqs a sparse segment holds. It takes two bytes for each, or a bit for each of the range, whichever is
// less. Seqs are added in order.
type seqSet struct {
	groups []seqGroup // in order, none empty
}

// seqGroup holds the Seqs with the same upper 48 bits.
type seqGroup struct {
	upper uint64
	lower []uint16 // in order; nil when dense
	dense []uint64 // a bit for each; nil when not
}

func (s *seqSet) add(seq uint64) {
	upper, lower := seq/seqsEach, uint16(seq%seqsEach)
	if n := len(s.groups); n == 0 || s.groups[n-1].upper != upper {
		s.pack()
		s.groups = append(s.groups, seqGroup{upper: upper})
	}
	s.groups[len(s.groups)-1].add(lower)
}

// pack gives back room that the last group does not need.
func (s *seqSet) pack() {
	if n := len(s.groups); n > 0 {
		s.groups[n-1].lower = slices.Clip(s.groups[n-1].lower)
	}
}

func (s *seqSet) has(seq uint64) bool {
	upper := seq / seqsEach
	n := sort.Search(len(s.groups), func(i int) bool { return s.groups[i].upper >= upper })
	return n < len(s.groups) && s.groups[n].upper == upper && s.groups[n].has(uint16(seq%seqsEach))
}

func (g *seqGroup) add(lower uint16) {
	if g.dense == nil && len(g.lower) == seqsDense {
		g.dense = make([]uint64, seqsEach/64)
		for _, l := range g.lower {
			g.dense[l/64] |= 1 << (l % 64)
		}
		g.lower = nil
	}
	if g.dense != nil {
		g.dense[lower/64] |= 1 << (lower % 64)
		return
	}
	g.lower = append(g.lower, lower)
}

func (g *seqGroup) has(lower uint16) bool {
	if g.dense != nil {
		return g.dense[lower/64]&(1<<(lower%64)) != 0
	}
	_, found := slices.BinarySearch(g.lower, lower)
	return found
}
