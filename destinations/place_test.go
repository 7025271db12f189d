package destinations

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Places are in their order, each once, however they come and go; and no run of them,
// which is what one change moves, gets long.
func TestPlaces(t *testing.T) {
	t.Parallel()
	shapes := map[string]func(i uint64, random *rand.Rand) uint64{
		"in order":            func(i uint64, _ *rand.Rand) uint64 { return i },
		"from the end":        func(i uint64, _ *rand.Rand) uint64 { return 1<<32 - i },
		"into the middle":     func(i uint64, _ *rand.Rand) uint64 { return i%2<<32 + i },
		"anywhere":            func(_ uint64, random *rand.Rand) uint64 { return random.Uint64N(1 << 13) },
		"the same over again": func(_ uint64, random *rand.Rand) uint64 { return random.Uint64N(8) },
	}
	for name, next := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, 2))
			var got places
			var want []place
			for i := range uint64(20_000) {
				growing := i/5000%2 == 0 // then it shrinks
				switch p := (place{seq: next(i, random), priority: uint8(random.UintN(2))}); {
				case growing == (random.UintN(8) > 0):
					at, there := slices.BinarySearchFunc(want, p, place.compare)
					if got.has(p) != there || got.add(p) == there {
						t.Fatalf("%d: %v is there or not", i, p)
					}
					if !there {
						want = slices.Insert(want, at, p)
					}
				case len(want) == 0:
				case i%3 == 0:
					if first := got.take(); first != want[0] {
						t.Fatalf("%d: took %v, want %v", i, first, want[0])
					}
					want = want[1:]
				default:
					at := random.IntN(len(want))
					if !got.remove(want[at]) || got.remove(want[at]) {
						t.Fatalf("%d: %v was not there, or twice", i, want[at])
					}
					want = slices.Delete(want, at, at+1)
				}
				checkPlaces(t, &got, want)
			}
		})
	}
}

// One that comes into a full run comes into its place, wherever that is.
func TestPlacesFullRun(t *testing.T) {
	t.Parallel()
	for i := range uint64(runPlaces + 1) {
		var got places
		var want []place
		for n := range uint64(runPlaces) {
			got.add(place{seq: 2*n + 2})
			want = append(want, place{seq: 2*n + 2})
		}
		got.add(place{seq: 2*i + 1})
		checkPlaces(t, &got, slices.Insert(want, int(i), place{seq: 2*i + 1}))
		if !slices.IsSortedFunc(slices.Collect(got.all()), place.compare) {
			t.Errorf("%d does not come into its place", i)
		}
	}
}

func checkPlaces(t *testing.T, got *places, want []place) {
	t.Helper()
	if got.len() != len(want) || len(want) > 0 && got.first() != want[0] {
		t.Fatalf("there are %d, want %d", got.len(), len(want))
	}
	if len(want)%16 == 0 && !slices.Equal(slices.Collect(got.all()), want) { // to look at all takes its time
		t.Fatal("they are not those that were added, in their order")
	}
	for _, run := range got.runs {
		if len(run) > runPlaces || len(run) == 0 && len(got.runs) > 1 {
			t.Fatalf("of %d runs, one has %d", len(got.runs), len(run))
		}
	}
}
