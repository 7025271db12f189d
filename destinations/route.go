package destinations

import (
	"slices"

	"baton/destinations/selector"
)

// A Route sends what is sent to some destinations to others too. What it sends
// is not routed again, so routes cannot go in a circle.
type Route struct {
	From     Pattern
	To       []Destination      // at least one
	Move     bool               // not to where it was sent
	Selector *selector.Selector // of messages; nil: all
}

// newRoutes finds routes by where they come from.
func newRoutes(all []Route) (routes patternSet[*Route]) {
	for i := range all {
		routes.add(all[i].From, &all[i])
	}
	return routes
}

// routed is o with the destinations that routes add, and without those that they
// take away. Each counts once.
func (m *Machine) routed(o *Outgoing) *Outgoing {
	if o.Forwarded {
		return o
	}
	if len(m.opts.Routes) == 0 {
		return o
	}
	var all []Destination
	add := func(d Destination) {
		if !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	for i := range o.parts() {
		d, stays := o.part(i), true
		m.routes.each(d, func(r *Route) {
			if !m.selects(r.Selector, o.Message) {
				return
			}
			for _, to := range r.To {
				add(to)
			}
			stays = stays && !r.Move
		})
		if stays {
			add(d)
		}
	}
	return &Outgoing{Destination: all[0], Also: all[1:], Message: o.Message}
}

// allRouted are sends, each routed.
func (m *Machine) allRouted(sends []Outgoing) []Outgoing {
	if len(m.opts.Routes) == 0 {
		return sends
	}
	routed := make([]Outgoing, len(sends))
	for i := range sends {
		routed[i] = *m.routed(&sends[i])
	}
	return routed
}
