package destinations

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestFifoAgainstSlice(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	var f fifo[int]
	var want []int
	for step := range 50_000 {
		// Phases of filling are longer than those of draining, then all goes.
		if fill := step/5000%2 == 0; r.IntN(10) < 7 == fill || len(want) == 0 {
			if r.IntN(4) == 0 {
				f.unpop(step)
				want = slices.Insert(want, 0, step)
			} else {
				f.push(step)
				want = append(want, step)
			}
		} else {
			if got := f.pop(); got != want[0] {
				t.Fatalf("step %d: popped %d, want %d", step, got, want[0])
			}
			want = want[1:]
		}
		if f.len() != len(want) {
			t.Fatalf("step %d: length %d, want %d", step, f.len(), len(want))
		}
		if n := len(want); n > 0 {
			if i := r.IntN(n); *f.at(i) != want[i] {
				t.Fatalf("step %d: at(%d) is %d, want %d", step, i, *f.at(i), want[i])
			}
		}
	}
}

func TestFifoGivesALargeRingBack(t *testing.T) {
	t.Parallel()
	var f fifo[*int]
	for range 5000 {
		f.push(new(int))
	}
	for f.len() > 1 {
		f.pop()
	}
	for i, v := range f.ring {
		if v != nil && v != *f.at(0) {
			t.Fatalf("the ring keeps value %d, which was popped", i)
		}
	}
	f.pop()
	if len(f.ring) != 0 {
		t.Errorf("an empty fifo keeps a ring of %d", len(f.ring))
	}
	f.push(new(int))
	if f.len() != 1 {
		t.Errorf("length %d after a push", f.len())
	}
}
