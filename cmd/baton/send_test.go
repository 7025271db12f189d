package main

import (
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLines(t *testing.T) {
	t.Parallel()
	for input, want := range map[string][]string{
		"":                 nil,
		"hello":            {"hello"},
		"hello\n":          {"hello"},
		"a\n\nb\r\nc \x00": {"a", "", "b\r", "c \x00"},
	} {
		var got []string
		for line, err := range lines(iotest.OneByteReader(strings.NewReader(input)), 1<<20) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(line))
		}
		if !slices.Equal(got, want) {
			t.Errorf("lines of %q are %q, want %q", input, got, want)
		}
	}
}

func TestLineTooLong(t *testing.T) {
	t.Parallel()
	var got []string
	for line, err := range lines(strings.NewReader("ok\n"+strings.Repeat("x", 100)+"\nnever"), 64) {
		if err != nil {
			got = append(got, err.Error())
		} else {
			got = append(got, string(line))
		}
	}
	if want := []string{"ok", "standard input: a line is longer than 64 bytes"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
