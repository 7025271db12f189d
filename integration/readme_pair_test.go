package integration

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"baton/integration/process"
)

// The examples of a pair in the README: the commands of the first terminal, of the second one, and those of a client.
var pairExamples = []string{"bin/baton arbiter", "pair-b.yml", "failover:("}

// The README's pair is run as it stands, but for ports: what was sent to it is there when its master was killed.
func TestReadmePair(t *testing.T) {
	t.Parallel()
	dir, ports := portsOfPair(t)
	blocks := fencedBlocks(t, "../README.md", "A pair")
	terminals := strings.Split(strings.TrimSpace(take(t, &blocks, "sh", pairExamples[0])), "\n")
	terminals = append(terminals, strings.TrimSpace(take(t, &blocks, "sh", pairExamples[1])))
	var programs []*exec.Cmd
	for _, line := range terminals {
		programs = append(programs, startLine(t, dir, ports, line))
	}
	send, receive, _ := strings.Cut(strings.TrimSpace(take(t, &blocks, "sh", pairExamples[2])), "\n")
	awaitRole(t, filepath.Join(dir, "baton-a"), "duplex")
	runLine(t, dir, ports, send)
	must(t, "kill", programs[1].Process.Kill())
	if got := runLine(t, dir, ports, receive); strings.TrimSpace(got) != "hello" {
		t.Errorf("received %q", got)
	}
}

// portsOfPair puts the files of deploy/ with free ports into a directory, and returns how text is to be changed so.
func portsOfPair(t *testing.T) (dir string, ports *strings.Replacer) {
	t.Helper()
	dir = t.TempDir()
	host := pairHost()
	var changes []string
	for _, port := range []string{"61613", "61614", "61622", "61623", "61624"} {
		changes = append(changes, "127.0.0.1:"+port, freeAddress(t, host))
	}
	changes = append(changes, "bin/baton", binary)
	ports = strings.NewReplacer(changes...)
	must(t, "mkdir", os.Mkdir(filepath.Join(dir, "deploy"), 0o700))
	for _, name := range []string{"deploy/pair-a.yml", "deploy/pair-b.yml"} {
		text, err := os.ReadFile(filepath.Join("..", name))
		must(t, "read", err)
		fileOf(t, dir, name, ports.Replace(string(text)))
	}
	return dir, ports
}

// startLine starts a server as a line of a shell says, and waits until it is ready.
func startLine(t *testing.T, dir string, ports *strings.Replacer, line string) *exec.Cmd {
	t.Helper()
	words := strings.Fields(ports.Replace(strings.TrimSuffix(line, "&")))
	env := append(os.Environ(), "BATON_ARBITER_LISTEN="+ports.Replace("127.0.0.1:61622"))
	for strings.HasPrefix(words[0], "BATON_") {
		env, words = append(env, words[0]), words[1:]
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = dir
	cmd.Env = env
	stdout, err := cmd.StdoutPipe()
	must(t, "pipe", err)
	must(t, "start", process.StartChild(cmd))
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ready, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.Contains(ready, "ready") {
		t.Fatalf("%s: %q, %v", line, ready, err)
	}
	return cmd
}

func runLine(t *testing.T, dir string, ports *strings.Replacer, line string) (stdout string) {
	t.Helper()
	cmd := exec.CommandContext(within(t), "bash", "-ec", ports.Replace(line))
	cmd.Dir = dir
	out, err := cmd.Output()
	must(t, line, err)
	return string(out)
}

// awaitRole waits until the node of a data directory has a role.
func awaitRole(t *testing.T, data, role string) {
	t.Helper()
	ctx := within(t)
	for ctx.Err() == nil {
		out, _ := exec.CommandContext(ctx, binary, "failover", "status", "--data", data).Output()
		if regexp.MustCompile(`(?m)^role +` + role).Match(out) {
			return
		}
	}
	t.Fatalf("the node in %s has not become %s", data, role)
}

var (
	demoNumber = regexp.MustCompile(`\d+`)
	demoNode   = regexp.MustCompile(`\b[ab]\b`)
)

// The demo says what the README says, but for numbers and which broker is which; none lost and none doubled is no number.
func TestReadmeDemo(t *testing.T) {
	t.Parallel()
	readmeDemo(t, "baton/integration/demo", "lost 0, doubled 0 ")
}

// readmeDemo runs a demo, which says what the README says, but for numbers and which broker is which, and has success in its end.
func readmeDemo(t *testing.T, demo, success string) {
	t.Helper()
	out, err := exec.CommandContext(within(t), "go", "run", demo, "-baton", binary).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), success) {
		t.Errorf("the demo ends without a success:\n%s", out)
	}
	text, err := os.ReadFile("../README.md")
	must(t, "read", err)
	plain := func(text string) string {
		return demoNode.ReplaceAllString(demoNumber.ReplaceAllString(text, "N"), "X")
	}
	indented := "    " + strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "\n    ") + "\n"
	if !strings.Contains(plain(string(text)), plain(indented)) {
		t.Errorf("the README has no transcript like this:\n%s", out)
	}
}

// The configurations that docs/failover.md shows are ones that a broker would start with.
func TestFailoverConfigurations(t *testing.T) {
	t.Parallel()
	for _, block := range fencedBlocks(t, "../docs/failover.md", "") {
		if block.language != "yaml" {
			continue
		}
		file := fileOf(t, t.TempDir(), "baton.yml", block.code)
		if out, err := exec.CommandContext(within(t), binary, "config", "check", file).CombinedOutput(); err != nil {
			t.Errorf("%v: %s\n%s", err, out, block.code)
		}
	}
}
