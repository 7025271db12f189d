//go:build unix && !linux

package journal

// Allocate does nothing: the zeros written afterwards reserve the blocks.
func (f osFile) Allocate(int64) error { return nil }

// WriteVectors makes a call for each vector.
func (f osFile) WriteVectors(vectors [][]byte, offset int64) (done int, err error) {
	for _, v := range vectors {
		n, err := f.WriteAt(v, offset+int64(done))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Alone is false: nothing here tells who has a file open.
func (f osFile) Alone() bool { return false }

// Datasync is Sync, which on macOS asks the drive to empty its cache (F_FULLFSYNC); fdatasync there does not.
func (f osFile) Datasync() error { return f.Sync() }
