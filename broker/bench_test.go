package broker

import (
	"fmt"
	"testing"
	"time"

	"baton/destinations"
)

// BenchmarkTend measures for how long the engine stands still while a
// checkpoint is pictured and while the log is told what is needed, with a
// million messages that have all changed since the last time.
func BenchmarkTend(b *testing.B) {
	const messages = 1_000_000
	for _, queues := range []int{1, 1000} {
		b.Run(fmt.Sprintf("queues=%d", queues), func(b *testing.B) {
			longest, census := time.Hour, time.Hour // of the quietest round: others may use the machine too
			for b.Loop() {
				b.StopTimer()
				m := destinations.New(destinations.Options{MemoryBytes: 1 << 20})
				var effects destinations.Effects
				msg := func() *destinations.Message {
					return &destinations.Message{Content: []byte("\nbody"), Persistent: true}
				}
				for i := range messages {
					effects.Reset()
					c := destinations.Command{Op: destinations.Send, Destination: destinations.Queue(fmt.Sprint(i % queues)), Message: msg()}
					if err := m.Step(time.Time{}, &c, &effects); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
				c := checkpointer{}
				var slices time.Duration
				for c.begin(m); !c.whole; {
					begun := time.Now()
					c.slice()
					slices = max(slices, time.Since(begun))
				}
				longest = min(longest, slices)
				begun := time.Now()
				_ = m.Live()
				census = min(census, time.Since(begun))
			}
			b.ReportMetric(float64(longest.Microseconds()), "longest-slice-µs")
			b.ReportMetric(float64(census.Microseconds()), "census-µs")
		})
	}
}
