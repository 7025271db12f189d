package process

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Options of Start.
type Options struct {
	Binary  string
	Command string   // of baton; "": serve
	Data    string   // the data directory
	Listen  string   // "": 127.0.0.1 and any free port
	Env     []string // BATON_… settings, KEY=VALUE, above the environment
	Flags   []string // more of them, of baton serve
	Enter   []string // begins the command, to run it in another place, such as a network namespace
}

// Broker is a running baton serve, or arbiter.
type Broker struct {
	Addr string // where it listens, as its ready line says

	cmd    *exec.Cmd
	log    *log
	ready  chan string   // gets the address; closed when the process has been reaped
	waits  chan struct{} // closed when it has said that it waits for another
	exited chan struct{} // closed when the process has been reaped
}

// ExitError says how a broker ended, with the end of its log.
type ExitError struct {
	Code int // -1: killed by a signal
	Log  string
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("baton serve ended with exit code %d:\n%s", e.Code, e.Log)
}

// Start runs baton serve and returns when it is ready. A broker that ends before is returned as an *ExitError; one that is
// not ready when ctx ends is killed.
func Start(ctx context.Context, o Options) (*Broker, error) {
	b, err := Begin(o)
	if err == nil {
		err = b.Ready(ctx)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Begin runs baton serve and does not wait until it is ready.
func Begin(o Options) (*Broker, error) {
	b, stdout, err := launch(o)
	if err != nil {
		return nil, err
	}
	go b.reap(stdout)
	return b, nil
}

// Ready waits until the broker is. Errors are those of Start.
func (b *Broker) Ready(ctx context.Context) error {
	select {
	case addr, ok := <-b.ready:
		if !ok {
			<-b.exited
			return b.exitError()
		}
		b.Addr = addr
		return nil
	case <-ctx.Done():
		b.Kill()
		return fmt.Errorf("baton was not ready in time: %w\n%s", ctx.Err(), b.Log())
	}
}

// Waits waits until the broker says that it does, for another one to end. Errors are those of Start.
func (b *Broker) Waits(ctx context.Context) error {
	select {
	case <-b.waits:
		return nil
	case <-b.exited:
		return b.exitError()
	case <-ctx.Done():
		b.Kill()
		return fmt.Errorf("baton did not wait: %w\n%s", ctx.Err(), b.Log())
	}
}

// StartAndKill runs baton serve and kills it after the given time, wherever it is then. It returns what the broker had
// logged.
func StartAndKill(o Options, after time.Duration) (string, error) {
	b, stdout, err := launch(o)
	if err != nil {
		return "", err
	}
	go b.reap(stdout)
	select {
	case <-time.After(after):
	case <-b.exited:
		return b.Log(), b.exitError()
	}
	b.Kill()
	return b.Log(), nil
}

func launch(o Options) (*Broker, io.Reader, error) {
	listen := o.Listen
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	args := slices.Concat(o.Enter, []string{o.Binary, cmp.Or(o.Command, "serve"), "--listen", listen, "--data", o.Data}, o.Flags)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), o.Env...)
	b := &Broker{cmd: cmd, log: &log{}, ready: make(chan string, 1), waits: make(chan struct{}), exited: make(chan struct{})}
	cmd.Stderr = b.log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := StartChild(cmd); err != nil {
		return nil, nil, fmt.Errorf("start baton serve: %w", err)
	}
	return b, stdout, nil
}

var readyLine = regexp.MustCompile(`^baton(?: arbiter)? ready: \S+ on ([^\s,]+)`)

// reap reads stdout to its end, tells the address of the ready line, and waits for the process.
func (b *Broker) reap(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	told, waits := false, false
	for lines.Scan() {
		b.log.Write(append(lines.Bytes(), '\n'))
		if found := readyLine.FindSubmatch(lines.Bytes()); found != nil && !told {
			told = true
			b.ready <- string(found[1])
		}
		if bytes.HasPrefix(lines.Bytes(), []byte("baton waits: ")) && !waits {
			waits = true
			close(b.waits)
		}
	}
	b.cmd.Wait() // how it ended is in ProcessState
	close(b.exited)
	close(b.ready)
}

// Pid is the process id.
func (b *Broker) Pid() int { return b.cmd.Process.Pid }

// Memory is that of the process, see the function of this name.
func (b *Broker) Memory() (now, peak int64, err error) { return Memory(b.Pid()) }

// Log is what the broker wrote on stdout and stderr, the last megabyte of it.
func (b *Broker) Log() string { return b.log.String() }

// Kill ends the process with SIGKILL, as power loss would, and reaps it. Killing twice does no harm.
func (b *Broker) Kill() {
	b.cmd.Process.Kill()
	<-b.exited
}

// Halt has the process stand still until SIGCONT, and waits until it does: on a busy machine a process goes on for a while after
// SIGSTOP was sent, until a thread of it has its turn. Where there is no /proc, it does not wait.
func (b *Broker) Halt(ctx context.Context) error {
	if err := b.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for moves(b.Pid()) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d does not stand still: %w", b.Pid(), context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// moves says whether a thread of a process can still run.
func moves(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	return slices.ContainsFunc(threads, func(path string) bool {
		text, err := os.ReadFile(path)
		return err == nil && !bytes.HasPrefix(text[bytes.LastIndexByte(text, ')')+1:], []byte(" T"))
	})
}

// Signal sends a signal and does not wait.
func (b *Broker) Signal(s os.Signal) error { return b.cmd.Process.Signal(s) }

// Terminate asks the broker to shut down (SIGTERM) and waits until it has ended. A clean end is nil, all others are an
// *ExitError. When ctx ends first, the broker is killed.
func (b *Broker) Terminate(ctx context.Context) error {
	if err := b.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("SIGTERM: %w", err)
	}
	return b.Wait(ctx)
}

// Wait waits until the broker has ended by itself. Results are those of Terminate.
func (b *Broker) Wait(ctx context.Context) error {
	select {
	case <-b.exited:
	case <-ctx.Done():
		b.Kill()
		return fmt.Errorf("baton serve did not end in time: %w\n%s", ctx.Err(), b.Log())
	}
	if b.cmd.ProcessState.Success() {
		return nil
	}
	return b.exitError()
}

func (b *Broker) exitError() error {
	return &ExitError{Code: b.cmd.ProcessState.ExitCode(), Log: b.Log()}
}

// maxLog bounds what is kept of a talkative broker.
const maxLog = 1 << 20

// log keeps the end of what is written to it.
type log struct {
	mu   sync.Mutex
	text []byte
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if over := len(l.text) - maxLog; over > 0 {
		l.text = append(l.text[:0], l.text[over:]...)
	}
	return len(p), nil
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(bytes.TrimSpace(l.text))
}
