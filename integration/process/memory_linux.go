package process

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
)

var memoryLine = regexp.MustCompile(`(VmHWM|VmRSS):\s+(\d+) kB`)

// Memory is what a process has resident now, and the most that it ever had, in bytes.
func Memory(pid int) (now, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for _, found := range memoryLine.FindAllSubmatch(status, -1) {
		kib, err := strconv.ParseInt(string(found[2]), 10, 64)
		if err != nil {
			return 0, 0, err
		}
		if string(found[1]) == "VmRSS" {
			now = kib << 10
		} else {
			peak = kib << 10
		}
	}
	if now == 0 || peak == 0 {
		return 0, 0, fmt.Errorf("no VmRSS and VmHWM in\n%s", status)
	}
	return now, peak, nil
}

// ResetPeak has Memory forget the most that a process ever had.
func ResetPeak(pid int) error {
	const peak = "5"
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte(peak), 0)
}
