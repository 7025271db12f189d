package journal_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"baton/journal"
)

func benchBatch(bytes, batch int) []journal.Record {
	recs := make([]journal.Record, batch)
	for i := range recs {
		recs[i] = journal.Record{Type: 1, Body: make([]byte, bytes)}
	}
	return recs
}

func appendNext(b *testing.B, j *journal.Journal, recs []journal.Record) {
	seq := j.Last()
	for i := range recs {
		recs[i].Seq = seq + 1 + uint64(i)
	}
	if err := j.Append(recs); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkGet gets records of 1 KiB from a journal of 64 MiB that the page cache holds, all of it larger than the block
// cache: here and there, in order, and always from the block cache.
func BenchmarkGet(b *testing.B) {
	const n = 64 << 10
	opt := journal.Options{Dir: b.TempDir(), SegmentBytes: 16 << 20, CacheBytes: 8 << 20}
	fillBench(b, opt, 1<<10, 100, n)
	j, err := journal.Open(opt)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = j.Close() })
	get := func(b *testing.B, seq uint64) {
		if _, err := j.Get(seq); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("random", func(b *testing.B) {
		b.ReportAllocs()
		r := rand.New(rand.NewPCG(1, 2))
		for b.Loop() {
			get(b, 1+r.Uint64N(n))
		}
	})
	b.Run("drain", func(b *testing.B) {
		b.SetBytes(1 << 10)
		b.ReportAllocs()
		for seq := uint64(0); b.Loop(); seq++ {
			get(b, 1+seq%n)
		}
	})
	b.Run("cached", func(b *testing.B) {
		b.ReportAllocs()
		for seq := uint64(0); b.Loop(); seq++ {
			get(b, 1+seq%4096)
		}
	})
}

// BenchmarkOpen opens journals of many sealed segments of 64 KiB and an active one. What one more segment costs is the
// difference, over the number of segments.
func BenchmarkOpen(b *testing.B) {
	for _, segments := range []int{10, 1000} {
		b.Run(fmt.Sprintf("segments=%d", segments), func(b *testing.B) {
			opt := journal.Options{Dir: b.TempDir(), SegmentBytes: 64 << 10}
			fillBench(b, opt, 1<<10, 10, segments*50)
			b.ReportAllocs()
			found := 0
			for b.Loop() {
				j, err := journal.Open(opt)
				if err != nil {
					b.Fatal(err)
				}
				found = j.Recovery().Segments
				if err := j.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(found), "µs/segment")
		})
	}
}

// fillBench makes a journal of n records.
func fillBench(b *testing.B, opt journal.Options, bytes, batch, n int) {
	b.Helper()
	j, err := journal.Open(opt)
	if err != nil {
		b.Fatal(err)
	}
	recs := benchBatch(bytes, batch)
	for j.Last() < uint64(n) {
		appendNext(b, j, recs)
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
}

// everyTenth is a census of a log of which one record of ten is needed.
type everyTenth struct{ asOf uint64 }

func (c everyTenth) AsOf() uint64 { return c.asOf }

func (c everyTenth) Bytes(first, last uint64) int64 { return int64(last-first+1) * 1024 / 10 }

func (c everyTenth) Keep(r journal.Record, _ func(uint64) bool) bool { return r.Seq%10 == 0 }

// BenchmarkClean cleans a log of records of 1 KiB of which one of ten is needed, as fast as it can. The bytes are those of
// the log.
func BenchmarkClean(b *testing.B) {
	const segments, segmentBytes = 8, 8 << 20
	recs := benchBatch(1<<10, 64)
	b.SetBytes(segments * segmentBytes)
	for range b.N {
		b.StopTimer()
		durable := make(chan uint64, 1)
		j, err := journal.Open(journal.Options{
			Dir: b.TempDir(), SegmentBytes: segmentBytes, CleanRate: 1 << 40, OnDurable: func(seq uint64) {
				select {
				case <-durable:
				default:
				}
				durable <- seq
			},
		})
		if err != nil {
			b.Fatal(err)
		}
		for j.Stats().Segments <= segments {
			appendNext(b, j, recs)
			j.Sync()
			for <-durable < j.Last() {
			}
		}
		b.StartTimer()
		j.Clean(everyTenth{j.Last()})
		j.Cleaned()
		b.StopTimer()
		st := j.Stats()
		b.ReportMetric(float64(st.CleanedBytes)/(segments*segmentBytes), "given-back/op")
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
