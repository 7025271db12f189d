package memfs

import "math"

// SetSize says how many bytes the disk has, 0 for without end. Files take whole pages of 4 KiB, from when they are
// written or allocated until nothing names them and nobody has them open. What does not fit fails with ENOSPC.
func (m *FS) SetSize(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.size = bytes
}

// Used is how many bytes of the disk are taken.
func (m *FS) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// Free implements journal.FS.
func (m *FS) Free(dir string) (int64, error) {
	if err := m.call("Free", dir); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.free(), nil
}

func (m *FS) free() int64 {
	if m.size == 0 {
		return math.MaxInt64
	}
	return max(0, m.size-m.used)
}

func pages(bytes int64) int64 { return (bytes + pageBytes - 1) / pageBytes * pageBytes }

// grow takes the room that n needs to be size bytes long; false when there is not so much.
func (m *FS) grow(n *inode, size int64) bool {
	more := pages(size) - pages(n.size())
	if more > 0 && more > m.free() {
		return false
	}
	m.used += max(0, more)
	return true
}

// fit takes the room that a write of size bytes to n needs and tells how many of them fit.
func (m *FS) fit(n *inode, offset int64, size int) int {
	if m.grow(n, offset+int64(size)) {
		return size
	}
	end := pages(n.size()) + m.free()/pageBytes*pageBytes
	if end <= offset {
		return 0
	}
	m.grow(n, end)
	return int(end - offset)
}

// unlink takes away a name or an open file of n, and its room with the last.
func (m *FS) unlink(n *inode) {
	if n == nil {
		return
	}
	if n.links--; n.links == 0 {
		m.used -= pages(n.size())
	}
}
