package broker

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"baton/destinations"
	"baton/journal/memfs"
)

// TestReleaseWakesEveryone runs what the engine, the log and the writers do
// with their gates, in many orders: each output leaves, none before its entry
// is durable, and none is forgotten.
func TestReleaseWakesEveryone(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			release(t, seed)
		})
	}
}

const outboxes, outputs = 8, 2000

func release(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	e := &engine{}
	var boxes [outboxes]*outbox
	var expected [outboxes]int
	for i := range boxes {
		boxes[i] = newOutbox()
	}
	targets := make([]int, outputs)
	for i := range targets {
		targets[i] = random.IntN(outboxes)
		expected[targets[i]]++
	}

	var writers sync.WaitGroup
	for i, box := range boxes {
		writers.Go(func() {
			for left := expected[i]; left > 0; {
				<-box.wake
				for {
					batch := box.take(nil, e.durable.Load(), 7)
					if len(batch) == 0 {
						break
					}
					for _, o := range batch {
						if durable := e.durable.Load(); o.After > durable {
							t.Errorf("%d left when %d was durable", o.After, durable)
						}
					}
					left -= len(batch)
				}
			}
		})
	}
	appended := make(chan uint64, outputs)
	var log sync.WaitGroup
	log.Go(func() {
		for seq := range appended {
			e.release(seq)
		}
	})
	seq := uint64(0)
	for i := 0; i < outputs; {
		e.batches++
		for n := random.IntN(20); n >= 0 && i < outputs; n-- {
			o := destinations.Output{Kind: destinations.Receipt}
			if random.IntN(3) > 0 {
				seq++
				o.After = seq
			}
			box := boxes[targets[i]]
			e.announce(box, box.push(&o))
			i++
		}
		appended <- seq
		e.await()
	}
	close(appended)
	log.Wait()
	writers.Wait()
	if len(e.waiting) > 0 {
		t.Errorf("%d still wait", len(e.waiting))
	}
}

// TestReleaseMeetsAwait lets the log become durable in the moment in which the
// engine looks whether it is, many times: the outbox is woken by one of them.
func TestReleaseMeetsAwait(t *testing.T) {
	t.Parallel()
	turns := make(chan *engine)
	done := make(chan struct{})
	go func() {
		for e := range turns {
			e.release(1)
			done <- struct{}{}
		}
	}()
	defer close(turns)
	for i := range 50_000 {
		e, box := &engine{batches: 1}, newOutbox()
		e.announce(box, box.push(receipt("r", 1)))
		turns <- e
		for range i % 50 { // meets it a little later each time
			_ = e.durable.Load()
		}
		e.await()
		<-done
		select {
		case <-box.wake:
		default:
			t.Fatal("nobody woke the outbox")
		}
	}
}

// TestClockIsSetForward holds that what is due by the clock is not late when the alarm is: the time that it waits for does
// not jump with the clock.
func TestClockIsSetForward(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{})
		c := h.connect("1.2")
		c.subscribe("s", "/queue/q", "auto")
		begin := time.Now()
		h.send("/queue/q\nAMQ_SCHEDULED_DELAY:60000", "x")
		synctest.Wait()
		h.engine.alarm.Stop()
		c.message("x")
		if passed := time.Since(begin); passed > time.Minute+tendInterval {
			t.Errorf("it came after %v", passed)
		}
	})
}

// TestFastLogIsTrimmedBetweenTicks holds that a log which grows fast is told within the second what it may give back.
func TestFastLogIsTrimmedBetweenTicks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &trimLog{}
		h := servePipesOn(t, memfs.New(), Options{}, log.over)
		c := h.connect("1.2")
		c.subscribe("s", "/queue/q", "auto")
		synctest.Wait()
		before, began := log.trims.Load(), time.Now()
		body := strings.Repeat("x", 4<<20)
		for range relieveBytes/len(body) + 1 {
			h.send("/queue/q", body)
			c.message(body)
		}
		synctest.Wait()
		if passed := time.Since(began); passed != 0 {
			t.Fatalf("%v have passed: a tick may have done it", passed)
		}
		if n := log.trims.Load() - before; n != 1 {
			t.Errorf("the log was trimmed %d times, want once", n)
		}
	})
}

// A trimLog counts how often it is trimmed.
type trimLog struct {
	Log
	trims atomic.Int64
}

func (l *trimLog) over(log Log) Log {
	l.Log = log
	return l
}

func (l *trimLog) Trim(before uint64) {
	l.trims.Add(1)
	l.Log.Trim(before)
}
