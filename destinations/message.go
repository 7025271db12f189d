package destinations

import "time"

// A Message is what a client sent, as the octets that came. It is shared by
// everything that holds the message: its exported fields never change after it
// was made, the others are the machine's.
type Message struct {
	// Content is the header lines, each ended by LF, one LF, and the body.
	Content []byte
	// HeaderBytes is the length of the header lines in Content.
	HeaderBytes int32
	// Form says how the header lines are escaped. It belongs to the caller and
	// is stored and returned unchanged.
	Form uint8
	// Persistent messages sent to a queue are stored; they survive a crash.
	Persistent bool

	// refs is how many backlogs hold the message, modulo 65,536: it is counted once
	// for that many. With one field more, a message would take 64 octets, not 48.
	refs uint16
	n    uint64 // of a message that is not stored: its number since the start

	// Props is what the message asks for beyond that; nil: nothing.
	Props *Props
}

// Topic is where the message was published; empty if it was not, or only for the
// subscribers that were there. It is known once Step or the log gave out the
// message.
func (m *Message) Topic() string {
	if m.Props == nil {
		return ""
	}
	return m.Props.topic
}

// PublishedOn sets what Topic returns; empty: it stays what it is.
func (m *Message) PublishedOn(topic string) {
	if topic == m.Topic() || topic == "" {
		return
	}
	p := Props{Priority: DefaultPriority}
	if m.Props != nil {
		p = *m.Props
	}
	p.topic = topic
	m.Props = &p
}

// again is the same message for another topic.
func (m *Message) again() *Message {
	return &Message{Content: m.Content, HeaderBytes: m.HeaderBytes, Form: m.Form, Persistent: m.Persistent, Props: m.Props.unpublished()}
}

// messageOverhead is counted for each message beyond its content, so that a
// flood of empty messages meets the limits as well.
const messageOverhead = 64

func (m *Message) size() int64 { return int64(len(m.Content)) + messageOverhead }

// memory is what the message takes there.
func (m *Message) memory() int64 { return m.size() + m.Props.textBytes() }

// A MessageID names a message for ever within one broker. A stored message has
// the Seq of the entry that put it where it is and N = 0; one that is not
// stored has the Seq of the broker's start and N counting from 1.
type MessageID struct{ Seq, N uint64 }

// A DeadLetter says why and whence a message is in a dead-letter queue.
type DeadLetter struct {
	Reason      string      // one of the Reason constants
	Deliveries  int         // how often it was delivered in vain
	Time        time.Time   // when it was moved, to the millisecond
	Destination Destination // where it was
	ID          MessageID   // what it was called there
}

// Why a message is in a dead-letter queue.
const (
	ReasonMaxDeliveries = "max-deliveries" // refused or left unacknowledged too often
	ReasonRejected      = "rejected"       // a consumer said that it shall not come back
	ReasonExpired       = "expired"        // nobody got it in time
)
