package main

// A goal is what Baton is to reach in one workload: at least so much of what the others do in the same run.
type goal struct {
	text  string
	value func(all figures) (spread, bool)
	of    []part
}

// A part is one comparison of a goal.
type part struct {
	name  string
	value func(all figures) (float64, bool)
	least float64 // of Baton's value over this one
	most  bool    // the ratio must be at most that, not at least
}

// rate is a contender's deliveries a second in a workload.
func rate(contender, what string) func(all figures) (float64, bool) {
	return func(all figures) (float64, bool) {
		s, ok := all.of(contender, what, deliveriesOf)
		return s.median, ok
	}
}

func times(factor float64, value func(all figures) (float64, bool)) func(all figures) (float64, bool) {
	return func(all figures) (float64, bool) {
		v, ok := value(all)
		return factor * v, ok
	}
}

func fixed(v float64) func(figures) (float64, bool) {
	return func(figures) (float64, bool) { return v, true }
}

// oneByOne is how often a second one can sync and go round, one after the other.
func oneByOne(all figures) (float64, bool) {
	sync, ok := all.of("machine", figureSync, sendsOf)
	loopback, ok2 := all.of("machine", figureLoopback, sendsOf)
	return 1 / (1/sync.median + 1/loopback.median), ok && ok2
}

func batonOf(what string, pick func(figure) float64) func(all figures) (spread, bool) {
	return func(all figures) (spread, bool) { return all.of("baton", what, pick) }
}

var goals = append([]goal{
	{"persistent queue, 1 KiB, 8 to 8: deliveries a second", batonOf("persistent", deliveriesOf), []part{
		{"the relay with a synced log", rate("relay", "persistent"), 0.50, false},
		{"ActiveMQ", rate("activemq", "persistent"), 25, false},
	}},
	{"the same with 100 B", batonOf("persistent-100", deliveriesOf), []part{
		{"the relay with a synced log", rate("relay", "persistent-100"), 0.40, false},
	}},
	{"the same with 16 KiB", batonOf("persistent-16k", deliveriesOf), []part{
		{"the relay with a synced log", rate("relay", "persistent-16k"), 0.60, false},
	}},
	{"one receipt after the other: receipts a second", batonOf("receipts", sendsOf), []part{
		{"a sync and a round trip, one after the other", oneByOne, 0.80, false},
		{"ActiveMQ", rate("activemq", "receipts"), 2, false},
	}},
	{"non-persistent queue, 1 KiB, 4 to 4: deliveries a second", batonOf("non-persistent", deliveriesOf), []part{
		{"the relay", rate("relay", "non-persistent"), 0.50, false},
		{"ActiveMQ", rate("activemq", "non-persistent"), 6, false},
	}},
	{"the same at 5,000 a second: p50 in µs", batonOf("steady", p50Of), []part{{"250 µs", fixed(250), 1, true}}},
	{"the same at 5,000 a second: p99 in µs", batonOf("steady", p99Of), []part{
		{"the relay's", func(all figures) (float64, bool) { s, ok := all.of("relay", "steady", p99Of); return s.median, ok }, 1.5, true},
	}},
	{"topic, 1 to 1: deliveries a second", batonOf("topic-1", deliveriesOf), []part{{"the relay", rate("relay", "topic-1"), 0.50, false}}},
	{"topic, 1 to 100", batonOf("topic-100", deliveriesOf), []part{{"the relay", rate("relay", "topic-100"), 0.50, false}}},
	{"topic, 1 to 1,000", batonOf("topic-1000", deliveriesOf), []part{{"the relay", rate("relay", "topic-1000"), 0.50, false}}},
	{"transactions of 100 persistent SENDs: deliveries a second", batonOf("transactions", deliveriesOf), []part{
		{"the relay with a synced log", rate("relay", "transactions"), 0.45, false},
	}},
	{"10 consumers, each with a selector", batonOf("selectors", deliveriesOf), []part{
		{"the non-persistent queue without", rate("baton", "non-persistent"), 0.40, false},
	}},
	{"10 durable subscribers: deliveries a second", batonOf("durable", deliveriesOf), []part{
		{"10 × the persistent queue", times(10, rate("baton", "persistent")), 0.50, false},
	}},
	{"1,000,000 messages without a consumer: SENDs a second", batonOf("backlog", sendsOf), []part{
		{"the persistent queue", rate("baton", "persistent"), 0.85, false},
	}},
	{"and out again: deliveries a second", batonOf("backlog", deliveriesOf), []part{
		{"as they came in", func(all figures) (float64, bool) { s, ok := all.of("baton", "backlog", sendsOf); return s.median, ok }, 1, false},
	}},
	{"and the most that was resident: MiB", batonOf("backlog", peakOf), []part{{"400 MiB", fixed(400), 1, true}}},
	{"5,000 connections with a subscription: connects a second", batonOf(figureConnect, sendsOf), []part{{"4,000", fixed(4000), 1, false}}},
	{"and what each takes: octets", batonOf(figureConnect, residentOf), []part{{"24 KiB", fixed(24 << 10), 1, true}}},
	{"10,000 queues with a message each: SENDs a second", batonOf("queues", sendsOf), []part{{"20,000", fixed(20000), 1, false}}},
	{"and what each takes: octets", batonOf(figureQueues, residentOf), []part{{"4 KiB", fixed(4 << 10), 1, true}}},
}, growthGoals()...)
