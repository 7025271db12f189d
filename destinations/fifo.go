package destinations

// A fifo is a first-in-first-out queue in a ring that grows as needed.
type fifo[T any] struct {
	ring []T
	head int
	n    int
}

func (f *fifo[T]) len() int { return f.n }

// at returns the i-th value from the front.
func (f *fifo[T]) at(i int) *T {
	i += f.head
	if i >= len(f.ring) {
		i -= len(f.ring)
	}
	return &f.ring[i]
}

func (f *fifo[T]) push(v T) { *f.extend() = v }

// extend adds a value at the end, and returns it, which is zero.
func (f *fifo[T]) extend() *T {
	f.makeRoom()
	f.n++
	return f.at(f.n - 1)
}

// makeRoom lets the ring hold one value more.
func (f *fifo[T]) makeRoom() {
	if f.n < len(f.ring) {
		return
	}
	ring := make([]T, max(4, 2*len(f.ring)))
	n := copy(ring, f.ring[f.head:])
	copy(ring[n:], f.ring[:f.head])
	f.ring, f.head = ring, 0
}

// unpop puts v at the front.
func (f *fifo[T]) unpop(v T) {
	f.makeRoom()
	f.head = (f.head + len(f.ring) - 1) % len(f.ring)
	f.n++
	*f.at(0) = v
}

// pop removes the value at the front.
func (f *fifo[T]) pop() T {
	v := f.ring[f.head]
	f.drop()
	return v
}

// drop removes the value at the front. A ring that a burst made large is given
// back once it is empty.
func (f *fifo[T]) drop() {
	const keep = 1024
	var zero T
	f.ring[f.head] = zero
	f.n--
	f.head++
	if f.head == len(f.ring) {
		f.head = 0
	}
	if f.n == 0 && len(f.ring) > keep {
		*f = fifo[T]{}
	}
}
