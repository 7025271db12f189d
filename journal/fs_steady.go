package journal

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
	"syscall"
)

// maxInterrupts bounds how often an interrupted call is made again.
const maxInterrupts = 1000

// steady is an FS as the journal uses it: calls that a signal interrupted are made again, reads and writes that stop
// half-way are completed, and the watchdog knows which call is in progress.
//
// A sync is never made again, not even an interrupted one: it may have met a write that failed, which a system reports
// once, and the interruption took the place of that report.
type steady struct {
	fs    FS
	calls *watchdog // nil: nobody watches
}

// steadily makes fsys steady; nil means OS.
func steadily(fsys FS, calls *watchdog) FS {
	if fsys == nil {
		fsys = OS{}
	}
	return steady{fsys, calls}
}

// again makes a call, and makes it again while a signal interrupts it.
func again(call func() error) (err error) {
	for range maxInterrupts {
		if err = call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
	return err
}

func (s steady) watched(op, name string, call func() error) error {
	defer s.calls.end(s.calls.begin(op, name))
	return again(call)
}

func (s steady) MkdirAll(dir string) error {
	return again(func() error { return s.fs.MkdirAll(dir) })
}

func (s steady) Create(name string) (f File, err error) {
	err = s.watched("create", name, func() error { f, err = s.fs.Create(name); return err })
	return s.file(name, f, err)
}

func (s steady) Open(name string, write bool) (f File, err error) {
	err = again(func() error { f, err = s.fs.Open(name, write); return err })
	return s.file(name, f, err)
}

func (s steady) file(name string, f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return steadyFile{f, name, s.calls}, nil
}

func (s steady) Rename(from, to string) error {
	return s.watched("rename", to, func() error { return s.fs.Rename(from, to) })
}

func (s steady) Remove(name string) error {
	return s.watched("remove", name, func() error { return s.fs.Remove(name) })
}

func (s steady) ReadDir(dir string) (names []string, err error) {
	err = again(func() error { names, err = s.fs.ReadDir(dir); return err })
	return names, err
}

func (s steady) SyncDir(dir string) error {
	defer s.calls.end(s.calls.begin("sync", dir))
	return s.fs.SyncDir(dir)
}

func (s steady) Free(dir string) (free int64, err error) {
	err = again(func() error { free, err = s.fs.Free(dir); return err })
	return free, err
}

func (s steady) Lock(name string) (lock io.Closer, err error) {
	err = again(func() error { lock, err = s.fs.Lock(name); return err })
	return lock, err
}

func (s steady) CheckLock(name string) error {
	return again(func() error { return s.fs.CheckLock(name) })
}

// steadyFile is a file of a steady FS.
type steadyFile struct {
	File
	name  string
	calls *watchdog
}

// renamed is file when it has got another name in its directory, under which its calls are reported from now on.
func renamed(file File, name string) File {
	f := file.(steadyFile)
	f.name = filepath.Join(filepath.Dir(f.name), name)
	return f
}

// ReadAt goes on where a read stopped short, until b is full, the file ends or an error comes.
func (f steadyFile) ReadAt(b []byte, offset int64) (int, error) {
	return whole(len(b), func(done int) (int, error) { return f.File.ReadAt(b[done:], offset+int64(done)) })
}

// WriteAt goes on where a write stopped short, until all of b is written or an error comes.
func (f steadyFile) WriteAt(b []byte, offset int64) (int, error) {
	defer f.calls.end(f.calls.begin("write", f.name))
	return whole(len(b), func(done int) (int, error) { return f.File.WriteAt(b[done:], offset+int64(done)) })
}

// WriteVectors goes on where a write stopped short, or at the most that the system takes at once, until all of them are
// written or an error comes.
func (f steadyFile) WriteVectors(vectors [][]byte, offset int64) (int, error) {
	defer f.calls.end(f.calls.begin("write", f.name))
	size := 0
	for _, v := range vectors {
		size += len(v)
	}
	return whole(size, func(done int) (int, error) {
		n, err := f.File.WriteVectors(vectors, offset+int64(done))
		vectors = skip(vectors, n)
		return n, err
	})
}

// skip returns what vectors hold after the first n bytes.
func skip(vectors [][]byte, n int) [][]byte {
	for len(vectors) > 0 && n >= len(vectors[0]) {
		n -= len(vectors[0])
		vectors = vectors[1:]
	}
	if n > 0 {
		vectors = slices.Clone(vectors) // they are the caller's
		vectors[0] = vectors[0][n:]
	}
	return vectors
}

// whole moves size bytes by as many calls as it takes; done are those that have been moved.
func whole(size int, move func(done int) (int, error)) (int, error) {
	done := 0
	for idle := 0; done < size; {
		n, err := move(done)
		done += n
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return done, err
		}
		if n > 0 {
			idle = 0
		} else if idle++; idle == maxInterrupts {
			return done, firstError(err, io.ErrNoProgress)
		}
	}
	return done, nil
}

func (f steadyFile) Size() (size int64, err error) {
	err = again(func() error { size, err = f.File.Size(); return err })
	return size, err
}

func (f steadyFile) Allocate(size int64) error {
	defer f.calls.end(f.calls.begin("allocate", f.name))
	return again(func() error { return f.File.Allocate(size) })
}

func (f steadyFile) Truncate(size int64) error {
	defer f.calls.end(f.calls.begin("truncate", f.name))
	return again(func() error { return f.File.Truncate(size) })
}

func (f steadyFile) Sync() error {
	defer f.calls.end(f.calls.begin("sync", f.name))
	return f.File.Sync()
}

func (f steadyFile) Datasync() error {
	defer f.calls.end(f.calls.begin("sync", f.name))
	return f.File.Datasync()
}
