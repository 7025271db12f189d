package journal

import (
	"fmt"
	"io"
)

// guarded is an FS that changes nothing any more once the lock is lost that it gave: a directory that other machines use too
// may have another owner by then, who writes to the same files. It looks before each change.
type guarded struct {
	FS
	lock *io.Closer // nil until Lock was called
}

// guard returns fsys with a look at the lock before each change; nil means OS.
func guard(fsys FS) FS {
	if fsys == nil {
		fsys = OS{}
	}
	return guarded{fsys, new(io.Closer)}
}

// Lock implements FS. It is called before there is anybody who changes anything.
func (g guarded) Lock(name string) (io.Closer, error) {
	lock, err := g.FS.Lock(name)
	*g.lock = lock
	return lock, err
}

// held fails when somebody else may have the directory by now.
func (g guarded) held() error {
	lock, ok := (*g.lock).(interface{ Held() error })
	if !ok {
		return nil
	}
	if err := lock.Held(); err != nil {
		return fmt.Errorf("the lock of the directory is lost: %v", err) // not ErrLocked: that is for who never had it
	}
	return nil
}

func (g guarded) MkdirAll(dir string) error {
	if err := g.held(); err != nil {
		return err
	}
	return g.FS.MkdirAll(dir)
}

func (g guarded) Create(name string) (File, error) {
	if err := g.held(); err != nil {
		return nil, err
	}
	return g.file(g.FS.Create(name))
}

func (g guarded) Open(name string, write bool) (File, error) {
	return g.file(g.FS.Open(name, write))
}

func (g guarded) file(f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return guardedFile{f, g}, nil
}

func (g guarded) Rename(from, to string) error {
	if err := g.held(); err != nil {
		return err
	}
	return g.FS.Rename(from, to)
}

func (g guarded) Remove(name string) error {
	if err := g.held(); err != nil {
		return err
	}
	return g.FS.Remove(name)
}

// guardedFile is a file of a guarded FS.
type guardedFile struct {
	File
	fs guarded
}

func (f guardedFile) WriteAt(b []byte, offset int64) (int, error) {
	if err := f.fs.held(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, offset)
}

func (f guardedFile) WriteVectors(vectors [][]byte, offset int64) (int, error) {
	if err := f.fs.held(); err != nil {
		return 0, err
	}
	return f.File.WriteVectors(vectors, offset)
}

func (f guardedFile) Allocate(size int64) error {
	if err := f.fs.held(); err != nil {
		return err
	}
	return f.File.Allocate(size)
}

func (f guardedFile) Truncate(size int64) error {
	if err := f.fs.held(); err != nil {
		return err
	}
	return f.File.Truncate(size)
}
