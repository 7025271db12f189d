package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"baton/bench"
	"baton/integration/process"
)

// relayRole is the argument that makes this program a relay: a process of its own, as the brokers are.
const relayRole = "relay"

// isRelay says whether the arguments ask for a relay.
func isRelay(args []string) bool { return len(args) == 3 && args[1] == relayRole }

// serveRelay runs a relay with a log in a file. It says on out where it listens, and ends when in does.
func serveRelay(logFile string, in io.Reader, out io.Writer) error {
	r, err := bench.NewRelay(logFile)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, r.Addr())
	_, err = io.Copy(io.Discard, in)
	return errors.Join(err, r.Close())
}

// startRelay starts a relay with a synced log: it is used for what is persistent alone, so it serves for all.
func startRelay(_ context.Context, _ *plan, dir string, _ []string) (*contender, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, relayRole, filepath.Join(dir, "log"))
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if err := process.StartChild(cmd); err != nil {
		return nil, err
	}
	stop := func() error { return errors.Join(in.Close(), cmd.Wait()) }
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	dialect, err := bench.DialectOf("baton")
	return &contender{bench.Server{Addr: strings.TrimSpace(addr), Dialect: dialect}, cmd.Process.Pid, stop}, err
}
