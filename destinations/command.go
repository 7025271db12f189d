package destinations

import (
	"fmt"
	"time"

	"baton/destinations/selector"
)

// An Op is what a Command asks for.
type Op uint8

// The operations. Each line names the fields of Command and its More that it
// reads, beside Session, WantReceipt, Receipt and Copies, which all but Start, Sent
// and Unreadable read.
const (
	_           Op = iota
	Start          // the broker begins; once, after the last Replay and before all else
	Send           // Destination, Also, Existing, Message, Client, DiskLow
	Subscribe      // Subscription, Destination or Sources, Existing, Consumer
	Unsubscribe    // Subscription; with Delete, Consumer.Durable
	Ack            // Delivery, Tx
	Nack           // Delivery, Tx, Refusal, Extend
	Commit         // Tx, Sends, Client, DiskLow
	Abort          // Tx
	Disconnect     // Clean, Written
	Sent           // Delivery.Sub and .Tag: everything up to it, of an auto subscription, was written to its socket
	Unreadable     // Delivery.Sub and .Tag: its content could not be read; posted before a later delivery of its subscription is written
	Tick           // DiskLow: what is due by now happens, see Machine.NextTick; Session is 0
	Examined       // Examination, with its answer; DiskLow
	Cancel         // Delivery.ID: of a message that waits for its time, see Delivery.Job; it will not come any more
	Grant          // Subscription, of a Consumer with Network; Grant: it is to get so many messages from now on
	Learn          // Destination, of a durable subscription; Durable and Outranks: what another broker says of it; Existing: it matters only if it is here; Delete: it is deleted
	Note           // nothing but the receipt: keeps receipts in order for what the machine need not know
)

// A Command is one client's wish. There is one for each frame that comes, so it
// is two cache lines long: what few commands say is in More.
type Command struct {
	Op          Op
	Clean       bool // Disconnect: the client said goodbye; its unacknowledged messages count no failed delivery
	Delete      bool // Unsubscribe: the durable subscription goes too, also when this session has no subscription of it
	Existing    bool // the destinations must be there: the command is refused rather than that one is made
	DiskLow     bool // messages that need not be stored are refused rather than stored, when memory has no room for them; copies of topics are lost rather than spilled
	WantReceipt bool
	Copies      uint8 // so many brokers must keep what the command stores, see Output; 0: one is enough
	Session     uint64
	Receipt     string // answered when the command is done and, if it stores anything, durable

	Destination  Destination
	Message      *Message
	Subscription string // the client's own id of a subscription
	Delivery     DeliveryID
	Consumer     *Consumer // nil: the zero value
	More         *More     // nil: the zero value
}

// More is what few commands say.
type More struct {
	Also    []Destination // of a composite destination, those after the first
	Client  string        // the client-id of who sends
	Sources []Pattern     // in place of one Destination: several, or with wildcards
	Refusal Refusal
	Extend  time.Duration // Nack: nothing is refused, only more time is taken from now on; 0: no
	Grant   int           // Grant: messages
	Tx      string        // transaction; empty: none
	Sends   []Outgoing

	Durable  *DurableState
	Outranks bool // of two with the same Number, this one counts

	Examination *Examination

	// Disconnect: the newest delivery of each subscription that was wholly written
	// to its socket, by Delivery.Sub; none of those without. Nil: all were.
	Written map[uint32]uint64
}

// noMore is for commands that say nothing more, and noConsumer for those that
// do not say how they consume. Nobody changes them.
var (
	noMore     More
	noConsumer Consumer
)

func (c *Command) more() *More {
	if c.More == nil {
		return &noMore
	}
	return c.More
}

func (c *Command) consumer() *Consumer {
	if c.Consumer == nil {
		return &noConsumer
	}
	return c.Consumer
}

// own returns a copy of c that may be changed.
func (c *Command) own() *Command {
	own, consumer, more := *c, *c.consumer(), *c.more()
	own.Consumer, own.More = &consumer, &more
	return &own
}

// An Outgoing message is one SEND of a transaction.
type Outgoing struct {
	Destination Destination
	Also        []Destination
	Existing    bool // they must be there
	Message     *Message
	Forwarded   bool // by another broker, to one destination: it was accepted there, and nothing is to be added; on a topic, for subscribers that are there
	Returned    bool // that delivered it before
	Attempts    int  // so often in vain
	Apart       bool // with Forwarded: it counts as of no group here, see home.go
}

// An AckMode says how the deliveries of a subscription are settled.
type AckMode uint8

// The ack modes of STOMP 1.2, "SUBSCRIBE ack Header".
const (
	AckAuto       AckMode = iota // settled once written to the socket
	AckClient                    // an ACK settles its message and all before it
	AckIndividual                // an ACK settles its message only
)

// A Consumer is how a subscription wants its messages.
type Consumer struct {
	Ack           AckMode
	Prefetch      int                    // most messages in flight; 0: the machine's default
	PrefetchBytes int64                  // no further message is sent while this many octets are in flight; 0: the default
	Pending       int                    // most copies that wait for it beyond that, of topics; 0: the default
	Priority      int                    // consumers of lower priority only get what this one has no credit for
	Exclusive     bool                   // of the consumers of a queue that say so, only one gets messages
	NoLocal       bool                   // not what its own session sent
	Network       bool                   // it is for the consumers of another broker, see network.go: of a queue it gets what Grant says; Priority and AckTimeout are not read
	Member        string                 // with Network: which broker that is, where the groups of this one may be its, see home.go; empty: they are not
	Instead       bool                   // with Member: no groups are for the consumers of this broker
	Only          func(Destination) bool // with Network, of queues by a wildcard: of those, only such; nil: all
	Spare         bool                   // with Network: nothing while the queue has a consumer of this broker, and behind all others
	Browse        bool                   // a copy of what is in a queue, and nothing else
	Selector      *selector.Selector     // only what matches; nil: everything
	Redelivery    *Redelivery            // of what it refuses, where it differs from the policy: fields that are 0 do not, a negative Delay is none; nil: none do
	AckTimeout    time.Duration          // a delivery that is not acknowledged for so long is in vain; 0: as the policy says
	Lease         time.Duration          // after which its queue goes when nobody uses it, see Policy.GCAfter and .Durable; 0: as the policy says
	RejectNacks   bool                   // every NACK dead-letters at once
	ByMessageID   bool                   // the client acknowledges by message id (STOMP 1.0 and 1.1)
	Durable       DurableID              // of a topic's subscription that outlives its consumers; zero: it does not
	Shared        bool                   // Durable may have several consumers, if all say so
	Retroactive   *Retroactive           // what it gets of the kept messages of its topics; a durable one when it is made; nil: none
}

// A Refusal is what a NACK says beyond that. The zero value is nothing.
type Refusal struct {
	Reject bool          // dead-letter at once instead of redelivering
	Delay  time.Duration // before the message is delivered again; 0: as the policy says; negative: none
}

// A DeliveryID says which delivery an Ack or Nack is about. With ByMessage,
// ID says it, together with Command.Subscription or, where that is empty, with
// Sub, or, where that is 0, among all subscriptions of the session. Without,
// Sub and Tag say it: the numbers that the Delivery carried.
type DeliveryID struct {
	ByMessage bool
	Sub       uint32
	Tag       uint64
	ID        MessageID
}

// String is "SUB.TAG", or with ByMessage "SEQ.N".
func (d DeliveryID) String() string {
	if d.ByMessage {
		return fmt.Sprintf("%d.%d", d.ID.Seq, d.ID.N)
	}
	return fmt.Sprintf("%d.%d", d.Sub, d.Tag)
}
