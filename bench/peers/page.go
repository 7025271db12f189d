package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// What is between these lines of a page is measured, and written anew; all else is written by hand, and stays.
const (
	measuredBegin = "<!-- measured: `make bench-peers` writes all from here to the end mark -->"
	measuredEnd   = "<!-- end of what is measured -->"
)

// A page is a file that is part measured, part written by hand, with pictures beside it.
type page struct{ file string }

// check says why the page could not be written.
func (p page) check() error {
	_, err := p.with("")
	return err
}

// with is the page with a new measured part. A page that is not there yet has no other.
func (p page) with(measured string) (string, error) {
	old, err := os.ReadFile(p.file)
	if errors.Is(err, fs.ErrNotExist) {
		old, err = []byte("# Performance\n\n"+measuredBegin+"\n"+measuredEnd+"\n"), nil
	}
	if err != nil {
		return "", err
	}
	text, err := splice(string(old), measured)
	if err != nil {
		return "", fmt.Errorf("%s: %w", p.file, err)
	}
	return text, nil
}

// splice puts text in the place of what is between the marks of a page.
func splice(page, text string) (string, error) {
	for _, mark := range []string{measuredBegin, measuredEnd} {
		if n := strings.Count(page, mark+"\n"); n != 1 {
			return "", fmt.Errorf("the line %s is there %d times, and must be once: what is between the marks is replaced", mark, n)
		}
	}
	before, rest, _ := strings.Cut(page, measuredBegin+"\n")
	_, after, found := strings.Cut(rest, measuredEnd+"\n")
	if !found {
		return "", fmt.Errorf("the line %s is before the line %s", measuredEnd, measuredBegin)
	}
	return before + measuredBegin + "\n\n" + strings.TrimSpace(text) + "\n\n" + measuredEnd + "\n" + after, nil
}

// write writes the page and its pictures.
func (p page) write(measured string, pictures map[string][]byte) error {
	text, err := p.with(measured)
	if err != nil {
		return err
	}
	for name, picture := range pictures {
		if err := os.WriteFile(filepath.Join(filepath.Dir(p.file), p.picture(name)), picture, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(p.file, []byte(text), 0o644)
}

// picture names the file of one, relative to the page.
func (p page) picture(name string) string {
	base := filepath.Base(p.file)
	return strings.TrimSuffix(base, filepath.Ext(base)) + "-" + name + ".svg"
}
