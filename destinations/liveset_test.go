package destinations

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveLive is what a liveSet knows, by Seq.
type naiveLive map[uint64]int64

func (n naiveLive) seqs() (seqs []uint64) {
	for seq := range n {
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	return seqs
}

// TestLiveSetAgainstNaive adds mostly at the end and removes mostly from the
// front, in phases that fill and that drain; now and then the log skips ahead,
// something old lives again, and a picture is taken, which must stay as it was.
func TestLiveSetAgainstNaive(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 2))
		l, n := &liveSet{}, naiveLive{}
		var pictures []stretches
		var then []naiveLive
		var seq uint64
		for step := range 20_000 {
			fill := step / 4000 % 2
			switch op := r.IntN(1000); {
			case op < 350+250*fill:
				seq++
				n[seq] = 100 + r.Int64N(1000)
				l.add(seq, n[seq])
			case op < 352:
				seq += r.Uint64N(5000)
			case op < 354:
				if old := r.Uint64N(seq + 1); n[old] == 0 && old > 0 {
					n[old] = 7
					l.add(old, 7)
				}
			case op == 999:
				copied := naiveLive{}
				for seq, size := range n {
					copied[seq] = size
				}
				pictures, then = append(pictures, l.picture()), append(then, copied)
			default:
				removeSome(r, l, n, seq)
			}
			if step%1999 == 0 {
				compareLive(t, l.stretches, n)
				if oldest := l.oldestOr(never); (oldest != never) != (len(n) > 0) || len(n) > 0 && oldest != n.seqs()[0] {
					t.Fatalf("seed %d step %d: oldest is %d", seed, step, oldest)
				}
			}
		}
		for i, p := range pictures {
			compareLive(t, p, then[i])
			compareBytes(t, r, p, then[i])
		}
	}
}

// removeSome removes a Seq: near the end, or somewhere; or one that does not
// live.
func removeSome(r *rand.Rand, l *liveSet, n naiveLive, last uint64) {
	for range 20 {
		seq := last - min(last, r.Uint64N(20))
		if r.IntN(2) == 0 {
			seq = r.Uint64N(last + 2)
		}
		l.remove(seq, n[seq])
		if n[seq] > 0 {
			delete(n, seq)
			return
		}
	}
}

func compareLive(t *testing.T, l stretches, n naiveLive) {
	t.Helper()
	var seqs []uint64
	sizes := map[uint64]int64{}
	for i := range l {
		before := len(seqs)
		l[i].each(func(offset uint16) { seqs = append(seqs, l[i].number<<stretchBits+uint64(offset)) })
		if len(seqs)-before != int(l[i].count) {
			t.Fatalf("stretch %d counts %d and has %d", l[i].number, l[i].count, len(seqs)-before)
		}
		sizes[l[i].number] = l[i].bytes
	}
	if !slices.Equal(seqs, n.seqs()) {
		t.Fatalf("live are %d, want %d", seqs, n.seqs())
	}
	for seq, size := range n {
		if !l.has(seq) || l.has(seq+1) != (n[seq+1] > 0) {
			t.Fatalf("has says something else about %d or the next", seq)
		}
		sizes[seq>>stretchBits] -= size
	}
	for number, size := range sizes {
		if size != 0 {
			t.Fatalf("stretch %d counts %d octets too many", number, size)
		}
	}
}

// compareBytes compares estimates: whole stretches are exact, of the two at the
// ends it is the share of those that live.
func compareBytes(t *testing.T, r *rand.Rand, p stretches, n naiveLive) {
	t.Helper()
	l := &Live{stretches: p}
	for range 100 {
		first := r.Uint64N(40_000)
		last := first + r.Uint64N(10_000)
		var least, most int64
		for seq, size := range n {
			if first <= seq && seq <= last {
				least += size
			}
			if first>>stretchBits <= seq>>stretchBits && seq>>stretchBits <= last>>stretchBits {
				most += size
			}
		}
		got := l.Bytes(first, last)
		if first&offsetMask == 0 && last&offsetMask == offsetMask {
			least = most
		}
		// Sizes differ by a factor of 11, but for the few of 7 octets.
		if got > most || got < least/12 || most == 0 != (got == 0) && least > 0 {
			t.Fatalf("%d to %d take %d octets, want %d to %d", first, last, got, least, most)
		}
	}
	if got, all := l.Bytes(0, maxSeq), sum(n); got != all {
		t.Fatalf("all take %d octets, want %d", got, all)
	}
}

func sum(n naiveLive) (all int64) {
	for _, size := range n {
		all += size
	}
	return all
}

// Where little lives, little is kept.
func TestLiveSetMemory(t *testing.T) {
	l := &liveSet{}
	before := heapBytes()
	for seq := uint64(1); seq <= 10_000_000; seq++ {
		l.add(seq, 100)
		if seq%100_000 != 0 {
			l.remove(seq, 100)
		}
	}
	l.picture() // shrinks them
	if took := heapBytes() - before; took > 100*300 {
		t.Errorf("100 of 10 million take %d octets", took)
	}
	if len(l.stretches) > 250 {
		t.Errorf("%d stretches are kept for 100 Seqs", len(l.stretches))
	}
}
