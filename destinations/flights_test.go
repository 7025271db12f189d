package destinations

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestFlightsAgainstMap(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 1))
		var f flights
		want := map[uint64]int{} // index of the ref by tag
		var last uint64
		for step := range 3000 {
			switch op := r.IntN(10); {
			case op < 5:
				last++
				if tag := f.add(ref{i: step}); tag != last {
					t.Fatalf("tag %d, want %d", tag, last)
				}
				want[last] = step
			case op < 9:
				if tags := slices.Sorted(maps.Keys(want)); len(tags) > 0 {
					tag := tags[r.IntN(len(tags))]
					f.remove(tag)
					delete(want, tag)
				}
			default: // all up to one, from within each
				upTo := last - min(last, r.Uint64N(20))
				f.each(upTo, func(tag uint64, _ *flight) { f.remove(tag) })
				maps.DeleteFunc(want, func(tag uint64, _ int) bool { return tag <= upTo })
			}
			compareFlights(t, &f, want, last)
		}
	}
}

func compareFlights(t *testing.T, f *flights, want map[uint64]int, last uint64) {
	t.Helper()
	if f.last() != last {
		t.Fatalf("last %d, want %d", f.last(), last)
	}
	for tag := range last + 2 {
		i, live := want[tag]
		if fl := f.get(tag); (fl != nil) != live || live && fl.at.i != i {
			t.Fatalf("get(%d) is %+v, want %d %v", tag, fl, i, live)
		}
	}
	var tags []uint64
	f.each(last+5, func(tag uint64, _ *flight) { tags = append(tags, tag) })
	if !slices.Equal(tags, slices.Sorted(maps.Keys(want))) {
		t.Fatalf("each comes to %d, want %d", tags, slices.Sorted(maps.Keys(want)))
	}
}
