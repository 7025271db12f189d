package arbiter_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"baton/failover/arbiter"
)

func TestMakeToken(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "arbiter")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if path, err := arbiter.MakeToken(dir); err != nil || path != filepath.Join(dir, "token") {
				t.Errorf("got %s, %v", path, err)
			}
		})
	}
	all.Wait()
	first := readToken(t, dir)
	if len(strings.TrimSpace(first)) < 26 {
		t.Errorf("the token %q has less than 128 bits", first)
	}
	if _, err := arbiter.MakeToken(dir); err != nil || readToken(t, dir) != first {
		t.Errorf("the token has changed (%v)", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("%v, %v: want the token alone", names, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "token")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	other := t.TempDir()
	if _, err := arbiter.MakeToken(other); err != nil || readToken(t, other) == first {
		t.Errorf("two directories have one token (%v)", err)
	}
}

func readToken(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "token"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
