package integration

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"baton/integration/process"
)

// The README's examples are run as they stand, but for the address of the broker.
func TestReadme(t *testing.T) {
	t.Parallel()
	python.require(t)
	ruby.require(t)
	if _, err := exec.LookPath("nc"); err != nil {
		t.Fatalf("netcat is missing: apt-get install netcat-openbsd (%v)", err)
	}
	b := start(t, options(t))
	blocks := fencedBlocks(t, "../README.md", "")
	for _, example := range []struct {
		name, language, has string
		want                []string
	}{
		{"send and receive", "sh", "baton receive", []string{"hello"}},
		{"netcat sends", "sh", "hello from netcat", []string{"CONNECTED", "receipt-id:1", "receipt-id:bye"}},
		{"netcat receives", "sh", "SUBSCRIBE", []string{"MESSAGE", "hello from netcat", "receipt-id:bye"}},
		{"python", "python", "import stomp", []string{"hello from python"}},
		{"ruby", "ruby", `require "stomp"`, []string{"hello from ruby"}},
		{"go", "go", "go-stomp", []string{"hello from go"}},
	} {
		// One after the other: some take what an earlier one has sent.
		t.Run(example.name, func(t *testing.T) {
			code := take(t, &blocks, example.language, example.has)
			out := runExample(t, b, example.language, code)
			for _, want := range example.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in the output:\n%s", want, out)
				}
			}
		})
	}
	for _, has := range slices.Concat(pairExamples, networkExamples) {
		take(t, &blocks, "sh", has) // which TestReadmePair and TestReadmeNetwork run
	}
	for _, block := range blocks {
		t.Errorf("this example of the README is not tested:\n%s", block.code)
	}
}

// block is a fenced example with its language.
type block struct{ language, code string }

var fenced = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// fencedBlocks are the examples of a file, or of one chapter of it.
func fencedBlocks(t *testing.T, file, chapter string) (blocks []block) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, "read", err)
	if chapter != "" {
		_, text, _ = bytes.Cut(text, []byte("\n## "+chapter+"\n"))
		text, _, _ = bytes.Cut(text, []byte("\n## "))
	}
	for _, found := range fenced.FindAllSubmatch(text, -1) {
		blocks = append(blocks, block{string(found[1]), string(found[2])})
	}
	return blocks
}

// take removes the first block that matches.
func take(t *testing.T, blocks *[]block, language, has string) string {
	t.Helper()
	for i, b := range *blocks {
		if b.language == language && strings.Contains(b.code, has) {
			*blocks = append((*blocks)[:i:i], (*blocks)[i+1:]...)
			return b.code
		}
	}
	t.Fatalf("there is no %s example with %q", language, has)
	return ""
}

// runExample runs code in the module's root and returns its output.
func runExample(t *testing.T, b *process.Broker, language, code string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(b.Addr)
	must(t, "port", err)
	code = strings.NewReplacer(
		"61613", port,
		"go run ./cmd/baton send", binary+" send --server "+b.Addr,
		"go run ./cmd/baton receive", binary+" receive --server "+b.Addr,
	).Replace(code)
	file := filepath.Join(t.TempDir(), "example."+language)
	must(t, "write", os.WriteFile(file, []byte(code), 0o600))
	command := map[string][]string{
		"sh": {"bash", "-e"}, "python": {"/usr/bin/python3"}, "ruby": {"ruby"}, "go": {"go", "run"},
	}[language]
	cmd := exec.CommandContext(within(t), command[0], append(command[1:], file)...)
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}
