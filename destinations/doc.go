// Package destinations is the broker's machine: queues, topics,
// subscriptions, acknowledgements, transactions and dead letters as one plain
// struct that is stepped.
//
//	           Command, now
//	                |
//	                v
//	+------------ Machine ------------+        Effects
//	| decide  -> record               | -----> Entries  to append to the log, in order
//	| apply(record) <------ Replay(e) | -----> Outputs  deliveries and receipts; each names the
//	| dispatch                        |                 entry that must be durable before it leaves
//	+---------------------------------+
//
// The package is pure. It starts no goroutine and holds no lock, channel,
// clock, logger or file: commands and the time go in, entries and outputs come
// out, and the same input always gives the same output. One goroutine at a
// time may use a Machine.
//
// The caller's loop is
//
//	out.Reset()
//	for _, c := range commands {
//		if err := m.Step(now, c, &out); err != nil {
//			// refuse c.Session: answer ERROR with err and close; nothing was changed
//		}
//	}
//	log.Append(out.Entries) // one atomic batch, or several: see Entry.Joined
//	// release each of out.Outputs, per session and in order,
//	// once the log is durable up to its After
//
// and after a start, before the first Step:
//
//	for each entry in the log { m.Replay(entry) }
//	m.Resume(log.Last())
//	m.Step(now, Command{Op: Start}, &out) // then append and sync
//
// # Invariants
//
//   - Step decides and then applies a record; Replay applies the same record.
//     Replaying the entries of any run gives the stored state of that run.
//   - A command that returns an error has changed nothing.
//   - A transaction is in the log whole or not at all: its entries are Joined,
//     and the caller appends those that are in one batch.
//   - What is unacknowledged belongs to exactly one subscription, and returns
//     to its place in the queue when that subscription ends.
//   - Who holds which message is not stored. After a start every message that
//     was stored before it is delivered with Redelivered set.
//   - No map order reaches an output.
package destinations
