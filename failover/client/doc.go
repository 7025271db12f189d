// Package client is a STOMP client that survives: it knows the addresses of several brokers, and when its connection is lost
// it finds the one that serves, subscribes again, and sends again what has no receipt yet.
//
//	Send ──┐                                       ┌──> writer ──┐
//	Ack  ──┼──> outbox ──> session 1, 2, 3 … ──────┤             ├──> broker a, b …
//	Commit ┘  (kept until   (a generation each)    └──< reader <─┘
//	           answered)                                 │
//	Receive <── subscriptions <──────────────────────────┘
//
// What an application may rely on:
//
//   - A Send that returned nil was answered with a RECEIPT. What has no receipt is sent again after a reconnect, in the order
//     of the first time, with the same deduplication-id: a broker that knows the id takes it once.
//   - An acknowledgement belongs to the connection on which its message came. One that is too late, or that may not have
//     arrived, is never sent on another connection: it is reported, and its message comes again, flagged as redelivered.
//   - A transaction is carried out once, or not at all and the answer is ErrRolledBack, or nobody can know and the answer is
//     ErrInDoubt. Only one that acknowledges, or whose messages have no ids, can be in doubt.
//   - Nothing waits for ever unless its context does. Every buffer has a bound.
//
// Frames, headers and options are those of go-stomp, so that code for it needs a new Dial and little more. Its Conn is not
// used: it cannot send a second message before the first has its receipt and keep their order, stands still when a receipt comes
// for which nobody waits any more, allocates whatever length a broker names, and escapes a passcode, which a CONNECT must not.
//
// An example:
//
//	c, err := client.Dial(ctx, "failover:(tcp://a:61613,tcp://b:61613)", client.Options{})
//	…
//	defer c.Close(ctx)
//	err = c.Send(ctx, "/queue/orders", "text/plain", []byte("one"))
//	orders, err := c.Subscribe(ctx, "/queue/orders", stomp.AckClientIndividual)
//	m, err := orders.Receive(ctx)
//	err = c.Ack(ctx, m)
//
// Invariants:
//
//   - One goroutine connects; a connection has two more, a reader and a writer. None outlives Close.
//   - What is in the outbox is written in its order, on each connection from its beginning.
//   - A frame that came on one connection changes nothing on a later one.
package client
