//go:build unix

package main

import "golang.org/x/sys/unix"

// openFiles is how many files and sockets this process may have open; Go has raised the soft limit to the hard one.
func openFiles() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return uint64(limit.Cur)
}
