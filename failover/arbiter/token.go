package arbiter

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"baton/journal"
)

// MakeToken makes sure that a directory has a token, in a file that its owner alone can read, and returns the path of that
// file. An existing one stays as it is, whoever else makes one at the same time.
func MakeToken(dir string) (path string, err error) {
	path = filepath.Join(dir, "token")
	if _, err := os.Lstat(path); err == nil {
		return path, nil
	}
	var fsys journal.OS
	if err := fsys.MkdirAll(dir); err != nil {
		return path, fmt.Errorf("arbiter: %w", err)
	}
	aside, err := writeToken(dir)
	if err != nil {
		return path, fmt.Errorf("arbiter: make a token: %w", err)
	}
	defer os.Remove(aside)
	// Complete or not there; and of two that are made at once the first one stays.
	if err := os.Link(aside, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return path, fmt.Errorf("arbiter: make a token: %w", err)
	}
	return path, fsys.SyncDir(dir)
}

// writeToken writes a new token to a file of its own; os.CreateTemp gives it the mode 0600.
func writeToken(dir string) (path string, err error) {
	file, err := os.CreateTemp(dir, "token-*.new")
	if err != nil {
		return "", err
	}
	_, err = fmt.Fprintln(file, rand.Text())
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		os.Remove(file.Name())
	}
	return file.Name(), err
}
