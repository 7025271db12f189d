package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// forget lets the system drop what it keeps of a file in memory. No other file is touched.
func forget(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Sync(); err != nil { // only what the disk has can be dropped
		return err
	}
	if err := unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("fadvise %s: %w", path, err)
	}
	return nil
}
