package main

import "golang.org/x/sys/unix"

// installedMemory is what the machine has, in bytes; 0 when it is not known.
func installedMemory() int64 {
	size, _ := unix.SysctlUint64("hw.memsize")
	return int64(size)
}
