package bench

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Workload is what clients do with a broker.
type Workload struct {
	Name         string        `json:"name"`
	Producers    int           `json:"producers"`
	Consumers    int           `json:"consumers"`    // of queues, which share the messages; of topics they get all
	Topic        bool          `json:"topic"`        // topics, not queues
	Durable      bool          `json:"durable"`      // the subscriptions of the topic are
	Destinations int           `json:"destinations"` // queues or topics that take turns
	Size         int           `json:"size"`         // octets of a body
	Persistent   bool          `json:"persistent"`
	Window       int           `json:"window"` // SENDs, or with Tx COMMITs, of a producer that wait for their receipts; 0: no receipts
	Ack          string        `json:"ack"`    // auto, client or client-individual
	Prefetch     int           `json:"prefetch"`
	Rate         float64       `json:"rate"`      // messages a second of all producers; 0: as fast as it goes
	Tx           int           `json:"tx"`        // SENDs of a transaction; 0: no transactions
	Selectors    bool          `json:"selectors"` // each consumer selects a share of its own
	Backlog      int64         `json:"backlog"`   // so many messages are sent first, and then consumed; 0: at the same time
	Ahead        int64         `json:"ahead"`     // most messages that were sent and the slowest subscriber has not; 0: of topics a few thousand, else unbounded
	Duration     time.Duration `json:"duration_ns"`
}

const (
	maxBodyBytes = 128 << 20
	maxClients   = 100_000
	maxWindow    = 1 << 20
	maxRate      = 1_000_000_000
	maxAccounts  = 10_000_000 // of what each consumer has had of each producer in each destination
)

// withDefaults gives what is zero its default.
func (w Workload) withDefaults() Workload {
	if w.Destinations == 0 {
		w.Destinations = 1
	}
	if w.Ack == "" {
		w.Ack = "client-individual"
	}
	if w.Prefetch == 0 {
		w.Prefetch = 1000
	}
	if w.Topic && !w.Durable && w.Ahead == 0 {
		w.Ahead = max(2000, w.leastAhead()) // brokers drop what a slow subscriber does not take
	}
	return w
}

// leastAhead is what all producers together send until each has looked at the subscribers, and as much again.
func (w Workload) leastAhead() int64 { return 2 * aheadEvery * int64(w.Producers) }

// Check says what is wrong with w, all of it.
func (w Workload) Check() error {
	var wrong []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	want(w.Producers >= 1 && w.Producers <= maxClients, "producers: %d is not within 1 and %d", w.Producers, maxClients)
	want(w.Consumers >= 0 && w.Consumers <= maxClients, "consumers: %d is not within 0 and %d", w.Consumers, maxClients)
	want(w.Destinations >= 0 && w.Destinations <= maxClients, "destinations: %d is not within 1 and %d", w.Destinations, maxClients)
	accounts := w.Producers * max(w.Consumers, 1) * max(w.Destinations, 1)
	want(accounts <= maxAccounts, "destinations, of all producers and consumers: %d × %d × %d is more than %d",
		w.Destinations, w.Producers, w.Consumers, maxAccounts)
	want(w.Size >= StampBytes && w.Size <= maxBodyBytes, "size: %d is not within %d and %d", w.Size, StampBytes, maxBodyBytes)
	want(w.Window >= 0 && w.Window <= maxWindow, "window: %d is not within 0 and %d", w.Window, maxWindow)
	want(w.Prefetch >= 0 && w.Prefetch <= maxWindow, "prefetch: %d is not within 1 and %d", w.Prefetch, maxWindow)
	want(w.Rate >= 0 && w.Rate <= maxRate, "rate: %v is not within 0 and %.0f", w.Rate, float64(maxRate))
	want(w.Tx >= 0 && w.Tx <= maxWindow, "tx: %d is not within 0 and %d", w.Tx, maxWindow)
	want(w.Tx == 0 || w.Window > 0, "tx: transactions need a window: their receipts say that they are done")
	want(w.Ahead == 0 || w.Ahead >= w.leastAhead(), "ahead: %d is less than %d", w.Ahead, w.leastAhead())
	want(w.Backlog >= 0, "backlog: %d is less than 0", w.Backlog)
	want(w.Backlog == 0 || !w.Topic, "backlog: a topic keeps nothing for later")
	want(w.Backlog > 0 || w.Duration > 0, "duration: %v is not more than 0", w.Duration)
	want(!w.Durable || w.Topic, "durable: only the subscriptions of a topic are")
	want(!w.Selectors || w.Consumers > 0 && !w.Topic, "selectors: they need the consumers of a queue")
	switch w.Ack {
	case "", "auto", "client", "client-individual":
	default:
		want(false, "ack: %q is not auto, client or client-individual", w.Ack)
	}
	return errors.Join(wrong...)
}

// String tells w in a line.
func (w Workload) String() string {
	w = w.withDefaults()
	var b strings.Builder
	kind := "queue"
	switch {
	case w.Durable:
		kind = "durable topic"
	case w.Topic:
		kind = "topic"
	}
	if !w.Persistent {
		kind = "non-persistent " + kind
	} else {
		kind = "persistent " + kind
	}
	fmt.Fprintf(&b, "%s, %d to %d, %d B, window %d, ack %s", kind, w.Producers, w.Consumers, w.Size, w.Window, w.Ack)
	for _, more := range []struct {
		is   bool
		text string
	}{
		{w.Destinations > 1, fmt.Sprintf("%d destinations", w.Destinations)},
		{w.Rate > 0, fmt.Sprintf("%v a second", w.Rate)},
		{w.Tx > 0, fmt.Sprintf("transactions of %d", w.Tx)},
		{w.Selectors, "selectors"},
		{w.Backlog > 0, fmt.Sprintf("backlog of %d", w.Backlog)},
	} {
		if more.is {
			b.WriteString(", " + more.text)
		}
	}
	return b.String()
}
