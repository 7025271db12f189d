package failover

// A mutant is a bug on purpose. The zero mutant is none.
type mutant struct {
	// before may change what a State is told, after what it makes of it.
	before func(w *world, n int, e *Event)
	after  func(w *world, n int, e *Event, out []Action) []Action

	room []Action
}

func (x *mutant) step(w *world, n int, e Event, out []Action) []Action {
	if x.before != nil {
		x.before(w, n, &e)
	}
	out = w.nodes[n].s.Step(1, e, out)
	if x.after != nil {
		out = x.after(w, n, &e, out)
	}
	return out
}
