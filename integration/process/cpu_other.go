//go:build !linux

package process

import (
	"errors"
	"time"
)

// CPUTime is how long a process has computed so far. This system does not tell.
func CPUTime(int) (time.Duration, error) { return 0, errors.ErrUnsupported }
