package journal

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
)

const idleFiles = 64 // open files of sealed segments that nobody reads just now

// errRetired tells that a segment has left the journal: it was trimmed, or a cleaned one took its place.
var errRetired = errors.New("the segment has been retired")

// files lends out the files of segments, and keeps the last used ones open.
type files struct {
	fs  FS
	dir string

	mu   sync.Mutex // a leaf: no I/O is done under it but closing files
	idle []*segment // open and without users, the last used last
}

// hold returns the file of s and keeps it open until release. The error is errRetired when s has left the journal and
// nobody holds it: then the segment is to be looked up again. As long as somebody does, its file is the one that was
// there at first, whatever has become of its name.
func (l *files) hold(s *segment) (File, error) {
	l.mu.Lock()
	s.users++
	l.idle = slices.DeleteFunc(l.idle, func(o *segment) bool { return o == s })
	file := s.file
	l.mu.Unlock()
	if file != nil {
		return file, nil
	}
	file, err := l.fs.Open(filepath.Join(l.dir, s.name()), false)
	return l.opened(s, file, err)
}

// opened hands out the file that was opened for s, unless somebody else was faster.
func (l *files) opened(s *segment, file File, err error) (File, error) {
	l.mu.Lock()
	if s.file == nil && err == nil && !s.retired {
		s.file, file = file, nil
	}
	held, retired := s.file, s.retired
	l.mu.Unlock()
	if err == nil && file != nil {
		_ = file.Close() // it was not used
	}
	switch {
	case held != nil:
		return held, nil
	case retired:
		err = errRetired
	}
	l.release(s)
	return nil, err
}

// release ends a hold.
func (l *files) release(s *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.users--
	switch {
	case s.users > 0 || s.file == nil:
	case s.retired:
		s.closeFile()
	default:
		l.idle = append(l.idle, s)
		if len(l.idle) > idleFiles {
			l.idle[0].closeFile()
			l.idle = slices.Delete(l.idle, 0, 1)
		}
	}
}

// retire says that s has left the journal. Its file is closed by its last user.
func (l *files) retire(s *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.retired = true
	l.idle = slices.DeleteFunc(l.idle, func(o *segment) bool { return o == s })
	if s.users == 0 && s.file != nil {
		s.closeFile()
	}
}

// closeFile also forgets the entries of the index, where they can be read again. The caller holds files.mu.
func (s *segment) closeFile() {
	_ = s.file.Close() // everything in it is synced, or has failed for good
	s.file = nil
	if s.sealed && s.version >= indexVersion {
		s.entries.Store(nil)
	}
}
