package memfs

import (
	"io"
	"io/fs"
)

// file is an open file; its name is the one it was opened with.
type file struct {
	fs       *FS
	name     string
	node     *inode
	number   int
	writable bool
	closed   bool
}

// enter begins a call; the caller unlocks fs.mu when there is no error.
func (f *file) enter(op string) error {
	if err := f.fs.announce(Call{op, f.name, f.number}); err != nil {
		return err
	}
	f.fs.mu.Lock()
	if f.closed {
		f.fs.mu.Unlock()
		return fs.ErrClosed
	}
	if !f.writable && (Call{Op: op}).Writes() {
		f.fs.mu.Unlock()
		return fs.ErrPermission
	}
	return nil
}

func (f *file) ReadAt(b []byte, offset int64) (int, error) {
	if err := f.enter("ReadAt"); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	if offset >= int64(len(f.node.content)) {
		return 0, io.EOF
	}
	n := copy(b, f.node.content[offset:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(b []byte, offset int64) (int, error) {
	if err := f.enter("WriteAt"); err != nil {
		half := len(b) / 2
		f.fs.mu.Lock()
		defer f.fs.mu.Unlock()
		f.node.write(b[:half], offset)
		return half, err
	}
	defer f.fs.mu.Unlock()
	f.node.write(b, offset)
	return len(b), nil
}

func (n *inode) write(b []byte, offset int64) {
	n.resize(max(int64(len(n.content)), offset+int64(len(b))))
	copy(n.content[offset:], b)
	for block := offset / blockBytes; block*blockBytes < offset+int64(len(b)); block++ {
		n.dirty[block] = struct{}{}
	}
}

// resize changes the size; blocks that come or go are dirty.
func (n *inode) resize(size int64) {
	old := int64(len(n.content))
	if size <= old {
		n.content = n.content[:size:size]
	} else {
		n.content = append(n.content, make([]byte, size-old)...)
	}
	for block := min(old, size) / blockBytes; block*blockBytes < max(old, size) && old != size; block++ {
		n.dirty[block] = struct{}{}
	}
}

func (f *file) Size() (int64, error) {
	if err := f.enter("Size"); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	return int64(len(f.node.content)), nil
}

// Allocate does nothing, as on systems without such a call.
func (f *file) Allocate(int64) error {
	if err := f.enter("Allocate"); err != nil {
		return err
	}
	f.fs.mu.Unlock()
	return nil
}

func (f *file) Truncate(size int64) error {
	if err := f.enter("Truncate"); err != nil {
		return err
	}
	defer f.fs.mu.Unlock()
	f.node.resize(size)
	return nil
}

func (f *file) Sync() error     { return f.sync("Sync") }
func (f *file) Datasync() error { return f.sync("Datasync") }

func (f *file) sync(op string) error {
	if err := f.enter(op); err != nil {
		f.fs.mu.Lock()
		defer f.fs.mu.Unlock()
		clear(f.node.dirty) // as systems do: the next sync succeeds and writes none of this
		return err
	}
	defer f.fs.mu.Unlock()
	f.node.sync()
	return nil
}

func (n *inode) sync() {
	size := len(n.content)
	if len(n.safe) > size {
		n.safe = n.safe[:size]
	}
	n.safe = append(n.safe, make([]byte, size-len(n.safe))...)
	for block := range n.dirty {
		at := min(block*blockBytes, int64(size))
		copy(n.safe[at:], n.content[at:min(at+blockBytes, int64(size))])
	}
	clear(n.dirty)
}

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.closed = true
	return nil
}
