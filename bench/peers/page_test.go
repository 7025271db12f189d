package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestSplice(t *testing.T) {
	t.Parallel()
	const begin, end = measuredBegin + "\n", measuredEnd + "\n"
	got, err := splice("# Title\n"+begin+"old\n"+end+"## By hand\n", "new\n")
	if want := "# Title\n" + begin + "\nnew\n\n" + end + "## By hand\n"; err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	again, err := splice(got, "new\n")
	if err != nil || again != got {
		t.Errorf("the same again makes it %q, %v", again, err)
	}
	for name, c := range map[string]struct{ page, named string }{
		"no marks":  {"# Title\n", measuredBegin},
		"no begin":  {end, measuredBegin},
		"no end":    {begin + "old\n", measuredEnd},
		"two":       {begin + end + begin + end, measuredBegin},
		"two ends":  {begin + end + end, measuredEnd},
		"end first": {end + begin, measuredEnd},
	} {
		if got, err := splice(c.page, "new"); err == nil || !strings.Contains(err.Error(), c.named) || got != "" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestDocumentedPage(t *testing.T) {
	t.Parallel()
	if err := (page{"../../docs/performance.md"}).check(); err != nil {
		t.Error(err)
	}
}

// A page that is not there is made; one without marks stays as it is.
func TestPage(t *testing.T) {
	t.Parallel()
	p := page{filepath.Join(t.TempDir(), "speed.md")}
	if err := p.write("fast", map[string][]byte{"growth": []byte("<svg/>")}); err != nil {
		t.Fatal(err)
	}
	if text := read(t, p.file); !strings.HasPrefix(text, "# Performance\n") || !strings.Contains(text, "\nfast\n") {
		t.Errorf("%q", text)
	}
	if picture := read(t, filepath.Join(filepath.Dir(p.file), "speed-growth.svg")); picture != "<svg/>" {
		t.Errorf("%q", picture)
	}
	write(t, p.file, "by hand")
	if err := p.write("faster", nil); err == nil || !strings.Contains(err.Error(), p.file) {
		t.Errorf("%v, want what is wrong with the page", err)
	}
	if text := read(t, p.file); text != "by hand" {
		t.Errorf("%q", text)
	}
}
