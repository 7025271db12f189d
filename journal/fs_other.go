//go:build unix && !linux

package journal

// Allocate does nothing: the zeros written afterwards reserve the blocks.
func (f osFile) Allocate(int64) error { return nil }

// Datasync is Sync, which on macOS asks the drive to empty its cache (F_FULLFSYNC); fdatasync there does not.
func (f osFile) Datasync() error { return f.Sync() }
