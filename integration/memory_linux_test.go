package integration

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"

	"baton/integration/process"
)

var peak = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// memory is the most that the broker has had resident at any time, in bytes.
func memory(t *testing.T, b *process.Broker) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	found := peak.FindSubmatch(status)
	if found == nil {
		t.Fatalf("no VmHWM in\n%s", status)
	}
	kib, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
