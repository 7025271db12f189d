//go:build unix

package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// OS is the file system of the machine.
type OS struct{}

// MkdirAll implements FS.
func (OS) MkdirAll(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if parent != filepath.Clean(dir) {
		if err := (OS{}).MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return OS{}.SyncDir(parent)
}

// Create implements FS.
func (OS) Create(name string) (File, error) {
	return openOS(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

// Open implements FS.
func (OS) Open(name string, write bool) (File, error) {
	if write {
		return openOS(name, os.O_RDWR)
	}
	return openOS(name, os.O_RDONLY)
}

func openOS(name string, flags int) (File, error) {
	f, err := os.OpenFile(name, flags, 0o640)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// ReadDir implements FS.
func (OS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// SyncDir implements FS.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return firstError(osFile{d}.Sync(), d.Close())
}

// Free implements FS.
func (OS) Free(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := retryInterrupted(func() error { return unix.Statfs(dir, &s) }); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}

// Lock implements FS with flock, which ends with the process however it ends. The directory is locked as well as the file,
// which somebody may remove because it looks stale.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f, unix.LOCK_EX); err != nil {
		return nil, firstError(err, f.Close())
	}
	dir, err := lockParent(name, unix.LOCK_EX)
	if err != nil {
		return nil, firstError(err, f.Close())
	}
	if err := writePID(f); err != nil && !noSpace(err) { // the number is for those who look, the lock is flock's
		return nil, firstError(err, dir.Close(), f.Close())
	}
	return locks{f, dir}, nil
}

// locks are those of a file and of its directory.
type locks [2]*os.File

func (l locks) Close() error { return firstError(l[0].Close(), l[1].Close()) }

// Held returns an error unless the locks are still held, on the file that has the name now. To lock again what one holds
// changes nothing, and is refused where another machine has been given the lock meanwhile.
func (l locks) Held() error {
	mine, err := l[0].Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(l[0].Name())
	if err == nil && !os.SameFile(mine, there) {
		err = fmt.Errorf("%w: another file has taken the place of %s", ErrLocked, l[0].Name())
	}
	if err != nil {
		return err
	}
	return lockFile(l[0], unix.LOCK_EX)
}

// CheckLock implements FS.
func (OS) CheckLock(name string) error {
	dir, err := lockParent(name, unix.LOCK_SH)
	if err == nil {
		err = dir.Close()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	f, openErr := os.Open(name)
	if errors.Is(openErr, fs.ErrNotExist) {
		return err
	}
	if openErr != nil {
		return openErr
	}
	return firstError(lockFile(f, unix.LOCK_SH), err, f.Close())
}

// lockParent locks the directory of the file called name, where the file system can do that.
func lockParent(name string, how int) (*os.File, error) {
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	if flock(dir, how) == unix.EWOULDBLOCK {
		err = fmt.Errorf("%w: another process holds %s, although its %s has been removed", ErrLocked, dir.Name(), filepath.Base(name))
		return nil, firstError(err, dir.Close())
	}
	return dir, nil
}

func lockFile(f *os.File, how int) error {
	err := flock(f, how)
	if err != unix.EWOULDBLOCK {
		return err
	}
	dir := filepath.Dir(f.Name())
	if pid := readPID(f); pid > 0 {
		return fmt.Errorf("%w: process %d holds %s", ErrLocked, pid, dir)
	}
	return fmt.Errorf("%w: another process holds %s", ErrLocked, dir)
}

func flock(f *os.File, how int) error {
	return retryInterrupted(func() error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) })
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0)
	return err
}

func readPID(f *os.File) int {
	var b [20]byte
	n, _ := f.ReadAt(b[:], 0)
	pid, _ := strconv.Atoi(string(bytes.TrimSpace(b[:n])))
	return pid
}

// retryInterrupted repeats a system call that a signal cut short before it did anything.
func retryInterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
