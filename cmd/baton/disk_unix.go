//go:build unix

package main

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// diskSize is the size of the disk that dir is on, or will be once it is made; 0 when it is not known.
func diskSize(dir string) int64 {
	for dir = filepath.Clean(dir); ; dir = filepath.Dir(dir) {
		var stat unix.Statfs_t
		if err := unix.Statfs(dir, &stat); err == nil {
			return int64(stat.Blocks) * int64(stat.Bsize)
		}
		if dir == filepath.Dir(dir) {
			return 0
		}
	}
}
