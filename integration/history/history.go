package history

import (
	"bufio"
	"context"
	"fmt"
	"hash/crc64"
	"io"
	"slices"
	"sync"
	"time"
)

// Kind says what happened.
type Kind uint8

const (
	Sent          Kind = iota + 1 // a client is about to write SEND
	SendReceipted                 // the RECEIPT of that SEND came
	Delivered                     // a MESSAGE came
	Acked                         // a client is about to write an ACK that covers this message
	AckReceipted                  // the RECEIPT of that ACK came
	Nacked                        // a client is about to write a NACK of this message
	NackReceipted                 // the RECEIPT of that NACK came
	Began                         // a client is about to write BEGIN
	Committing                    // a client is about to write COMMIT
	Committed                     // the RECEIPT of that COMMIT came
	Aborting                      // a client is about to write ABORT
	Leaving                       // a client is about to close its connection, or has lost it, and reads no more
	Left                          // a MESSAGE came after the drain had emptied the queue
)

var kindNames = [...]string{
	Sent: "sent", SendReceipted: "send-receipted", Delivered: "delivered", Acked: "acked", AckReceipted: "ack-receipted",
	Nacked: "nacked", NackReceipted: "nack-receipted", Began: "began", Committing: "committing", Committed: "committed", Aborting: "aborting",
	Leaving: "leaving", Left: "left",
}

func (k Kind) String() string { return kindNames[k] }

// ID names a message: the N-th of a producer, counted from 1.
type ID struct {
	Producer uint32
	N        uint32
}

func (id ID) String() string { return fmt.Sprintf("%d-%d", id.Producer, id.N) }

// ParseID reads what ID.String wrote.
func ParseID(s string) (ID, error) {
	var id ID
	if _, err := fmt.Sscanf(s, "%d-%d", &id.Producer, &id.N); err != nil {
		return ID{}, fmt.Errorf("message id %q is not PRODUCER-N: %w", s, err)
	}
	return id, nil
}

// Op is one thing that a client did or saw. Fields that a Kind does not need stay zero.
type Op struct {
	At          time.Duration // since the history began; set by Add
	Kind        Kind
	Client      uint32 // the connection; a new number after each reconnect
	Queue       uint32
	Message     ID
	Tx          uint32 // the transaction, unique in the whole history; 0: none
	Hash        uint64 // of the body, for Sent and Delivered
	Redelivered bool   // Delivered: the MESSAGE said redelivered:true
	Lingers     bool   // Sent: on a connection that its client may give up while the broker still reads from it: the order of messages of other ones is open
	Auto        bool   // Delivered: the subscription's ack mode is auto, so the delivery settles the message

	Delay    time.Duration // Sent: it may not be delivered before At + Delay; Nacked: nor again, if there comes a receipt
	Group    uint32        // Sent: its message group in its queue; 0: none
	Priority uint8         // Sent: 0 to 9; of no concern when all messages of a queue have the same
	Count    uint32        // Delivered, Nacked and NackReceipted: which delivery of the message it is, as the broker counts; 0: not told
	Name     uint64        // Delivered: hash of the broker's own name of the message, its message-id; 0: not told
}

func (o Op) String() string {
	return fmt.Sprintf("%v client=%d %v message=%v queue=%d tx=%d hash=%016x redelivered=%v auto=%v delay=%v group=%d priority=%d count=%d name=%x",
		o.At, o.Client, o.Kind, o.Message, o.Queue, o.Tx, o.Hash, o.Redelivered, o.Auto, o.Delay, o.Group, o.Priority, o.Count, o.Name)
}

var crcTable = crc64.MakeTable(crc64.ECMA)

// Hash is the value for Op.Hash of a body.
func Hash(body []byte) uint64 { return crc64.Checksum(body, crcTable) }

// History collects Ops from many goroutines, in the order of the calls.
type History struct {
	start time.Time

	mu      sync.Mutex
	ops     []Op
	target  int           // length that somebody waits for; 0: nobody
	reached chan struct{} // closed at that length
}

// New returns an empty history that begins now.
func New() *History { return &History{start: time.Now()} }

// Add appends op and stamps its time.
func (h *History) Add(op Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	op.At = time.Since(h.start)
	h.ops = append(h.ops, op)
	if h.target > 0 && len(h.ops) >= h.target {
		h.target = 0
		close(h.reached)
	}
}

// Len is the number of Ops so far.
func (h *History) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// Await returns when the history holds n Ops, or with the context's error. One goroutine at a time may wait.
func (h *History) Await(ctx context.Context, n int) error {
	h.mu.Lock()
	if len(h.ops) >= n {
		h.mu.Unlock()
		return nil
	}
	reached := make(chan struct{})
	h.target, h.reached = n, reached
	h.mu.Unlock()
	select {
	case <-reached:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("history holds %d of %d ops: %w", h.Len(), n, ctx.Err())
	}
}

// Ops is the history so far. The caller must not change it; later Adds do not show in it.
func (h *History) Ops() []Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ops[:len(h.ops):len(h.ops)]
}

// Clone is a history that begins with the same Ops, for two futures of one past.
func (h *History) Clone() *History { return &History{start: h.start, ops: slices.Clone(h.Ops())} }

// WriteTo writes one line an Op, for a person to read after a violation.
func (h *History) WriteTo(w io.Writer) (int64, error) {
	buffered := bufio.NewWriterSize(w, 1<<20)
	var total int64
	for _, op := range h.Ops() {
		n, err := fmt.Fprintln(buffered, op)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, buffered.Flush()
}
