package memfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"baton/journal"
)

// Call is one call of a method of the FS or of one of its files.
type Call struct {
	Op   string // the method's name
	Name string // the file's path now, or the last one it had
	File int    // number of the open file, 0 for the methods of FS
}

// Writes tells whether the call changes or syncs anything.
func (c Call) Writes() bool {
	switch c.Op {
	case "Create", "Rename", "Remove", "SyncDir", "WriteAt", "WriteVectors", "Allocate", "Truncate", "Sync", "Datasync":
		return true
	}
	return false
}

// FS is an in-memory file system. It implements journal.FS.
type FS struct {
	mu     sync.Mutex
	onCall func(Call) error
	names  map[string]*inode // as a running program sees them
	safe   map[string]*inode // as of the last SyncDir
	steps  []step            // from safe to names
	locks  map[string]bool
	opened int   // files so far
	size   int64 // of the disk; 0: without end
	used   int64 // bytes of all files that have a name or are open, in pages
}

// ErrShort is what OnCall returns to make a read or write stop half-way and say so without an error, as write(2) may.
// Other calls are not changed by it.
var ErrShort = errors.New("half of it")

// step is one change of names; a rename is one step, for it is atomic.
type step struct {
	from, to string // either may be empty
	node     *inode // what to names; nil: they are directories
}

// New returns an empty file system.
func New() *FS {
	return &FS{names: map[string]*inode{}, safe: map[string]*inode{}, locks: map[string]bool{}}
}

// OnCall sets a function that is called before each call, without any lock: it may block, which is a disk that hangs, and
// may call CrashClone. An error makes the call fail: a write after half of the bytes, a sync with nothing written that
// the next one would make good. See also ErrShort. Nil sets none.
func (m *FS) OnCall(fn func(Call) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onCall = fn
}

func (m *FS) call(op, name string) error { return first(nil, m.announce(Call{Op: op, Name: name})) }

func (m *FS) announce(c Call) error {
	m.mu.Lock()
	fn := m.onCall
	m.mu.Unlock()
	if fn == nil {
		return nil
	}
	return fn(c)
}

// CrashClone returns the file system as it may be found after a crash now; keep is asked for each changed block, size and
// name that was not synced. The original goes on.
func (m *FS) CrashClone(keep Keep) *FS {
	m.mu.Lock()
	defer m.mu.Unlock()
	clone := New()
	survivors := maps.Clone(m.safe)
	for _, s := range m.steps {
		if keep(Change{Kind: Name, File: s.file()}) {
			s.apply(survivors)
		}
	}
	nodes := map[*inode]*inode{}
	for _, name := range slices.Sorted(maps.Keys(survivors)) {
		node := survivors[name]
		if nodes[node] == nil {
			nodes[node] = node.crash(name, keep)
		}
		clone.put(name, nodes[node])
	}
	clone.size = m.size
	return clone
}

// KillClone returns the file system as the next process finds it when the one that uses it is killed now: everything is
// there, and what was not synced can still be lost in a crash of the clone. The original goes on.
func (m *FS) KillClone() *FS {
	m.mu.Lock()
	defer m.mu.Unlock()
	clone := New()
	clone.size = m.size
	nodes := map[*inode]*inode{}
	twin := func(n *inode) *inode {
		if n != nil && nodes[n] == nil {
			nodes[n] = n.twin()
		}
		return nodes[n]
	}
	for name, n := range m.safe {
		clone.safe[name] = twin(n)
	}
	for _, s := range m.steps {
		clone.steps = append(clone.steps, step{s.from, s.to, twin(s.node)})
	}
	for name, n := range m.names {
		clone.names[name] = twin(n)
		if clone.names[name].links++; clone.names[name].links == 1 {
			clone.used += pages(n.size())
		}
	}
	return clone
}

func (s step) file() string {
	if s.to == "" {
		return s.from
	}
	return s.to
}

func (s step) apply(names map[string]*inode) {
	if s.node == nil && s.to != "" {
		s.applyToDir(names)
		return
	}
	delete(names, s.from)
	if s.to != "" {
		names[s.to] = s.node
	}
}

