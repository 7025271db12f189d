package integration

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"baton/failover/client"
)

// The recipes of docs/failover.md are run as they stand, but for the addresses, over brokers that are killed: each sends 200
// messages and takes them again, and in the end nothing is left in the queue, so none was in it twice.
func TestRecipes(t *testing.T) {
	t.Parallel()
	python.require(t)
	ruby.require(t)
	blocks := fencedBlocks(t, "../docs/failover.md", "Clients")
	for _, recipe := range []struct {
		language, has string
		command       func(t *testing.T, code string) *exec.Cmd
	}{
		{"go", "client.Dial", goRecipe},
		{"python", "import stomp", func(t *testing.T, code string) *exec.Cmd {
			return exec.CommandContext(within(t), "/usr/bin/python3", fileOf(t, t.TempDir(), "recipe.py", code))
		}},
		{"ruby", `require "stomp"`, func(t *testing.T, code string) *exec.Cmd {
			return exec.CommandContext(within(t), "ruby", fileOf(t, t.TempDir(), "recipe.rb", code))
		}},
		{"javascript", "@stomp/stompjs", stompjsRecipe},
	} {
		code := take(t, &blocks, recipe.language, recipe.has)
		t.Run(recipe.language, func(t *testing.T) {
			t.Parallel()
			race := startRace(t)
			run(t, race, recipe.command(t, addressed(t, code, race.addrs)))
		})
	}
	take(t, &blocks, "java", "enableStompBrokerRelay") // which says that it is not tested
	for _, block := range blocks {
		t.Errorf("this recipe is not tested:\n%s", block.code)
	}
}

// addressed puts the brokers' addresses into a recipe.
func addressed(t *testing.T, code string, addrs [2]string) string {
	t.Helper()
	for i, name := range []string{"a.example", "b.example"} {
		host, port, err := net.SplitHostPort(addrs[i])
		must(t, "port", err)
		before := code
		for _, between := range []string{`:`, `", `, `", port: `} { // as the languages write an address
			code = strings.ReplaceAll(code, name+between+"61613", host+between+port)
		}
		if code == before {
			t.Fatalf("the recipe does not name %s", name)
		}
	}
	return code
}

func fileOf(t *testing.T, dir, name, code string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	must(t, "write", os.WriteFile(file, []byte(code), 0o600))
	return file
}

// goRecipe is built in the module's root, where a program may import the client.
func goRecipe(t *testing.T, code string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "recipe")
	build := exec.CommandContext(within(t), "go", "build", "-o", program, fileOf(t, dir, "recipe.go", code))
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return exec.CommandContext(within(t), program)
}

// stompjsRecipe has the library installed beside it.
func stompjsRecipe(t *testing.T, code string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	install := exec.CommandContext(within(t), "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", dir, "@stomp/stompjs@7.5.0")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm, which comes with Node, cannot install @stomp/stompjs: %v\n%s", err, out)
	}
	return exec.CommandContext(within(t), "node", fileOf(t, dir, "recipe.mjs", code))
}

// run has a recipe send and receive while its broker is killed, and checks what it has printed and left.
func run(t *testing.T, race *relayRace, cmd *exec.Cmd) {
	t.Helper()
	const orders, kills = 200, 3
	var complaints strings.Builder
	cmd.Stderr = &complaints
	stdout, err := cmd.StdoutPipe()
	must(t, "pipe", err)
	must(t, "start", cmd.Start())
	lines := bufio.NewScanner(stdout)
	seen := map[int]bool{}
	for killed := 0; lines.Scan(); {
		n, err := strconv.Atoi(strings.TrimPrefix(lines.Text(), "got order "))
		if err != nil || n < 0 || n >= orders {
			t.Errorf("printed %q", lines.Text())
		}
		if seen[n] = true; killed < kills && len(seen) > (killed+1)*orders/(kills+2) {
			killed++
			race.failOver(t)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	if len(seen) != orders {
		t.Errorf("%d orders were received, want %d\n%s", len(seen), orders, complaints.String())
	}
	wantEmpty(t, dialFailover(t, race.url(), client.Options{}), "/queue/orders")
}
