package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Preset is a workload with a name, and what it is for.
type Preset struct {
	Workload
	About string
}

const kib = 1 << 10

// Presets are the workloads that have names.
func Presets() []Preset {
	persistent := Workload{Producers: 8, Consumers: 8, Size: kib, Persistent: true, Window: 256, Duration: 10 * time.Second}
	passing := Workload{Producers: 4, Consumers: 4, Size: kib, Window: 256, Ack: "auto", Duration: 10 * time.Second}
	topic := Workload{Producers: 1, Topic: true, Size: kib, Window: 256, Ack: "auto", Duration: 10 * time.Second}
	var all []Preset
	add := func(name, about string, w Workload, change func(w *Workload)) {
		if change != nil {
			change(&w)
		}
		w.Name = name
		all = append(all, Preset{w, about})
	}
	add("persistent", "what a receipt costs: a queue, every message synced and acknowledged", persistent, nil)
	add("persistent-100", "the same with small messages", persistent, func(w *Workload) { w.Size = 100 })
	add("persistent-16k", "the same with large messages", persistent, func(w *Workload) { w.Size = 16 * kib })
	add("receipts", "one producer that waits for each receipt", persistent, func(w *Workload) { w.Producers, w.Consumers, w.Window = 1, 1, 1 })
	add("non-persistent", "a queue in memory", passing, nil)
	add("steady", "the latency at a fixed rate", passing, func(w *Workload) { w.Rate = 5000 })
	add("topic-1", "a topic with a subscriber", topic, func(w *Workload) { w.Consumers = 1 })
	add("topic-100", "a topic with 100 subscribers", topic, func(w *Workload) { w.Consumers = 100 })
	add("topic-1000", "a topic with 1,000 subscribers; Baton: stomp.max_connections_per_ip must allow them", topic, func(w *Workload) { w.Consumers = 1000 })
	add("transactions", "100 persistent SENDs a COMMIT", persistent, func(w *Workload) { w.Tx, w.Window = 100, 4 })
	add("selectors", "10 consumers of one queue, each with a selector", passing, func(w *Workload) { w.Consumers, w.Selectors = 10, true })
	add("durable", "10 durable subscribers", persistent, func(w *Workload) { w.Topic, w.Durable, w.Consumers = true, true, 10 })
	add("backlog", "1,000,000 messages without a consumer, and then out again", persistent, func(w *Workload) { w.Backlog = 1_000_000 })
	add("queues", "10,000 queues with a message each", persistent, func(w *Workload) {
		w.Destinations, w.Backlog, w.Consumers = 10_000, 10_000, 16
	})
	return all
}

// PresetOf finds one by its name.
func PresetOf(name string) (Workload, error) {
	all := Presets()
	i := slices.IndexFunc(all, func(p Preset) bool { return p.Name == name })
	if i < 0 {
		var names []string
		for _, p := range all {
			names = append(names, p.Name)
		}
		return Workload{}, fmt.Errorf("there is no preset %q; there are %s", name, strings.Join(names, ", "))
	}
	return all[i].Workload, nil
}
