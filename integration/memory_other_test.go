//go:build !linux

package integration

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"baton/integration/process"
)

// memory is what the broker has resident, in bytes.
func memory(t *testing.T, b *process.Broker) int64 {
	t.Helper()
	out, err := exec.CommandContext(within(t), "ps", "-o", "rss=", "-p", strconv.Itoa(b.Pid())).Output()
	if err != nil {
		t.Fatal(err)
	}
	kib, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