// applyToDir moves what is in a directory.
func (s step) applyToDir(names map[string]*inode) {
	for name, node := range maps.Clone(names) {
		if rest, ok := strings.CutPrefix(name, s.from+"/"); ok {
			delete(names, name)
			names[s.to+"/"+rest] = node
		}
	}
}

// Names returns all files, sorted.
func (m *FS) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.names))
}

// Content returns a copy of what the file called name holds; nil when there is none.
func (m *FS) Content(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.names[name]; n != nil {
		return slices.Clone(n.content)
	}
	return nil
}

// Put makes a file with the given content, durable at once.
func (m *FS) Put(name string, content []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(name, settled(slices.Clone(content)))
}

func (m *FS) put(name string, n *inode) {
	m.change(step{to: name, node: n})
	m.steps = m.steps[:len(m.steps)-1]
	m.safe[name] = n
	m.used += pages(n.size())
}

// MkdirAll implements journal.FS; directories are not modelled.
func (m *FS) MkdirAll(dir string) error { return m.call("MkdirAll", dir) }

// Create implements journal.FS.
func (m *FS) Create(name string) (journal.File, error) {
	if err := m.call("Create", name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := settled(nil)
	m.change(step{to: name, node: n})
	return m.open(n, true), nil
}

func (m *FS) open(n *inode, writable bool) *file {
	m.opened++
	n.links++
	return &file{fs: m, node: n, number: m.opened, writable: writable}
}

func (m *FS) change(s step) {
	m.steps = append(m.steps, s)
	from, to := m.names[s.from], m.names[s.to]
	s.apply(m.names)
	if s.to != "" {
		s.node.name = s.to
		s.node.links++
	}
	m.unlink(from)
	m.unlink(to)
}

// Open implements journal.FS.
func (m *FS) Open(name string, write bool) (journal.File, error) {
	if err := m.call("Open", name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[name]
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return m.open(n, write), nil
}

// Rename implements journal.FS. A directory is one that holds files; what is to have its name must not.
func (m *FS) Rename(from, to string) error {
	if err := m.call("Rename", from); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[from]
	if n == nil && m.isDir(from) {
		return m.renameDir(from, to)
	}
	if n == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	m.change(step{from: from, to: to, node: n})
	return nil
}

func (m *FS) isDir(name string) bool {
	for file := range m.names {
		if strings.HasPrefix(file, name+"/") {
			return true
		}
	}
	return false
}

func (m *FS) renameDir(from, to string) error {
	if m.names[to] != nil || m.isDir(to) {
		return &fs.PathError{Op: "rename", Path: to, Err: syscall.ENOTEMPTY}
	}
	s := step{from: from, to: to}
	m.steps = append(m.steps, s)
	s.apply(m.names)
	for name, n := range m.names {
		if strings.HasPrefix(name, to+"/") {
			n.name = name
		}
	}
	return nil
}

// Remove implements journal.FS.
func (m *FS) Remove(name string) error {
	if err := m.call("Remove", name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	m.change(step{from: name})
	return nil
}

// ReadDir implements journal.FS.
func (m *FS) ReadDir(dir string) ([]string, error) {
	if err := m.call("ReadDir", dir); err != nil {
		return nil, err
	}
	var names []string
	for _, name := range m.Names() {
		if filepath.Dir(name) == filepath.Clean(dir) {
			names = append(names, filepath.Base(name))
		}
	}
	return names, nil
}

// SyncDir implements journal.FS; it makes the names in all directories safe.
func (m *FS) SyncDir(dir string) error {
	if err := m.call("SyncDir", dir); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.safe, m.steps = maps.Clone(m.names), nil
	return nil
}

// Lock implements journal.FS; locks are no files and do not survive a crash.
func (m *FS) Lock(name string) (io.Closer, error) {
	if err := m.call("Lock", name); err != nil {
		return nil, err
	}
	if err := m.CheckLock(name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.locks[name] = true
	return unlocker{m, name}, nil
}

// CheckLock implements journal.FS.
func (m *FS) CheckLock(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[name] {
		return fmt.Errorf("%w: %s is held", journal.ErrLocked, name)
	}
	return nil
}

type unlocker struct {
	fs   *FS
	name string
}

func (u unlocker) Close() error {
	u.fs.mu.Lock()
	defer u.fs.mu.Unlock()
	delete(u.fs.locks, u.name)
	return nil
}
