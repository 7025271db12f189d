package bench

import (
	"time"

	"golang.org/x/sys/unix"
)

// sleepFor sleeps as exactly as the kernel can: the timers of the runtime may be a millisecond late when nothing else runs.
func sleepFor(d time.Duration) {
	left := unix.NsecToTimespec(int64(d))
	for unix.Nanosleep(&left, &left) == unix.EINTR {
	}
}
