//go:build !linux

package failover

import "time"

var processStart = time.Now()

// bootTime is the time since the process began. Where it stands still while the machine sleeps, so does a lease: a
// machine that may be suspended must not be a member of a pair there.
func bootTime() time.Duration { return time.Since(processStart) }
