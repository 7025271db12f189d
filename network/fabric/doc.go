// Package fabric is what the brokers of a network meet on: a core NATS, without JetStream.
//
//	broker berlin                              broker paris
//	Conn -- in process -- nats-server == route == nats-server -- in process -- Conn
//	                         ||                      ||
//	                         ++==== nats-server =====++   found by gossip: a route to one broker is enough
//
// or, with URLs, a connection to an existing NATS cluster. It carries messages of NATS at most once: who sends by request waits
// for the reply and asks again.
//
// Invariants:
//   - The embedded server listens for routes alone; no client of NATS can connect to it. Who makes a route has to know the secret,
//     if there is one, and with TLS both sides have a certificate of the CA.
//   - [Open] waits for nobody: a peer that is away is dialled once a second, for ever if it was configured, for a day if it was
//     found by gossip.
//   - A peer that is silent for 2 seconds (stopped, or behind a cut link) is left. Until then at most what was sent in this time is
//     buffered for it: nats-server slows down who sends when 48 MiB wait for one route, and does not drop a route for its
//     backlog. Who sends must keep little under way, so that neither that nor the time a PING spends behind the backlog counts.
//   - While there is no connection to an external cluster, publishing fails; nothing is kept to be sent later.
//   - The secret never travels: a key derived from it does. Neither is logged.
package fabric
