//go:build race

package journal_test

// The race detector makes each step ten times as long: it sees a part of the longest enumerations, of which make test does all
// without it.
const (
	stride      = 61
	faultStride = 37
	crashStates = 600
	cutPlaces   = 61
	cutCalls    = 97
	cutFaults   = 7
)
