package destinations

// A roster keeps its members in the order in which they came. Those that have
// left leave the zero value behind, until most of the places are of such.
type roster[T member] struct {
	places []T
	left   int // zero values in places
}

// A member remembers its place, so that it can leave without a search.
type member interface {
	comparable
	seat() *int
}

func (r *roster[T]) add(v T) {
	*v.seat() = len(r.places)
	r.places = append(r.places, v)
}

func (r *roster[T]) remove(v T) {
	var none T
	r.places[*v.seat()] = none
	r.left++
	if r.left <= len(r.places)/2 {
		return
	}
	kept := r.places[:0]
	for _, v := range r.places {
		if v != none {
			*v.seat() = len(kept)
			kept = append(kept, v)
		}
	}
	clear(r.places[len(kept):])
	r.places, r.left = kept, 0
}

func (r *roster[T]) empty() bool { return r.len() == 0 }

func (r *roster[T]) len() int { return len(r.places) - r.left }
