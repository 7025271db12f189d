package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"baton": main})
}

// Each script of testdata is a person at a shell, in an empty directory. Beside the usual commands of a script there are
//
//	exits CODE PROGRAM [ARG…]   runs a program and wants that exit code
//	broker [ARG…]               starts a broker on a free port, which is then $SERVER
//	terminate                   ends it with SIGTERM and wants it to end well; its log is then in broker.log
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		// Under -race each program would sleep for a second before it exits.
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exits,
			"broker":    startBroker,
			"terminate": terminateBroker,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// brokers has the *brokerProcess of each script that runs one, by its *testscript.TestScript.
var brokers sync.Map

type brokerProcess struct {
	cmd   *exec.Cmd
	log   strings.Builder // may be read when the process has ended
	ended chan struct{}   // closed when err is set
	err   error
}

// wait waits for the end of the process.
func (b *brokerProcess) wait() error {
	<-b.ended
	return b.err
}

func (b *brokerProcess) kill() {
	_ = b.cmd.Process.Kill()
	<-b.ended
}

func startBroker(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("broker cannot be negated")
	}
	args = append([]string{"serve", "--listen", "127.0.0.1:0", "--data", ts.MkAbs("data")}, args...)
	cmd := exec.Command("baton", args...)
	cmd.Dir = ts.MkAbs(".")
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	b := &brokerProcess{cmd: cmd, ended: make(chan struct{})}
	cmd.Stderr = &b.log
	ts.Check(cmd.Start())
	ts.Defer(b.kill)
	ready, err := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		_, _ = io.Copy(io.Discard, stdout)
		b.err = cmd.Wait()
		close(b.ended)
	}()
	if err != nil {
		b.kill()
		ts.Fatalf("the broker did not get ready: %v\n%s", err, b.log.String())
	}
	_, rest, _ := strings.Cut(ready, "STOMP on ")
	server, _, _ := strings.Cut(rest, ",")
	ts.Setenv("SERVER", server)
	ts.Logf("%s", ready)
	brokers.Store(ts, b)
}

func terminateBroker(ts *testscript.TestScript, _ bool, _ []string) {
	running, ok := brokers.LoadAndDelete(ts)
	if !ok {
		ts.Fatalf("no broker runs")
	}
	b := running.(*brokerProcess)
	ts.Check(b.cmd.Process.Signal(syscall.SIGTERM))
	ts.Check(b.wait())
	ts.Check(os.WriteFile(ts.MkAbs("broker.log"), []byte(b.log.String()), 0o600))
}
