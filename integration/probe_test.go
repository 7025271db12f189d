package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"baton/failover/client"
	"baton/integration/process"
)

// A probe is a program with failover/client that sends one message after another, each when the one before has its receipt.
// It is a process, so that it can run on another host.
type probe struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	ending sync.Once

	mu       sync.Mutex
	receipts []receipt // guarded by mu
	news     chan struct{}
}

// A receipt is when a SEND began, and when its RECEIPT was there.
type receipt struct{ sent, got time.Time }

const (
	probeURL   = "BATON_TEST_PROBE" // makes this program play a probe of the URL
	probeLine  = "receipted %d %d\n"
	probeEvery = 20 * time.Millisecond
)

// playProbe ends with the standard input.
func playProbe(url string) (code int) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	c, err := client.Dial(ctx, url, client.Options{})
	for err == nil {
		began := time.Now()
		if err = c.Send(ctx, "/queue/probed", "text/plain", []byte("x")); err == nil {
			fmt.Printf(probeLine, began.UnixNano(), time.Now().UnixNano())
			time.Sleep(probeEvery)
		}
	}
	if ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		return 1
	}
	return 0
}

// probe begins to send to a pair from where its clients are, until the test ends.
func (p *pair) probe() *probe {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	args := slices.Concat(p.site.from, []string{self})
	b := &probe{cmd: exec.Command(args[0], args[1:]...), news: make(chan struct{})}
	b.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=failover:(tcp://%s,tcp://%s)?maxReconnectDelay=1000", probeURL, p.site.clients[0], p.site.clients[1]))
	b.cmd.Stderr = os.Stderr
	stdout, err := b.cmd.StdoutPipe()
	if err == nil {
		b.stdin, err = b.cmd.StdinPipe()
	}
	if err == nil {
		err = process.StartChild(b.cmd)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	go b.listen(stdout)
	p.t.Cleanup(func() { b.end(p.t) })
	return b
}

func (b *probe) listen(stdout io.Reader) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var sent, got int64
		if _, err := fmt.Sscanf(lines.Text()+"\n", probeLine, &sent, &got); err != nil {
			continue
		}
		b.mu.Lock()
		b.receipts = append(b.receipts, receipt{time.Unix(0, sent), time.Unix(0, got)})
		close(b.news)
		b.news = make(chan struct{})
		b.mu.Unlock()
	}
}

// end ends the probe, for the first time that it is called.
func (b *probe) end(t *testing.T) {
	b.ending.Do(func() {
		b.stdin.Close()
		if err := b.cmd.Wait(); err != nil {
			t.Errorf("probe: %v", err)
		}
	})
}

// since is how long it took from a moment until a SEND that was begun later had its receipt.
func (b *probe) since(ctx context.Context, moment time.Time) (time.Duration, error) {
	for {
		b.mu.Lock()
		news := b.news
		i := slices.IndexFunc(b.receipts, func(r receipt) bool { return r.sent.After(moment) })
		var took time.Duration
		if i >= 0 {
			took = b.receipts[i].got.Sub(moment)
		}
		b.mu.Unlock()
		if i >= 0 {
			return took, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return 0, errors.New("no SEND got its receipt")
		}
	}
}

// pause is the longest time between two receipts from one moment to another.
func (b *probe) pause(from, to time.Time) (longest time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := from
	for _, r := range b.receipts {
		if r.got.After(from) && !r.got.After(to) {
			longest, last = max(longest, r.got.Sub(last)), r.got
		}
	}
	return max(longest, to.Sub(last))
}
