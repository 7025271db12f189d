package network

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"baton/destinations"
)

// pathHeader lists the brokers that a message was at before this one.
const pathHeader = "x-broker-path:"

const (
	flagPersistent = 1 << iota
	flagReturned
	flagQueue // it is for a queue of its own, not for that of the batch; of a durable subscription: it is of a topic
)

// groupOf is the JMSXGroupID of a message; empty: it has none.
func groupOf(m *destinations.Message) string {
	if m.Props == nil {
		return ""
	}
	return m.Props.Group
}

// appendMessage appends one message of a batch, as it leaves member: its length in
// four octets, a head and what destinations.AppendForward makes of it. queue is its own one where
// the batch is for several, or its topic where that is for a durable subscription; empty:
// it is that of the batch. A message that comes back to a broker where it was is no
// duplicate there. One of a group that is forwarded again is marked as returned: the group
// has got another home meanwhile, where newer ones may have come before it.
//
//	head: its length, flags, failed deliveries, [length of the queue, queue]
//
// Who knows more of a head appends it; who does not skips it.
func appendMessage(dst []byte, member, to, queue string, d *destinations.Delivery) []byte {
	m := d.Message
	if m.Props != nil && m.Props.DedupID != "" && slices.Contains(pathOf(m), to) {
		own, props := *m, *m.Props
		props.DedupID = ""
		own.Props, m = &props, &own
	}
	var flags uint64
	if m.Persistent {
		flags |= flagPersistent
	}
	if d.Redelivered || d.Deliveries > 1 || groupOf(m) != "" && pathLine(m.Content[:m.HeaderBytes]) >= 0 {
		flags |= flagReturned
	}
	if queue != "" {
		flags |= flagQueue
	}
	begun := len(dst)
	dst = append(dst, 0, 0, 0, 0) // the length, when it is known
	var room [64]byte
	head := binary.AppendUvarint(room[:0], flags)
	head = binary.AppendUvarint(head, uint64(d.Deliveries-1))
	if queue != "" {
		head = append(binary.AppendUvarint(head, uint64(len(queue))), queue...)
	}
	dst = append(binary.AppendUvarint(dst, uint64(len(head))), head...)
	dst = appendWithPath(dst, m, member)
	binary.BigEndian.PutUint32(dst[begun:], uint32(len(dst)-begun-4))
	return dst
}

// appendWithPath appends m with member at the end of its path. It copies the content
// once: here is most of what forwarding costs.
func appendWithPath(dst []byte, m *destinations.Message, member string) []byte {
	head := m.Content[:m.HeaderBytes]
	at, before, after := len(head), pathHeader, "\n"
	if line := pathLine(head); line >= 0 {
		at, before, after = line+bytes.IndexByte(head[line:], '\n'), ",", ""
	}
	dst = destinations.AppendForward(dst, m, len(head)+len(before)+len(member)+len(after))
	dst = append(dst, head[:at]...)
	dst = append(append(append(dst, before...), member...), after...)
	return append(dst, m.Content[at:]...)
}

// pathLine is where the path is in the header lines; -1: there is none.
func pathLine(head []byte) int {
	if bytes.HasPrefix(head, []byte(pathHeader)) {
		return 0
	}
	if at := bytes.Index(head, []byte("\n"+pathHeader)); at >= 0 {
		return at + 1
	}
	return -1
}

// pathOf are the brokers that m was at.
func pathOf(m *destinations.Message) []string {
	head := m.Content[:m.HeaderBytes]
	at := pathLine(head)
	if at < 0 {
		return nil
	}
	line, _, _ := bytes.Cut(head[at+len(pathHeader):], []byte{'\n'})
	return strings.Split(string(line), ",")
}

var errBatch = errors.New("the batch is cut short")

// errNoQueue says that a message of a batch for several queues does not say which.
var errNoQueue = errors.New("a message does not say which queue it is for")

// cutPart cuts what has its length before it off b.
func cutPart(b []byte) (part, rest []byte, err error) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, errBatch
	}
	return b[n : n+int(size)], b[n+int(size):], nil
}

// readBatch reads the messages of a batch for d; the zero value: for several queues.
// They share memory with b. There are as many as messages, or else it only takes
// longer.
func readBatch(d destinations.Destination, messages int, b []byte) ([]destinations.Outgoing, error) {
	all := make([]destinations.Outgoing, 0, messages)
	for len(b) > 0 {
		if len(b) < 4 || int64(binary.BigEndian.Uint32(b)) > int64(len(b)-4) {
			return nil, errBatch
		}
		end := 4 + int(binary.BigEndian.Uint32(b))
		own := b[4:end]
		b = b[end:]
		o, err := readMessage(d, own)
		if err != nil {
			return nil, fmt.Errorf("message %d of the batch: %w", len(all), err)
		}
		all = append(all, o)
	}
	return all, nil
}

func readMessage(d destinations.Destination, b []byte) (o destinations.Outgoing, err error) {
	head, rest, err := cutPart(b)
	if err != nil {
		return o, err
	}
	flags, n := binary.Uvarint(head)
	attempts, more := binary.Uvarint(head[max(0, n):])
	if n <= 0 || more <= 0 {
		return o, errBatch
	}
	topic := ""
	if flags&flagQueue != 0 {
		name, _, err := cutPart(head[n+more:])
		if err != nil {
			return o, err
		}
		if topic = string(name); !d.Durable() {
			d = destinations.Queue(topic)
		}
	}
	if d.Name == "" {
		return o, errNoQueue
	}
	m, err := destinations.ReadForward(rest)
	if err != nil {
		return o, err
	}
	m.Persistent = flags&flagPersistent != 0
	if d.Durable() {
		m.PublishedOn(topic)
	}
	return destinations.Outgoing{
		Destination: d, Message: m, Forwarded: true, Returned: flags&flagReturned != 0, Attempts: int(attempts),
	}, nil
}
