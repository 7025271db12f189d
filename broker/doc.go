// Package broker is the STOMP server: it listens, speaks with clients, steps
// the machine of package destinations and lets nothing out before the log has
// it safe.
//
//	socket -> session.read -> mailbox -> engine -> Machine.Step -> Log.Append
//	                                        |                          |
//	                                        v                          v
//	socket <- session.write <- outbox <- outputs                 Durable(seq)
//	                              ^----- released up to seq -----------'
//
// A connection is a session with two goroutines: one reads frames and puts
// commands into the mailbox, one takes outputs from the session's outbox and
// writes them. One engine goroutine takes the whole mailbox, steps the machine
// for each command, appends the entries to the log and pushes the
// outputs into the outboxes. Each output names the entry that must be durable
// before it leaves (destinations.Output.After); the writer does not see it
// earlier. That is the one place where "nothing leaves before it is safe" is
// kept.
//
// A message that the machine does not hold in memory is read from the log by
// the writer that needs it, when it has its share of the allowance for that, and
// leaves the outbox only then. What is damaged or gone is set aside; what cannot
// be read for now is tried again. Now and then the engine pictures the machine, a
// slice between two batches, and a goroutine keeps that as a checkpoint beside
// the log: Recover reads it and what came after it.
//
// # A pair
//
// Two brokers with one log between them are what package failover makes. This
// package knows of it: a standby follows the log, up to what is committed
// (Server.Follow), and Recover goes on from there; a master writes to clients only as long as
// it has a permit to (Options.Permit); for a switchover the engine rests between two batches
// (Server.Pause), and Server.Leave sends the clients on.
//
// # Invariants
//
//   - The engine waits for the log's buffer and for nothing else: never for a
//     session, never for a read. A slow consumer costs its own outbox, which its
//     credit bounds.
//   - Readers wait for the mailbox, and so do writers, to say what was written
//     for auto subscriptions. The engine empties it without waiting for either.
//     At the end of its session a reader waits for its writer.
//   - What a session is sent keeps the order in which the engine made it.
//   - A writer that waits for its share, or to try again, holds nothing: its
//     messages stay in the outbox, heart-beats go out, its reader goes on. Shares
//     come back when they are written, and a client that holds one for long
//     while others wait is cut.
//   - A lost connection counts a failed delivery only for a message that was
//     wholly written to it.
//   - mailbox, outbox, lot, allowance, outage and waiting list each have a lock; no code holds two
//     of them, and none is held during input or output.
//   - While the disk is low, what would be stored is refused or parked, and
//     everything else goes on. What is parked for one session is bounded, and so
//     is what is for all.
//   - While a checkpoint is made the log is not told that anything after its
//     beginning is not needed: a start from it would miss that.
//   - What is not committed is not replayed by a standby, nor known by its
//     checkpoints: it may be cut off and give way to something else.
//   - Every goroutine is started below Serve or Follow and has ended when that returns,
//     but for an engine that waits for a log which its owner closes then.
//
// # Use
//
//	b := broker.New(broker.Options{Logger: logger})
//	log, err := journal.Open(journal.Options{Dir: dir, OnDurable: b.Durable, OnFatal: b.Fail, OnSpace: b.DiskLow})
//	...
//	err = b.Recover(ctx, log, name, log.LastEpoch()+1)
//	...
//	err = b.Serve(ctx, listener) // until ctx ends or the log fails
//
// and of a pair, before Recover:
//
//	err = b.Follow(ctx, log) // until ctx ends: from now on this one appends
package broker
