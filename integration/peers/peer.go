package peers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"baton/integration/process"
)

// Peer is a broker of another kind that runs as a child of this process.
type Peer struct {
	Name string // as scripts say it: activemq, rabbitmq
	Addr string // where its STOMP listens
	Log  string // the file with what it wrote

	children []*exec.Cmd
	start    func(ctx context.Context) error
}

// Pid is the process id of the broker itself.
func (p *Peer) Pid() int { return p.children[len(p.children)-1].Process.Pid }

// Stop kills the peer and reaps it.
func (p *Peer) Stop() {
	for _, child := range p.children {
		child.Process.Kill()
		child.Wait() // that it was killed is no news
	}
	p.children = nil
}

// Restart runs a peer that was stopped, on its data and at its address, and returns when it accepts connections.
func (p *Peer) Restart(ctx context.Context) error { return p.start(ctx) }

// run starts a program of the peer in the directory of its log, and writes its output there. When that fails, the peer is
// stopped.
func (p *Peer) run(env []string, name string, args ...string) error {
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = filepath.Dir(p.Log), env
	cmd.Stdout, cmd.Stderr = log, log
	if err := process.StartChild(cmd); err != nil {
		p.Stop()
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.children = append(p.children, cmd)
	return nil
}

// listens waits until the peer accepts connections at addr. When ctx ends first, the peer is stopped and its log returned.
func (p *Peer) listens(ctx context.Context, addr string) error {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			p.Stop()
			log, _ := os.ReadFile(p.Log)
			return fmt.Errorf("%s does not listen on %s: %w\n%s", p.Name, addr, ctx.Err(), log)
		}
	}
}

// Ports that we name to a peer lie below those that the kernel gives away itself, so that nobody is given one between our
// choice and the peer's bind. Where the search starts depends on the process: two test runs do not look at the same.
const (
	firstPort = 10000
	portSpan  = 20000
)

// tried counts the ports that this process has looked at, so that no two peers are told the same.
var tried atomic.Int64

// freePort finds a loopback port that nobody listens on.
func freePort() (int, error) {
	for range portSpan {
		port := firstPort + (os.Getpid()*16+int(tried.Add(1)))%portSpan
		if listener, err := net.Listen("tcp", loopback(port)); err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("no free port from %d to %d", firstPort, firstPort+portSpan)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
