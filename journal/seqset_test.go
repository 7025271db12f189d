package journal

import (
	"math/rand/v2"
	"testing"
)

func TestSeqSet(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 0))
	var s seqSet
	want := map[uint64]bool{}
	// Stretches of all densities, from within a group to beyond the next, far apart, and the first and last Seqs there are.
	seq, end := uint64(0), ^uint64(0)
	for _, every := range []uint64{1, 3000, 2, 40, 15, 17} {
		for range seqsEach / 4 * 7 {
			if r.Uint64N(every) == 0 {
				s.add(seq)
				want[seq] = true
			}
			seq++
		}
		seq += r.Uint64N(1 << 40)
	}
	s.add(end)
	want[end] = true
	for seq := range want {
		for _, probe := range []uint64{seq - 1, seq, seq + 1, seq + seqsEach, seq ^ 1<<41} {
			if s.has(probe) != want[probe] {
				t.Fatalf("has(%d) = %t", probe, !want[probe])
			}
		}
	}
	if (&seqSet{}).has(0) {
		t.Error("the empty set has a member")
	}
}
