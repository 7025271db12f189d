// Package bridge moves messages from a destination of one STOMP 1.2 broker to a destination of another, at least once.
//
//	source                            bridge                                    target
//	  │ MESSAGE  ──> reader ──> arrived (window, bytes bounded) ──> writer ──> SEND, receipt │
//	  │                                                               │ flights, in order    │
//	  │ ACK      <── writer <── answered, in order <── reader <───────┴─────────── RECEIPT   │
//
// One of both is usually the Baton that runs the bridge, reached like any other over its own listener: what holds for clients
// holds for bridges, and nothing more is to be proven.
//
// Invariants:
//
//   - A message is acknowledged at its source only after the target's RECEIPT for it, and in the order in which it came.
//   - When anything fails, both connections are closed, and after a while the bridge connects anew: the source gives again what was
//     not acknowledged. What the target has answered in the life of this Bridge is then acknowledged and not sent again, where the
//     source's name of a message stays the same. What it had not answered is sent again with the same deduplication-id, and with
//     the header x-bridge-redelivered:true for a target that does not know such ids.
//   - Each state but Moving ends by itself: connecting, subscribing and waiting have a limit. In Moving, a SEND without a RECEIPT, a
//     write that does not end and a peer that is silent for longer than was agreed end it.
//   - What is in hand is bounded in messages and octets. One goroutine connects; a pair of connections has five more. None outlives
//     Run.
//
// The source's name of a message is its header message-id, which ActiveMQ, Artemis and Baton keep over redeliveries and restarts. RabbitMQ
// makes it anew for each session: there a header of the producers may be named (Options.IDHeader), or nothing is known.
//
// Frames are go-stomp's. Its Conn is not used, for the reasons that package failover/client gives: it cannot have two SENDs
// without receipts under way and keep their order, and its reader has no limits.
//
// An example:
//
//	b := bridge.New(bridge.Options{
//		Name:   "orders",
//		Source: bridge.Side{Address: "activemq.example:61613", Destination: "/queue/orders"},
//		Target: bridge.Side{Address: "127.0.0.1:61613", Destination: "/queue/orders"},
//	})
//	err := b.Run(ctx) // until ctx ends
package bridge
