package broker

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"baton/broker/stomp"
)

// The page names exactly the headers that the code names.
func TestHeadersPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/stomp-headers.md")
	if err != nil {
		t.Fatal(err)
	}
	onPage := headersOnPage(string(page))
	inCode := headersInCode(t)
	for _, name := range slices.Sorted(maps.Keys(inCode)) {
		if !onPage[name] {
			t.Errorf("%s is in headers.go and not on the page", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(onPage)) {
		if !inCode[name] {
			t.Errorf("%s is on the page and not in headers.go", name)
		}
	}
}

// headersOnPage are the names in the first two columns of its tables.
func headersOnPage(page string) map[string]bool {
	names := map[string]bool{}
	quoted := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(page) {
		if cells := strings.Split(line, "|"); len(cells) > 3 && cells[0] == "" {
			for _, m := range quoted.FindAllStringSubmatch(cells[1]+cells[2], -1) {
				names[m[1]] = true
			}
		}
	}
	return names
}

// headersInCode are the values of the constants in headers.go.
func headersInCode(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{stomp.DroppedHeader: true}
	file, err := parser.ParseFile(token.NewFileSet(), "headers.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, v := range spec.Values {
			lit, ok := v.(*ast.BasicLit)
			if !ok {
				continue
			}
			name, err := strconv.Unquote(lit.Value)
			if err != nil || names[name] || !strings.HasPrefix(spec.Names[i].Name, "header") {
				t.Errorf("%s = %s: not a header, or there twice", spec.Names[i].Name, lit.Value)
			}
			names[name] = true
		}
		return true
	})
	return names
}

// No header is read or written but by its constant.
func TestHeadersAreConstants(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	literal := regexp.MustCompile(`(?:Header|required|truth|count|appendDestination)\((?:[\w.]+, )*"([^"]+)"`)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(text), "\n") {
			for _, m := range literal.FindAllStringSubmatch(line, -1) {
				t.Errorf("%s:%d: name the header %q by its constant", name, n+1, m[1])
			}
		}
	}
}
