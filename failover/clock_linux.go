package failover

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime is a clock that goes on while the machine sleeps, as that of package time does not: a lease must not outlive a
// suspend (R8).
func bootTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("BUG: failover: no CLOCK_BOOTTIME: " + err.Error())
	}
	return time.Duration(t.Nano())
}
