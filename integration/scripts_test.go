package integration

import (
	"net"
	"os/exec"
	"slices"
	"testing"

	"baton/integration/process"
)

// scenarios of the scripts, by the function's name in them, with the versions that can do it.
var scenarios = []struct {
	name     string
	versions []string
}{
	{"auto", []string{"1.0", "1.1", "1.2"}},
	{"cumulative", []string{"1.0", "1.1", "1.2"}},
	{"individual", []string{"1.1", "1.2"}},
	{"nack", []string{"1.1", "1.2"}},
	{"transactions", []string{"1.0", "1.1", "1.2"}},
	{"topic", []string{"1.0", "1.1", "1.2"}},
	{"idle", []string{"1.1", "1.2"}},
}

// python is Debian's interpreter, which sees python3-stomp; another one on the PATH does not.
var python = script{[]string{"/usr/bin/python3", "testdata/python/client.py"},
	[]string{"/usr/bin/python3", "-c", "import stomp"}, "stomp.py is missing: apt-get install python3-stomp"}

var ruby = script{[]string{"ruby", "-W0", "testdata/ruby/client.rb"},
	[]string{"ruby", "-e", "require 'stomp'"}, "Ruby stomp is missing: apt-get install ruby-stomp"}

// script is a client in another language.
type script struct {
	command []string
	probe   []string // fails where the client is not installed
	missing string   // what to say then
}

func TestPython(t *testing.T) { t.Parallel(); python.test(t) }
func TestRuby(t *testing.T)   { t.Parallel(); ruby.test(t) }

// require fails the test where the client is not installed.
func (s script) require(t *testing.T) {
	t.Helper()
	if out, err := exec.CommandContext(within(t), s.probe[0], s.probe[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s (%v)\n%s", s.missing, err, out)
	}
}

func (s script) test(t *testing.T) {
	s.require(t)
	for _, scenario := range scenarios {
		for _, version := range scenario.versions {
			t.Run(scenario.name+"/"+version, func(t *testing.T) {
				t.Parallel()
				b := start(t, options(t, "BATON_STOMP_HEARTBEAT_SEND=1s", "BATON_STOMP_HEARTBEAT_RECEIVE=1s"))
				s.run(t, b, version, scenario.name)
			})
		}
	}
	for _, version := range []string{"1.0", "1.1", "1.2"} {
		t.Run("durable/"+version, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			b := start(t, o)
			s.run(t, b, version, "keep")
			b.Kill()
			s.run(t, start(t, o), version, "fetch")
		})
	}
}

func (s script) run(t *testing.T, b *process.Broker, version, scenario string) {
	t.Helper()
	_, port, err := net.SplitHostPort(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	args := append(slices.Clone(s.command[1:]), port, version, scenario)
	if out, err := exec.CommandContext(within(t), s.command[0], args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s\n%s", scenario, err, out, b.Log())
	}
}
