package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The examples of a network in the README: its secret, the brokers, and a client.
var networkExamples = []string{"network.secret", "BATON_NETWORK_NAME", "/queue/net"}

// networkPorts are those of the examples of a network, of clients and of routes.
var networkPorts = []string{"61613", "61614", "61615", "61633", "61634", "61635"}

// portsOfNetwork is how text is to be changed to have free ports, and the binary of the tests.
func portsOfNetwork(t *testing.T) *strings.Replacer {
	t.Helper()
	changes := []string{"bin/baton", binary}
	for i, at := range freeAddresses(t, pairHost(), len(networkPorts)) {
		changes = append(changes, "127.0.0.1:"+networkPorts[i], at)
	}
	return strings.NewReplacer(changes...)
}

// The README's network is run as it stands, but for ports: what is sent to one broker is received from another.
func TestReadmeNetwork(t *testing.T) {
	t.Parallel()
	dir, ports := t.TempDir(), portsOfNetwork(t)
	text, err := os.ReadFile("../config/network-3.yml")
	must(t, "read", err)
	must(t, "mkdir", os.Mkdir(filepath.Join(dir, "config"), 0o700))
	fileOf(t, dir, "config/network-3.yml", ports.Replace(string(text)))
	blocks := fencedBlocks(t, "../README.md", "A network")
	runLine(t, dir, ports, take(t, &blocks, "sh", networkExamples[0]))
	brokers := take(t, &blocks, "sh", networkExamples[1])
	for line := range strings.Lines(brokers) {
		startLine(t, dir, ports, strings.TrimSpace(line))
		if !strings.Contains(string(text), strings.TrimSuffix(strings.TrimSpace(line), " &")) {
			t.Errorf("config/network-3.yml does not say the same: %s", line)
		}
	}
	if got := runLine(t, dir, ports, take(t, &blocks, "sh", networkExamples[2])); strings.TrimSpace(got) != "hello" {
		t.Errorf("received %q", got)
	}
}

// The demo of a network ends as the README says.
func TestReadmeDemoNetwork(t *testing.T) {
	t.Parallel()
	readmeDemo(t, "baton/integration/demo/network", "lost 0, twice 0 ")
}

var namedYAML = regexp.MustCompile("(?ms)^`([a-z]+\\.yml)`:\n\n```yaml\n(.*?)^```$")

// docs/network.md is followed word for word by somebody who knows nothing else, but for ports: three brokers are one network.
func TestNetworkGuide(t *testing.T) {
	t.Parallel()
	const guide = "../docs/network.md"
	dir, ports := t.TempDir(), portsOfNetwork(t)
	text, err := os.ReadFile(guide)
	must(t, "read", err)
	files := namedYAML.FindAllStringSubmatch(string(text), -1)
	for _, file := range files {
		fileOf(t, dir, file[1], ports.Replace(file[2]))
	}
	if len(files) != 3 {
		t.Errorf("%d files of configuration", len(files))
	}
	blocks := fencedBlocks(t, guide, "")
	runLine(t, dir, ports, take(t, &blocks, "sh", "/dev/urandom"))
	var lines []string
	var brokers []*exec.Cmd
	for _, file := range files {
		take(t, &blocks, "yaml", file[2])
		lines = append(lines, strings.TrimSpace(take(t, &blocks, "sh", "serve --config "+file[1])))
		brokers = append(brokers, startLine(t, dir, ports, lines[len(lines)-1]))
	}
	if got := runLine(t, dir, ports, take(t, &blocks, "sh", "baton send")); strings.TrimSpace(got) != "hello" {
		t.Errorf("received %q", got)
	}
	status, explain, _ := strings.Cut(strings.TrimSpace(take(t, &blocks, "sh", "network status")), "\n")
	for ctx := within(t); ; time.Sleep(askEvery) { // paris may not have been heard of yet
		got := runLine(t, dir, ports, status)
		if strings.Contains(got, "berlin") && strings.Contains(got, "paris") && strings.Contains(got, "rome") {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the status is\n%s", got)
		}
	}
	if got := runLine(t, dir, ports, explain); !strings.Contains(got, "berlin: 0 messages of /queue/orders wait") || !strings.Contains(got, "rome: 0 messages") {
		t.Errorf("explained:\n%s", got)
	}
	must(t, "kill", brokers[0].Process.Kill())
	_ = brokers[0].Wait() // it was killed
	static := take(t, &blocks, "yaml", "static:")
	fileOf(t, dir, "berlin.yml", ports.Replace(strings.Replace(files[0][2], "network:\n", static, 1)))
	startLine(t, dir, ports, lines[0])
	runLine(t, dir, ports, "bin/baton send /queue/audit.log 'kept' --server 127.0.0.1:61613")
	for ctx := within(t); ; time.Sleep(askEvery) {
		got := runLine(t, dir, ports, "bin/baton network explain audit.log --data ./paris")
		if strings.Contains(got, "paris: 1 messages of /queue/audit.log wait") {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("what berlin is to give to paris is not there:\n%s", got)
		}
	}
	for _, block := range blocks {
		if block.language == "yaml" { // that berlin could have too
			file := fileOf(t, dir, "more.yml", block.code)
			check := exec.CommandContext(within(t), binary, "config", "check", file)
			check.Env = append(os.Environ(), "BATON_NETWORK_NAME=berlin")
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%v: %s\n%s", err, out, block.code)
			}
			continue
		}
		t.Errorf("this example is not followed:\n%s", block.code)
	}
}
