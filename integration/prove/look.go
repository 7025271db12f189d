package main

import (
	"context"
	"time"
)

// look is what was on disk at one time.
type look struct {
	at  time.Duration // since the first look
	use int64         // bytes
}

// lookAtDisk notes the disk use every so often until ctx ends, at least twice, and prints it.
func (s *stage) lookAtDisk(ctx context.Context, every time.Duration) (looks []look, err error) {
	begin := time.Now()
	s.printf("\n%10s %14s", "after", "on disk")
	again := time.NewTicker(every)
	defer again.Stop()
	for {
		use, err := diskUse(s.data())
		if err != nil {
			return looks, err
		}
		at := time.Since(begin)
		looks = append(looks, look{at, use})
		s.printf("%10v %14s", at.Round(time.Second), mebibytes(use))
		if ctx.Err() != nil {
			return looks, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}

// growth is by how much the line of best fit through the looks rises from the first to the last, in bytes.
func growth(looks []look) int64 {
	var n, t, u, tt, tu float64
	for _, l := range looks {
		at, use := l.at.Seconds(), float64(l.use)
		n, t, u, tt, tu = n+1, t+at, u+use, tt+at*at, tu+at*use
	}
	spread := n*tt - t*t
	if spread == 0 {
		return 0
	}
	slope := (n*tu - t*u) / spread
	return int64(slope * (looks[len(looks)-1].at - looks[0].at).Seconds())
}
