package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Allocate reserves blocks; a file system that cannot is left alone, since the zeros written afterwards do the same.
func (f osFile) Allocate(size int64) error {
	err := retryInterrupted(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	return nil
}

func (f osFile) Datasync() error {
	err := retryInterrupted(func() error { return unix.Fdatasync(int(f.Fd())) })
	if err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}
