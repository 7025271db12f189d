package failover

// A mutant is a bug on purpose: what a State is told, or makes of it, is changed on the way. The zero mutant is none.
type mutant struct {
	before func(w *world, s *State, e *Event)
	after  func(w *world, s *State, e *Event, out []Action) []Action
	common func(w *world, n int) (seq uint8) // instead of commonPoint

	room []Action
}

func (x *mutant) step(w *world, n int, e Event, out []Action) []Action {
	s := &w.nodes[n].s
	if x.before != nil {
		x.before(w, s, &e)
	}
	out = s.Step(1, e, out)
	if x.after != nil {
		out = x.after(w, s, &e, out)
	}
	return out
}
