package destinations

// Effects is what a Step or several of them ask of the caller. The caller
// owns it, resets it and gives it to Step, which appends.
type Effects struct {
	// Entries are to be appended to the log, in order, in one batch or in
	// several, but none may begin with an entry that is Joined.
	Entries []Entry
	// Continues is set by the caller where further Steps with these Effects follow:
	// what several settle may become one entry. Machine.Finish must come after the
	// last; until then what was settled counts as in flight.
	Continues bool
	// Sync is set when something waits for the entries to become durable.
	Sync bool
	// Outputs are to be released in order, each once its After is durable.
	Outputs []Output
	// Dropped counts the copies that topic subscribers lost to their limit.
	Dropped int
	// Unclaimed counts the messages for temporary queues that were dropped: sent to
	// one that was gone or full, left by its owner, or refused by it for good.
	Unclaimed int
	// Expired counts the messages that nobody got in time.
	Expired int
	// Duplicates counts the messages that were accepted and dropped, for their
	// deduplication id was seen before.
	Duplicates int
	// Overflowed counts the messages that queues dropped, for they were full.
	Overflowed int
	// SetAside counts the messages that Unreadable set aside.
	SetAside int
	// Facts are what may be reported, while Machine.Observed; Untold counts those
	// that were too many.
	Facts  []Fact
	Untold int

	// Lapsed are the durable subscriptions that were deleted, for nobody had used
	// them for too long.
	Lapsed []DurableID

	arena []byte // holds the heads of Entries
}

// Reset empties e and keeps its memory, unless that is much more than was needed.
func (e *Effects) Reset() {
	e.Entries, e.Outputs = emptied(e.Entries), emptied(e.Outputs)
	clear(e.Lapsed)
	clear(e.Facts)
	e.Lapsed, e.Facts = e.Lapsed[:0], e.Facts[:0]
	e.Sync, e.Dropped, e.Unclaimed, e.Duplicates = false, 0, 0, 0
	e.Expired, e.Overflowed, e.SetAside, e.Untold = 0, 0, 0, 0
	if cap(e.arena) > 1<<20 {
		e.arena = nil
	}
	e.arena = e.arena[:0]
}

// output adds an output and returns it, which is zero: what is behind the end of
// Outputs is, as Reset leaves it so.
func (e *Effects) output() *Output {
	n := len(e.Outputs)
	if n == cap(e.Outputs) {
		e.Outputs = append(e.Outputs, Output{})
	}
	e.Outputs = e.Outputs[:n+1]
	return &e.Outputs[n]
}

// keepEffects is for how many entries and outputs there stays room when far fewer were needed.
const keepEffects = 4096

// emptied is s without its elements, and without its memory if a flood is over.
func emptied[T any](s []T) []T {
	if cap(s) > keepEffects && cap(s) > 4*len(s) {
		return nil
	}
	clear(s)
	return s[:0]
}

// An OutputKind is what an Output asks for.
type OutputKind uint8

// The kinds of output.
const (
	_       OutputKind = iota
	Deliver            // send Delivery to the session
	Receipt            // send RECEIPT with ReceiptID; Delivery.ID is set for a SEND to one destination that waits for its time
	Forget             // Delivery.Sub has ended: of its deliveries, those not yet written must not be
	Browsed            // a browser has seen everything: Delivery names the subscription and its queue
	Examine            // Examination is to be answered by a command; Session is 0
	Evict              // answer ERROR with Err and close
	Refused            // to a session that is no connection: the command with ReceiptID was refused, for Err
	Mark               // send nothing, but see Copies: it was asked for without a receipt
)

// An Output is something for one session. There is one for each delivery and
// receipt, and they are copied on their way: it is two cache lines long.
type Output struct {
	Kind        OutputKind
	Copies      uint8 // of a Receipt or Mark: so many brokers must keep what is up to After, or the answer is an ERROR; 0: it does not matter
	Session     uint64
	After       uint64 // Seq that must be durable first; 0: none
	ReceiptID   string
	Delivery    Delivery
	Examination *Examination
	Err         error
}

// A Delivery is a message on its way to a subscription.
type Delivery struct {
	*Label                  // nil, where an Output is about no subscription
	Tag         uint64      // number of the delivery within its subscription, from 1
	ID          MessageID   //
	Message     *Message    // nil when the machine has only the place of its content
	Content     uint64      // Seq of the entry that holds the message, see Entry.Message; 0: none does
	Dead        *DeadLetter // set in a dead-letter queue
	Size        uint32      // of Message.Content, in octets
	Deliveries  uint16      // how often it was delivered in vain, and 1; at most 65,535
	Redelivered bool        // the message may have been delivered before
	GroupFirst  bool        // the first of its group for this consumer
}

// A Label is what the deliveries to a subscription from one destination have in
// common. It is shared by them and never changes.
type Label struct {
	Subscription string // the client's own id of the subscription
	Sub          uint32 // number of the subscription within its session, from 1
	Ack          AckMode
	Copy         bool        // they are of a topic's messages, for this subscription alone: others may have a copy with the same ID
	Destination  Destination // where the messages were sent, as far as it is known
}
