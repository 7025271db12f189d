package network

import (
	"strings"

	"baton/destinations/selector"
)

// union selects what any of these does; nil, everything, where there are none, or
// more than one selector can say.
func union(selectors []string) *selector.Selector {
	if len(selectors) == 0 {
		return nil
	}
	all, err := selector.Parse("(" + strings.Join(selectors, ") OR (") + ")")
	if err != nil {
		return nil
	}
	return all
}

// atMost selects, of what s does, what was not forwarded as often as it may be. nil is
// everything.
func (x *exchange) atMost(s *selector.Selector) *selector.Selector {
	if x.MaxHops == 0 {
		return s
	}
	text := `"x-broker-path" IS NULL`
	if x.MaxHops > 1 {
		text += ` OR "x-broker-path" NOT LIKE '%` + strings.Repeat(",%", x.MaxHops-1) + `'`
	}
	capped, err := selector.Parse(text)
	if err != nil {
		panic("BUG: the selector of hops: " + err.Error())
	}
	if s == nil {
		return capped
	}
	both, err := selector.Parse("(" + s.String() + ") AND (" + text + ")")
	if err != nil {
		return capped // together they say more than one selector can
	}
	return both
}
