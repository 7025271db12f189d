package journal_test

import (
	"os"
	"path/filepath"
	"testing"

	"baton/journal"
)

func TestAlone(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "file")
	file, err := journal.OS{}.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	want := func(title string, want bool) {
		t.Helper()
		if got := file.Alone(); got != want {
			t.Errorf("%s: %t", title, got)
		}
	}
	want("nobody else", true)
	reader, err := journal.OS{}.Open(name, false)
	if err != nil {
		t.Fatal(err)
	}
	want("beside a reader", false)
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	want("after it", true)
	if err := os.Link(name, name+".copy"); err != nil {
		t.Fatal(err)
	}
	want("with another name", false)
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	want("closed", false)
}
