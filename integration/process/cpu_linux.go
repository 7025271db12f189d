package process

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime is how long a process has computed so far, in its own code and in the kernel's.
func CPUTime(pid int) (time.Duration, error) {
	const scheduled = 2 // the kernel's CPUCLOCK_SCHED: a clock of a process counts what its threads were given, to the nanosecond
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &t); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}
