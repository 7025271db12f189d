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
	return f.pathError("fallocate", err)
}

// maxVectors is what the system takes in one call (IOV_MAX).
const maxVectors = 1024

// WriteVectors implements File.
func (f osFile) WriteVectors(vectors [][]byte, offset int64) (int, error) {
	n, err := unix.Pwritev(int(f.Fd()), vectors[:min(len(vectors), maxVectors)], offset)
	return max(n, 0), f.pathError("pwritev", err)
}

// Sync and Datasync are made once, interrupted or not (see steady): os.File's Sync would try again.
func (f osFile) Sync() error { return f.pathError("fsync", unix.Fsync(int(f.Fd()))) }

func (f osFile) Datasync() error { return f.pathError("fdatasync", unix.Fdatasync(int(f.Fd()))) }

// Alone asks for a write lease, which the system gives only to the one who has the file open, and gives it back. It refuses
// one on some file systems, and for files of another user.
func (f osFile) Alone() bool {
	var s unix.Stat_t
	lease := func(kind int) error {
		return retryInterrupted(func() error { _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, kind); return err })
	}
	return unix.Fstat(int(f.Fd()), &s) == nil && s.Nlink == 1 && lease(unix.F_WRLCK) == nil && lease(unix.F_UNLCK) == nil
}

func (f osFile) pathError(op string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: f.Name(), Err: err}
}
