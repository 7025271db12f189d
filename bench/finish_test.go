package bench

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// unfinished is a run whose producers have sent all in 2 seconds, and whose deliveries came until the fourth.
func unfinished(w Workload, received int64) *run {
	r := &run{w: w, sends: newRecorders(1), receives: newRecorders(1), sending: 2 * time.Second, patience: time.Second, wake: make(chan struct{}, 1)}
	r.receives[0].noteAll([]took{{now: 4 * time.Second}})
	r.received.Store(received)
	return r
}

func TestRatesAreOfWhatWasDone(t *testing.T) {
	t.Parallel()
	r, err := unfinished(Workload{}, 1000).finish(t.Context(), []int64{300, 500})
	if err != nil || r.Sent != 800 || r.SendRate != 400 || r.Received != 1000 || r.Rate != 250 {
		t.Errorf("%v, %+v", err, r)
	}
}

// Of a queue one delivery is due for each message, of a topic one for each subscriber.
func TestFinishExpectsEachDelivery(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		w    Workload
		want string
	}{
		{Workload{Consumers: 3}, "9 of 10 deliveries"},
		{Workload{Consumers: 3, Topic: true}, "9 of 30 deliveries"},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, err := unfinished(c.w, 9).finish(t.Context(), []int64{10})
			if !errors.Is(err, errMissing) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// As long as messages still come, they are waited for; when none does, for the time of patience; and never beyond the context.
func TestAwaitAll(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		comes time.Duration // between two messages, of which four come
		ctx   time.Duration // how long it lasts
		want  error
		takes time.Duration
	}{
		"all":     {comes: 900 * time.Millisecond, ctx: time.Hour, takes: 4 * time.Second}, // seen when patience is over
		"slow":    {comes: 1100 * time.Millisecond, ctx: time.Hour, want: errMissing, takes: time.Second},
		"context": {comes: 900 * time.Millisecond, ctx: time.Second / 2, want: context.DeadlineExceeded, takes: time.Second / 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), c.ctx)
			defer cancel()
			r := unfinished(Workload{}, 0)
			r.expected.Store(4)
			for i := range 4 {
				time.AfterFunc(time.Duration(i+1)*c.comes, func() { r.received.Add(1) })
			}
			begin := time.Now()
			if err := r.awaitAll(ctx); !errors.Is(err, c.want) || time.Since(begin) != c.takes {
				t.Errorf("%s: %v after %v, want %v after %v", name, err, time.Since(begin), c.want, c.takes)
			}
		})
	}
}

// Producers of a topic wait for its slowest subscriber.
func TestProducersAwaitSubscribers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := Workload{Producers: 1, Consumers: 2, Topic: true, Ahead: 2 * aheadEvery}
		fast, slow := &consumer{}, &consumer{}
		r := &run{w: w, clock: time.Now(), consumers: []*consumer{fast, slow}}
		p := &producer{run: r, c: &conn{}, due: make([]atomic.Int64, 1)}
		r.total.Store(aheadEvery + 1)
		fast.had.Store(aheadEvery + 1)
		time.AfterFunc(time.Second, func() { slow.had.Add(1) })
		if due, err := p.await(0); err != nil || due < time.Second || due > time.Second+time.Millisecond {
			t.Errorf("due after %v, %v", due, err)
		}
	})
}
