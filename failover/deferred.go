package failover

// A deferred is a value that waits until what it was decided on is committed. While one waits, only the newest of those that
// come is kept beside it: the log may be slow for long, and yet each in its turn gets through.
type deferred[T any] struct {
	first, next *decided[T]
}

type decided[T any] struct {
	asOf  uint64
	value T
}

func (d *deferred[T]) empty() bool { return d.first == nil }

func (d *deferred[T]) put(asOf uint64, value T) {
	v := &decided[T]{asOf, value}
	if d.first == nil {
		d.first = v
	} else {
		d.next = v
	}
}

// take returns the newest value that may be acted on.
func (d *deferred[T]) take(committed uint64) (value T, ok bool) {
	for d.first != nil && d.first.asOf <= committed {
		value, ok = d.first.value, true
		d.first, d.next = d.next, nil
	}
	return value, ok
}
