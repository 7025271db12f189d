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
	flagQueue // it is for a queue of its own, not for that of the batch
)

// appendMessage appends one message of a batch, as it leaves member: its length, a
// head and what destinations.AppendForward makes of it. queue is its own one where
// the batch is for several; empty: it is that of the batch. A message that comes
// back to a broker where it was is no duplicate there.
//
//	head: its length, flags, failed deliveries, [length of the queue, queue]
//
// Who knows more of a head appends it; who does not skips it.
func appendMessage(dst []byte, member, to, queue string, d *destinations.Delivery) []byte {
	m := withPath(d.Message, member)
	if m.Props != nil && m.Props.DedupID != "" && slices.Contains(pathOf(d.Message), to) {
		props := *m.Props
		props.DedupID = ""
		m.Props = &props
	}
	var flags uint64
	if m.Persistent {
		flags |= flagPersistent
	}
	if d.Redelivered || d.Deliveries > 1 {
		flags |= flagReturned
	}
	if queue != "" {
		flags |= flagQueue
	}
	head := binary.AppendUvarint(nil, flags)
	head = binary.AppendUvarint(head, uint64(d.Deliveries-1))
	if queue != "" {
		head = append(binary.AppendUvarint(head, uint64(len(queue))), queue...)
	}
	own := append(binary.AppendUvarint(nil, uint64(len(head))), head...)
	own = destinations.AppendForward(own, m)
	dst = binary.AppendUvarint(dst, uint64(len(own)))
	return append(dst, own...)
}

// withPath is m with member at the end of its path.
func withPath(m *destinations.Message, member string) *destinations.Message {
	head, rest := m.Content[:m.HeaderBytes], m.Content[m.HeaderBytes:]
	content := make([]byte, 0, len(m.Content)+len(pathHeader)+len(member)+1)
	at := pathLine(head)
	if at < 0 {
		content = append(append(append(append(content, head...), pathHeader...), member...), '\n')
	} else {
		end := at + bytes.IndexByte(head[at:], '\n')
		content = append(append(append(append(content, head[:end]...), ','), member...), head[end:]...)
	}
	own := destinations.Message{HeaderBytes: int32(len(content)), Form: m.Form, Persistent: m.Persistent, Props: m.Props}
	own.Content = append(content, rest...)
	return &own
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
// They share memory with b.
func readBatch(d destinations.Destination, b []byte) ([]destinations.Outgoing, error) {
	var all []destinations.Outgoing
	for len(b) > 0 {
		own, rest, err := cutPart(b)
		if err != nil {
			return nil, err
		}
		b = rest
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
	if flags&flagQueue != 0 {
		queue, _, err := cutPart(head[n+more:])
		if err != nil {
			return o, err
		}
		d = destinations.Queue(string(queue))
	}
	if d.Name == "" {
		return o, errNoQueue
	}
	m, err := destinations.ReadForward(rest)
	if err != nil {
		return o, err
	}
	m.Persistent = flags&flagPersistent != 0
	return destinations.Outgoing{
		Destination: d, Message: m, Forwarded: true, Returned: flags&flagReturned != 0, Attempts: int(attempts),
	}, nil
}
