package destinations

// A Route sends what is sent to some destinations to others too.
type Route struct {
	From     Pattern
	To       []Destination
	Move     bool   // not to where it was sent
	Selector string // of messages; empty: all
}
