// Package network joins brokers into one network: messages go to wherever their
// consumers are.
//
//	consumers --demand--> peers                     a peer, with messages and demand from here
//	                                                     |
//	broker --deliveries--> exchange --hold--> fabric --> exchange --> broker: the batch is kept, out of sight
//	broker <--settle and decide-- exchange <--held------/
//	broker --decided--> exchange --release--> ... --> exchange --> broker: the batch is put into its queue
//	broker <--settled-- exchange <--released----------/
//
// Each broker tells its peers what its own consumers want of which queue: its
// demand; of those who take by a wildcard, what they want of all queues that their
// pattern names, wherever these are. A broker that has messages for it takes part in its own queue as a
// consumer of the lowest priority, for the peer, with as much credit as the peer has
// room, and transfers what it gets. For a pattern that is one consumer of all its
// queues here; each message of a batch then says which it is for.
//
// What is sent to a temporary queue of a peer needs no demand: it waits in a queue of
// the broker's own, destinations.Spool, from which each peer that is there has a link.
//
// What Settings.Static names needs none either: a link takes from those of its queues
// that have no consumer here, after all links with demand.
//
// # Transfers
//
// A transfer moves a batch of messages so that exactly one of both brokers has them,
// whatever breaks and whenever. The sender is who decides:
//
//  1. hold: the receiver stores the whole batch as one message of the queue
//     $network.held, which no client can see, and says so once that is durable.
//  2. The sender settles the messages and puts its decision into its queue
//     $network.sent, as one transaction. Until then it may take everything back, at
//     any time and without asking: a peer that does not answer costs nobody a message.
//  3. release: once the decision is durable the receiver puts the messages into their
//     queue and settles what it held, as one transaction, and says so once that is
//     durable. Then the sender forgets its decision.
//
// Both queues are ordinary ones: what is in them survives a crash, is in the standby's
// journal of a pair, and is delivered again to whoever serves next. A receiver that
// holds a batch and hears nothing asks; a sender that knows of no decision says that
// there was none, and the batch is dropped. That is final, for the name of a transfer
// is never used again.
//
// A sender that has lost its data knows of no decision either. So each broker says whose
// data it has, by the id of its journal: a batch of an earlier life is given out, as one
// that somebody may have had, for nobody else has it any more.
//
// # Durable subscriptions
//
// One is at all brokers, see durable.go and destinations.DurableState: each stores for
// it what is published there, and where it is consumed there is demand for its queue.
//
// # Groups
//
// The messages of a group go to one broker, see destinations/home.go. So that they come
// there in their order, the batches of a link with such messages are decided one after
// another, and released so too: a release names the one before it, and the receiver
// waits for that. Who takes one back takes those back that were offered after it. A link
// that gives back what it has keeps a subscription, so that its peer stays the home
// of its groups.
//
// # Invariants
//
//   - Demand is of a broker's own consumers: what a peer wants is none. So no message
//     goes round in a circle by itself; it moves when consumers do.
//   - What a peer costs is bounded: its transfers under way by number and octets, and
//     the rest waits in the queue, where any consumer may have it.
//   - The exchange is pure: events and the time go in, commands and frames come out.
package network
