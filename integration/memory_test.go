package integration

import (
	"testing"

	"baton/integration/process"
)

// memory is the most that the broker has had resident at any time, in bytes.
func memory(t *testing.T, b *process.Broker) int64 {
	t.Helper()
	_, peak, err := b.Memory()
	if err != nil {
		t.Fatal(err)
	}
	return peak
}
