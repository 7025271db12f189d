package memfs

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"syscall"
)

// file is an open file.
type file struct {
	fs       *FS
	node     *inode
	number   int
	writable bool
	closed   bool
}

// begin announces a call and takes the lock, which the caller gives back. The fault is what OnCall wants; err is what
// keeps the call from being made at all.
func (f *file) begin(op string) (fault, err error) {
	fault = f.fs.announce(Call{op, f.name(), f.number})
	f.fs.mu.Lock()
	switch {
	case f.closed:
		return fault, fs.ErrClosed
	case !f.writable && (Call{Op: op}).Writes():
		return fault, fs.ErrPermission
	}
	return fault, nil
}

func (f *file) name() string {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.node.name
}

func (f *file) ReadAt(b []byte, offset int64) (int, error) {
	fault, err := f.begin("ReadAt")
	defer f.fs.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if fault != nil && !errors.Is(fault, ErrShort) {
		return 0, fault
	}
	if offset >= f.node.size() {
		return 0, io.EOF
	}
	if fault != nil && len(b) > 1 {
		return copy(b[:len(b)/2], f.node.content[offset:]), nil
	}
	n := copy(b, f.node.content[offset:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(b []byte, offset int64) (int, error) { return f.write("WriteAt", b, offset) }

func (f *file) WriteVectors(vectors [][]byte, offset int64) (int, error) {
	return f.write("WriteVectors", slices.Concat(vectors...), offset)
}

func (f *file) write(op string, b []byte, offset int64) (int, error) {
	fault, err := f.begin(op)
	defer f.fs.mu.Unlock()
	if err != nil {
		return 0, err
	}
	want := len(b)
	if fault != nil && want > 1 {
		want /= 2
	}
	n := f.fs.fit(f.node, offset, want)
	if n > 0 {
		f.node.write(b[:n], offset)
	}
	switch {
	case n < want:
		return n, &fs.PathError{Op: "write", Path: f.node.name, Err: syscall.ENOSPC}
	case errors.Is(fault, ErrShort):
		return n, nil
	}
	return n, fault
}

func (f *file) Size() (int64, error) {
	fault, err := f.begin("Size")
	defer f.fs.mu.Unlock()
	if err = first(err, fault); err != nil {
		return 0, err
	}
	return f.node.size(), nil
}

// Allocate makes the file as long as size, as fallocate does, or changes nothing when there is no room.
func (f *file) Allocate(size int64) error {
	fault, err := f.begin("Allocate")
	defer f.fs.mu.Unlock()
	if err = first(err, fault); err != nil {
		return err
	}
	if !f.fs.grow(f.node, size) {
		return &fs.PathError{Op: "fallocate", Path: f.node.name, Err: syscall.ENOSPC}
	}
	f.node.resize(max(size, f.node.size()))
	return nil
}

// Alone is false also where OnCall returns an error.
func (f *file) Alone() bool {
	fault, err := f.begin("Alone")
	defer f.fs.mu.Unlock()
	return first(err, fault) == nil && f.node.links == 2 // its name, and f
}

func (f *file) Truncate(size int64) error {
	fault, err := f.begin("Truncate")
	defer f.fs.mu.Unlock()
	if err = first(err, fault); err != nil {
		return err
	}
	f.fs.used -= pages(f.node.size()) - pages(min(size, f.node.size()))
	if !f.fs.grow(f.node, size) {
		return &fs.PathError{Op: "truncate", Path: f.node.name, Err: syscall.ENOSPC}
	}
	f.node.resize(size)
	return nil
}

func (f *file) Sync() error     { return f.sync("Sync") }
func (f *file) Datasync() error { return f.sync("Datasync") }

func (f *file) sync(op string) error {
	fault, err := f.begin(op)
	defer f.fs.mu.Unlock()
	if err != nil {
		return err
	}
	if fault != nil && !errors.Is(fault, ErrShort) {
		clear(f.node.dirty) // as systems do: the next sync succeeds and writes none of this
		return fault
	}
	f.node.sync()
	return nil
}

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if !f.closed {
		f.closed = true
		f.fs.unlink(f.node)
	}
	return nil
}

// first is err, or else the fault that makes a call fail as a whole.
func first(err, fault error) error {
	if err == nil && !errors.Is(fault, ErrShort) {
		return fault
	}
	return err
}
