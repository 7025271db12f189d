package destinations

import "baton/destinations/selector"

// A Route sends what is sent to some destinations to others too. What it sends
// is not routed again, so routes cannot go in a circle.
type Route struct {
	From     Pattern
	To       []Destination
	Move     bool               // not to where it was sent
	Selector *selector.Selector // of messages; nil: all
}
