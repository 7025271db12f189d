// Package history records what clients did and saw, and judges afterwards whether the broker kept its promises.
//
//	clients ── Add(Op) ──> History ── Check ──> Report
//	  "I wrote SEND 7"        in the order           lost, doubled, resurrected, torn …
//	  "its RECEIPT came"      of the calls
//
// The judgement needs no look inside the broker: it knows only what a client can know. A SEND without a RECEIPT is in
// doubt, and both outcomes are legal; a SEND with a RECEIPT is promised, and only one is.
//
// # Rules for those who record
//
//   - Write down what you are about to do (Sent, Acked, Committing) before the bytes leave, and what you saw (Receipted,
//     Delivered, Committed) after they came. Then an effect never stands before its cause.
//   - Read a dead connection to its end before its messages can reach another client: wait for every client of a killed
//     broker before the next one starts. Else an old delivery is written down after a new one and looks like a fault.
//   - A cumulative ACK is recorded once for each message that it covers.
//   - Producers number their messages 1, 2, 3 …, may leave numbers out, and go on counting after a reconnect; every
//     connection has a client number of its own.
//   - A message that goes to several places is recorded as one for each, with ids of their own, sent in one transaction:
//     that is what all or none means. A SEND that is written again, to be sure, is not recorded again.
//   - A queue whose messages have priorities has one consumer at a time, with a prefetch of 1 while others send: only then
//     does an acknowledgement tell when the next message was chosen.
//   - The history ends with a drain: every message left is received and acknowledged with a receipt, and whatever still
//     comes after that is recorded as Left.
//
// An example, a message that the broker promised and never delivered:
//
//	h := history.New()
//	id := history.ID{Producer: 1, N: 1}
//	h.Add(history.Op{Kind: history.Sent, Message: id})
//	h.Add(history.Op{Kind: history.SendReceipted, Message: id})
//	report := history.Check(h.Ops())
//	report.Valid()                    // false
//	report.Count(history.LostPrefix)  // 1
package history
