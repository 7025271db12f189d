package failover

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"baton/journal"
)

// BenchmarkReplicate compares a log that must be durable on two nodes, both of this machine, on its disk and joined over
// loopback, with the journal alone. A window of records of 1 KiB is under way at any time: each one that is committed makes
// place for another. Both are told to sync with each batch; a batch is what has become free.
//
//	of-alone  the journal's time for so many records over the pair's: 1 is a standby that costs nothing
//	us/commit time from an Append to its commit, on average
func BenchmarkReplicate(b *testing.B) {
	for _, window := range []int{1, 16, 256, 4096} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			pair, alone := newBenchPair(b), newBenchLog(b, "c")
			b.ReportAllocs()
			b.ResetTimer()
			const turn = 2000
			var took, aloneTook time.Duration
			n := 0
			for n < b.N {
				least := min(turn, b.N-n)
				b.StartTimer()
				took += pair.run(least, window)
				b.StopTimer()
				aloneTook += alone.run(least, window)
				n += least
			}
			b.ReportMetric(float64(took.Nanoseconds())/float64(n), "ns/op")
			b.ReportMetric(float64(took.Microseconds())*float64(window)/float64(n), "us/commit")
			b.ReportMetric(aloneTook.Seconds()/took.Seconds(), "of-alone")
		})
	}
}

// A benchLog is a log of which somebody says what is committed.
type benchLog struct {
	log  *Log
	body []byte
	recs []journal.Record

	mu        sync.Mutex
	changed   *sync.Cond
	durable   uint64 // here
	flushed   uint64 // there
	committed uint64
}

func newBenchLog(b *testing.B, name string) *benchLog {
	l := &benchLog{body: make([]byte, 1024)}
	l.changed = sync.NewCond(&l.mu)
	log, err := OpenLog(LogOptions{Data: b.TempDir(), Node: name, OnDurable: func(seq uint64) { l.note(&l.durable, seq) }})
	if err != nil {
		b.Fatal(err)
	}
	l.log, l.flushed = log, noLimit
	b.Cleanup(func() { _ = log.Close() })
	return l
}

// note notes how far the log has come, here or there.
func (l *benchLog) note(what *uint64, seq uint64) {
	l.mu.Lock()
	*what = seq
	l.committed = min(l.durable, l.flushed)
	l.changed.Broadcast()
	l.mu.Unlock()
}

// newBenchPair is the log of a master with a standby that follows over loopback.
func newBenchPair(b *testing.B) *benchLog {
	master, standby := newBenchLog(b, "a"), newBenchLog(b, "b")
	err := master.log.Remember(func(p *Pair) { p.Cluster, p.Journal = ID{1}, ID(master.log.ID()) })
	if err == nil {
		err = master.log.Begin(1)
	}
	if err != nil {
		b.Fatal(err)
	}
	dialled, accepted := greetBench(b)
	sender := NewSender(master.log, 1, standby.log.Hello(Hello{}), SenderOptions{OnSignal: func(s Signal) {
		if s.Kind == Flushed {
			master.note(&master.flushed, s.Seq)
			master.log.Commit(min(s.Seq, master.log.Durable()))
		}
	}})
	master.log.Require(true)
	master.flushed = 0
	receiver := NewReceiver(standby.log, ReceiverOptions{OnSignal: func(Signal) {}, OnCommit: func(uint64) {}})
	var running sync.WaitGroup
	running.Go(func() { accepted.Run(b.Context(), sender) })
	running.Go(func() { dialled.Run(b.Context(), receiver) })
	b.Cleanup(running.Wait)
	return master
}

func greetBench(b *testing.B) (dialled, accepted *Link) {
	listener := listenLoopback(b)
	var done sync.WaitGroup
	done.Go(func() {
		if conn, err := listener.Accept(); err == nil {
			accepted, _ = Accept(b.Context(), conn, LinkOptions{Node: "a"}, func(Hello) Hello { return Hello{Node: "a"} })
		}
	})
	dialled, err := Dial(b.Context(), listener.Addr().String(), LinkOptions{Node: "b"}, func(Hello) Hello { return Hello{Node: "b"} })
	done.Wait()
	if err != nil || accepted == nil {
		b.Fatal(err)
	}
	return dialled, accepted
}

// run appends n records, with window of them under way.
func (l *benchLog) run(n, window int) time.Duration {
	begun := time.Now()
	first := l.log.Last()
	for last := first; last < first+uint64(n); {
		l.mu.Lock()
		for last-l.committed >= uint64(window) {
			l.changed.Wait()
		}
		free := min(uint64(window)-(last-l.committed), first+uint64(n)-last)
		l.mu.Unlock()
		l.recs = l.recs[:0]
		for range free {
			last++
			l.recs = append(l.recs, journal.Record{Seq: last, Epoch: 1, Type: 1, Body: l.body})
		}
		if err := l.log.Append(l.recs); err != nil {
			panic(err)
		}
		l.log.Sync()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.committed < first+uint64(n) {
		l.changed.Wait()
	}
	return time.Since(begun)
}
