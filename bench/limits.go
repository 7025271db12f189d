package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A Limit is what the machine can do of one thing.
type Limit struct {
	Name    string  `json:"name"`
	Rate    float64 `json:"rate"` // a second
	Unit    string  `json:"unit"`
	Latency Latency `json:"latency"`
}

// limitBytes is the size of the files that are written.
const limitBytes = 64 << 20

// DiskLimits measures, in dir, how many writes of each size can be synced a second, one after the other, in a file that grows
// and in one that was allocated and filled before, and how fast a file can be written that is synced in the end.
func DiskLimits(ctx context.Context, dir string, sizes []int, duration time.Duration) (limits []Limit, err error) {
	for _, size := range sizes {
		for _, ready := range []bool{false, true} {
			l, err := syncs(ctx, filepath.Join(dir, "bench-limit"), size, ready, duration)
			if err != nil {
				return nil, err
			}
			limits = append(limits, l)
		}
	}
	l, err := sequential(ctx, filepath.Join(dir, "bench-limit"), duration)
	return append(limits, l), err
}

// syncs writes and syncs one block after the other.
func syncs(ctx context.Context, name string, size int, ready bool, duration time.Duration) (l Limit, err error) {
	file, err := os.Create(name)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(name)) }()
	l = Limit{Name: "write and fdatasync of " + octets(size), Unit: "syncs"}
	if ready {
		l.Name += ", preallocated"
		if err := fill(file, limitBytes); err != nil {
			return l, err
		}
	}
	block, at := newBody(size, 0), int64(0)
	l.Rate, l.Latency, err = repeat(ctx, duration, func() error {
		if at+int64(size) > limitBytes {
			at = 0
			if !ready { // it is to grow again
				if err := file.Truncate(0); err != nil {
					return err
				}
			}
		}
		if _, err := file.WriteAt(block, at); err != nil {
			return err
		}
		at += int64(size)
		return datasync(file)
	})
	return l, err
}

// sequential writes a file and syncs it, again and again.
func sequential(ctx context.Context, name string, duration time.Duration) (l Limit, err error) {
	file, err := os.Create(name)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(name)) }()
	block := newBody(1<<20, 0)
	rate, _, err := repeat(ctx, duration, func() error {
		for at := int64(0); at < limitBytes; at += int64(len(block)) {
			if _, err := file.WriteAt(block, at); err != nil {
				return err
			}
		}
		return datasync(file)
	})
	return Limit{Name: "sequential write", Unit: "MiB", Rate: rate * limitBytes / (1 << 20)}, err
}

// LoopbackLimit measures how long it takes to send so many octets to an echo on loopback, and back.
func LoopbackLimit(ctx context.Context, size int, duration time.Duration) (l Limit, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return l, err
	}
	defer listener.Close()
	echoed := make(chan struct{})
	go func() { defer close(echoed); echo(listener) }()
	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return l, err
	}
	block := newBody(size, 0)
	l = Limit{Name: "loopback round trip of " + octets(size), Unit: "round trips"}
	l.Rate, l.Latency, err = repeat(ctx, duration, func() error {
		if _, err := c.Write(block); err != nil {
			return err
		}
		_, err := io.ReadFull(c, block)
		return err
	})
	err = errors.Join(err, c.Close())
	<-echoed
	return l, err
}

// echo ends with its first connection.
func echo(listener net.Listener) {
	c, err := listener.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) // through memory, as a broker would
}

// RelayLimit measures a Relay with a workload; with a log in dir, unless that is empty.
func RelayLimit(ctx context.Context, dir string, w Workload) (*Result, error) {
	if dir != "" {
		dir = filepath.Join(dir, "bench-relay-log")
	}
	relay, err := NewRelay(dir)
	if err != nil {
		return nil, err
	}
	result, err := Run(ctx, Server{Addr: relay.Addr(), Dialect: Dialects[0]}, w, nil)
	return result, errors.Join(err, relay.Close())
}

// repeat does the same thing until the time is over, at least once.
func repeat(ctx context.Context, duration time.Duration, once func() error) (rate float64, l Latency, err error) {
	rec := newRecorder()
	begin := time.Now()
	n, last := 0, time.Duration(0)
	for ; n == 0 || last < duration; n++ {
		if err := errors.Join(once(), ctx.Err()); err != nil {
			return 0, l, err
		}
		now := time.Since(begin)
		rec.note(now, last)
		last = now
	}
	return float64(n) / last.Seconds(), latencyOf([]*recorder{rec}), nil
}

// fill writes so many zeros to file, so that later writes in their place have no metadata to sync.
func fill(file *os.File, size int64) error {
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := file.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return file.Sync()
}
