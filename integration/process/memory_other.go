//go:build !linux

package process

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// Memory is what a process has resident now, in bytes. This system does not tell the most that it ever had: peak is now.
func Memory(pid int) (now, peak int64, err error) {
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("ps: %w", err)
	}
	kib, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return kib << 10, kib << 10, err
}

// ResetPeak does nothing: this system does not tell the most memory that a process ever had.
func ResetPeak(int) error { return nil }
