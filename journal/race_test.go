//go:build race

package journal_test

// The race detector makes each step ten times as long: it sees a part of the longest enumerations, of which make test does all
// without it.
const (
	stride      = 61
	faultStride = 37
	crashStates = 3_000
	cutPlaces   = 29
	cutCalls    = 47
	cutFaults   = 7
)
