package config_test

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"baton/config"
)

const sample = "baton.yml"

// The sample documents every key, each with the default it has; neither side can drift.
func TestSampleDocumentsEveryKeyWithItsDefault(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	var documented, described []string
	for key, line := range entries(string(text)) {
		documented = append(documented, fmt.Sprint(key, ": ", line))
	}
	defaults, err := config.Describe(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	for key, line := range entries(defaults) {
		described = append(described, fmt.Sprint(key, ": ", line))
	}
	if got, want := strings.Join(documented, "\n"), strings.Join(described, "\n"); got != want {
		t.Errorf("%s documents\n%s\n\nthe defaults are\n%s", sample, got, want)
	}
	if len(documented) != len(config.Keys()) {
		t.Errorf("%s documents %d keys of %d", sample, len(documented), len(config.Keys()))
	}
}

func TestSampleExplainsEveryKey(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(text, []byte("\n"))
	for i, line := range lines {
		entry := strings.TrimSpace(string(line))
		isKey := entry != "" && !strings.HasPrefix(entry, "#") && !strings.HasSuffix(entry, ":")
		if isKey && !strings.HasPrefix(strings.TrimSpace(string(lines[i-1])), "#") {
			t.Errorf("%s:%d: %s: no comment above", sample, i+1, entry)
		}
	}
}

func TestSampleLoadsAsDefault(t *testing.T) {
	t.Parallel()
	got, err := config.Load(config.Sources{File: sample})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, config.Default()) {
		t.Errorf("%s loads as\n%+v\nwant\n%+v", sample, got, config.Default())
	}
}

// entries yields "key, value" of each line of YAML that has a value, with the value as it is written.
func entries(text string) func(yield func(string, string) bool) {
	return func(yield func(string, string) bool) {
		var path []string
		for line := range strings.Lines(text) {
			entry := strings.TrimSpace(line)
			if entry == "" || strings.HasPrefix(entry, "#") {
				continue
			}
			depth := (len(line) - len(strings.TrimLeft(line, " "))) / 2
			name, value, _ := strings.Cut(entry, ":")
			path = append(path[:depth], name)
			if value != "" && !yield(strings.Join(path, "."), strings.TrimSpace(value)) {
				return
			}
		}
	}
}
