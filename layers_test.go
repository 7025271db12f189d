package baton_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// rooms says what of ours each room may import. A room's sub-folders belong to it, save where they have a line of their
// own, and may import one another.
var rooms = map[string][]string{
	".": {},
	// a corpus of packets for tests, that imports nothing of ours
	"broker/stomp/stomptest": {},
	// level 0
	"config":       {},
	"destinations": {},
	"journal":      {},
	"broker/stomp": {"broker/stomp/stomptest"},
	// level 1: these never import each other
	"broker":   {"destinations", "journal", "broker/stomp", "broker/stomp/stomptest"},
	"failover": {"journal"},
	// a client of its own, for other programs too
	"failover/client": {},
	"network":         {"destinations"},
	"bench":           {"broker/stomp"},
	// level 2
	"cmd": {"config", "destinations", "journal", "broker/stomp", "broker", "failover", "failover/client", "network", "bench"},
	// level 3
	"integration": {"cmd", "config", "failover/client", "network", "broker/stomp/stomptest"},
	"bench/peers": {"bench", "integration"},
}

// onlyIn names packages that one room alone may import.
var onlyIn = map[string]string{
	"github.com/spf13/viper": "config",
}

// The core is pure: no I/O, lock, goroutine, channel, clock, randomness or log.
const pureRoom = "destinations"

var (
	impurePackages = []string{
		"context", "crypto/rand", "go.uber.org/zap", "log", "math/rand", "net", "os", "sync", "syscall",
	}
	impureTime = []string{
		"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until",
	}
)

func TestLayers(t *testing.T) {
	t.Parallel()
	for _, broken := range brokenLayers(t, os.DirFS(".")) {
		t.Error(broken)
	}
}

func TestLayersFindWhatIsForbidden(t *testing.T) {
	t.Parallel()
	got := brokenLayers(t, fstest.MapFS{
		"broker/session.go":        {Data: []byte(`package broker; import ("baton/journal"; "baton/config"; "baton/broker/stomp")`)},
		"broker/stomp/reader.go":   {Data: []byte(`package stomp; import "baton/broker"`)},
		"broker/stomp/a/b_test.go": {Data: []byte(`package a; import ("baton/broker/stomp"; "baton/journal")`)},
		"failover/pair.go":         {Data: []byte(`package failover; import _ "github.com/spf13/viper"`)},
		"helpers/all.go":           {Data: []byte(`package helpers`)},
		"destinations/a_test.go":   {Data: []byte(`package destinations; import "os"; var now = time.Now`)},
		"destinations/clock.go": {Data: []byte(`package destinations
import ("log/slog"; "math/rand/v2"; wall "time")
type Machine struct{ wake chan int }
`)},
		"destinations/queue.go": {Data: []byte(`package destinations
import "time"
var deadline = time.Now().Add(time.Second)
func tick() { go tick() }
`)},
	})
	want := []string{
		"broker/session.go:1: broker must not import baton/config",
		"broker/stomp/a/b_test.go:1: broker/stomp must not import baton/journal",
		"broker/stomp/reader.go:1: broker/stomp must not import baton/broker",
		"destinations/clock.go:2: destinations must not import log/slog",
		"destinations/clock.go:2: destinations must not import math/rand/v2",
		"destinations/clock.go:2: destinations must not rename time",
		"destinations/clock.go:3: destinations must not use a channel",
		"destinations/queue.go:3: destinations must not use time.Now",
		"destinations/queue.go:4: destinations must not start a goroutine",
		"failover/pair.go:1: failover must not import github.com/spf13/viper",
		"helpers/all.go: no room of the table",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// brokenLayers lists what in the tree breaks the tables above, in the order of files and lines.
func brokenLayers(t *testing.T, tree fs.FS) []string {
	t.Helper()
	c := layerCheck{files: token.NewFileSet()}
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		return c.file(tree, name)
	})
	if err != nil {
		t.Fatal(err)
	}
	return c.broken
}

type layerCheck struct {
	files  *token.FileSet
	broken []string
}

func (c *layerCheck) file(tree fs.FS, name string) error {
	source, err := fs.ReadFile(tree, name)
	if err != nil {
		return err
	}
	file, err := parser.ParseFile(c.files, name, source, 0)
	if err != nil {
		return err
	}
	room, ok := roomOf(path.Dir(name))
	if !ok {
		c.broken = append(c.broken, name+": no room of the table")
		return nil
	}
	for _, spec := range file.Imports {
		c.layers(room, spec)
	}
	if room == pureRoom && !strings.HasSuffix(name, "_test.go") {
		c.purity(file)
	}
	return nil
}

// roomOf finds the longest line of the table that a folder lies in.
func roomOf(folder string) (string, bool) {
	for ; folder != "."; folder = path.Dir(folder) {
		if _, ok := rooms[folder]; ok {
			return folder, true
		}
		if !strings.Contains(folder, "/") {
			return "", false
		}
	}
	return ".", true
}

func (c *layerCheck) layers(room string, spec *ast.ImportSpec) {
	imported := importPath(spec)
	if only, ok := onlyIn[imported]; ok && only != room {
		c.forbid(spec, room, "import "+imported)
	}
	folder, ours := strings.CutPrefix(imported, "baton/")
	if !ours {
		return
	}
	other, ok := roomOf(folder)
	if !ok || other != room && !slices.Contains(rooms[room], other) {
		c.forbid(spec, room, "import "+imported)
	}
}

func (c *layerCheck) purity(file *ast.File) {
	for _, spec := range file.Imports {
		imported := importPath(spec)
		if slices.ContainsFunc(impurePackages, func(p string) bool { return imported == p || strings.HasPrefix(imported, p+"/") }) {
			c.forbid(spec, pureRoom, "import "+imported)
		}
		if imported == "time" && spec.Name != nil {
			c.forbid(spec, pureRoom, "rename time")
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.GoStmt:
			c.forbid(n, pureRoom, "start a goroutine")
		case *ast.ChanType:
			c.forbid(n, pureRoom, "use a channel")
		case *ast.SelectorExpr:
			if from, ok := n.X.(*ast.Ident); ok && from.Name == "time" && slices.Contains(impureTime, n.Sel.Name) {
				c.forbid(n, pureRoom, "use time."+n.Sel.Name)
			}
		}
		return true
	})
}

func (c *layerCheck) forbid(node ast.Node, room, what string) {
	at := c.files.Position(node.Pos())
	c.broken = append(c.broken, fmt.Sprintf("%s:%d: %s must not %s", at.Filename, at.Line, room, what))
}

func importPath(spec *ast.ImportSpec) string {
	unquoted, _ := strconv.Unquote(spec.Path.Value) // the parser has checked it
	return unquoted
}
