package journal

import (
	"errors"
	"io"
	"syscall"
)

// FS is what the journal asks of a file system. Names are paths; an FS is safe for concurrent use. Tests put an in-memory
// one (journal/memfs) in the place of OS.
//
// Errors may wrap syscall.EINTR: nothing was done, the call may be made again; and syscall.ENOSPC or EDQUOT: no room.
type FS interface {
	// MkdirAll makes dir and its parents durably; it is no error when they exist.
	MkdirAll(dir string) error
	// Create makes an empty file, or empties an existing one, for reading and writing.
	Create(name string) (File, error)
	// Open opens an existing file for reading or, with write, for both; fs.ErrNotExist when there is none.
	Open(name string, write bool) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// ReadDir returns the names of the files in dir, sorted.
	ReadDir(dir string) ([]string, error)
	// SyncDir makes what was created, renamed and removed in dir durable.
	SyncDir(dir string) error
	// Free is how many bytes can still be written to the file system that holds dir.
	Free(dir string) (int64, error)
	// Lock takes the lock file called name until the Closer is closed or the process ends. Where another holds it, the
	// error wraps ErrLocked and tells the process if it can.
	Lock(name string) (io.Closer, error)
	// CheckLock returns the error that Lock would return because another holds the lock. It changes nothing.
	CheckLock(name string) error
}

// File is an open file of an FS.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// WriteVectors writes vectors one after the other, as WriteAt would write all of them in one. It may stop short without
	// an error, as write(2) does.
	WriteVectors(vectors [][]byte, offset int64) (int, error)
	Size() (int64, error)
	// Allocate reserves room for the first size bytes. It may do nothing where the system has no such call.
	Allocate(size int64) error
	Truncate(size int64) error
	// Alone tells that nobody else, in whatever process, has the file open, and that it has no other name: then nobody sees
	// what becomes of its content. It is false where the system cannot tell.
	Alone() bool
	// Sync makes content and size durable.
	Sync() error
	// Datasync makes the content durable, and the size where reading the content back needs it.
	Datasync() error
}

// noSpace tells whether err is for want of room in the file system, or of quota.
func noSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
