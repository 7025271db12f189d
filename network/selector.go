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
