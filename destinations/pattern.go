package destinations

import "strings"

// A Pattern names many destinations at once: "/queue/orders.*.new", or
// "/topic/prices.>". The zero value matches nothing.
//
//   - A part * stands for any one part: orders.*.new is orders.eu.new.
//   - A last part > stands for any further parts, and for none, as in ActiveMQ:
//     prices.> is prices.gold.spot and prices itself. Clients of other brokers
//     may write # for it.
//   - A wildcard in the first part does not stand for a name that begins with
//     $: those are the broker's own, and whoever wants them says so.
//
// A pattern without wildcards matches one destination. Patterns that match the
// same are equal, so that a Pattern can be the key of a map.
type Pattern struct {
	named Destination // its name may have wildcards, the last part > and never #
}

const (
	anyPart   = "*"
	anyParts  = ">"
	wildcards = "*>#"
)

// ParsePattern reads a pattern: what Parse reads, and wildcards, each a whole
// part; the broker's own names too.
func (n Names) ParsePattern(s string) (Pattern, error) {
	d, limited, err := n.cut(s)
	if err == nil {
		err = n.check(limited)
	}
	if err != nil {
		return Pattern{}, err
	}
	if err := checkWildcards(d.Name); err != nil {
		return Pattern{}, err
	}
	if front, ok := strings.CutSuffix(d.Name, "#"); ok {
		d.Name = front + anyParts
	}
	return Pattern{d}, nil
}

// checkWildcards finds those that are not a part of their own, or not at the
// end where they must be.
func checkWildcards(name string) error {
	parts := strings.Split(name, ".")
	for i, part := range parts {
		switch {
		case !strings.ContainsAny(part, wildcards) || part == anyPart:
		case len(part) > 1:
			return destinationError("in the pattern %s the wildcard in %s stands beside something else: a wildcard is a whole part, as in a.*.b or a.>",
				quote(name), quote(part))
		case i < len(parts)-1: // > or #
			return destinationError("in the pattern %s something follows %s: that wildcard stands for the rest and must be last; * stands for one part",
				quote(name), part)
		}
	}
	return nil
}

// String is the pattern as clients write it, with > rather than #.
func (p Pattern) String() string { return p.named.String() }

// Wild says whether p has wildcards. One that has not matches the destination
// of the same name only.
func (p Pattern) Wild() bool { return strings.ContainsAny(p.named.Name, wildcards) }

// Matches says whether d is one of those that p names.
func (p Pattern) Matches(d Destination) bool {
	if p.named.Topic != d.Topic || own(d.Name) && !own(p.named.Name) {
		return false
	}
	rest, more := d.Name, true
	for want := range strings.SplitSeq(p.named.Name, ".") {
		if want == anyParts {
			return true
		}
		if !more {
			return false
		}
		var part string
		part, rest, more = strings.Cut(rest, ".")
		if want != anyPart && want != part {
			return false
		}
	}
	return !more
}

// own says that a name is the broker's own.
func own(name string) bool { return strings.HasPrefix(name, "$") }

// A patternSet finds those of many patterns that match a name, by its parts: how
// many others there are does not matter. A pattern may be in it several times,
// for different members. The zero value is empty.
//
//	orders.>  -> rest of the node "orders"
//	orders.*  -> here of the node any of "orders"
//	orders.eu -> here of the node "eu" of "orders"
type patternSet[T comparable] struct {
	queues, topics patternNode[T]
}

// A patternNode is where patterns are that begin with the same parts.
type patternNode[T comparable] struct {
	here  []T // their patterns end here
	rest  []T // their patterns end with > after this
	any   *patternNode[T]
	parts map[string]*patternNode[T]
}

func (s *patternSet[T]) root(topic bool) *patternNode[T] {
	if topic {
		return &s.topics
	}
	return &s.queues
}

func (s *patternSet[T]) add(p Pattern, member T) {
	n := s.root(p.named.Topic)
	for part := range strings.SplitSeq(p.named.Name, ".") {
		if part == anyParts {
			n.rest = append(n.rest, member)
			return
		}
		n = n.child(part)
	}
	n.here = append(n.here, member)
}

// child is the node of a further part, made if there is none.
func (n *patternNode[T]) child(part string) *patternNode[T] {
	if part == anyPart {
		if n.any == nil {
			n.any = &patternNode[T]{}
		}
		return n.any
	}
	if n.parts == nil {
		n.parts = map[string]*patternNode[T]{}
	}
	next := n.parts[part]
	if next == nil {
		next = &patternNode[T]{}
		n.parts[strings.Clone(part)] = next
	}
	return next
}

// remove forgets what add added, and does nothing if that is not there.
func (s *patternSet[T]) remove(p Pattern, member T) {
	s.root(p.named.Topic).remove(p.named.Name, true, member)
}

// remove takes the member of a pattern out of the tree; name is what is left of
// the pattern, unless more is false: then there is nothing left.
func (n *patternNode[T]) remove(name string, more bool, member T) {
	if !more {
		n.here = without(n.here, member)
		return
	}
	part, name, more := strings.Cut(name, ".")
	switch {
	case part == anyParts:
		n.rest = without(n.rest, member)
	case part == anyPart && n.any != nil:
		n.any.remove(name, more, member)
		if n.any.empty() {
			n.any = nil
		}
	case n.parts[part] != nil:
		n.parts[part].remove(name, more, member)
		if n.parts[part].empty() {
			delete(n.parts, part)
		}
	}
}

// without takes the first of members that is member out, and keeps the order.
func without[T comparable](members []T, member T) []T {
	for i := range members {
		if members[i] == member {
			members = append(members[:i], members[i+1:]...)
			break
		}
	}
	if len(members) == 0 {
		return nil
	}
	return members
}

func (n *patternNode[T]) empty() bool {
	return len(n.here)+len(n.rest)+len(n.parts) == 0 && n.any == nil
}

// each calls fn for each member with a pattern that matches d, the least
// specific pattern first: of two that match the same name, the more specific
// has, in the first part where they differ, a word where the other has a
// wildcard, or * where the other has >, or nothing where the other has >.
// Members with the same pattern come in the order of their adding. fn must not
// change the set. It allocates nothing.
func (s *patternSet[T]) each(d Destination, fn func(T)) {
	n := s.root(d.Topic)
	if !own(d.Name) {
		n.each(d.Name, true, fn)
		return
	}
	part, rest, more := strings.Cut(d.Name, ".")
	if next := n.parts[part]; next != nil {
		next.each(rest, more, fn)
	}
}

// each goes on with what is left of a name, unless more is false.
func (n *patternNode[T]) each(name string, more bool, fn func(T)) {
	for _, member := range n.rest {
		fn(member)
	}
	if !more {
		for _, member := range n.here {
			fn(member)
		}
		return
	}
	part, rest, more := strings.Cut(name, ".")
	if n.any != nil {
		n.any.each(rest, more, fn)
	}
	if next := n.parts[part]; next != nil {
		next.each(rest, more, fn)
	}
}
