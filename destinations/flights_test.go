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
				if tag := f.add(nil, ref{i: step}); tag != last {
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
				f.each(0, upTo, func(tag uint64, _ *flight) { f.remove(tag) })
				maps.DeleteFunc(want, func(tag uint64, _ int) bool { return tag <= upTo })
			}
			compareFlights(t, &f, want, last)
		}
	}
}

// A delivery that stays while many after it are settled keeps no memory for
// those.
func TestFlightsWithAStragglerStaySmall(t *testing.T) {
	t.Parallel()
	var f flights
	want := map[uint64]int{}
	var last uint64
	for step := range 20_000 {
		last = f.add(nil, ref{i: step})
		if step%4000 == 7 {
			want[last] = step
		} else {
			f.remove(last)
		}
		if f.len() > 1024 || len(f.aside) > len(want) {
			t.Fatalf("%d places and %d aside for %d flights", f.len(), len(f.aside), len(want))
		}
	}
	var tags []uint64
	f.each(4001, 12_008, func(tag uint64, _ *flight) { tags = append(tags, tag) })
	if !slices.Equal(tags, []uint64{4008, 8008, 12_008}) {
		t.Errorf("from 4001 to 12008 each comes to %d", tags)
	}
	for tag, i := range want {
		if fl := f.get(tag); fl == nil || fl.at.i != i {
			t.Errorf("flight %d is %+v, want %d", tag, fl, i)
		}
		f.remove(tag)
	}
	if !f.none() || f.last() != last {
		t.Errorf("none is %t, last %d; want true and %d", f.none(), f.last(), last)
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
	f.each(0, last+5, func(tag uint64, _ *flight) { tags = append(tags, tag) })
	if !slices.Equal(tags, slices.Sorted(maps.Keys(want))) {
		t.Fatalf("each comes to %d, want %d", tags, slices.Sorted(maps.Keys(want)))
	}
}

// Settling very many that were set aside takes no longer for each than settling
// few: what one command may settle must not stop the others.
func TestFlightsAsideAreSettledInPassing(t *testing.T) {
	t.Parallel()
	const many = 300_000
	var f flights
	for i := range many {
		f.add(nil, ref{i: i})
	}
	for tag := uint64(1); tag <= many; tag++ {
		if tag%8 != 0 {
			f.remove(tag)
		}
	}
	moved := 0
	for last := uint64(0); !f.none(); {
		before := len(f.aside)
		f.each(last+1, many, func(tag uint64, _ *flight) {
			f.remove(tag)
			last = tag
			if len(f.aside) != before { // it was compacted
				moved += len(f.aside)
				before = len(f.aside)
			}
		})
	}
	if moved > many {
		t.Errorf("to settle %d, %d were moved", many/8, moved)
	}
}

// One that was set aside last, with the next in flight right behind it, is
// settled as any other.
func TestTheFlightSetAsideLastIsSettled(t *testing.T) {
	t.Parallel()
	var f flights
	for range 256 {
		f.add(nil, ref{})
	}
	for tag := uint64(256); f.gone == 0; tag-- {
		f.remove(tag)
	}
	for tag := range f.last() {
		if tag++; f.get(tag) != nil {
			f.remove(tag)
		}
	}
	if f.gone < 256 || !f.none() || f.live != 0 {
		t.Errorf("after all were settled, %d are counted in flight, %d of %d aside are settled", f.live, f.landed, len(f.aside))
	}
}
