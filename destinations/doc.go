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
//	out.Continues = true // what these commands settle may become few entries
//	for _, c := range commands {
//		if err := m.Step(now, &c, &out); err != nil {
//			// refuse c.Session: answer ERROR with err and close; nothing was changed
//		}
//	}
//	m.Finish(&out)
//	log.Append(out.Entries) // one atomic batch, or several: see Entry.Joined
//	// release each of out.Outputs, per session and in order,
//	// once the log is durable up to its After
//
// and after a start, before the first Step:
//
//	for each part of the checkpoint, if there is one { m.Restore(part) }
//	for each entry in the log, after the checkpoint's From { m.Replay(entry) }
//	m.Resume(log.Last())
//	m.Step(now, &Command{Op: Start}, &out) // then append and sync
//
// # What is in memory
//
// A message in a queue is a slot of 24 octets. Its content is in memory as long
// as there is room; otherwise it is only in the log, and a Delivery says which
// entry has it. A run of 128 such messages that nobody is working on is packed
// into its image, of 1 to 4 octets a message, and unpacked when it is touched. A
// Checkpoint is these images, captured a few queues at a time between commands;
// those that have not changed are made once.
//
// What a message needs while it waits, such as its group, is in memory too, and
// counts; an eighth of the memory is for that and others that cannot be in the
// log only.
//
// The copies of a topic's message wait in memory, but a slow subscriber may have its
// further ones in the log only, until it has gone: see Spill. Those of a message that
// the topic keeps count as an empty one, see loan.go.
//
// The Machine also knows which entries of the log are live. A Live is a picture
// of that: it tells the log what it may drop.
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
//   - Replaying a log from which entries were dropped that Live.Keep gave up, or
//     a checkpoint and the entries after it, gives that state too.
//   - Who holds which message is not stored. After a start every message that
//     was stored before it is delivered with Redelivered set.
//   - No map order reaches an output.
package destinations
