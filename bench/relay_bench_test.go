package bench

import (
	"testing"
	"time"
)

// BenchmarkRelay is what clients and relay take together, which bounds what can be measured of a broker on the same
// machine. An op is a message.
func BenchmarkRelay(b *testing.B) {
	for _, name := range []string{"non-persistent", "persistent", "topic-100"} {
		b.Run(name, func(b *testing.B) {
			relay, err := NewRelay("")
			if err != nil {
				b.Fatal(err)
			}
			w, err := PresetOf(name)
			if err != nil {
				b.Fatal(err)
			}
			w.Duration = 2 * time.Second
			r, err := Run(b.Context(), relay.server(), w, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(r.Rate, "msg/s")
			b.ReportMetric(0, "ns/op")
			if err := relay.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
