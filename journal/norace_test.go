//go:build !race

package journal_test

const (
	stride      = 1
	faultStride = 1
	crashStates = 100_000
	cutPlaces   = 6
	cutCalls    = 13
	cutFaults   = 1
)
