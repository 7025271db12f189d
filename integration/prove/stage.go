package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"baton/integration/process"
)

// stage is where a proof plays: a broker's binary, a directory of its own, and where it writes its table.
type stage struct {
	binary   string
	dir      string
	out      io.Writer
	verdicts []verdict
}

func (s *stage) printf(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

func (s *stage) judge(v verdict) {
	s.verdicts = append(s.verdicts, v)
	s.printf("%s", v)
}

// holds is true when each verdict is.
func (s *stage) holds() bool {
	for _, v := range s.verdicts {
		if !v.holds {
			return false
		}
	}
	return len(s.verdicts) > 0
}

// start runs a broker on the stage's data, with more settings.
func (s *stage) start(ctx context.Context, env ...string) (*process.Broker, error) {
	ctx, cancel := context.WithTimeout(ctx, stall)
	defer cancel()
	return process.Start(ctx, process.Options{
		Binary: s.binary,
		Data:   s.data(),
		Env:    append([]string{"BATON_LOG_LEVEL=warn"}, env...),
	})
}

func (s *stage) data() string { return filepath.Join(s.dir, "data") }

// explain adds what the broker has logged.
func explain(err error, b *process.Broker) error {
	return fmt.Errorf("%w\nthe broker's log:\n%s", err, b.Log())
}

// awaitDiskUse waits until the files occupy at most so many bytes, or for the given time, and returns what they occupy then.
func (s *stage) awaitDiskUse(ctx context.Context, most int64, patience time.Duration) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		use, err := diskUse(s.data())
		if err != nil || use <= most {
			return use, err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return use, nil
			}
			return use, ctx.Err()
		}
	}
}
