// Package bench measures STOMP brokers, and the machine that they run on. `baton bench` is its command.
//
//	Workload ──> Run ──> producers ──SEND──> the broker ──MESSAGE──> consumers
//	              │         │  <──RECEIPT──┘        <──ACK──┘           │
//	              │         └── latencies, rates                        └── latencies, rates, and a ledger each
//	              v
//	           Result: rates, latencies, what they were over time, and what was wrong
//
// Every body carries who sent it, as which of his messages, when it was due, and a checksum. The consumers check all of it:
// a message that is lost, doubled, corrupt, not selected, or behind a later one of the same producer is counted, and makes the
// run fail: a figure of a broker that loses messages is worth nothing.
//
// A latency begins when the SEND was due, which at a fixed rate is not when it was sent: a broker that stalls for a second has
// made all wait that were due meanwhile.
//
// A run whose Server has several addresses goes on when a connection is lost, as clients of a pair do: what has no receipt is sent
// again with the same deduplication-id, and what comes again and says so is no fault, but counted.
//
// A Relay is the limit: it speaks STOMP and forwards, and does nothing else that a broker must do.
//
// Invariants:
//
//   - The broker is one of any kind that speaks STOMP 1.2; what differs is in its Dialect.
//   - A Run has destinations that no other has, and leaves them empty.
//   - Nothing is measured of messages that were not checked.
package bench
