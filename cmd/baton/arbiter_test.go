package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"baton/failover"
	"baton/failover/natskv"
)

// arbiterProcess is `baton arbiter` at work.
type arbiterProcess struct {
	cmd     *exec.Cmd
	ready   string // its line on standard output
	address string
	log     bytes.Buffer // may be read when the process has ended
}

// startArbiter waits until the arbiter is ready.
func startArbiter(t *testing.T, listen, data string) *arbiterProcess {
	t.Helper()
	a := &arbiterProcess{cmd: exec.Command("baton", "arbiter", "--listen", listen, "--data", data, "--log-level", "debug")}
	a.cmd.Stderr = &a.log
	a.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	stdout, err := a.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.kill)
	if a.ready, err = bufio.NewReader(stdout).ReadString('\n'); err != nil {
		a.kill()
		t.Fatalf("the arbiter did not get ready: %v\n%s", err, a.log.String())
	}
	_, rest, _ := strings.Cut(a.ready, "NATS on ")
	a.address, _, _ = strings.Cut(rest, ",")
	return a
}

// kill is kill -9; once more does nothing.
func (a *arbiterProcess) kill() {
	_ = a.cmd.Process.Kill()
	_ = a.cmd.Wait()
}

func (a *arbiterProcess) terminate(t *testing.T) {
	t.Helper()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Wait(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, a.log.String())
	}
}

func openRegister(t *testing.T, address, token string) *natskv.Register {
	t.Helper()
	r, err := natskv.Open(natskv.Options{URLs: []string{"nats://" + address}, Token: token, Bucket: "baton", Key: "orders", Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// readRegister waits until the register answers.
func readRegister(t *testing.T, r *natskv.Register) failover.Reading {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		reading, err := r.Read(ctx)
		if err == nil {
			return reading
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func registerRecord(nonce string) failover.Record {
	return failover.Record{
		Cluster: failover.ID{1}, Epoch: 1, Master: "a", InSync: []failover.Member{{Node: "a", JournalID: failover.ID{2}}},
		Nonce: nonce, By: "a", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

// The first start makes a token; it is told where, and nobody is told what.
func TestArbiterMakesAToken(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "arbiter")
	path := filepath.Join(data, "token")
	first := startArbiter(t, "127.0.0.1:0", data)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(string(text))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if !strings.HasSuffix(first.ready, "token in "+path+"\n") {
		t.Errorf("%q does not say where the token is", first.ready)
	}
	r := openRegister(t, first.address, token)
	revision, err := r.CAS(t.Context(), readRegister(t, r).Revision, registerRecord("1"))
	if err != nil {
		t.Fatal(err)
	}
	first.terminate(t)

	second := startArbiter(t, "127.0.0.1:0", data)
	if got := readRegister(t, openRegister(t, second.address, token)); got.Revision != revision || got.Record.Nonce != "1" {
		t.Errorf("after a new start there is %+v, want revision %d", got, revision)
	}
	second.terminate(t)
	for _, said := range []string{first.ready, first.log.String(), second.ready, second.log.String()} {
		if strings.Contains(said, token) {
			t.Errorf("the token shows:\n%s", said)
		}
	}
}

// Whatever was confirmed before a kill -9 is there afterwards; what was in doubt may be.
func TestKilledArbiterKeepsWhatItConfirmed(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	a := startArbiter(t, "127.0.0.1:0", data)
	token, err := os.ReadFile(filepath.Join(data, "token"))
	if err != nil {
		t.Fatal(err)
	}
	r := openRegister(t, a.address, strings.TrimSpace(string(token)))
	at := readRegister(t, r)
	for kill := range 5 {
		inDoubt := changeUntilKilled(t, r, &at, kill, a)
		a = startArbiter(t, a.address, data)
		got := readRegister(t, r)
		kept := got.Revision == at.Revision && got.Record.Equal(at.Record)
		if doubtful := got.Revision > at.Revision && got.Record.Nonce == inDoubt; !kept && !doubtful {
			t.Fatalf("after kill %d there is %+v, want %+v or %s, which was in doubt", kill, got, at, inDoubt)
		}
		at = got
	}
}

// changeUntilKilled changes the register, and kills the arbiter after some changes, while the next is under way. It leaves
// in at what was confirmed last, and returns the nonce of the change that was not.
func changeUntilKilled(t *testing.T, r *natskv.Register, at *failover.Reading, kill int, a *arbiterProcess) (inDoubt string) {
	t.Helper()
	killed := make(chan struct{})
	for i := 0; ; i++ {
		nonce := fmt.Sprintf("%d-%d", kill, i)
		if i == 20 {
			go func() {
				defer close(killed)
				a.kill()
			}()
		}
		revision, err := r.CAS(t.Context(), at.Revision, registerRecord(nonce))
		if err != nil {
			if errors.Is(err, failover.ErrLost) || i < 20 {
				t.Fatalf("change %s: %v", nonce, err)
			}
			<-killed
			return nonce
		}
		*at = failover.Reading{Revision: revision, Found: true, Record: registerRecord(nonce)}
	}
}
